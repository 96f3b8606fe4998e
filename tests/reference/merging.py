"""Answers of parts of a database, merged by sorting one query at a time."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def merge_nearest(
    answers: Sequence[tuple[NDArray[Any], NDArray[np.int64]]], k: int, descending: bool = False
) -> tuple[list[list[float]], list[list[int]]]:
    """The first k of all answers to each query, by (value, id); missing ones are left out."""
    values, ids = [], []
    for query in range(len(answers[0][0])):
        found = [
            (-value if descending else value, i)
            for some_values, some_ids in answers
            for value, i in zip(some_values[query].tolist(), some_ids[query].tolist(), strict=True)
            if i >= 0 and not math.isnan(value)
        ]
        found = sorted(found)[:k]
        values.append([-value if descending else value for value, _ in found])
        ids.append([i for _, i in found])
    return values, ids


def merge_ranges(
    answers: Sequence[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]],
) -> list[list[tuple[int, int]]]:
    """All answers to each query, as pairs, by (distance, id)."""
    n_queries = len(answers[0][0]) - 1
    return [
        sorted(
            (int(distances[place]), int(ids[place]))
            for limits, distances, ids in answers
            for place in range(limits[query], limits[query + 1])
        )
        for query in range(n_queries)
    ]
