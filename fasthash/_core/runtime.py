"""The environment of the kernels: instruction-set levels, threads, OpenMP.

`resolve_threads` is the one place where an `n_threads` argument becomes a number of threads.
"""

from __future__ import annotations

import os
import threading

from .._kernels import tiles as _kernels
from .validation import check_count

__all__ = [
    "ForkSafeLock",
    "n_cores",
    "openmp_version",
    "resolve_threads",
    "simd_level",
    "simd_levels",
]

# Number of threads that the OpenMP runtime allowed when it was loaded. If it allows fewer later,
# the program has limited them (as threadpoolctl and scikit-learn do): that limit is respected.
_unlimited = _kernels.openmp_max_threads()

# Largest value of C's int; the kernels start far fewer threads.
_MOST = 2**31 - 1


class ForkSafeLock:
    """
    A lock that is free in a forked child, even if a thread of its parent held it.

    That thread does not exist in the child, so it could never release the lock there. The state
    that the lock guards must be valid at any moment, for example because one assignment changes it.
    """

    def __init__(self) -> None:
        # A lock for each process in the chain of forks. There is no list of all locks with weak
        # references: Python code would remove a lock from it, and an interrupt there would be lost.
        self._locks: dict[int, threading.Lock] = {}

    @property
    def here(self) -> threading.Lock:
        """
        The lock of this process, for a `with` statement.

        Python handles no signal between the steps of `with` and of this lock. If `__enter__` were
        written in Python, an interrupt between its last step and the block would leave it held.
        """
        # If two threads come first at the same time, both use the lock of one of them.
        return self._locks.setdefault(_generation, threading.Lock())

    @property
    def is_held(self) -> bool:
        """Whether a thread of this process holds it now."""
        return self.here.locked()


# How many forks lie between this process and the one that imported this module.
_generation = 0


def simd_level() -> str:
    """
    Return the name of the instruction-set level that the kernels use.

    The fastest level of this machine is chosen when fasthash is imported. The environment variable
    ``FASTHASH_SIMD`` chooses another one. If the machine lacks that level, the import fails.

    Returns
    -------
    str
        One of `simd_levels`.

    See Also
    --------
    simd_levels : All levels that can be chosen.

    Examples
    --------
    >>> import fasthash as fh
    >>> fh.simd_level() in fh.simd_levels()
    True
    """
    return _kernels.level_in_use()


def simd_levels() -> tuple[str, ...]:
    """
    List the instruction-set levels that this build has and this machine can run.

    Returns
    -------
    tuple of str
        Slowest first. "scalar" is always among them.

    See Also
    --------
    simd_level : The level in use.

    Examples
    --------
    >>> import fasthash as fh
    >>> fh.simd_levels()[0]
    'scalar'
    """
    return _kernels.supported_levels()


def openmp_version() -> int:
    """
    Return the date of the OpenMP specification that the kernels were built with.

    Returns
    -------
    int
        The date as yyyymm, 0 for a build without OpenMP, which runs on one thread.
    """
    return _kernels.openmp_version()


def n_cores() -> int:
    """
    Count the cores this process may use.

    Returns
    -------
    int
        The size of the CPU affinity mask where the system has one, else all cores.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resolve_threads(n_threads: int | None, n_words: int | None = None) -> int:
    """
    Turn an ``n_threads`` argument into the number of threads to start.

    Parameters
    ----------
    n_threads : int or None
        None means the environment variable ``OMP_NUM_THREADS`` (joblib and dask set it in their
        worker processes), or else all cores this process may use, but not more than threadpoolctl
        allows. A negative number counts from the end: -1 is all cores, -2 all but one.
    n_words : int, optional
        The work of a search, in 64-bit words compared. If it is too little for two threads, None
        means one thread, and the system is not asked: that would take a fifth of the search.

    Returns
    -------
    int
        From 1 to the larger of 64 and 4 per core; a short search starts fewer threads. It is 1
        without OpenMP, and in a forked child in which GNU OpenMP may wait for threads that the fork
        did not copy.

    Notes
    -----
    A forked child searches on as many threads as its parent, because the threads of the runtime are
    ended before a fork. This needs OpenMP 5.0 (GCC 9) or LLVM's runtime, and kernels that were
    loaded before the fork. If a child loads them itself, after another library has loaded GNU
    OpenMP into its parent, it uses one thread.

    Raises
    ------
    ValueError
        If `n_threads` is 0, or does not fit in int32.
    TypeError
        If `n_threads` is not an integer.
    """
    if n_threads is None:
        if n_words is not None and n_words < 2 * _kernels.LEAST_WORK:
            return 1
        resolved = _threads_of_environment() or n_cores()
        allowed = _kernels.openmp_max_threads()
        if allowed < _unlimited:
            resolved = min(resolved, allowed)
    elif type(n_threads) is int and n_threads == 1:
        # The checks take as long as the comparison of a thousand codes.
        return 1
    else:
        resolved = check_count(n_threads, "n_threads", minimum=-(2**31))
        if resolved == 0:
            raise ValueError("n_threads=0 would do nothing: use 1, or None for all cores")
        if resolved < 0:
            resolved = max(1, n_cores() + 1 + resolved)
    return _kernels.allowed_threads(min(resolved, _MOST))


def _threads_of_environment() -> int | None:
    """OMP_NUM_THREADS, or the first of its list (one per nesting level), if it is a number."""
    value = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(value) if value.isdecimal() and int(value) > 0 else None


def _count_fork() -> None:
    global _generation
    _generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)
