"""Precision and recall within every Hamming radius, for labels and codes.

The counts are those of `ranking`. No rule for ties is needed: all codes at one distance are within
a radius, or none is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.validation import check_choice, check_count
from ._means import check_policy, mean_by_policy, recalls
from ._weighted_relevance import check_ranking

__all__ = ["precision_recall_curve"]

_NOTHING_RETRIEVED = ["zero", "skip"]


def precision_recall_curve(
    query_codes: ArrayLike | None,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    *,
    weights: ArrayLike | None = None,
    n_bits: int | None = None,
    no_relevant: str = "skip",
    nothing_retrieved: str = "zero",
    exclude_self: bool = False,
    n_threads: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """
    Compute precision and recall within every Hamming radius, averaged over queries.

    No rule for ties is needed: all codes at one distance are within a radius, or none is.

    Parameters
    ----------
    query_codes, database_codes : array_like of uint8, shape (n_items, n_bytes)
        Packed codes, as made by `pack`; both of the same width.
    query_labels, database_labels : labels
        Labels, in any form that `mean_average_precision` accepts.
    weights : array_like of float or int, shape (n_queries, n_bits), optional
        Rank by weighted scores, as in `mean_average_precision`. Within radius r are then the codes
        whose differing bits have at most the share r / n_bits of all absolute weights of the query.
    n_bits : int, optional
        Number of bits of the codes, which is the largest radius; by default 8 per byte.
    no_relevant : {"skip", "zero", "raise"}, default "skip"
        Whether a query without any relevant item is left out of the mean recall, counts as 0, or is
        an error.
    nothing_retrieved : {"zero", "skip"}, default "zero"
        Whether the precision of a query counts as 0 at a radius within which no code lies, or is
        left out of the mean.
    exclude_self : bool, default False
        Whether query i leaves out row i of the database, as in `mean_average_precision`.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    precision : ndarray of float64, shape (n_bits + 1,)
        Mean precision within each radius; NaN where all queries are left out.
    recall : ndarray of float64, shape (n_bits + 1,)
        Mean recall within each radius.
    radii : ndarray of int64, shape (n_bits + 1,)
        0, 1, …, n_bits.

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit, or no query has a relevant item to average over.

    See Also
    --------
    precision_at : Precision by rank instead of radius.
    recall_at : Recall by rank instead of radius.

    Notes
    -----
    Costs one scan of the database per query, and the scratch memory of `mean_average_precision`.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> precision, recall, radii = fh.precision_recall_curve(
    ...     fh.pack([[1.0, 1.0]]), database, [0], [0, 1, 0], n_bits=2
    ... )
    >>> precision.round(2), recall, radii
    (array([1.  , 0.5 , 0.67]), array([0.5, 0.5, 1. ]), array([0, 1, 2]))
    """
    check_choice(nothing_retrieved, "nothing_retrieved", _NOTHING_RETRIEVED)
    check_policy(no_relevant)
    if n_bits is not None:
        n_bits = check_count(n_bits, "n_bits")
    problem = check_ranking(
        *(query_codes, database_codes, query_labels, database_labels, weights, n_threads, n_bits),
        exclude_self=exclude_self,
    )
    n_radii = problem.n_radii if n_bits is None else n_bits + 1
    precision_sum, n_counted, found = np.zeros(n_radii), np.zeros(n_radii), []
    for _, totals, relevant in problem.radius_counts():
        retrieved = totals.cumsum(axis=1)[:, :n_radii]
        hits = relevant.cumsum(axis=1)[:, :n_radii]
        precision_sum += (hits / np.maximum(retrieved, 1)).sum(axis=0)
        counted = retrieved > 0 if nothing_retrieved == "skip" else np.ones_like(retrieved, bool)
        n_counted += counted.sum(axis=0)
        found.append(recalls(hits, relevant.sum(axis=1)))
    recall = mean_by_policy(np.concatenate(found), no_relevant)
    precision = np.full(n_radii, np.nan)
    np.divide(precision_sum, n_counted, out=precision, where=n_counted > 0)
    return precision, recall, np.arange(n_radii)
