"""Search in the lists of a partition, by Python's sort. Order is always (distance, row)."""

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


def topk(
    queries: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    centres: NDArray[np.uint8],
    lists: list[list[int]],
    k: int,
    least: int,
    most: int,
    from_nearest: bool,
    reach: NDArray[np.int32],
    allowed: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """(distances, rows, numbers of codes compared); what is missing is -1."""
    out_distances = np.full((len(queries), k), -1, np.int32)
    out_rows = np.full((len(queries), k), -1, np.int64)
    n_compared = np.zeros(len(queries), np.int64)
    for q, query in enumerate(queries):
        order = sorted((distance(query, centre), j) for j, centre in enumerate(centres))[:most]

        def found(probed: list[int], query: NDArray[np.uint8] = query) -> list[tuple[int, int]]:
            rows = [row for j in probed for row in lists[j] if allowed is None or allowed[row]]
            return sorted((distance(query, codes[row]), row) for row in rows)[:k]

        probed = [j for _, j in order[:least]]
        first = found(probed)
        farthest = first[-1][0] if len(first) == k else 8 * codes.shape[1] + 1
        for far, j in order[least:]:
            if far - from_nearest * order[0][0] <= reach[farthest]:
                probed.append(j)
        n_compared[q] = sum(len(lists[j]) for j in probed)
        for place, (d, row) in enumerate(found(probed)):
            out_distances[q, place] = d
            out_rows[q, place] = row
    return out_distances, out_rows, n_compared
