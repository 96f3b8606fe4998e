"""`calibrate`: the cheapest rule by which queries probe lists and keep a recall.

The recall of a query is the share of its exact answer that an approximate search returns. A search
in lists returns a code of the exact answer if and only if it probes the list of the code. So a rule
is judged by the lists of the exact answers of some queries, without searching by it.

The lists of the nearest centres are always probed: so many that they hold k codes, if they have the
mean length. A rule probes another list if ``c - g c_0 - a d <= t``, where c is the distance of the
query to the centre of the list, c_0 that to the nearest centre, and d the distance of the k-th
nearest code in the first lists. If these have fewer than k codes, it probes all lists, or as many
as its limit allows. Of several pairs (g, a), each gets the smallest threshold t with which the
lower bound of the mean recall is at least the recall asked for; the pair that compares the fewest
codes is chosen. At last, the search is run by the rule, which measures the recall and the time.

Each query with weights has distances in a unit of its own. So t is a share of the largest distance
of the query, `WEIGHT_UNIT` for all of it. Distances to codes are whole numbers, and t is too.

The bound is one-sided, at 95 % confidence: the mean minus 1.645 standard errors, over the queries
and one more that is assumed to have recall 0, so that it stays below 1 if no query missed anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._core.pieces import cut
from .._core.scan import scan_distances
from .._core.validation import check_number
from .._core.weights import weighted_distances
from ._partitions import WEIGHT_UNIT, Partitions, Queries, Rule

__all__ = ["Calibration", "Sample", "check_recall", "choose_rule", "highest_bound", "lower_bound"]

CONFIDENCE = 0.95
_STANDARD_ERRORS = 1.645

# The pairs (g, 4 a) of the rules that are tried. Thresholds are in quarters too.
_RULES = [(g, a) for g in (True, False) for a in (0, 1, 2, 3, 4)]

# Up to this number of queries in one call, each counts as a single query.
_ALONE = 4

# Queries whose compared codes are counted, to compare rules.
_COUNTED_QUERIES = 256

# The share of queries for which the first bound is large enough. Others are searched twice.
_BOUNDED_SHARE = 0.99


@dataclass(frozen=True)
class Calibration:
    """
    How a search with a recall was calibrated.

    Attributes
    ----------
    recall : float
        The recall asked for.
    k : int
    achieved : float
        Mean recall of the queries of the calibration: the share of the exact answers that was
        returned. With a filter, codes that it allows and codes that it does not allow are two
        groups of queries; this is the mean of the group with the smaller `lower`.
    lower : float
        Lower bound of the recall of such queries, at 95 % confidence.
    n_queries : int
        Number of these queries.
    queries : {"held", "given"}
        Whether they are codes of the index, each searched without itself, or queries that
        `calibrate` was given.
    share : float
        Mean share of the codes with which a query is compared; each centre counts once.
    alone, batched : bool
        Whether single queries (up to four in one call), and queries in a batch, are searched in
        lists. Where it is False, the exact search is faster, or the recall cannot be kept.
    """

    recall: float
    k: int
    achieved: float
    lower: float
    n_queries: int
    queries: str
    share: float
    alone: bool
    batched: bool

    def uses_lists(self, n_queries: int) -> bool:
        """Whether a call with this number of queries searches lists; if not, it is exact."""
        return self.alone if n_queries <= _ALONE else self.batched


@dataclass(frozen=True)
class Sample:
    """
    Queries with what the choice of a rule reads of them.

    Attributes
    ----------
    far : ndarray of int32, shape (n, k)
        Distance of the query to the centre of the list of each code of its exact answer.
    rank : ndarray of int32, shape (n, k)
        The largest rank that this centre may have.
    groups : list of ndarray of int64
        The queries of each group; a rule keeps the recall for each group.
    nearest : ndarray of int32, shape (n,)
        Distance to the nearest centre.
    least : int
        Number of the first lists.
    kth : ndarray of int32, shape (n,)
        Distance of the k-th code in the first lists.
    largest : ndarray of int64, shape (n,)
        The largest distance of a query, and `unit` what it is in a rule.
    is_short : ndarray of bool, shape (n,)
        Whether they have fewer than k codes.
    centres : ndarray of int32, shape (n_counted, n_lists)
        Ascending distances of all centres, of some of the queries.
    sizes : ndarray of int64, shape (n_counted, n_lists + 1)
        Number of codes in the nearest 0, 1, … of these lists.
    """

    far: NDArray[np.int32]
    rank: NDArray[np.int32]
    groups: list[NDArray[np.int64]]
    nearest: NDArray[np.int32]
    least: int
    kth: NDArray[np.int32]
    largest: NDArray[np.int64]
    unit: int
    is_short: NDArray[np.bool_]
    centres: NDArray[np.int32]
    sizes: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        partitions: Partitions,
        queries: Queries,
        rows: NDArray[np.int64],
        groups: list[NDArray[np.int64]],
        least: int,
        kth: NDArray[np.int32],
        n_threads: int,
    ) -> Sample:
        """Measure queries with the exact answers `rows`, which are complete; `kth` may be -1."""
        lists = partitions.lists_of_rows()[rows]
        sizes = np.diff(partitions.starts)
        n, n_lists = len(queries), len(partitions)
        far, rank = np.empty(rows.shape, np.int32), np.empty(rows.shape, np.int32)
        nearest = np.empty(n, np.int32)
        counted, counted_sizes = [], []
        for some in cut(n, n_lists):
            distances = _distances(queries[some], partitions.centres, n_threads)
            far[some] = np.take_along_axis(distances, lists[some].astype(np.int64), axis=1)
            if some.start < _COUNTED_QUERIES:
                first = distances[: _COUNTED_QUERIES - some.start]
                order = np.argsort(first, axis=1, kind="stable")
                counted_sizes.append(np.cumsum(sizes[order], axis=1))
                counted.append(np.take_along_axis(first, order, axis=1))
            distances.sort(axis=1)
            nearest[some] = distances[:, 0]
            for q, ascending in enumerate(distances, some.start):
                rank[q] = np.searchsorted(ascending, far[q], side="right") - 1
        return cls(
            far,
            rank,
            groups,
            nearest,
            least,
            kth,
            *largest_distances(queries),
            kth < 0,
            np.concatenate(counted),
            np.pad(np.concatenate(counted_sizes), ((0, 0), (1, 0))),
        )

    def slack(self, from_nearest: bool, slope: int) -> NDArray[np.int64]:
        """For each query, how much of four times a distance of a centre does not count."""
        return 4 * from_nearest * self.nearest.astype(np.int64) + slope * self.kth

    def needed(self, slack: NDArray[np.int64]) -> NDArray[np.int64]:
        """The smallest threshold with which each answer is found, where rules have this slack."""
        least = 4 * self.far.astype(np.int64) - slack[:, None]
        return -(-least * self.unit // self.largest[:, None])

    def shares(self, distances: NDArray[np.int32]) -> NDArray[np.int64]:
        """Distances as those of a rule, rounded up."""
        return -(-distances.astype(np.int64) * self.unit // self.largest)

    def lower(self, needed: NDArray[np.int64], threshold: int, most: int) -> float:
        """
        The lower bound of the recall if lists within the threshold and of the `most` first count.

        It is that of the group of queries that has the smallest one.
        """
        found = (needed <= threshold) | (self.rank < self.least) | self.is_short[:, None]
        recalls = (found & (self.rank < most)).mean(axis=1)
        return min(lower_bound(recalls[group]) for group in self.groups)

    def costs(self, slack: NDArray[np.int64], threshold: int, most: int) -> tuple[float, int]:
        """(mean number of codes compared, largest number of lists probed)."""
        total, largest = 0, self.least
        for q, ascending in enumerate(self.centres):
            reach = (threshold * int(self.largest[q]) // self.unit + int(slack[q])) // 4
            n = max(self.least, int(np.searchsorted(ascending, reach, side="right")))
            n = most if self.is_short[q] else min(n, most)
            total += int(self.sizes[q, n])
            largest = max(largest, 0 if self.is_short[q] else n)
        return total / len(self.centres), largest


def check_recall(recall: float) -> float:
    """
    Return a recall as a float above 0 and at most 1.

    Raises
    ------
    TypeError, ValueError
        If it is not such a number.
    """
    if type(recall) is float and 0 < recall <= 1:
        # A search for one query takes some ten microseconds; the next line takes one.
        return recall
    number = check_number(recall, "recall", positive=True)
    if number > 1:
        raise ValueError(f"recall must be at most 1, a share of the exact answers, got {recall!r}")
    return number


def lower_bound(recalls: NDArray[np.float64]) -> float:
    """The lower bound of the mean, at 95 % confidence; the module's text says how."""
    values = np.append(recalls, 0.0)
    return float(values.mean() - _STANDARD_ERRORS * values.std() / math.sqrt(len(values)))


def highest_bound(n_queries: int) -> float:
    """The lower bound if none of so many queries misses anything."""
    return lower_bound(np.ones(n_queries))


def _distances(queries: Queries, centres: NDArray[np.uint8], n_threads: int) -> NDArray[np.int32]:
    if queries.dtype == np.int16:
        return weighted_distances(queries, centres)
    distances = np.empty((len(queries), len(centres)), np.int32)
    scan_distances(queries, centres, distances, n_threads)
    return distances


def largest_distances(queries: Queries) -> tuple[NDArray[np.int64], int]:
    """The largest distance of each query, at least 1, and what it is in a rule."""
    if queries.dtype == np.int16:
        sums = np.abs(queries).sum(axis=1, dtype=np.int64)
        return np.maximum(sums, 1), WEIGHT_UNIT
    n_bits = 8 * queries.shape[1]
    return np.full(len(queries), n_bits), n_bits


def choose_rule(sample: Sample, recall: float) -> Rule | None:
    """The cheapest rule whose lower bound is at least the recall; None if no rule's is."""
    n_lists = sample.centres.shape[1]
    best: tuple[float, bool, int, int, int] | None = None
    for from_nearest, slope in _RULES:
        slack = sample.slack(from_nearest, slope)
        threshold = _smallest_threshold(sample, sample.needed(slack), recall, n_lists)
        if threshold is None:
            continue
        cost, largest = sample.costs(slack, threshold, n_lists)
        if best is None or cost < best[0]:
            best = cost, from_nearest, slope, threshold, largest
    if best is None:
        return None
    _, from_nearest, slope, threshold, largest = best
    slack = sample.slack(from_nearest, slope)
    needed = sample.needed(slack)
    # With a limit, difficult queries cost less, but then the others must reach farther.
    choices: list[tuple[float, int, int]] = []
    most = 1 << (sample.least - 1).bit_length()
    while most < 2 * n_lists:
        at_most = min(most, n_lists)
        limited = _smallest_threshold(sample, needed, recall, at_most)
        if limited is not None:
            cost, _ = sample.costs(slack, limited, at_most)
            choices.append((cost, limited, at_most))
            if at_most >= largest:
                break
        most *= 2
    _, threshold, most = min(choices)
    kth = np.where(sample.is_short, sample.unit, sample.shares(sample.kth))
    bound = 1 + int(np.quantile(kth, _BOUNDED_SHARE, method="higher"))
    return Rule(sample.least, most, from_nearest, slope, threshold, bound)


def _smallest_threshold(
    sample: Sample, needed: NDArray[np.int64], recall: float, most: int
) -> int | None:
    values = np.unique(needed)

    def keeps(threshold: int) -> bool:
        return sample.lower(needed, threshold, most) >= recall

    if not keeps(int(values[-1])):
        return None
    low, high = -1, len(values) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if keeps(int(values[middle])):
            high = middle
        else:
            low = middle
    return int(values[high])
