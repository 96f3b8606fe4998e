"""Rules for ties: their names, and the means over all orders of equal distances.

A tie is a group of items at one distance from a query. Some of them are relevant to it.

- ``average_precision``, ``ranking`` (in `_hits_at`) and ``graded`` apply `RULES_FOR_RANKINGS`.
- ``pairs`` applies `RULES_FOR_PAIRS`: in `_FirstHits` for recall and ranks, and in
  `_average_precision`.

A new rule is named here and computed there. `experiments.compare` passes the name of a rule on to
``ranking``. ``commands/evaluate.py`` repeats the names in the choices of ``--ties``: with an import
of this module, every command would start a tenth of a second later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._core.pieces import BLOCK_BYTES, cut

__all__ = [
    "RULES_FOR_PAIRS",
    "RULES_FOR_RANKINGS",
    "Ties",
    "chance_of_a_hit",
    "counts_before",
    "expected_precision_means",
    "expected_precision_sums",
    "expected_precisions",
    "harmonic_numbers",
]

# The first one is the default everywhere.
RULES_FOR_RANKINGS = ("expected", "database")
RULES_FOR_PAIRS = ("expected", "middle", "database")


def harmonic_numbers(n: int) -> NDArray[np.longdouble]:
    """Compute 1 + 1/2 + … + 1/i for i from 0 to n."""
    harmonic = np.zeros(n + 1, np.longdouble)
    for some in cut(n, harmonic.itemsize, BLOCK_BYTES):
        reciprocals = 1 / np.arange(some.start, some.stop + 1, dtype=np.longdouble).clip(1)
        reciprocals[0] = harmonic[some.start]
        np.cumsum(reciprocals, out=harmonic[some.start : some.stop + 1])
    return harmonic


@dataclass(frozen=True)
class Ties:
    """
    Counts of the ties of some queries, the nearest tie first; shape (n_queries, n_ties).

    Attributes
    ----------
    totals, relevant : ndarray of int64
        How many items, and relevant ones, are in the tie. A tie may be empty.
    gains : ndarray of int64
        The sum of the gains of its relevant items; other items have none. Where each gain is 1,
        these are the counts in `relevant`.
    """

    totals: NDArray[np.int64]
    relevant: NDArray[np.int64]
    gains: NDArray[np.int64]


def expected_precisions(
    before: NDArray[np.int64],
    gains_before: NDArray[np.int64],
    ties: Ties,
    depth: NDArray[np.int64] | int,
    harmonic: NDArray[np.longdouble],
) -> NDArray[np.float64]:
    """
    Compute for every tie the expected sum of the precisions at its relevant ranks.

    Where items have gains, the precision at a rank is the sum of the gains up to it, divided by the
    rank.

    Parameters
    ----------
    before, gains_before : ndarray of int64
        How many items are nearer to the query than the tie, and the sum of their gains.
    ties : Ties
    depth : ndarray of int64, or int
        Only ranks up to this one count.
    harmonic : ndarray
        `harmonic_numbers` of at least the largest rank in a tie.

    Notes
    -----
    N items are nearer than a tie, with gains G. The tie has t items, r of them relevant, with gains
    S. The item at position i of the tie is relevant with the probability r / t. The mean of its
    gain is S / t. If it is relevant, the mean gain of the items before it in the tie is (i - 1) ρ
    S / r, with ρ = (r - 1) / (t - 1) (McSherry and Najork 2008, for gains of 1). So the mean
    precision at rank N + i, counted as 0 where the item is not relevant, is
    (G r / t + S / t + (i - 1) ρ S / t) / (N + i). Its sum over i is a difference of harmonic
    numbers.
    """
    totals, relevant = ties.totals, ties.relevant
    n_counted = np.clip(depth - before, 0, totals)
    difference = (harmonic[before + n_counted] - harmonic[before]).astype(np.float64)
    size = np.maximum(totals, 1)
    rho = np.maximum(relevant - 1, 0) / np.maximum(totals - 1, 1)
    ranks_sum = n_counted - (before + 1) * difference
    of_gains_before = relevant / size * gains_before * difference
    sums: NDArray[np.float64] = of_gains_before + ties.gains / size * (difference + rho * ranks_sum)
    return sums


def expected_precision_sums(
    ties: Ties, depth: NDArray[np.int64], harmonic: NDArray[np.longdouble]
) -> NDArray[np.float64]:
    """Compute for every query the expected sum of the precisions at the relevant ranks."""
    before, gains_before = counts_before(ties.totals), counts_before(ties.gains)
    return expected_precisions(before, gains_before, ties, depth[:, None], harmonic).sum(axis=1)


def expected_precision_means(
    ties: Ties, depth: NDArray[np.int64], harmonic: NDArray[np.longdouble]
) -> NDArray[np.float64]:
    """
    Compute the expectation of the sum of precisions, divided by the number of relevant items found.

    The parameters are those of `expected_precision_sums`. 0 where nothing is found.

    Notes
    -----
    Only the tie that the depth cuts makes the number of items found random. Let c of its t items be
    within the depth. The number k of relevant ones among them has a hypergeometric distribution.
    Given k, the formula of `expected_precisions` holds for a tie of c items, k of them
    relevant, with gains k S / r. So the expectation is a sum over k of at most min(c, r) + 1 terms.
    """
    ends = ties.totals.cumsum(axis=1)
    # The tie that holds the rank of the depth, or the last one.
    cut = np.minimum((ends < depth[:, None]).sum(axis=1), ends.shape[1] - 1)
    rows = np.arange(len(cut))
    before = ends[rows, cut] - ties.totals[rows, cut]
    whole = expected_precision_sums(ties, np.minimum(before, depth), harmonic)
    relevant_before = counts_before(ties.relevant)[rows, cut]
    gains_before = counts_before(ties.gains)[rows, cut]
    means = np.zeros(len(cut))
    for q in range(len(cut)):
        n_tied, n_hits = int(ties.totals[q, cut[q]]), int(ties.relevant[q, cut[q]])
        n_counted = min(max(int(depth[q] - before[q]), 0), n_tied)
        found, chances = _hypergeometric(n_tied, n_hits, n_counted)
        start = int(before[q])
        difference = float(harmonic[start + n_counted] - harmonic[start])
        ranks_sum = n_counted - (start + 1) * difference
        gain = ties.gains[q, cut[q]] / max(n_hits, 1)
        following = difference + (found - 1) / max(n_counted - 1, 1) * ranks_sum
        of_tie = found / max(n_counted, 1) * (gains_before[q] * difference + gain * following)
        n_found = relevant_before[q] + found
        means[q] = (chances * (whole[q] + of_tie) / np.maximum(n_found, 1)).sum()
    return means


def _hypergeometric(
    n_items: int, n_relevant: int, n_drawn: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The possible numbers of relevant items among those drawn, and their probabilities."""
    fewest, most = max(0, n_drawn + n_relevant - n_items), min(n_drawn, n_relevant)
    found = np.arange(fewest, most + 1)
    # From the most probable number, products of ratios of neighbours do not overflow.
    k = found[:-1].astype(np.float64)
    ratios = (n_relevant - k) * (n_drawn - k)
    ratios /= (k + 1) * (n_items - n_relevant - n_drawn + k + 1)
    mode = int((ratios >= 1).sum())
    upwards = np.cumprod(ratios[mode:])
    downwards = np.cumprod(1 / ratios[:mode][::-1])[::-1]
    chances = np.concatenate([downwards, [1.0], upwards])
    return found, chances / chances.sum()


def counts_before(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of items that are nearer than each tie."""
    before = counts.cumsum(axis=1)
    before -= counts
    return before


def chance_of_a_hit(
    totals: NDArray[np.int64], relevant: NDArray[np.int64], n_seen: NDArray[np.int64]
) -> NDArray[np.float64]:
    """
    Compute the probability that one of the first `n_seen` items of a tie is relevant.

    Parameters
    ----------
    totals, relevant, n_seen : ndarray of int64, shape (n,)
        `n_seen` may be negative, which means 0, or larger than the tie.

    Notes
    -----
    For the first j of t items, r of them relevant, it is 1 - C(t - r, j) / C(t, j). The quotient is
    a product of j factors (t - r - i) / (t - i), and also of r factors (t - j - i) / (t - i); the
    shorter product is computed. The quotient is exactly 0 where a hit is certain.
    """
    seen = np.clip(n_seen, 0, totals)
    more, fewer = np.maximum(seen, relevant), np.minimum(seen, relevant)
    none = np.ones(len(totals))
    for i in range(int(fewer.max(initial=0))):
        factor = np.maximum(totals - more - i, 0) / np.maximum(totals - i, 1)
        np.multiply(none, factor, out=none, where=i < fewer)
    return 1 - none
