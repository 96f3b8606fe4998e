"""Search in two stages: candidates by Hamming distance, then in order by what codes stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core.features import unit_rows
from ._core.pieces import cut
from ._core.rows import Rows, is_sliced_by_rows
from ._core.validation import check_count, check_rows
from .codes import check_codes
from .hamming import topk

__all__ = ["rerank", "topk_reranked"]


def topk_reranked(
    query_codes: ArrayLike,
    query_latents: ArrayLike,
    database_codes: ArrayLike,
    database_latents: ArrayLike,
    k: int,
    *,
    n_candidates: int = 50,
    n_threads: int | None = None,
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """
    Find the nearest codes of every query, and put them in order by the inner product of latents.

    Parameters
    ----------
    query_codes : array_like of uint8, shape (n_queries, n_bytes)
        Packed codes.
    query_latents : array_like, shape (n_queries, n_latent)
        What the codes were made of; of unit length if similarities are to be cosines.
    database_codes : array_like of uint8, shape (n, n_bytes)
    database_latents : array_like, shape (n, n_latent)
        An array, perhaps memory-mapped: only the rows of candidates are read.
    k : int
        How many to return; may exceed n.
    n_candidates : int, default 50
        How many of the nearest codes are put in order; at least k are.
    n_threads : int, optional
        As in `topk`.

    Returns
    -------
    similarities : ndarray of float32 or float64, shape (n_queries, k)
        Descending; NaN in the columns past n.
    ids : ndarray of int64, shape (n_queries, k)
        Rows of the database; equal similarities in ascending order of id; -1 where missing.

    Raises
    ------
    TypeError, ValueError
        If codes or latents do not fit each other, or a count is less than 1.

    Notes
    -----
    Costs a `topk` of the codes and n_candidates · n_latent per query.

    Examples
    --------
    Two latents have the same code; the second stage tells them apart.

    >>> import numpy as np
    >>> import fasthash as fh
    >>> latents = np.array([[0.6, 0.8], [0.8, 0.6], [-1.0, 0.0]])
    >>> query = np.array([[1.0, 0.1]])
    >>> similarities, ids = fh.topk_reranked(fh.pack(query), query, fh.pack(latents), latents, k=2)
    >>> ids, similarities.round(2)
    (array([[1, 0]]), array([[0.86, 0.68]]))
    """
    k, n_candidates = check_count(k, "k"), check_count(n_candidates, "n_candidates")
    queries = check_codes(query_codes, "query_codes")
    database = check_codes(database_codes, "database_codes")
    latents = _check_vectors(database_latents, "database_latents", "f")
    if len(latents) != len(database):
        raise ValueError(
            f"database_latents has {len(latents)} rows for {len(database)} database_codes"
        )
    asked = check_rows(query_latents, "query_latents")
    if asked.shape != (len(queries), latents.shape[1]):
        raise ValueError(
            f"query_latents must have shape {(len(queries), latents.shape[1])}, a row per query "
            f"code and the columns of database_latents, got {asked.shape}"
        )
    _, candidates = topk(queries, database, max(k, n_candidates), n_threads=n_threads)
    return _in_order(asked, latents, candidates, k, "database_latents", is_cosine=False)


def rerank(
    queries: ArrayLike, vectors: ArrayLike, candidates: NDArray[np.int64], k: int
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """
    Put candidates in the order of their cosines: those that an index found, from any vectors.

    Parameters
    ----------
    queries : array_like, shape (n_queries, n_features)
    vectors : array_like, shape (n, n_features)
        Perhaps memory-mapped: only the rows of candidates are read. What is sliced by rows, as h5py
        is, is read once for every block of queries.
    candidates : ndarray of int64, shape (n_queries, n_candidates)
        Rows of `vectors`; -1 is none.
    k : int
        How many to keep; may exceed the number of candidates.

    Returns
    -------
    cosines : ndarray of float32 or float64, shape (n_queries, k)
        Descending; NaN where there are fewer candidates.
    ids : ndarray of int64, shape (n_queries, k)
        Rows of `vectors`; equal cosines in ascending order of row; -1 where missing.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit, a candidate is no row of `vectors`, or that row is not finite.

    Examples
    --------
    >>> rerank([[1.0, 0.1]], [[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]], np.array([[0, 2, 1]]), 2)[1]
    array([[1, 2]])
    """
    x = _check_vectors(vectors, "vectors", "fiub")
    q = check_rows(queries, "queries")
    if q.shape[1] != x.shape[1]:
        raise ValueError(f"queries have {q.shape[1]} columns, and vectors have {x.shape[1]}")
    if len(candidates) != len(q):
        raise ValueError(f"candidates has {len(candidates)} rows for {len(q)} queries")
    if candidates.size and candidates.max() >= len(x):
        raise ValueError(f"candidates holds {candidates.max()}, and there are {len(x)} vectors")
    return _in_order(q, x, candidates, check_count(k, "k"), "vectors", is_cosine=True)


def _check_vectors(vectors: ArrayLike, name: str, kinds: str) -> Rows:
    """Rows of numbers, of which some will be read; so they are not all looked through."""
    source: Any = vectors if is_sliced_by_rows(vectors) else np.asarray(vectors)
    shape, dtype = tuple(source.shape), np.dtype(source.dtype)
    if len(shape) != 2 or dtype.kind not in kinds:
        numbers = "floating-point rows" if kinds == "f" else "rows of real numbers"
        raise ValueError(f"{name} must be {numbers}, one per code, got {dtype} of shape {shape}")
    return Rows(source, np.float32 if dtype == np.float32 else np.float64)


def _in_order(
    queries: Rows,
    vectors: Rows,
    candidates: NDArray[np.int64],
    k: int,
    name: str,
    is_cosine: bool,
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """The k candidates of every query with the largest products, or cosines, and these."""
    # Ascending, so that a stable sort leaves ties in the order of ids; missing ones come first.
    candidates = np.sort(candidates, axis=1)
    dtype = np.result_type(queries.dtype, vectors.dtype)
    similarities = np.full((len(queries), k), np.nan, dtype)
    ids = np.full((len(queries), k), -1, np.int64)
    n_kept = min(k, candidates.shape[1])
    for rows in cut(len(queries), candidates.shape[1] * vectors.shape[1]):
        found = candidates[rows]
        needed, where = np.unique(np.maximum(found, 0), return_inverse=True)
        taken, x = (a.astype(dtype, copy=False) for a in (vectors.take(needed), queries.read(rows)))
        if not np.isfinite(taken).all():
            row = needed[~np.isfinite(taken).all(axis=1)][0]
            raise ValueError(f"row {row} of {name} holds NaN or an infinite value")
        if is_cosine:
            taken, x = unit_rows(taken), unit_rows(x)
        # Summed alike wherever a row stands, unlike by BLAS: equal vectors have equal products.
        products = np.einsum("qcd,qd->qc", taken[where.reshape(found.shape)], x)
        products[found < 0] = np.nan
        # NaN is sorted behind everything else.
        order = np.argsort(-products, axis=1, kind="stable")[:, :n_kept]
        similarities[rows, :n_kept] = np.take_along_axis(products, order, axis=1)
        ids[rows, :n_kept] = np.take_along_axis(found, order, axis=1)
    return similarities, ids
