"""`knn_graph` and `radius_graph`: neighbours within one set of codes, as sparse matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .._core.excluded import drop_own
from .._core.pieces import cut
from .._core.runtime import resolve_threads
from .._core.validation import check_count
from ..codes import check_codes
from ..index import HammingIndex
from ._pairs import pairs_within

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["knn_graph", "number_type", "radius_graph"]

# Neighbours that are searched at a time.
_BLOCK_NEIGHBOURS = 1 << 20


def knn_graph(codes: ArrayLike, k: int, *, n_threads: int | None = None) -> csr_array[Any]:
    """
    Find the k nearest other codes of every code, exactly, as a sparse matrix.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, n_bytes)
        Packed codes, as made by `pack`.
    k : int
        How many neighbours each code has; may exceed n - 1, then each code has n - 1.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    scipy.sparse.csr_array of int32, shape (n, n)
        Row i holds the Hamming distances of code i to its neighbours, at their rows as columns, in
        the order of (distance, row). A code is not its own neighbour, so the diagonal is empty.
        The distance of equal codes is stored, as an explicit zero; methods such as
        ``eliminate_zeros`` would remove it. The columns of a row do not ascend until
        ``sort_indices`` is called.

    Raises
    ------
    TypeError, ValueError
        If the codes are not packed, or k is less than 1.

    See Also
    --------
    radius_graph : All neighbours within a radius.
    HammingIndex.search : The same search for any queries.

    Notes
    -----
    Costs as much as a search of all codes for k + 1 neighbours, by tables or a scan, whichever is
    faster (see `HammingIndex`). The matrix takes 8 bytes for each neighbour, or 12 if there are
    2^31 or more.

    Examples
    --------
    >>> import fasthash as fh
    >>> codes = fh.pack([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0], [1.0, 1.0, -1.0]])
    >>> graph = fh.knn_graph(codes, 1)
    >>> graph.indices, graph.data
    (array([2, 2, 0], dtype=int32), array([1, 2, 1], dtype=int32))
    """
    from scipy.sparse import csr_array

    codes = check_codes(codes, "codes")
    n = len(codes)
    k = min(check_count(k, "k"), max(n - 1, 0))
    threads = resolve_threads(n_threads)
    number = number_type(n * k)
    data, columns = np.empty((n, k), np.int32), np.empty((n, k), number)
    if k > 0:
        index = HammingIndex(8 * codes.shape[1])
        index.add(codes)
        for rows in cut(n, k + 1, _BLOCK_NEIGHBOURS):
            distances, found = index.search(codes[rows], k + 1, n_threads=threads)
            data[rows], columns[rows] = drop_own(distances, found, np.arange(rows.start, rows.stop))
    limits = (np.arange(n + 1) * k).astype(number)
    return csr_array((data.ravel(), columns.ravel(), limits), shape=(n, n))


def radius_graph(
    codes: ArrayLike,
    radius: int,
    *,
    max_pairs: int = 100_000_000,
    n_threads: int | None = None,
) -> csr_array[Any]:
    """
    Find all other codes within a Hamming radius of every code, exactly, as a sparse matrix.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, n_bytes)
        Packed codes, as made by `pack`.
    radius : int
        Largest distance that counts, in bits; inclusive.
    max_pairs : int
        With more pairs than this, the call fails, before memory runs out. The matrix stores each
        pair twice.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    scipy.sparse.csr_array of int32, shape (n, n)
        Symmetric; row i holds the Hamming distances of code i to its neighbours, at their rows as
        columns, which ascend. A code is not its own neighbour, so the diagonal is empty. The
        distance of equal codes is stored, as an explicit zero; methods such as ``eliminate_zeros``
        would remove it.

    Raises
    ------
    TypeError, ValueError
        If the codes are not packed, the radius is negative, or there are more than `max_pairs`
        pairs.

    See Also
    --------
    knn_graph : The k nearest neighbours.
    pairs_within : The same pairs, each of them once.

    Notes
    -----
    Costs as much as `pairs_within`. The matrix takes 16 bytes for each pair, which it stores twice,
    or 24 if there are 2^30 pairs or more.

    Examples
    --------
    >>> import fasthash as fh
    >>> codes = fh.pack([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0], [1.0, 1.0, -1.0]])
    >>> graph = fh.radius_graph(codes, 1)
    >>> graph.indptr, graph.indices, graph.data
    (array([0, 1, 1, 2], dtype=int32), array([2, 0], dtype=int32), array([1, 1], dtype=int32))
    """
    from scipy.sparse import coo_array

    codes = check_codes(codes, "codes")
    first, second, distances = pairs_within(codes, radius, max_pairs=max_pairs, n_threads=n_threads)
    number = number_type(2 * len(first))
    first, second = first.astype(number), second.astype(number)
    # In this order the columns of each row ascend.
    rows, columns = np.concatenate([second, first]), np.concatenate([first, second])
    data = np.concatenate([distances, distances])
    graph = coo_array((data, (rows, columns)), shape=(len(codes), len(codes))).tocsr()
    graph.has_sorted_indices = True
    return graph


def number_type(n_values: int) -> type[np.int32 | np.int64]:
    """The type of row numbers and limits; algorithms of older scipy take int32 only."""
    return np.int32 if n_values < 2**31 else np.int64
