"""Print results of commands on standard output, and notes and progress on standard error."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

__all__ = ["Printer", "format_table"]

# Seconds between two updates of a progress bar; more updates would not be visible.
_SECONDS_BETWEEN = 0.1


class Printer:
    """
    Print for a person, or as JSON for a program.

    Parameters
    ----------
    quiet : bool
        Whether to print neither notes nor progress.
    as_json : bool
        Whether to print results as JSON.
    """

    def __init__(self, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet = quiet
        self.as_json = as_json

    def note(self, text: str) -> None:
        """Print a note, which is not part of the result, on standard error."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def say(self, text: str) -> None:
        """Print a part of a result as text; print nothing if results are JSON."""
        if not self.as_json:
            print(text)

    def result(self, text: str, content: dict[str, Any]) -> None:
        """Print a result: its text, or its content as JSON."""
        print(json.dumps(content) if self.as_json else text)

    @contextlib.contextmanager
    def progress(self) -> Iterator[Callable[[str, int, int], None]]:
        """
        Show a progress bar if standard error is a terminal and tqdm is installed.

        Yields
        ------
        callable
            Call it as ``callback(stage, done, total)`` to update the bar.
        """
        is_shown = not self.quiet and sys.stderr.isatty() and find_spec("tqdm") is not None
        if not is_shown:
            yield lambda stage, done, total: None
            return
        from tqdm import tqdm

        with tqdm(bar_format="{desc} {bar:24} {percentage:3.0f}% {elapsed}", leave=False) as bar:
            shown_at = 0.0

            def advance(stage: str, done: int, total: int) -> None:
                nonlocal shown_at
                bar.total, bar.n = total, done
                # tqdm limits its updates by counted steps, but every stage starts again at 0.
                if time.monotonic() - shown_at > _SECONDS_BETWEEN:
                    bar.set_description_str(stage)
                    shown_at = time.monotonic()

            yield advance


def format_table(table: Sequence[Sequence[str]]) -> str:
    """Lay out rows of cells in columns, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in table
    )
