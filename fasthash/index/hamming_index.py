"""`HammingIndex`: packed codes with ids, searched exactly by a scan or by tables."""

from __future__ import annotations

from .._core.validation import check_choice
from ._code_index import CodeIndex
from ._plan import Plan, plan_of
from ._snapshot import SortedCodes
from ._tables import CodeTables

__all__ = ["HammingIndex"]


class HammingIndex(CodeIndex):
    """
    Hold packed codes and search them exactly by Hamming distance.

    Parameters
    ----------
    n_bits : int
        Number of bits in every code.
    multi_index : {"auto", "always", "never"}, default "auto"
        Whether to search by multi-index hashing, as `MultiIndexHash` does, or by a scan. "auto"
        builds the tables when the searches so far would have paid for them. Then it answers each
        kind of search by the method that has been faster. The answers are the same.

    Attributes
    ----------
    n_bits : int
        Number of bits in every code.
    multi_index : str
        The argument.
    ids : ndarray of int64, shape (n,)
        The ids held, ascending; read-only.
    codes : ndarray of uint8, shape (n, ceil(n_bits / 8))
        The codes held, in the order of `ids`; read-only. After changes it is a copy, until
        `compact`.
    model : str or None
        Which model made the codes: None, or what you set, such as ``model.fingerprint()``. `save`
        writes it to the file.

    Raises
    ------
    TypeError, ValueError
        If `n_bits` is not an integer of at least 1, or `multi_index` is none of its choices.

    See Also
    --------
    MultiIndexHash : An index that always builds tables.
    topk : The same search over an array of codes, without ids.
    load : Read a saved index.

    Notes
    -----
    Each code takes ceil(n_bits / 8) bytes, and 8 bytes for its id. Tables, if they exist, take
    about as much memory as in `MultiIndexHash`. They stay valid after changes: removed codes are
    marked, and added codes are searched in addition to the tables. When these are more than 4,096
    and more than an eighth of the codes in the tables, the tables are dropped. They are built again
    when the searches have paid for them.

    Any number of threads may search while others change the index. A search answers for the state
    at its begin. Changes wait for each other, and each happens as a whole or not at all.

    Examples
    --------
    >>> import fasthash as fh
    >>> index = fh.HammingIndex(n_bits=2)
    >>> index.add(fh.pack([[1.0, 1.0], [-1.0, -1.0]]), ids=[70, 50])
    >>> index.search(fh.pack([[-1.0, -1.0]]), k=1)
    (array([[0]], dtype=int32), array([[50]]))

    Codes are removed and replaced by their ids, and a filter restricts a search to some ids.

    >>> index.remove([50])
    1
    >>> index.add(fh.pack([[-1.0, 1.0], [1.0, -1.0]]), ids=[70, 80], replace=True)
    >>> index.search(fh.pack([[-1.0, -1.0]]), k=2)
    (array([[1, 1]], dtype=int32), array([[70, 80]]))
    >>> index.search(fh.pack([[-1.0, -1.0]]), k=1, filter=lambda ids: ids > 70)
    (array([[1]], dtype=int32), array([[80]]))
    """

    _options = ("multi_index",)

    def __init__(self, n_bits: int, *, multi_index: str = "auto") -> None:
        super().__init__(n_bits)
        check_choice(multi_index, "multi_index", ("auto", "always", "never"))
        self.multi_index = multi_index

    def _searcher(self, codes: SortedCodes, n_threads: int) -> Plan:
        return plan_of(codes, self.n_bits, self.multi_index)

    def _searcher_by_tables(self, codes: SortedCodes, tables: CodeTables) -> Plan:
        return Plan(codes.codes, self.n_bits, self.multi_index, tables)

    def _recent_searcher(self, codes: SortedCodes) -> Plan:
        choice = "never" if self.multi_index == "never" else "auto"
        return plan_of(codes, self.n_bits, choice)
