"""Warnings about features that are valid, but from which nothing good can be learned or found.

`check_rows` of ``validation`` calls `warn_of_zero_rows` for all features that a function is given.
A function that has checked all features, and passes some of their rows on, does so in
`without_warnings`: a second warning would count the rows of a part.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

__all__ = ["MOST_NAMED", "warn", "warn_of_zero_rows", "without_warnings"]

# A warning shows the line that called one of these; scikit-learn calls methods of estimators.
_OWN = (__name__.partition(".")[0], "sklearn")

# Largest number of rows that a warning names.
MOST_NAMED = 5

_is_silent = ContextVar("_is_silent", default=False)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Give no warnings of this module in this block."""
    token = _is_silent.set(True)
    try:
        yield
    finally:
        _is_silent.reset(token)


def warn_of_zero_rows(
    rows: Sequence[int], n_rows: int, name: str, n_found: int | None = None
) -> None:
    """
    Warn that rows of features hold only zeros.

    Parameters
    ----------
    rows : sequence of int
        Numbers of these rows, ascending, or of the first ones; no warning if it is empty.
    n_rows : int
        Number of all rows.
    name : str
        Name of the argument.
    n_found : int, optional
        Number of rows that hold only zeros, if `rows` has only the first `MOST_NAMED`.
    """
    if not len(rows):
        return
    n_found = n_found or len(rows)
    named = ", ".join(str(row) for row in rows[:MOST_NAMED]) + ", …" * (n_found > MOST_NAMED)
    warn(
        f"{name} has {n_found} of {n_rows} rows that hold only zeros ({named}). They say nothing "
        "about their samples, but get codes and answers like all others: leave such samples out, "
        "or find out why they have no features (often a text of unknown words)"
    )


def warn(message: str) -> None:
    """Warn the caller of the library, whose line the warning shows."""
    if _is_silent.get():
        return
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and _is_own(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


def _is_own(module: str) -> bool:
    return module.partition(".")[0] in _OWN
