"""The content of an index at one moment: codes in ascending order of id, which never change.

Row i is that of the i-th smallest id; with lists, the codes lie in another order (`StoredCodes`).
Most codes are in `base`, over which tables may be built. The others are in `recent`, which is
searched in addition: codes whose ids lie between those of the base, and codes that were added after
the tables were built. A removed code stays in the base and is marked. All objects are immutable, so
a search that holds a snapshot sees one state of the index while other threads change it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core.allowed import LISTED_SHARE, Allowed, Directory, sorting_is_cheaper
from .._core.interruptible import ascends, copy, distinct
from .._core.kept import KeptProperty
from .._core.pieces import blocks_of, cut
from .._core.scan import look_up
from .._core.stored_codes import StoredCodes
from .._kernels.sorting import find_ascending

__all__ = ["CodeBuffer", "Content", "Snapshot", "SortedCodes", "StoredLists", "merged"]

Value = TypeVar("Value", bound=np.generic)

# Rows that are copied at a time.
_BLOCK_ROWS = 1 << 20
# A directory of ids is made if they are at least this dense, and when filters have asked for this
# share of them, because making it reads all ids.
_DENSITY = 1 / 16
_ASKED_SHARE = 1 / 64
# Ids that are looked up at a time, so that intermediate results stay in the cache.
_FOUND_ROWS = 1 << 15


@dataclass(frozen=True)
class StoredLists:
    """
    The lists of an index file, as `Partitions` holds them.

    Attributes
    ----------
    centres, starts, rows : ndarray
    calibrations : bytes
        What has been calibrated, as JSON.
    n_learned : int
        Number of codes held when the centres were learned.
    n_asked : int or None
        The number of lists that the caller asked for; None for the default.
    """

    centres: NDArray[np.uint8]
    starts: NDArray[np.int64]
    rows: NDArray[np.uint32]
    calibrations: bytes
    n_learned: int
    n_asked: int | None


@dataclass(frozen=True)
class Content:
    """
    The content of an index file.

    Attributes
    ----------
    path : str
    kind : str
        Name of the index class.
    parameters : dict
        Arguments of its constructor.
    next_id : int
    codes, ids : ndarray
        Read-only if they are memory-mapped.
    checksums : dict of str to int
        Checksum of each section.
    n_tables : int
        Number of tables of multi-index hashing that the file holds; 0 for none.
    tables : ndarray of uint8 or None
        These tables, as `CodeTables.memory`.
    model : str or None
        Fingerprint of the model that made the codes, if the file says it.
    lists : StoredLists or None
    """

    path: str
    kind: str
    parameters: dict[str, Any]
    next_id: int
    codes: NDArray[np.uint8]
    ids: NDArray[np.int64]
    checksums: dict[str, int]
    n_tables: int = 0
    tables: NDArray[np.uint8] | None = None
    model: str | None = None
    lists: StoredLists | None = None


class CodeBuffer:
    """Codes and ids with spare rows; the first `n_used` rows are never written again."""

    def __init__(self, capacity: int, n_bytes: int) -> None:
        self.codes = np.empty((capacity, n_bytes), np.uint8)
        self.ids = np.empty(capacity, np.int64)
        self.n_used = 0


class SortedCodes:
    """
    Codes with ascending ids, and the object that searches them, made at the first search.

    Attributes
    ----------
    stored : StoredCodes
        The codes, in the order of ids until lists are made.
    ids : ndarray of int64, shape (n,), read-only
    searcher : Plan or Probing or None
        Made by the index at the first search, or when it reads tables from a file.
    lists : Partitions or None
        Lists of the codes, made by an index of which a recall is asked, or read from a file.
    source : Content or None
        The file from which they are memory-mapped.
    is_gapless : bool
        Whether every id is the id before it plus one.
    nbytes : int
        Bytes of codes, their order and ids, and of the directory of ids if filters have made one.
    """

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_directory",
        "_ids_are_rows",
        "_n_asked",
        "ids",
        "is_gapless",
        "lists",
        "searcher",
        "source",
        "stored",
    )

    def __init__(
        self,
        codes: NDArray[np.uint8],
        ids: NDArray[np.int64],
        buffer: CodeBuffer | None = None,
        source: Content | None = None,
    ) -> None:
        self.stored, self.ids = StoredCodes(_read_only(codes)), _read_only(ids)
        self.source = source
        self.searcher: Any = None
        self.lists: Any = None
        self._buffer = buffer
        self._directory: Directory | None = None
        self._n_asked = 0
        n = len(ids)
        self.is_gapless = n > 0 and int(ids[-1]) - int(ids[0]) == n - 1
        self._ids_are_rows = n == 0 or (self.is_gapless and int(ids[0]) == 0)

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> Any:
        # Tables and measurements are not pickled: they are cheap, and belong to this machine.
        return SortedCodes, (self.codes, self.ids)

    @property
    def nbytes(self) -> int:
        directory = 0 if self._directory is None else self._directory.nbytes
        return self.stored.nbytes + self.ids.nbytes + directory

    @property
    def codes(self) -> NDArray[np.uint8]:
        """The codes in the order of ids, read-only; a copy if they are stored list by list."""
        return _read_only(self.stored.block(slice(0, len(self))))

    def lay_out(self, rows: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """Store the codes in this order of rows, in an array which is returned."""
        codes = self.stored.lay_out(rows)
        # What refers to the codes as they were stored before, without which their memory is freed.
        self._buffer = None
        if self.searcher is not None and self.searcher.tables is not None:
            self.searcher.tables.follow()
        return codes

    def ids_at(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Replace rows by the ids there, in place, and return them; -1 stays."""
        return rows if self._ids_are_rows else look_up(self.ids, rows)

    def find(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """
        Find the row of each id; -1 for an id that is not held.

        O(1) per id if the held ids have no gaps. Otherwise O(log n), and less if the given ids
        ascend.
        """
        if len(self) == 0 or len(ids) == 0:
            return np.full(len(ids), -1, np.int64)
        found = np.empty(len(ids), np.int64)
        if self.is_gapless:
            first, n = self.ids[0], len(self)
            for some in cut(len(ids), most=_FOUND_ROWS):
                rows = ids[some] - first
                found[some] = np.where((rows >= 0) & (rows < n), rows, -1)
        else:
            for some in blocks_of(ids):
                find_ascending(self.ids, ids[some], found[some])
        return found

    def allowed(self, ids: NDArray[np.int64]) -> Allowed:
        """
        Find the rows of ids, which may be in any order; ids that are not held have no row.

        O(len(ids) + len(self) / 64) if the held ids are dense, and without a sort unless few ids
        are given. Otherwise the ids are sorted, if they are not, and found from the first to the
        last.
        """
        if len(self) == 0:
            return Allowed(0, 0, rows=np.empty(0, np.int64))
        directory = self._directory_for(len(ids))
        is_listed_already = self.is_gapless and len(ids) <= LISTED_SHARE * len(self)
        if directory is not None and not (is_listed_already and ascends(ids)):
            return directory.allowed(ids)
        rows = self.find(distinct(ids))
        is_held = rows >= 0
        rows = rows if is_held.all() else rows[is_held]
        return Allowed(len(rows), len(self), rows=rows)

    def _directory_for(self, n_asked: int) -> Directory | None:
        """The directory to find so many ids, or None if a search among the held ids costs less."""
        n = len(self)
        if sorting_is_cheaper(n_asked, n):
            return None
        directory = self._directory
        if directory is None:
            span = int(self.ids[-1]) - int(self.ids[0]) + 1
            if span * _DENSITY > n:
                return None
            self._n_asked += n_asked
            if span > n and self._n_asked < _ASKED_SHARE * n:
                return None
            held = None if span == n else self.ids
            directory = self._directory = Directory(int(self.ids[0]), span, held)
        return directory

    def extended(self, codes: NDArray[np.uint8], ids: NDArray[np.int64]) -> SortedCodes:
        """Append codes with larger ids: amortised O(number of new codes)."""
        n, end, buffer = len(self), len(self) + len(ids), self._buffer
        if buffer is None or buffer.n_used != n or end > len(buffer.ids):
            buffer = CodeBuffer(max(end, n * 3 // 2), self.stored.shape[1])
            copy(self.codes, buffer.codes[:n])
            copy(self.ids, buffer.ids[:n])
        copy(codes, buffer.codes[n:end])
        copy(ids, buffer.ids[n:end])
        buffer.n_used = end
        return SortedCodes(buffer.codes[:end], buffer.ids[:end], buffer)


@dataclass(frozen=True)
class Snapshot:
    """
    The state of an index.

    Attributes
    ----------
    base : SortedCodes
    live : ndarray of bool, shape (len(base),), or None
        Rows of the base that are still held; None for all.
    n_live : int
        Number of these rows.
    recent : SortedCodes
        Further codes; no id is held twice.
    next_id : int
        The largest id ever held, plus one.
    """

    base: SortedCodes
    live: NDArray[np.bool_] | None
    n_live: int
    recent: SortedCodes
    next_id: int

    def __len__(self) -> int:
        return self.n_live + len(self.recent)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @property
    def is_compact(self) -> bool:
        """Whether all codes are in the base and none of them is marked."""
        return self.live is None and len(self.recent) == 0

    def find(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of ids in the base and in the recent codes, -1 where they are not held there."""
        rows = self.base.find(ids)
        if self.live is not None and len(rows):
            rows = np.where((rows >= 0) & self.live[rows], rows, -1)
        return rows, self.recent.find(ids)

    def codes_at(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        """
        Gather the codes of ids of any shape; a code of zeros where an id is not held.

        Returns
        -------
        ndarray of uint8, shape (*ids.shape, n_bytes)
        """
        codes = np.zeros((ids.size, self.base.stored.shape[1]), np.uint8)
        for part, rows in zip((self.base, self.recent), self.find(ids.reshape(-1)), strict=True):
            is_held = rows >= 0
            codes[is_held] = part.stored.at(rows[is_held])
        return codes.reshape(*ids.shape, codes.shape[1])

    @KeptProperty
    def ids(self) -> NDArray[np.int64]:
        """All ids held, ascending, read-only."""
        if self.is_compact:
            return self.base.ids
        ids = np.empty(len(self), np.int64)
        end = 0
        for some in self.id_blocks():
            ids[end : end + len(some)] = some
            end += len(some)
        return _read_only(ids)

    @KeptProperty
    def places(self) -> NDArray[np.int64]:
        """For each recent code, the number of live rows of the base with smaller ids."""
        return np.searchsorted(self._live(self.base.ids), self.recent.ids)

    def codes(self) -> NDArray[np.uint8]:
        """All codes held, in the order of `ids`, read-only; a copy unless they are stored so."""
        if self.is_compact:
            return self.base.codes
        codes = np.empty((len(self), self.base.stored.shape[1]), np.uint8)
        end = 0
        for some in self.code_blocks():
            codes[end : end + len(some)] = some
            end += len(some)
        return _read_only(codes)

    def code_blocks(self) -> Iterator[NDArray[np.uint8]]:
        """All codes in ascending order of id, a block at a time."""
        for rows, some in self._blocks():
            codes, ids = self.base.stored.block(rows), self.base.ids[rows]
            if self.live is not None:
                codes, ids = codes[self.live[rows]], ids[self.live[rows]]
            yield merged(codes, ids, self.recent.codes[some], self.recent.ids[some])

    def id_blocks(self) -> Iterator[NDArray[np.int64]]:
        """All ids, ascending, a block at a time; without the codes, which may have to be copied."""
        for rows, some in self._blocks():
            ids, recent = self.base.ids[rows], self.recent.ids[some]
            if self.live is not None:
                ids = ids[self.live[rows]]
            yield merged(ids, ids, recent, recent)

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        """Blocks of rows of the base, with the rows of the recent codes that belong to them."""
        base, recent = self.base, self.recent
        places = np.empty(len(recent), np.int64)
        for part in blocks_of(places):
            places[part] = np.searchsorted(base.ids, recent.ids[part])
        for rows in cut(len(base), most=_BLOCK_ROWS) or [slice(0, 0)]:
            # Codes with larger ids than the base belong to the last block.
            is_last = rows.stop == len(base)
            stop = len(places) if is_last else np.searchsorted(places, rows.stop)
            yield rows, slice(np.searchsorted(places, rows.start), stop)

    def _live(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return rows if self.live is None else rows[self.live]


def merged(
    values: NDArray[Value],
    ids: NDArray[np.int64],
    more: NDArray[Value],
    more_ids: NDArray[np.int64],
) -> NDArray[Value]:
    """Merge the values of two sets of ids, each in ascending order of id, into one; O(n)."""
    if len(more_ids) == 0:
        return values
    return np.insert(values, np.searchsorted(ids, more_ids), more, axis=0)


def _read_only(array: NDArray[Value]) -> NDArray[Value]:
    view = array.view()
    view.flags.writeable = False
    return view
