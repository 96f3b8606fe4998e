"""Codes and labels of an evaluation, and how many relevant codes lie at each distance.

Labels become bit masks, relevant means sharing a bit. The kernels count per distance or walk the
ranking; nothing of size queries x database is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._kernels import ranking as _kernels
from .codes import check_codes, check_same_width
from .runtime import resolve_threads
from .validation import check_labels

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["EvaluationProblem", "check_problem", "counts_before"]

# Counts of one chunk of queries stay near this many values.
_CHUNK_VALUES = 1 << 20


@dataclass(frozen=True)
class EvaluationProblem:
    """Validated codes and label masks, and the two kernels over them."""

    query_codes: NDArray[np.uint8]
    database_codes: NDArray[np.uint8]
    query_labels: NDArray[np.uint64]
    database_labels: NDArray[np.uint64]
    n_threads: int

    @property
    def n(self) -> int:
        return len(self.database_codes)

    @property
    def n_distances(self) -> int:
        return 8 * self.query_codes.shape[1] + 1

    def counts(self) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.int64]]]:
        """Chunks of (queries, codes per distance, relevant codes per distance)."""
        step = max(1, _CHUNK_VALUES // self.n_distances)
        for start in range(0, len(self.query_codes), step):
            queries = slice(start, start + step)
            codes = self.query_codes[queries]
            totals = np.zeros((len(codes), self.n_distances), np.int64)
            relevant = np.zeros_like(totals)
            _kernels.counts_per_distance(
                codes,
                self.database_codes,
                self.query_labels[queries],
                self.database_labels,
                totals,
                relevant,
                self.n_threads,
            )
            yield queries, totals, relevant

    def walk(
        self, queries: slice, totals: NDArray, relevant: NDArray, at: int, ranks: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Precision sums up to `at`, and hits within the ascending ranks, in database order."""
        codes = self.query_codes[queries]
        sums = np.zeros(len(codes))
        hits = np.zeros((len(codes), len(ranks)), np.int64)
        bin_of_position = np.searchsorted(ranks, np.arange(ranks[-1] + 1)).astype(np.int32)
        _kernels.walk_in_database_order(
            codes,
            self.database_codes,
            self.query_labels[queries],
            self.database_labels,
            counts_before(totals),
            counts_before(relevant),
            at,
            bin_of_position,
            sums,
            hits,
            self.n_threads,
        )
        return sums, hits.cumsum(axis=1)


def check_problem(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    n_threads: int | None,
    n_bits: int | None = None,
) -> EvaluationProblem:
    """
    Validate codes and labels of an evaluation.

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit each other, or one side is empty.
    """
    queries = check_codes(query_codes, "query_codes", n_bits)
    database = check_codes(database_codes, "database_codes", n_bits)
    check_same_width(queries, "query_codes", database, "database_codes")
    if len(queries) == 0 or len(database) == 0:
        empty = "query_codes" if len(queries) == 0 else "database_codes"
        raise ValueError(f"{empty} is empty: there is nothing to measure")
    labels = check_labels(
        {"query_labels": query_labels, "database_labels": database_labels},
        {"query_labels": len(queries), "database_labels": len(database)},
        argument="{}",
    )
    return EvaluationProblem(
        queries,
        database,
        _label_masks(labels["query_labels"]),
        _label_masks(labels["database_labels"]),
        resolve_threads(n_threads),
    )


def _label_masks(labels: csr_array) -> NDArray[np.uint64]:
    """Labels as bits, 64 classes to a word: sharing one is a single AND."""
    n, n_classes = labels.shape
    masks = np.zeros((n, max(1, (n_classes + 63) // 64)), np.uint64)
    rows = np.repeat(np.arange(n), np.diff(labels.indptr))
    bits = np.uint64(1) << (labels.indices % 64).astype(np.uint64)
    np.bitwise_or.at(masks, (rows, labels.indices // 64), bits)
    return masks


def counts_before(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many are closer than each distance."""
    before = counts.cumsum(axis=1)
    before -= counts
    return before
