"""Hamming distance and the searches built on it. Order is always (distance, id)."""

import numpy as np
from numpy.typing import NDArray


def distance(a: NDArray[np.uint8] | bytes, b: NDArray[np.uint8] | bytes) -> int:
    """Number of bits in which two packed codes differ."""
    return sum((int(x) ^ int(y)).bit_count() for x, y in zip(a, b, strict=True))


def distances(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Distance of every code in a to every code in b."""
    out = np.zeros((len(a), len(b)), np.int32)
    for i in range(len(a)):
        for j in range(len(b)):
            out[i, j] = distance(a[i], b[j])
    return out


def _sorted_pairs(query: NDArray[np.uint8], database: NDArray[np.uint8]) -> list[tuple[int, int]]:
    return sorted((distance(query, code), row) for row, code in enumerate(database))


def topk(
    queries: NDArray[np.uint8], database: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The k nearest of every query; what is missing is -1."""
    out_distances = np.full((len(queries), k), -1, np.int32)
    out_ids = np.full((len(queries), k), -1, np.int64)
    for i, query in enumerate(queries):
        for place, (d, row) in enumerate(_sorted_pairs(query, database)[:k]):
            out_distances[i, place] = d
            out_ids[i, place] = row
    return out_distances, out_ids


def within(
    queries: NDArray[np.uint8], database: NDArray[np.uint8], radius: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """All codes at most the radius away, as (limits, distances, ids)."""
    limits, found_distances, found_ids = [0], [], []
    for query in queries:
        for d, row in _sorted_pairs(query, database):
            if d <= radius:
                found_distances.append(d)
                found_ids.append(row)
        limits.append(len(found_ids))
    return (
        np.array(limits, np.int64),
        np.array(found_distances, np.int32),
        np.array(found_ids, np.int64),
    )


def rank(queries: NDArray[np.uint8], database: NDArray[np.uint8]) -> NDArray[np.int64]:
    """All rows of the database for every query."""
    out = np.zeros((len(queries), len(database)), np.int64)
    for i, query in enumerate(queries):
        out[i] = [row for _, row in _sorted_pairs(query, database)]
    return out
