"""`CodeStorage`: the codes of an index, and their changes.

Rows are in ascending order of id, so that the order (distance, row) of a search is the promised
order (distance, id). A change makes a new `Snapshot`, which replaces the old one by one
assignment. A search continues with the state at its beginning. A change that fails, because memory
is short or an interrupt arrives, has no effect.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.interruptible import ascends, distinct, in_helper_thread, take
from .._core.pieces import blocks_of
from .._core.runtime import ForkSafeLock
from ..codes import check_codes, check_ids
from ._snapshot import Content, Snapshot, SortedCodes, merged

__all__ = ["CodeStorage"]

# Recent codes are merged into the base when they exceed both this number and this share of it.
# Merging copies all codes; before it the recent codes are scanned.
_MOST_RECENT = 4096
_MOST_RECENT_SHARE = 1 / 8

_LARGEST_ID = np.iinfo(np.int64).max


class CodeStorage:
    """
    Packed codes and their ids, in ascending order of id.

    Parameters
    ----------
    n_bits : int
        Number of bits in every code, checked by the caller.
    most : int, optional
        Largest number of codes.

    Attributes
    ----------
    state : Snapshot
        The current content. A search reads this attribute once.
    """

    def __init__(self, n_bits: int, most: int | None = None) -> None:
        self.n_bits = n_bits
        self.most = most
        self._lock = ForkSafeLock()
        nothing = self._sorted_nothing()
        self.state = Snapshot(nothing, None, 0, nothing, 0)

    def __len__(self) -> int:
        return len(self.state)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=ForkSafeLock())

    def fork(self) -> CodeStorage:
        """A storage with the same content, which then changes apart from this one; no copy."""
        other = CodeStorage(self.n_bits, self.most)
        # One lock for both, because both may write into the spare rows of one buffer.
        other._lock = self._lock
        other.state = self.state
        return other

    def add(self, codes: ArrayLike, ids: ArrayLike | None = None, replace: bool = False) -> None:
        """
        Add all codes, or none if there is an error.

        Raises
        ------
        TypeError, ValueError
            If codes or ids have the wrong type or shape, or an id is negative, given twice, or held
            already and `replace` is False, or there would be too many codes.
        """
        codes = check_codes(codes, "codes", self.n_bits)
        if ids is not None:
            codes, ids = _in_order(codes, _check_new_ids(ids, len(codes)))
        with self._lock.here:
            state = self.state
            if ids is None:
                ids = self._numbered_on(state, len(codes))
            if len(ids) == 0:
                return
            in_base, in_recent = state.find(ids)
            held = (in_base >= 0) | (in_recent >= 0)
            if held.any():
                if not replace:
                    raise ValueError(
                        f"ids holds {ids[held][0]}, which the index has already: leave it out, or "
                        "pass replace=True"
                    )
                state = _without(state, in_base, in_recent)
            self._check_capacity(len(state) + len(ids), len(ids))
            self.state = self._with(state, codes, ids)

    def update(self, ids: ArrayLike, codes: ArrayLike) -> None:
        """
        Replace the codes of all these ids, or none if there is an error.

        Raises
        ------
        TypeError, ValueError
            If codes or ids have the wrong type or shape, or an id is given twice or not held.
        """
        codes = check_codes(codes, "codes", self.n_bits)
        codes, ids = _in_order(codes, _check_new_ids(ids, len(codes)))
        with self._lock.here:
            state = self.state
            rows = state.find(ids)
            _refuse_missing(ids, rows)
            if len(ids):
                self.state = self._with(_without(state, *rows), codes, ids)

    def remove(self, ids: ArrayLike, missing: str) -> int:
        """
        Remove codes, and return how many were removed. `missing` is "raise" or "ignore".

        Raises
        ------
        TypeError, ValueError
            If ids are not integers, or one is not held and `missing` is "raise".
        """
        ids = distinct(check_ids(ids))
        with self._lock.here:
            state = self.state
            rows = state.find(ids)
            if missing == "raise":
                _refuse_missing(ids, rows)
            n_before = len(state)
            self.state = state = _without(state, *rows)
            return n_before - len(state)

    def compact(self) -> Snapshot:
        """Store all codes together, and free the memory of removed ones; return this state."""
        with self._lock.here:
            if not self.state.is_compact:
                self.state = self._compacted(self.state)
            return self.state

    def put(self, content: Content, is_mapped: bool) -> None:
        """Hold the content of a file, in ascending order of id, without a copy."""
        source = content if is_mapped else None
        base = SortedCodes(content.codes, content.ids, source=source)
        self.state = Snapshot(base, None, len(base), self._sorted_nothing(), content.next_id)

    def codes_of(self, ids: ArrayLike) -> NDArray[np.uint8]:
        """
        Return codes by their ids.

        Raises
        ------
        TypeError, ValueError
            If ids are not integers, or one is not held.
        """
        ids = check_ids(ids)
        state = self.state
        _refuse_missing(ids, state.find(ids))
        return state.codes_at(ids)

    def _with(self, state: Snapshot, codes: NDArray[np.uint8], ids: NDArray[np.int64]) -> Snapshot:
        """The state with further codes, whose ids ascend and are not held."""
        base, recent = state.base, state.recent
        next_id = max(state.next_id, int(ids[-1]) + 1)
        is_behind = len(base) == 0 or ids[0] > base.ids[-1]
        if is_behind and state.is_compact and not _is_worth_keeping(base):
            base = base.extended(codes, ids)
            return Snapshot(base, None, len(base), recent, next_id)
        if len(recent) == 0 or ids[0] > recent.ids[-1]:
            recent = recent.extended(codes, ids)
        else:
            recent = SortedCodes(
                merged(recent.codes, recent.ids, codes, ids),
                merged(recent.ids, recent.ids, ids, ids),
            )
        state = Snapshot(base, state.live, state.n_live, recent, next_id)
        if len(recent) > max(_MOST_RECENT, _MOST_RECENT_SHARE * len(base)):
            return self._compacted(state)
        return state

    def _compacted(self, state: Snapshot) -> Snapshot:
        base = SortedCodes(state.codes(), state.ids)
        return Snapshot(base, None, len(base), self._sorted_nothing(), state.next_id)

    def _sorted_nothing(self) -> SortedCodes:
        n_bytes = (self.n_bits + 7) // 8
        return SortedCodes(np.empty((0, n_bytes), np.uint8), np.empty(0, np.int64))

    def _numbered_on(self, state: Snapshot, n: int) -> NDArray[np.int64]:
        first = state.next_id
        if n and first + n > _LARGEST_ID:
            raise ValueError(f"no int64 ids are left from {first} on: pass ids")
        ids = np.empty(n, np.int64)
        for some in blocks_of(ids):
            ids[some] = np.arange(first + some.start, first + some.stop)
        return ids

    def _check_capacity(self, n: int, n_new: int) -> None:
        if self.most is not None and n > self.most:
            raise ValueError(
                f"the index holds {n - n_new} codes and can hold {self.most}, got {n_new} more"
            )


def _check_new_ids(ids: ArrayLike, n: int) -> NDArray[np.int64]:
    given = check_ids(ids)
    if given.shape != (n,):
        raise ValueError(f"ids must have shape ({n},), one per code, got {given.shape}")
    if n and given.min() < 0:
        raise ValueError(f"ids holds {given.min()}: ids must be at least 0 (-1 means missing)")
    if not ascends(given):
        in_order = in_helper_thread(n, lambda: np.sort(given))
        again = in_order[1:] == in_order[:-1]
        if again.any():
            raise ValueError(f"ids holds {in_order[1:][again][0]} more than once")
    return given


def _in_order(
    codes: NDArray[np.uint8], ids: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if ascends(ids):
        return codes, ids
    order = in_helper_thread(len(ids), lambda: np.argsort(ids))
    return take(codes, order), take(ids, order)


def _refuse_missing(
    ids: NDArray[np.int64], rows: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> None:
    missing = (rows[0] < 0) & (rows[1] < 0)
    if missing.any():
        raise ValueError(f"ids holds {ids[missing][0]}, which the index does not hold")


def _without(state: Snapshot, in_base: NDArray[np.int64], in_recent: NDArray[np.int64]) -> Snapshot:
    """The state without the codes in these rows; -1 means no row."""
    live, n_live, recent = state.live, state.n_live, state.recent
    in_base, in_recent = in_base[in_base >= 0], in_recent[in_recent >= 0]
    if len(in_base):
        live = np.ones(len(state.base), bool) if live is None else live.copy()
        live[in_base] = False
        n_live -= len(in_base)
    if len(in_recent):
        recent = SortedCodes(
            np.delete(recent.codes, in_recent, axis=0), np.delete(recent.ids, in_recent)
        )
    return Snapshot(state.base, live, n_live, recent, state.next_id)


def _is_worth_keeping(base: SortedCodes) -> bool:
    """Whether to search new codes apart, instead of copying these codes or making their lists."""
    is_mapped = base.source is not None
    has_tables = base.searcher is not None and base.searcher.is_worth_keeping
    return len(base) > 0 and (is_mapped or has_tables or base.lists is not None)
