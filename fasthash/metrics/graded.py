"""Measures of graded relevance: how many labels an item shares with a query.

NDCG, average cumulative gain (ACG) and weighted average precision (WAP), for samples with several
labels. With one class per sample, every grade is 0 or 1: ACG is then precision, and WAP is average
precision. The rules for ties are those of ``ranking``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.validation import check_choice, check_flag
from ._means import check_policy, mean_by_policy
from ._relevance import EvaluationProblem
from ._ties import RULES_FOR_RANKINGS, counts_before
from ._weighted_relevance import check_ranking
from .average_precisions import precision_means
from .ranking import check_ranks

__all__ = ["acg_at", "ndcg_at", "weighted_average_precision"]

_GAINS = ["exponential", "linear"]

# Sums of gains of so many shared labels stay finite for any number of codes.
_MOST_SHARED = 960


def ndcg_at(
    query_codes: ArrayLike | None,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    *,
    weights: ArrayLike | None = None,
    ranks: ArrayLike,
    gain: str = "exponential",
    ties: str = "expected",
    no_relevant: str = "skip",
    exclude_self: bool = False,
    per_query: bool = False,
    n_threads: int | None = None,
) -> NDArray[np.float64]:
    """
    Compute the normalised discounted cumulative gain of the first items, averaged over queries.

    An item that shares g labels with the query has the gain 2^g - 1, or g. Gains are divided by
    log2(1 + rank) and added up. The sum is divided by its largest possible value.

    Parameters
    ----------
    query_codes, database_codes : array_like of uint8, shape (n_items, n_bytes)
        Packed codes, as made by `pack`; both of the same width.
    query_labels, database_labels : labels
        Labels, in any form that `fasthash.mean_average_precision` accepts.
    weights : array_like of float or int, shape (n_queries, n_bits), optional
        Rank by weighted scores, as in `fasthash.mean_average_precision`.
    ranks : int or array_like of int, shape (n_ranks,)
        Numbers of first items to look at, each between 1 and the size of the database.
    gain : {"exponential", "linear"}, default "exponential"
        The gain of g shared labels. "exponential": 2^g - 1, as in the hashing literature, for up to
        960 shared labels. "linear": g, as in trec_eval and scikit-learn. With one class per sample
        both are the same.
    ties : {"expected", "database"}, default "expected"
        How equal distances count, as in `fasthash.mean_average_precision`.
    no_relevant : {"skip", "zero", "raise"}, default "skip"
        Whether a query without any relevant item is left out of the mean, counts as 0, or is an
        error.
    exclude_self : bool, default False
        Whether query i leaves out row i of the database, as in `fasthash.mean_average_precision`.
    per_query : bool, default False
        Whether to return the values of every query, and not their mean.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    ndarray of float64, shape (n_ranks,)
        The mean at each rank. With `per_query`, shape (n_queries, n_ranks); NaN for a query without
        any relevant item.

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit, a rank is out of range, no query has a relevant item to
        average over, or more labels are shared than `gain` allows.

    See Also
    --------
    acg_at : The mean number of shared labels among the first items.
    weighted_average_precision : Average precision for graded relevance.

    Notes
    -----
    With ``ties="expected"``, the sum of discounted gains is the mean over all orders of ties: every
    item of a tie has the mean gain of the tie (McSherry and Najork). This costs one scan of the
    database per query and per number of labels that the query shares with any item.
    ``ties="database"`` sorts all codes for each query, which takes many times as long.

    References
    ----------
    K. Järvelin, J. Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM Transactions
    on Information Systems 20(4), 2002.

    F. McSherry, M. Najork, "Computing information retrieval performance measures efficiently in the
    presence of tied scores", European Conference on Information Retrieval, 2008.

    F. Zhao, Y. Huang, L. Wang, T. Tan, "Deep semantic ranking based hashing for multi-label image
    retrieval", Conference on Computer Vision and Pattern Recognition, 2015: the gain 2^g - 1.

    Examples
    --------
    The nearest code shares one label with the query, the second one shares two.

    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> labels = [[1, 0], [1, 1], [0, 0]]
    >>> ndcg_at(fh.pack([[1.0, 1.0]]), database, [[1, 1]], labels, ranks=[1, 2]).round(3)
    array([0.333, 0.797])
    """
    check_choice(gain, "gain", _GAINS)
    check_choice(ties, "ties", RULES_FOR_RANKINGS)
    check_policy(no_relevant, per_query)
    problem = check_ranking(
        *(query_codes, database_codes, query_labels, database_labels, weights, n_threads),
        exclude_self=exclude_self,
    )
    ranks = check_ranks(ranks, problem.n)
    scores = np.empty((problem.n_queries, len(ranks)))
    # Sums of 1 / log2(1 + rank) over the first ranks.
    discounts = np.zeros(problem.n + 1, np.longdouble)
    np.cumsum(1 / np.log2(np.arange(2, problem.n + 2, dtype=np.longdouble)), out=discounts[1:])
    for queries, gains, n_of_levels in _discounted(problem, ranks, gain, ties, discounts):
        best = np.zeros(gains.shape)
        # In the best order, the items of level g are the first ones, for every g.
        for increase, n_items in zip(_increases(gain, len(n_of_levels)), n_of_levels, strict=True):
            best += increase * discounts[np.minimum(n_items[:, None], ranks)].astype(np.float64)
        scores[queries] = np.divide(gains, best, out=np.full(gains.shape, np.nan), where=best > 0)
    return scores if per_query else mean_by_policy(scores, no_relevant)


def acg_at(
    query_codes: ArrayLike | None,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    *,
    weights: ArrayLike | None = None,
    ranks: ArrayLike,
    ties: str = "expected",
    exclude_self: bool = False,
    per_query: bool = False,
    n_threads: int | None = None,
) -> NDArray[np.float64]:
    """
    Compute the average cumulative gain: the mean number of labels that the first items share.

    Parameters
    ----------
    query_codes, database_codes : array_like of uint8, shape (n_items, n_bytes)
        Packed codes, as made by `pack`; both of the same width.
    query_labels, database_labels : labels
        Labels, in any form that `fasthash.mean_average_precision` accepts.
    weights : array_like of float or int, shape (n_queries, n_bits), optional
        Rank by weighted scores, as in `fasthash.mean_average_precision`.
    ranks : int or array_like of int, shape (n_ranks,)
        Numbers of first items to look at, each between 1 and the size of the database.
    ties : {"expected", "database"}, default "expected"
        How equal distances count, as in `fasthash.mean_average_precision`.
    exclude_self : bool, default False
        Whether query i leaves out row i of the database, as in `fasthash.mean_average_precision`.
    per_query : bool, default False
        Whether to return the values of every query, and not their mean.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    ndarray of float64, shape (n_ranks,)
        The mean over queries of the number of shared labels, averaged over the first items. With
        `per_query`, shape (n_queries, n_ranks). A query without any relevant item counts as 0.

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit, or a rank is out of range.

    See Also
    --------
    fasthash.precision_at : The share of items that share any label.
    ndcg_at : The same with discounts by rank, divided by the best value.

    Notes
    -----
    Costs as much as `ndcg_at`.

    References
    ----------
    K. Järvelin, J. Kekäläinen, "IR evaluation methods for retrieving highly relevant documents",
    Conference on Research and Development in Information Retrieval, 2000.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> labels = [[1, 0], [1, 1], [0, 0]]
    >>> acg_at(fh.pack([[1.0, 1.0]]), database, [[1, 1]], labels, ranks=[1, 2])
    array([1. , 1.5])
    """
    check_choice(ties, "ties", RULES_FOR_RANKINGS)
    check_flag(per_query, "per_query")
    problem = check_ranking(
        *(query_codes, database_codes, query_labels, database_labels, weights, n_threads),
        exclude_self=exclude_self,
    )
    ranks = check_ranks(ranks, problem.n)
    scores = np.empty((problem.n_queries, len(ranks)))
    # Gains are not discounted: the sum over the first ranks is their number.
    discounts = np.arange(problem.n + 1, dtype=np.longdouble)
    for queries, gains, _ in _discounted(problem, ranks, "linear", ties, discounts):
        scores[queries] = gains / ranks
    return scores if per_query else scores.mean(axis=0)


def weighted_average_precision(
    query_codes: ArrayLike | None,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    *,
    weights: ArrayLike | None = None,
    at: int | str | None = None,
    radius: int | None = None,
    ties: str = "expected",
    no_relevant: str = "skip",
    normalize: str = "relevant",
    exclude_self: bool = False,
    per_query: bool = False,
    n_threads: int | None = None,
) -> Any:
    """
    Compute the mean over queries of the weighted average precision.

    It is the mean, over the ranks of relevant items, of the average cumulative gain: the mean
    number of labels that the items up to this rank share with the query. So it may exceed 1.

    Parameters
    ----------
    query_codes, database_codes : array_like of uint8, shape (n_items, n_bytes)
        Packed codes, as made by `pack`; both of the same width.
    query_labels, database_labels : labels
        Labels, in any form that `fasthash.mean_average_precision` accepts.
    weights : array_like of float or int, shape (n_queries, n_bits), optional
        Rank by weighted scores, as in `fasthash.mean_average_precision`.
    at : int or "n_relevant", optional
        Number of ranks that count; by default all. As in `fasthash.mean_average_precision`.
    radius : int, optional
        Only codes within this Hamming distance count, as in `fasthash.mean_average_precision`.
    ties : {"expected", "database"}, default "expected"
        How equal distances count, as in `fasthash.mean_average_precision`.
    no_relevant : {"skip", "zero", "raise"}, default "skip"
        Whether a query without any relevant item is left out of the mean, counts as 0, or is an
        error.
    normalize : {"relevant", "retrieved", "all_relevant"}, default "relevant"
        What the sum of average cumulative gains is divided by, as in
        `fasthash.mean_average_precision`.
    exclude_self : bool, default False
        Whether query i leaves out row i of the database, as in `fasthash.mean_average_precision`.
    per_query : bool, default False
        Whether to return the values of every query, and not their mean.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    float or ndarray of float64, shape (n_queries,)
        The mean; with `per_query`, the value of every query, NaN where nothing is relevant.

    Raises
    ------
    TypeError, ValueError
        As in `fasthash.mean_average_precision`.

    See Also
    --------
    fasthash.mean_average_precision : The same with relevance of 0 and 1.
    acg_at : The average cumulative gain at given ranks.

    Notes
    -----
    Costs as much as `ndcg_at`.

    References
    ----------
    F. Zhao, Y. Huang, L. Wang, T. Tan, "Deep semantic ranking based hashing for multi-label image
    retrieval", Conference on Computer Vision and Pattern Recognition, 2015.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> labels = [[1, 0], [1, 1], [0, 0]]
    >>> weighted_average_precision(fh.pack([[1.0, 1.0]]), database, [[1, 1]], labels)
    1.25
    """
    check_policy(no_relevant, per_query)
    problem = check_ranking(
        *(query_codes, database_codes, query_labels, database_labels, weights, n_threads),
        exclude_self=exclude_self,
    )
    scores = precision_means(problem, at, radius, ties, normalize, graded=True)
    return scores if per_query else mean_by_policy(scores, no_relevant)


def _increases(gain: str, n_levels: int) -> NDArray[np.float64]:
    """By how much the gain of g shared labels exceeds that of g - 1, for g from 1 on."""
    if gain == "exponential" and n_levels > _MOST_SHARED:
        raise ValueError(
            f"a query shares {n_levels} labels with an item, and gains of 2^g - 1 may overflow for "
            f'more than {_MOST_SHARED}: pass gain="linear"'
        )
    levels = np.arange(n_levels, dtype=np.float64)
    return 2**levels if gain == "exponential" else np.ones(n_levels)


def _discounted(
    problem: EvaluationProblem,
    ranks: NDArray[np.int64],
    gain: str,
    ties: str,
    discounts: NDArray[np.longdouble],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64], list[NDArray[np.int64]]]]:
    """
    Chunks of (queries, sums of discounted gains within each rank, number of items of each level).

    ``discounts`` has the sums of the discounts of the first ranks, from 0 on.
    """
    if ties == "database":
        of_rank = np.diff(discounts).astype(np.float64)
        for queries, grades in problem.graded_rankings():
            most = int(grades.max(initial=0))
            gains = np.concatenate([[0.0], _increases(gain, most).cumsum()])[grades]
            sums = (gains * of_rank).cumsum(axis=1)[:, ranks - 1]
            yield queries, sums, [(grades >= g).sum(axis=1) for g in range(1, most + 1)]
        return
    for queries, totals, levels in problem.graded_counts():
        gains = sum(x * of for x, of in zip(_increases(gain, len(levels)), levels, strict=True))
        means = gains / np.maximum(totals, 1)
        before = counts_before(totals)
        sums = np.empty((len(queries), len(ranks)))
        for column, rank in enumerate(ranks):
            within = discounts[np.minimum(before + totals, rank)]
            within = (within - discounts[np.minimum(before, rank)]).astype(np.float64)
            sums[:, column] = (means * within).sum(axis=1)
        yield queries, sums, [relevant.sum(axis=1) for relevant in levels]
