"""Scans over checked codes, cut into short calls so that Ctrl-C works.

Python handles signals between calls of a kernel. So a long search is a sequence of calls that take
about a tenth of a second each. A call searches for some of the queries. If there are many rows, a
kernel keeps its position, and each call scans some more of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .._kernels import distances as _distances
from .._kernels import radius as _radius
from .._kernels import search as _search
from .._kernels import sorting as _sorting
from .._kernels import weighted as _weighted
from .allowed import Allowed
from .interruptible import copy, in_helper_thread, take
from .pieces import Pace, blocks_of, cut
from .runtime import resolve_threads
from .stored_codes import Codes, Order, layout_of

__all__ = [
    "MAX_SORTED",
    "CallSizes",
    "join_within",
    "look_up",
    "merge_topk",
    "merge_within",
    "pace_of_rows",
    "pad",
    "scan_distances",
    "scan_rank",
    "scan_topk",
    "scan_weighted",
    "scan_within",
    "threads_of_scan",
]

# The counting sort numbers rows in int32.
MAX_SORTED = 2**31 - 1

# More work than any call has.
_EVERYTHING = 2**63 - 1

# All queries in a single call. A short search takes a few microseconds, so nothing is computed.
_ONE_CALL = ((slice(None), None),)


@dataclass(frozen=True)
class CallSizes:
    """
    How a search is cut into calls; work is counted in compared 64-bit words.

    Attributes
    ----------
    seconds : float
        Longest time of a call.
    first_words : int
        Work of the first call, before the speed is known: it takes milliseconds in memory, half a
        second from a slow disk.
    one_call_words : int
        A search with at most this much work is one call.
    sharing_queries : int
        Number of queries that are compared with a tile of the database while it is in the cache.
    shared_words : int
        If `sharing_queries` queries are more work than this, a call scans some of the rows.
        Otherwise calls over some of the queries are short enough.
    """

    seconds: float = 0.1
    first_words: int = 1 << 24
    one_call_words: int = 1 << 25
    sharing_queries: int = 256
    shared_words: int = 1 << 25


_SIZES = CallSizes()


class _Steps(Protocol):
    """A kernel that keeps its position between calls."""

    def advance(self, n_words: int) -> int:
        """Compare about n_words words per thread; return how many, 0 at the end."""


def scan_topk(
    queries: NDArray[np.uint8],
    codes: Codes,
    k: int,
    n_threads: int,
    allowed: Allowed | None = None,
    sizes: CallSizes = _SIZES,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """
    Find the k nearest rows of every query, as `hamming.topk` does, for checked arguments.

    Parameters
    ----------
    queries : ndarray of uint8, shape (n_queries, n_bytes)
    codes : ndarray of uint8 or StoredCodes, shape (n, n_bytes)
    k : int
    n_threads : int
        As resolved by `runtime.resolve_threads`.
    allowed : Allowed, optional
        The rows that may be found; by default all.
    sizes : CallSizes, optional
    """
    codes, order = layout_of(codes)
    chosen, flags, n_allowed = _restrict(allowed, codes, len(queries), min(k, len(codes)))
    n_found = min(k, n_allowed)
    n_searched = n_allowed if flags is None else len(codes)
    is_sorted = flags is None and _sorting.sorts_all_rows(n_found, n_searched)
    calls = _calls(len(queries), n_searched, codes, sizes)
    rows, numbers = _as_they_lie(chosen, allowed, order, is_sorted)
    if calls is _ONE_CALL and not is_sorted and n_found and len(queries):
        distances, found = _search.topk(queries, codes, rows, flags, numbers, n_found, n_threads)
        if n_found == k and chosen is None:
            return distances, found
    else:
        distances = np.empty((len(queries), n_found), np.int32)
        found = np.empty((len(queries), n_found), np.int64)
        for q, pace in calls if found.size else ():
            some, nearest, positions = queries[q], distances[q], found[q]
            if is_sorted:
                _run(_sorting.Ranking(some, codes, rows, nearest, positions, n_threads), pace)
            elif pace is None:
                answer = _search.topk(some, codes, rows, flags, numbers, n_found, n_threads)
                distances[q], found[q] = answer
            else:
                search = _search.Topk(
                    some, codes, rows, flags, numbers, n_found, nearest, positions, n_threads
                )
                pace.drive(search.advance)
                # Free its scratch memory before the next search allocates its own.
                del search
    return pad(distances, found if chosen is None else look_up(chosen, found), k)


def scan_weighted(
    weights: NDArray[np.int16],
    codes: Codes,
    k: int,
    n_threads: int,
    allowed: Allowed | None = None,
    sizes: CallSizes = _SIZES,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """
    Find the k rows of every query with the smallest weights of differing bits.

    Parameters
    ----------
    weights : ndarray of int16, shape (n_queries, 8 n_bytes)
        Positive where the query has bit 1, negative where it has bit 0. The absolute weights of a
        byte add up to at most 255.
    codes : ndarray of uint8 or StoredCodes, shape (n, n_bytes)
    k : int
    n_threads : int
        As resolved by `runtime.resolve_threads`.
    allowed : Allowed, optional
        The rows that may be found; by default all.
    sizes : CallSizes, optional

    Returns
    -------
    distances : ndarray of int32, shape (n_queries, k)
        Sums of the absolute weights of the bits that differ, ascending; -1 where missing.
    rows : ndarray of int64, shape (n_queries, k)
        Ascending among equal distances; -1 where missing.
    """
    codes, order = layout_of(codes)
    chosen, flags, n_allowed = _restrict(allowed, codes, len(weights))
    rows, numbers = _as_they_lie(chosen, allowed, order)
    n_found = min(k, n_allowed)
    distances = np.empty((len(weights), n_found), np.int32)
    found = np.empty((len(weights), n_found), np.int64)
    if found.size:
        n_searched = n_allowed if flags is None else len(codes)
        for q, pace in _calls(len(weights), n_searched, codes, sizes):
            search = _weighted.WeightedTopk(
                *(weights[q], codes, rows, flags, numbers, n_found),
                *(distances[q], found[q], n_threads),
            )
            _run(search, pace)
            del search
    return pad(distances, found if chosen is None else look_up(chosen, found), k)


def scan_within(
    queries: NDArray[np.uint8],
    codes: Codes,
    radius: int,
    n_threads: int,
    allowed: Allowed | None = None,
    sizes: CallSizes = _SIZES,
    most: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """
    Find all rows within the radius, as `hamming.within` does, for checked arguments.

    Parameters
    ----------
    queries : ndarray of uint8, shape (n_queries, n_bytes)
    codes : ndarray of uint8 or StoredCodes, shape (n, n_bytes)
    radius : int
        At most 8 n_bytes.
    n_threads : int
        As resolved by `runtime.resolve_threads`.
    allowed : Allowed, optional
        The rows that may be found; by default all.
    sizes : CallSizes, optional
    most : int, optional
        With more answers than this, only the first queries are answered: as many as have at most
        this number of answers together, but at least one.
    """
    given = codes
    codes, order = layout_of(given)
    chosen, flags, n_allowed = _restrict(allowed, codes, len(queries))
    rows, numbers = _as_they_lie(chosen, allowed, order)
    answers: list[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]] = []
    n_left = _EVERYTHING if most is None else most
    n_searched = n_allowed if flags is None else len(codes)
    at_once = _radius.queries_at_once(radius)
    for q, pace in _calls(len(queries), n_searched, codes, sizes, at_once):
        search = _radius.Within(queries[q], codes, rows, flags, numbers, radius, n_left, n_threads)
        _run(search, pace)
        if search.distances is None:
            n_fitting = int(search.limits.searchsorted(n_left, side="right")) - 1
            if n_fitting > 0 or not answers:
                some = queries[q][: max(1, n_fitting)]
                answers.append(scan_within(some, given, radius, n_threads, allowed, sizes))
            break
        if numbers is not None:
            answer = search.limits, search.distances, search.positions
            in_helper_thread(len(answer[2]), partial(_radius.sort_ties, *answer, n_threads))
        answers.append((search.limits, search.distances, search.positions))
        n_left -= len(search.positions)
        # Free its scratch memory before the next search allocates its own.
        del search
    limits, distances, found = join_within(answers)
    return limits, distances, found if chosen is None else look_up(chosen, found)


def scan_rank(
    queries: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    rows: NDArray[np.int64] | None,
    out: NDArray[np.int64],
    n_threads: int,
    sizes: CallSizes = _SIZES,
) -> None:
    """
    Write the nearest of the rows (None: all) to `out`, by (distance, row).

    Parameters
    ----------
    queries, codes : ndarray of uint8, shapes (n_queries, n_bytes) and (n, n_bytes)
    rows : ndarray of int64, shape (n_searched,), or None
        Ascending, at most `MAX_SORTED`.
    out : ndarray of int64, shape (n_queries, k), k <= n_searched
    n_threads : int
        As resolved by `runtime.resolve_threads`.
    sizes : CallSizes, optional
    """
    if out.size == 0:
        return
    n_searched = len(codes) if rows is None else len(rows)
    for q, pace in _calls(len(queries), n_searched, codes, sizes):
        _run(_sorting.Ranking(queries[q], codes, rows, None, out[q], n_threads), pace)
    if rows is not None:
        look_up(rows, out)


def scan_distances(
    a: NDArray[np.uint8],
    b: NDArray[np.uint8],
    out: NDArray[np.int32],
    n_threads: int,
    sizes: CallSizes = _SIZES,
) -> None:
    """Write the distance of every code in `a` to every code in `b`, for checked arguments."""
    n_words = _words_of(b)
    per_query = max(1, len(b) * n_words)
    if len(a) * per_query <= sizes.one_call_words:
        _distances.distances(a, b, out, n_threads)
    elif per_query <= sizes.first_words:
        for q in Pace(sizes.first_words // per_query, sizes.seconds).cut(len(a)):
            _distances.distances(a[q], b, out[q], n_threads)
    else:
        pace = Pace(sizes.first_words // n_words, sizes.seconds)
        for i in range(len(a)):
            for rows in pace.cut(len(b)):
                _distances.distances(a[i : i + 1], b[rows], out[i : i + 1, rows], n_threads)


def join_within(
    answers: list[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Join the answers to consecutive blocks of queries."""
    if len(answers) == 1:
        return answers[0]
    counts = [np.diff(limits) for limits, _, _ in answers]
    limits = np.concatenate([np.zeros(1, np.int64), *counts]).cumsum()
    distances, ids = np.empty(limits[-1], np.int32), np.empty(limits[-1], np.int64)
    end = 0
    for _, some_distances, some_ids in answers:
        part = slice(end, end + len(some_ids))
        copy(some_distances, distances[part])
        copy(some_ids, ids[part])
        end = part.stop
    return limits, distances, ids


def merge_within(
    answers: list[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Merge answers to the same queries over different codes, by (distance, id)."""
    counts = [np.diff(limits) for limits, _, _ in answers]
    n_queries = len(counts[0])
    query = np.concatenate([np.repeat(np.arange(n_queries), count) for count in counts])
    distances = np.concatenate([a[1] for a in answers])
    ids = np.concatenate([a[2] for a in answers])
    order = in_helper_thread(len(ids), lambda: np.lexsort((ids, distances, query)))
    limits = np.concatenate([np.zeros(1, np.int64), sum(counts)]).cumsum()
    return limits, take(distances, order), take(ids, order)


def merge_topk(
    answers: list[tuple[NDArray[np.int32], NDArray[np.int64]]], k: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Merge the nearest of the same queries among different codes, by (distance, id)."""
    distances = np.concatenate([a[0] for a in answers], axis=1)
    ids = np.concatenate([a[1] for a in answers], axis=1)
    # Missing answers, -1, come last.
    last = np.where(ids < 0, np.iinfo(np.int32).max, distances)
    order = in_helper_thread(ids.size, lambda: np.lexsort((ids, last), axis=-1)[:, :k])
    return np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1)


def look_up(values: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Replace positions by the values at them, in place, and return them; -1 stays."""
    flat = positions.reshape(-1)
    for some in blocks_of(flat):
        _search.look_up(values, flat[some])
    return positions


def pace_of_rows(n_rows: int, n_queries: int, codes: NDArray[np.uint8]) -> Pace:
    """A pace in rows per call; all rows at once if the whole work is small."""
    per_row = max(1, n_queries * _words_of(codes))
    is_short = n_rows * per_row <= _SIZES.one_call_words
    return Pace(n_rows if is_short else _SIZES.first_words // per_row, _SIZES.seconds)


def _calls(
    n_queries: int,
    n_rows: int,
    codes: NDArray[np.uint8],
    sizes: CallSizes,
    at_once: int | None = None,
) -> Iterable[tuple[slice, Pace | None]]:
    """
    Cut the queries of a search into blocks of at most `at_once`; yield (block, pace).

    The pace, in 64-bit words, is for the calls of the kernel; None means a single call.
    """
    per_query = n_rows * _words_of(codes)
    if n_queries * per_query > sizes.one_call_words:
        return _long_calls(n_queries, per_query, sizes, at_once or n_queries)
    if at_once is None or n_queries <= at_once:
        # A search without queries has an answer too.
        return _ONE_CALL
    return ((some, None) for some in cut(n_queries, most=at_once))


def _long_calls(
    n_queries: int, per_query: int, sizes: CallSizes, at_once: int
) -> Iterator[tuple[slice, Pace | None]]:
    if sizes.sharing_queries * per_query <= sizes.shared_words:
        for some in Pace(sizes.first_words // per_query, sizes.seconds).cut(n_queries, at_once):
            yield some, None
    else:
        pace = Pace(sizes.first_words, sizes.seconds)
        for some in cut(n_queries, most=min(sizes.sharing_queries, at_once)):
            yield some, pace


def pad(
    distances: NDArray[np.int32], ids: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Fill the answers up to k columns with -1."""
    n_found = ids.shape[1]
    if n_found == k:
        return distances, ids
    missing = ((0, 0), (0, k - n_found))
    return (
        np.pad(distances, missing, constant_values=-1),
        np.pad(ids, missing, constant_values=-1),
    )


def _run(search: _Steps, pace: Pace | None) -> None:
    if pace is None:
        search.advance(_EVERYTHING)
    else:
        pace.drive(search.advance)


def threads_of_scan(n_threads: int | None, queries: NDArray[np.uint8], codes: Codes) -> int:
    """Turn the ``n_threads`` argument of a search among all codes into a number of threads."""
    if n_threads is not None:
        return resolve_threads(n_threads)
    return resolve_threads(None, len(queries) * len(codes) * _words_of(codes))


def _words_of(codes: Codes) -> int:
    """Number of 64-bit words of a code."""
    return -(-codes.shape[1] // 8)


def _restrict(
    allowed: Allowed | None, codes: NDArray[np.uint8], n_queries: int, k: int = 0
) -> tuple[NDArray[np.int64] | None, NDArray[np.uint8] | None, int]:
    """(rows to search or None, flags of the allowed rows or None, number of allowed rows)."""
    if allowed is None or allowed.is_everything:
        return None, None, len(codes)
    if allowed.is_gathered(n_queries, _words_of(codes)) or _sorting.sorts_all_rows(k, allowed.n):
        return allowed.rows, None, allowed.n
    return None, allowed.flags.view(np.uint8), allowed.n


def _as_they_lie(
    rows: NDArray[np.int64] | None,
    allowed: Allowed | None,
    order: Order | None,
    is_sorted: bool = False,
) -> tuple[NDArray[np.int64] | None, NDArray[np.uint32] | None]:
    """
    (codes to gather or None, the row of each code or None), for codes that lie in this order.

    `rows` are None or the allowed ones. All codes are gathered if a sort must keep their order.
    """
    if order is None:
        return rows, None
    if rows is not None and allowed is not None:
        return allowed.places_in(order), None
    return (order.places.astype(np.int64), None) if is_sorted else (None, order.rows)
