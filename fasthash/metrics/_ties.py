"""Rules for ties: their names, and the means over all orders of equal distances.

A tie is a group of items at one distance from a query. Some of them are relevant to it.

- ``ranking`` applies `RULES_FOR_RANKINGS`: in `average_precision`, and in `_hits_at` for precision
  and recall.
- ``pairs`` applies `RULES_FOR_PAIRS`: in `_FirstHits` for recall and ranks, and in
  `_average_precision`.

A new rule is named here and computed there. `experiments.compare` passes the name of a rule on to
``ranking``. ``commands/evaluate.py`` repeats the names in the choices of ``--ties``: with an import
of this module, every command would start a tenth of a second later.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.pieces import BLOCK_BYTES, cut

__all__ = [
    "RULES_FOR_PAIRS",
    "RULES_FOR_RANKINGS",
    "chance_of_a_hit",
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


def expected_precisions(
    before: NDArray[Any],
    relevant_before: NDArray[Any],
    totals: NDArray[Any],
    relevant: NDArray[Any],
    at: int,
    harmonic: NDArray[np.longdouble],
) -> NDArray[np.float64]:
    """
    Compute for every tie the expected sum of the precisions at its relevant ranks.

    Parameters
    ----------
    before, relevant_before : ndarray of int64
        How many items, and relevant ones, are nearer to the query than the tie.
    totals, relevant : ndarray of int64
        How many items, and relevant ones, are in the tie.
    at : int
        Only ranks up to this one count.
    harmonic : ndarray
        `harmonic_numbers` of at least the largest rank in a tie.

    Notes
    -----
    N items are nearer than the tie, R of them relevant. The tie has t items, r of them relevant.
    The item at position i of the tie is relevant with the probability r / t. If it is, the mean
    number of relevant items before it in the tie is (i - 1)(r - 1) / (t - 1) (McSherry and Najork
    2008). The sum over i of (R + 1 + (i - 1) ρ) / (N + i), with ρ = (r - 1) / (t - 1), is a
    difference of harmonic numbers.
    """
    n_counted = np.clip(at - before, 0, totals)
    difference = (harmonic[before + n_counted] - harmonic[before]).astype(np.float64)
    share = relevant / np.maximum(totals, 1)
    rho = np.maximum(relevant - 1, 0) / np.maximum(totals - 1, 1)
    ranks_sum = n_counted - (before + 1) * difference
    precisions: NDArray[np.float64] = share * ((relevant_before + 1) * difference + rho * ranks_sum)
    return precisions


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
