"""Measure several calls in turn, in one process, so that noise affects all of them equally.

The speed of a machine changes within seconds, by clock rates and other processes. Every round runs
each call once. A ratio is computed in each round, and the result is the median of these ratios, so
that changes between rounds cancel.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter


@dataclass(frozen=True)
class Ratio:
    """Median and quartiles of a ratio over rounds."""

    median: float
    low: float
    high: float

    def times(self, factor: float) -> Ratio:
        return Ratio(self.median * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Rounds:
    """Duration of every call in every round, in seconds."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        return median(self.seconds[name])

    def ratio(self, numerator: str, denominator: str) -> Ratio:
        """Compute the time of one call divided by the time of another."""
        pairs = zip(self.seconds[numerator], self.seconds[denominator], strict=True)
        values = sorted(a / b for a, b in pairs)
        quarter = len(values) // 4
        return Ratio(median(values), values[quarter], values[-1 - quarter])


def interleave(
    calls: Mapping[str, Callable[[], object]],
    repeats: int = 7,
    clock: Callable[[], float] = perf_counter,
) -> Rounds:
    """
    Run the calls in turn, after one warm-up round, with the garbage collector switched off.

    On a busy machine, `clock` may be `time.thread_time`, for calls that use one thread.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for round_number in range(repeats + 1):
            for name, call in calls.items():
                start = clock()
                result = call()
                elapsed = clock() - start
                # The result is freed outside of the measured time.
                del result
                if round_number > 0:
                    seconds[name].append(elapsed)
    finally:
        if was_enabled:
            gc.enable()
    return Rounds(seconds)
