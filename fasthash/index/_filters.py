"""The ``filter=`` of a search: which of the codes held may be found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.interruptible import distinct
from .._core.scan import Allowed, allow
from ..codes import check_ids
from ._snapshot import Snapshot

__all__ = ["Filter", "allowed_rows"]

Filter = ArrayLike | Callable[[NDArray[np.int64]], ArrayLike]

# Up to this share of the base is listed; more is marked by a flag per row.
_LISTED_SHARE = 1 / 64


def allowed_rows(state: Snapshot, given: Filter | None) -> tuple[Allowed | None, Allowed | None]:
    """
    Turn a filter into rows of the base and of the recent codes; None allows all of them.

    Parameters
    ----------
    state : Snapshot
    given : array_like of int or bool, set of int, or callable, or None
        Ids; or a boolean for every code held, in the order of ``state.ids``; or what makes such
        booleans of these ids.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, or booleans are not as many as the codes held.
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
        return _of_flags(state, chosen, f"what {_name_of(given)} returns")
    if isinstance(given, set | frozenset):
        given = list(given)
    chosen = np.asarray(given)
    if chosen.dtype == bool:
        return _of_flags(state, chosen, "filter")
    if chosen.size and chosen.dtype.kind not in "iu":
        raise TypeError(
            "filter must be ids, one boolean for every code held, or a function of ids, got dtype "
            f"{chosen.dtype}"
        )
    return _of_ids(state, distinct(check_ids(chosen.ravel())))


def _of_flags(
    state: Snapshot, flags: NDArray[np.bool_], name: str
) -> tuple[Allowed | None, Allowed | None]:
    if flags.shape != (len(state),):
        raise ValueError(
            f"{name} must have one boolean per code, in the order of the index's ids, shape "
            f"({len(state)},), got {flags.shape}"
        )
    is_recent = np.zeros(len(state), bool)
    is_recent[state.places + np.arange(len(state.recent))] = True
    base_flags = flags[~is_recent] if len(state.recent) else flags
    if state.live is not None:
        base_flags, live_flags = state.live.copy(), base_flags
        base_flags[state.live] = live_flags
    return allow(np.ascontiguousarray(base_flags)), allow(flags[is_recent])


def _of_ids(state: Snapshot, ids: NDArray[np.int64]) -> tuple[Allowed | None, Allowed | None]:
    in_base, in_recent = (rows[rows >= 0] for rows in state.find(ids))
    recent = Allowed(len(in_recent), rows=in_recent)
    base = Allowed(len(in_base), rows=in_base)
    if base.n > _LISTED_SHARE * len(state.base):
        base = Allowed(base.n, flags=base.flags_of(len(state.base)))
    return base, recent


def _live(state: Snapshot) -> Allowed | None:
    return None if state.live is None else Allowed(state.n_live, flags=state.live)


def _name_of(function: Any) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
