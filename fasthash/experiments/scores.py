"""What is measured and what comes out: metrics, scores, means over seeds, and differences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.arrays import is_dask_array
from ..metrics import (
    PairedComparison,
    acg_at,
    average_precision,
    compare_paired,
    ndcg_at,
    precision_at,
    r_precision,
    recall_at,
    weighted_average_precision,
)
from ..metrics._means import mean_by_policy

__all__ = ["Difference", "Metric", "Score", "Summary", "differences", "summarise"]

_METRIC = re.compile(
    r"(?P<kind>map|wap|precision|recall|ndcg|acg|r-precision)"
    r"(@((?P<at>[1-9]\d*)|(?P<all>R)|H(?P<radius>\d+)))?"
)
_OF_RANKS = {"precision": precision_at, "recall": recall_at, "ndcg": ndcg_at, "acg": acg_at}
_ON_CLUSTERS = ("map", "precision", "recall")


@dataclass(frozen=True)
class Metric:
    """
    A quality measure of rankings, over all ranks or some of them.

    Parameters
    ----------
    kind : {"map", "wap", "precision", "recall", "ndcg", "acg", "r-precision"}
        The measure: mean average precision, the same weighted by shared labels, precision, recall,
        normalised discounted cumulative gain, average cumulative gain, or R-precision.
    at : int, "n_relevant" or None, default None
        Number of ranks that count. None means all ranks, and is needed for "r-precision" and not
        allowed for the four measures of first ranks. "n_relevant" is allowed for "map" and "wap".
    radius : int or None, default None
        Only codes within this Hamming distance count; for "map" and "wap".

    See Also
    --------
    compare : Measure several models.

    Examples
    --------
    >>> Metric.parse("precision@10")
    Metric(kind='precision', at=10, radius=None)
    """

    kind: str
    at: int | str | None = None
    radius: int | None = None

    @classmethod
    def parse(cls, text: str) -> Metric:
        """
        Read a metric from a text.

        Parameters
        ----------
        text : str
            ``map``, ``map@N``, ``map@R`` (as many ranks as there are relevant items), ``map@H2``
            (within Hamming radius 2); the same for ``wap``; ``precision@N``, ``recall@N``,
            ``ndcg@N``, ``acg@N`` or ``r-precision``.

        Returns
        -------
        Metric
            The metric.

        Raises
        ------
        ValueError
            If the text is none of these.

        Examples
        --------
        >>> Metric.parse("map").kind
        'map'
        >>> Metric.parse("map@H2").radius
        2
        """
        match = _METRIC.fullmatch(text)
        if match:
            kind, at, by_query, radius = match.group("kind", "at", "all", "radius")
            is_of_ranks, is_of_all = kind in _OF_RANKS, kind == "r-precision"
            fits = at is not None if is_of_ranks else match[2] is None or not is_of_all
            if fits:
                n_ranks = "n_relevant" if by_query else at and int(at)
                return cls(kind, n_ranks, None if radius is None else int(radius))
        raise ValueError(
            "a metric must be map, map@N, map@R, map@H2, the same of wap, precision@N, recall@N, "
            f"ndcg@N, acg@N or r-precision, got {text!r}"
        )

    def __str__(self) -> str:
        if self.radius is not None:
            return f"{self.kind}@H{self.radius}"
        if self.at is None:
            return self.kind
        return f"{self.kind}@{'R' if self.at == 'n_relevant' else self.at}"

    def measure(
        self,
        query_codes: Any,
        database_codes: Any,
        query_labels: Any,
        database_labels: Any,
        *,
        ties: str = "expected",
        exclude_self: bool = False,
    ) -> float:
        """
        Measure one ranking of a database.

        Parameters
        ----------
        query_codes, database_codes : array_like of uint8, shape (n_items, n_bytes)
            Packed codes, as made by `fasthash.pack`.
        query_labels, database_labels : labels
            Labels, in any form that `fasthash.mean_average_precision` accepts.
        ties : {"expected", "database"}, default "expected"
            How equal distances count, as in `fasthash.mean_average_precision`.
        exclude_self : bool, default False
            Whether query i leaves out row i of the database, as in
            `fasthash.mean_average_precision`.

        Returns
        -------
        float
            The mean of what `measure_queries` returns, without NaN.

        See Also
        --------
        fasthash.mean_average_precision : The measure "map".
        fasthash.precision_at : The measure "precision".
        fasthash.recall_at : The measure "recall".
        """
        problem = (query_codes, database_codes, query_labels, database_labels)
        values = self.measure_queries(*problem, ties=ties, exclude_self=exclude_self)
        return float(mean_by_policy(values, "skip"))

    def measure_queries(
        self,
        query_codes: Any,
        database_codes: Any,
        query_labels: Any,
        database_labels: Any,
        *,
        ties: str = "expected",
        exclude_self: bool = False,
    ) -> NDArray[np.float64]:
        """
        Measure the ranking of every query.

        Parameters
        ----------
        query_codes, database_codes : array_like of uint8, shape (n_items, n_bytes)
            Packed codes, as made by `fasthash.pack`. If those of the database are a Dask array,
            workers count them; this is for "map", "precision" and "recall" with expected ties.
        query_labels, database_labels : labels
            Labels, in any form that `fasthash.mean_average_precision` accepts.
        ties : {"expected", "database"}, default "expected"
            How equal distances count, as in `fasthash.mean_average_precision`.
        exclude_self : bool, default False
            Whether query i leaves out row i of the database, as in
            `fasthash.mean_average_precision`.

        Returns
        -------
        ndarray of float64, shape (n_queries,)
            NaN for a query without any relevant item, except for "precision" and "acg", where it
            counts as 0.

        Raises
        ------
        ValueError
            If codes are a Dask array, and the measure needs the database in one process.

        See Also
        --------
        fasthash.metrics.compare_paired : Compare the values of two models.
        """
        problem = (query_codes, database_codes, query_labels, database_labels)
        rules: dict[str, Any] = {"ties": ties, "exclude_self": exclude_self}
        if is_dask_array(database_codes):
            return self._measure_on_cluster(problem, rules)
        scores: NDArray[np.float64]
        if self.kind in _OF_RANKS:
            measure: Any = _OF_RANKS[self.kind]
            scores = measure(*problem, ranks=[self.at], per_query=True, **rules)[:, 0]
        elif self.kind == "r-precision":
            scores = r_precision(*problem, per_query=True, **rules)
        else:
            options: dict[str, Any] = {"at": self.at, "radius": self.radius, **rules}
            if self.kind == "map":
                scores = average_precision(*problem, **options)
            else:
                scores = weighted_average_precision(*problem, per_query=True, **options)
        return scores

    def _measure_on_cluster(
        self, problem: tuple[Any, ...], rules: dict[str, Any]
    ) -> NDArray[np.float64]:
        if rules != {"ties": "expected", "exclude_self": False} or self.kind not in _ON_CLUSTERS:
            raise ValueError(
                f"{self} with {rules} is not measured on a cluster: map, precision@N and recall@N "
                "with ties='expected' are"
            )
        # Most comparisons are of arrays, and this package takes its time to load.
        from .. import distributed

        if self.kind == "map":
            return distributed.average_precision(*problem, at=self.at, radius=self.radius)
        measure: Any = getattr(distributed, f"{self.kind}_at")
        scores: NDArray[np.float64] = measure(*problem, ranks=[self.at], per_query=True)[:, 0]
        return scores


@dataclass(frozen=True)
class Score:
    """
    Score of one model in one direction.

    Attributes
    ----------
    method : str
        Name of the model.
    n_bits : int
        Length of the codes.
    seed : int or None
        Seed of the model and of the choice of pairs.
    query, database : str
        Modalities of the queries and of the database.
    metric : str
        The metric, in the form that `Metric.parse` reads.
    value : float
        The mean over queries; between 0 and 1, except for "acg" and "wap".
    by_query : ndarray of float64, shape (n_queries,), or None
        The values of all queries, as `Metric.measure_queries` returns them.

    See Also
    --------
    compare : Compute scores.
    summarise : Compute means over seeds.
    differences : Compare methods query by query.

    Examples
    --------
    >>> Score("AMSH", 16, 0, "image", "text", "map", 0.5).value
    0.5
    """

    method: str
    n_bits: int
    seed: int | None
    query: str
    database: str
    metric: str
    value: float
    by_query: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Summary:
    """
    Mean and standard deviation of scores over seeds.

    Attributes
    ----------
    method : str
        Name of the model.
    n_bits : int
        Length of the codes.
    query, database, metric : str
        Modalities of the queries and of the database, and the metric.
    mean, std : float
        Mean and standard deviation of the scores. The standard deviation divides by n, not n - 1.
    n : int
        Number of scores.

    See Also
    --------
    summarise : Compute summaries.

    Examples
    --------
    >>> summarise([Score("AMSH", 16, seed, "image", "text", "map", 0.5) for seed in (0, 1)])[0].n
    2
    """

    method: str
    n_bits: int
    query: str
    database: str
    metric: str
    mean: float
    std: float
    n: int


def summarise(scores: Sequence[Score]) -> list[Summary]:
    """
    Compute the mean and standard deviation of scores over seeds.

    Parameters
    ----------
    scores : sequence of Score
        Scores of any number of methods, lengths, directions and metrics.

    Returns
    -------
    list of Summary
        In the order in which the scores appear first.

    See Also
    --------
    compare : Compute scores for several seeds.

    Examples
    --------
    >>> scores = [Score("AMSH", 16, seed, "image", "text", "map", seed / 2) for seed in (0, 1)]
    >>> summarise(scores)[0].mean
    0.25
    """
    values: dict[tuple[str, int, str, str, str], list[float]] = {}
    for score in scores:
        key = (score.method, score.n_bits, score.query, score.database, score.metric)
        values.setdefault(key, []).append(score.value)
    return [
        Summary(*key, float(np.mean(found)), float(np.std(found)), len(found))
        for key, found in values.items()
    ]


@dataclass(frozen=True)
class Difference:
    """
    The difference of two methods over the same queries.

    Attributes
    ----------
    method, against : str
        Names of the two models.
    n_bits : int
        Length of the codes.
    query, database, metric : str
        Modalities of the queries and of the database, and the metric.
    comparison : PairedComparison
        The mean difference, method less against, and its confidence interval.

    See Also
    --------
    differences : Compute differences.

    Examples
    --------
    >>> from fasthash.metrics import PairedComparison
    >>> found = PairedComparison(0.1, 0.05, 0.14, 500)
    >>> Difference("AMSH", "CCAITQ", 16, "image", "text", "map", found).comparison.is_clear
    True
    """

    method: str
    against: str
    n_bits: int
    query: str
    database: str
    metric: str
    comparison: PairedComparison


def differences(
    scores: Sequence[Score],
    *,
    against: str,
    same_queries: bool = True,
    confidence: float = 0.95,
    random_state: Any = 0,
) -> list[Difference]:
    """
    Compare every method with one of them, query by query, with a paired bootstrap.

    Parameters
    ----------
    scores : sequence of Score
        Scores with the values of all queries, as `compare` returns them.
    against : str
        Name of the method that the others are compared with.
    same_queries : bool, default True
        Whether all seeds have the same queries. If so, the values of a query are averaged over the
        seeds. Otherwise the queries of all seeds count.
    confidence : float, default 0.95
        Confidence level of the intervals.
    random_state : int or numpy.random.Generator, default 0
        Seed of the draws.

    Returns
    -------
    list of Difference
        One for each other method, length, direction and metric, in the order of the scores.

    Raises
    ------
    ValueError
        If no score belongs to the method `against`, a score lacks its values by query, there are
        two of one kind, or the methods differ in their seeds.

    See Also
    --------
    fasthash.metrics.compare_paired : The comparison of two arrays of scores.
    summarise : Means and standard deviations over seeds.

    Examples
    --------
    >>> of = {"A": np.array([0.5, 0.7, 0.9]), "B": np.array([0.4, 0.6, 0.9])}
    >>> scores = [Score(m, 16, 0, "image", "text", "map", x.mean(), x) for m, x in of.items()]
    >>> round(differences(scores, against="B")[0].comparison.difference, 3)
    0.067
    """
    values: dict[tuple[str, int, str, str, str], dict[int | None, NDArray[np.float64]]] = {}
    for score in scores:
        if score.by_query is None:
            raise ValueError(f"a score of {score.method} has no values by query")
        key = (score.method, score.n_bits, score.query, score.database, score.metric)
        of_seeds = values.setdefault(key, {})
        if score.seed in of_seeds:
            raise ValueError(
                f"there are two scores of {score.method} for {score.n_bits} bits, "
                f"{score.query} → {score.database}, {score.metric} and seed {score.seed}"
            )
        of_seeds[score.seed] = score.by_query
    if not any(method == against for method, *_ in values):
        raise ValueError(f"against must be one of the methods, got {against!r}")
    found = []
    for (method, n_bits, query, database, metric), ours in values.items():
        theirs = values.get((against, n_bits, query, database, metric))
        if method == against or theirs is None:
            continue
        if ours.keys() != theirs.keys():
            raise ValueError(
                f"{method} has the seeds {list(ours)}, and {against} has {list(theirs)}: methods "
                "are compared over the same seeds"
            )
        join = (lambda x: np.mean(x, axis=0)) if same_queries else np.concatenate
        pairs = [(ours[seed], theirs[seed]) for seed in ours]
        first, second = (join(of_seeds) for of_seeds in zip(*pairs, strict=True))
        compared = compare_paired(first, second, confidence=confidence, random_state=random_state)
        found.append(Difference(method, against, n_bits, query, database, metric, compared))
    return found
