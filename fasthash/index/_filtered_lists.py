"""`FilteredLists`: the rules of a prepared filter, for searches with a recall.

Which lists must be probed depends on the filter: a calibration without it says nothing about the
codes that it allows. So each prepared filter has rules of its own. They are chosen when the exact
searches with a recall and this filter have taken as long as a calibration takes, including the
queries that wait. Until then, and if the filter allows few codes, the searches are exact: such a
search is as fast as the search in lists, or faster.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from .._core.allowed import Allowed
from .._core.runtime import ForkSafeLock
from ._calibration import Calibration
from ._list_search import SECONDS_PER_WORD, ListSearch, n_queries_for
from ._partitions import Partitions

__all__ = ["FilteredLists"]

# Seconds that a calibration takes in addition to its exact searches.
_CALIBRATION_SECONDS = 0.2


class FilteredLists:
    """The rules of a prepared filter, for the lists of the index that made it."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        # The keys are the searches of the index, held weakly: lists of a replaced base are freed.
        self._searches: weakref.WeakKeyDictionary[ListSearch, tuple[object, ListSearch]] = (
            weakref.WeakKeyDictionary()
        )
        self._spent = 0.0

    def known(self, lists: ListSearch | None, of: object) -> ListSearch | None:
        """The search by the rules of this filter, if there is one for these lists and codes."""
        made = None if lists is None else self._searches.get(lists)
        return made[1] if made is not None and made[0] is of else None

    def calibrations(
        self, partitions: Partitions | None, of: object, has_weights: bool
    ) -> dict[tuple[int, float], Calibration]:
        """What has been calibrated for these lists and codes, by (k, recall)."""
        # Under the lock, so that no other thread adds a search meanwhile.
        with self._lock.here:
            made = list(self._searches.values())
        for known_of, search in made:
            is_wanted = search.partitions is partitions and search.has_weights == has_weights
            if known_of is of and is_wanted:
                return search.calibrations
        return {}

    def search(self, lists: ListSearch, of: object) -> ListSearch:
        """
        The search by the rules of this filter.

        Parameters
        ----------
        lists : ListSearch
            The search of the index, without a filter.
        of : object
            The codes of the lists that the filter allows; another object after they have changed.
        """
        with self._lock.here:
            known = self.known(lists, of)
            if known is None:
                known = lists.with_rules_of_its_own()
                self._searches[lists] = of, known
            return known

    def search_if_due(
        self,
        lists: ListSearch,
        of: object,
        allowed: Allowed | None,
        n_queries: int,
        k: int,
        recall: float,
        n_threads: int,
    ) -> ListSearch | None:
        """The search by the rules of this filter, if they exist or pay for themselves."""
        known = self.known(lists, of)
        if known is not None and (k, recall) in known.calibrations:
            return known
        n_allowed = lists.n_codes if allowed is None else allowed.n
        per_query = n_allowed * lists.n_words * SECONDS_PER_WORD / n_threads
        seconds = _CALIBRATION_SECONDS + 2 * n_queries_for(recall, k) * per_query
        if self._spent + n_queries * per_query < seconds:
            return None
        self._spent = 0.0
        return self.search(lists, of)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of an exact search with a recall and this filter."""
        start = time.perf_counter()
        yield
        self._spent += time.perf_counter() - start
