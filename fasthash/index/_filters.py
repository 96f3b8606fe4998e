"""The ``filter=`` of a search: `allowed_rows` turns ids, or a function of ids, into rows.

`SortedCodes.allowed` in ``_snapshot`` finds the rows of ids, for many ids with the `Directory` of
``_core/allowed.py``. A `PreparedFilter` keeps the rows for later searches.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.allowed import Allowed, allow
from .._core.arrays import as_array
from .._kernels.filters import spread_flags
from ..codes import check_ids
from ._calibration import Calibration
from ._filtered_lists import FilteredLists
from ._snapshot import Snapshot
from ._storage import CodeStorage

__all__ = ["AllowedRows", "Filter", "PreparedFilter", "allowed_rows", "live_rows"]

# The allowed rows of the base and of the recent codes; None for all.
AllowedRows = tuple[Allowed | None, Allowed | None]


class PreparedFilter:
    """
    A filter whose ids have been looked up, made by ``index.prepare_filter``.

    It can be the ``filter=`` of searches of the index that made it. After a change of the index,
    the next search looks up again what has moved, so that a prepared filter always allows the same
    codes as the ids or the function from which it was made. Several threads may use it at once.

    Attributes
    ----------
    calibration_ : dict of (int, float) to Calibration
        What searches with this filter and a recall achieve, by (k, recall); see
        ``HammingIndex.calibrate``.
    weighted_calibration_ : dict of (int, float) to Calibration
        The same of searches with weights.

    Notes
    -----
    Holds a copy of the ids, and one byte per code of the index, or 8 bytes per allowed code if
    these are few, and 8 more if the index has lists.
    """

    def __init__(self, storage: CodeStorage, given: Filter) -> None:
        if isinstance(given, PreparedFilter):
            given = given._given
        self._storage = storage
        self._given: Any = given if callable(given) else _ids_of(given).copy()
        self._known: _Known | None = None
        self._lists = FilteredLists()
        self._rows_in(storage.state)

    def __repr__(self) -> str:
        state = self._storage.state
        n = sum(part.n for part in self._rows_in(state) if part is not None)
        return f"PreparedFilter of {n} codes of {len(state)}"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a prepared filter belongs to one index and cannot be copied or pickled: call "
            "prepare_filter of the other index"
        )

    @property
    def calibration_(self) -> dict[tuple[int, float], Calibration]:
        return self._calibrations(has_weights=False)

    @property
    def weighted_calibration_(self) -> dict[tuple[int, float], Calibration]:
        return self._calibrations(has_weights=True)

    def _calibrations(self, has_weights: bool) -> dict[tuple[int, float], Calibration]:
        state = self._storage.state
        return self._lists.calibrations(state.base.lists, self._known_in(state).key, has_weights)

    def _rows_in(self, state: Snapshot) -> AllowedRows:
        return self._known_in(state).rows

    def _known_in(self, state: Snapshot) -> _Known:
        """The allowed rows in this state; looked up again if the last call had another one."""
        # In a local: another thread may look up another state.
        known = self._known
        if known is None or not known.is_of(state):
            known = self._known = self._look_up(state, known)
        return known

    def _look_up(self, state: Snapshot, known: _Known | None) -> _Known:
        if callable(self._given):
            return _Known(state, None, _of_function(state, self._given))
        found = None if known is None or known.base() is not state.base else known.found
        if found is None:
            found = state.base.allowed(self._given)
        return _Known(state, found, _in_state(state, found, self._given))


class _Known:
    """The allowed rows in one state; holds weak references to the state, to recognise it."""

    def __init__(self, state: Snapshot, found: Allowed | None, rows: AllowedRows) -> None:
        self.base = weakref.ref(state.base)
        self._live = _no_array if state.live is None else weakref.ref(state.live)
        self._recent = weakref.ref(state.recent)
        # Of the base, with those that have been removed.
        self.found = found
        self.rows = rows
        # The same object as long as the base has the same rows; removed codes make no difference.
        self.key: object = object() if found is None else found

    def is_of(self, state: Snapshot) -> bool:
        is_same_base = self.base() is state.base and self._live() is state.live
        return is_same_base and self._recent() is state.recent


Filter = ArrayLike | Callable[[NDArray[np.int64]], ArrayLike] | PreparedFilter


def allowed_rows(storage: CodeStorage, state: Snapshot, given: Filter | None) -> AllowedRows:
    """
    Turn a filter into rows of the base and of the recent codes.

    Parameters
    ----------
    storage : CodeStorage
        The codes of the index that is searched.
    state : Snapshot
        Their current state.
    given : array_like of int, set of int, callable, or PreparedFilter, or None
        Ids, in any order; or a function of ``state.ids`` that returns a boolean for each.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, the function does not return a boolean for each id, or another index
        has prepared it.
    """
    if given is None:
        return live_rows(state), None
    if isinstance(given, PreparedFilter):
        if given._storage is not storage:
            raise ValueError(
                "filter was prepared by another index: call prepare_filter of the index that is "
                "searched"
            )
        return given._rows_in(state)
    if callable(given):
        return _of_function(state, given)
    ids = _ids_of(given)
    return _in_state(state, state.base.allowed(ids), ids)


def _ids_of(given: Any) -> NDArray[np.int64]:
    if isinstance(given, set | frozenset):
        given = list(given)
    chosen = as_array(given, "filter")
    if chosen.dtype == bool:
        raise TypeError(
            "filter holds booleans, and an index takes ids: pass index.ids[filter], or a function "
            "of ids"
        )
    if chosen.dtype == np.uint8:
        raise TypeError(
            "filter has dtype uint8, which means packed booleans elsewhere, and an index takes "
            "ids: pass filter.astype(np.int64) if these are ids"
        )
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
        raise TypeError(
            "filter must be ids in one dimension, or a function of ids, got "
            f"{chosen.dtype} of shape {chosen.shape}"
        )
    return check_ids(chosen)


def _in_state(state: Snapshot, found: Allowed, ids: NDArray[np.int64]) -> AllowedRows:
    """The found rows of the base that are still held, and the rows of recent codes."""
    return found if state.live is None else found.only(state.live), state.recent.allowed(ids)


def _of_function(state: Snapshot, given: Callable[[NDArray[np.int64]], ArrayLike]) -> AllowedRows:
    found = given(state.ids)
    if found is None:
        raise TypeError(
            f"filter must return a boolean for every id, got None from {_name_of(given)}"
        )
    flags = as_array(found, "filter")
    if flags.dtype != bool:
        raise TypeError(
            f"filter must return a boolean for every id, got dtype {flags.dtype} from "
            f"{_name_of(given)}"
        )
    if flags.shape != (len(state),):
        raise ValueError(
            f"filter must return a boolean for every id, shape ({len(state)},), got "
            f"{flags.shape} from {_name_of(given)}"
        )
    recent_flags = np.zeros(0, bool)
    if len(state.recent):
        is_recent = np.zeros(len(state), bool)
        is_recent[state.places + np.arange(len(state.recent))] = True
        flags, recent_flags = flags[~is_recent], flags[is_recent]
    flags = np.ascontiguousarray(flags)
    if state.live is not None:
        live_flags, flags = flags, np.zeros(len(state.base), bool)
        spread_flags(state.live.view(np.uint8), live_flags.view(np.uint8), flags.view(np.uint8))
    return allow(flags, len(flags)), allow(recent_flags, len(recent_flags))


def live_rows(state: Snapshot) -> Allowed | None:
    """The rows of the base that are still held; None for all."""
    if state.live is None:
        return None
    return Allowed(state.n_live, len(state.base), flags=state.live)


def _no_array() -> None:
    """Return None, like a weak reference to an array that is gone."""


def _name_of(function: Any) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
