"""How good a ranking by Hamming distance is: average precision, precision, recall, curves.

Every measure starts from counts: how many codes, and how many relevant ones, lie at each distance
of a query. Relevant means that query and item share a label. No query x database matrix is built.

A measure over ranks is not defined until ties are, and codes tie often. Two rules have names:

- "expected", the default: the mean over all orders within equal distances. The order of the
  database changes no figure.
- "database": equal distances in the order of the database, as a stable sort has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.arrays import as_array
from .._core.validation import check_choice, check_count
from ._relevance import EvaluationProblem, check_problem, counts_before
from ._ties import RULES_FOR_RANKINGS, expected_precisions, harmonic_numbers

__all__ = [
    "average_precision",
    "mean_average_precision",
    "precision_at",
    "precision_recall_curve",
    "recall_at",
]

_NO_RELEVANT = ["skip", "zero", "raise"]
_NORMALIZE = ["relevant", "retrieved"]
_NOTHING_RETRIEVED = ["zero", "skip"]


def mean_average_precision(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    *,
    at: int | None = None,
    ties: str = "expected",
    no_relevant: str = "skip",
    normalize: str = "relevant",
    n_threads: int | None = None,
) -> float:
    """
    Compute the mean over queries of the average precision of their ranking.

    Parameters
    ----------
    query_codes : array_like of uint8, shape (n_queries, n_bytes)
        Packed codes, as made by `pack`.
    database_codes : array_like of uint8, shape (n, n_bytes)
    query_labels, database_labels : labels
        A class per item, names or numbers of shape (n,) or (n, 1); or 0/1 columns, as an array of
        two columns or more, or a scipy sparse matrix of any number of them; both of the same kind.
    at : int, optional
        Only the first `at` ranks count; by default all.
    ties : {"expected", "database"}, default "expected"
        How equal distances count: by the mean over all their orders, whatever order the database
        has; or in the order of the database, as a stable sort has them.
    no_relevant : {"skip", "zero", "raise"}, default "skip"
        A query without any relevant item is left out of the mean, counts as 0, or is an error.
    normalize : {"relevant", "retrieved"}, default "relevant"
        With `at`, the sum of precisions is divided by the best reachable number of relevant items,
        ``min(at, n_relevant)``, or by the number found within `at`, as much of the hashing
        literature does (it rewards a query for finding few). The same thing without `at`.
    n_threads : int, optional
        Threads to use, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit, an option is unknown, no query has a relevant item to average
        over, or ``normalize="retrieved"`` is asked for with `at` and ``ties="expected"``.

    Notes
    -----
    Costs one scan of the database per query, and with ``ties="database"`` 8 bytes of scratch per
    relevant item, for as many queries at a time as fit into 8 MiB per thread.

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
        at=at,
        ties=ties,
        normalize=normalize,
        n_threads=n_threads,
    )
    return _mean_by_policy(scores, no_relevant)


def average_precision(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    *,
    at: int | None = None,
    ties: str = "expected",
    normalize: str = "relevant",
    n_threads: int | None = None,
) -> NDArray[np.float64]:
    """
    Compute the average precision of every query's ranking.

    Parameters
    ----------
    query_codes, database_codes, query_labels, database_labels, at, ties, normalize, n_threads
        As for `mean_average_precision`.

    Returns
    -------
    ndarray of float64, shape (n_queries,)
        NaN for a query without any relevant item.

    Raises
    ------
    TypeError, ValueError
        As for `mean_average_precision`.

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
    problem = check_problem(query_codes, database_codes, query_labels, database_labels, n_threads)
    at = problem.n if at is None else min(at, problem.n)
    scores = np.full(len(problem.query_codes), np.nan)
    if ties == "expected":
        for queries, totals, relevant in problem.counts():
            sums = _expected_precision_sums(totals, relevant, at)
            n_relevant = relevant.sum(axis=1)
            scores[queries] = _ratios(sums, np.minimum(n_relevant, at), n_relevant)
        return scores
    ranks = np.array([at] if normalize == "retrieved" else [], np.int64)
    for queries, n_relevant, sums, hits in problem.ranked(at, ranks):
        divisors = hits[:, 0] if normalize == "retrieved" else np.minimum(n_relevant, at)
        scores[queries] = _ratios(sums, np.maximum(divisors, 1), n_relevant)
    return scores


def precision_at(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    *,
    ranks: ArrayLike,
    ties: str = "expected",
    n_threads: int | None = None,
) -> NDArray[np.float64]:
    """
    Compute the share of relevant items among the first ones, mean over queries.

    Parameters
    ----------
    query_codes, database_codes, query_labels, database_labels, ties, n_threads
        As for `mean_average_precision`.
    ranks : int or array_like of int, shape (n_ranks,)
        How many of the first items to look at, between 1 and the size of the database.

    Returns
    -------
    ndarray of float64, shape (n_ranks,)
        A query without any relevant item counts as 0, which is what it retrieved.

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit, or a rank is out of range.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> fh.precision_at(fh.pack([[1.0, 1.0]]), database, [0], [0, 1, 0], ranks=[1, 2])
    array([1. , 0.5])
    """
    check_choice(ties, "ties", RULES_FOR_RANKINGS)
    problem = check_problem(query_codes, database_codes, query_labels, database_labels, n_threads)
    ranks = _check_ranks(ranks, problem.n)
    total = np.zeros(len(ranks))
    for hits, _ in _hits_at(problem, ranks, ties):
        total += hits.sum(axis=0)
    return total / ranks / len(problem.query_codes)


def recall_at(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    *,
    ranks: ArrayLike,
    ties: str = "expected",
    no_relevant: str = "skip",
    n_threads: int | None = None,
) -> NDArray[np.float64]:
    """
    Compute the share of all relevant items that is among the first ones, mean over queries.

    For whether a query finds its partner among the first ones, see `retrieval_scores`.

    Parameters
    ----------
    query_codes, database_codes, query_labels, database_labels, ties, no_relevant, n_threads
        As for `mean_average_precision`.
    ranks : int or array_like of int, shape (n_ranks,)
        How many of the first items to look at, between 1 and the size of the database.

    Returns
    -------
    ndarray of float64, shape (n_ranks,)

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit, a rank is out of range, or no query has a relevant item to
        average over.

    Examples
    --------
    >>> import fasthash as fh
    >>> database = fh.pack([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> fh.recall_at(fh.pack([[1.0, 1.0]]), database, [0], [0, 1, 0], ranks=[1, 3])
    array([0.5, 1. ])
    """
    check_choice(ties, "ties", RULES_FOR_RANKINGS)
    problem = check_problem(query_codes, database_codes, query_labels, database_labels, n_threads)
    ranks = _check_ranks(ranks, problem.n)
    recalls = [_recall(hits, n) for hits, n in _hits_at(problem, ranks, ties)]
    return _mean_by_policy(np.concatenate(recalls), no_relevant)


def precision_recall_curve(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    *,
    n_bits: int | None = None,
    no_relevant: str = "skip",
    nothing_retrieved: str = "zero",
    n_threads: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """
    Compute precision and recall within every Hamming radius, mean over queries.

    Ties do not matter here: a radius takes all codes of a distance or none.

    Parameters
    ----------
    query_codes, database_codes, query_labels, database_labels, no_relevant, n_threads
        As for `mean_average_precision`; `no_relevant` is for the recall.
    n_bits : int, optional
        Number of bits of the codes, the largest radius; by default 8 per byte.
    nothing_retrieved : {"zero", "skip"}, default "zero"
        The precision of a query that retrieves nothing within a radius is 0, or is left out.

    Returns
    -------
    precision : ndarray of float64, shape (n_bits + 1,)
        NaN at a radius where all queries are left out.
    recall : ndarray of float64, shape (n_bits + 1,)
    radii : ndarray of int64, shape (n_bits + 1,)
        0, 1, …, n_bits.

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit, or no query has a relevant item to average over.

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
    problem = check_problem(
        query_codes, database_codes, query_labels, database_labels, n_threads, n_bits
    )
    n_radii = problem.n_distances if n_bits is None else check_count(n_bits, "n_bits") + 1
    precision_sum, n_counted, recalls = np.zeros(n_radii), np.zeros(n_radii), []
    for _, totals, relevant in problem.counts():
        retrieved = totals.cumsum(axis=1)[:, :n_radii]
        hits = relevant.cumsum(axis=1)[:, :n_radii]
        precision_sum += (hits / np.maximum(retrieved, 1)).sum(axis=0)
        counted = retrieved > 0 if nothing_retrieved == "skip" else np.ones_like(retrieved, bool)
        n_counted += counted.sum(axis=0)
        recalls.append(_recall(hits, relevant.sum(axis=1)))
    recall = _mean_by_policy(np.concatenate(recalls), no_relevant)
    precision = np.full(n_radii, np.nan)
    np.divide(precision_sum, n_counted, out=precision, where=n_counted > 0)
    return precision, recall, np.arange(n_radii)


def _expected_precision_sums(
    totals: NDArray[Any], relevant: NDArray[Any], at: int
) -> NDArray[np.float64]:
    """Expected sum of the precisions at the relevant ranks up to at, for every query."""
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


def _ratios(
    sums: NDArray[Any], divisors: NDArray[Any], n_relevant: NDArray[Any]
) -> NDArray[np.float64]:
    """Quotients, NaN for a query that nothing is relevant to."""
    ratios = np.full(len(sums), np.nan)
    return np.divide(sums, divisors, out=ratios, where=n_relevant > 0)


def _recall(hits: NDArray[Any], n_relevant: NDArray[Any]) -> NDArray[np.float64]:
    """Hits over all relevant, NaN for a query that has none."""
    recall = np.full(hits.shape, np.nan)
    np.divide(hits, n_relevant[:, None], out=recall, where=n_relevant[:, None] > 0)
    return recall


def _check_ranks(ranks: ArrayLike, n: int) -> NDArray[np.int64]:
    checked = [
        check_count(rank, "ranks") for rank in np.atleast_1d(as_array(ranks, "ranks")).tolist()
    ]
    if not checked:
        raise ValueError("ranks is empty: there is nothing to measure")
    if max(checked) > n:
        raise ValueError(f"ranks holds {max(checked)}, but the database has {n} codes")
    return np.array(checked, np.int64)


def _mean_by_policy(scores: NDArray[np.float64], no_relevant: str) -> Any:
    """Mean over queries (rows), whose scores are NaN where a query has no relevant item."""
    check_choice(no_relevant, "no_relevant", _NO_RELEVANT)
    lacks = np.isnan(scores if scores.ndim == 1 else scores[:, 0])
    if lacks.any() and no_relevant == "raise":
        raise ValueError(f"query {np.flatnonzero(lacks)[0]} has no relevant item in the database")
    if no_relevant == "zero":
        scores = np.where(np.isnan(scores), 0.0, scores)
    elif lacks.all():
        raise ValueError(
            "no query has a relevant item in the database: there is nothing to average over (pass "
            'no_relevant="zero" to count them as 0)'
        )
    else:
        scores = scores[~lacks]
    mean = scores.mean(axis=0)
    return float(mean) if scores.ndim == 1 else mean
