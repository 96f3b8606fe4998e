"""`HeldCodes`: packed codes with ids, and how a caller changes them.

`CodeStorage` makes the changes; `CodeIndex` adds searches and files.
"""

from __future__ import annotations

import operator
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.validation import check_choice, check_count
from ._storage import CodeStorage

__all__ = ["HeldCodes"]


class HeldCodes:
    """
    Packed codes with ids chosen by the caller, which can change.

    Changes wait for each other, and each happens as a whole or not at all.
    """

    def __init__(self, n_bits: int, most: int | None = None) -> None:
        self.n_bits = check_count(n_bits, "n_bits")
        self._storage = CodeStorage(self.n_bits, most)

    def __len__(self) -> int:
        return len(self._storage)

    def __copy__(self) -> Self:
        """An index with the same content, which then changes apart from this one; shares memory."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__, _storage=self._storage.fork())
        return other

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
            Ids of the codes, at least 0, which answers contain. By default they continue from the
            largest id that the index has ever held.
        replace : bool, default False
            Whether a code replaces a held one with the same id. Otherwise such a code is refused.

        Raises
        ------
        TypeError, ValueError
            If codes or ids have the wrong type or shape, or an id is negative, given twice, or held
            already and `replace` is False. The index is then unchanged, and also after a
            MemoryError.

        See Also
        --------
        update : Replace codes whose ids must be held.
        remove : Remove codes by their ids.

        Notes
        -----
        Amortised O(n). Added codes are kept apart and searched in addition if an id is not larger
        than all others, if codes have been removed, if the index is a mapped file, or if there are
        tables or may be later. They are merged with the others when they are more than 4,096 and
        more than an eighth of the others.

        Examples
        --------
        >>> import fasthash as fh
        >>> index = fh.HammingIndex(n_bits=2)
        >>> index.add(fh.pack([[1.0, 1.0], [-1.0, -1.0]]), ids=[70, 50])
        >>> index.ids
        array([50, 70])
        """
        self._storage.add(codes, ids, replace)

    def update(self, codes: ArrayLike, *, ids: ArrayLike) -> None:
        """
        Replace the codes of ids that are held.

        Parameters
        ----------
        codes : array_like of uint8, shape (n, ceil(n_bits / 8))
            Packed codes, as made by `pack`; they are copied.
        ids : array_like of int, shape (n,)
            The id of each code.

        Raises
        ------
        TypeError, ValueError
            If codes or ids have the wrong type or shape, or an id is given twice or not held. The
            index is then unchanged.

        See Also
        --------
        add : Add codes, or replace those that are held.
        """
        self._storage.update(ids, codes)

    def remove(self, ids: ArrayLike, *, missing: str = "raise") -> int:
        """
        Remove codes by their ids.

        Parameters
        ----------
        ids : array_like of int, shape (n,)
            Ids of the codes to remove.
        missing : {"raise", "ignore"}, default "raise"
            Whether an id that is not held is an error or is ignored.

        Returns
        -------
        int
            Number of codes that were removed.

        Raises
        ------
        TypeError, ValueError
            If ids are not integers, or one is not held and `missing` is "raise". The index is then
            unchanged.

        See Also
        --------
        compact : Free the memory of removed codes.

        Notes
        -----
        O(n log(codes held)), and a copy of one byte per code held: milliseconds for ten million.
        The codes are only marked, and tables stay. Their memory is freed by `compact`, or when the
        other codes are moved to make space for new ones.

        Examples
        --------
        >>> import fasthash as fh
        >>> index = fh.HammingIndex(n_bits=2)
        >>> index.add(fh.pack([[1.0, 1.0], [-1.0, -1.0]]), ids=[70, 50])
        >>> index.remove([50]), len(index)
        (1, 1)
        """
        check_choice(missing, "missing", ("raise", "ignore"))
        return self._storage.remove(ids, missing)

    def compact(self) -> None:
        """
        Free the memory of removed codes, and store all others together.

        See Also
        --------
        remove : Remove codes.

        Notes
        -----
        O(codes held), and no work if nothing has changed since the last call. Tables are dropped,
        and built again when they are worth their cost.
        """
        self._storage.compact()

    def reconstruct(self, ids: ArrayLike) -> NDArray[np.uint8]:
        """
        Return codes by their ids.

        Parameters
        ----------
        ids : array_like of int, shape (n,)
            Ids that are held.

        Returns
        -------
        ndarray of uint8, shape (n, ceil(n_bits / 8))
            The codes, in the order of `ids`.

        Raises
        ------
        TypeError, ValueError
            If ids are not integers, or one is not held.

        See Also
        --------
        search : Find ids by codes.
        """
        return self._storage.codes_of(ids)
