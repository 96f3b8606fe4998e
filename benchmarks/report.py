"""What a section hands back, and how it becomes Markdown: tables, figures, targets met or not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fasthash.experiments._cells import ratio_cell, time_cell
from limits import Limits

__all__ = ["NOT_MET", "Context", "Table", "rate_cell", "ratio_cell", "time_cell"]

NOT_MET = "**not met**"


@dataclass(frozen=True)
class Table:
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    # What was measured and how, above the table.
    text: str = ""

    def markdown(self) -> str:
        lines = [self.text, ""] if self.text else []
        lines += [_row(self.header), _row(["---"] * len(self.header))]
        return "\n".join([*lines, *map(_row, self.rows)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


@dataclass
class Context:
    """What every section gets: the sizes' scale, and the machine's limits."""

    quick: bool
    repeats: int
    # None where the probe cannot be built; shares of the limit are then left out.
    limits: Limits | None
    # Where feature sets lie that do not come with the package; without it they are left out.
    data: Path | None = None

    def file(self, name: str) -> Path | None:
        """A file of the folder of feature sets, if it is there."""
        path = self.data and self.data / name
        return path if path and path.exists() else None

    def progress(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def judge(
        self, value: float, at_least: float | None = None, at_most: float | None = None
    ) -> str:
        """met or not met. In a quick run the sizes are too small to judge."""
        if self.quick:
            return "not judged"
        met = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
        return "met" if met else NOT_MET

    def target(
        self,
        value: float | None,
        at_least: float | None = None,
        at_most: float | None = None,
        unit: str = "",
        why: str = "",
    ) -> str:
        """
        Cell with a target and whether the value reaches it; no value is not reached either.

        `why` is what is known to stand in the way; it is shown where the target is not met.
        """
        sign, bound = ("≥", at_least) if at_least is not None else ("≤", at_most)
        if bound is None:
            return ""
        if value is None:
            return f"{sign} {_number(bound, unit)}, not measured"
        verdict = self.judge(value, at_least, at_most)
        reason = f": {why}" if why and verdict == NOT_MET else ""
        return f"{sign} {_number(bound, unit)}, {verdict}{reason}"


def _number(value: float, unit: str) -> str:
    return f"{100 * value:.3g} %" if unit == "%" else f"{value:.3g}{unit}"


def rate_cell(per_second: float) -> str:
    return f"{per_second / 1e9:.3g}"
