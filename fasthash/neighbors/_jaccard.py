"""Exact search by Jaccard distance, which chemists call Tanimoto distance, over packed codes.

`SortedCodes` sorts codes by their number of bits set once, for any number of searches.
`jaccard_topk` and `jaccard_within` check their arguments and search once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.excluded import check_exclude_self, drop_own, drop_own_within
from .._core.interruptible import in_helper_thread, take
from .._core.pieces import Pace
from .._core.runtime import resolve_threads
from .._core.scan import scan_distances
from .._core.validation import check_count, check_number
from .._kernels.jaccard import Jaccard
from ..codes import check_codes, check_same_width

__all__ = ["SortedCodes", "jaccard_topk", "jaccard_within"]

# Work of the first call of the kernel, in 64-bit words: it takes milliseconds.
_FIRST_WORDS = 1 << 24


def jaccard_topk(
    queries: ArrayLike,
    database: ArrayLike,
    k: int,
    *,
    exclude_self: bool = False,
    n_threads: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """
    Find the k codes of the smallest Jaccard distance to every query, exactly.

    The Jaccard distance is 1 minus the Tanimoto similarity: the number of bits that differ, divided
    by the number of bits set in at least one of the two codes. Two codes without a bit set are at
    distance 0.

    Parameters
    ----------
    queries : array_like of uint8, shape (n_queries, n_bytes)
        Packed codes, such as fingerprints of molecules.
    database : array_like of uint8, shape (n, n_bytes)
        Packed codes to search, of the same width.
    k : int
        How many codes to return for each query; may exceed n.
    exclude_self : bool, default False
        Whether query i leaves out row i of the database, as in `fasthash.topk`.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    distances : ndarray of float64, shape (n_queries, k)
        Ascending, each the quotient of two integers, rounded once; -1 in the columns past n.
    rows : ndarray of int64, shape (n_queries, k)
        Row numbers of the database, ascending among equal distances; -1 where missing.

    Raises
    ------
    TypeError, ValueError
        If the codes are not packed or differ in width, k is less than 1; or with `exclude_self`, if
        the queries are not the database.

    See Also
    --------
    jaccard_within : All codes within a Jaccard distance.
    HammingNeighbors : Holds the sorted codes for many searches.

    Notes
    -----
    The database is sorted by the number of bits set, in a copy; this takes O(n log n). A query with
    a bits set can be as near as distance d only to codes with (1 - d) a to a / (1 - d) bits set. So
    a search begins with codes that have about a bits set, and ends where the k-th distance found so
    far rules all others out. In the worst case it compares the whole database.

    References
    ----------
    S. J. Swamidass, P. Baldi, "Bounds and algorithms for fast exact searches of chemical
    fingerprints in linear and sublinear time", Journal of Chemical Information and Modeling 47(2),
    2007.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.codes.from_hex(["f0", "f8", "0f"])
    >>> fh.neighbors.jaccard_topk(fh.codes.from_hex(["f0"]), database, k=2)
    (array([[0. , 0.2]]), array([[0, 1]]))
    """
    queries, database = _check_pair(queries, database)
    k = check_count(k, "k")
    threads = resolve_threads(n_threads)
    if not check_exclude_self(exclude_self, queries, database, ("queries", "database")):
        return SortedCodes(database).topk(queries, k, threads)
    found = SortedCodes(database).topk(queries, k + 1, threads)
    return drop_own(*found, np.arange(len(queries)))


def jaccard_within(
    queries: ArrayLike,
    database: ArrayLike,
    radius: float,
    *,
    exclude_self: bool = False,
    n_threads: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """
    Find all codes within a Jaccard distance of every query.

    Parameters
    ----------
    queries : array_like of uint8, shape (n_queries, n_bytes)
        Packed codes, such as fingerprints of molecules.
    database : array_like of uint8, shape (n, n_bytes)
        Packed codes to search, of the same width.
    radius : float
        Largest distance that counts; inclusive. A Tanimoto similarity of at least t is a distance
        of at most 1 - t. Distances and radius are compared as float64.
    exclude_self : bool, default False
        Whether query i leaves out row i of the database, as in `fasthash.topk`.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    limits : ndarray of int64, shape (n_queries + 1,)
        The answers to query i are at ``[limits[i]:limits[i + 1]]`` of the other two.
    distances : ndarray of float64, shape (n_found,)
        Ascending within a query.
    rows : ndarray of int64, shape (n_found,)
        Row numbers of the database, ascending among equal distances.

    Raises
    ------
    TypeError, ValueError
        If the codes are not packed or differ in width, the radius is no number of at least 0; or
        with `exclude_self`, if the queries are not the database.

    See Also
    --------
    jaccard_topk : The k nearest codes.

    Notes
    -----
    As in `jaccard_topk`, a query reads only codes whose number of bits set allows a distance within
    the radius. It reads them twice: once to count the answers, and once to write them.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.codes.from_hex(["f0", "f8", "0f"])
    >>> fh.neighbors.jaccard_within(fh.codes.from_hex(["f0"]), database, radius=0.5)
    (array([0, 2]), array([0. , 0.2]), array([0, 1]))
    """
    queries, database = _check_pair(queries, database)
    radius = check_number(radius, "radius")
    is_own_left_out = check_exclude_self(exclude_self, queries, database, ("queries", "database"))
    found = SortedCodes(database).within(queries, radius, resolve_threads(n_threads))
    return drop_own_within(*found, np.arange(len(queries))) if is_own_left_out else found


class SortedCodes:
    """
    A copy of checked codes, sorted by the number of bits set.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n, n_bytes)
    """

    def __init__(self, codes: NDArray[np.uint8]) -> None:
        self._codes, self._sizes, self._rows = _by_size(codes)

    def in_order_of_rows(self) -> NDArray[np.uint8]:
        """Make a copy of the codes in their order before."""
        codes = np.empty_like(self._codes)
        codes[self._rows] = self._codes
        return codes

    def topk(
        self, queries: NDArray[np.uint8], k: int, n_threads: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Answer as `jaccard_topk` does, for checked arguments."""
        shape = (len(queries), k)
        distances, rows = np.full(shape, -1.0), np.full(shape, -1)
        n_found = min(k, len(self._rows))
        if len(queries) and n_found:
            queries, sizes, places = _by_size(queries)
            counts = np.full(len(queries), n_found)
            out = distances.reshape(-1), rows.reshape(-1)
            self._search(queries, sizes, 1.0, k * places, counts, *out, n_threads)
        return distances, rows

    def within(
        self, queries: NDArray[np.uint8], radius: float, n_threads: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Answer as `jaccard_within` does, for checked arguments."""
        radius = min(radius, 1.0)
        limits = np.zeros(len(queries) + 1, np.int64)
        distances, rows = np.empty(0), np.empty(0, np.int64)
        if len(queries) and len(self._rows):
            queries, sizes, places = _by_size(queries)
            counts = np.zeros(len(queries), np.int64)
            self._search(queries, sizes, radius, None, counts, distances, rows, n_threads)
            limits[places + 1] = counts
            limits = limits.cumsum()
            distances, rows = np.empty(limits[-1]), np.empty(limits[-1], np.int64)
            if limits[-1]:
                out = limits[places], counts, distances, rows
                self._search(queries, sizes, radius, *out, n_threads)
        return limits, distances, rows

    def _search(
        self,
        queries: NDArray[np.uint8],
        sizes: NDArray[np.int32],
        radius: float,
        starts: NDArray[np.int64] | None,
        counts: NDArray[np.int64],
        distances: NDArray[np.float64],
        rows: NDArray[np.int64],
        n_threads: int,
    ) -> None:
        """Search for queries sorted by their number of bits set, as `Jaccard` explains."""
        held = self._codes, self._sizes, self._rows
        search = Jaccard(
            *(queries, sizes, *held, radius, starts, counts, distances, rows, n_threads)
        )
        Pace(_FIRST_WORDS).drive(search.advance)


def _by_size(
    codes: NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int64]]:
    """Sort codes by the number of bits set; return (sorted codes, these numbers, rows)."""
    # The distance to a code without a bit set; without codes there is no such code either.
    distances = np.empty((min(1, len(codes)), len(codes)), np.int32)
    scan_distances(np.zeros_like(codes[:1]), codes, distances, 1)
    sizes = distances.reshape(-1)
    rows = in_helper_thread(len(codes), lambda: np.argsort(sizes, kind="stable"))
    return take(codes, rows), take(sizes, rows), rows.astype(np.int64, copy=False)


def _check_pair(
    queries: ArrayLike, database: ArrayLike
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    queries, database = check_codes(queries, "queries"), check_codes(database, "database")
    check_same_width(queries, "queries", database, "database")
    return queries, database
