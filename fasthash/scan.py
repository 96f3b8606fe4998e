"""Scans over validated codes: which rows may be found, and work cut so that Ctrl-C is answered.

Python looks at signals between calls of a kernel, so a long search is a sequence of calls that take
about a quarter of a second each: over some queries, or over some queries and some rows, where the
rows are many. What they return is put together to what one call would have returned.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._kernels import search as _kernels
from ._kernels import sorting as _sorting

__all__ = [
    "MAX_SORTED",
    "Allowed",
    "Pace",
    "allow",
    "join_within",
    "merge_topk",
    "merge_within",
    "query_pieces",
    "scan_topk",
    "scan_within",
]

# Few queries scan all rows and drop what they may not find, unless they may find only this share:
# gathering the allowed rows costs as much as some queries. More queries gather, unless nearly all
# rows are allowed.
_FEW_QUERIES = 16
_FEW_ALLOWED = 0.03
_NEARLY_ALL = 0.75

# From this share of the rows on, 1 / 8, sorting all of them costs less than selecting.
_SORT_SHARE = 8

# The counting sort numbers rows in int32.
MAX_SORTED = 2**31 - 1

# What one call may take, and how many 64-bit words it compares before anything is known of the
# speed: milliseconds in memory, a second from a slow disk.
_CALL_SECONDS = 0.25
_FIRST_WORDS = 1 << 24
# A search of no more words than this is one call, if a query takes no more than these.
_ONE_CALL_WORDS = 1 << 27
_ONE_CALL_QUERY_WORDS = 1 << 25
# A top-k over all rows takes at least so many queries, which share what a tile costs; else it is
# cut by rows, and takes this many queries and rows.
_SHARING_QUERIES = 64
_MOST_QUERIES = 256
_FEWEST_ROWS = 1 << 16


@dataclass(frozen=True)
class Allowed:
    """
    Rows that a search may find.

    Attributes
    ----------
    n : int
        How many they are.
    rows : ndarray of int64 or None
        Which they are, ascending; or
    flags : ndarray of bool or None
        for every row whether it is one of them, C-contiguous.
    """

    n: int
    rows: NDArray[np.int64] | None = None
    flags: NDArray[np.bool_] | None = None

    def flags_of(self, n_rows: int) -> NDArray[np.bool_]:
        """A flag for every one of n_rows rows."""
        if self.flags is not None:
            return self.flags
        flags = np.zeros(n_rows, bool)
        flags[self.rows] = True
        return flags


def allow(flags: NDArray[np.bool_] | None) -> Allowed | None:
    """What a mask allows; None, as no mask, is all."""
    return None if flags is None else Allowed(int(np.count_nonzero(flags)), flags=flags)


class Pace:
    """How much work a call may do so that it takes about a quarter of a second; units are free."""

    def __init__(self, first: int) -> None:
        self.amount = first

    def timed(self, amount: int, seconds: float) -> None:
        """Learn from a call: an eighth to eight times as much for the next one."""
        fitting = amount * _CALL_SECONDS / max(seconds, 1e-6)
        self.amount = max(1, int(min(max(fitting, self.amount / 8), self.amount * 8)))

    def pieces(self, n: int) -> Iterator[slice]:
        """Cut n units into slices, timing what the caller does with each."""
        first = 0
        while first < n:
            piece = slice(first, min(n, first + self.amount))
            began = time.perf_counter()
            yield piece
            self.timed(piece.stop - first, time.perf_counter() - began)
            first = piece.stop


def scan_topk(
    queries: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    k: int,
    n_threads: int,
    allowed: Allowed | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """
    The k nearest rows of every query, as `hamming.topk` answers, for validated arguments.

    Parameters
    ----------
    queries, codes : ndarray of uint8, shapes (n_queries, n_bytes) and (n, n_bytes)
    k : int
    n_threads : int
        As resolved by `runtime.resolve_threads`.
    allowed : Allowed, optional
        The rows that may be found; by default all.
    """
    rows, flags, n_allowed = _restrict(allowed, len(codes), len(queries), k)
    n_found = min(k, n_allowed)
    distances = np.empty((len(queries), n_found), np.int32)
    found = np.empty((len(queries), n_found), np.int64)
    if n_found:
        n_searched = n_allowed if flags is None else len(codes)
        for q, parts in _cut(len(queries), n_searched, codes, _SHARING_QUERIES):
            if parts is None:
                _topk(queries[q], codes, rows, flags, distances[q], found[q], n_threads)
            else:
                distances[q], found[q] = _topk_of_parts(
                    queries[q], codes, rows, flags, n_found, parts, n_threads
                )
    ids = found if rows is None else rows[found]
    if n_found == k:
        return distances, ids
    missing = ((0, 0), (0, k - n_found))
    return (
        np.pad(distances, missing, constant_values=-1),
        np.pad(ids, missing, constant_values=-1),
    )


def scan_within(
    queries: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    radius: int,
    n_threads: int,
    allowed: Allowed | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """
    All rows within the radius, as `hamming.within` answers, for validated arguments.

    Parameters
    ----------
    queries, codes : ndarray of uint8, shapes (n_queries, n_bytes) and (n, n_bytes)
    radius : int
        At most 8 n_bytes.
    n_threads : int
        As resolved by `runtime.resolve_threads`.
    allowed : Allowed, optional
        The rows that may be found; by default all.
    """
    rows, flags, n_allowed = _restrict(allowed, len(codes), len(queries))
    as_bytes = None if flags is None else flags.view(np.uint8)
    answers = []
    n_searched = n_allowed if flags is None else len(codes)
    # Merging what parts of the rows give costs more than sharing tiles saves: one query is enough.
    for q, parts in _cut(len(queries), n_searched, codes, 1):
        if parts is None:
            answers.append(_kernels.within(queries[q], codes, rows, as_bytes, radius, n_threads))
        else:
            answers.append(
                _within_of_parts(queries[q], codes, rows, flags, radius, parts, n_threads)
            )
    limits, distances, found = join_within(answers)
    return limits, distances, found if rows is None else rows[found]


def join_within(
    answers: list[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Put the answers to some queries behind those to the queries before."""
    if len(answers) == 1:
        return answers[0]
    counts = [np.diff(limits) for limits, _, _ in answers]
    limits = np.concatenate([np.zeros(1, np.int64), *counts]).cumsum()
    if not answers:
        return limits, np.empty(0, np.int32), np.empty(0, np.int64)
    return limits, np.concatenate([a[1] for a in answers]), np.concatenate([a[2] for a in answers])


def merge_within(
    answers: list[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Merge answers to the same queries over different codes, by (distance, id)."""
    counts = [np.diff(limits) for limits, _, _ in answers]
    n_queries = len(counts[0])
    query = np.concatenate([np.repeat(np.arange(n_queries), count) for count in counts])
    distances = np.concatenate([a[1] for a in answers])
    ids = np.concatenate([a[2] for a in answers])
    order = np.lexsort((ids, distances, query))
    limits = np.concatenate([np.zeros(1, np.int64), sum(counts)]).cumsum()
    return limits, distances[order], ids[order]


def merge_topk(
    answers: list[tuple[NDArray[np.int32], NDArray[np.int64]]], k: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Merge the nearest of the same queries among different codes, by (distance, id)."""
    distances = np.concatenate([a[0] for a in answers], axis=1)
    ids = np.concatenate([a[1] for a in answers], axis=1)
    # What is missing, -1, comes last.
    last = np.where(ids < 0, np.iinfo(np.int32).max, distances)
    order = np.lexsort((ids, last), axis=-1)[:, :k]
    return np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1)


def _topk(
    queries: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    rows: NDArray[np.int64] | None,
    flags: NDArray[np.bool_] | None,
    distances: NDArray[np.int32],
    found: NDArray[np.int64],
    n_threads: int,
) -> None:
    n_searched, n_found = len(codes) if rows is None else len(rows), distances.shape[1]
    if flags is None and _SORT_SHARE * n_found >= n_searched and n_searched <= MAX_SORTED:
        _sorting.rank(queries, codes, rows, distances, found, n_threads)
    else:
        allowed = None if flags is None else flags.view(np.uint8)
        _kernels.topk(queries, codes, rows, allowed, n_found, distances, found, n_threads)


def _topk_of_parts(
    queries: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    rows: NDArray[np.int64] | None,
    flags: NDArray[np.bool_] | None,
    k: int,
    parts: Iterator[slice],
    n_threads: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """As one `_topk`, part after part of the searched rows."""
    best = np.empty((len(queries), 0), np.int32), np.empty((len(queries), 0), np.int64)
    for part in parts:
        some_codes, some_rows, some_flags = _take(part, codes, rows, flags)
        n_some = part.stop - part.start
        n_found = min(k, n_some if some_flags is None else int(np.count_nonzero(some_flags)))
        if n_found == 0:
            continue
        shape = len(queries), n_found
        distances, found = np.empty(shape, np.int32), np.empty(shape, np.int64)
        _topk(queries, some_codes, some_rows, some_flags, distances, found, n_threads)
        best = merge_topk([best, (distances, found + part.start)], k)
    return best


def _within_of_parts(
    queries: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    rows: NDArray[np.int64] | None,
    flags: NDArray[np.bool_] | None,
    radius: int,
    parts: Iterator[slice],
    n_threads: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """As one `_kernels.within`, part after part of the searched rows."""
    answers = []
    for part in parts:
        some_codes, some_rows, some_flags = _take(part, codes, rows, flags)
        allowed = None if some_flags is None else some_flags.view(np.uint8)
        limits, distances, found = _kernels.within(
            queries, some_codes, some_rows, allowed, radius, n_threads
        )
        answers.append((limits, distances, found + part.start))
    return merge_within(answers)


def _take(
    part: slice,
    codes: NDArray[np.uint8],
    rows: NDArray[np.int64] | None,
    flags: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None, NDArray[np.bool_] | None]:
    """A part of the searched rows: of all, of those that flags are about, or of those listed."""
    if rows is not None:
        return codes, rows[part], None
    return codes[part], None, None if flags is None else flags[part]


def query_pieces(n_queries: int, n_rows: int, codes: NDArray[np.uint8]) -> Iterator[slice]:
    """Cut work over all of n_rows rows into calls over some of the queries."""
    per_query = max(1, n_rows * -(-codes.shape[1] // 8))
    if n_queries * per_query <= _ONE_CALL_WORDS:
        return iter([slice(0, n_queries)])
    return Pace(max(1, _FIRST_WORDS // per_query)).pieces(n_queries)


def _cut(
    n_queries: int, n_rows: int, codes: NDArray[np.uint8], fewest: int
) -> Iterator[tuple[slice, Iterator[slice] | None]]:
    """
    Cut a search into calls: queries, and parts of the searched rows, None for all at once.

    A call over all rows takes `fewest` queries at least, or the rows are cut.
    """
    n_words = -(-codes.shape[1] // 8)
    per_query = n_rows * n_words
    is_short = per_query <= _ONE_CALL_QUERY_WORDS and n_queries * per_query <= _ONE_CALL_WORDS
    if is_short or n_rows == 0:
        yield slice(0, n_queries), None
        return
    pace = Pace(_FIRST_WORDS)
    first = 0
    while first < n_queries:
        left = n_queries - first
        count = min(left, pace.amount // per_query)
        if count >= min(left, fewest):
            began = time.perf_counter()
            yield slice(first, first + count), None
            pace.timed(count * per_query, time.perf_counter() - began)
        else:
            count = min(left, _MOST_QUERIES)
            yield slice(first, first + count), _row_parts(n_rows, count * n_words, pace)
        first += count


def _row_parts(n_rows: int, words_per_row: int, pace: Pace) -> Iterator[slice]:
    first = 0
    while first < n_rows:
        count = min(n_rows - first, max(_FEWEST_ROWS, pace.amount // words_per_row))
        began = time.perf_counter()
        yield slice(first, first + count)
        pace.timed(count * words_per_row, time.perf_counter() - began)
        first += count


def _restrict(
    allowed: Allowed | None, n: int, n_queries: int, k: int = 0
) -> tuple[NDArray[np.int64] | None, NDArray[np.bool_] | None, int]:
    """(rows to gather, or flags of the rows that may be found, or neither; how many they are)."""
    if allowed is None:
        return None, None, n
    if allowed.flags is None:
        return allowed.rows, None, allowed.n
    share = _FEW_ALLOWED if n_queries < _FEW_QUERIES else _NEARLY_ALL
    if allowed.n > share * n and _SORT_SHARE * k < allowed.n:
        return None, allowed.flags, allowed.n
    return np.flatnonzero(allowed.flags), None, allowed.n
