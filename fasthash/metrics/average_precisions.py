"""Average precision of rankings by Hamming distance or by weights, and its mean over queries.

Which ranks count is the *depth* of a query: a number of ranks, the number of its relevant items, or
the number of codes within a radius. `precision_means` computes the measure; ``graded`` calls it for
weighted average precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.validation import check_choice, check_count
from ._means import check_policy, mean_by_policy, ratios
from ._relevance import EvaluationProblem
from ._ties import (
    RULES_FOR_RANKINGS,
    Ties,
    expected_precision_means,
    expected_precision_sums,
    harmonic_numbers,
)
from ._weighted_relevance import check_ranking

__all__ = ["average_precision", "mean_average_precision", "precision_means"]

_NORMALIZE = ["relevant", "retrieved", "all_relevant"]
_N_RELEVANT = "n_relevant"


def mean_average_precision(
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
    at : int or "n_relevant", optional
        Number of ranks that count; by default all. "n_relevant": as many ranks as the query has
        relevant items, as in the MAP@R of metric learning.
    radius : int, optional
        Only codes within this Hamming distance count, besides `at`. With weights, as in
        `precision_recall_curve`. A query with no relevant code within the radius scores 0.
    ties : {"expected", "database"}, default "expected"
        How equal distances or scores count. "expected": by the mean over all their orders, so that
        the order of the database does not matter. "database": in the order of the database, as a
        stable sort leaves them.
    no_relevant : {"skip", "zero", "raise"}, default "skip"
        Whether a query without any relevant item is left out of the mean, counts as 0, or is an
        error.
    normalize : {"relevant", "retrieved", "all_relevant"}, default "relevant"
        What the sum of precisions is divided by if `at` or `radius` is given; without them, all are
        the same. "relevant": the largest number of relevant items that the ranks that count can
        hold, ``min(at, n_relevant)``. "retrieved": the number of relevant items found in these
        ranks, as in much of the hashing literature; this rewards a query that finds few.
        "all_relevant": the number of all relevant items, as in trec_eval's ``map_cut``.
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
        If codes or labels do not fit, an option is unknown, or no query has a relevant item to
        average over.

    See Also
    --------
    average_precision : The value of every query.
    fasthash.metrics.weighted_average_precision : The same for graded relevance.
    fasthash.metrics.compare_paired : Compare the values of two rankings, query by query.
    retrieval_scores : The same measure for pairs, and for float latents.

    Notes
    -----
    Costs one scan of the database per query; with weights, one sort of all scores, which takes
    many times as long. ``ties="database"`` also needs 8 bytes of scratch memory per relevant item;
    queries are measured in blocks that need at most 8 MiB per thread. The mean over all orders of a
    tie is computed in closed form, after McSherry and Najork. For ``normalize="retrieved"``, a tie
    that `at` cuts takes a sum over the possible numbers of relevant items found. `radius` costs one
    more scan.

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
    check_policy(no_relevant)
    scores = average_precision(
        query_codes,
        database_codes,
        query_labels,
        database_labels,
        weights=weights,
        at=at,
        radius=radius,
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
    at: int | str | None = None,
    radius: int | None = None,
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
    at : int or "n_relevant", optional
        Number of ranks that count; by default all.
    radius : int, optional
        Only codes within this Hamming distance count, as in `mean_average_precision`.
    ties : {"expected", "database"}, default "expected"
        How equal distances count, as in `mean_average_precision`.
    normalize : {"relevant", "retrieved", "all_relevant"}, default "relevant"
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
    problem = check_ranking(
        *(query_codes, database_codes, query_labels, database_labels, weights, n_threads),
        exclude_self=exclude_self,
    )
    return precision_means(problem, at, radius, ties, normalize)


def precision_means(
    problem: EvaluationProblem,
    at: int | str | None,
    radius: int | None,
    ties: str,
    normalize: str,
    graded: bool = False,
) -> NDArray[np.float64]:
    """
    Compute the mean of the precisions at the relevant ranks of every query.

    Parameters
    ----------
    problem : EvaluationProblem
    at, radius, ties, normalize
        As in `mean_average_precision`; they are checked here.
    graded : bool
        Whether a precision is the mean of the numbers of shared labels, and not the share of
        relevant items.

    Returns
    -------
    ndarray of float64, shape (n_queries,)
        NaN for a query without any relevant item.
    """
    check_choice(ties, "ties", RULES_FOR_RANKINGS)
    check_choice(normalize, "normalize", _NORMALIZE)
    depth = _depths(problem, at, radius)
    scores = np.full(problem.n_queries, np.nan)
    if ties == "database":
        for queries, n_relevant, sums, n_within in _ranked(problem, depth, graded):
            divisors = _divisors(normalize, n_relevant, n_within, depth[queries])
            scores[queries] = ratios(sums, divisors, n_relevant)
        return scores
    harmonic = harmonic_numbers(problem.n)
    for queries, counts in _tied(problem, graded):
        n_relevant = counts.relevant.sum(axis=1)
        if normalize == "retrieved":
            means = expected_precision_means(counts, depth[queries], harmonic)
            scores[queries] = np.where(n_relevant > 0, means, np.nan)
            continue
        sums = expected_precision_sums(counts, depth[queries], harmonic)
        divisors = _divisors(normalize, n_relevant, n_relevant, depth[queries])
        scores[queries] = ratios(sums, divisors, n_relevant)
    return scores


def _depths(
    problem: EvaluationProblem, at: int | str | None, radius: int | None
) -> NDArray[np.int64]:
    """Return the number of ranks that count for each query, which may be 0."""
    if isinstance(at, str):
        check_choice(at, "at", [_N_RELEVANT])
        depth = problem.n_relevant()
    else:
        limit = problem.n if at is None else check_count(at, "at", maximum=None)
        depth = np.full(problem.n_queries, min(limit, problem.n), np.int64)
    if radius is None:
        return depth
    radius = check_count(radius, "radius", minimum=0, maximum=None)
    return np.minimum(depth, problem.n_within(radius))


def _divisors(
    normalize: str, n_relevant: NDArray[Any], n_within: NDArray[Any], depth: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return what sums of precisions are divided by; at least 1, where the sum is 0."""
    divisors: NDArray[np.int64] = {
        "relevant": np.minimum(n_relevant, depth),
        "retrieved": n_within,
        "all_relevant": n_relevant,
    }[normalize]
    return np.maximum(divisors, 1)


def _tied(problem: EvaluationProblem, graded: bool) -> Iterator[tuple[NDArray[np.int64], Ties]]:
    """Chunks of (queries, their ties)."""
    if graded:
        for queries, totals, levels in problem.graded_counts():
            yield queries, Ties(totals, levels[0], np.sum(levels, axis=0))
        return
    for queries, totals, relevant in problem.counts():
        yield queries, Ties(totals, relevant, relevant)


def _ranked(problem: EvaluationProblem, depth: NDArray[np.int64], graded: bool) -> Iterator[Any]:
    """Chunks of (queries, relevant items, sums of precisions and relevant items within depths)."""
    if not graded:
        for chunk in problem.ranked(depth, np.empty(0, np.int64)):
            yield chunk[:4]
        return
    places = np.arange(1, problem.n + 1)
    for queries, grades in problem.graded_rankings():
        is_counted = (grades > 0) & (places <= depth[queries, None])
        sums = np.where(is_counted, grades.cumsum(axis=1) / places, 0.0).sum(axis=1)
        yield queries, (grades > 0).sum(axis=1), sums, is_counted.sum(axis=1)
