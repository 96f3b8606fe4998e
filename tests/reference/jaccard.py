"""Search by Jaccard distance, in order (distance, row)."""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def distance(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Fraction:
    """The share of bits that differ among those set in a code; 0 if no bit is set."""
    n_set = sum((int(x) | int(y)).bit_count() for x, y in zip(a, b, strict=True))
    n_different = sum((int(x) ^ int(y)).bit_count() for x, y in zip(a, b, strict=True))
    return Fraction(n_different, n_set) if n_set else Fraction(0)


def _sorted_pairs(
    query: NDArray[np.uint8], database: NDArray[np.uint8]
) -> list[tuple[Fraction, int]]:
    return sorted((distance(query, code), row) for row, code in enumerate(database))


def jaccard_topk(
    queries: NDArray[np.uint8], database: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The k nearest of every query; what is missing is -1."""
    distances = np.full((len(queries), k), -1.0)
    rows = np.full((len(queries), k), -1, np.int64)
    for i, query in enumerate(queries):
        for place, (d, row) in enumerate(_sorted_pairs(query, database)[:k]):
            distances[i, place], rows[i, place] = float(d), row
    return distances, rows


def jaccard_within(
    queries: NDArray[np.uint8], database: NDArray[np.uint8], radius: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """All codes at most the radius away, as (limits, distances, rows)."""
    limits, distances, rows = [0], [], []
    for query in queries:
        for d, row in _sorted_pairs(query, database):
            if float(d) <= radius:
                distances.append(float(d))
                rows.append(row)
        limits.append(len(rows))
    return np.array(limits, np.int64), np.array(distances, np.float64), np.array(rows, np.int64)
