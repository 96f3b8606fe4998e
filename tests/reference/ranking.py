"""Average precision, precision and recall of one query's ranking, by sorting and by enumeration."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from reference.asymmetric import bit, rounded
from reference.hamming import distance

# A packed code, or a weight for each bit.
Query = NDArray[np.uint8] | list[float]


def distance_to(query: Query, code: NDArray[np.uint8]) -> int:
    """Hamming distance of a packed query; for weights, the sum of those of the differing bits."""
    if isinstance(query, list):
        whole = rounded(query)
        signs = (1 if w > 0 else -1 for w in whole)
        return sum(
            abs(w) for i, (w, s) in enumerate(zip(whole, signs, strict=True)) if bit(code, i) != s
        )
    return distance(query, code)


def is_relevant(a: Iterable[int], b: Iterable[int]) -> bool:
    """Whether two 0/1 label rows share a label."""
    return any(x and y for x, y in zip(a, b, strict=True))


def ranked_relevance(
    query: Query,
    database: NDArray[np.uint8],
    query_labels: NDArray[np.integer],
    database_labels: NDArray[np.integer],
) -> list[tuple[int, bool]]:
    """(distance, relevant) of all items by (distance, id), for codes or for weights."""
    items = sorted((distance_to(query, code), row) for row, code in enumerate(database))
    return [(d, is_relevant(query_labels, database_labels[row])) for d, row in items]


def precision_sum(relevance: Sequence[bool], at: int) -> float:
    """Sum of the precisions at the relevant ranks up to at."""
    total, found = 0.0, 0
    for rank, relevant in enumerate(relevance[:at], 1):
        if relevant:
            found += 1
            total += found / rank
    return total


def orders_within_ties(ranked: Sequence[tuple[int, bool]]) -> list[list[bool]]:
    """Every ranking that differs only within equal distances, each equally likely."""
    rankings: list[list[bool]] = [[]]
    for d in sorted({d for d, _ in ranked}):
        group = [relevant for e, relevant in ranked if e == d]
        extended = []
        for places in combinations(range(len(group)), sum(group)):
            order = [place in places for place in range(len(group))]
            extended += [ranking + order for ranking in rankings]
        rankings = extended
    return rankings


def _rankings(
    query: Query,
    database: NDArray[np.uint8],
    query_labels: NDArray[np.integer],
    database_labels: NDArray[np.integer],
    ties: str,
) -> list[list[bool]]:
    ranked = ranked_relevance(query, database, query_labels, database_labels)
    if ties == "expected":
        return orders_within_ties(ranked)
    return [[relevant for _, relevant in ranked]]


def average_precision(
    query: Query,
    database: NDArray[np.uint8],
    query_labels: NDArray[np.integer],
    database_labels: NDArray[np.integer],
    at: int | None = None,
    ties: str = "database",
    normalize: str = "relevant",
) -> float | None:
    """Average precision of one query, None where nothing is relevant."""
    rankings = _rankings(query, database, query_labels, database_labels, ties)
    n_relevant = sum(rankings[0])
    if n_relevant == 0:
        return None
    at = len(database) if at is None else min(at, len(database))
    total = 0.0
    for relevance in rankings:
        found = sum(relevance[:at])
        divisor = max(found, 1) if normalize == "retrieved" else min(n_relevant, at)
        total += precision_sum(relevance, at) / divisor
    return total / len(rankings)


def hits_at(
    query: Query,
    database: NDArray[np.uint8],
    query_labels: NDArray[np.integer],
    database_labels: NDArray[np.integer],
    rank: int,
    ties: str = "database",
) -> float:
    """Number of relevant items among the first rank."""
    rankings = _rankings(query, database, query_labels, database_labels, ties)
    return sum(sum(relevance[:rank]) for relevance in rankings) / len(rankings)
