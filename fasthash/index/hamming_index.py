"""`HammingIndex`: packed codes with their ids, searched exactly.

Codes are kept in ascending order of id, so that the scan's order (distance, row) is the promised
order (distance, id).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..codes import check_codes
from ..hamming import topk, within
from ..validation import check_count

__all__ = ["HammingIndex"]


class HammingIndex:
    """
    Hold packed codes and search them exactly by Hamming distance.

    Parameters
    ----------
    n_bits : int
        Number of bits in every code.

    Attributes
    ----------
    n_bits : int
        Number of bits in every code.
    ids : ndarray of int64, shape (n,)
        The ids held, ascending; read-only.
    codes : ndarray of uint8, shape (n, ceil(n_bits / 8))
        The codes held, in the order of `ids`; read-only.

    Raises
    ------
    TypeError, ValueError
        If `n_bits` is not an integer of at least 1.

    Examples
    --------
    >>> import fasthash as fh
    >>> index = fh.HammingIndex(n_bits=2)
    >>> index.add(fh.pack([[1.0, 1.0], [-1.0, -1.0]]), ids=[70, 50])
    >>> index.search(fh.pack([[-1.0, -1.0]]), k=1)
    (array([[0]], dtype=int32), array([[50]]))
    """

    def __init__(self, n_bits: int) -> None:
        self.n_bits = check_count(n_bits, "n_bits")
        # Arrays with room to grow; the first _n rows are in use. What lies before _n is never
        # written again, so a view handed out stays what it was.
        self._codes = np.empty((0, (self.n_bits + 7) // 8), np.uint8)
        self._ids = np.empty(0, np.int64)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        return f"HammingIndex(n_bits={self.n_bits}) of {self._n} codes"

    @property
    def codes(self) -> NDArray[np.uint8]:
        return _read_only(self._codes[: self._n])

    @property
    def ids(self) -> NDArray[np.int64]:
        return _read_only(self._ids[: self._n])

    def add(self, codes: ArrayLike, ids: ArrayLike | None = None) -> None:
        """
        Add codes.

        Parameters
        ----------
        codes : array_like of uint8, shape (n, ceil(n_bits / 8))
            Packed codes, as made by `pack`; they are copied.
        ids : array_like of int, shape (n,), optional
            What the codes are called in answers, at least 0. By default they are numbered on from
            the largest id held.

        Raises
        ------
        TypeError, ValueError
            If codes or ids are of the wrong type or shape, or an id is negative, given twice, or
            held already. The index is then unchanged.

        Notes
        -----
        Amortised O(n) while new ids are larger than those held, else a sort of all.
        """
        codes = check_codes(codes, "codes", self.n_bits)
        ids = self._check_ids(ids, len(codes))
        if len(ids) == 0:
            return
        if np.any(ids[1:] < ids[:-1]):
            order = np.argsort(ids, kind="stable")
            codes, ids = codes[order], ids[order]
        if self._n and ids[0] < self._ids[self._n - 1]:
            self._merge(codes, ids)
        else:
            self._append(codes, ids)

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

    def search(
        self, queries: ArrayLike, k: int, n_threads: int | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """
        Find the k nearest codes of every query.

        Parameters
        ----------
        queries : array_like of uint8, shape (n_queries, ceil(n_bits / 8))
            Packed codes, as made by `pack`.
        k : int
            How many to return; may exceed the number of codes held.
        n_threads : int, optional
            Threads to use, by default ``OMP_NUM_THREADS`` or all cores.

        Returns
        -------
        distances : ndarray of int32, shape (n_queries, k)
            Ascending; -1 where fewer than k codes are held.
        ids : ndarray of int64, shape (n_queries, k)
            Equal distances in ascending order of id; -1 where missing.

        Raises
        ------
        TypeError, ValueError
            If the queries are not codes of `n_bits`, or k is less than 1.
        """
        queries = check_codes(queries, "queries", self.n_bits)
        found_distances, rows = topk(queries, self._codes[: self._n], k, n_threads)
        return found_distances, self._ids_of(rows)

    def within(
        self, queries: ArrayLike, radius: int, n_threads: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
        """
        Find all codes within a Hamming radius of every query.

        Parameters
        ----------
        queries : array_like of uint8, shape (n_queries, ceil(n_bits / 8))
            Packed codes, as made by `pack`.
        radius : int
            Largest distance that counts, in bits; inclusive.
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
            If the queries are not codes of `n_bits`, or the radius is negative.
        """
        queries = check_codes(queries, "queries", self.n_bits)
        limits, found_distances, rows = within(queries, self._codes[: self._n], radius, n_threads)
        return limits, found_distances, self._ids_of(rows)

    def _ids_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        if self._n == 0:
            return rows
        return np.where(rows >= 0, self._ids[rows], rows)


def _read_only(view: NDArray) -> NDArray:
    view.flags.writeable = False
    return view
