"""Search in two stages: candidates by Hamming distance, then in order by what codes stand for."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .codes import check_codes
from .hamming import topk
from .rows import cut
from .validation import check_count, check_rows

__all__ = ["topk_reranked"]


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
    latents = np.asarray(database_latents)
    if latents.ndim != 2 or latents.dtype.kind != "f":
        raise ValueError(
            "database_latents must be floating-point rows, one per code, got "
            f"{latents.dtype} of shape {latents.shape}"
        )
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
    _, candidates = topk(queries, database, max(k, n_candidates), n_threads)
    # Ascending, so that a stable sort leaves ties in the order of ids; missing ones at the end.
    n_found = min(candidates.shape[1], len(database))
    candidates = np.sort(candidates[:, :n_found], axis=1)
    dtype = np.result_type(asked.dtype, latents.dtype)
    similarities = np.full((len(queries), k), np.nan, dtype)
    ids = np.full((len(queries), k), -1, np.int64)
    n_kept = min(k, n_found)
    for rows in cut(len(queries), n_found * latents.shape[1]):
        found = candidates[rows]
        x = asked.read(rows).astype(dtype, copy=False)
        cosines = np.matmul(latents[found], x[:, :, None])[:, :, 0]
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :n_kept]
        similarities[rows, :n_kept] = np.take_along_axis(cosines, order, axis=1)
        ids[rows, :n_kept] = np.take_along_axis(found, order, axis=1)
    return similarities, ids
