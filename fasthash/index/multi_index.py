"""`MultiIndexHash`: packed codes with their ids, searched exactly in sub-linear time.

Multi-index hashing: M. Norouzi, A. Punjani, D. J. Fleet, "Fast search in Hamming space with
multi-index hashing", CVPR 2012. `HammingIndex` chooses between this and a scan by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._kernels.multi_index import SUBSTRING_BITS_MAX
from ..codes import check_codes
from ..runtime import resolve_threads
from ..validation import check_count
from .storage import CodeStorage
from .tables import MAX_CODES, CodeTables, best_n_tables

__all__ = ["MultiIndexHash"]


class MultiIndexHash:
    """
    Hold packed codes and search them exactly, looking only at codes that share a substring.

    Pays where neighbours are near: small radii, clustered codes, many codes. Elsewhere (a query
    that would cost more than a scan) it scans; `HammingIndex` weighs both and is the better choice
    unless it is known that the tables pay.

    Parameters
    ----------
    n_bits : int
        Number of bits in every code.
    n_tables : int, optional
        Into how many substrings a code is cut, each with a table of its own; at least
        ``n_bits / 24``. By default as many as make a substring log2(n) bits long.

    Attributes
    ----------
    n_bits : int
        Number of bits in every code.
    n_tables : int or None
        As given.
    ids : ndarray of int64, shape (n,)
        The ids held, ascending; read-only.
    codes : ndarray of uint8, shape (n, ceil(n_bits / 8))
        The codes held, in the order of `ids`; read-only.
    nbytes : int
        Bytes of codes, ids and, once they are built, tables.

    Raises
    ------
    TypeError, ValueError
        If `n_bits` or `n_tables` is not an integer in range.

    Notes
    -----
    A search for radius r probes, in every table, the buckets at most r / n_tables bits away from
    the query's substring; a search for the k nearest widens r by one until no code that it has not
    seen can belong to the answer. Every code is reported by the first table that meets it, which is
    decided from the code itself.

    The tables are built at the first search after codes were added, in O(n · n_tables). They take 4
    bytes per code and table, another 4 at most for the buckets, and up to 64 bits also the bits of
    the code outside the substring: about 33 bytes per code for ten million codes of 64 bits.

    References
    ----------
    M. Norouzi, A. Punjani, D. J. Fleet, "Fast search in Hamming space with multi-index hashing",
    IEEE Conference on Computer Vision and Pattern Recognition, 2012.

    Examples
    --------
    >>> import fasthash as fh
    >>> index = fh.MultiIndexHash(n_bits=2)
    >>> index.add(fh.pack([[1.0, 1.0], [-1.0, -1.0]]), ids=[70, 50])
    >>> index.search(fh.pack([[-1.0, -1.0]]), k=1)
    (array([[0]], dtype=int32), array([[50]]))
    >>> index.within(fh.pack([[-1.0, 1.0]]), radius=1)
    (array([0, 2]), array([1, 1], dtype=int32), array([50, 70]))
    """

    def __init__(self, n_bits: int, n_tables: int | None = None) -> None:
        self.n_bits = check_count(n_bits, "n_bits")
        self.n_tables = n_tables
        if n_tables is not None:
            self.n_tables = check_count(n_tables, "n_tables")
            fewest = -(-self.n_bits // SUBSTRING_BITS_MAX)
            if not fewest <= self.n_tables <= self.n_bits:
                raise ValueError(
                    f"n_tables must be from {fewest} to {self.n_bits} for n_bits={self.n_bits} "
                    f"(substrings of 1 to {SUBSTRING_BITS_MAX} bits), got {n_tables}"
                )
        self._storage = CodeStorage(self.n_bits, most=MAX_CODES)
        self._tables: CodeTables | None = None

    def __len__(self) -> int:
        return len(self._storage)

    def __repr__(self) -> str:
        return f"MultiIndexHash(n_bits={self.n_bits}) of {len(self)} codes"

    def __getstate__(self) -> dict[str, Any]:
        # Tables are cheaper to build again than to write down.
        return {**self.__dict__, "_tables": None}

    @property
    def codes(self) -> NDArray[np.uint8]:
        return self._storage.codes

    @property
    def ids(self) -> NDArray[np.int64]:
        return self._storage.ids

    @property
    def nbytes(self) -> int:
        """Bytes of codes, ids and, once they are built, tables."""
        tables = 0 if self._tables is None else self._tables.nbytes
        return self.codes.nbytes + self.ids.nbytes + tables

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
            If codes or ids are of the wrong type or shape, an id is negative, given twice, or held
            already, or the index would hold 2^32 codes. The index is then unchanged.

        Notes
        -----
        The tables are built anew at the next search.
        """
        if self._storage.add(codes, ids):
            self._tables = None

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
        threads = resolve_threads(n_threads)
        tables = self._built(threads)
        distances, rows = tables.topk(queries, k, tables.default_budget, threads)
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
        threads = resolve_threads(n_threads)
        tables = self._built(threads)
        limits, distances, rows = tables.within(queries, radius, tables.default_budget, threads)
        return limits, distances, self._storage.ids_of(rows)

    def _built(self, n_threads: int) -> CodeTables:
        # Kept in a local, so that a search in another thread of Python finds whole tables or none.
        tables = self._tables
        if tables is None:
            n_tables = self.n_tables or best_n_tables(self.n_bits, len(self))
            tables = CodeTables(self.codes, self.n_bits, n_tables, n_threads)
            self._tables = tables
        return tables
