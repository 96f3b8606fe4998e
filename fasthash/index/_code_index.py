"""`CodeIndex`: what both indexes share: codes that are searched, and files of them.

A subclass decides how a set of codes is searched: see `HammingIndex` and `MultiIndexHash`.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self

from .._core.runtime import resolve_threads
from .._core.validation import check_flag
from ._index_file import (
    check_content,
    check_lists,
    map_large_pages,
    read_index,
    write_index,
)
from ._searched_codes import SearchedCodes
from ._snapshot import Content, SortedCodes, StoredLists
from ._tables import CodeTables

__all__ = ["CodeIndex", "check_model"]


def check_model(model: Any) -> None:
    """
    Check what a caller has set as the attribute model of an index.

    Raises
    ------
    TypeError
        If it is neither text nor None.
    """
    if not isinstance(model, str | None):
        raise TypeError(
            "the attribute model of an index must be text, such as model.fingerprint(), or "
            f"None, got {type(model).__name__}"
        )


class CodeIndex(SearchedCodes):
    """Base of the indexes: codes that can be searched and saved."""

    # Names of the constructor arguments except n_bits, which are also attributes.
    _options: ClassVar[tuple[str, ...]] = ()

    # Fingerprint of the model that made the codes, which the caller may set.
    model: str | None = None

    def save(
        self, path: str | os.PathLike[str], *, tables: bool = False, partitions: bool = False
    ) -> None:
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
        partitions : bool, default False
            Whether the file also holds the lists of a `HammingIndex`, and what has been calibrated,
            so that an index loaded from it is searched with a recall in lists from the first search
            on. They are made if they do not exist. The file gets larger by four bytes per code.

        Raises
        ------
        OSError
            If the file cannot be written; an old file is then unchanged.
        TypeError
            If `tables` or `partitions` is neither True nor False, or the attribute `model` is
            neither text nor None.
        ValueError
            If `partitions` is True, and the index holds no codes or has no lists.

        See Also
        --------
        load : Read the file.

        Notes
        -----
        Other threads may search and change the index meanwhile; the file has the state at the call.
        With ``tables=True`` or ``partitions=True`` the index is compacted first, as by `compact`.

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
        check_flag(tables, "tables")
        check_flag(partitions, "partitions")
        check_model(self.model)
        state, kept, lists = self._storage.state, None, None
        if tables or partitions:
            state = self._storage.compact()
            threads = resolve_threads(None)
            if tables and len(state):
                kept = self._searcher(state.base, threads).tables_to_keep(threads)
            if partitions:
                lists = self._lists_to_store(state.base, threads)
        write_index(path, type(self).__name__, parameters, state, kept, lists, self.model)

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
        index.model = content.model
        index._storage.put(content, is_mapped=mmap)
        if content.tables is not None:
            base = index._storage.state.base
            tables = CodeTables(base.stored, index.n_bits, content.n_tables, 1, content.tables)
            base.searcher = index._searcher_by_tables(base, tables)
        if content.lists is not None:
            index._take_lists(content)
        if mmap:
            map_large_pages(content)
        return index

    def verify(self) -> None:
        """
        Check codes and ids, tables and lists from a file, and its checksums if it is mapped.

        Raises
        ------
        ValueError
            If checksums differ, ids do not ascend, padding bits are set, tables are not those of
            the codes, or lists do not hold each code once: the file is damaged.

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
            # In any order; those of a file, which has a checksum of them, are in its order.
            codes = held.stored.layout.codes
            check_content(name, codes, held.ids, self.n_bits, held.source)
            if held.source is not None and held.source.lists is not None:
                check_lists(name, held.source.lists, len(held), self.n_bits)
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

    def _lists_to_store(self, codes: SortedCodes, n_threads: int) -> StoredLists:
        """The lists of these codes, for a file."""
        raise ValueError(
            f"partitions is True, and a {type(self).__name__} has no lists: leave it out, or use a "
            "HammingIndex"
        )

    def _take_lists(self, content: Content) -> None:
        """Use the lists of the file that has just been read."""
        raise ValueError(f"{content.path} is damaged: a {type(self).__name__} has no lists")

    def _searcher_by_tables(self, codes: SortedCodes, tables: CodeTables) -> Any:
        """An object that searches these codes by tables from a file."""
        raise NotImplementedError
