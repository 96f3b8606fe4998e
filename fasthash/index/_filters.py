"""The ``filter=`` of a search: which of the codes held may be found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.interruptible import distinct
from .._core.pieces import cut
from .._core.scan import LISTED_SHARE, Allowed, allow
from ..codes import check_ids
from ._snapshot import Snapshot

__all__ = ["Filter", "allowed_rows"]

Filter = ArrayLike | Callable[[NDArray[np.int64]], ArrayLike]

# Rows that are marked at a time, so that they stay in the cache until then.
_MARKED_ROWS = 1 << 15

_NOTHING = Allowed(0, rows=np.empty(0, np.int64))


def allowed_rows(state: Snapshot, given: Filter | None) -> tuple[Allowed | None, Allowed | None]:
    """
    Turn a filter into rows of the base and of the recent codes; None allows all of them.

    Parameters
    ----------
    state : Snapshot
    given : array_like of int, set of int, or callable, or None
        Ids, in any order; or a function of ``state.ids`` that returns a boolean for each.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, or the function does not return a boolean for each id.
    """
    if given is None:
        return _live(state), None
    if callable(given):
        chosen = np.asarray(given(state.ids))
        if chosen.dtype != bool:
            raise TypeError(
                f"filter must return a boolean for every id, got dtype {chosen.dtype} from "
                f"{_name_of(given)}"
            )
        if chosen.shape != (len(state),):
            raise ValueError(
                f"filter must return a boolean for every id, shape ({len(state)},), got "
                f"{chosen.shape} from {_name_of(given)}"
            )
        return _of_flags(state, chosen)
    if isinstance(given, set | frozenset):
        given = list(given)
    chosen = np.asarray(given)
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
    return _of_ids(state, check_ids(chosen))


def _of_flags(state: Snapshot, flags: NDArray[np.bool_]) -> tuple[Allowed | None, Allowed | None]:
    if state.is_compact:
        return allow(np.ascontiguousarray(flags), len(state.base)), _NOTHING
    is_recent = np.zeros(len(state), bool)
    is_recent[state.places + np.arange(len(state.recent))] = True
    base_flags = flags[~is_recent] if len(state.recent) else flags
    if state.live is not None:
        base_flags, live_flags = state.live.copy(), base_flags
        base_flags[state.live] = live_flags
    return (
        allow(np.ascontiguousarray(base_flags), len(state.base)),
        allow(flags[is_recent], len(state.recent)),
    )


def _of_ids(state: Snapshot, ids: NDArray[np.int64]) -> tuple[Allowed | None, Allowed | None]:
    """
    Ids in any order, some perhaps twice.

    A few are sorted, and all where they must be searched for; else the rows are marked, which costs
    less.
    """
    is_listed = len(ids) <= LISTED_SHARE * len(state.base)
    if is_listed or not state.base.is_gapless:
        ids = distinct(ids)
    if is_listed:
        in_base, in_recent = (_held(rows) for rows in state.find(ids))
        return Allowed(len(in_base), rows=in_base), Allowed(len(in_recent), rows=in_recent)
    flags = np.zeros(len(state.base), bool)
    recent = [np.empty(0, np.int64)]
    for some in cut(len(ids), most=_MARKED_ROWS):
        in_base, in_recent = state.find(ids[some])
        flags[_held(in_base)] = True
        recent.append(_held(in_recent))
    in_recent = distinct(np.concatenate(recent))
    return allow(flags, len(flags)), Allowed(len(in_recent), rows=in_recent)


def _held(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Without the -1 of ids that are not held."""
    is_held = rows >= 0
    return rows if is_held.all() else rows[is_held]


def _live(state: Snapshot) -> Allowed | None:
    return None if state.live is None else Allowed(state.n_live, flags=state.live)


def _name_of(function: Any) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
