"""`CodeTables`: the tables of multi-index hashing over one set of codes, searched exactly.

A search probes the tables; a query that would cost more than its budget is answered by a scan of
the codes instead. Either way the answer is the same.
"""

from __future__ import annotations

import time
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core.allowed import Allowed
from .._core.pieces import Pace, blocks_of
from .._core.scan import join_within, scan_topk, scan_within
from .._core.stored_codes import Codes, layout_of
from .._kernels.multi_index import BUCKET_COST, FREE_COST, best_n_tables, default_budget
from .._kernels.multi_index import Tables as _Tables

__all__ = ["MAX_CODES", "SECONDS_PER_CANDIDATE", "CodeTables", "expected_costs"]

Value = TypeVar("Value", bound=np.generic)

# Rows are uint32 in the tables.
MAX_CODES = 2**32 - 1

# A first estimate, until a search takes long enough to measure candidates and not the call itself.
# One core of Sapphire Rapids takes .5 ns where the tables lie in its cache, and 1 ns elsewhere.
SECONDS_PER_CANDIDATE = 8e-10
_MEASURABLE_SECONDS = 2e-4

# Largest cost of all queries of the first call, so that an interrupt is handled soon.
_FIRST_COST = 1 << 24


def expected_costs(n_bits: int, n: int, limit: float) -> list[float]:
    """
    Predict what probing up to each radius costs in codes spread evenly.

    Returns
    -------
    list of float
        At place r the cost up to radius r, in candidates; it ends before it exceeds `limit`.
    """
    n_tables = best_n_tables(n_bits, n)
    shortest, longer = divmod(n_bits, n_tables)
    costs: list[float] = []
    total = 0.0
    for radius in range(n_bits + 1):
        flips, table = divmod(radius, n_tables)
        length = shortest + (table < longer)
        buckets = 1.0
        for i in range(min(flips, length + 1)):
            buckets *= (length - i) / (i + 1)
        total += buckets * (BUCKET_COST + n / 2**length)
        if total > limit:
            break
        costs.append(total)
    return costs


class CodeTables:
    """
    Tables over codes, built at once or read from a file.

    Parameters
    ----------
    codes : ndarray of uint8 or StoredCodes, shape (n, ceil(n_bits / 8))
        Validated codes, fewer than 2^32; they are referred to.
    n_bits : int
    n_tables : int
        At least ``n_bits / SUBSTRING_BITS_MAX``, at most `n_bits`.
    n_threads : int
        As resolved by `runtime.resolve_threads`; at most one thread per table is of use.
    memory : ndarray of uint8, shape (table_bytes(n, n_bits, n_tables),), optional
        Tables of these codes that were built before, read-only; None builds them.

    Attributes
    ----------
    memory : ndarray of uint8
        All tables; the same bytes for the same codes.
    was_read : bool
        Whether `memory` was given.
    seconds_per_candidate : float
        What the unit of budgets takes on one thread, as last measured.
    """

    def __init__(
        self,
        codes: Codes,
        n_bits: int,
        n_tables: int,
        n_threads: int,
        memory: NDArray[np.uint8] | None = None,
    ) -> None:
        self._codes = codes
        self._n_bits = n_bits
        self._tables = self._over_codes(n_tables, n_threads, memory)
        self.was_read = memory is not None
        self.seconds_per_candidate = SECONDS_PER_CANDIDATE

    @property
    def n_tables(self) -> int:
        return self._tables.n_tables

    @property
    def memory(self) -> NDArray[np.uint8]:
        """All tables, in the bytes that an index file stores."""
        return self._tables.memory

    @property
    def nbytes(self) -> int:
        """Bytes of the tables, without the codes they refer to."""
        return self.memory.nbytes

    @property
    def default_budget(self) -> int:
        """What a query may cost where the speed of a scan is not known."""
        return default_budget(len(self._codes))

    def topk(
        self,
        queries: NDArray[np.uint8],
        k: int,
        budget: int,
        n_threads: int,
        allowed: Allowed | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Answer as `scan.scan_topk` does, each query probed as far as its budget goes."""
        if allowed is not None and allowed.is_few:
            return scan_topk(queries, self._codes, k, n_threads, allowed)
        shape = (len(queries), k)
        n_found = min(k, len(self._codes) if allowed is None else allowed.n)
        if n_found < k:
            distances, rows = np.full(shape, -1, np.int32), np.full(shape, -1, np.int64)
            if n_found:
                found = self.topk(queries, n_found, budget, n_threads, allowed)
                distances[:, :n_found], rows[:, :n_found] = found
            return distances, rows
        flags = None if allowed is None else allowed.flags.view(np.uint8)
        distances, rows = np.empty(shape, np.int32), np.empty(shape, np.int64)
        done = np.zeros(len(queries), np.uint8)
        for q in Pace(_FIRST_COST // max(budget, FREE_COST) + 1).cut(len(queries)):
            costs = np.zeros(q.stop - q.start, np.int64)
            start = time.perf_counter()
            self._tables.topk(
                queries[q], k, budget, flags, distances[q], rows[q], costs, done[q], n_threads
            )
            self._note_speed(time.perf_counter() - start, costs, n_threads)
        if not done.all():
            left = np.flatnonzero(done == 0)
            found = scan_topk(queries[left], self._codes, k, n_threads, allowed)
            distances[left], rows[left] = found
        return distances, rows

    def within(
        self,
        queries: NDArray[np.uint8],
        radius: int,
        budget: int,
        n_threads: int,
        allowed: Allowed | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
        """Answer as `scan.scan_within` does, each query probed as far as its budget goes."""
        radius = min(radius, self._n_bits)
        if allowed is not None and allowed.is_few:
            return scan_within(queries, self._codes, radius, n_threads, allowed)
        done = np.zeros(len(queries), np.uint8)
        answers = []
        for q in Pace(_FIRST_COST // max(budget, FREE_COST) + 1).cut(len(queries)):
            costs = np.zeros(q.stop - q.start, np.int64)
            start = time.perf_counter()
            counts, found, rows = self._tables.within(
                queries[q], radius, budget, costs, done[q], n_threads
            )
            self._note_speed(time.perf_counter() - start, costs, n_threads)
            limits = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
            answers.append((limits, found, rows))
        limits, distances, rows = join_within(answers)
        if allowed is not None:
            kept = allowed.flags[rows]
            limits = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])[limits]
            distances, rows = distances[kept], rows[kept]
        if not done.all():
            left = np.flatnonzero(done == 0)
            scan_limits, scanned_distances, scanned_rows = scan_within(
                queries[left], self._codes, radius, n_threads, allowed
            )
            counts = np.diff(limits)
            counts[left] = np.diff(scan_limits)
            is_probed = np.repeat(done > 0, counts)
            distances = _interleave(is_probed, distances, scanned_distances)
            rows = _interleave(is_probed, rows, scanned_rows)
            limits = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        return limits, distances, rows

    def follow(self) -> None:
        """Refer to the codes as they are stored now, after they have been laid out again."""
        self._tables = self._over_codes(self.n_tables, 1, self.memory)

    def _over_codes(
        self, n_tables: int, n_threads: int, memory: NDArray[np.uint8] | None = None
    ) -> _Tables:
        codes, order = layout_of(self._codes)
        places = None if order is None else order.places
        return _Tables(codes, self._n_bits, n_tables, n_threads, memory, places)

    def agree_with_codes(self, n_threads: int) -> bool:
        """Whether the tables are those of the codes: builds them again, in memory of their own."""
        again = self._over_codes(self.n_tables, n_threads).memory
        return all(np.array_equal(self.memory[some], again[some]) for some in blocks_of(again))

    def _note_speed(self, seconds: float, costs: NDArray[np.int64], n_threads: int) -> None:
        if seconds > _MEASURABLE_SECONDS:
            measured = seconds * min(n_threads, len(costs)) / max(1, int(costs.sum()))
            # One measurement that other work has stretched must not shrink every budget.
            measured = min(measured, 2 * self.seconds_per_candidate)
            self.seconds_per_candidate += (measured - self.seconds_per_candidate) / 4


def _interleave(
    is_first: NDArray[np.bool_], first: NDArray[Value], second: NDArray[Value]
) -> NDArray[Value]:
    """Lay two arrays into one: `first` where the mask is true, `second` elsewhere."""
    merged = np.empty(len(is_first), first.dtype)
    merged[is_first] = first
    merged[~is_first] = second
    return merged
