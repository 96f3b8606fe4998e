"""What the kernels run on: instruction-set levels, threads, OpenMP.

`resolve_threads` is the one place where an `n_threads` argument becomes a number of threads.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager

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

# What the OpenMP runtime allowed when it was loaded. Where it allows less later, somebody limits it
# (threadpoolctl does, and with it scikit-learn): that is respected.
_unlimited = _kernels.openmp_max_threads()

# What fits into C's int; the kernels start far fewer.
_MOST = 2**31 - 1


class ForkSafeLock(AbstractContextManager["ForkSafeLock"]):
    """
    A lock that a forked child finds free, although a thread of its parent held it.

    That thread does not exist in the child, so nobody would ever release it there. What the lock
    guards must be whole at any moment, as a state is that changes by one assignment.
    """

    def __init__(self) -> None:
        # One for each process in the line of those that were forked. No list of all locks is kept,
        # with weak references: what removes one is Python, and an interrupt that meets it is lost.
        self._locks: dict[int, threading.Lock] = {}

    def __enter__(self) -> ForkSafeLock:
        # Of two threads that come first, one's lock is taken by both.
        self._locks.setdefault(_generation, threading.Lock()).acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self._locks[_generation].release()


# How many forks lie between this process and the one that imported this module.
_generation = 0


def simd_level() -> str:
    """
    Name the instruction-set level the kernels use.

    The fastest level of this machine is chosen when fasthash is imported. The environment variable
    ``FASTHASH_SIMD`` forces another one; asking for one the machine lacks makes the import fail.

    Returns
    -------
    str
        One of `simd_levels`.

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
        Slowest first; "scalar" is always there.

    Examples
    --------
    >>> import fasthash as fh
    >>> fh.simd_levels()[0]
    'scalar'
    """
    return _kernels.supported_levels()


def openmp_version() -> int:
    """
    Tell the OpenMP specification date the kernels were built with.

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


def resolve_threads(n_threads: int | None) -> int:
    """
    Turn an ``n_threads`` argument into the number of threads to start.

    Parameters
    ----------
    n_threads : int or None
        None takes the environment variable ``OMP_NUM_THREADS`` (joblib and dask set it in their
        worker processes), or else all cores this process may use, and not more than threadpoolctl
        allows. A negative number counts from the end: -1 is all cores, -2 all but one.

    Returns
    -------
    int
        At least 1, and at most 64, or 4 for each core where that is more; a search that is short
        starts fewer. 1 without OpenMP, and 1 in a forked child in which GNU OpenMP may wait for
        threads that the fork did not copy.

    Notes
    -----
    A forked child searches on as many threads as its parent, because the threads of the runtime are
    ended before a fork. That needs OpenMP 5.0 (GCC 9) or LLVM's runtime, and the kernels loaded
    before the fork: a child that loads them itself, after another library has brought GNU OpenMP
    into its parent, uses one thread.

    Raises
    ------
    ValueError
        If `n_threads` is 0, or no int32.
    TypeError
        If `n_threads` is not an integer.
    """
    if n_threads is None:
        resolved = _threads_of_environment() or n_cores()
        allowed = _kernels.openmp_max_threads()
        if allowed < _unlimited:
            resolved = min(resolved, allowed)
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
