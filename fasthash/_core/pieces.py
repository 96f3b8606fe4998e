"""Cut work into pieces: blocks of rows of a bounded size, and calls that take a bounded time.

Use `cut` if the cost of the work follows from its size. Use `Pace` for calls of a kernel, whose
speed is known only after a call. Python handles signals between two pieces, so Ctrl-C works.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

__all__ = [
    "BLOCK_BYTES",
    "BLOCK_VALUES",
    "Pace",
    "blocks_of",
    "cut",
    "cut_unequal",
    "smaller_pieces",
]

# Values in a block: 16 MiB in float32, enough for fast matrix products, little per thread.
BLOCK_VALUES = 1 << 22

# Bytes in a block: hundredths of a second from memory, tenths of a second from a slow disk.
BLOCK_BYTES = 1 << 24

# Longest time of a call of a kernel.
_CALL_SECONDS = 0.1

# No piece is larger than this; see `smaller_pieces`.
_largest = 1 << 62


def cut(n: int, row_size: int = 1, most: int = BLOCK_VALUES) -> list[slice]:
    """
    Cut n rows into blocks of consecutive rows; each block has at least one row.

    Parameters
    ----------
    n : int
    row_size : int
        Size of a row, in values or bytes.
    most : int
        Largest size of a block, in the same unit.
    """
    step = max(1, min(most, _largest) // max(1, row_size))
    if 0 < n <= step:
        return [slice(0, n)]
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def cut_unequal(sizes: Sequence[int], most: int) -> list[slice]:
    """Cut rows of different sizes into blocks of consecutive rows, as `cut` does."""
    most = min(most, _largest)
    blocks, start, used = [], 0, 0
    for row, size in enumerate(sizes):
        if used + size > most and row > start:
            blocks.append(slice(start, row))
            start, used = row, 0
        used += size
    return [*blocks, slice(start, len(sizes))] if sizes else []


def blocks_of(array: NDArray[Any]) -> list[slice]:
    """Cut the rows of an array into blocks of at most `BLOCK_BYTES`."""
    n = len(array)
    # A short search takes a few microseconds, so the size of a row is computed only if it matters.
    if 0 < array.nbytes <= min(BLOCK_BYTES, _largest):
        return [slice(0, n)]
    return cut(n, array[:1].nbytes, BLOCK_BYTES)


@contextmanager
def smaller_pieces(most: int) -> Iterator[None]:
    """
    Limit the size of every piece that `cut` and `Pace` make, until the context ends.

    The limit holds for the whole process, because pieces are also cut in worker threads. A test
    uses it to cut small data into many pieces.
    """
    global _largest
    before, _largest = _largest, most
    try:
        yield
    finally:
        _largest = before


class Pace:
    """
    The amount of work with which a call takes about a tenth of a second.

    Parameters
    ----------
    first : int
        Amount of work of the first call, in units of the caller's choice.
    seconds : float
        Longest time of a call.
    """

    def __init__(self, first: int, seconds: float = _CALL_SECONDS) -> None:
        self.amount = min(max(1, first), _largest)
        self._seconds = seconds

    def timed(self, amount: int, seconds: float) -> None:
        """Adjust the amount after a call, by a factor from 1/8 to 8."""
        fitting = amount * self._seconds / max(seconds, 1e-6)
        bounded = min(max(fitting, self.amount / 8), self.amount * 8, _largest)
        self.amount = max(1, int(bounded))

    def cut(self, n: int, most: int | None = None) -> Iterator[slice]:
        """Cut n units into pieces, and time the caller's work on each to size the next one."""
        first = 0
        while first < n:
            piece = slice(first, min(n, first + min(self.amount, most or n)))
            began = time.perf_counter()
            yield piece
            self.timed(piece.stop - first, time.perf_counter() - began)
            first = piece.stop

    def drive(self, advance: Callable[[int], int]) -> None:
        """Call ``advance(amount)``, which returns the amount of work done, until it returns 0."""
        while True:
            began = time.perf_counter()
            done = advance(self.amount)
            if done == 0:
                return
            self.timed(done, time.perf_counter() - began)
