"""Quality of a ranking by Hamming distance: average precision, precision, recall, curves.

Every measure starts from counts: the number of codes, and of relevant codes, at each distance from
a query. An item is relevant if it shares a label with the query. No matrix of queries x database is
built.

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
    at : int, optional
        Number of ranks that count; by default all.
    ties : {"expected", "database"}, default "expected"
        How equal distances count. "expected": by the mean over all their orders, so that the order
        of the database does not matter. "database": in the order of the database, as a stable sort
        leaves them.
    no_relevant : {"skip", "zero", "raise"}, default "skip"
        Whether a query without any relevant item is left out of the mean, counts as 0, or is an
        error.
    normalize : {"relevant", "retrieved"}, default "relevant"
        What the sum of precisions is divided by if `at` is given. "relevant": the largest number of
        relevant items that the first `at` ranks can hold, ``min(at, n_relevant)``. "retrieved": the
        number of relevant items found within `at`, as in much of the hashing literature; this
        rewards a query that finds few. Without `at` both are the same.
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
    Costs one scan of the database per query. ``ties="database"`` also needs 8 bytes of scratch
    memory per relevant item; queries are measured in blocks that need at most 8 MiB per thread. The
    mean over all orders of a tie is computed in closed form, after McSherry and Najork.

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
    Compute the average precision of the ranking of every query.

    Parameters
    ----------
    query_codes, database_codes : array_like of uint8, shape (n_items, n_bytes)
        Packed codes, as made by `pack`; both of the same width.
    query_labels, database_labels : labels
        Labels, in any form that `mean_average_precision` accepts.
    at : int, optional
        Number of ranks that count; by default all.
    ties : {"expected", "database"}, default "expected"
        How equal distances count, as in `mean_average_precision`.
    normalize : {"relevant", "retrieved"}, default "relevant"
        What the sum of precisions is divided by, as in `mean_average_precision`.
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
    Compute the share of relevant items among the first ones, averaged over queries.

    Parameters
    ----------
    query_codes, database_codes : array_like of uint8, shape (n_items, n_bytes)
        Packed codes, as made by `pack`; both of the same width.
    query_labels, database_labels : labels
        Labels, in any form that `mean_average_precision` accepts.
    ranks : int or array_like of int, shape (n_ranks,)
        Numbers of first items to look at, each between 1 and the size of the database.
    ties : {"expected", "database"}, default "expected"
        How equal distances count, as in `mean_average_precision`.
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
    Compute the share of all relevant items that is among the first ones, averaged over queries.

    Parameters
    ----------
    query_codes, database_codes : array_like of uint8, shape (n_items, n_bytes)
        Packed codes, as made by `pack`; both of the same width.
    query_labels, database_labels : labels
        Labels, in any form that `mean_average_precision` accepts.
    ranks : int or array_like of int, shape (n_ranks,)
        Numbers of first items to look at, each between 1 and the size of the database.
    ties : {"expected", "database"}, default "expected"
        How equal distances count, as in `mean_average_precision`.
    no_relevant : {"skip", "zero", "raise"}, default "skip"
        Whether a query without any relevant item is left out of the mean, counts as 0, or is an
        error.
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
    Compute precision and recall within every Hamming radius, averaged over queries.

    No rule for ties is needed: all codes at one distance are within a radius, or none is.

    Parameters
    ----------
    query_codes, database_codes : array_like of uint8, shape (n_items, n_bytes)
        Packed codes, as made by `pack`; both of the same width.
    query_labels, database_labels : labels
        Labels, in any form that `mean_average_precision` accepts.
    n_bits : int, optional
        Number of bits of the codes, which is the largest radius; by default 8 per byte.
    no_relevant : {"skip", "zero", "raise"}, default "skip"
        Whether a query without any relevant item is left out of the mean recall, counts as 0, or is
        an error.
    nothing_retrieved : {"zero", "skip"}, default "zero"
        Whether the precision of a query counts as 0 at a radius within which no code lies, or is
        left out of the mean.
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


def _ratios(
    sums: NDArray[Any], divisors: NDArray[Any], n_relevant: NDArray[Any]
) -> NDArray[np.float64]:
    """Quotients, NaN for a query without any relevant item."""
    ratios = np.full(len(sums), np.nan)
    return np.divide(sums, divisors, out=ratios, where=n_relevant > 0)


def _recall(hits: NDArray[Any], n_relevant: NDArray[Any]) -> NDArray[np.float64]:
    """Hits divided by the number of relevant items, NaN for a query that has none."""
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
