"""Codes and labels of an evaluation, and the number of relevant codes at each distance.

A code is relevant to a query if they share a label. All queries with the same labels get one bit
number, and the codes that are relevant to them have this bit set. The kernels count codes per
distance, or note the positions of the relevant codes in database order. Nothing of size queries x
database is held.

Graded relevance is the number of shared labels. It is counted level by level: the codes of level g
share at least g labels with the query, so a code of grade 3 is in the levels 1, 2 and 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.excluded import check_exclude_self, check_same_labels, drop_own
from .._core.labels import check_labels
from .._core.pieces import BLOCK_BYTES, cut, cut_unequal
from .._core.runtime import resolve_threads
from .._core.scan import pace_of_rows, scan_topk
from .._kernels import ranking as _kernels
from ..codes import check_codes, check_same_width

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "Counts",
    "EvaluationProblem",
    "GradedCounts",
    "Group",
    "HammingProblem",
    "LabelledCodes",
    "Ranked",
    "check_problem",
    "check_relevance",
]

# The kernels note ranks in int32.
_MAX_CODES = 2**31 - 1

# Counts of one chunk of queries stay near this many values.
_CHUNK_VALUES = 1 << 20

# Scratch per thread for the notes on relevant codes, unless one query alone needs more.
_SCRATCH_BYTES = 1 << 23

# Notes of a query that are summed in one call, which takes a tenth of a second.
_SUMMED_NOTES = 1 << 24


# (queries, all codes per bin, relevant codes per bin); nearer bins come first.
Counts = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
# The same, with an array of relevant codes per bin for each level of relevance.
GradedCounts = tuple[NDArray[np.int64], NDArray[np.int64], list[NDArray[np.int64]]]


class Ranked(NamedTuple):
    """What `EvaluationProblem.ranked` finds for a chunk of queries."""

    queries: NDArray[np.int64]
    n_relevant: NDArray[np.int64]
    # Sums of precisions, and numbers of relevant codes, within the depth of each query.
    sums: NDArray[np.float64]
    n_within: NDArray[np.int64]
    # A column for each rank.
    hits: NDArray[np.int64]


class EvaluationProblem:
    """What measures ask of the codes that are ranked for each query; a subclass answers."""

    @property
    def n(self) -> int:
        """Number of codes that a query is compared with."""
        raise NotImplementedError

    @property
    def n_queries(self) -> int:
        raise NotImplementedError

    @property
    def n_radii(self) -> int:
        """Number of radii of a precision-recall curve, from 0 on."""
        raise NotImplementedError

    def counts(self) -> Iterator[Counts]:
        """Chunks of counts, with a bin for each group of codes that tie; bins may be empty."""
        raise NotImplementedError

    def radius_counts(self) -> Iterator[Counts]:
        """Chunks of counts, with a bin for each radius: the codes that no smaller radius holds."""
        raise NotImplementedError

    def graded_counts(self) -> Iterator[GradedCounts]:
        """Chunks of counts as those of `counts`, with relevant codes for each level."""
        raise NotImplementedError

    def ranked(self, depth: NDArray[np.int64], ranks: NDArray[np.int64]) -> Iterator[Ranked]:
        """
        Rank in database order within ties, chunk by chunk.

        Precisions are summed over the ranks of relevant codes up to the `depth` of each query. Hits
        are counted within each of the ascending `ranks`.
        """
        raise NotImplementedError

    def graded_rankings(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Chunks of (queries, grades of all codes by rank), in database order within ties."""
        raise NotImplementedError

    def n_within(self, radius: int) -> NDArray[np.int64]:
        """Count the codes within a radius of each query."""
        found = np.empty(self.n_queries, np.int64)
        for queries, totals, _ in self.radius_counts():
            found[queries] = totals[:, : radius + 1].sum(axis=1)
        return found

    def n_relevant(self) -> NDArray[np.int64]:
        """Count the codes that are relevant to each query."""
        raise NotImplementedError


@dataclass(frozen=True)
class LabelledCodes(EvaluationProblem):
    """Checked codes and labels; a subclass ranks the codes for each query."""

    database_codes: NDArray[np.uint8]
    query_labels: csr_array
    database_labels: csr_array
    # Upper bound of the codes relevant to each query: it counts a code once per shared label.
    most_relevant: NDArray[np.int64]
    # Equal for queries with the same labels.
    label_set: NDArray[np.int64]
    # Whether query i leaves out row i of the database.
    exclude_self: bool
    n_threads: int

    @property
    def n(self) -> int:
        return len(self.database_codes) - self.exclude_self

    @property
    def n_queries(self) -> int:
        return len(self.label_set)

    def sorted_rows(
        self, queries: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Distances and rows of all codes, by (distance, row), for each of the queries."""
        raise NotImplementedError

    def graded_rankings(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Sort all codes for each query; see the base."""
        for group in self.groups(graded=True):
            for some in cut(len(group.queries), self.n, _CHUNK_VALUES):
                _, rows = self.sorted_rows(group.queries[some])
                grades = np.zeros(rows.shape, np.int64)
                for bits in group.levels:
                    grades += (bits[:, 0][rows] & group.query_bits[some]) != 0
                yield group.queries[some], grades

    def n_relevant(self) -> NDArray[np.int64]:
        """Count the codes that are relevant to each query, without a scan of the codes."""
        if np.diff(self.database_labels.indptr).max(initial=0) <= 1:
            found = self.most_relevant.copy()
        else:
            found = np.empty(self.n_queries, np.int64)
            for group in self.groups():
                of_bit = _bit_counts(group.levels[0])
                bits = np.log2(group.query_bits[:, 0].astype(np.float64)).astype(np.int64)
                found[group.queries] = of_bit[bits]
        return found - (self.exclude_self & (found > 0))

    def groups(self, graded: bool = False) -> Iterator[Group]:
        """
        Cut the queries into groups with at most 64 different sets of labels; each set gets a bit.

        A code has the bits of all sets with which it shares a label: for each class, the bits of
        the sets that contain it, joined over the classes of the code. Costs O(labels of the
        database) per group, and 8 bytes per code and per class, for any number of classes. If
        `graded`, there are bits for each level, which takes a sparse product of the labels.
        """
        # Sets with few labels come first, so that few groups need many levels.
        n_labels = np.diff(self.query_labels.indptr)
        order = np.lexsort((self.label_set, n_labels))
        sets = self.label_set[order]
        is_new = np.ones(len(sets), bool)
        np.not_equal(sets[1:], sets[:-1], out=is_new[1:])
        number = is_new.cumsum() - 1
        ends = np.searchsorted(number, np.arange(0, number[-1] + 65, 64))
        of_class = np.zeros(self.query_labels.shape[1], np.uint64)
        for start, end in pairwise(ends):
            queries = order[start:end]
            bits = np.uint64(1) << (number[start:end] % 64).astype(np.uint64)
            firsts = np.flatnonzero(is_new[start:end])
            if graded:
                levels = _levels(self.query_labels[queries[firsts]], self.database_labels)
                # The k-th set has bit k of its group, as below.
                yield Group(queries, bits[:, None], levels)
                continue
            held = [_labels_of(self.query_labels, queries[first]) for first in firsts]
            for first, classes in zip(firsts, held, strict=True):
                of_class[classes] |= bits[first]
            yield Group(queries, bits[:, None], [_joined(of_class, self.database_labels)])
            for classes in held:
                of_class[classes] = 0


@dataclass(frozen=True)
class HammingProblem(LabelledCodes):
    """Codes are ranked by Hamming distance, and two kernels count them."""

    query_codes: NDArray[np.uint8]

    @property
    def n_distances(self) -> int:
        return 8 * self.query_codes.shape[1] + 1

    n_radii = n_distances

    def counts(self) -> Iterator[Counts]:
        """Chunks of counts per distance."""
        for group in self.groups():
            for some in cut(len(group.queries), self.n_distances, _CHUNK_VALUES):
                _, totals, relevant = self._counted(group, some, None, None)
                # Own codes are counted in one more column.
                kept = slice(self.n_distances)
                yield group.queries[some], totals[:, kept], relevant[:, kept]

    radius_counts = counts

    def graded_counts(self) -> Iterator[GradedCounts]:
        """Chunks of counts per distance; one scan of the codes for each level."""
        kept = slice(self.n_distances)
        for group in self.groups(graded=True):
            size = self.n_distances * (1 + len(group.levels))
            for some in cut(len(group.queries), size, _CHUNK_VALUES):
                counted = [
                    self._counted(group, some, None, None, level)
                    for level in range(len(group.levels))
                ]
                totals = counted[0][1][:, kept]
                yield group.queries[some], totals, [relevant[:, kept] for _, _, relevant in counted]

    def sorted_rows(
        self, queries: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Sort by Hamming distance; see the base."""
        found = scan_topk(
            *(self.query_codes[queries], self.database_codes, len(self.database_codes)),
            self.n_threads,
        )
        return drop_own(*found, queries) if self.exclude_self else found

    def _counted(
        self,
        group: Group,
        some: slice,
        note_starts: NDArray[np.int64] | None,
        notes: NDArray[np.int32] | None,
        level: int = 0,
    ) -> tuple[_kernels.Ranks, NDArray[np.int64], NDArray[np.int64]]:
        """(kernel after all rows were counted, codes per distance, relevant codes per distance)."""
        queries = group.queries[some]
        totals = np.zeros((len(queries), self.n_distances + self.exclude_self), np.int64)
        relevant = np.zeros_like(totals)
        ranks = _kernels.Ranks(
            self.query_codes[queries],
            self.database_codes,
            group.query_bits[some],
            group.levels[level],
            totals,
            relevant,
            note_starts,
            notes,
            queries if self.exclude_self else None,
            self.n_threads,
        )
        n_rows = len(self.database_codes)
        pace_of_rows(n_rows, len(queries), self.database_codes).drive(ranks.advance)
        return ranks, totals, relevant

    def ranked(self, depth: NDArray[np.int64], ranks: NDArray[np.int64]) -> Iterator[Ranked]:
        """Rank by the notes of the kernel; see the base."""
        largest = ranks[-1] if len(ranks) else 0
        bin_of_rank = np.searchsorted(ranks, np.arange(largest + 1)).astype(np.int32)
        # Shared by all chunks, because fresh memory costs more than writing the notes. One more row
        # than needed, so that the array is never empty.
        notes = np.empty((1, 2), np.int32)
        for group in self.groups():
            # Queries are cut so that the notes on their relevant codes fit into the scratch.
            sizes = 8 * self.most_relevant[group.queries] + 16 * self.n_distances
            for some in cut_unequal(sizes.tolist(), _SCRATCH_BYTES * self.n_threads):
                queries = group.queries[some]
                note_starts = np.concatenate([[0], self.most_relevant[queries].cumsum()])
                if len(notes) <= note_starts[-1]:
                    notes = np.empty((note_starts[-1] + 1, 2), np.int32)
                counted, _, _ = self._counted(group, some, note_starts, notes)
                n_relevant, sums = counted.n_relevant, np.zeros(len(queries))
                hits = np.zeros((len(queries), max(1, len(ranks))), np.int64)
                n_within = np.zeros(len(queries), np.int64)
                for first in range(0, int(n_relevant.max()), _SUMMED_NOTES):
                    counted.sum_precisions(
                        first, _SUMMED_NOTES, depth[queries], bin_of_rank, sums, n_within, hits
                    )
                # The own code is relevant, unless the query has no label. It has the last rank,
                # which is larger than each depth and all `ranks`.
                n_relevant = n_relevant - (self.exclude_self & (n_relevant > 0))
                yield Ranked(queries, n_relevant, sums, n_within, hits.cumsum(axis=1))


@dataclass(frozen=True)
class Group:
    """
    Queries, and bits that tell which codes are relevant to them: those that share a bit.

    Attributes
    ----------
    queries : ndarray of int64, shape (n,)
    query_bits : ndarray of uint64, shape (n, 1)
        One bit each.
    levels : list of ndarray of uint64, shape (n_codes, 1)
        The bits of the codes: first of those that share a label, then of those that share two, and
        so on. A group that is not graded has the first level only.
    """

    queries: NDArray[np.int64]
    query_bits: NDArray[np.uint64]
    levels: list[NDArray[np.uint64]]


def check_problem(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    n_threads: int | None,
    n_bits: int | None = None,
    exclude_self: bool = False,
) -> HammingProblem:
    """
    Check codes and labels of an evaluation.

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit each other, or one side is empty; or with `exclude_self`, if
        the queries are not the database.
    """
    queries = check_codes(query_codes, "query_codes", n_bits)
    database = check_codes(database_codes, "database_codes", n_bits)
    check_same_width(queries, "query_codes", database, "database_codes")
    names = ("query_codes", "database_codes")
    checked = check_relevance(
        *(names[0], len(queries), database, query_labels, database_labels, n_threads),
        exclude_self=check_exclude_self(exclude_self, queries, database, names),
    )
    return HammingProblem(**checked, query_codes=queries)


def check_relevance(
    name: str,
    n_queries: int,
    database: NDArray[np.uint8],
    query_labels: Any,
    database_labels: Any,
    n_threads: int | None,
    exclude_self: bool,
) -> dict[str, Any]:
    """
    Check labels; return what every problem has.

    Parameters
    ----------
    name : str
        Name of the argument with the queries, for errors.

    Raises
    ------
    TypeError, ValueError
        If labels do not fit, or one side is empty; or with `exclude_self`, if the labels of the
        queries are not those of the database.
    """
    if n_queries == 0 or len(database) == 0:
        empty = name if n_queries == 0 else "database_codes"
        raise ValueError(f"{empty} is empty: there is nothing to measure")
    if len(database) > _MAX_CODES:
        raise ValueError(f"database_codes has {len(database)} rows; the limit is {_MAX_CODES}")
    labels = check_labels(
        {"query_labels": query_labels, "database_labels": database_labels},
        {"query_labels": n_queries, "database_labels": len(database)},
        argument="{}",
    )
    query_labels, database_labels = labels["query_labels"], labels["database_labels"]
    if exclude_self:
        check_same_labels(query_labels, database_labels, ("query_labels", "database_labels"))
    per_label = np.bincount(database_labels.indices, minlength=database_labels.shape[1])
    return {
        "database_codes": database,
        "query_labels": query_labels,
        "database_labels": database_labels,
        "most_relevant": np.minimum(query_labels @ per_label, len(database)).astype(np.int64),
        "label_set": _label_sets(query_labels),
        "exclude_self": exclude_self,
        "n_threads": resolve_threads(n_threads),
    }


def _labels_of(labels: csr_array, row: int) -> NDArray[Any]:
    return labels.indices[labels.indptr[row] : labels.indptr[row + 1]]


def _label_sets(labels: csr_array) -> NDArray[np.int64]:
    """A number for every row, equal for rows with the same labels; the labels of a row ascend."""
    numbers: dict[bytes, int] = {}
    of_row = (_labels_of(labels, row).tobytes() for row in range(labels.shape[0]))
    return np.fromiter(
        (numbers.setdefault(key, len(numbers)) for key in of_row), np.int64, labels.shape[0]
    )


def _joined(bits: NDArray[np.uint64], labels: csr_array) -> NDArray[np.uint64]:
    """For each row, the bits of all its classes, in one column."""
    joined = np.zeros((labels.shape[0], 1), np.uint64)
    row_bytes = 8 + 16 * labels.nnz // max(1, len(joined))
    for some in cut(len(joined), row_bytes, BLOCK_BYTES):
        ends = labels.indptr[some.start : some.stop + 1]
        # For a row without labels, `reduceat` would take the labels of the next row.
        has_labels = np.flatnonzero(np.diff(ends))
        if len(has_labels):
            of_labels = bits[labels.indices[ends[0] : ends[-1]]]
            starts = ends[:-1][has_labels] - ends[0]
            joined[some.start + has_labels, 0] = np.bitwise_or.reduceat(of_labels, starts)
    return joined


def _levels(sets: csr_array, labels: csr_array) -> list[NDArray[np.uint64]]:
    """For each number g of labels, and each row, the bits of the sets with g labels of the row."""
    n_levels = max(1, int(np.diff(sets.indptr).max()))
    levels = [np.zeros((labels.shape[0], 1), np.uint64) for _ in range(n_levels)]
    columns = sets.T.tocsr()
    powers = np.uint64(1) << np.arange(sets.shape[0], dtype=np.uint64)
    for some in cut(labels.shape[0], 16 * sets.shape[0], BLOCK_BYTES):
        shared = (labels[some] @ columns).toarray()
        for g in range(1, int(shared.max(initial=0)) + 1):
            levels[g - 1][some, 0] = np.where(shared >= g, powers, np.uint64(0)).sum(axis=1)
    while len(levels) > 1 and not levels[-1].any():
        levels.pop()
    return levels


def _bit_counts(bits: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The number of rows that have each of the 64 bits; `bits` has one column."""
    counts = np.zeros(64, np.int64)
    for some in cut(len(bits), 64, BLOCK_BYTES):
        of_bytes = bits[some].astype("<u8").view(np.uint8)
        counts += np.unpackbits(of_bytes, axis=1, bitorder="little").sum(axis=0, dtype=np.int64)
    return counts
