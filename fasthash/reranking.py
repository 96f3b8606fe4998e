"""The second stage of a search: sort the candidates that codes found by their original vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core.arrays import as_array
from ._core.features import unit_rows
from ._core.pieces import cut
from ._core.rows import Rows, is_sliced_by_rows
from ._core.validation import check_choice, check_count, check_rows

__all__ = ["rerank"]

_METRICS = ("cosine", "inner")


def rerank(
    queries: ArrayLike,
    vectors: ArrayLike,
    candidates: ArrayLike,
    k: int,
    *,
    metric: str = "cosine",
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """
    Sort the candidates of every query by the similarity of their vectors, and keep the best.

    Codes find candidates fast; vectors compare them more accurately. So a search in two stages
    first fetches more candidates than needed, with `topk` or `HammingIndex.search`, and then sorts
    them.

    Parameters
    ----------
    queries : array_like, shape (n_queries, n_features)
        The vectors from which the query codes were made.
    vectors : array_like, shape (n, n_features)
        The vectors from which the database codes were made; row i belongs to candidate i. Real
        numbers of any type, also float16 and int8. An array may be memory-mapped; only the rows of
        candidates are read. Anything else with ``shape`` and ``dtype`` that can be sliced by rows,
        such as a dataset of h5py, is read once for every block of queries.
    candidates : array_like of int, shape (n_queries, n_candidates)
        Rows of `vectors`, in any order. -1 means no candidate, and a row given twice counts once.
    k : int
        Number of candidates to keep; may exceed the number of candidates.
    metric : {"cosine", "inner"}, default "cosine"
        The similarity: the cosine of the angle between query and vector, which is 0 if one of them
        is all zeros; or their inner product.

    Returns
    -------
    similarities : ndarray of float32 or float64, shape (n_queries, k)
        Descending; NaN where there are fewer candidates.
    ids : ndarray of int64, shape (n_queries, k)
        The candidates that are kept; ascending among equal similarities; -1 where missing.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit each other, a candidate is no row of `vectors`, or that row is
        not finite.

    See Also
    --------
    topk : Candidates among rows.
    HammingIndex.search : Candidates in an index.

    Notes
    -----
    Computed in float32 if the queries are float32 and the vectors float32 or float16, else in
    float64, so inner products of int8 vectors are exact. Costs n_candidates · n_features per query.

    Examples
    --------
    Two vectors have the same code; the second stage sorts them.

    >>> import numpy as np
    >>> import fasthash as fh
    >>> vectors = np.array([[0.6, 0.8], [0.8, 0.6], [-1.0, 0.0]])
    >>> query = np.array([[1.0, 0.1]])
    >>> _, candidates = fh.topk(fh.pack(query), fh.pack(vectors), k=2)
    >>> similarities, ids = fh.rerank(query, vectors, candidates, k=2)
    >>> ids, similarities.round(2)
    (array([[1, 0]]), array([[0.86, 0.68]]))
    """
    k = check_count(k, "k")
    check_choice(metric, "metric", _METRICS)
    x = _check_vectors(vectors)
    q = check_rows(queries, "queries")
    if q.shape[1] != x.shape[1]:
        raise ValueError(
            f"queries has {q.shape[1]} columns and vectors has {x.shape[1]}: both must be made of "
            "the same features"
        )
    chosen = _check_candidates(candidates, len(q), len(x))
    dtype = np.result_type(q.dtype, x.dtype)
    similarities = np.full((len(q), k), np.nan, dtype)
    ids = np.full((len(q), k), -1, np.int64)
    n_kept = min(k, chosen.shape[1])
    for rows in cut(len(q), chosen.shape[1] * x.shape[1]):
        found = chosen[rows]
        if not (found >= 0).any():
            continue
        # Missing candidates use the row of another candidate, so that no further row is read.
        needed, where = np.unique(np.where(found < 0, found.max(), found), return_inverse=True)
        taken, asked = (a.astype(dtype, copy=False) for a in (x.take(needed), q.read(rows)))
        is_finite = np.isfinite(taken).all(axis=1)
        if not is_finite.all():
            raise ValueError(f"vectors[{needed[~is_finite][0]}] holds NaN or an infinite value")
        if metric == "cosine":
            taken, asked = unit_rows(taken), unit_rows(asked)
        # einsum sums every row in the same order, unlike BLAS: equal vectors have equal products.
        products = np.einsum("qcd,qd->qc", taken[where.reshape(found.shape)], asked)
        products[found < 0] = np.nan
        # NaN is sorted last; a stable sort keeps ties in the order of ids.
        order = np.argsort(-products, axis=1, kind="stable")[:, :n_kept]
        similarities[rows, :n_kept] = np.take_along_axis(products, order, axis=1)
        ids[rows, :n_kept] = np.take_along_axis(found, order, axis=1)
    return similarities, ids


def _check_vectors(vectors: ArrayLike) -> Rows:
    """Check dtype and shape of the vectors. Values are checked later, in the rows that are read."""
    source: Any = vectors if is_sliced_by_rows(vectors) else as_array(vectors, "vectors")
    shape, dtype = tuple(source.shape), np.dtype(source.dtype)
    if dtype.kind not in "fiub":
        raise TypeError(f"vectors must hold real numbers, got dtype {dtype}")
    if len(shape) != 2:
        raise ValueError(f"vectors must have two dimensions, one vector per row, got shape {shape}")
    is_single = dtype in (np.float16, np.float32)
    return Rows(source, np.float32 if is_single else np.float64)


def _check_candidates(candidates: ArrayLike, n_queries: int, n_vectors: int) -> NDArray[np.int64]:
    """Return candidates sorted within each row, with -1 for missing and repeated ones."""
    given = as_array(candidates, "candidates")
    if given.ndim != 2 or len(given) != n_queries:
        raise ValueError(
            f"candidates must have shape ({n_queries}, n_candidates), a row per query, got "
            f"{given.shape}"
        )
    if given.size and given.dtype.kind not in "iu":
        raise TypeError(f"candidates must be integer row numbers, got dtype {given.dtype}")
    if given.size and not -1 <= given.min() <= given.max() < n_vectors:
        wrong = given.max() if given.max() >= n_vectors else given.min()
        raise ValueError(
            f"candidates holds {wrong}, but vectors has {n_vectors} rows: candidates are row "
            "numbers, and -1 where one is missing"
        )
    chosen = np.sort(given.astype(np.int64), axis=1)
    repeats = chosen[:, 1:] == chosen[:, :-1]
    chosen[:, 1:][repeats] = -1
    return chosen
