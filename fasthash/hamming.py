"""Exact Hamming search over packed codes: distances, top-k, radius search, full ranking.

Answers name codes by their row numbers in the database. The order is always (distance, row), so
results do not depend on the number of threads or the instruction set. A filter restricts a search
to some rows. A long call can be interrupted between its parts, see `_core.scan`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core.allowed import allow
from ._core.excluded import check_exclude_self, drop_own, drop_own_within
from ._core.runtime import resolve_threads
from ._core.scan import (
    MAX_SORTED,
    scan_distances,
    scan_rank,
    scan_topk,
    scan_within,
    threads_of_scan,
)
from ._core.validation import check_count, check_filter
from .codes import check_codes, check_same_width

__all__ = ["distances", "rank", "topk", "within"]


def distances(a: ArrayLike, b: ArrayLike, *, n_threads: int | None = None) -> NDArray[np.int32]:
    """
    Compute the Hamming distance of every code in `a` to every code in `b`.

    Parameters
    ----------
    a : array_like of uint8, shape (n_a, n_bytes)
        Packed codes, as made by `pack`.
    b : array_like of uint8, shape (n_b, n_bytes)
        Packed codes of the same width.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores. A negative number counts
        from the end: -1 is all cores, -2 all but one.

    Returns
    -------
    ndarray of int32, shape (n_a, n_b)
        Number of bits in which the codes differ.

    Raises
    ------
    TypeError, ValueError
        If the codes are not packed, or differ in width.

    See Also
    --------
    topk : The k nearest codes, without a matrix of all distances.
    within : All codes within a radius.

    Notes
    -----
    Costs n_a · n_b · n_bytes / 8 word operations, and 4 n_a · n_b bytes for the result.

    Examples
    --------
    >>> import fasthash as fh
    >>> a = fh.pack([[True, False, True]])
    >>> fh.distances(a, fh.pack([[True, True, False], [True, False, True]]))
    array([[2, 0]], dtype=int32)
    """
    a, b = _check_pair(a, "a", b, "b")
    out = np.empty((len(a), len(b)), np.int32)
    scan_distances(a, b, out, resolve_threads(n_threads))
    return out


def topk(
    queries: ArrayLike,
    database: ArrayLike,
    k: int,
    *,
    filter: ArrayLike | None = None,
    exclude_self: bool = False,
    n_threads: int | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """
    Find the k nearest codes of every query, exactly.

    Parameters
    ----------
    queries : array_like of uint8, shape (n_queries, n_bytes)
        Packed codes, as made by `pack`.
    database : array_like of uint8, shape (n, n_bytes)
        Packed codes to search, of the same width.
    k : int
        How many codes to return for each query; may exceed n.
    filter : array_like of bool, uint8 or int, optional
        Rows that may be found, by default all. Either booleans of shape (n,); or these booleans
        packed by `numpy.packbits`, uint8 of shape (ceil(n / 8),); or row numbers in any order, of
        any integer dtype except uint8.
    exclude_self : bool, default False
        Whether query i leaves out row i of the database. The queries must be the database. Other
        rows with the same code are found.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    distances : ndarray of int32, shape (n_queries, k)
        Ascending; -1 in the columns past n, or past the number of allowed rows.
    rows : ndarray of int64, shape (n_queries, k)
        Row numbers of the database, ascending among equal distances; -1 where missing.

    Raises
    ------
    TypeError, ValueError
        If the codes are not packed or differ in width, k is less than 1, or the filter does not
        fit; or with `exclude_self`, if the queries are not the database.

    See Also
    --------
    within : All codes within a radius.
    rank : All rows in order.
    rerank : Sort the answers by the vectors that the codes were made of.
    HammingIndex.search : The same search in an index, which answers with ids.

    Notes
    -----
    Costs one scan of the allowed rows per query, n · n_bits / 64 word operations (n_bits rounded up
    to a multiple of 64), plus O(k + n_bits). Scratch memory stays below 64 MiB per thread for k up
    to two million. If k is n / 8 or more, all rows are sorted instead, with 8 bytes per row and
    thread.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    >>> distances, rows = fh.topk(fh.pack([[1.0, 1.0]]), database, k=2)
    >>> distances, rows
    (array([[0, 1]], dtype=int32), array([[0, 2]]))
    >>> fh.topk(fh.pack([[1.0, 1.0]]), database, k=1, filter=[1, 2])
    (array([[1]], dtype=int32), array([[2]]))
    >>> fh.topk(database, database, k=1, exclude_self=True)[1]
    array([[2],
           [2],
           [0]])
    """
    queries, database = _check_pair(queries, "queries", database, "database")
    k = check_count(k, "k")
    allowed = allow(check_filter(filter, len(database)), len(database))
    threads = threads_of_scan(n_threads, queries, database)
    of = "queries", "database"
    if exclude_self is not False and check_exclude_self(exclude_self, queries, database, of):
        found = scan_topk(queries, database, k + 1, threads, allowed)
        return drop_own(*found, np.arange(len(queries)))
    return scan_topk(queries, database, k, threads, allowed)


def within(
    queries: ArrayLike,
    database: ArrayLike,
    radius: int,
    *,
    filter: ArrayLike | None = None,
    exclude_self: bool = False,
    n_threads: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """
    Find all codes within a Hamming radius of every query.

    Parameters
    ----------
    queries : array_like of uint8, shape (n_queries, n_bytes)
        Packed codes, as made by `pack`.
    database : array_like of uint8, shape (n, n_bytes)
        Packed codes to search, of the same width.
    radius : int
        Largest distance that counts, in bits; inclusive.
    filter : array_like of bool, uint8 or int, optional
        Rows that may be found, by default all; as in `topk`.
    exclude_self : bool, default False
        Whether query i leaves out row i of the database, as in `topk`.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    limits : ndarray of int64, shape (n_queries + 1,)
        The answers to query i are at ``[limits[i]:limits[i + 1]]`` of the other two.
    distances : ndarray of int32, shape (n_found,)
        Ascending within a query.
    rows : ndarray of int64, shape (n_found,)
        Row numbers of the database, ascending among equal distances.

    Raises
    ------
    TypeError, ValueError
        If the codes are not packed or differ in width, the radius is negative, or the filter does
        not fit; or with `exclude_self`, if the queries are not the database.

    See Also
    --------
    topk : The k nearest codes.
    pairs_within : All pairs of codes within a radius, where the queries are the database.
    HammingIndex.within : The same search in an index, which answers with ids.

    Notes
    -----
    Costs two scans of the allowed rows per query. Queries are searched in blocks, so that the
    scratch memory stays below 32 MiB and 1 MiB per thread for any number of queries and any radius
    up to a million bits. If there are several blocks, their answers are held twice while they are
    joined.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    >>> limits, distances, rows = fh.within(fh.pack([[1.0, 1.0]]), database, radius=1)
    >>> limits, distances, rows
    (array([0, 2]), array([0, 1], dtype=int32), array([0, 2]))
    """
    queries, database = _check_pair(queries, "queries", database, "database")
    radius = min(check_count(radius, "radius", minimum=0, maximum=None), 8 * queries.shape[1])
    allowed = allow(check_filter(filter, len(database)), len(database))
    is_own_left_out = check_exclude_self(exclude_self, queries, database, ("queries", "database"))
    threads = threads_of_scan(n_threads, queries, database)
    found = scan_within(queries, database, radius, threads, allowed)
    return drop_own_within(*found, np.arange(len(queries))) if is_own_left_out else found


def rank(
    queries: ArrayLike,
    database: ArrayLike,
    *,
    filter: ArrayLike | None = None,
    n_threads: int | None = None,
) -> NDArray[np.int64]:
    """
    Sort all rows of the database by their distance, for every query.

    Parameters
    ----------
    queries : array_like of uint8, shape (n_queries, n_bytes)
        Packed codes, as made by `pack`.
    database : array_like of uint8, shape (n, n_bytes)
        Packed codes to sort, of the same width.
    filter : array_like of bool, uint8 or int, optional
        Rows that are sorted, by default all; as in `topk`.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    ndarray of int64, shape (n_queries, n), or (n_queries, n_allowed) with a filter
        Row numbers of the database by ascending distance, ascending among equal distances.

    Raises
    ------
    TypeError, ValueError
        If the codes are not packed or differ in width, or the filter does not fit.

    See Also
    --------
    topk : The first k rows of this order, which cost less.

    Notes
    -----
    A counting sort: O(n + n_bits) per query, 4 n bytes per thread and 8 n per query for the result.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    >>> fh.rank(fh.pack([[1.0, 1.0]]), database)
    array([[0, 2, 1]])
    """
    queries, database = _check_pair(queries, "queries", database, "database")
    allowed = allow(check_filter(filter, len(database)), len(database))
    rows = None if allowed is None else allowed.rows
    n_ranked = len(database) if rows is None else len(rows)
    if n_ranked > MAX_SORTED:
        raise ValueError(
            f"rank would sort {n_ranked} rows for every query; the limit is {MAX_SORTED}: use "
            "topk for the first ones, or a filter"
        )
    out = np.empty((len(queries), n_ranked), np.int64)
    scan_rank(queries, database, rows, out, resolve_threads(n_threads))
    return out


def _check_pair(
    a: ArrayLike, a_name: str, b: ArrayLike, b_name: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    a, b = check_codes(a, a_name), check_codes(b, b_name)
    check_same_width(a, a_name, b, b_name)
    return a, b
