"""What a worker does with a shard: make, open, search, change and save it.

A `Shard` never changes, as every result of a task of Dask must not. A change makes another shard,
which shares the memory of the codes. If a worker is lost, Dask runs the tasks again that made its
shards: it reads the files or the partitions again, and repeats the changes.
"""

from __future__ import annotations

import copy
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.carried import Carried
from .._core.cluster_rows import with_partition
from .._core.runtime import resolve_threads
from .._core.weights import check_weights, round_weights
from ..index import HammingIndex

__all__ = [
    "Shard",
    "ShardFacts",
    "candidates",
    "changed",
    "codes_of",
    "facts",
    "first_repeated",
    "held",
    "ids_between",
    "ids_of",
    "make_shard",
    "nearest",
    "open_shard",
    "saved",
    "within",
]

# Prepared filters that a shard keeps.
_MOST_FILTERS = 8

# Ids of a shard that describe how its ids are distributed.
_N_QUANTILES = 32


@dataclass(frozen=True)
class ShardFacts:
    """
    What the client knows of a shard.

    Attributes
    ----------
    n, next_id : int
        Number of codes; an id above all that the shard has held.
    quantiles : ndarray of int64
        Some ids, evenly spaced among those held, from the first to the last; empty without codes.
    """

    n: int
    next_id: int
    quantiles: NDArray[np.int64]

    def may_hold(self, ids: NDArray[np.int64]) -> bool:
        """Whether one of these ids, which ascend, lies between the first and the last id held."""
        if self.n == 0 or len(ids) == 0:
            return False
        place = int(np.searchsorted(ids, self.quantiles[0]))
        return place < len(ids) and bool(ids[place] <= self.quantiles[-1])


class Shard:
    """
    An index on a worker, with the filters that searches have prepared.

    Parameters
    ----------
    index : HammingIndex
    path : str, optional
        The file from which the index is memory-mapped. Another process that needs the shard opens
        the file, instead of receiving the codes.
    """

    def __init__(self, index: HammingIndex, path: str | None = None) -> None:
        self.index = index
        self.path = path
        self._filters: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __sizeof__(self) -> int:
        # The scheduler asks for it, to place searches where the codes are. Pages of a mapped file
        # count as memory of the process, too.
        state = self.index._storage.state
        return object.__sizeof__(self) + state.base.nbytes + state.recent.nbytes

    def __reduce__(self) -> Any:
        if self.path is not None:
            return open_shard, (self.path, True)
        return Shard, (self.index,)

    def has_filter(self, token: str | None) -> bool:
        """Whether the filter with this token is kept; also if there is no token."""
        with self._lock:
            return token is None or token in self._filters

    def filter(self, given: Any, token: str | None) -> Any:
        """
        The filter of a search; looked up once, and kept, if it has a token.

        Raises
        ------
        KeyError
            If it has a token, is not kept, and nothing is given to look up.
        ImportError
            If it is a function that this process cannot import.
        """
        if token is None:
            return given.get() if isinstance(given, Carried) else given
        with self._lock:
            prepared = self._filters.pop(token, None)
            if prepared is None:
                if given is None:
                    raise KeyError(f"filter {token} is no longer kept")
                given = given.get() if isinstance(given, Carried) else given
                prepared = self.index.prepare_filter(given)
            self._filters[token] = prepared
            if len(self._filters) > _MOST_FILTERS:
                self._filters.popitem(last=False)
        return prepared


def make_shard(
    parameters: dict[str, Any], place: int, codes: NDArray[np.uint8], ids: Any, first: int
) -> Shard:
    """
    Make a shard of a partition; `first` is the first id if there are no ids.

    Raises
    ------
    TypeError, ValueError
        As `HammingIndex.add`; the error names the place of the partition.
    """
    index = HammingIndex(**parameters)
    if ids is None:
        ids = np.arange(first, first + len(codes))
    with with_partition(place):
        index.add(codes, ids=ids)
    return Shard(index)


def open_shard(path: str, mmap: bool) -> Shard:
    """
    Open an index file.

    Raises
    ------
    OSError, ValueError
        As `HammingIndex.load`.
    """
    return Shard(HammingIndex.load(path, mmap=mmap), path if mmap else None)


def facts(shard: Shard) -> ShardFacts:
    """Describe a shard to the client."""
    ids = shard.index.ids
    rows = np.linspace(0, max(0, len(ids) - 1), _N_QUANTILES).astype(np.int64)
    return ShardFacts(
        len(ids), int(shard.index._storage.state.next_id), ids[rows] if len(ids) else ids.copy()
    )


def ids_of(shard: Shard) -> NDArray[np.int64]:
    """All ids of a shard."""
    return shard.index.ids


def ids_between(shard: Shard, first: int, stop: int) -> NDArray[np.int64]:
    """The ids of a shard in a range."""
    ids = shard.index.ids
    start, end = np.searchsorted(ids, [first, stop])
    return ids[start:end]


def first_repeated(*ids: NDArray[np.int64]) -> int | None:
    """The smallest id that is there more than once, if any."""
    all_ids = np.sort(np.concatenate(ids))
    places = np.flatnonzero(all_ids[1:] == all_ids[:-1])
    return int(all_ids[places[0]]) if len(places) else None


def held(shard: Shard, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of some ids the shard holds."""
    in_base, in_recent = shard.index._storage.state.find(ids)
    return (in_base >= 0) | (in_recent >= 0)


def codes_of(shard: Shard, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The codes of ids that the shard holds."""
    return shard.index.reconstruct(ids)


def changed(shard: Shard, removed: NDArray[np.int64], added: tuple[Any, Any] | None) -> Shard:
    """Another shard, without some codes and with others, which replace those of the same ids."""
    index = copy.copy(shard.index)
    if len(removed):
        index.remove(removed)
    if added is not None:
        codes, ids = added
        index.add(codes, ids=ids, replace=True)
    return Shard(index)


def saved(shard: Shard, path: str, tables: bool, model: str | None) -> int:
    """Write a shard to a file, and return the number of its codes."""
    index = copy.copy(shard.index)
    index.model = model
    os.makedirs(os.path.dirname(path), exist_ok=True)
    index.save(path, tables=tables)
    return len(index)


def nearest(shard: Shard, request: list[Any], k: int, is_weighted: bool, **options: Any) -> Any:
    """The k nearest codes of a shard, to codes or by weights."""
    queries, given, token, exclude = request
    options.update(filter=shard.filter(given, token), exclude=exclude)
    if is_weighted:
        return shard.index.search(weights=queries, k=k, **options)
    return shard.index.search(queries, k, **options)


def candidates(
    shard: Shard, request: list[Any], n: int, n_threads: int | None, recall: float | None = None
) -> Any:
    """The n codes of a shard nearest to the signs of weights, and the weights that differ."""
    weights, given, token, exclude = request
    values = check_weights(weights, shard.index.n_bits)
    return shard.index._candidates(
        values,
        round_weights(values),
        n,
        shard.filter(given, token),
        exclude,
        resolve_threads(n_threads),
        recall,
    )


def within(shard: Shard, request: list[Any], radius: int, **options: Any) -> Any:
    """The codes of a shard within a radius."""
    queries, given, token, exclude = request
    options.update(filter=shard.filter(given, token), exclude=exclude)
    return shard.index.within(queries, radius, **options)
