"""Whether all pairs within a radius are found by a join or a scan, and with which tables.

A join with m tables cuts a code into m substrings. Table j compares the pairs whose substrings
differ in at most (radius - j) // m bits. The more tables, the shorter the substrings, so the fewer
buckets are visited, and the more codes are in a bucket. A sample of the codes tells how many pairs
each number of tables would compare; the cheapest number is used, or a scan if that costs less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core.scan import scan_distances
from .._kernels.multi_index import SUBSTRING_BITS_MAX

__all__ = ["PairPlan", "plan_pairs"]

# Codes of the sample; all their pairs are compared.
_SAMPLE = 1024

# With fewer pairs than this, a scan takes milliseconds.
_FEW_PAIRS = 1 << 24

# Nanoseconds, measured on one core with AVX-512. Levels differ, but their ratios do so less.
# Sorting one word of a code into a table; visiting a bucket, where the bounds of all buckets fit in
# the cache and where they do not, and in addition one that holds codes; a comparison of two words
# there, and in a scan.
_ENTRY, _BUCKET, _FAR_BUCKET, _FILLED, _COMPARED, _SCANNED = 12.0, 2.0, 14.0, 12.0, 0.15, 0.085
_CACHED_BITS = 18

# Buckets for each code, at most: more of them are only empty.
_BUCKETS_PER_CODE = 4
# Substrings are at least this long: with shorter ones, a scan is faster.
_SUBSTRING_BITS_MIN = 6


class PairPlan(NamedTuple):
    """
    How all pairs within a radius are found.

    Attributes
    ----------
    n_tables : int or None
        Number of tables of a join; None for a scan.
    share : float
        Estimate of the share of all pairs that lie within the radius.
    """

    n_tables: int | None
    share: float


def plan_pairs(codes: NDArray[np.uint8], others: NDArray[np.uint8] | None, radius: int) -> PairPlan:
    """
    Choose the number of tables for a join, or a scan.

    Parameters
    ----------
    codes, others : ndarray of uint8
        Two sets of checked codes; None pairs the first set with itself.
    radius : int
        At most the number of bits.
    """
    n_x, n_y = len(codes), len(codes) if others is None else len(others)
    # Pairs within one set are compared once, in one of the two directions.
    n_pairs = n_x * n_y / 2 if others is None else float(n_x * n_y)
    if n_pairs < _FEW_PAIRS:
        return PairPlan(None, 1.0)
    sample_x = _sample(codes)
    sample_y = sample_x if others is None else _sample(others)
    n_bits, n_words = 8 * codes.shape[1], -(-codes.shape[1] // 8)
    share_within = _share_within(sample_x, sample_y, others is None)
    best, least = None, n_pairs * n_words * _SCANNED
    n_entries = n_x if others is None else n_x + n_y
    for n_tables in _numbers_of_tables(n_bits, n_y):
        cost, start = 0.0, 0
        for j, length in enumerate(_lengths(n_bits, n_tables)[: radius + 1]):
            flips = min((radius - j) // n_tables, length)
            n_masks = sum(comb(length, a) for a in range(flips + 1))
            # Some bits may tell codes apart less than others, for example bits that are always 0.
            equal = _share_equal(sample_x, sample_y, start, length, others is None)
            skew = max(1.0, equal / max(share_within(length, 0), len(sample_x) ** -2))
            near = share_within(length, flips) * skew
            near = min(1.0, max(near, n_masks / 2**length))
            visits = n_pairs / n_y * n_masks
            cost += n_entries * n_words * _ENTRY
            cost += visits * (_BUCKET if length <= _CACHED_BITS else _FAR_BUCKET)
            cost += visits * min(1.0, n_y / 2**length) * _FILLED
            cost += n_pairs * near * n_words * _COMPARED
            start += length
            if cost >= least:
                break
        else:
            best, least = n_tables, cost
    return PairPlan(best, share_within(n_bits, radius))


def _sample(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes at random rows, the same for the same number of codes."""
    if len(codes) <= _SAMPLE:
        return codes
    rows = np.random.default_rng(0).choice(len(codes), _SAMPLE, replace=False, shuffle=False)
    return codes[rows]


def _numbers_of_tables(n_bits: int, n: int) -> Iterator[int]:
    """Numbers of tables, one for each length of their longest substring, ascending."""
    longest = min(SUBSTRING_BITS_MAX, n_bits, (_BUCKETS_PER_CODE * n).bit_length())
    before = 0
    for length in range(longest, min(_SUBSTRING_BITS_MIN, n_bits) - 1, -1):
        n_tables = -(-n_bits // length)
        if n_tables > before:
            yield n_tables
        before = n_tables


def _lengths(n_bits: int, n_tables: int) -> list[int]:
    """The lengths of the substrings, in the order of the tables; see `fh_table_of`."""
    length, n_longer = divmod(n_bits, n_tables)
    return [length + (j < n_longer) for j in range(n_tables)]


def _share_within(
    x: NDArray[np.uint8], y: NDArray[np.uint8], is_same: bool
) -> Callable[[int, int], float]:
    """
    Make a function of (length, flips): the share of pairs that a table of this length compares.

    These are the pairs whose substrings differ in at most `flips` bits. Which bits of a pair differ
    is taken as random, so their number in a substring has a hypergeometric distribution.
    """
    found = np.empty((len(x), len(y)), np.int32)
    scan_distances(x, y, found, 1)
    counts = np.bincount(found.ravel())
    if is_same:
        counts[0] -= len(x)
    distances = np.flatnonzero(counts).tolist()
    shares = (counts[distances] / counts.sum()).tolist()
    n_bits = 8 * x.shape[1]

    @cache
    def share(length: int, flips: int) -> float:
        n_ways = comb(n_bits, length)
        total = 0.0
        for d, share_of_d in zip(distances, shares, strict=True):
            # At most n_bits - d of the bits of the substring are equal.
            numbers = range(max(0, length - (n_bits - d)), min(flips, d) + 1)
            ways = sum(comb(d, a) * comb(n_bits - d, length - a) for a in numbers)
            # A quotient of integers, because they may be too large for a float.
            total += share_of_d * (ways / n_ways)
        return total

    return share


def _share_equal(
    x: NDArray[np.uint8], y: NDArray[np.uint8], start: int, length: int, is_same: bool
) -> float:
    """The share of the pairs of a sample that are equal in the bits [start, start + length)."""
    values, places = np.unique(
        np.concatenate([_substrings(codes, start, length) for codes in (x, y)]), return_inverse=True
    )
    counts = [np.bincount(some, minlength=len(values)) for some in np.split(places, [len(x)])]
    n_equal = int(counts[0] @ counts[1])
    return (n_equal - len(x)) / (len(x) * (len(x) - 1)) if is_same else n_equal / (len(x) * len(y))


def _substrings(codes: NDArray[np.uint8], start: int, length: int) -> NDArray[np.int64]:
    """The bits [start, start + length) of each code, as numbers."""
    bits = np.unpackbits(codes[:, start // 8 : (start + length + 7) // 8], axis=1)
    first = start % 8
    numbers: NDArray[np.int64] = bits[:, first : first + length] @ (1 << np.arange(length))
    return numbers
