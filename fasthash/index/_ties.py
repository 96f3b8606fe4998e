"""A search that also counts ties: the items that it cannot tell from an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Found", "count_ties", "found_of", "search_with_ties"]

# Distances or scores, and ids.
Found = tuple[NDArray[Any], NDArray[np.int64]]
Tied = tuple[NDArray[Any], NDArray[np.int64], list[int]]


def search_with_ties(
    search: Callable[[NDArray[np.int64], int], Found], n_queries: int, k: int
) -> list[Tied]:
    """
    Search for the k best items and all others with the value of the last one, and count ties.

    All items with a better value than the last answer are among the answers. So the search is
    repeated with a larger k, for the queries for which it has not found all items with the value of
    the last answer.

    Parameters
    ----------
    search : callable
        Called with numbers of queries, and a number of answers; returns distances or scores and
        ids, as the ``search`` of an index does. The search must be exact.
    n_queries, k : int

    Returns
    -------
    For each query:

    values, ids : ndarray, shape (n,)
        k answers and those that tie with the last one, or fewer than k.
    ties : list of int
        For each answer, how many items have its value.
    """
    done: dict[int, Tied] = {}
    queries, n = np.arange(n_queries), k + 1
    while len(queries):
        for q, (values, ids) in zip(queries.tolist(), found_of(search(queries, n)), strict=True):
            if len(ids) < n or values[-1] != values[k - 1]:
                n_kept = k + int((values[k:] == values[k - 1]).sum()) if len(ids) > k else k
                done[q] = values[:n_kept], ids[:n_kept], count_ties(values[:n_kept])
        queries, n = np.setdiff1d(queries, list(done)), 8 * n
    return [done[q] for q in range(n_queries)]


def found_of(answer: Found) -> Iterator[Found]:
    """Yield the answers to each query, without missing ones."""
    for values, ids in zip(*answer, strict=True):
        is_found = ids >= 0
        yield values[is_found], ids[is_found]


def count_ties(values: NDArray[Any]) -> list[int]:
    """Count, for each value or row of values, how many are equal to it."""
    _, place, counts = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    found: list[int] = counts[place.reshape(-1)].tolist()
    return found
