"""Work cut into pieces: blocks of rows of a bounded size, and calls that take a bounded time.

`cut` is for work whose cost is known from its size, `Pace` for calls of a kernel, whose speed is
known only once it has run. Between two pieces Python looks at signals, so Ctrl-C is answered.
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

# Values in a block: 16 MiB in float32, which matrix products use well and threads can afford.
BLOCK_VALUES = 1 << 22

# Bytes in a block: some hundredths of a second in memory, tenths from a slow disk.
BLOCK_BYTES = 1 << 24

# What a call of a kernel may take.
_CALL_SECONDS = 0.1

# No piece is larger than this, whatever its caller asks for; see `smaller_pieces`.
_largest = 1 << 62


def cut(n: int, row_size: int = 1, most: int = BLOCK_VALUES) -> list[slice]:
    """
    Cut n rows into blocks of consecutive rows, each of one row at least.

    Parameters
    ----------
    n : int
    row_size : int
        How much a row counts: values, or bytes.
    most : int
        How much a block may count, in the same unit.
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
    return cut(len(array), array[:1].nbytes, BLOCK_BYTES)


@contextmanager
def smaller_pieces(most: int) -> Iterator[None]:
    """
    Make every piece count at most so much, whatever the callers of `cut` and `Pace` ask for.

    For the whole process, until the context ends. With it a test cuts small data into many pieces.
    """
    global _largest
    before, _largest = _largest, most
    try:
        yield
    finally:
        _largest = before


class Pace:
    """
    How much work a call may do so that it takes about a tenth of a second.

    Parameters
    ----------
    first : int
        Units of work that the first call does. What a unit is, the caller decides.
    seconds : float
        What a call may take.
    """

    def __init__(self, first: int, seconds: float = _CALL_SECONDS) -> None:
        self.amount = min(max(1, first), _largest)
        self._seconds = seconds

    def timed(self, amount: int, seconds: float) -> None:
        """Learn from a call: an eighth to eight times as much for the next one."""
        fitting = amount * self._seconds / max(seconds, 1e-6)
        bounded = min(max(fitting, self.amount / 8), self.amount * 8, _largest)
        self.amount = max(1, int(bounded))

    def cut(self, n: int, most: int | None = None) -> Iterator[slice]:
        """Cut n units into pieces of at most so many, timing what the caller does with each."""
        first = 0
        while first < n:
            piece = slice(first, min(n, first + min(self.amount, most or n)))
            began = time.perf_counter()
            yield piece
            self.timed(piece.stop - first, time.perf_counter() - began)
            first = piece.stop

    def drive(self, advance: Callable[[int], int]) -> None:
        """Call ``advance(amount)``, which returns the work that it did, until it returns 0."""
        while True:
            began = time.perf_counter()
            done = advance(self.amount)
            if done == 0:
                return
            self.timed(done, time.perf_counter() - began)
