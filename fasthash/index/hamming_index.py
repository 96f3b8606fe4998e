"""`HammingIndex`: packed codes with their ids, searched exactly by whatever is fastest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..codes import check_codes
from ..runtime import resolve_threads
from ..validation import check_choice, check_count
from .plan import Plan
from .storage import CodeStorage

__all__ = ["HammingIndex"]


class HammingIndex:
    """
    Hold packed codes and search them exactly by Hamming distance.

    Parameters
    ----------
    n_bits : int
        Number of bits in every code.
    multi_index : {"auto", "always", "never"}, default "auto"
        Whether to search by multi-index hashing, as `MultiIndexHash` does, or to scan. "auto"
        builds the tables once they would have paid for themselves, and then answers every kind of
        search by the method that has been faster. The answers are the same.

    Attributes
    ----------
    n_bits : int
        Number of bits in every code.
    multi_index : str
        As given.
    ids : ndarray of int64, shape (n,)
        The ids held, ascending; read-only.
    codes : ndarray of uint8, shape (n, ceil(n_bits / 8))
        The codes held, in the order of `ids`; read-only.

    Raises
    ------
    TypeError, ValueError
        If `n_bits` is not an integer of at least 1, or `multi_index` none of its choices.

    Notes
    -----
    The codes take ceil(n_bits / 8) bytes each and 8 for the id. Tables, where there are any, take
    about as much as `MultiIndexHash` says; they are dropped when codes are added, and earned again.

    Examples
    --------
    >>> import fasthash as fh
    >>> index = fh.HammingIndex(n_bits=2)
    >>> index.add(fh.pack([[1.0, 1.0], [-1.0, -1.0]]), ids=[70, 50])
    >>> index.search(fh.pack([[-1.0, -1.0]]), k=1)
    (array([[0]], dtype=int32), array([[50]]))
    """

    def __init__(self, n_bits: int, multi_index: str = "auto") -> None:
        self.n_bits = check_count(n_bits, "n_bits")
        check_choice(multi_index, "multi_index", ("auto", "always", "never"))
        self.multi_index = multi_index
        self._storage = CodeStorage(self.n_bits)
        self._plan: Plan | None = None

    def __len__(self) -> int:
        return len(self._storage)

    def __repr__(self) -> str:
        return f"HammingIndex(n_bits={self.n_bits}) of {len(self)} codes"

    def __getstate__(self) -> dict[str, Any]:
        # A plan holds measurements of this machine and tables that are cheaper to build again.
        return {**self.__dict__, "_plan": None}

    @property
    def codes(self) -> NDArray[np.uint8]:
        return self._storage.codes

    @property
    def ids(self) -> NDArray[np.int64]:
        return self._storage.ids

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
        if self._storage.add(codes, ids):
            self._plan = None

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
        k = check_count(k, "k")
        distances, rows = self._planned().topk(queries, k, resolve_threads(n_threads))
        return distances, self._storage.ids_of(rows)

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
        radius = check_count(radius, "radius", minimum=0)
        limits, distances, rows = self._planned().within(
            queries, radius, resolve_threads(n_threads)
        )
        return limits, distances, self._storage.ids_of(rows)

    def _planned(self) -> Plan:
        # Kept in a local, so that a search in another thread of Python finds a whole plan.
        plan = self._plan
        if plan is None:
            plan = Plan(self.codes, self.n_bits, self.multi_index)
            self._plan = plan
        return plan
