"""`Partitioning`: when an index makes lists of its codes, and makes them again after changes.

Lists are made when the caller asks for them, or when they are likely to pay for themselves: when
searches with a recall, which are exact until then, have taken as long as making the lists takes,
including the queries that wait. When a change has made a new base, its lists are made around the
centres of the old ones. If the number of codes has doubled or halved, centres are learned again.
"""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._core.runtime import ForkSafeLock
from ._calibration import Calibration
from ._index_file import check_list_rows
from ._list_search import SECONDS_PER_WORD, ListSearch, Rules, read_calibrations
from ._partitions import (
    MAX_ROWS,
    ROUNDS,
    Partitions,
    Queries,
    default_n_lists,
    sample_size,
)
from ._snapshot import Content, SortedCodes, StoredLists

__all__ = ["Partitioning"]

# With fewer codes, lists are made only if the caller asks for them.
_FEWEST_CODES = 1 << 16

# Centres are learned again when the number of codes has changed by this factor.
_MOST_GROWTH = 2


@dataclass(frozen=True)
class _Unused:
    """The lists of a file, which no search has used yet; `base` are the codes of the file."""

    base: weakref.ref[SortedCodes]
    path: str
    lists: StoredLists
    chosen: tuple[Rules, Rules]  # of queries that are codes, and of those with weights


class _Sharing:
    """The lists of an index and of its copies, which may have the same base."""

    def __init__(self, first: Partitioning) -> None:
        self._lock = ForkSafeLock()
        self._all = [weakref.ref(first)]

    def join(self, other: Partitioning) -> None:
        with self._lock.here:
            self._all = [*(one for one in self._all if one() is not None), weakref.ref(other)]

    def forget(self, base: SortedCodes) -> None:
        """Free the searches in lists of a base that have been replaced."""
        for one in self._all:
            partitioning = one()
            if partitioning is not None:
                partitioning._searches.pop(base, None)


_Searches = weakref.WeakKeyDictionary[SortedCodes, tuple[ListSearch, ListSearch]]


class Partitioning:
    """
    The lists of an index.

    It keeps what outlives a base: centres, queries of the caller, and the time spent without lists.
    It does not keep a base in memory that a change of the index has replaced.
    """

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._n_lists: int | None = None
        self._centres: NDArray[np.uint8] | None = None
        self._n_learned = 0
        # Queries of the caller: codes, and rounded weights.
        self._queries: list[Queries | None] = [None, None]
        self._spent = 0.0
        self._searches: _Searches = weakref.WeakKeyDictionary()
        self._file: _Unused | None = None
        self._sharing = _Sharing(self)

    def __copy__(self) -> Self:
        """For an index that shares the base, and calibrates for itself."""
        other = type(self)()
        other.__dict__.update(self.__getstate__())
        other.__setstate__({"_file": self._file, "_sharing": self._sharing})
        self._sharing.join(other)
        return other

    def __getstate__(self) -> dict[str, Any]:
        # The other process makes its own lists, around the same centres.
        state = {**self.__dict__, "_lock": None, "_searches": None, "_file": None}
        del state["_sharing"]
        if self._file is not None:
            state.update(_centres_of(self._file))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = {"_lock": ForkSafeLock(), "_searches": weakref.WeakKeyDictionary()}
        self.__dict__.update({"_sharing": _Sharing(self), **state, **own})

    def learn(self, base: SortedCodes, n_lists: int | None, n_threads: int) -> None:
        """Learn centres, and make the lists of a base."""
        with self._lock.here:
            self._n_lists, self._centres = n_lists, None
            self._file = None
            base.lists = self._make(base, n_threads)
        # Searches in the lists before hold the codes in another order.
        self._sharing.forget(base)

    def has_lists(self, base: SortedCodes) -> bool:
        """Whether a base has lists, or its file has."""
        return base.lists is not None or self._unused_of(base) is not None

    def calibrations(
        self, base: SortedCodes, has_weights: bool
    ) -> dict[tuple[int, float], Calibration]:
        """What has been calibrated for the lists of a base, by (k, recall)."""
        made, file = self._made(base), self._unused_of(base)
        if made is not None:
            return made[has_weights].calibrations
        if file is None or self._queries[has_weights] is not None:
            return {}
        return {key: chosen.calibration for key, chosen in file.chosen[has_weights].items()}

    def search(self, base: SortedCodes, has_weights: bool, n_threads: int) -> ListSearch:
        """
        The search in the lists of a base; they are made now unless they exist.

        Queries are codes, or rounded weights if `has_weights`.
        """
        return self._searches_of(base, n_threads)[has_weights]

    def _searches_of(self, base: SortedCodes, n_threads: int) -> tuple[ListSearch, ListSearch]:
        """`search` without weights and with them, in the same lists."""
        made = self._made(base)
        if made is not None:
            return made
        with self._lock.here:
            made = self._made(base)
            if made is not None:
                return made
            chosen: tuple[Rules, Rules] = {}, {}
            file = self._file
            if file is not None and base.lists is None:
                # Of a file whose codes have been replaced, only the centres are used.
                self.__dict__.update(_centres_of(file))
                if file.base() is base:
                    base.lists = self._read(file, base)
                    chosen = file.chosen
                self._file = None
            if base.lists is None:
                base.lists = self._make(base, n_threads)
            # Rules of the file are for queries that the caller has not replaced.
            first, second = (
                ListSearch(base.stored, base.lists, given, None if given is not None else rules, by)
                for given, rules, by in zip(self._queries, chosen, (False, True), strict=True)
            )
            self._searches[base] = first, second
            return first, second

    def stored(self, base: SortedCodes, n_threads: int) -> StoredLists:
        """The lists of a base, for a file; they are made now unless they exist."""
        made = self._searches_of(base, n_threads)
        p = made[0].partitions
        entries = [entry for search in made for entry in search.to_store()]
        calibrations, n_learned = json.dumps(entries).encode(), self._n_learned or len(base)
        return StoredLists(p.centres, p.starts, p.rows, calibrations, n_learned, self._n_lists)

    def search_if_due(
        self, base: SortedCodes, has_weights: bool, n_queries: int, n_threads: int
    ) -> ListSearch | None:
        """
        The search in lists, if they exist, have been wanted before, or pay for themselves.

        With weights, lists are of no use before the caller has calibrated them.
        """
        made = self._made(base)
        if made is not None:
            return made[has_weights]
        n = len(base)
        if not 0 < n <= MAX_ROWS:
            return None
        if has_weights and self._queries[1] is None and self._unused_of(base) is None:
            return None
        is_wanted = self._centres is not None or self._file is not None
        if base.lists is None and not is_wanted:
            if n < _FEWEST_CODES:
                return None
            n_words = -(-base.stored.shape[1] // 8)
            n_lists = default_n_lists(n)
            to_make = (n + ROUNDS * sample_size(n, n_lists)) * n_lists
            seconds = (to_make - n_queries * n) * n_words * SECONDS_PER_WORD / n_threads
            if self._spent < seconds:
                return None
        return self.search(base, has_weights, n_threads)

    def take_file(self, base: SortedCodes, content: Content) -> None:
        """
        Use the lists of a file from the first search on; until then they are not read.

        Raises
        ------
        ValueError
            If what has been calibrated is damaged.
        """
        lists = content.lists
        assert lists is not None
        chosen = read_calibrations(content.path, lists)
        self._file = _Unused(weakref.ref(base), content.path, lists, chosen)

    def take_queries(self, queries: Queries, has_weights: bool) -> None:
        """
        Keep queries for all calibrations to come.

        Those that have been made with other queries of this kind are forgotten.
        """
        # Under the lock, so that no thread keeps a search that was made without them.
        with self._lock.here:
            before = self._queries[has_weights]
            if before is not None and np.array_equal(before, queries):
                return
            self._queries = [*self._queries]
            self._queries[has_weights] = queries.copy()
            for base, made in self._searches.items():
                search = ListSearch(
                    base.stored, made[0].partitions, self._queries[has_weights], None, has_weights
                )
                self._searches[base] = (made[0], search) if has_weights else (search, made[1])

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of a search that lists would have made faster."""
        start = time.perf_counter()
        yield
        self._spent += time.perf_counter() - start

    def _made(self, base: SortedCodes) -> tuple[ListSearch, ListSearch] | None:
        """The searches in the lists of a base, if they have been made."""
        made = self._searches.get(base)
        return made if made is not None and made[0].partitions is base.lists else None

    def _unused_of(self, base: SortedCodes) -> _Unused | None:
        """The lists of the file of this base, unless searches have used them."""
        file = self._file
        return file if file is not None and file.base() is base else None

    def _read(self, file: _Unused, base: SortedCodes) -> Partitions:
        lists = file.lists
        check_list_rows(file.path, lists, len(base))
        return Partitions(base, lists.centres, lists.starts, lists.rows)

    def _make(self, base: SortedCodes, n_threads: int) -> Partitions:
        n, centres = len(base), self._centres
        if not 0 < n <= MAX_ROWS:
            raise ValueError(
                f"lists are made of 1 to {MAX_ROWS} codes, and the index has {n} of them stored "
                "together: add codes, or call compact"
            )
        fewest, most = self._n_learned / _MOST_GROWTH, self._n_learned * _MOST_GROWTH
        if centres is not None and fewest <= n <= most:
            partitions = Partitions.around(base, centres, n_threads)
        else:
            partitions = Partitions.learn(base, self._n_lists, n_threads)
            self._n_learned = n
        self._centres = partitions.centres
        return partitions


def _centres_of(file: _Unused) -> dict[str, Any]:
    """What new lists take over from those of a file."""
    lists = file.lists
    return {
        "_centres": lists.centres,
        "_n_learned": lists.n_learned,
        "_n_lists": lists.n_asked,
    }
