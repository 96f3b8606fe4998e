"""Long calls of numpy, so that Ctrl-C need not wait for them.

Python answers a signal between two of its own steps, so what takes long is cut into `blocks` of
rows. What cannot be cut, a sort, runs in a thread of its own, `apart`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["apart", "ascends", "blocks", "copy", "distinct", "take"]

Result = TypeVar("Result")

# Bytes of a block: some hundredths of a second in memory, tenths from a slow disk.
_BLOCK_BYTES = 1 << 24

# Fewer values than this are sorted before anybody notices.
_FEW = 1 << 20


def blocks(n: int, row_bytes: int) -> Iterator[slice]:
    """Cut n rows of so many bytes into slices of whole rows."""
    step = max(1, _BLOCK_BYTES // max(1, row_bytes))
    return (slice(first, min(n, first + step)) for first in range(0, n, step))


def copy(source: NDArray[Any], target: NDArray[Any]) -> None:
    """Copy rows into as many others."""
    for some in blocks(len(source), source[:1].nbytes):
        target[some] = source[some]


def take(values: NDArray[Any], rows: NDArray[np.integer[Any]]) -> NDArray[Any]:
    """``values[rows]``."""
    taken = np.empty((len(rows), *values.shape[1:]), values.dtype)
    for some in blocks(len(rows), rows.itemsize + taken[:1].nbytes):
        taken[some] = values[rows[some]]
    return taken


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """``numpy.unique(values)``, of one dimension."""
    if ascends(values):
        return values
    in_order = apart(len(values), lambda: np.sort(values))
    is_new = np.ones(len(values), bool)
    np.not_equal(in_order[1:], in_order[:-1], out=is_new[1:])
    return in_order[is_new]


def ascends(values: NDArray[Any]) -> bool:
    """Tell whether every value is larger than the one before."""
    for some in blocks(len(values), values.itemsize):
        # With the last of the block before.
        block = values[max(some.start - 1, 0) : some.stop]
        if np.any(block[1:] <= block[:-1]):
            return False
    return True


def apart(n: int, function: Callable[[], Result]) -> Result:
    """
    Call what sorts n values and changes nothing, and answer an interrupt meanwhile.

    After an interrupt the thread ends by itself when the call does, and its result is dropped.

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
    # Waiting without end could not be interrupted on Windows.
    while not done.wait(1.0):
        pass
    if errors:
        raise errors[0]
    return outcome[0]
