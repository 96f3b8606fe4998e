"""Measures of the first ranks, by Hamming distance or by weights: precision, recall, R-precision.

Every measure starts from counts: the number of codes, and of relevant codes, at each distance from
a query, or with each score. An item is relevant if it shares a label with the query. No matrix of
queries x database is built.

A measure over ranks needs a rule for ties, and codes often tie. There are two rules, here and in
``average_precisions`` and ``graded``:

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
from .._core.validation import check_choice, check_count, check_flag
from ._means import check_policy, mean_by_policy, ratios, recalls
from ._relevance import EvaluationProblem
from ._ties import RULES_FOR_RANKINGS
from ._weighted_relevance import check_ranking

__all__ = [
    "check_ranks",
    "precision_at",
    "precisions_at",
    "r_precision",
    "recall_at",
    "recalls_at",
]


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
    per_query: bool = False,
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
    per_query : bool, default False
        Whether to return the values of every query, and not their mean.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    ndarray of float64, shape (n_ranks,)
        The mean precision at each rank. A query without any relevant item counts as 0. With
        `per_query`, shape (n_queries, n_ranks).

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit, or a rank is out of range.

    See Also
    --------
    recall_at : The share of all relevant items that is among the first ones.
    fasthash.metrics.r_precision : The precision at the number of relevant items.

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
    check_flag(per_query, "per_query")
    problem = check_ranking(
        *(query_codes, database_codes, query_labels, database_labels, weights, n_threads),
        exclude_self=exclude_self,
    )
    return precisions_at(problem, ranks, ties, per_query)


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
    per_query: bool = False,
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
    per_query : bool, default False
        Whether to return the values of every query, and not their mean.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    ndarray of float64, shape (n_ranks,)
        The mean recall at each rank. With `per_query`, shape (n_queries, n_ranks); NaN for a query
        without any relevant item.

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
    check_policy(no_relevant, per_query)
    problem = check_ranking(
        *(query_codes, database_codes, query_labels, database_labels, weights, n_threads),
        exclude_self=exclude_self,
    )
    return recalls_at(problem, ranks, ties, no_relevant, per_query)


def r_precision(
    query_codes: ArrayLike | None,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    *,
    weights: ArrayLike | None = None,
    ties: str = "expected",
    no_relevant: str = "skip",
    exclude_self: bool = False,
    per_query: bool = False,
    n_threads: int | None = None,
) -> Any:
    """
    Compute the precision at as many ranks as a query has relevant items, averaged over queries.

    Parameters
    ----------
    query_codes, database_codes : array_like of uint8, shape (n_items, n_bytes)
        Packed codes, as made by `pack`; both of the same width.
    query_labels, database_labels : labels
        Labels, in any form that `fasthash.mean_average_precision` accepts.
    weights : array_like of float or int, shape (n_queries, n_bits), optional
        Rank by weighted scores, as in `fasthash.mean_average_precision`.
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
    float or ndarray of float64, shape (n_queries,)
        The mean; with `per_query`, the value of every query, NaN where nothing is relevant.

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit, or no query has a relevant item to average over.

    See Also
    --------
    fasthash.precision_at : The precision at given ranks.
    fasthash.mean_average_precision : With ``at="n_relevant"``, the mean of the precisions at the
        relevant ones of the same ranks.

    Notes
    -----
    Costs one scan of the database per query, and the scratch memory of `mean_average_precision`.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> r_precision(fh.pack([[1.0, 1.0]]), database, [0], [0, 1, 0])
    0.5
    """
    check_choice(ties, "ties", RULES_FOR_RANKINGS)
    check_policy(no_relevant, per_query)
    problem = check_ranking(
        *(query_codes, database_codes, query_labels, database_labels, weights, n_threads),
        exclude_self=exclude_self,
    )
    scores = np.empty(problem.n_queries)
    if ties == "database":
        for chunk in problem.ranked(problem.n_relevant(), np.empty(0, np.int64)):
            scores[chunk.queries] = ratios(chunk.n_within, chunk.n_relevant, chunk.n_relevant)
    else:
        for queries, totals, relevant in problem.counts():
            n_relevant = relevant.sum(axis=1)
            hits = _expected_hits(totals, relevant, n_relevant[:, None])
            scores[queries] = ratios(hits[:, 0], n_relevant, n_relevant)
    return scores if per_query else mean_by_policy(scores, no_relevant)


def precisions_at(
    problem: EvaluationProblem, ranks: ArrayLike, ties: str, per_query: bool
) -> NDArray[np.float64]:
    """`precision_at` of a checked problem."""
    ranks = check_ranks(ranks, problem.n)
    scores = np.empty((problem.n_queries, len(ranks)))
    for queries, hits, _ in _hits_at(problem, ranks, ties):
        scores[queries] = hits / ranks
    return scores if per_query else scores.mean(axis=0)


def recalls_at(
    problem: EvaluationProblem, ranks: ArrayLike, ties: str, no_relevant: str, per_query: bool
) -> Any:
    """`recall_at` of a checked problem."""
    ranks = check_ranks(ranks, problem.n)
    scores = np.empty((problem.n_queries, len(ranks)))
    for queries, hits, n_relevant in _hits_at(problem, ranks, ties):
        scores[queries] = recalls(hits, n_relevant)
    return scores if per_query else mean_by_policy(scores, no_relevant)


def _hits_at(
    problem: EvaluationProblem, ranks: NDArray[np.int64], ties: str
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]]:
    """Chunks of (queries, relevant items within each rank, number of relevant items)."""
    if ties == "database":
        ascending, position = np.unique(ranks, return_inverse=True)
        for chunk in problem.ranked(np.zeros(problem.n_queries, np.int64), ascending):
            yield chunk.queries, chunk.hits[:, position], chunk.n_relevant
        return
    for queries, totals, relevant in problem.counts():
        hits = _expected_hits(totals, relevant, np.broadcast_to(ranks, (len(queries), len(ranks))))
        yield queries, hits, relevant.sum(axis=1)


def _expected_hits(
    totals: NDArray[np.int64], relevant: NDArray[np.int64], ranks: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Interpolate: within a tie the expected number of hits grows linearly with the rank."""
    zero = np.zeros((len(totals), 1))
    ends = np.hstack([zero, totals.cumsum(axis=1)])
    found = np.hstack([zero, relevant.cumsum(axis=1)])
    return np.array([np.interp(r, x, y) for r, x, y in zip(ranks, ends, found, strict=True)])


def check_ranks(ranks: ArrayLike, n: int) -> NDArray[np.int64]:
    """Return numbers of first items as an array; each is between 1 and n."""
    checked = [
        check_count(rank, "ranks") for rank in np.atleast_1d(as_array(ranks, "ranks")).tolist()
    ]
    if not checked:
        raise ValueError("ranks is empty: there is nothing to measure")
    if max(checked) > n:
        raise ValueError(f"ranks holds {max(checked)}, but a query ranks {n} codes")
    return np.array(checked, np.int64)
