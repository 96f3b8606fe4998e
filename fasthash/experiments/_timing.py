"""Interleaved measurement: several calls in turn, in one process, so that noise falls on all.

A machine's speed drifts within seconds (clocks, neighbours). Every round runs each call once, and
ratios are taken within a round before their median: drift between rounds cancels.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter


@dataclass(frozen=True)
class Ratio:
    """Median over rounds, and the quartiles between which half of them lie."""

    median: float
    low: float
    high: float

    def times(self, factor: float) -> Ratio:
        return Ratio(self.median * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Rounds:
    """Seconds of every call in every round."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        return median(self.seconds[name])

    def ratio(self, numerator: str, denominator: str) -> Ratio:
        """Time of one call over that of another."""
        pairs = zip(self.seconds[numerator], self.seconds[denominator], strict=True)
        values = sorted(a / b for a, b in pairs)
        quarter = len(values) // 4
        return Ratio(median(values), values[quarter], values[-1 - quarter])


def interleave(calls: Mapping[str, Callable[[], object]], repeats: int = 7) -> Rounds:
    """Run the calls round-robin, after one round of warm-up, without the garbage collector."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for round_number in range(repeats + 1):
            for name, call in calls.items():
                start = perf_counter()
                result = call()
                elapsed = perf_counter() - start
                # Freed outside the measurement.
                del result
                if round_number > 0:
                    seconds[name].append(elapsed)
    finally:
        if was_enabled:
            gc.enable()
    return Rounds(seconds)
