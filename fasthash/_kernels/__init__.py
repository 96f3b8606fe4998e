"""Compiled kernels: Cython orchestrates tiles and threads, the C files in simd/ do the bit work.

Kernels trust their callers: every array is C-contiguous and of the stated type and shape, every
number in range. The public modules one level up validate; nothing else should call these.
"""

from __future__ import annotations

__all__ = ["MAY_HAVE_LOST_THREADS"]

# Of Linux, in the flags of a process: it was forked and has not become another program since.
_FORKED = 0x40


def _may_have_lost_threads() -> bool:
    """
    Tell whether GNU OpenMP may wait here for threads that a fork did not copy.

    fork.h ends the threads before a fork, once the kernels are loaded. A forked child that loads
    them itself finds the runtime as somebody else left it, if it was there already: nobody can
    tell whether it has run. Only Linux says what is asked here.
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


# Asked before the first kernel is loaded, which brings the runtime with it.
MAY_HAVE_LOST_THREADS = _may_have_lost_threads()
