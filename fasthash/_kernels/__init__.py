"""Compiled kernels: Cython divides the work among threads, the C files in simd/ compare bits.

- ``tiles``: the instruction-set level in use, the number of threads, and the size of a tile.
- ``tasks``: how a search is cut into tasks; the words for pieces of work, with a figure.
- ``planes``: batches of codes laid out as bit planes, and when a search uses them.
- ``distances``, ``search`` (top-k), ``weighted`` (top-k with a weight for each bit), ``radius``,
  ``sorting`` (full ranking), ``ranking`` (average precision), ``multi_index`` (tables): one kind of
  search each; ``joins`` (all pairs within a radius).
- ``calls``, ``index_calls``: searches, and an index, for the C interface.
- ``filters``: sets of ids as bits.
- ``discrete``, ``reconstruct``: inner loops of the models AMSH and RREH.

Kernels trust their callers: every array is C-contiguous and has the stated type and shape, and
every number is in range. The modules above check the arguments.
"""

from __future__ import annotations

__all__ = ["MAY_HAVE_LOST_THREADS"]

# A flag of Linux processes: the process was forked, and has not started another program since.
_FORKED = 0x40


def _may_have_lost_threads() -> bool:
    """
    Tell whether GNU OpenMP may wait here for threads that a fork did not copy.

    If the kernels are loaded before a fork, fork.h ends the threads. This function is for a forked
    child that loads the kernels itself: if its parent had loaded GNU OpenMP already, nothing says
    whether the parent had started threads. Only Linux gives the information that is read here.
    """
    try:
        with open("/proc/self/stat") as file:
            flags = int(file.read().rpartition(")")[2].split()[6])
        if not flags & _FORKED:
            return False
        with open("/proc/self/maps") as file:
            return any("libgomp" in line for line in file)
    except (OSError, ValueError, IndexError):
        return False


# Computed before the first kernel is loaded, because a kernel loads the OpenMP runtime.
MAY_HAVE_LOST_THREADS = _may_have_lost_threads()
