"""`MultiIndexHash`: packed codes with ids, searched exactly by multi-index hashing.

Multi-index hashing: M. Norouzi, A. Punjani, D. J. Fleet, "Fast search in Hamming space with
multi-index hashing", CVPR 2012. `HammingIndex` chooses between this and a scan by itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.allowed import Allowed
from .._core.runtime import ForkSafeLock
from .._core.validation import check_count
from .._kernels.multi_index import SUBSTRING_BITS_MAX, best_n_tables
from ._code_index import CodeIndex
from ._plan import Plan, plan_of
from ._snapshot import SortedCodes
from ._tables import MAX_CODES, CodeTables

__all__ = ["MultiIndexHash"]


class MultiIndexHash(CodeIndex):
    """
    Hold packed codes and search them exactly, looking only at codes that share a substring.

    The tables are faster than a scan if neighbours are near: small radii, clustered codes, many
    codes. A query that would cost more than a scan is answered by a scan. `HammingIndex` chooses
    between both, so prefer it unless you know that tables are faster for your codes.

    Parameters
    ----------
    n_bits : int
        Number of bits in every code.
    n_tables : int, optional
        Number of substrings that a code is cut into, at least ``n_bits / 24``. Each substring has a
        table of its own. By default a substring has log2(n) bits.

    Attributes
    ----------
    n_bits : int
        Number of bits in every code.
    n_tables : int or None
        The argument.
    ids : ndarray of int64, shape (n,)
        The ids held, ascending; read-only.
    codes : ndarray of uint8, shape (n, ceil(n_bits / 8))
        The codes held, in the order of `ids`; read-only. After changes it is a copy, until
        `compact`.
    model : str or None
        Which model made the codes: None, or what you set, such as ``model.fingerprint()``. `save`
        writes it to the file.
    nbytes : int
        Bytes of codes and ids, and of tables and the directory of ids, once these exist.

    Raises
    ------
    TypeError, ValueError
        If `n_bits` or `n_tables` is not an integer in range.

    See Also
    --------
    HammingIndex : An index that chooses between tables and a scan.

    Notes
    -----
    A search for radius r visits, in every table, the buckets at most r / n_tables bits away from
    the substring of the query. A search for the k nearest codes increases r by one until no unseen
    code can belong to the answer. A code may be in buckets of several tables; it is reported by the
    first of them, which is computed from the code itself.

    The tables are built at the first search, in O(n · n_tables), unless they come from a file that
    was saved with ``tables=True``. They stay valid after changes: removed codes are marked, and
    added codes are searched in addition. When these are more than 4,096 and more than an eighth of
    the codes in the tables, the tables are built again. They take 4 bytes per code and table, at
    most 4 more for the buckets, and for codes of up to 64 bits also the bits outside the substring.
    Ten million codes of 64 bits need about 33 bytes per code.

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

    _options = ("n_tables",)

    def __init__(self, n_bits: int, *, n_tables: int | None = None) -> None:
        super().__init__(n_bits, most=MAX_CODES)
        self.n_tables = n_tables
        if n_tables is not None:
            self.n_tables = check_count(n_tables, "n_tables")
            fewest = -(-self.n_bits // SUBSTRING_BITS_MAX)
            if not fewest <= self.n_tables <= self.n_bits:
                raise ValueError(
                    f"n_tables must be from {fewest} to {self.n_bits} for n_bits={self.n_bits} "
                    f"(substrings of 1 to {SUBSTRING_BITS_MAX} bits), got {n_tables}"
                )
        self._build_lock = ForkSafeLock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_build_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _build_lock=ForkSafeLock())

    @property
    def nbytes(self) -> int:
        """Bytes of codes and ids, and of tables and the directory of ids, once these exist."""
        state = self._storage.state
        held = (state.base, state.recent)
        searcher = state.base.searcher
        tables = 0 if searcher is None else searcher.tables.nbytes
        return tables + sum(part.nbytes for part in held)

    def _searcher(self, codes: SortedCodes, n_threads: int) -> _Probing:
        if codes.searcher is None:
            with self._build_lock.here:
                if codes.searcher is None:
                    n_tables = self.n_tables or best_n_tables(self.n_bits, len(codes))
                    codes.searcher = _Probing(
                        CodeTables(codes.stored, self.n_bits, n_tables, n_threads)
                    )
        return codes.searcher

    def _searcher_by_tables(self, codes: SortedCodes, tables: CodeTables) -> _Probing:
        return _Probing(tables)

    def _recent_searcher(self, codes: SortedCodes) -> Plan:
        return plan_of(codes, self.n_bits, "auto")


class _Probing:
    """Tables that are searched as long as this is likely to cost less than a scan."""

    is_worth_keeping = True

    def __init__(self, tables: CodeTables) -> None:
        self.tables = tables

    def tables_to_keep(self, n_threads: int) -> CodeTables:
        return self.tables

    def topk(
        self, queries: NDArray[np.uint8], k: int, n_threads: int, allowed: Allowed | None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        return self.tables.topk(queries, k, self.tables.default_budget, n_threads, allowed)

    def within(
        self, queries: NDArray[np.uint8], radius: int, n_threads: int, allowed: Allowed | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
        return self.tables.within(queries, radius, self.tables.default_budget, n_threads, allowed)
