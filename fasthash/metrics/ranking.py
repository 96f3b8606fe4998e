"""Quality of a ranking by Hamming distance or by weights: average precision, precision, recall.

Every measure starts from counts: the number of codes, and of relevant codes, at each distance from
a query, or with each score. An item is relevant if it shares a label with the query. No matrix of
queries x database is built.

A measure over ranks needs a rule for ties, and codes often tie. There are two rules:

- "expected", the default: the mean over all orders within equal distances. The order of the
  database changes no figure.
- "database": equal distances in the order of the database, as a stable sort leaves them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.arrays import as_array
from .._core.validation import check_choice, check_count
from ._means import mean_by_policy, ratios, recalls
from ._relevance import EvaluationProblem, counts_before
from ._ties import RULES_FOR_RANKINGS, expected_precisions, harmonic_numbers
from ._weighted_relevance import check_ranking

__all__ = [
    "average_precision",
    "mean_average_precision",
    "precision_at",
    "recall_at",
]

_NORMALIZE = ["relevant", "retrieved"]


def mean_average_precision(
    query_codes: ArrayLike | None,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    *,
    weights: ArrayLike | None = None,
    at: int | None = None,
    ties: str = "expected",
    no_relevant: str = "skip",
    normalize: str = "relevant",
    exclude_self: bool = False,
    n_threads: int | None = None,
) -> float:
    """
    Compute the mean over queries of the average precision of their rankings.

    Parameters
    ----------
    query_codes : array_like of uint8, shape (n_queries, n_bytes)
        Packed codes, as made by `pack`.
    database_codes : array_like of uint8, shape (n, n_bytes)
        Packed codes to search, of the same width.
    query_labels : labels
        Labels of the queries. Either one class per item, as names or numbers of shape (n_queries,)
        or (n_queries, 1). Or 0/1 columns, as an array with two or more columns, or a scipy sparse
        matrix with any number of columns.
    database_labels : labels
        Labels of the database, in the same form. An item is relevant to a query if they share a
        label.
    weights : array_like of float or int, shape (n_queries, n_bits), optional
        Rank by the scores of these weights, as `topk_weighted` does, and not by Hamming distance.
        Pass None as `query_codes` then.
    at : int, optional
        Number of ranks that count; by default all.
    ties : {"expected", "database"}, default "expected"
        How equal distances or scores count. "expected": by the mean over all their orders, so that
        the order of the database does not matter. "database": in the order of the database, as a
        stable sort leaves them.
    no_relevant : {"skip", "zero", "raise"}, default "skip"
        Whether a query without any relevant item is left out of the mean, counts as 0, or is an
        error.
    normalize : {"relevant", "retrieved"}, default "relevant"
        What the sum of precisions is divided by if `at` is given. "relevant": the largest number of
        relevant items that the first `at` ranks can hold, ``min(at, n_relevant)``. "retrieved": the
        number of relevant items found within `at`, as in much of the hashing literature; this
        rewards a query that finds few. Without `at` both are the same.
    exclude_self : bool, default False
        Whether query i leaves out row i of the database. Codes and labels of the queries must be
        those of the database; with weights, the labels.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit, an option is unknown, no query has a relevant item to average
        over, or ``normalize="retrieved"`` is combined with `at` and ``ties="expected"``.

    See Also
    --------
    average_precision : The value of every query.
    retrieval_scores : The same measure for pairs, and for float latents.

    Notes
    -----
    Costs one scan of the database per query; with weights, one sort of all scores, which takes
    many times as long. ``ties="database"`` also needs 8 bytes of scratch memory per relevant item;
    queries are measured in blocks that need at most 8 MiB per thread. The mean over all orders of a
    tie is computed in closed form, after McSherry and Najork.

    References
    ----------
    F. McSherry, M. Najork, "Computing information retrieval performance measures efficiently in the
    presence of tied scores", European Conference on Information Retrieval, 2008.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> fh.mean_average_precision(fh.pack([[1.0, 1.0]]), database, [0], [0, 1, 0])
    0.8333333333333333
    """
    scores = average_precision(
        query_codes,
        database_codes,
        query_labels,
        database_labels,
        weights=weights,
        at=at,
        ties=ties,
        normalize=normalize,
        exclude_self=exclude_self,
        n_threads=n_threads,
    )
    return mean_by_policy(scores, no_relevant)


def average_precision(
    query_codes: ArrayLike | None,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    *,
    weights: ArrayLike | None = None,
    at: int | None = None,
    ties: str = "expected",
    normalize: str = "relevant",
    exclude_self: bool = False,
    n_threads: int | None = None,
) -> NDArray[np.float64]:
    """
    Compute the average precision of the ranking of every query.

    Parameters
    ----------
    query_codes, database_codes : array_like of uint8, shape (n_items, n_bytes)
        Packed codes, as made by `pack`; both of the same width.
    query_labels, database_labels : labels
        Labels, in any form that `mean_average_precision` accepts.
    weights : array_like of float or int, shape (n_queries, n_bits), optional
        Rank by weighted scores, as in `mean_average_precision`.
    at : int, optional
        Number of ranks that count; by default all.
    ties : {"expected", "database"}, default "expected"
        How equal distances count, as in `mean_average_precision`.
    normalize : {"relevant", "retrieved"}, default "relevant"
        What the sum of precisions is divided by, as in `mean_average_precision`.
    exclude_self : bool, default False
        Whether query i leaves out row i of the database, as in `mean_average_precision`.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    ndarray of float64, shape (n_queries,)
        NaN for a query without any relevant item.

    Raises
    ------
    TypeError, ValueError
        As in `mean_average_precision`.

    See Also
    --------
    mean_average_precision : The mean of these values.
    fasthash.metrics.average_precision_by_label : Means of these values for each label.

    Notes
    -----
    Costs one scan of the database per query, and the scratch memory of `mean_average_precision`.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [1.0, 1.0]])
    >>> query = fh.pack([[1.0, 1.0]])
    >>> fh.average_precision(query, database, [0], [1, 0])
    array([0.75])
    >>> fh.average_precision(query, database, [0], [1, 0], ties="database")
    array([0.5])
    """
    check_choice(ties, "ties", RULES_FOR_RANKINGS)
    check_choice(normalize, "normalize", _NORMALIZE)
    if at is not None:
        at = check_count(at, "at", maximum=None)
        if ties == "expected" and normalize == "retrieved":
            raise ValueError(
                'normalize="retrieved" with at and ties="expected" is the expectation of a ratio, '
                'which is not offered: pass ties="database" or normalize="relevant"'
            )
    problem = check_ranking(
        *(query_codes, database_codes, query_labels, database_labels, weights, n_threads),
        exclude_self=exclude_self,
    )
    at = problem.n if at is None else min(at, problem.n)
    scores = np.full(problem.n_queries, np.nan)
    if ties == "expected":
        for queries, totals, relevant in problem.counts():
            sums = _expected_precision_sums(totals, relevant, at)
            n_relevant = relevant.sum(axis=1)
            scores[queries] = ratios(sums, np.minimum(n_relevant, at), n_relevant)
        return scores
    ranks = np.array([at] if normalize == "retrieved" else [], np.int64)
    for queries, n_relevant, sums, hits in problem.ranked(at, ranks):
        divisors = hits[:, 0] if normalize == "retrieved" else np.minimum(n_relevant, at)
        scores[queries] = ratios(sums, np.maximum(divisors, 1), n_relevant)
    return scores


def precision_at(
    query_codes: ArrayLike | None,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    *,
    weights: ArrayLike | None = None,
    ranks: ArrayLike,
    ties: str = "expected",
    exclude_self: bool = False,
    n_threads: int | None = None,
) -> NDArray[np.float64]:
    """
    Compute the share of relevant items among the first ones, averaged over queries.

    Parameters
    ----------
    query_codes, database_codes : array_like of uint8, shape (n_items, n_bytes)
        Packed codes, as made by `pack`; both of the same width.
    query_labels, database_labels : labels
        Labels, in any form that `mean_average_precision` accepts.
    weights : array_like of float or int, shape (n_queries, n_bits), optional
        Rank by weighted scores, as in `mean_average_precision`.
    ranks : int or array_like of int, shape (n_ranks,)
        Numbers of first items to look at, each between 1 and the size of the database.
    ties : {"expected", "database"}, default "expected"
        How equal distances count, as in `mean_average_precision`.
    exclude_self : bool, default False
        Whether query i leaves out row i of the database, as in `mean_average_precision`.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    ndarray of float64, shape (n_ranks,)
        The mean precision at each rank. A query without any relevant item counts as 0.

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit, or a rank is out of range.

    See Also
    --------
    recall_at : The share of all relevant items that is among the first ones.

    Notes
    -----
    Costs one scan of the database per query, and the scratch memory of `mean_average_precision`.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> fh.precision_at(fh.pack([[1.0, 1.0]]), database, [0], [0, 1, 0], ranks=[1, 2])
    array([1. , 0.5])
    """
    check_choice(ties, "ties", RULES_FOR_RANKINGS)
    problem = check_ranking(
        *(query_codes, database_codes, query_labels, database_labels, weights, n_threads),
        exclude_self=exclude_self,
    )
    ranks = _check_ranks(ranks, problem.n)
    total = np.zeros(len(ranks))
    for hits, _ in _hits_at(problem, ranks, ties):
        total += hits.sum(axis=0)
    return total / ranks / problem.n_queries


def recall_at(
    query_codes: ArrayLike | None,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    *,
    weights: ArrayLike | None = None,
    ranks: ArrayLike,
    ties: str = "expected",
    no_relevant: str = "skip",
    exclude_self: bool = False,
    n_threads: int | None = None,
) -> NDArray[np.float64]:
    """
    Compute the share of all relevant items that is among the first ones, averaged over queries.

    Parameters
    ----------
    query_codes, database_codes : array_like of uint8, shape (n_items, n_bytes)
        Packed codes, as made by `pack`; both of the same width.
    query_labels, database_labels : labels
        Labels, in any form that `mean_average_precision` accepts.
    weights : array_like of float or int, shape (n_queries, n_bits), optional
        Rank by weighted scores, as in `mean_average_precision`.
    ranks : int or array_like of int, shape (n_ranks,)
        Numbers of first items to look at, each between 1 and the size of the database.
    ties : {"expected", "database"}, default "expected"
        How equal distances count, as in `mean_average_precision`.
    no_relevant : {"skip", "zero", "raise"}, default "skip"
        Whether a query without any relevant item is left out of the mean, counts as 0, or is an
        error.
    exclude_self : bool, default False
        Whether query i leaves out row i of the database, as in `mean_average_precision`.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    ndarray of float64, shape (n_ranks,)
        The mean recall at each rank.

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit, a rank is out of range, or no query has a relevant item to
        average over.

    See Also
    --------
    retrieval_scores : Recall at k as the share of queries that find a partner.
    precision_at : The share of relevant items among the first ones.

    Notes
    -----
    Costs one scan of the database per query, and the scratch memory of `mean_average_precision`.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> fh.recall_at(fh.pack([[1.0, 1.0]]), database, [0], [0, 1, 0], ranks=[1, 3])
    array([0.5, 1. ])
    """
    check_choice(ties, "ties", RULES_FOR_RANKINGS)
    problem = check_ranking(
        *(query_codes, database_codes, query_labels, database_labels, weights, n_threads),
        exclude_self=exclude_self,
    )
    ranks = _check_ranks(ranks, problem.n)
    found = [recalls(hits, n) for hits, n in _hits_at(problem, ranks, ties)]
    return mean_by_policy(np.concatenate(found), no_relevant)


def _expected_precision_sums(
    totals: NDArray[Any], relevant: NDArray[Any], at: int
) -> NDArray[np.float64]:
    """Expected sum of the precisions at the relevant ranks up to `at`, for every query."""
    before, relevant_before = counts_before(totals), counts_before(relevant)
    harmonic = harmonic_numbers(int(before[0, -1] + totals[0, -1]))
    of_ties = expected_precisions(before, relevant_before, totals, relevant, at, harmonic)
    return of_ties.sum(axis=1)


def _hits_at(
    problem: EvaluationProblem, ranks: NDArray[np.int64], ties: str
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Chunks of (relevant items within each rank, number of relevant items)."""
    if ties == "database":
        ascending, position = np.unique(ranks, return_inverse=True)
        for _, n_relevant, _, hits in problem.ranked(0, ascending):
            yield hits[:, position], n_relevant
        return
    for _, totals, relevant in problem.counts():
        # Within a tie the expected number of hits grows linearly with the rank.
        zero = np.zeros((len(totals), 1))
        ends = np.hstack([zero, totals.cumsum(axis=1)])
        found = np.hstack([zero, relevant.cumsum(axis=1)])
        hits = np.array([np.interp(ranks, x, y) for x, y in zip(ends, found, strict=True)])
        yield hits, relevant.sum(axis=1)


def _check_ranks(ranks: ArrayLike, n: int) -> NDArray[np.int64]:
    checked = [
        check_count(rank, "ranks") for rank in np.atleast_1d(as_array(ranks, "ranks")).tolist()
    ]
    if not checked:
        raise ValueError("ranks is empty: there is nothing to measure")
    if max(checked) > n:
        raise ValueError(f"ranks holds {max(checked)}, but a query ranks {n} codes")
    return np.array(checked, np.int64)
