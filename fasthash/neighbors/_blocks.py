"""All pairs within a radius, found in blocks of rows, in the order of (first row, second row).

A block is the pairs whose first row is in a range of rows. If there are more pairs in it than a
block may hold, the work on it ends, and it starts again with fewer rows. So memory is bounded for
any number of pairs. Each call of a kernel takes about a tenth of a second, so that Ctrl-C works.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core.interruptible import in_helper_thread
from .._core.pieces import Pace
from .._core.scan import scan_within
from .._kernels.joins import Join
from ._plan import plan_pairs

__all__ = ["MAX_ROWS", "Pairs", "found_blocks"]

# Rows are uint32 in the tables.
MAX_ROWS = 2**32 - 1

# Rows of the first call of a kernel, before its speed is known.
_FIRST_SORTED, _FIRST_COMPARED = 1 << 22, 1 << 12
# First rows of a block of a scan, at most: more of them are not compared at once.
_MOST_SCANNED = 1 << 12


class Pairs(NamedTuple):
    """
    Pairs of rows, in the order of (first, second).

    Attributes
    ----------
    first, second : ndarray of int64, shape (n_pairs,)
        Row numbers. In pairs within one set of codes, ``first[i] < second[i]``.
    distances : ndarray of int32, shape (n_pairs,)
        Hamming distances.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distances: NDArray[np.int32]


def found_blocks(
    codes: NDArray[np.uint8],
    others: NDArray[np.uint8] | None,
    radius: int,
    most: int,
    n_threads: int,
) -> Iterator[Pairs]:
    """
    Find all pairs within the radius: two rows of `codes`, or a row of each set.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n, n_bytes)
        Checked codes, at most `MAX_ROWS`.
    others : ndarray of uint8, shape (n_others, n_bytes), or None
        None pairs the codes with each other; then the first row is the smaller one.
    radius : int
        At most 8 n_bytes.
    most : int
        A block has about so many pairs at most, or those of a single first row.
    n_threads : int
        As resolved by `runtime.resolve_threads`.
    """
    plan = plan_pairs(codes, others, radius)
    if plan.n_tables is None:
        return _scanned(codes, others, radius, most, n_threads)
    n_rows = _first_rows(len(codes), others, plan.share, most)
    return _joined(codes, others, radius, plan.n_tables, n_rows, most, n_threads)


def _joined(
    codes: NDArray[np.uint8],
    others: NDArray[np.uint8] | None,
    radius: int,
    n_tables: int,
    n_rows: int,
    most: int,
    n_threads: int,
) -> Iterator[Pairs]:
    start, n = 0, len(codes)
    sorting, comparing = Pace(_FIRST_SORTED), Pace(_FIRST_COMPARED)
    while start < n:
        end = min(n, start + n_rows)
        seconds, second_row = (codes[end:], end) if others is None else (others, 0)
        join = Join(
            codes[start:end],
            start,
            seconds if len(seconds) else None,
            second_row,
            others is None,
            radius,
            n_tables,
            most,
            n_threads,
        )
        for j in range(join.n_steps):
            join.start(j)
            sorting.drive(join.sort)
            comparing.drive(join.compare)
            if join.has_overflowed:
                # As many rows as the work done so far could have had, and some fewer.
                done = (j + join.n_compared / (end - start)) / join.n_steps
                n_rows = max(1, int((end - start) * min(done, 0.5) * 0.8))
                break
        else:
            found = Pairs(*join.pairs())
            # Free its tables before the next block.
            del join
            yield found
            n_rows = _next_rows(end - start, len(found.first), most)
            start = end


def _scanned(
    codes: NDArray[np.uint8],
    others: NDArray[np.uint8] | None,
    radius: int,
    most: int,
    n_threads: int,
) -> Iterator[Pairs]:
    start, n = 0, len(codes)
    # So many rows fit, whatever is found.
    n_rows = max(1, most // max(1, n if others is None else len(others)))
    while start < n:
        end = min(n, start + min(n_rows, _MOST_SCANNED))
        # Those before `start` have been compared with these rows already.
        seconds, second_row = (codes[start:], start) if others is None else (others, 0)
        some = codes[start:end]
        limits, distances, rows = scan_within(some, seconds, radius, n_threads, most=most)
        end = start + len(limits) - 1
        first = np.repeat(np.arange(start, end), np.diff(limits))
        rows += second_row
        if others is None:
            kept = rows > first
            first, rows, distances = first[kept], rows[kept], distances[kept]
        keys = (first - start) << 32 | rows
        order = in_helper_thread(len(keys), partial(np.argsort, keys))
        yield Pairs(first, rows[order], distances[order])
        n_rows = _next_rows(end - start, len(keys), most)
        start = end


def _first_rows(n: int, others: NDArray[np.uint8] | None, share: float, most: int) -> int:
    """The rows of the first block, if about such a share of all pairs lies within the radius."""
    n_pairs = share * (n * (n - 1) / 2 if others is None else n * len(others))
    fitting = min(1.0, 0.8 * most / max(n_pairs, 1.0))
    # Within one set, the first rows are in more pairs than the last ones.
    return max(1, int(n * (1 - (1 - fitting) ** 0.5 if others is None else fitting)))


def _next_rows(n_rows: int, n_pairs: int, most: int) -> int:
    """The rows of the next block, after a block of so many rows has given so many pairs."""
    return max(1, int(n_rows * min(8.0, 0.8 * most / max(1, n_pairs))))
