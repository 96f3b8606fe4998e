"""A search that also counts ties: the items that it cannot tell from an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.pieces import cut

__all__ = ["Found", "count_ties", "found_of", "search_with_ties"]

# Many items may tie with the last answer of each query, so that memory needs a limit.
_MOST_ANSWERS = 1 << 20

# Distances or scores, and ids.
Found = tuple[NDArray[Any], NDArray[np.int64]]
Tied = tuple[NDArray[Any], NDArray[np.int64], list[int]]


def search_with_ties(
    search: Callable[[NDArray[np.int64], int], Found], n_queries: int, k: int
) -> Iterator[Tied]:
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

    Yields
    ------
    For each query:

    values, ids : ndarray, shape (n,)
        k answers and those that tie with the last one, or fewer than k.
    ties : list of int
        For each answer, how many items have its value.

    Notes
    -----
    Holds at most about a million answers for each length of them, or those of one query.
    """
    yield from _tied(search, np.arange(n_queries), k, k + 1)


def _tied(
    search: Callable[[NDArray[np.int64], int], Found], queries: NDArray[np.int64], k: int, n: int
) -> Iterator[Tied]:
    """Yield the answers to some queries, searched with n answers first."""
    for part in cut(len(queries), n, _MOST_ANSWERS):
        some = queries[part]
        found = list(found_of(search(some, n)))
        is_open = [len(ids) == n and values[-1] == values[k - 1] for values, ids in found]
        longer = _tied(search, some[is_open], k, 8 * n)
        for (values, ids), needs_more in zip(found, is_open, strict=True):
            if needs_more:
                yield next(longer)
            else:
                n_kept = k + int((values[k:] == values[k - 1]).sum()) if len(ids) > k else k
                yield values[:n_kept], ids[:n_kept], count_ties(values[:n_kept])


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
