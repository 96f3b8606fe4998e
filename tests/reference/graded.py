"""Measures of graded relevance of one query, by writing down every order of ties."""

import math
from collections.abc import Iterable, Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from reference.ranking import Query, distance_to


def n_shared(a: Iterable[int], b: Iterable[int]) -> int:
    """How many labels two 0/1 rows share."""
    return sum(1 for x, y in zip(a, b, strict=True) if x and y)


def grades_by_rank(
    query: Query,
    database: NDArray[np.uint8],
    query_labels: NDArray[np.integer],
    labels: NDArray[np.integer],
    ties: str,
) -> list[list[int]]:
    """Numbers of shared labels by rank, for every order of ties or for that of the rows."""
    items = sorted((distance_to(query, code), row) for row, code in enumerate(database))
    graded = [(d, n_shared(query_labels, labels[row])) for d, row in items]
    if ties == "database":
        return [[grade for _, grade in graded]]
    rankings: list[list[int]] = [[]]
    for d in sorted({d for d, _ in graded}):
        group = [grade for e, grade in graded if e == d]
        rankings = [ranking + list(order) for ranking in rankings for order in permutations(group)]
    return rankings


def dcg(grades: Sequence[int], at: int, gain: str) -> float:
    gains = [2**g - 1 if gain == "exponential" else g for g in grades[:at]]
    return sum(x / math.log2(1 + rank) for rank, x in enumerate(gains, 1))


def ndcg(rankings: list[list[int]], at: int, gain: str) -> float | None:
    """NDCG at a rank, None where nothing is relevant."""
    best = dcg(sorted(rankings[0], reverse=True), at, gain)
    if best == 0:
        return None
    return sum(dcg(grades, at, gain) / best for grades in rankings) / len(rankings)


def acg(rankings: list[list[int]], at: int) -> float:
    return sum(sum(grades[:at]) / at for grades in rankings) / len(rankings)


def weighted_average_precision(
    rankings: list[list[int]], depth: int, normalize: str
) -> float | None:
    """The mean of the average cumulative gains at relevant ranks, None where there is none."""
    n_relevant = sum(grade > 0 for grade in rankings[0])
    if n_relevant == 0:
        return None
    total = 0.0
    for grades in rankings:
        at_relevant = [
            sum(grades[:rank]) / rank for rank in range(1, depth + 1) if grades[rank - 1]
        ]
        divisor = {
            "relevant": min(depth, n_relevant),
            "retrieved": len(at_relevant),
            "all_relevant": n_relevant,
        }[normalize]
        total += sum(at_relevant) / max(divisor, 1)
    return total / len(rankings)
