"""Rankings by weighted scores: `WeightedProblem` sorts the codes for some queries at a time.

Scores are compared as the integers that the kernels add up, so that equal scores are equal. Nothing
of size queries x database is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.excluded import drop_own
from .._core.pieces import cut
from .._core.scan import scan_weighted
from .._core.validation import check_flag
from .._core.weights import RoundedWeights, check_weights, round_weights
from ..codes import check_codes
from ._relevance import (
    Counts,
    GradedCounts,
    LabelledCodes,
    Ranked,
    check_problem,
    check_relevance,
)

__all__ = ["WeightedProblem", "check_ranking"]

# Number of sorted codes, of all queries of a chunk.
_CHUNK_VALUES = 1 << 20


@dataclass(frozen=True)
class WeightedProblem(LabelledCodes):
    """Codes are ranked by the weights of the bits in which they differ from the query."""

    weights: RoundedWeights
    n_bits: int

    @property
    def n_radii(self) -> int:
        return self.n_bits + 1

    def counts(self) -> Iterator[Counts]:
        """Chunks of counts per group of equal scores."""
        return self._counts(_groups_of_ties)

    def radius_counts(self) -> Iterator[Counts]:
        """
        Chunks of counts per radius.

        Within radius r are the codes whose differing bits have at most the share r / n_bits of all
        absolute weights. With equal weights this is the Hamming radius.
        """
        totals = np.abs(self.weights.values).sum(axis=1, dtype=np.int64)

        def radii(distances: NDArray[np.int32], queries: NDArray[np.int64]) -> NDArray[np.int64]:
            # Rounded up. If all weights are 0, all distances are.
            shares = -distances.astype(np.int64) * self.n_bits
            return -(shares // np.maximum(totals[queries, None], 1))

        return self._counts(radii)

    def graded_counts(self) -> Iterator[GradedCounts]:
        """Chunks of counts per group of equal scores, for each level."""
        for queries, distances, levels in self._sorted(graded=True):
            totals, *relevant = _counted(_groups_of_ties(distances, queries), levels, self.n_radii)
            yield queries, totals, relevant

    def ranked(self, depth: NDArray[np.int64], ranks: NDArray[np.int64]) -> Iterator[Ranked]:
        """Rank by sorting; see the base."""
        places = np.arange(1, self.n + 1)
        for queries, _, (relevance,) in self._sorted():
            found = relevance.cumsum(axis=1)
            is_counted = relevance & (places <= depth[queries, None])
            sums = np.where(is_counted, found / places, 0.0).sum(axis=1)
            hits = found[:, ranks - 1] if len(ranks) else np.zeros((len(queries), 1), np.int64)
            yield Ranked(queries, found[:, -1], sums, is_counted.sum(axis=1), hits)

    def _counts(
        self, bins_of: Callable[[NDArray[np.int32], NDArray[np.int64]], NDArray[np.int64]]
    ) -> Iterator[Counts]:
        """Count codes in bins that are computed from sorted distances and queries."""
        for queries, distances, levels in self._sorted():
            bins = bins_of(distances, queries)
            totals, relevant = _counted(bins, levels, self.n_radii)
            yield queries, totals, relevant

    def sorted_rows(
        self, queries: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Sort by weights; see the base."""
        found = scan_weighted(
            *(self.weights.values[queries], self.database_codes, len(self.database_codes)),
            self.n_threads,
        )
        return drop_own(*found, queries) if self.exclude_self else found

    def _sorted(
        self, graded: bool = False
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32], list[NDArray[np.bool_]]]]:
        """Chunks of (queries, distances of all codes, relevance by level), by (distance, row)."""
        for group in self.groups(graded):
            size = self.n * len(group.levels)
            for some in cut(len(group.queries), size, _CHUNK_VALUES):
                queries = group.queries[some]
                distances, rows = self.sorted_rows(queries)
                shared = [bits[:, 0][rows] & group.query_bits[some] for bits in group.levels]
                yield queries, distances, [bits != 0 for bits in shared]


def _counted(
    bins: NDArray[np.int64], levels: list[NDArray[np.bool_]], n_least: int
) -> list[NDArray[np.int64]]:
    """Count all codes, and those of each level, in at least `n_least` bins for each query."""
    n_bins = max(int(bins.max()) + 1, n_least)
    bins = bins + n_bins * np.arange(len(bins))[:, None]
    return [
        np.bincount(some, minlength=n_bins * len(bins)).reshape(-1, n_bins)
        for some in (bins.reshape(-1), *(bins[relevance] for relevance in levels))
    ]


def _groups_of_ties(distances: NDArray[np.int32], queries: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the groups of equal distances."""
    numbers = np.zeros(distances.shape, np.int64)
    np.cumsum(distances[:, 1:] != distances[:, :-1], axis=1, out=numbers[:, 1:])
    return numbers


def check_ranking(
    query_codes: ArrayLike | None,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    weights: ArrayLike | None,
    n_threads: int | None,
    n_bits: int | None = None,
    exclude_self: bool = False,
) -> LabelledCodes:
    """
    Check an evaluation of query codes or of weights.

    Raises
    ------
    TypeError, ValueError
        If not exactly one of the two is given, or something does not fit.
    """
    if (query_codes is None) == (weights is None):
        given = "neither" if weights is None else "both"
        raise TypeError(f"pass either query_codes, or None and weights=...; got {given}")
    if weights is None:
        assert query_codes is not None
        labels = query_labels, database_labels
        return check_problem(query_codes, database_codes, *labels, n_threads, n_bits, exclude_self)
    values = check_weights(weights, n_bits)
    database = check_codes(database_codes, "database_codes", values.shape[1])
    if check_flag(exclude_self, "exclude_self") and len(values) != len(database):
        raise ValueError(
            "exclude_self=True is for a search of a set against itself, but weights has "
            f"{len(values)} rows and database_codes has {len(database)}"
        )
    checked = check_relevance(
        *("weights", len(values), database, query_labels, database_labels, n_threads),
        exclude_self=bool(exclude_self),
    )
    return WeightedProblem(**checked, weights=round_weights(values), n_bits=values.shape[1])
