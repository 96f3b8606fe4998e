"""Report the progress of long calls to a callback, and show it on standard error if `verbose`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Any

from .._core.validation import check_flag

__all__ = ["Callback", "Progress", "Report", "ignore"]

# A function of the user: callback(stage, done, total).
Callback = Callable[[str, int, int], None]

# A `Progress`, or any function with the same arguments. Each stage of the work calls it.
Report = Callable[..., None]

# At least this many seconds lie between two printed lines, except before the last of a stage.
_SECONDS_PER_LINE = 1.0


def ignore(stage: str, done: int, total: int, note: str = "") -> None:
    """Report nothing."""


class Progress(AbstractContextManager["Progress"]):
    """
    Report how much of a call is done: call it as ``progress(stage, done, total)``.

    Parameters
    ----------
    callback : callable or None
        Called as ``callback(stage, done, total)``. An exception that it raises ends the call.
    verbose : bool
        Show a bar per stage with tqdm; or lines of text if tqdm is not installed, or standard error
        is no terminal, because a bar that is drawn again and again would fill a log file.

    Raises
    ------
    TypeError
        If `callback` cannot be called, or `verbose` is not a boolean.
    """

    def __init__(self, callback: Callback | None, verbose: bool) -> None:
        if callback is not None and not callable(callback):
            raise TypeError(
                "callback must be a function that takes (stage, done, total), got "
                f"{type(callback).__name__}"
            )
        verbose = check_flag(verbose, "verbose")
        self._callback, self._verbose = callback, verbose
        self._is_drawn = verbose and sys.stderr.isatty() and find_spec("tqdm") is not None
        self._bar: Any = None
        self._stage = ""
        self._next_line = 0.0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Report that `done` of `total` are done; the callback does not get the note."""
        if self._is_drawn:
            self._draw(stage, done, total, note)
        elif self._verbose:
            self._print(stage, done, total, note)
        if self._callback is not None:
            self._callback(stage, done, total)

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _draw(self, stage: str, done: int, total: int, note: str) -> None:
        from tqdm import tqdm

        if self._bar is None or self._stage != stage:
            if self._bar is not None:
                self._bar.close()
            self._bar = tqdm(total=total, desc=stage, file=sys.stderr)
            self._stage = stage
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)

    def _print(self, stage: str, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        if note or done == total or stage != self._stage or now >= self._next_line:
            line = f"{stage}: {done} of {total}"
            print(f"{line}  {note}" if note else line, file=sys.stderr, flush=True)
            self._stage, self._next_line = stage, now + _SECONDS_PER_LINE
