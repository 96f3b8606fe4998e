"""`ListSearch`: the search of a set of codes in lists, by rules that keep a recall.

A rule is chosen at the first search with its recall and k, on queries whose exact answers are found
for that: codes of the index itself, each searched without itself, or queries of the caller. Queries
with weights have rules of their own, and codes have no weights, so only a caller can bring such
queries; without them, searches with weights are exact. Codes
that a filter allows and codes that it does not allow are two groups of queries, and the recall is
kept for each of them, because answers are farther away from the second group. A rule is chosen
again when more than an eighth of the codes have been removed since. The calibration also measures
whether lists are faster than the exact search, for single queries and for batches; where they are
not, the exact search answers.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.allowed import Allowed
from .._core.excluded import drop_own
from .._core.runtime import ForkSafeLock
from .._core.stored_codes import StoredCodes
from .._core.validation import check_count
from ._calibration import (
    Calibration,
    Sample,
    check_recall,
    choose_rule,
    highest_bound,
    lower_bound,
)
from ._partitions import Partitions, Queries, Rule
from ._snapshot import StoredLists

__all__ = [
    "SECONDS_PER_WORD",
    "Among",
    "Chosen",
    "ListSearch",
    "Rules",
    "n_queries_for",
    "read_calibrations",
]

Answer = tuple[NDArray[np.int32], NDArray[np.int64]]
# The exact search for the n nearest codes, as `scan.scan_topk` answers.
Exact = Callable[[Queries, int], Answer]

# An estimate: seconds for each 64-bit word that a scan of many queries compares.
SECONDS_PER_WORD = 1.5e-10

# Queries of a calibration: enough that the lower bound is near the mean.
_FEWEST_QUERIES = 2048
_MOST_QUERIES = 4096
_QUERIES_PER_MISS = 20
# For a large k, there are fewer, so that their answers fit in some hundred MiB.
_FEWEST_OF_LONG = 256
_MOST_ANSWERS = 1 << 23

# Exact answers of a calibration have this length, or the next power of two from k on, so that they
# serve for every smaller k.
_LEAST_K = 32

# With fewer codes for each answer, or if a filter allows few codes, the search is exact without a
# calibration, which would find that nearly all lists must be probed.
_LEAST_CODES_PER_ANSWER = 32

# A rule is chosen again when this share of the codes has been removed since.
_REMOVED_SHARE = 1 / 8

# Numbers of queries that are timed one by one, and in a batch.
_TIMED_ALONE = 15
_TIMED_BATCH = 256


@dataclass(frozen=True)
class Among:
    """
    The codes that may be found by a search.

    Attributes
    ----------
    exact : callable
        The exact search of these codes.
    allowed : Allowed or None
        The codes that may be found: those still held that a filter allows; None for all.
    live : Allowed or None
        The codes that are still held; None for all.
    """

    exact: Exact
    allowed: Allowed | None = None
    live: Allowed | None = None


@dataclass(frozen=True)
class _Truth:
    """
    Queries and their exact answers; `own` are their rows if they are held codes.

    Where `is_other` is True, a filter does not allow the code that is the query.
    """

    queries: Queries
    own: NDArray[np.int64] | None
    is_other: NDArray[np.bool_]
    k: int
    rows: NDArray[np.int64]
    n_live: int
    seconds: float  # per query, of the exact search
    seconds_alone: float

    def serves(self, n_wanted: int, k: int, n_live: int) -> bool:
        """Whether the answers are long enough, and many enough, and of these codes."""
        n_own = len(self.queries) - int(np.count_nonzero(self.is_other))
        is_enough = self.own is None or n_own >= min(n_wanted, n_live)
        return self.k >= k and is_enough and self.n_live == n_live


@dataclass(frozen=True)
class Chosen:
    """A rule, None for the exact search, and the number of codes held when it was chosen."""

    rule: Rule | None
    calibration: Calibration
    n_live: int

    def is_outdated(self, n_live: int) -> bool:
        """Whether too many codes have been removed since; n_live are still held."""
        return self.n_live - n_live > _REMOVED_SHARE * self.n_live


Rules = dict[tuple[int, float], Chosen]


class ListSearch:
    """
    Search the codes of a partition.

    Parameters
    ----------
    codes : StoredCodes, shape (n, ceil(n_bits / 8))
    partitions : Partitions
        Of these codes.
    given : ndarray of uint8 or int16, shape (n_queries, n_bytes or 8 n_bytes), optional
        Queries for calibrations, instead of held codes.
    chosen : dict, optional
        Rules of a file, by (k, recall).
    has_weights : bool, default False
        Whether queries are rounded weights, and not codes.
    """

    def __init__(
        self,
        codes: StoredCodes,
        partitions: Partitions,
        given: Queries | None = None,
        chosen: Rules | None = None,
        has_weights: bool = False,
    ) -> None:
        self._codes = codes
        self.partitions = partitions
        self.given = given
        self.has_weights = has_weights
        self._lock = ForkSafeLock()
        self._chosen = {} if chosen is None else chosen.copy()
        self._truth: _Truth | None = None

    def with_rules_of_its_own(self) -> ListSearch:
        """A search in the same lists, without the rules that have been chosen."""
        return ListSearch(self._codes, self.partitions, self.given, None, self.has_weights)

    @property
    def n_codes(self) -> int:
        """Number of codes in the lists."""
        return len(self._codes)

    @property
    def n_words(self) -> int:
        """Words of 64 bits of a code."""
        return -(-self._codes.shape[1] // 8)

    @property
    def calibrations(self) -> dict[tuple[int, float], Calibration]:
        return {key: chosen.calibration for key, chosen in self._chosen.copy().items()}

    def to_store(self) -> list[dict[str, Any]]:
        """What has been calibrated, for a file."""
        return [
            {"has_weights": self.has_weights, **asdict(chosen)}
            for chosen in self._chosen.copy().values()
        ]

    def topk(
        self,
        queries: Queries,
        k: int,
        n: int,
        recall: float,
        allowed: Allowed | None,
        find_among: Callable[[], Among],
        n_threads: int,
    ) -> Answer:
        """
        Find the n nearest codes, by a rule for the k nearest.

        Parameters
        ----------
        queries : ndarray of uint8 or int16, shape (n_queries, n_bytes or 8 n_bytes)
        k : int
        n : int
            k, or k + 1 if each query is a held code that is dropped from its answer.
        recall : float
        allowed : Allowed or None
            That of the `Among`.
        find_among : callable
            Returns the `Among`, which few searches need: to make it takes a microsecond.
        n_threads : int
        """
        chosen = self._chosen.get((k, recall))
        if chosen is None or (allowed is not None and chosen.is_outdated(allowed.n)):
            chosen = self.chosen(k, recall, find_among(), n_threads)
        if chosen.rule is None or not chosen.calibration.uses_lists(len(queries)):
            return find_among().exact(queries, n)
        distances, rows, n_short = self.partitions.topk(queries, n, chosen.rule, n_threads, allowed)
        if n_short:
            # The lists of some queries have too few codes.
            short = np.flatnonzero(rows[:, -1] < 0)
            distances[short], rows[short] = find_among().exact(queries[short], n)
        return distances, rows

    def chosen(self, k: int, recall: float, among: Among, n_threads: int) -> Chosen:
        """The rule for a recall; chosen now, unless it has been before."""
        n_live = len(self._codes) if among.allowed is None else among.allowed.n
        chosen = self._kept(k, recall, n_live)
        if chosen is not None:
            return chosen
        with self._lock.here:
            # Another thread may have chosen it meanwhile.
            chosen = self._kept(k, recall, n_live)
            if chosen is None:
                chosen = self._choose(k, recall, among, n_live, n_threads)
                self._chosen[k, recall] = chosen
            return chosen

    def _kept(self, k: int, recall: float, n_live: int) -> Chosen | None:
        chosen = self._chosen.get((k, recall))
        return None if chosen is None or chosen.is_outdated(n_live) else chosen

    def _choose(
        self,
        k: int,
        recall: float,
        among: Among,
        n_live: int,
        n_threads: int,
    ) -> Chosen:
        is_few = among.allowed is not None and among.allowed.is_few
        is_unknown = self.has_weights and self.given is None
        if is_few or is_unknown or k * _LEAST_CODES_PER_ANSWER > n_live:
            source = "held" if self.given is None else "given"
            none = Calibration(recall, k, 1.0, 1.0, 0, source, 1.0, False, False)
            return Chosen(None, none, n_live)
        partitions, n_codes = self.partitions, max(1, len(self._codes))
        n_wanted = n_queries_for(recall, k)
        truth = self._truth
        if truth is None or not truth.serves(n_wanted, k, n_live):
            longest = max(1 << (k - 1).bit_length(), _LEAST_K)
            truth = self._truth = self._find_truth(n_wanted, longest, among, n_live)
        n_queries, queries, own = len(truth.queries), truth.queries, truth.own
        source = "given" if own is None else "held"
        rule, achieved, lower, share = None, 1.0, 1.0, 1.0
        alone = batched = False
        groups = [np.flatnonzero(is_in) for is_in in (~truth.is_other, truth.is_other)]
        groups = [group for group in groups if len(group)]
        if groups and min(highest_bound(len(group)) for group in groups) >= recall:
            # No answer is short: there are `_LEAST_CODES_PER_ANSWER` codes for each.
            rows = truth.rows[:, :k]
            n = k if own is None else k + 1
            least = min(len(partitions), -(-k * len(partitions) // n_live))
            nearest = Rule(least, least, True, 0, 0)
            n_first, n_compared = np.empty((2, n_queries), np.int64)
            first, _, _ = partitions.topk(queries, n, nearest, n_threads, among.allowed, n_first)
            kth = first[:, -1]
            sample = Sample.of(partitions, queries, rows, groups, least, kth, n_threads)
            rule = choose_rule(sample, recall)
        if rule is not None:
            found, found_rows, _ = partitions.topk(
                queries, n, rule, n_threads, among.allowed, n_compared
            )
            if own is not None:
                found, found_rows = drop_own(found, found_rows, own)
            recalls = _recalls(rows, found_rows)
            lower, achieved = min(
                (lower_bound(recalls[group]), float(recalls[group].mean())) for group in groups
            )
            # The bound was too small for these queries, which are searched twice.
            is_twice = (kth < 0) | (sample.shares(kth) >= rule.bound)
            if rule.bound <= sample.unit:
                n_compared += is_twice * n_first
            share = float(n_compared.mean() + len(partitions)) / n_codes
            seconds, seconds_alone = _times(
                lambda some: partitions.topk(some, n, rule, n_threads, among.allowed), queries
            )
            batched = _is_faster(seconds, truth.seconds)
            alone = _is_faster(seconds_alone, truth.seconds_alone)
        calibration = Calibration(
            recall, k, achieved, lower, n_queries, source, share, alone, batched
        )
        return Chosen(rule, calibration, n_live)

    def _find_truth(self, n_wanted: int, k: int, among: Among, n_live: int) -> _Truth:
        own, is_other = None, np.zeros(0 if self.given is None else len(self.given), bool)
        if self.given is not None:
            queries = self.given
        else:
            rng = np.random.default_rng(0)
            allowed = among.allowed
            rows = np.arange(len(self._codes)) if allowed is None else allowed.rows
            own = np.sort(rng.choice(rows, min(n_wanted, len(rows)), replace=False))
            others = _left_out(among)
            # A filter that leaves out fewer codes hardly matters, and so few queries say nothing.
            if len(others) >= _FEWEST_OF_LONG:
                chosen = rng.choice(others, min(n_wanted, len(others)), replace=False)
                own = np.append(own, np.sort(chosen))
            # In any order, so that the first few are a sample too.
            order = rng.permutation(len(own))
            own, is_other = own[order], order >= min(n_wanted, len(rows))
            queries = self._codes.at(own)
        n = k if own is None else k + 1
        distances, found = among.exact(queries, n)
        if own is not None:
            distances, found = drop_own(distances, found, own)
        seconds, seconds_alone = _times(lambda some: among.exact(some, n), queries)
        return _Truth(queries, own, is_other, k, found, n_live, seconds, seconds_alone)


def n_queries_for(recall: float, k: int) -> int:
    """How many held codes the queries of a calibration are, if so many are held."""
    n_wanted = _QUERIES_PER_MISS / max(1 - recall, _QUERIES_PER_MISS / _MOST_QUERIES)
    n_wanted = max(_FEWEST_QUERIES, round(n_wanted))
    return min(n_wanted, max(_FEWEST_OF_LONG, _MOST_ANSWERS // k))


def _left_out(among: Among) -> NDArray[np.int64]:
    """The codes still held that a filter does not allow."""
    if among.allowed is None or among.allowed is among.live:
        return np.empty(0, np.int64)
    others = ~among.allowed.flags
    return np.flatnonzero(others if among.live is None else others & among.live.flags)


def read_calibrations(path: str, lists: StoredLists) -> tuple[Rules, Rules]:
    """
    Read what has been calibrated for the lists of a file, without weights and with them.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    out: tuple[Rules, Rules] = {}, {}
    try:
        for entry in json.loads(lists.calibrations):
            calibration, n_live = Calibration(**entry["calibration"]), entry["n_live"]
            if "has_weights" not in entry:
                # An earlier version wrote it, with a rule of another kind. A search with this
                # recall is calibrated again.
                continue
            rule = None if entry["rule"] is None else _checked(entry["rule"], len(lists.centres))
            if type(n_live) is not int or not 0 <= n_live < 2**63:
                raise ValueError
            if type(entry["has_weights"]) is not bool:
                raise TypeError
            key = check_count(calibration.k, "k"), check_recall(calibration.recall)
            chosen = Chosen(rule, _checked_calibration(calibration), n_live)
            out[entry["has_weights"]][key] = chosen
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise ValueError(f"{path} is damaged: its calibrations cannot be used") from None
    return out


def _checked(fields: dict[str, Any], n_lists: int) -> Rule:
    rule = Rule(**fields)
    numbers = [rule.least, rule.most, rule.slope, rule.threshold, rule.bound]
    if any(type(x) is not int for x in numbers) or type(rule.from_nearest) is not bool:
        raise TypeError
    if not 1 <= rule.least <= rule.most <= n_lists:
        raise ValueError
    # The kernels take 32 bits.
    if not all(-(2**31) <= x < 2**31 for x in (rule.slope, rule.threshold, rule.bound)):
        raise ValueError
    return rule


def _checked_calibration(calibration: Calibration) -> Calibration:
    shares = [calibration.achieved, calibration.lower, calibration.share]
    flags = [calibration.alone, calibration.batched]
    if (
        not all(type(x) in (int, float) and math.isfinite(x) for x in shares)
        or not all(type(x) is bool for x in flags)
        or type(calibration.n_queries) is not int
        or calibration.queries not in ("held", "given")
    ):
        raise TypeError
    return calibration


def _times(search: Callable[[Queries], object], queries: Queries) -> tuple[float, float]:
    """
    Seconds per query in a batch and alone.

    Of a few measurements, the shortest and the median: other work makes some of them longer.
    """

    def seconds(some: Queries) -> float:
        start = time.perf_counter()
        search(some)
        return (time.perf_counter() - start) / max(1, len(some))

    batch = queries[:_TIMED_BATCH]
    alone = [seconds(queries[q : q + 1]) for q in range(min(_TIMED_ALONE, len(queries)))]
    return min(seconds(batch) for _ in range(3)), float(np.median(alone)) if alone else 0.0


def _is_faster(seconds: float, exact_seconds: float) -> bool:
    return seconds < exact_seconds


def _recalls(exact: NDArray[np.int64], found: NDArray[np.int64]) -> NDArray[np.float64]:
    """The share of each exact answer that was found."""
    return np.array([np.isin(a, b).mean() for a, b in zip(exact, found, strict=True)])
