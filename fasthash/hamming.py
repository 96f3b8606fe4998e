"""Exact Hamming search over packed codes: distances, top-k, radius search, full ranking.

Ids are row numbers of the database. Order is always (distance, id), so results do not depend on the
number of threads or the instruction set. A mask restricts a search to some rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._kernels import hamming as _kernels
from ._kernels import sorting as _sorting
from .codes import check_codes, check_same_width
from .runtime import resolve_threads
from .validation import check_count, check_mask

__all__ = ["distances", "rank", "topk", "within"]

# Few queries scan all rows and drop what they may not find, unless they may find only this share:
# gathering the allowed rows costs as much as some queries. More queries gather.
_FEW_QUERIES = 16
_FEW_ALLOWED = 0.03

# From this share of the rows on, 1 / 8, sorting all of them costs less than selecting.
_SORT_SHARE = 8

# The counting sort numbers rows in int32.
_MAX_RANKED = 2**31 - 1


def distances(a: ArrayLike, b: ArrayLike, n_threads: int | None = None) -> NDArray[np.int32]:
    """
    Compute the Hamming distance of every code in `a` to every code in `b`.

    Parameters
    ----------
    a : array_like of uint8, shape (n_a, n_bytes)
        Packed codes, as made by `pack`.
    b : array_like of uint8, shape (n_b, n_bytes)
    n_threads : int, optional
        Threads to use, by default ``OMP_NUM_THREADS`` or all cores; see `runtime.resolve_threads`.

    Returns
    -------
    ndarray of int32, shape (n_a, n_b)
        Number of bits in which the codes differ.

    Raises
    ------
    TypeError, ValueError
        If the codes are not packed, or differ in width.

    Notes
    -----
    Costs n_a · n_b · n_bytes / 8 word operations and 4 n_a · n_b bytes for the result.

    Examples
    --------
    >>> import fasthash as fh
    >>> a = fh.pack([[True, False, True]])
    >>> fh.distances(a, fh.pack([[True, True, False], [True, False, True]]))
    array([[2, 0]], dtype=int32)
    """
    a, b = _check_pair(a, "a", b, "b")
    out = np.empty((len(a), len(b)), np.int32)
    _kernels.distances(a, b, out, resolve_threads(n_threads))
    return out


def topk(
    queries: ArrayLike,
    database: ArrayLike,
    k: int,
    n_threads: int | None = None,
    mask: ArrayLike | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """
    Find the k nearest codes of every query, exactly.

    Parameters
    ----------
    queries : array_like of uint8, shape (n_queries, n_bytes)
        Packed codes, as made by `pack`.
    database : array_like of uint8, shape (n, n_bytes)
    k : int
        How many to return; may exceed n.
    n_threads : int, optional
        Threads to use, by default ``OMP_NUM_THREADS`` or all cores.
    mask : array_like of bool, shape (n,), or of uint8, shape (ceil(n / 8),), optional
        Rows that may be found, as booleans or packed as `numpy.packbits` does.

    Returns
    -------
    distances : ndarray of int32, shape (n_queries, k)
        Ascending; -1 in the columns past n, or past the number of allowed rows.
    ids : ndarray of int64, shape (n_queries, k)
        Rows of the database; equal distances in ascending order of id; -1 where missing.

    Raises
    ------
    TypeError, ValueError
        If the codes are not packed or differ in width, k is less than 1, or the mask does not fit.

    Notes
    -----
    Costs one scan of the allowed rows per query, n · n_bits / 64 word operations (n_bits rounded up
    to a multiple of 64), plus O(k + n_bits). Scratch memory stays below 64 MiB per thread for k up
    to two million; from k = n / 8 on all rows are sorted instead, with 8 bytes per row and thread.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    >>> D, I = fh.topk(fh.pack([[1.0, 1.0]]), database, k=2)
    >>> D, I
    (array([[0, 1]], dtype=int32), array([[0, 2]]))
    """
    queries, database = _check_pair(queries, "queries", database, "database")
    k = check_count(k, "k")
    rows, allowed, n_allowed = _restrict(mask, len(database), len(queries))
    n_found = min(k, n_allowed)
    found_distances = np.empty((len(queries), n_found), np.int32)
    found = np.empty((len(queries), n_found), np.int64)
    if allowed is None and _SORT_SHARE * n_found >= n_allowed and n_allowed <= _MAX_RANKED:
        _sorting.rank(queries, database, rows, found_distances, found, resolve_threads(n_threads))
    else:
        _kernels.topk(
            queries,
            database,
            rows,
            allowed,
            n_found,
            found_distances,
            found,
            resolve_threads(n_threads),
        )
    ids = found if rows is None else rows[found]
    if n_found == k:
        return found_distances, ids
    missing = ((0, 0), (0, k - n_found))
    padded = (np.pad(x, missing, constant_values=-1) for x in (found_distances, ids))
    return tuple(padded)


def within(
    queries: ArrayLike,
    database: ArrayLike,
    radius: int,
    n_threads: int | None = None,
    mask: ArrayLike | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """
    Find all codes within a Hamming radius of every query.

    Parameters
    ----------
    queries : array_like of uint8, shape (n_queries, n_bytes)
        Packed codes, as made by `pack`.
    database : array_like of uint8, shape (n, n_bytes)
    radius : int
        Largest distance that counts, in bits; inclusive.
    n_threads : int, optional
        Threads to use, by default ``OMP_NUM_THREADS`` or all cores.
    mask : array_like of bool, shape (n,), or of uint8, shape (ceil(n / 8),), optional
        Rows that may be found, as booleans or packed as `numpy.packbits` does.

    Returns
    -------
    limits : ndarray of int64, shape (n_queries + 1,)
        The answers to query i are at ``[limits[i]:limits[i + 1]]`` of the other two.
    distances : ndarray of int32, shape (n_found,)
        Ascending within a query.
    ids : ndarray of int64, shape (n_found,)
        Rows of the database; equal distances in ascending order of id.

    Raises
    ------
    TypeError, ValueError
        If the codes are not packed or differ in width, the radius is negative, or the mask does not
        fit.

    Notes
    -----
    Costs two scans of the allowed rows per query and 8 n_queries · (radius + 1) bytes of counts.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    >>> limits, D, I = fh.within(fh.pack([[1.0, 1.0]]), database, radius=1)
    >>> limits, D, I
    (array([0, 2]), array([0, 1], dtype=int32), array([0, 2]))
    """
    queries, database = _check_pair(queries, "queries", database, "database")
    radius = min(check_count(radius, "radius", minimum=0), 8 * queries.shape[1])
    rows, allowed, _ = _restrict(mask, len(database), len(queries))
    limits, found_distances, found = _kernels.within(
        queries, database, rows, allowed, radius, resolve_threads(n_threads)
    )
    return limits, found_distances, found if rows is None else rows[found]


def rank(
    queries: ArrayLike,
    database: ArrayLike,
    n_threads: int | None = None,
    mask: ArrayLike | None = None,
) -> NDArray[np.int64]:
    """
    Rank the whole database for every query.

    Parameters
    ----------
    queries : array_like of uint8, shape (n_queries, n_bytes)
        Packed codes, as made by `pack`.
    database : array_like of uint8, shape (n, n_bytes)
    n_threads : int, optional
        Threads to use, by default ``OMP_NUM_THREADS`` or all cores.
    mask : array_like of bool, shape (n,), or of uint8, shape (ceil(n / 8),), optional
        Rows that are ranked, as booleans or packed as `numpy.packbits` does.

    Returns
    -------
    ndarray of int64, shape (n_queries, n), or (n_queries, n_allowed) with a mask
        Rows of the database by ascending distance; equal distances in ascending order of id.

    Raises
    ------
    TypeError, ValueError
        If the codes are not packed or differ in width, or the mask does not fit.

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
    allowed = check_mask(mask, len(database))
    rows = None if allowed is None else np.flatnonzero(allowed)
    n_ranked = len(database) if rows is None else len(rows)
    if n_ranked > _MAX_RANKED:
        raise ValueError(
            f"rank would sort {n_ranked} rows for every query; the limit is {_MAX_RANKED}: use "
            "topk for the first ones, or a mask"
        )
    out = np.empty((len(queries), n_ranked), np.int64)
    _sorting.rank(queries, database, rows, None, out, resolve_threads(n_threads))
    return out if rows is None else rows[out]


def _restrict(
    mask: ArrayLike | None, n: int, n_queries: int
) -> tuple[NDArray[np.int64] | None, NDArray[np.uint8] | None, int]:
    """(rows to gather, or flags of the rows that may be found, or neither; how many they are)."""
    allowed = check_mask(mask, n)
    if allowed is None:
        return None, None, n
    n_allowed = int(np.count_nonzero(allowed))
    if n_queries < _FEW_QUERIES and n_allowed > _FEW_ALLOWED * n:
        return None, allowed.view(np.uint8), n_allowed
    return np.flatnonzero(allowed), None, n_allowed


def _check_pair(a: ArrayLike, a_name: str, b: ArrayLike, b_name: str) -> tuple[NDArray, NDArray]:
    a, b = check_codes(a, a_name), check_codes(b, b_name)
    check_same_width(a, a_name, b, b_name)
    return a, b
