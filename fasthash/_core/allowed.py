"""Which rows a search may find, and which way to restrict a search costs less.

Rows are a list, of which a kernel gathers the codes, or a flag for every row, with which it scans
all codes and drops what may not be found. Numbers in any order become rows through a set of bits,
so they are never sorted when they are many.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from .._kernels import filters as _filters
from .interruptible import distinct
from .pieces import blocks_of, cut

__all__ = ["FEW", "LISTED_SHARE", "Allowed", "Directory", "allow"]

# What takes how long, in units of the time that a batch of queries takes to compare a 64-bit word:
# reading a word of the database in order, from memory, once for up to so many queries; fetching a
# row that is anywhere, and each of its words; making a list of flags, per flag and per row listed;
# and flags of a list, per flag and per row.
_READ_WORD = 6
_SHARING_QUERIES = 256
_FETCH_ROW, _FETCH_WORD = 70, 14
_LIST_FLAG, _LIST_ROW = 2, 25
_FLAG_FLAG, _FLAG_ROW = 2, 30

# Up to this share of the rows, a set becomes a list at first; else flags. One query over codes of
# 64 bits gathers so many in the time of a scan.
LISTED_SHARE = 1 / 16

# Up to this share of the rows, the tables of an index are of no use.
_FEW_SHARE = 1 / 64

# A set takes a look at every word of its bits; sorting less than one value in so many costs less.
FEW = 512

# Words of a set that are listed in one call.
_WORDS = 1 << 20


class Allowed:
    """
    Rows that a search may find; the form that was not given is made when it is wanted, once.

    Parameters
    ----------
    n : int
        How many they are.
    n_rows : int
        Of how many.
    rows : ndarray of int64, shape (n,), optional
        Which they are, ascending; or
    flags : ndarray of bool, shape (n_rows,), optional
        for every row whether it is one of them, C-contiguous.
    """

    __slots__ = ("_flags", "_rows", "n", "n_rows")

    def __init__(
        self,
        n: int,
        n_rows: int,
        *,
        rows: NDArray[np.int64] | None = None,
        flags: NDArray[np.bool_] | None = None,
    ) -> None:
        self.n = n
        self.n_rows = n_rows
        self._rows = rows
        self._flags = flags

    @property
    def rows(self) -> NDArray[np.int64]:
        """The row numbers, ascending."""
        rows = self._rows
        if rows is None:
            bits = np.packbits(cast("NDArray[np.bool_]", self._flags), bitorder="little")
            words = np.zeros(-(-self.n_rows // 64), "<u8")
            words.view(np.uint8)[: len(bits)] = bits
            rows = self._rows = Directory(0, self.n_rows).rows_of(words.astype(np.uint64), self.n)
        return rows

    @property
    def flags(self) -> NDArray[np.bool_]:
        """For every row whether it is one of them."""
        flags = self._flags
        if flags is None:
            flags = np.zeros(self.n_rows, bool)
            flags[self._rows] = True
            self._flags = flags
        return flags

    @property
    def is_everything(self) -> bool:
        return self.n == self.n_rows

    @property
    def is_few(self) -> bool:
        """Whether gathering the rows costs so little that no table need be asked."""
        return self.n <= _FEW_SHARE * self.n_rows

    def is_gathered(self, n_queries: int, n_words: int) -> bool:
        """Whether gathering the rows costs less than scanning with flags; codes of n_words."""
        n_queries = min(n_queries, _SHARING_QUERIES)
        gathering = self.n * (_FETCH_ROW + (_FETCH_WORD + n_queries) * n_words)
        if self._rows is None:
            gathering += _LIST_FLAG * self.n_rows + _LIST_ROW * self.n
        scanning = self.n_rows * (_READ_WORD + n_queries) * n_words
        if self._flags is None:
            scanning += _FLAG_FLAG * self.n_rows + _FLAG_ROW * self.n
        return gathering < scanning

    def only(self, flags: NDArray[np.bool_]) -> Allowed:
        """Those that have a flag among as many as there are rows."""
        if self._rows is not None:
            rows = self._rows[flags[self._rows]]
            return Allowed(len(rows), self.n_rows, rows=rows)
        both = self.flags & flags
        return Allowed(int(np.count_nonzero(both)), self.n_rows, flags=both)


class Directory:
    """
    Which numbers of a range are held, in ascending order; their places in this order are the rows.

    Parameters
    ----------
    first, span : int
        The range begins at `first`, and has so many numbers; both ends are held.
    held : ndarray of int64, optional
        The numbers, ascending; by default all of the range.

    Attributes
    ----------
    nbytes : int

    Notes
    -----
    A bit per number, and for every 64 of them how many are held before: a quarter of a byte each.
    None of it where all are held.
    """

    def __init__(self, first: int, span: int, held: NDArray[np.int64] | None = None) -> None:
        self.first = first
        self.span = span
        self.n_rows = span if held is None else len(held)
        self._held: NDArray[np.uint64] | None = None
        self._before: NDArray[np.int64] | None = None
        if held is not None:
            self._held = self.set_of(held)
            self._before = np.empty(len(self._held), np.int64)
            _filters.count_before(self._held, self._before)

    @property
    def nbytes(self) -> int:
        return sum(0 if part is None else part.nbytes for part in (self._held, self._before))

    def set_of(self, numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The set of those numbers that are in the range."""
        members = np.zeros(-(-self.span // 64), np.uint64)
        for some in blocks_of(numbers):
            _filters.add_to_set(numbers[some], self.first, self.span, members)
        return members

    def allowed(self, numbers: NDArray[np.int64]) -> Allowed:
        """The rows of numbers, in any order; of those not held there are none."""
        members = self.set_of(numbers)
        if self._held is not None:
            np.bitwise_and(members, self._held, out=members)
        n = sum(_filters.count_set(members[w]) for w in blocks_of(members))
        if n <= LISTED_SHARE * self.n_rows:
            return Allowed(n, self.n_rows, rows=self.rows_of(members, n))
        return Allowed(n, self.n_rows, flags=self._flags_of(members))

    def rows_of(self, members: NDArray[np.uint64], n: int) -> NDArray[np.int64]:
        """The rows of a set of n numbers that are held, ascending."""
        rows = np.empty(n, np.int64)
        end = 0
        for w in cut(len(members), most=_WORDS):
            here = rows[end : end + _filters.count_set(members[w])]
            end += len(here)
            if len(here) == 0:
                continue
            if self._held is None or self._before is None:
                _filters.list_set(members[w], None, None, here)
                here += 64 * w.start
            else:
                _filters.list_set(members[w], self._held[w], self._before[w], here)
        return rows

    def _flags_of(self, members: NDArray[np.uint64]) -> NDArray[np.bool_]:
        if self._held is None or self._before is None:
            bits = members.astype("<u8", copy=False).view(np.uint8)
            return np.unpackbits(bits, count=self.n_rows, bitorder="little").view(bool)
        flags = np.zeros(self.n_rows, bool)
        for w in cut(len(members), most=_WORDS):
            _filters.flag_set(members[w], self._held[w], self._before[w], flags.view(np.uint8))
        return flags


def allow(filter: NDArray[np.bool_] | NDArray[np.int64] | None, n_rows: int) -> Allowed | None:
    """
    Hold a filter of a search over n_rows rows.

    Parameters
    ----------
    filter : ndarray of bool, shape (n_rows,), or of int64, or None
        C-contiguous flags; or row numbers, in any order; None allows all rows.
    n_rows : int
        How many rows there are.
    """
    if filter is None:
        return None
    if filter.dtype == bool:
        flags = cast("NDArray[np.bool_]", filter)
        return Allowed(int(np.count_nonzero(flags)), n_rows, flags=flags)
    rows = cast("NDArray[np.int64]", filter)
    if FEW * len(rows) < n_rows:
        rows = distinct(rows)
        return Allowed(len(rows), n_rows, rows=rows)
    return Directory(0, n_rows).allowed(rows)
