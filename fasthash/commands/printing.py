"""What commands print: results on standard output, notes and progress on standard error."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

__all__ = ["Printer", "format_table"]

# A bar that is drawn more often is no easier to read.
_SECONDS_BETWEEN = 0.1


class Printer:
    """
    Print for a person, or as JSON for a program.

    Parameters
    ----------
    quiet : bool
        Whether notes and progress are left out.
    as_json : bool
        Whether results are JSON.
    """

    def __init__(self, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet = quiet
        self.as_json = as_json

    def note(self, text: str) -> None:
        """Say something that is no result."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def say(self, text: str) -> None:
        """Print a part of a result for a person; a program gets its own."""
        if not self.as_json:
            print(text)

    def result(self, text: str, content: dict[str, Any]) -> None:
        """Print a result: the text for a person, or its content."""
        print(json.dumps(content) if self.as_json else text)

    @contextlib.contextmanager
    def progress(self) -> Iterator[Callable[[str, int, int], None]]:
        """
        Show how far work has come, on a terminal and where tqdm is installed.

        Yields
        ------
        callable
            To be called as ``callback(stage, done, total)``.
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
                # The bar's own clock counts steps, and stages begin again at none.
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
