"""Codes and labels of an evaluation, and how many relevant codes lie at each distance.

Labels become bit masks, relevant means sharing a bit. The kernels count per distance, or note where
the relevant codes stand in database order; nothing of size queries x database is held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.pieces import blocks_of, cut, cut_unequal
from .._core.runtime import resolve_threads
from .._core.scan import pace_of_rows
from .._core.validation import check_labels
from .._kernels import ranking as _kernels
from ..codes import check_codes, check_same_width

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["EvaluationProblem", "check_problem", "counts_before"]

# The kernels note ranks in int32.
_MAX_CODES = 2**31 - 1

# Counts of one chunk of queries stay near this many values.
_CHUNK_VALUES = 1 << 20

# Scratch per thread for what is noted of relevant codes, unless one query alone needs more.
_SCRATCH_BYTES = 1 << 23

# Notes of a query that are summed up in one call: a tenth of a second.
_SUMMED_NOTES = 1 << 24


@dataclass(frozen=True)
class EvaluationProblem:
    """Validated codes and label masks, and the two kernels over them."""

    query_codes: NDArray[np.uint8]
    database_codes: NDArray[np.uint8]
    query_labels: NDArray[np.uint64]
    database_labels: NDArray[np.uint64]
    # At most so many codes are relevant to each query: a code counts once per shared label.
    most_relevant: NDArray[np.int64]
    # The queries, those with the same labels side by side: they share a list of what is relevant.
    order: NDArray[np.int64]
    n_threads: int

    @property
    def n(self) -> int:
        return len(self.database_codes)

    @property
    def n_distances(self) -> int:
        return 8 * self.query_codes.shape[1] + 1

    def counts(
        self,
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
        """Chunks of (queries, codes per distance, relevant codes per distance)."""
        for some in cut(len(self.order), self.n_distances, _CHUNK_VALUES):
            queries = self.order[some]
            _, totals, relevant = self._counted(queries, None, None)
            yield queries, totals, relevant

    def _counted(
        self,
        queries: NDArray[np.int64],
        note_starts: NDArray[np.int64] | None,
        notes: NDArray[np.int32] | None,
    ) -> tuple[_kernels.Ranks, NDArray[np.int64], NDArray[np.int64]]:
        """(all rows counted for some queries, codes per distance, relevant codes per distance)."""
        totals = np.zeros((len(queries), self.n_distances), np.int64)
        relevant = np.zeros_like(totals)
        ranks = _kernels.Ranks(
            self.query_codes[queries],
            self.database_codes,
            self.query_labels[queries],
            self.database_labels,
            totals,
            relevant,
            note_starts,
            notes,
            self.n_threads,
        )
        pace_of_rows(self.n, len(queries), self.database_codes).drive(ranks.advance)
        return ranks, totals, relevant

    def ranked(
        self, at: int, ranks: NDArray[np.int64]
    ) -> Iterator[
        tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]
    ]:
        """
        Chunks of (queries, number relevant, precision sums, hits), in database order.

        Precisions are summed over the relevant ranks up to `at`; hits are counted within each of
        the ascending `ranks`.
        """
        largest = ranks[-1] if len(ranks) else 0
        bin_of_rank = np.searchsorted(ranks, np.arange(largest + 1)).astype(np.int32)
        # The notes on the relevant codes of a chunk of queries stay within the scratch.
        sizes = 8 * self.most_relevant[self.order] + 16 * self.n_distances
        blocks = cut_unequal(sizes.tolist(), _SCRATCH_BYTES * self.n_threads)
        chunks = [self.order[some] for some in blocks]
        # For all chunks: fresh memory costs more than what is noted in it. One more than needed, so
        # that there is a first one.
        most = max(int(self.most_relevant[queries].sum()) for queries in chunks)
        notes = np.empty((most + 1, 2), np.int32)
        for queries in chunks:
            note_starts = np.concatenate([[0], self.most_relevant[queries].cumsum()])
            counted, _, _ = self._counted(queries, note_starts, notes)
            n_relevant, sums = counted.n_relevant, np.zeros(len(queries))
            hits = np.zeros((len(queries), max(1, len(ranks))), np.int64)
            for first in range(0, int(n_relevant.max()), _SUMMED_NOTES):
                counted.sum_precisions(first, _SUMMED_NOTES, at, bin_of_rank, sums, hits)
            yield queries, n_relevant, sums, hits.cumsum(axis=1)


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
    if len(database) > _MAX_CODES:
        raise ValueError(f"database_codes has {len(database)} rows; the limit is {_MAX_CODES}")
    labels = check_labels(
        {"query_labels": query_labels, "database_labels": database_labels},
        {"query_labels": len(queries), "database_labels": len(database)},
        argument="{}",
    )
    query_labels, database_labels = labels["query_labels"], labels["database_labels"]
    per_label = np.bincount(database_labels.indices, minlength=database_labels.shape[1])
    query_masks = _label_masks(query_labels)
    return EvaluationProblem(
        queries,
        database,
        query_masks,
        _label_masks(database_labels),
        np.minimum(query_labels @ per_label, len(database)).astype(np.int64),
        np.lexsort(query_masks.T),
        resolve_threads(n_threads),
    )


def _label_masks(labels: csr_array) -> NDArray[np.uint64]:
    """Labels as bits, 64 classes to a word: sharing one is a single AND."""
    from scipy.sparse import csr_array

    n, n_classes = labels.shape
    masks = np.empty((n, max(1, (n_classes + 63) // 64)), np.uint64)
    for some in blocks_of(masks):
        ends = labels.indptr[some.start : some.stop + 1]
        indices = labels.indices[ends[0] : ends[-1]]
        bits = np.uint64(1) << (indices % 64).astype(np.uint64)
        # A row's labels differ, so the sum that scipy makes of those in one word joins their bits.
        words = csr_array((bits, indices // 64, ends - ends[0]), masks[some].shape)
        masks[some] = words.toarray()
    return masks


def counts_before(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many are closer than each distance."""
    before = counts.cumsum(axis=1)
    before -= counts
    return before
