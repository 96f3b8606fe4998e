"""The answers of several shards become one answer, in the order of an index over all codes.

The shards hold different ids. An answer is a tuple of arrays, as a search of one shard returns it.
All merges are associative, so that answers may be merged in groups.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.scan import merge_topk, merge_within

__all__ = ["merge_candidates", "merge_nearest", "merge_ranges", "merge_scored"]

Nearest = tuple[NDArray[np.int32], NDArray[np.int64]]
Scored = tuple[NDArray[np.float64], NDArray[np.int64]]
Candidates = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]
Ranges = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]


def merge_nearest(answers: list[Nearest], k: int) -> Nearest:
    """Distances and ids of the k nearest codes of each query, by (distance, id)."""
    return answers[0] if len(answers) == 1 else merge_topk(answers, k)


def merge_scored(answers: list[Scored], k: int) -> Scored:
    """Scores, which descend, and ids of the k best codes of each query; ids ascend in a tie."""
    if len(answers) == 1:
        return answers[0]
    scores = np.concatenate([a[0] for a in answers], axis=1)
    ids = np.concatenate([a[1] for a in answers], axis=1)
    # NaN, where an answer is missing, is sorted to the end.
    order = np.lexsort((ids, -scores), axis=-1)[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)


def merge_candidates(answers: list[Candidates], n: int) -> Candidates:
    """
    Distances and ids of the n nearest codes, and the weights of the bits in which they differ.

    The weights do not change the order.
    """
    if len(answers) == 1:
        return answers[0]
    distances, ids, sums = (np.concatenate([a[i] for a in answers], axis=1) for i in range(3))
    last = np.where(ids < 0, np.iinfo(np.int32).max, distances)
    order = np.lexsort((ids, last), axis=-1)[:, :n]
    taken: Any = tuple(np.take_along_axis(x, order, 1) for x in (distances, ids, sums))
    return taken


def merge_ranges(answers: list[Ranges]) -> Ranges:
    """Limits, distances and ids of all codes within a radius, by (distance, id)."""
    return answers[0] if len(answers) == 1 else merge_within(answers)
