"""Search in the lists of a partition, by Python's sort. Order is always (distance, row)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .hamming import distance


def majority(
    codes: NDArray[np.uint8], rows: list[int], before: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The value of each bit that more of the rows have; as before where both are as frequent."""
    bits = np.unpackbits(codes, axis=1)
    out = np.unpackbits(before)
    for bit in range(len(out)):
        n_set = sum(int(bits[row, bit]) for row in rows)
        if 2 * n_set != len(rows):
            out[bit] = 2 * n_set > len(rows)
    return np.packbits(out)


def nearest_centre(code: NDArray[np.uint8], centres: NDArray[np.uint8]) -> int:
    """The number of the nearest centre, of equally near ones the first."""
    return min(range(len(centres)), key=lambda j: (distance(code, centres[j]), j))


def largest_distance(query: NDArray[Any]) -> int:
    """The largest distance of a query, which is a code or has int16 weights."""
    return int(np.abs(query).sum()) if query.dtype == np.int16 else 8 * len(query)


def distance_of(query: NDArray[Any], code: NDArray[np.uint8]) -> int:
    """The number of bits that differ, or the sum of their weights."""
    if query.dtype != np.int16:
        return distance(query, code)
    bits = np.unpackbits(code).tolist()
    return sum(abs(w) for w, bit in zip(query.tolist(), bits, strict=True) if (w > 0) != bit)


def topk(
    queries: NDArray[Any],
    codes: NDArray[np.uint8],
    centres: NDArray[np.uint8],
    lists: list[list[int]],
    k: int,
    least: int,
    most: int,
    from_nearest: bool,
    slope: int,
    threshold: int,
    allowed: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """(distances, rows, numbers of codes compared); what is missing is -1."""
    out_distances = np.full((len(queries), k), -1, np.int32)
    out_rows = np.full((len(queries), k), -1, np.int64)
    n_compared = np.zeros(len(queries), np.int64)
    for q, query in enumerate(queries):
        order = sorted((distance_of(query, centre), j) for j, centre in enumerate(centres))[:most]

        def found(probed: list[int], query: NDArray[Any] = query) -> list[tuple[int, int]]:
            rows = [row for j in probed for row in lists[j] if allowed is None or allowed[row]]
            return sorted((distance_of(query, codes[row]), row) for row in rows)[:k]

        probed = [j for _, j in order[:least]]
        first = found(probed)
        limit = threshold
        if query.dtype == np.int16:
            limit = threshold * largest_distance(query) // (1 << 16)
        for far, j in order[least:]:
            is_short = len(first) < k
            if is_short or 4 * (far - from_nearest * order[0][0]) <= limit + slope * first[-1][0]:
                probed.append(j)
        n_compared[q] = sum(len(lists[j]) for j in probed)
        for place, (d, row) in enumerate(found(probed)):
            out_distances[q, place] = d
            out_rows[q, place] = row
    return out_distances, out_rows, n_compared
