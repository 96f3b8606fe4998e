"""`CodeIndex`: what both indexes share: codes held, filtered search, files.

A subclass decides how a set of codes is searched: see `HammingIndex` and `MultiIndexHash`.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.excluded import drop_own, drop_own_within
from .._core.pieces import blocks_of
from .._core.runtime import resolve_threads
from .._core.scan import merge_topk, merge_within
from .._core.validation import check_count
from ..codes import check_codes, check_ids
from ._filters import Filter, PreparedFilter, allowed_rows
from ._held_codes import HeldCodes
from ._index_file import check_content, read_index, write_index
from ._snapshot import SortedCodes
from ._tables import CodeTables

__all__ = ["CodeIndex"]


class CodeIndex(HeldCodes):
    """
    Base of the indexes: held codes that can be searched and saved.

    Any number of threads may search while others change the index. A search answers for the state
    at its begin.
    """

    # Names of the constructor arguments except n_bits, which are also attributes.
    _options: ClassVar[tuple[str, ...]] = ()

    def prepare_filter(self, ids: Filter) -> PreparedFilter:
        """
        Look up the ids of a filter once, for use in many searches.

        Parameters
        ----------
        ids : array_like of int, set of int, or callable
            Which codes may be found, as the ``filter`` of `search`.

        Returns
        -------
        PreparedFilter
            A value for the ``filter`` of `search` and `within` of this index. It stays valid when
            the index changes: an id that is added later may be found if it is among the given ids.
            A callable is called again after a change.

        Raises
        ------
        TypeError, ValueError
            If it is not a filter.

        See Also
        --------
        search : Search with a filter.

        Notes
        -----
        O(ids given + codes held / 64), or a sort of the given ids if the ids held are far apart. A
        search with a prepared filter takes about as long as one without, and less if the filter
        allows few codes.

        Examples
        --------
        >>> import fasthash as fh
        >>> index = fh.HammingIndex(n_bits=2)
        >>> index.add(fh.pack([[1.0, 1.0], [-1.0, -1.0]]), ids=[70, 50])
        >>> group = index.prepare_filter([50, 60])
        >>> index.search(fh.pack([[1.0, 1.0]]), k=1, filter=group)
        (array([[2]], dtype=int32), array([[50]]))
        """
        return PreparedFilter(self._storage, ids)

    def search(
        self,
        queries: ArrayLike,
        k: int,
        *,
        filter: Filter | None = None,
        exclude: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """
        Find the k nearest codes of every query, exactly.

        Parameters
        ----------
        queries : array_like of uint8, shape (n_queries, ceil(n_bits / 8))
            Packed codes, as made by `pack`.
        k : int
            How many codes to return for each query; may exceed the number of codes held.
        filter : array_like of int, set of int, callable, or PreparedFilter, optional
            Which codes may be found, by default all. Either ids in any order; ids that are not held
            find nothing. Or a callable that gets all ids held, ascending, and returns a boolean for
            each. Or the result of `prepare_filter`. An array of booleans is refused, because an
            index has ids and no rows: pass ``index.ids[booleans]``.
        exclude : array_like of int, shape (n_queries,), optional
            An id for each query, which that query does not find, such as its own id in a search of
            the held codes. An id that is not held excludes nothing.
        n_threads : int, optional
            Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

        Returns
        -------
        distances : ndarray of int32, shape (n_queries, k)
            Ascending; -1 where fewer than k codes may be found.
        ids : ndarray of int64, shape (n_queries, k)
            Ascending among equal distances; -1 where missing.

        Raises
        ------
        TypeError, ValueError
            If the queries are not codes of `n_bits`, k is less than 1, the filter does not fit, or
            `exclude` does not have one id per query.

        See Also
        --------
        within : All codes within a radius.
        fasthash.topk : The same search without an index, which answers with rows.

        Examples
        --------
        >>> import fasthash as fh
        >>> index = fh.HammingIndex(n_bits=2)
        >>> index.add(fh.pack([[1.0, 1.0], [-1.0, -1.0]]), ids=[70, 50])
        >>> index.search(fh.pack([[-1.0, -1.0]]), k=2)
        (array([[0, 2]], dtype=int32), array([[50, 70]]))
        >>> index.search(index.codes, k=1, exclude=index.ids)
        (array([[2],
               [2]], dtype=int32), array([[70],
               [50]]))
        """
        queries = check_codes(queries, "queries", self.n_bits)
        k = check_count(k, "k")
        threads = resolve_threads(n_threads)
        if exclude is None:
            return self._nearest(queries, k, filter, threads)
        own = _check_exclude(exclude, len(queries))
        return drop_own(*self._nearest(queries, k + 1, filter, threads), own)

    def _nearest(
        self, queries: NDArray[np.uint8], k: int, filter: Filter | None, threads: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
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
        exclude: ArrayLike | None = None,
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
        exclude : array_like of int, shape (n_queries,), optional
            An id for each query, which that query does not find, as in `search`.
        n_threads : int, optional
            Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

        Returns
        -------
        limits : ndarray of int64, shape (n_queries + 1,)
            The answers to query i are at ``[limits[i]:limits[i + 1]]`` of the other two.
        distances : ndarray of int32, shape (n_found,)
            Ascending within a query.
        ids : ndarray of int64, shape (n_found,)
            Ascending among equal distances.

        Raises
        ------
        TypeError, ValueError
            If the queries are not codes of `n_bits`, the radius is negative, the filter does not
            fit, or `exclude` does not have one id per query.

        See Also
        --------
        search : The k nearest codes.
        fasthash.within : The same search without an index, which answers with rows.

        Examples
        --------
        >>> import fasthash as fh
        >>> index = fh.HammingIndex(n_bits=2)
        >>> index.add(fh.pack([[1.0, 1.0], [-1.0, -1.0]]), ids=[70, 50])
        >>> index.within(fh.pack([[-1.0, -1.0]]), radius=1)
        (array([0, 1]), array([0], dtype=int32), array([50]))
        """
        queries = check_codes(queries, "queries", self.n_bits)
        radius = min(check_count(radius, "radius", minimum=0, maximum=None), self.n_bits)
        threads = resolve_threads(n_threads)
        if exclude is None:
            return self._near(queries, radius, filter, threads)
        own = _check_exclude(exclude, len(queries))
        return drop_own_within(*self._near(queries, radius, filter, threads), own)

    def _near(
        self, queries: NDArray[np.uint8], radius: int, filter: Filter | None, threads: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
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

    def save(self, path: str | os.PathLike[str], *, tables: bool = False) -> None:
        """
        Write the index to a file.

        Parameters
        ----------
        path : path
            The file, in a folder that exists. An old file is replaced when the new one is complete
            and on the disk, so a crash at any moment leaves one of the two whole.
        tables : bool, default False
            Whether the file also holds the tables of multi-index hashing, so that an index loaded
            from it answers by tables from the first search on. They are built if they do not exist.
            The file is then larger, by about 33 bytes per code for 10 million codes of 64 bits. An
            index that never uses tables, such as a `HammingIndex` of less than 32,768 codes, is
            written without.

        Raises
        ------
        OSError
            If the file cannot be written; an old file is then unchanged.
        TypeError
            If `tables` is neither True nor False.

        See Also
        --------
        load : Read the file.

        Notes
        -----
        Other threads may search and change the index meanwhile; the file has the state at the call.
        With ``tables=True`` the index is compacted first, as by `compact`.

        Examples
        --------
        >>> import os, tempfile
        >>> import fasthash as fh
        >>> index = fh.MultiIndexHash(n_bits=8)
        >>> index.add(fh.pack([[1.0] * 8, [-1.0] * 8]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "some.index")
        ...     index.save(path, tables=True)
        ...     fh.load(path)
        MultiIndexHash(n_bits=8) of 2 codes
        """
        parameters = {name: getattr(self, name) for name in ("n_bits", *self._options)}
        if not isinstance(tables, bool):
            raise TypeError(f"tables must be True or False, got {tables!r}")
        state, kept = self._storage.state, None
        if tables:
            state = self._storage.compact()
            if len(state):
                threads = resolve_threads(None)
                kept = self._searcher(state.base, threads).tables_to_keep(threads)
        write_index(path, type(self).__name__, parameters, state, kept)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False) -> Self:
        """
        Read an index from a file that `save` has written.

        Parameters
        ----------
        path : path
            The file. It may come from an untrusted source: a damaged file raises an error, and no
            code in a file is run.
        mmap : bool, default False
            Whether the content is memory-mapped: it stays in the file and is read when it is
            needed. Then opening takes milliseconds, and processes share the memory. The file
            must not be changed in place meanwhile; `save` never does that, it makes a new file.
            Changes of the index stay in memory.

        Returns
        -------
        HammingIndex or MultiIndexHash
            An index of the class on which the method was called.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it holds no index of this class, has another format version, or is damaged. With
            `mmap` only the header is checked: see `verify`.

        See Also
        --------
        fasthash.load : Read an index or model of any class.
        verify : Check the content of a memory-mapped file.
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
        if content.tables is not None:
            base = index._storage.state.base
            tables = CodeTables(base.codes, index.n_bits, content.n_tables, 1, content.tables)
            base.searcher = index._searcher_by_tables(base, tables)
        return index

    def verify(self) -> None:
        """
        Check all codes and ids, and tables from a file; if they are mapped, also its checksums.

        Raises
        ------
        ValueError
            If checksums differ, ids do not ascend, padding bits are set, or tables are not those of
            the codes: the file is damaged.

        See Also
        --------
        load : Read a file, with these checks unless it is memory-mapped.

        Notes
        -----
        O(codes held). Reads the whole file of an index that was loaded with ``mmap=True``. Without
        it, `load` has made the same checks, except one: here, tables from the file are built again
        and compared, which takes as much time and memory as building them.
        """
        state = self._storage.state
        for held in (state.base, state.recent):
            name = "the index" if held.source is None else held.source.path
            check_content(name, held.codes, held.ids, self.n_bits, held.source)
            tables = None if held.searcher is None else held.searcher.tables
            if tables is None or not tables.was_read:
                continue
            if not tables.agree_with_codes(resolve_threads(None)):
                raise ValueError(f"{name} is damaged: its tables are not those of its codes")

    @property
    def _has_tables(self) -> bool:
        """Whether there are tables now, over most of the codes."""
        searcher = self._storage.state.base.searcher
        return searcher is not None and searcher.tables is not None

    def _searcher(self, codes: SortedCodes, n_threads: int) -> Any:
        """
        An object that searches these codes; made at the first search, then kept with them.

        Its `tables` are None or `CodeTables`; `tables_to_keep` builds them if it may use them.
        """
        raise NotImplementedError

    def _searcher_by_tables(self, codes: SortedCodes, tables: CodeTables) -> Any:
        """An object that searches these codes by tables from a file."""
        raise NotImplementedError

    def _recent_searcher(self, codes: SortedCodes) -> Any:
        """An object that searches recent codes, which the next change replaces."""
        raise NotImplementedError


def _check_exclude(exclude: ArrayLike, n_queries: int) -> NDArray[np.int64]:
    own = check_ids(exclude, "exclude")
    if len(own) != n_queries:
        raise ValueError(f"exclude must have one id per query, {n_queries} in all, got {len(own)}")
    return own


def _ids_of(codes: SortedCodes, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Replace rows by ids; -1 stays -1."""
    if len(codes) == 0:
        return rows
    ids = np.empty(rows.shape, np.int64)
    for some in blocks_of(rows):
        ids[some] = np.where(rows[some] >= 0, codes.ids[rows[some]], rows[some])
    return ids
