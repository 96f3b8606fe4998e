"""Read a column of hashes, one in each row, and say which row is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.arrays import as_array

__all__ = ["as_column", "is_missing", "refusal"]

# An error shows at most this many characters of a value.
_MOST_SHOWN = 60


def as_column(values: Any, name: str) -> Sequence[Any] | NDArray[Any]:
    """
    Return values in one dimension: a list or tuple as it is, anything else as an array.

    numpy never sees a list, because it would turn integers among texts into texts.

    Raises
    ------
    TypeError, ValueError
        In the cases of `as_array`, and if there is not exactly one dimension.
    """
    if isinstance(values, list | tuple):
        return values
    x = as_array(values, name)
    if x.ndim != 1:
        hint = f" (for a single one pass [{name}])" if x.ndim == 0 else ""
        raise ValueError(
            f"{name} must have one dimension, one hash per row, got shape {x.shape}{hint}"
        )
    return x


def is_missing(value: Any) -> bool:
    """Tell whether a value is None, NaN, or the NA of pandas."""
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def refusal(name: str, row: int, value: Any, reason: str) -> str:
    """Return the sentence that names the argument, the row, the value, and what to do."""
    if is_missing(value):
        reason = "every row must have a hash: drop the rows that have none"
    shown = repr(value.item() if isinstance(value, np.generic) else value)
    # An array, for example, is shown in several lines.
    shown = " ".join(map(str.strip, shown.splitlines()))
    if len(shown) > _MOST_SHOWN:
        shown = f"{shown[:_MOST_SHOWN]}…"
    return f"{name}[{row}] is {shown}: {reason}"
