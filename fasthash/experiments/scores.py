"""What is measured and what comes out: metrics, scores, and their means over seeds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..metrics import mean_average_precision, precision_at, recall_at

__all__ = ["Metric", "Score", "Summary", "summarise"]

_METRIC = re.compile(r"(map|precision|recall)(?:@([1-9]\d*))?")


@dataclass(frozen=True)
class Metric:
    """
    A quality measure: mean average precision, or precision or recall at a rank.

    Parameters
    ----------
    kind : {"map", "precision", "recall"}
        The measure.
    at : int or None, default None
        Number of ranks that count. None means all ranks, and is allowed for "map" only.

    See Also
    --------
    compare : Measure several models.

    Examples
    --------
    >>> Metric.parse("precision@10")
    Metric(kind='precision', at=10)
    """

    kind: str
    at: int | None = None

    @classmethod
    def parse(cls, text: str) -> Metric:
        """
        Read a metric from a text.

        Parameters
        ----------
        text : str
            ``map``, ``map@N``, ``precision@N`` or ``recall@N``.

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
        """
        match = _METRIC.fullmatch(text)
        if not match or (match[1] != "map" and match[2] is None):
            raise ValueError(f"a metric must be map, map@N, precision@N or recall@N, got {text!r}")
        return cls(match[1], int(match[2]) if match[2] else None)

    def __str__(self) -> str:
        return self.kind if self.at is None else f"{self.kind}@{self.at}"

    def measure(
        self,
        query_codes: Any,
        database_codes: Any,
        query_labels: Any,
        database_labels: Any,
        *,
        ties: str = "expected",
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

        Returns
        -------
        float
            Between 0 and 1. "map" and "recall" leave out queries without any relevant item.

        See Also
        --------
        fasthash.mean_average_precision : The measure "map".
        fasthash.precision_at : The measure "precision".
        fasthash.recall_at : The measure "recall".
        """
        problem = (query_codes, database_codes, query_labels, database_labels)
        if self.kind == "map":
            return mean_average_precision(*problem, at=self.at, ties=ties)
        measure = precision_at if self.kind == "precision" else recall_at
        return float(measure(*problem, ranks=[self.at or 1], ties=ties)[0])


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
        Between 0 and 1.

    See Also
    --------
    compare : Compute scores.
    summarise : Compute means over seeds.

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
