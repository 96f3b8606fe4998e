"""Calls of numpy that Ctrl-C can interrupt.

Python handles a signal only between two of its own steps, not within a call of numpy. So long calls
are cut into blocks of rows. A sort cannot be cut, so `in_helper_thread` runs it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .pieces import BLOCK_BYTES, blocks_of, cut

__all__ = ["ascends", "copy", "distinct", "in_helper_thread", "take"]

Result = TypeVar("Result")

# Sorting fewer values than this takes too little time to be interrupted.
_FEW = 1 << 20


def copy(source: NDArray[Any], target: NDArray[Any]) -> None:
    """Copy all rows of an array to another array of the same shape."""
    for some in blocks_of(source):
        target[some] = source[some]


def take(values: NDArray[Any], rows: NDArray[np.integer[Any]]) -> NDArray[Any]:
    """Return ``values[rows]``."""
    taken = np.empty((len(rows), *values.shape[1:]), values.dtype)
    for some in cut(len(rows), rows.itemsize + taken[:1].nbytes, BLOCK_BYTES):
        taken[some] = values[rows[some]]
    return taken


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Return ``numpy.unique(values)``, for one dimension."""
    if ascends(values):
        return values
    in_order = in_helper_thread(len(values), lambda: np.sort(values))
    is_new = np.ones(len(values), bool)
    np.not_equal(in_order[1:], in_order[:-1], out=is_new[1:])
    return in_order[is_new]


def ascends(values: NDArray[Any]) -> bool:
    """Tell whether every value is larger than the one before."""
    for some in blocks_of(values):
        # Together with the last value of the block before.
        block = values[max(some.start - 1, 0) : some.stop]
        if np.any(block[1:] <= block[:-1]):
            return False
    return True


def in_helper_thread(n: int, function: Callable[[], Result]) -> Result:
    """
    Run a sort of n values in a helper thread, so that Ctrl-C works; it must change no input.

    After an interrupt the thread runs until the sort is complete, and its result is dropped.

    Raises
    ------
    Whatever the function raises.
    """
    if n < _FEW or threading.current_thread() is not threading.main_thread():
        return function()
    outcome: list[Result] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            outcome.append(function())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name="fasthash-sort", daemon=True).start()
    # On Windows, a wait without a time limit cannot be interrupted.
    while not done.wait(1.0):
        pass
    if errors:
        raise errors[0]
    return outcome[0]
