"""`CodeIndex`: what the indexes have in common, ids and changes, filtered search, files.

How a set of codes is searched is left to the index: see `HammingIndex` and `MultiIndexHash`.
"""

from __future__ import annotations

import operator
import os
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.pieces import blocks_of
from .._core.runtime import resolve_threads
from .._core.scan import merge_topk, merge_within
from .._core.validation import check_choice, check_count
from ..codes import check_codes
from ._filters import Filter, PreparedFilter, allowed_rows
from ._index_file import check_content, read_index, write_index
from ._snapshot import SortedCodes
from ._storage import CodeStorage

__all__ = ["CodeIndex"]


class CodeIndex:
    """
    Base of the indexes: packed codes with the caller's ids, changed and searched.

    Any number of threads may search while others change the index. A search answers for the state
    that was there when it began; changes wait for each other and happen whole or not at all.
    """

    # What the constructor takes, beside n_bits; the attributes are called so too.
    _options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, n_bits: int, most: int | None = None) -> None:
        self.n_bits = check_count(n_bits, "n_bits")
        self._storage = CodeStorage(self.n_bits, most)

    def __len__(self) -> int:
        return len(self._storage)

    def __contains__(self, item: Any) -> bool:
        try:
            number = operator.index(item)
        except TypeError:
            return False
        if not 0 <= number <= np.iinfo(np.int64).max:
            return False
        return any(rows[0] >= 0 for rows in self._storage.state.find(np.array([number])))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_bits={self.n_bits}) of {len(self)} codes"

    @property
    def codes(self) -> NDArray[np.uint8]:
        return self._storage.state.codes()

    @property
    def ids(self) -> NDArray[np.int64]:
        return self._storage.state.ids

    def add(self, codes: ArrayLike, *, ids: ArrayLike | None = None, replace: bool = False) -> None:
        """
        Add codes.

        Parameters
        ----------
        codes : array_like of uint8, shape (n, ceil(n_bits / 8))
            Packed codes, as made by `pack`; they are copied.
        ids : array_like of int, shape (n,), optional
            What the codes are called in answers, row by row, at least 0. By default they are
            numbered on from the largest id that the index has ever held.
        replace : bool, default False
            Whether a code takes the place of one with its id, instead of being refused.

        Raises
        ------
        TypeError, ValueError
            If codes or ids are of the wrong type or shape, or an id is negative, given twice, or
            held already and not to be replaced. The index is then unchanged, as it is after a
            MemoryError.

        Notes
        -----
        Amortised O(n). Codes that do not belong behind all others, or that come when there are
        tables already, are searched beside the others until they are an eighth of them.
        """
        self._storage.add(codes, ids, replace)

    def update(self, codes: ArrayLike, *, ids: ArrayLike) -> None:
        """
        Give ids that are held new codes.

        Parameters
        ----------
        codes : array_like of uint8, shape (n, ceil(n_bits / 8))
            Packed codes, as made by `pack`; they are copied.
        ids : array_like of int, shape (n,)
            Which ids the codes are for, row by row.

        Raises
        ------
        TypeError, ValueError
            If codes or ids are of the wrong type or shape, or an id is given twice or not held. The
            index is then unchanged.
        """
        self._storage.update(ids, codes)

    def remove(self, ids: ArrayLike, *, missing: str = "raise") -> int:
        """
        Remove codes.

        Parameters
        ----------
        ids : array_like of int, shape (n,)
        missing : {"raise", "ignore"}, default "raise"
            What to do about ids that are not held.

        Returns
        -------
        int
            How many codes were removed.

        Raises
        ------
        TypeError, ValueError
            If ids are no integers, or one is not held and not to be ignored. The index is then
            unchanged.

        Notes
        -----
        O(n log(codes held)) and a copy of one byte per code held: milliseconds for ten million. The
        codes are marked, and tables stay. `compact` gives their memory back; so does whatever moves
        the other codes to make room for new ones.
        """
        check_choice(missing, "missing", ("raise", "ignore"))
        return self._storage.remove(ids, missing)

    def compact(self) -> None:
        """
        Give back the memory of removed codes, and bring all others into one place.

        Notes
        -----
        O(codes held), unless nothing has been removed or added since; tables are then built again
        when they are due.
        """
        self._storage.compact()

    def reconstruct(self, ids: ArrayLike) -> NDArray[np.uint8]:
        """
        Look codes up by their ids.

        Parameters
        ----------
        ids : array_like of int, shape (n,)

        Returns
        -------
        ndarray of uint8, shape (n, ceil(n_bits / 8))
            In the order of `ids`.

        Raises
        ------
        TypeError, ValueError
            If ids are no integers, or one is not held.
        """
        return self._storage.codes_of(ids)

    def prepare_filter(self, ids: Filter) -> PreparedFilter:
        """
        Look a filter up once, for many searches.

        Parameters
        ----------
        ids : array_like of int, set of int, or callable
            Which codes may be found, as the ``filter`` of `search`.

        Returns
        -------
        PreparedFilter
            What `search` and `within` of this index accept as their ``filter``. It follows changes
            of the index: ids that are added later may be found if they are among the ids given. A
            function is called again when the index has changed.

        Raises
        ------
        TypeError, ValueError
            If it is no filter.

        Notes
        -----
        O(ids given + codes held / 64), or where the ids held are far apart a sort of the ids given.
        A search with a prepared filter takes about as long as one without, and less where the
        filter allows few codes.
        """
        return PreparedFilter(self._storage, ids)

    def search(
        self,
        queries: ArrayLike,
        k: int,
        *,
        filter: Filter | None = None,
        n_threads: int | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """
        Find the k nearest codes of every query.

        Parameters
        ----------
        queries : array_like of uint8, shape (n_queries, ceil(n_bits / 8))
            Packed codes, as made by `pack`.
        k : int
            How many to return; may exceed the number of codes held.
        filter : array_like of int, set of int, callable, or PreparedFilter, optional
            Which codes may be found, by default all. Either their ids, in any order, of which those
            not held find nothing; or a function that is called with all ids held, ascending, and
            returns a boolean for each; or one of these as `prepare_filter` returns it. Booleans
            themselves are refused, because an index knows ids and no rows: pass
            ``index.ids[booleans]``.
        n_threads : int, optional
            Threads to use, by default ``OMP_NUM_THREADS`` or all cores.

        Returns
        -------
        distances : ndarray of int32, shape (n_queries, k)
            Ascending; -1 where fewer than k codes may be found.
        ids : ndarray of int64, shape (n_queries, k)
            Equal distances in ascending order of id; -1 where missing.

        Raises
        ------
        TypeError, ValueError
            If the queries are not codes of `n_bits`, k is less than 1, or the filter does not fit.
        """
        queries = check_codes(queries, "queries", self.n_bits)
        k = check_count(k, "k")
        threads = resolve_threads(n_threads)
        state = self._storage.state
        in_base, in_recent = allowed_rows(self._storage, state, filter)
        distances, rows = self._searcher(state.base, threads).topk(queries, k, threads, in_base)
        answer = distances, _ids_of(state.base, rows)
        if len(state.recent) == 0:
            return answer
        searcher = self._recent_searcher(state.recent)
        distances, rows = searcher.topk(queries, k, threads, in_recent)
        return merge_topk([answer, (distances, _ids_of(state.recent, rows))], k)

    def within(
        self,
        queries: ArrayLike,
        radius: int,
        *,
        filter: Filter | None = None,
        n_threads: int | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
        """
        Find all codes within a Hamming radius of every query.

        Parameters
        ----------
        queries : array_like of uint8, shape (n_queries, ceil(n_bits / 8))
            Packed codes, as made by `pack`.
        radius : int
            Largest distance that counts, in bits; inclusive.
        filter : array_like of int, set of int, callable, or PreparedFilter, optional
            Which codes may be found, as in `search`.
        n_threads : int, optional
            Threads to use, by default ``OMP_NUM_THREADS`` or all cores.

        Returns
        -------
        limits : ndarray of int64, shape (n_queries + 1,)
            The answers to query i are at ``[limits[i]:limits[i + 1]]`` of the other two.
        distances : ndarray of int32, shape (n_found,)
            Ascending within a query.
        ids : ndarray of int64, shape (n_found,)
            Equal distances in ascending order of id.

        Raises
        ------
        TypeError, ValueError
            If the queries are not codes of `n_bits`, the radius is negative, or the filter does not
            fit.
        """
        queries = check_codes(queries, "queries", self.n_bits)
        radius = min(check_count(radius, "radius", minimum=0, maximum=None), self.n_bits)
        threads = resolve_threads(n_threads)
        state = self._storage.state
        in_base, in_recent = allowed_rows(self._storage, state, filter)
        searcher = self._searcher(state.base, threads)
        limits, distances, rows = searcher.within(queries, radius, threads, in_base)
        answer = limits, distances, _ids_of(state.base, rows)
        if len(state.recent) == 0:
            return answer
        searcher = self._recent_searcher(state.recent)
        limits, distances, rows = searcher.within(queries, radius, threads, in_recent)
        return merge_within([answer, (limits, distances, _ids_of(state.recent, rows))])

    def save(self, path: str | os.PathLike[str]) -> None:
        """
        Write the index to a file.

        Parameters
        ----------
        path : path
            Of the file, in a folder that exists. A file that is there is replaced when the new one
            is complete and on the disk: a crash at any moment leaves the one or the other.

        Raises
        ------
        OSError
            If the file cannot be written; what was there is then unchanged.

        Notes
        -----
        Holds codes and ids, and no tables. Other threads may go on searching and changing the
        index; what is written is the state at the call.
        """
        parameters = {name: getattr(self, name) for name in ("n_bits", *self._options)}
        write_index(path, type(self).__name__, parameters, self._storage.state)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False) -> Self:
        """
        Read an index from a file that `save` has written.

        Parameters
        ----------
        path : path
            Of the file. It may come from anybody: what is wrong with it gives an error, and nothing
            in it is run.
        mmap : bool, default False
            Whether codes and ids stay in the file and are read from there as they are needed.
            Opening takes milliseconds then, and processes share the memory. The file must not be
            changed in place meanwhile; `save` does not, it makes a new one. Changes of the index
            stay in memory.

        Returns
        -------
        The index.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it holds no index of this kind, is of another format version, or is damaged. With
            `mmap` only the header is checked: see `verify`.
        """
        content = read_index(path, mmap)
        if content.kind != cls.__name__:
            raise ValueError(f"{content.path} holds {content.kind!r}, not {cls.__name__!r}")
        options = content.parameters
        if set(options) != {"n_bits", *cls._options}:
            raise ValueError(f"{content.path} is damaged: it says {cls.__name__}(**{options})")
        try:
            index = cls(**options)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{content.path} is damaged: {error}") from None
        index._storage.put(content, is_mapped=mmap)
        return index

    def verify(self) -> None:
        """
        Check what the index holds, all of it; for one that is mapped, also against its checksums.

        Raises
        ------
        ValueError
            If checksums differ, ids do not ascend, or padding bits are set: the file is damaged.

        Notes
        -----
        O(codes held); reads the whole file of an index loaded with ``mmap=True``. One loaded
        without it has been checked so when it was loaded.
        """
        state = self._storage.state
        for held in (state.base, state.recent):
            name, checksums = "the index", None
            if held.source is not None:
                name, checksums = held.source.path, held.source.checksums
            check_content(name, held.codes, held.ids, self.n_bits, checksums)

    def _searcher(self, codes: SortedCodes, n_threads: int) -> Any:
        """What searches these codes: made at the first search, then kept with them."""
        raise NotImplementedError

    def _recent_searcher(self, codes: SortedCodes) -> Any:
        """What searches recent codes, which are others after the next change."""
        raise NotImplementedError


def _ids_of(codes: SortedCodes, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Replace rows by ids; -1 stays."""
    if len(codes) == 0:
        return rows
    ids = np.empty(rows.shape, np.int64)
    for some in blocks_of(rows):
        ids[some] = np.where(rows[some] >= 0, codes.ids[rows[some]], rows[some])
    return ids
