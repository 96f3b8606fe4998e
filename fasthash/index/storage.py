"""`CodeStorage`: packed codes with the caller's ids, what every index holds.

Codes are kept in ascending order of id, so that the order (distance, row) of a search is the
promised order (distance, id).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..codes import check_codes

__all__ = ["CodeStorage"]


class CodeStorage:
    """
    Packed codes and their ids, in ascending order of id.

    Parameters
    ----------
    n_bits : int
        Number of bits in every code; validated by the caller.
    most : int, optional
        How many codes it may hold.
    """

    def __init__(self, n_bits: int, most: int | None = None) -> None:
        self.n_bits = n_bits
        self.most = most
        # Arrays with room to grow; the first _n rows are in use. What lies before _n is never
        # written again, so a view handed out stays what it was.
        self._codes = np.empty((0, (n_bits + 7) // 8), np.uint8)
        self._ids = np.empty(0, np.int64)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @property
    def codes(self) -> NDArray[np.uint8]:
        """The codes in the order of `ids`, read-only."""
        return _read_only(self._codes[: self._n])

    @property
    def ids(self) -> NDArray[np.int64]:
        """The ids, ascending, read-only."""
        return _read_only(self._ids[: self._n])

    def ids_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Replace rows by ids; -1 stays."""
        if self._n == 0:
            return rows
        return np.where(rows >= 0, self._ids[rows], rows)

    def add(self, codes: ArrayLike, ids: ArrayLike | None = None) -> bool:
        """
        Add codes; refused as a whole or not at all.

        Returns
        -------
        bool
            Whether anything was added.

        Raises
        ------
        TypeError, ValueError
            If codes or ids are of the wrong type or shape, or an id is negative, given twice, or
            held already, or there would be too many codes.
        """
        codes = check_codes(codes, "codes", self.n_bits)
        if self.most is not None and self._n + len(codes) > self.most:
            raise ValueError(
                f"the index holds {self._n} codes and can hold {self.most}, got {len(codes)} more"
            )
        ids = self._check_ids(ids, len(codes))
        if len(ids) == 0:
            return False
        if np.any(ids[1:] < ids[:-1]):
            order = np.argsort(ids, kind="stable")
            codes, ids = codes[order], ids[order]
        if self._n and ids[0] < self._ids[self._n - 1]:
            self._merge(codes, ids)
        else:
            self._append(codes, ids)
        return True

    def _check_ids(self, ids: ArrayLike | None, n: int) -> NDArray[np.int64]:
        if ids is None:
            first = int(self._ids[self._n - 1]) + 1 if self._n else 0
            if first + n > np.iinfo(np.int64).max:
                raise ValueError(f"ids cannot be numbered on from {first}: pass ids")
            return np.arange(first, first + n, dtype=np.int64)
        given = np.asarray(ids)
        if given.size == 0:
            given = given.astype(np.int64)
        if given.dtype.kind not in "iu":
            raise TypeError(f"ids must be integers, got dtype {given.dtype}")
        if given.shape != (n,):
            raise ValueError(f"ids must have shape ({n},), one per code, got {given.shape}")
        if n and given.dtype == np.uint64 and given.max() > np.iinfo(np.int64).max:
            raise ValueError(f"ids holds {given.max()}, which does not fit in int64")
        given = given.astype(np.int64)
        if n and given.min() < 0:
            raise ValueError(f"ids holds {given.min()}: ids must be at least 0 (-1 means missing)")
        unique, counts = np.unique(given, return_counts=True)
        if len(unique) < n:
            raise ValueError(f"ids holds {unique[counts > 1][0]} more than once")
        held = np.isin(unique, self._ids[: self._n], assume_unique=True)
        if held.any():
            raise ValueError(f"ids holds {unique[held][0]}, which the index has already")
        return given

    def _append(self, codes: NDArray[np.uint8], ids: NDArray[np.int64]) -> None:
        end = self._n + len(ids)
        if end > len(self._ids):
            capacity = max(end, len(self._ids) * 3 // 2)
            grown_codes = np.empty((capacity, codes.shape[1]), np.uint8)
            grown_ids = np.empty(capacity, np.int64)
            grown_codes[: self._n] = self._codes[: self._n]
            grown_ids[: self._n] = self._ids[: self._n]
            self._codes, self._ids = grown_codes, grown_ids
        self._codes[self._n : end] = codes
        self._ids[self._n : end] = ids
        self._n = end

    def _merge(self, codes: NDArray[np.uint8], ids: NDArray[np.int64]) -> None:
        all_ids = np.concatenate([self._ids[: self._n], ids])
        order = np.argsort(all_ids, kind="stable")
        merged_codes = np.concatenate([self._codes[: self._n], codes])[order]
        self._codes, self._ids, self._n = merged_codes, all_ids[order], len(all_ids)


def _read_only(view: NDArray) -> NDArray:
    view.flags.writeable = False
    return view
