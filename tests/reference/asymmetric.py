"""The search of packed codes with weights, one bit at a time."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# The largest sum of the weights of one byte; rounding may add half of each of its eight.
BYTE_SUM = 251
# The largest sum of whole numbers, which are not rounded.
WHOLE_BYTE_SUM = 255


def step_of(weights: Sequence[float]) -> tuple[float, float]:
    """(the largest absolute weight, the step as a multiple of it): the step is their product."""
    largest = max(map(abs, weights))
    if largest == 0:
        return 0.0, 0.0
    starts = range(0, len(weights), 8)
    if all(float(w).is_integer() for w in weights) and all(
        sum(map(abs, weights[start : start + 8])) <= WHOLE_BYTE_SUM for start in starts
    ):
        return 1.0, 1.0
    sums = []
    for start in starts:
        total = 0.0
        for w in weights[start : start + 8]:
            total += abs(w) / largest
        sums.append(total)
    return largest, max(sums) / BYTE_SUM


def rounded(weights: Sequence[float]) -> list[int]:
    """The weights as multiples of the step."""
    largest, step = step_of(weights)
    if largest == 0:
        return [0] * len(weights)
    return [round(w / largest / step) for w in weights]


def bit(code: NDArray[np.uint8], i: int) -> int:
    """Bit i of a packed code as 1 or -1."""
    return 1 if (int(code[i // 8]) >> (7 - i % 8)) & 1 else -1


def score(weights: Sequence[float], code: NDArray[np.uint8]) -> float:
    """The sum of the weights, each times its bit, not rounded."""
    return math.fsum(w * bit(code, i) for i, w in enumerate(weights))


def topk_weighted(
    weights: Sequence[Sequence[float]], database: NDArray[np.uint8], k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The k codes with the largest scores of rounded weights; NaN and -1 where missing."""
    scores = np.full((len(weights), k), np.nan)
    ids = np.full((len(weights), k), -1, np.int64)
    for i, query in enumerate(weights):
        largest, step = step_of(query)
        whole = rounded(query)
        ranked = sorted(
            (-sum(w * bit(code, j) for j, w in enumerate(whole)), row)
            for row, code in enumerate(database)
        )
        for place, (negative, row) in enumerate(ranked[:k]):
            scores[i, place] = -negative * step * largest
            ids[i, place] = row
    return scores, ids
