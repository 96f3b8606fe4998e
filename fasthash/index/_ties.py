"""A search that also counts ties: the items that it cannot tell from an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Found", "count_ties", "found_of", "search_with_ties"]

# Distances or scores, and ids.
Found = tuple[NDArray[Any], NDArray[np.int64]]


def search_with_ties(
    search: Callable[[int], Found], k: int
) -> tuple[NDArray[Any], NDArray[np.int64], list[int]]:
    """
    Search for the k best items and all others with the value of the last one, and count ties.

    All items with a better value than the last answer are among the answers. So the search is
    repeated with a larger k until it has found all items with the value of the last answer.

    Parameters
    ----------
    search : callable
        Called with a number of answers; returns distances or scores and ids of one query, as the
        ``search`` of an index does.
    k : int

    Returns
    -------
    values, ids : ndarray, shape (n,)
        k answers and those that tie with the last one, or fewer than k.
    ties : list of int
        For each answer, how many items have its value.
    """
    n = k + 1
    while True:
        values, ids = found_of(search(n))
        if len(ids) < n or values[-1] != values[k - 1]:
            break
        n *= 8
    if len(ids) > k:
        n_kept = k + int((values[k:] == values[k - 1]).sum())
        values, ids = values[:n_kept], ids[:n_kept]
    return values, ids, count_ties(values)


def found_of(answer: Found) -> Found:
    """Return the answers to a single query, without missing ones."""
    values, ids = answer
    is_found = ids[0] >= 0
    return values[0][is_found], ids[0][is_found]


def count_ties(values: NDArray[Any]) -> list[int]:
    """Count, for each value or row of values, how many are equal to it."""
    _, place, counts = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    found: list[int] = counts[place.reshape(-1)].tolist()
    return found
