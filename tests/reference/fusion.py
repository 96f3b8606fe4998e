"""The search of items by several codes: sums of distances or of scores, item by item."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def distance(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    return sum((int(x) ^ int(y)).bit_count() for x, y in zip(a, b, strict=True))


def topk_fused(
    queries: Mapping[str, NDArray[np.uint8]],
    database: Mapping[str, NDArray[np.uint8]],
    k: int,
    factors: Mapping[str, int],
    allowed: NDArray[np.bool_],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The k allowed items with the smallest sums of distances; -1 where missing."""
    n_queries = len(next(iter(queries.values())))
    distances = np.full((n_queries, k), -1, np.int32)
    ids = np.full((n_queries, k), -1, np.int64)
    for q in range(n_queries):
        ranked = sorted(
            (
                sum(
                    factors.get(name, 1) * distance(codes[q], database[name][row])
                    for name, codes in queries.items()
                ),
                row,
            )
            for row in np.flatnonzero(allowed).tolist()
        )
        for place, found in enumerate(ranked[:k]):
            distances[q, place], ids[q, place] = found
    return distances, ids


def joined(weights: Mapping[str, Sequence[float]], factors: Mapping[str, int]) -> list[float]:
    """The weights of one query for the joined code: of a mean size of 1, times the factor."""
    values: list[float] = []
    for name, given in weights.items():
        mean = sum(map(abs, given)) / len(given)
        values += [factors.get(name, 1) * w / mean if mean else 0.0 for w in given]
        values += [0.0] * (-len(given) % 8)
    return values
