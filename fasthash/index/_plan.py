"""`Plan`: whether a search scans the codes or uses the tables of multi-index hashing.

Both give the same answer, so only time matters, and time is measured. For every kind of search
(nearest or radius, number of queries, number of threads, share of codes that may be found) the plan
records how long a query took by either method:

1. A method without measurements is tried, on a few of the queries, or in a few calls for one query.
   If tables exist, this need not be the scan: it has to wait if even a low estimate of its time is
   far above that of the tables, so that an index whose tables come from a file answers its first
   query by tables.
2. Then the faster method answers.
3. The slower method is tried again in the same way, when the faster one has run 32 times as long
   as such a trial takes, because queries may have changed. This costs at most 3 %. A scan takes the
   same time for all queries, so it is tried again only if its measurement may have been wrong.

A query in the tables stops when it has cost as much as a scan, and is then scanned. So the worst
case is twice a scan.

Tables are built only if they are likely to pay for themselves. While there are none, the distances
that scans find show how long the tables would have taken. The tables are built when the time that
they would have saved, including the queries that wait in the same call, exceeds the time to build
them. So the time lost is at most twice what it would be if the searches to come were known (the
ski-rental problem). If tables would never be faster, they are never built. The search that finds
them due builds them, and takes longer by this; meanwhile, other threads search by scans. If there
is not enough memory for them, the scans go on.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.allowed import Allowed
from .._core.runtime import ForkSafeLock
from .._core.scan import join_within, scan_topk, scan_within
from .._core.stored_codes import StoredCodes
from .._kernels.multi_index import best_n_tables
from ._snapshot import SortedCodes
from ._tables import MAX_CODES, SECONDS_PER_CANDIDATE, CodeTables, expected_costs

__all__ = ["Plan", "plan_of"]

# With fewer codes, a scan takes little longer than the decision which method is faster.
_FEWEST_CODES = 1 << 15

# Queries in a trial: a scan compares each tile with this many queries at once. With 32, a query
# takes up to 2.4 times as long in a scan as it does in a batch, and 1.5 times as long in tables.
_TRIAL_QUERIES = 256

# Queries in the first trial of tables, which may take far longer than a scan.
_FIRST_QUERIES = 32

# Queries between two decisions.
_MOST_QUERIES = 4096

# Trials before a measurement counts; the first one may have had a cold cache.
_TRIALS = 2

# The slower method is tried again when the faster has run this many times as long as a trial.
_RETRY_AFTER = 32

# A scan whose time is this many times that of the tables is not tried again: its measurement cannot
# be wrong by so much.
_CLEAR = 4

# Calls for one query in a trial: a method that answers a single query among those of the other
# finds a cold cache, and takes up to four times as long as it does when it answers all of them.
_TRIAL_CALLS = 8

# Of equal quick searches for one query, one in this many is measured, as to measure and to choose
# takes about four microseconds.
_MEASURED_ONE_IN = 7
_QUICK_SECONDS = 1e-4

# Estimates before there are measurements: seconds per word of 64 bits that a scan compares with one
# query, where codes lie in the cache, at AVX-512; and seconds per code and table to build tables.
_SECONDS_PER_WORD = 1.5e-10
_SECONDS_PER_ENTRY = 5e-8


class _Timing:
    """
    Seconds per query of one method, and the seconds that the other has spent since its last trial.

    A measurement is the median of `n_calls` calls that follow each other. A steady method takes the
    same time for all queries. Its shorter times are more accurate, because other work on the
    machine can only make it slower. Before the first call, `seconds` is an estimate.
    """

    def __init__(self, is_steady: bool, estimate: float = 0.0, n_calls: int = 1) -> None:
        self.is_steady = is_steady
        self.seconds = estimate
        self.n_calls = n_calls
        self.n_trials = 0
        self.waited = 0.0
        self.is_on_trial = False
        self._calls: list[float] = []

    @property
    def is_known(self) -> bool:
        """Whether enough has been measured. The first call may have had a cold cache."""
        return self.n_trials >= (_TRIALS if self.n_calls == 1 else 1)

    def start_trial(self) -> None:
        self.is_on_trial = True
        self._calls = []

    def note(self, seconds: float) -> None:
        self.waited = 0.0
        if self.n_calls > 1:
            calls = self._calls = [*self._calls, seconds]
            median = sorted(calls)[(len(calls) - 1) // 2]
            if len(calls) < self.n_calls:
                if self.n_trials == 0:
                    self.seconds = median
                return
            seconds, self._calls = median, []
        self.is_on_trial = False
        if self.n_trials == 0:
            self.seconds = seconds
        elif self.n_trials < _TRIALS or (self.is_steady and seconds < self.seconds):
            self.seconds = min(self.seconds, seconds)
        else:
            # A measurement that other work has made too long must not change the choice at once.
            self.seconds += (min(seconds, 2 * self.seconds) - self.seconds) / 4
        self.n_trials += 1


class Plan:
    """
    Answer searches over one set of codes by the faster method.

    Parameters
    ----------
    codes : StoredCodes, shape (n, ceil(n_bits / 8))
        Checked codes.
    n_bits : int
    multi_index : {"auto", "always", "never"}
        "always" builds the tables at the first search and never times a scan.
    tables : CodeTables, optional
        Tables of the codes that exist already.
    """

    def __init__(
        self,
        codes: StoredCodes,
        n_bits: int,
        multi_index: str,
        tables: CodeTables | None = None,
    ) -> None:
        self._codes = codes
        self._n_bits = n_bits
        if len(codes) > MAX_CODES or (multi_index == "auto" and len(codes) < _FEWEST_CODES):
            multi_index = "never"
        self._choice = multi_index
        self._n_tables = best_n_tables(n_bits, len(codes))
        self.tables = tables
        self._build_lock = ForkSafeLock()
        self._timings: dict[tuple[str, int, int, int, int], tuple[_Timing, _Timing]] = {}
        # Seconds that tables would have saved so far, and with the rest of this call.
        self._saved = self._due = 0.0
        # What probing up to each distance takes, and infinity for a missing answer, -1.
        self._probed_seconds: list[float] = []
        # The last quick search for one query, its budget in tables or 0 for a scan, and how many
        # equal ones have followed without being measured.
        self._repeated: tuple[tuple[str, int, int], int] | None = None
        self._n_repeats = 0

    @property
    def is_worth_keeping(self) -> bool:
        """Whether tables exist, or may be built later."""
        return self._choice != "never"

    def tables_to_keep(self, n_threads: int) -> CodeTables | None:
        """The tables, built if they do not exist; None if they would never be used."""
        return None if self._choice == "never" else self.tables or self._build(n_threads)

    def topk(
        self, queries: NDArray[np.uint8], k: int, n_threads: int, allowed: Allowed | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Answer as `scan.scan_topk` does."""
        if self._choice == "never":
            return scan_topk(queries, self._codes, k, n_threads, allowed)
        parts = self._answer("nearest", k, queries, n_threads, allowed)
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def within(
        self,
        queries: NDArray[np.uint8],
        radius: int,
        n_threads: int,
        allowed: Allowed | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
        """Answer as `scan.scan_within` does."""
        radius = min(radius, self._n_bits)
        if self._choice == "never":
            return scan_within(queries, self._codes, radius, n_threads, allowed)
        return join_within(self._answer("radius", radius, queries, n_threads, allowed))

    def _answer(
        self,
        kind: str,
        extent: int,
        queries: NDArray[np.uint8],
        n_threads: int,
        allowed: Allowed | None,
    ) -> list[tuple[Any, ...]]:
        """Answer the queries in parts, each by the method of `_choose`; extent is k or radius."""
        n = len(queries)
        if n == 0 or (allowed is not None and allowed.is_few):
            return [self._scan(kind, extent, queries, n_threads, allowed)]
        if self._choice == "always":
            tables = self.tables or self._build(n_threads)
            budget = tables.default_budget
            return [self._probe(tables, kind, extent, queries, budget, n_threads, allowed)]
        # Another thread may set it to None.
        repeated = self._repeated
        if n == 1 and repeated is not None and allowed is None:
            search, budget = repeated
            if self._n_repeats < _MEASURED_ONE_IN - 1 and search == (kind, extent, n_threads):
                self._n_repeats += 1
                if budget == 0 or self.tables is None:
                    return [self._scan(kind, extent, queries, n_threads, None)]
                return [self._probe(self.tables, kind, extent, queries, budget, n_threads, None)]
        scanning, probing = self._timings_of(kind, extent, n, n_threads, allowed)
        n_alike = 1
        if n == 1:
            # The searches that were not measured count as this one.
            n_alike, self._n_repeats, self._repeated = 1 + self._n_repeats, 0, None
        parts: list[tuple[Any, ...]] = []
        first = 0
        while first < n:
            if self._is_time_to_build(n_threads):
                try:
                    self._build(n_threads)
                except MemoryError:
                    # Tables only save time, and a scan needs none of that memory.
                    self._saved = self._due = -math.inf
            by_scan, count = self._choose(scanning, probing, n - first)
            part = queries[first : first + count] if count < n else queries
            first += count
            budget = 0
            start = time.perf_counter()
            if by_scan or self.tables is None:
                parts.append(self._scan(kind, extent, part, n_threads, allowed))
                seconds = time.perf_counter() - start
                scanning.note(seconds / count)
                probing.waited += seconds * n_alike
                if self.tables is None:
                    farthest = [extent]
                    if kind == "nearest":
                        farthest = parts[-1][0][:_FIRST_QUERIES, -1].tolist()
                    self._count_saving(scanning.seconds, farthest, count * n_alike, n - first)
            else:
                # The few queries that exceed their budget are scanned apart from the batch, which
                # costs more per query.
                workers = min(n_threads, count) if scanning.n_trials else 0
                budget = max(
                    int(scanning.seconds * workers / self.tables.seconds_per_candidate),
                    self.tables.default_budget,
                )
                parts.append(
                    self._probe(self.tables, kind, extent, part, budget, n_threads, allowed)
                )
                seconds = time.perf_counter() - start
                probing.note(seconds / count)
                scanning.waited += seconds * n_alike
            is_settled = scanning.is_known if self.tables is None else probing.is_known
            if n == 1 and is_settled and seconds < _QUICK_SECONDS and allowed is None:
                if not scanning.is_on_trial and not probing.is_on_trial:
                    self._repeated = (kind, extent, n_threads), budget
        return parts

    def _scan(
        self,
        kind: str,
        extent: int,
        queries: NDArray[np.uint8],
        n_threads: int,
        allowed: Allowed | None,
    ) -> tuple[Any, ...]:
        search = scan_topk if kind == "nearest" else scan_within
        return search(queries, self._codes, extent, n_threads, allowed)

    def _probe(
        self,
        tables: CodeTables,
        kind: str,
        extent: int,
        queries: NDArray[np.uint8],
        budget: int,
        n_threads: int,
        allowed: Allowed | None,
    ) -> tuple[Any, ...]:
        search = tables.topk if kind == "nearest" else tables.within
        return search(queries, extent, budget, n_threads, allowed)

    def _choose(self, scanning: _Timing, probing: _Timing, left: int) -> tuple[bool, int]:
        """(whether to scan, number of the remaining queries before the next decision)."""
        # A last part must not be so small that it takes longer per query.
        few = left if left < 2 * _TRIAL_QUERIES else _TRIAL_QUERIES
        many = left if left < 2 * _MOST_QUERIES else _MOST_QUERIES
        if self.tables is None:
            return True, many if scanning.n_trials else few
        if probing.is_on_trial or scanning.is_on_trial:
            return scanning.is_on_trial, few
        if not probing.is_known:
            is_slow = probing.seconds > _CLEAR * scanning.seconds
            first = left if left < 2 * _FIRST_QUERIES else _FIRST_QUERIES
            return False, first if is_slow or not probing.n_trials else few
        scan_is_faster = scanning.seconds <= probing.seconds
        is_new = not scanning.n_trials
        if not (is_new or scanning.is_known) or (scan_is_faster and is_new):
            # To the end of the trial, as its first call may be far slower than the others.
            scanning.start_trial()
            return True, few
        slower = probing if scan_is_faster else scanning
        is_open = scan_is_faster or scanning.seconds < _CLEAR * probing.seconds
        if is_open and slower.waited > _RETRY_AFTER * few * slower.n_calls * slower.seconds:
            slower.start_trial()
            return not scan_is_faster, few
        return scan_is_faster, many

    def _timings_of(
        self, kind: str, extent: int, n_queries: int, n_threads: int, allowed: Allowed | None
    ) -> tuple[_Timing, _Timing]:
        """
        The measurements of both methods, in searches of this class.

        Searches of one class are assumed to take the same time per query. Numbers of queries up to
        the size of a trial, shares of allowed rows, and k count to a power of two. A scan takes up
        to twice as long for a large extent as for a small one, so the fastest scan of any extent is
        the first estimate.
        """
        size_class = min(n_queries, _TRIAL_QUERIES).bit_length()
        n_per_allowed = 0 if allowed is None else len(self._codes) // max(1, allowed.n)
        extent_class = extent.bit_length() if kind == "nearest" else extent
        key = kind, size_class, n_threads, n_per_allowed.bit_length(), extent_class
        timings = self._timings.get(key)
        if timings is None:
            # Queries in a batch share what a scan reads and lays out.
            n_words = len(self._codes) * -(-self._n_bits // 64)
            estimate = n_words * _SECONDS_PER_WORD / (size_class * n_threads)
            # Of a copy, as other threads may add to it.
            known = self._timings.copy().items()
            scans = [scan for other, (scan, _) in known if other[:-1] == key[:-1]]
            estimate = min((scan.seconds for scan in scans if scan.n_trials), default=estimate)
            n_calls = max(1, _TRIAL_CALLS // n_queries)
            timings = _Timing(True, estimate, n_calls), _Timing(False, 0.0, n_calls)
            self._timings[key] = timings
        return timings

    def _count_saving(
        self, scan_seconds: float, farthest: list[int], n_done: int, n_left: int
    ) -> None:
        """Add the time that tables would have saved over scans, in searches up to `farthest`."""
        if not self._probed_seconds:
            costs = expected_costs(self._n_bits, len(self._codes), limit=len(self._codes))
            seconds = [SECONDS_PER_CANDIDATE * cost for cost in costs]
            self._probed_seconds = seconds + [math.inf] * (self._n_bits + 2 - len(costs))
        # The mean counts, because a few queries may take most of the time; each at most two scans.
        most = 2 * scan_seconds
        probed = sum(min(most, self._probed_seconds[distance]) for distance in farthest)
        saving = max(0.0, scan_seconds - probed / len(farthest))
        # The queries that wait need no scan if the tables are built now.
        self._saved += saving * n_done
        self._due = self._saved + saving * n_left

    def _is_time_to_build(self, n_threads: int) -> bool:
        """Whether the tables are due. While another thread builds them, searches go on scanning."""
        if self.tables is not None or self._due == 0:
            return False
        rounds = -(-self._n_tables // min(n_threads, self._n_tables))
        seconds = _SECONDS_PER_ENTRY * len(self._codes) * rounds
        return self._due > seconds and not self._build_lock.is_held

    def _build(self, n_threads: int) -> CodeTables:
        with self._build_lock.here:
            if self.tables is None:
                self.tables = CodeTables(self._codes, self._n_bits, self._n_tables, n_threads)
                # Another thread may have laid out the codes again before it could see the tables.
                self.tables.follow()
            return self.tables


def plan_of(codes: SortedCodes, n_bits: int, multi_index: str) -> Plan:
    """The plan of these codes, made at the first search and then kept with them."""
    # A local variable, so that a search in another thread finds a complete plan.
    plan = codes.searcher
    if plan is None:
        plan = Plan(codes.stored, n_bits, multi_index)
        codes.searcher = plan
    return plan
