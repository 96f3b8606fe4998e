"""The searches of `HammingNeighbors`, one class for each metric.

Both classes hold a copy of the codes, and have the same three methods. Distances are float64, and
the order is (distance, row).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .._core.excluded import drop_own, drop_own_within
from .._core.interruptible import in_helper_thread, take
from ..index import HammingIndex
from ._jaccard import SortedCodes
from ._pairs import pairs_within

__all__ = ["HammingSearch", "JaccardSearch", "Nearest", "Within"]

# (distances, rows) of a search for k neighbours; (limits, distances, rows) of one within a radius.
Nearest = tuple[NDArray[np.float64], NDArray[np.int64]]
Within = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]


class HammingSearch:
    """Neighbours by Hamming distance, in bits, which are whole numbers."""

    def __init__(self, codes: NDArray[np.uint8]) -> None:
        self._index = HammingIndex(8 * codes.shape[1])
        self._index.add(codes)

    def nearest(self, queries: NDArray[np.uint8] | None, k: int, n_threads: int) -> Nearest:
        """Search for queries, or for the codes themselves, each of which leaves itself out."""
        index, own = self._index, None
        if queries is None:
            queries, own = index.codes, index.ids
        distances, rows = index.search(queries, k, exclude=own, n_threads=n_threads)
        return distances.astype(np.float64), rows

    def within(self, queries: NDArray[np.uint8], radius: float, n_threads: int) -> Within:
        found = self._index.within(queries, math.floor(radius), n_threads=n_threads)
        return found[0], found[1].astype(np.float64), found[2]

    def within_itself(self, radius: float, keeps_own: bool, n_threads: int) -> Within:
        """Search for the codes themselves, by pairs, which takes less time than queries."""
        codes = self._index.codes
        bits = min(math.floor(radius), self._index.n_bits)
        first, second, apart = pairs_within(codes, bits, max_pairs=2**62, n_threads=n_threads)
        own = np.arange(len(codes) if keeps_own else 0)
        queries = np.concatenate([first, second, own])
        rows = np.concatenate([second, first, own])
        distances = np.concatenate([apart, apart, np.zeros(len(own), apart.dtype)])
        keys = (rows, queries * (bits + 1) + distances)
        order = in_helper_thread(len(rows), lambda: np.lexsort(keys))
        limits = np.zeros(len(codes) + 1, np.int64)
        np.cumsum(np.bincount(queries, minlength=len(codes)), out=limits[1:])
        return limits, take(distances, order).astype(np.float64), take(rows, order)


class JaccardSearch:
    """Neighbours by Jaccard distance."""

    def __init__(self, codes: NDArray[np.uint8]) -> None:
        self._codes = SortedCodes(codes)

    def nearest(self, queries: NDArray[np.uint8] | None, k: int, n_threads: int) -> Nearest:
        """Search for queries, or for the codes themselves, each of which leaves itself out."""
        if queries is not None:
            return self._codes.topk(queries, k, n_threads)
        codes = self._codes.in_order_of_rows()
        return drop_own(*self._codes.topk(codes, k + 1, n_threads), np.arange(len(codes)))

    def within(self, queries: NDArray[np.uint8], radius: float, n_threads: int) -> Within:
        return self._codes.within(queries, radius, n_threads)

    def within_itself(self, radius: float, keeps_own: bool, n_threads: int) -> Within:
        """Search for the codes themselves."""
        codes = self._codes.in_order_of_rows()
        found = self._codes.within(codes, radius, n_threads)
        return found if keeps_own else drop_own_within(*found, np.arange(len(codes)))
