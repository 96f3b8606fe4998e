"""The rows that a filter allows, and the cheaper way to restrict a search to them.

`allow` turns row numbers or flags into an `Allowed`. An index turns ids into rows through a
`Directory`. A search is restricted in one of two ways, which `Allowed.is_gathered` chooses: the
kernel gathers the codes of a list of rows; or it scans all codes, with a flag for each row, and
drops the hits that are not allowed. Many ids in any order are written as bits of a set, which gives
the rows in ascending order, so they are not sorted.
"""

from __future__ import annotations

import weakref
from typing import cast

import numpy as np
from numpy.typing import NDArray

from .._kernels import filters as _filters
from .interruptible import distinct, take
from .pieces import blocks_of, cut
from .stored_codes import Order

__all__ = ["LISTED_SHARE", "Allowed", "Directory", "allow", "sorting_is_cheaper"]

# Costs, in units of the time that a query of a large batch takes to compare a 64-bit word.
# A word of the database, read in order from memory, once for up to _SHARING_QUERIES queries:
_READ_WORD = 6
_SHARING_QUERIES = 256
# A row at a random place of the database, and each of its words:
_FETCH_ROW, _FETCH_WORD = 70, 14
# To make a list from flags: each flag, and each row that is listed.
_LIST_FLAG, _LIST_ROW = 2, 25
# To make flags from a list: each flag, and each row of the list.
_FLAG_FLAG, _FLAG_ROW = 2, 30

# A set with at most this share of the rows first becomes a list, a larger one becomes flags. One
# query over codes of 64 bits gathers about this share in the time of a scan.
LISTED_SHARE = 1 / 16

# If at most this share of the rows is allowed, gathering them is faster than the index's tables.
_FEW_SHARE = 1 / 64

# See `sorting_is_cheaper`.
_ROWS_PER_SORTED_VALUE = 512

# Number of words of a set that are listed in one call.
_WORDS = 1 << 20


def sorting_is_cheaper(n_values: int, n_rows: int) -> bool:
    """Tell whether sorting the values costs less than reading every word of a set of the rows."""
    return n_values * _ROWS_PER_SORTED_VALUE < n_rows


class Allowed:
    """
    The rows that a search may find, as a list or as flags.

    One of the two forms is given. The other one is made on first use.

    Parameters
    ----------
    n : int
        Number of allowed rows.
    n_rows : int
        Number of rows of the database.
    rows : ndarray of int64, shape (n,), optional
        The allowed rows, ascending.
    flags : ndarray of bool, shape (n_rows,), optional
        For each row of the database, whether it is allowed; C-contiguous.
    """

    __slots__ = ("_flags", "_places", "_rows", "n", "n_rows")

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
        self._places: tuple[weakref.ref[NDArray[np.uint32]], NDArray[np.int64]] | None = None

    @property
    def rows(self) -> NDArray[np.int64]:
        """The allowed rows, ascending."""
        rows = self._rows
        if rows is None:
            bits = np.packbits(cast("NDArray[np.bool_]", self._flags), bitorder="little")
            words = np.zeros(-(-self.n_rows // 64), "<u8")
            words.view(np.uint8)[: len(bits)] = bits
            rows = self._rows = Directory(0, self.n_rows).rows_of(words.astype(np.uint64), self.n)
        return rows

    @property
    def flags(self) -> NDArray[np.bool_]:
        """For each row of the database, whether it is allowed."""
        flags = self._flags
        if flags is None:
            flags = np.zeros(self.n_rows, bool)
            flags[self._rows] = True
            self._flags = flags
        return flags

    @property
    def is_everything(self) -> bool:
        """Whether all rows are allowed."""
        return self.n == self.n_rows

    @property
    def is_few(self) -> bool:
        """Whether the rows are so few that gathering them is faster than tables."""
        return self.n <= _FEW_SHARE * self.n_rows

    def places_in(self, order: Order) -> NDArray[np.int64]:
        """Where the codes of the allowed rows lie; kept for the next search in this order."""
        known = self._places
        if known is None or known[0]() is not order.places:
            places = take(order.places, self.rows).astype(np.int64)
            known = self._places = weakref.ref(order.places), places
        return known[1]

    def is_gathered(self, n_queries: int, n_words: int) -> bool:
        """Whether gathering codes of n_words words costs less than scanning with flags."""
        n_queries = min(n_queries, _SHARING_QUERIES)
        gathering = self.n * (_FETCH_ROW + (_FETCH_WORD + n_queries) * n_words)
        if self._rows is None:
            gathering += _LIST_FLAG * self.n_rows + _LIST_ROW * self.n
        scanning = self.n_rows * (_READ_WORD + n_queries) * n_words
        if self._flags is None:
            scanning += _FLAG_FLAG * self.n_rows + _FLAG_ROW * self.n
        return gathering < scanning

    def only(self, flags: NDArray[np.bool_]) -> Allowed:
        """Allow only the rows that are allowed already and whose flag is set."""
        if self._rows is not None:
            rows = self._rows[flags[self._rows]]
            return Allowed(len(rows), self.n_rows, rows=rows)
        both = self.flags & flags
        return Allowed(int(np.count_nonzero(both)), self.n_rows, flags=both)


class Directory:
    """
    Find the rows of ids: row i is that of the i-th smallest id that the index holds.

    Parameters
    ----------
    first, span : int
        The smallest id, and the number of integers from the smallest id to the largest.
    held : ndarray of int64, optional
        The ids, ascending; by default all integers of that range.

    Attributes
    ----------
    nbytes : int

    Notes
    -----
    Holds a bit for each integer of the range, and for each 64 of them the number of ids before:
    together a quarter of a byte for each integer. If all integers are ids, it holds nothing.
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
        """Make the set of those numbers that are in the range, as bits."""
        members = np.zeros(-(-self.span // 64), np.uint64)
        for some in blocks_of(numbers):
            _filters.add_to_set(numbers[some], self.first, self.span, members)
        return members

    def allowed(self, numbers: NDArray[np.int64]) -> Allowed:
        """Find the rows of ids in any order; numbers that are not ids have no row."""
        members = self.set_of(numbers)
        if self._held is not None:
            np.bitwise_and(members, self._held, out=members)
        n = sum(_filters.count_set(members[w]) for w in blocks_of(members))
        if n <= LISTED_SHARE * self.n_rows:
            return Allowed(n, self.n_rows, rows=self.rows_of(members, n))
        return Allowed(n, self.n_rows, flags=self._flags_of(members))

    def rows_of(self, members: NDArray[np.uint64], n: int) -> NDArray[np.int64]:
        """Find the rows, ascending, of a set of n ids."""
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
    Turn a checked filter into the rows that it allows; None if it allows all rows.

    Parameters
    ----------
    filter : ndarray of bool, shape (n_rows,), or of int64, or None
        C-contiguous flags, or row numbers in any order, or None.
    n_rows : int
        Number of rows of the database.
    """
    if filter is None:
        return None
    if filter.dtype == bool:
        flags = cast("NDArray[np.bool_]", filter)
        return Allowed(int(np.count_nonzero(flags)), n_rows, flags=flags)
    rows = cast("NDArray[np.int64]", filter)
    if sorting_is_cheaper(len(rows), n_rows):
        rows = distinct(rows)
        return Allowed(len(rows), n_rows, rows=rows)
    return Directory(0, n_rows).allowed(rows)
