"""Asymmetric search: queries with a weight for each bit against packed codes.

A code has bits +1 and -1. A query keeps its projections, real numbers, as weights. So the query
loses almost nothing, while the database stays packed. The score of a code is the sum of the
weights, each times its bit. Weights are rounded once per query to integers; all that follows is
exact, so results do not depend on the number of threads or the instruction set.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core.allowed import allow
from ._core.runtime import resolve_threads
from ._core.scan import scan_weighted
from ._core.validation import check_count, check_filter
from ._core.weights import check_weights, round_weights
from .codes import check_codes

__all__ = ["topk_weighted"]


def topk_weighted(
    weights: ArrayLike,
    database: ArrayLike,
    k: int,
    *,
    filter: ArrayLike | None = None,
    n_threads: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """
    Find the k codes with the largest weighted scores for every query.

    The score of a code is the sum of the weights of the query, each times 1 where the bit of the
    code is 1 and times -1 where it is 0. If the weights are the values whose signs would be the
    code of the query, such as projections, this finds better neighbours than `topk` in the same
    database.

    Parameters
    ----------
    weights : array_like of float or int, shape (n_queries, n_bits)
        The weight of each bit; finite.
    database : array_like of uint8, shape (n, ceil(n_bits / 8))
        Packed codes to search, as made by `pack`. Padding bits have no weight.
    k : int
        How many codes to return for each query; may exceed n.
    filter : array_like of bool, uint8 or int, optional
        Rows that may be found, by default all; as in `topk`.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    scores : ndarray of float64, shape (n_queries, k)
        Scores of the rounded weights, descending; NaN in the columns past n, or past the number of
        allowed rows.
    ids : ndarray of int64, shape (n_queries, k)
        Row numbers of the database, ascending among equal scores; -1 where missing.

    Raises
    ------
    TypeError, ValueError
        If the weights are not finite real numbers, do not fit the codes, or are so large that their
        sum overflows; if the codes are not packed, k is less than 1, or the filter does not fit.

    See Also
    --------
    topk : The search by Hamming distance, where the query is a packed code too.
    HammingIndex.search : The same search in an index, with ``weights=``.
    rerank : Sort the answers by the vectors that the codes were made of.
    pack : Make codes of signs.

    Notes
    -----
    Weights that are whole numbers are not rounded if the absolute weights of the eight bits of each
    byte add up to at most 255: their scores are exact. Those of another query are rounded to
    multiples of a step. The step is the largest sum of the
    absolute weights of eight bits that share a byte, divided by 251. So each weight changes by at
    most half a step, and each score by at most n_bits / 2 steps, which is at most
    n_bits · max(abs(weights)) / 62. The errors of many bits mostly cancel out: their standard
    deviation is about 0.29 sqrt(n_bits) steps. The order and the scores are those of the rounded
    weights, computed exactly. Codes whose exact scores differ by less than the error may be in
    another order.

    Costs one scan of the allowed rows per query, two table look-ups for each byte of a code, plus
    O(k + 32 n_bits). With several queries, the scan first estimates the scores in 8 bits, and then
    computes exactly only those that may be among the first k. Holds 2 bytes for each weight;
    scratch memory stays below 64 MiB per thread for k up to two million and codes up to 10,000
    bits.

    Examples
    --------
    The second bit matters little to the query, so the third code is better than the fourth.

    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    >>> scores, ids = fh.topk_weighted([[2.0, 0.5]], database, k=4)
    >>> ids, scores.round(2)
    (array([[0, 2, 3, 1]]), array([[ 2.5,  1.5, -1.5, -2.5]]))
    """
    values = check_weights(weights)
    codes = check_codes(database, "database")
    n_bits = values.shape[1]
    if codes.shape[1] != (n_bits + 7) // 8:
        raise ValueError(
            f"weights has {n_bits} columns, one per bit, which needs codes of "
            f"{(n_bits + 7) // 8} bytes, but database has codes of {codes.shape[1]}"
        )
    k = check_count(k, "k")
    allowed = allow(check_filter(filter, len(codes)), len(codes))
    rounded = round_weights(values)
    distances, ids = scan_weighted(rounded.values, codes, k, resolve_threads(n_threads), allowed)
    return rounded.scores(distances, ids), ids
