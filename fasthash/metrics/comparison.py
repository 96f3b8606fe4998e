"""Whether two rankings differ by more than the choice of the queries explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.arrays import as_array
from .._core.pieces import BLOCK_VALUES
from .._core.validation import check_count, check_number

__all__ = ["PairedComparison", "compare_paired"]


@dataclass(frozen=True)
class PairedComparison:
    """
    The difference of two rankings over the same queries, as `compare_paired` returns it.

    Attributes
    ----------
    difference : float
        Mean over queries of the score of the first ranking less that of the second.
    low, high : float
        Ends of the confidence interval of this mean.
    n_queries : int
        Number of queries that have both scores.

    See Also
    --------
    compare_paired : Compute it.

    Examples
    --------
    >>> PairedComparison(difference=0.1, low=0.05, high=0.14, n_queries=500).is_clear
    True
    """

    difference: float
    low: float
    high: float
    n_queries: int

    @property
    def is_clear(self) -> bool:
        """Whether the confidence interval leaves out 0."""
        return self.low > 0 or self.high < 0


def compare_paired(
    a: ArrayLike,
    b: ArrayLike,
    *,
    confidence: float = 0.95,
    n_resamples: int = 9999,
    random_state: Any = 0,
) -> PairedComparison:
    """
    Compare the scores of two rankings for the same queries with a paired bootstrap.

    Queries are drawn with replacement many times. The interval holds the middle share of the
    differences of the means. A query that is hard for both rankings adds little to its width.

    Parameters
    ----------
    a, b : array_like of float, shape (n_queries,)
        Scores of query i in both rankings, such as those of `fasthash.average_precision`. A query
        that is NaN in both, because nothing is relevant to it, is left out.
    confidence : float, default 0.95
        Confidence level of the interval, between 0 and 1.
    n_resamples : int, default 9999
        Number of draws, at least 2.
    random_state : int or numpy.random.Generator, default 0
        Seed of the draws.

    Returns
    -------
    PairedComparison
        The mean difference, a less b, and the percentile interval.

    Raises
    ------
    TypeError, ValueError
        If the scores differ in their number, one is infinite, one is NaN and its partner is not, or
        fewer than two queries are left.

    See Also
    --------
    fasthash.average_precision : Scores of every query; other measures have ``per_query=True``.
    fasthash.experiments.summarise : The spread over seeds, which this interval does not contain.

    Notes
    -----
    The draws are those of `scipy.stats.bootstrap`; O(n_resamples · n_queries) time.

    The interval says how much of the difference may be due to the queries. It says nothing about
    the random numbers of a fit, or about another set of data.

    References
    ----------
    B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> hard = rng.random(500)
    >>> found = compare_paired(hard + 0.02 * rng.standard_normal(500) + 0.01, hard)
    >>> found.is_clear, round(found.low, 3), round(found.high, 3)
    (True, 0.007, 0.01)
    """
    first, second = _check_scores(a, "a"), _check_scores(b, "b")
    if len(first) != len(second):
        raise ValueError(
            f"a has {len(first)} scores and b has {len(second)}: pass the scores of the same "
            "queries, in the same order"
        )
    lacks = np.isnan(first)
    differs = np.flatnonzero(lacks != np.isnan(second))
    if len(differs):
        raise ValueError(
            f"query {differs[0]} has a score in one ranking and NaN in the other: both must have "
            "the same relevant items"
        )
    if not 0 < check_number(confidence, "confidence") < 1:
        raise ValueError(f"confidence must be more than 0 and less than 1, got {confidence}")
    n_resamples = check_count(n_resamples, "n_resamples", minimum=2)
    differences = (first - second)[~lacks]
    n = len(differences)
    if n < 2:
        raise ValueError(f"{n} queries have scores: at least two are needed")
    mean = float(differences.mean())
    if (differences == differences[0]).all():
        return PairedComparison(mean, mean, mean, n)
    from scipy.stats import bootstrap

    interval = bootstrap(
        (differences,),
        np.mean,
        confidence_level=confidence,
        n_resamples=n_resamples,
        batch=max(1, BLOCK_VALUES // n),
        vectorized=True,
        method="percentile",
        random_state=np.random.default_rng(random_state),
    ).confidence_interval
    return PairedComparison(mean, float(interval.low), float(interval.high), n)


def _check_scores(scores: ArrayLike, name: str) -> NDArray[np.float64]:
    array = as_array(scores, name)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise TypeError(
            f"{name} must be an array of one score for each query, got dtype {array.dtype} and "
            f"shape {array.shape}"
        )
    array = array.astype(np.float64)
    if np.isinf(array).any():
        raise ValueError(f"{name}[{np.isinf(array).argmax()}] is infinite: scores must be finite")
    return array
