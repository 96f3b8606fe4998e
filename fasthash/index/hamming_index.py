"""`HammingIndex`: packed codes with their ids, searched exactly by whatever is fastest."""

from __future__ import annotations

from .._core.validation import check_choice
from ._code_index import CodeIndex
from ._plan import Plan, plan_of
from ._snapshot import SortedCodes

__all__ = ["HammingIndex"]


class HammingIndex(CodeIndex):
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
        The codes held, in the order of `ids`; read-only. A copy after changes, until `compact`.

    Raises
    ------
    TypeError, ValueError
        If `n_bits` is not an integer of at least 1, or `multi_index` none of its choices.

    Notes
    -----
    The codes take ceil(n_bits / 8) bytes each and 8 for the id. Tables, where there are any, take
    about as much as `MultiIndexHash` says. They follow changes: removed codes are marked, added
    ones searched beside the tables until they are an eighth of all. Then tables are dropped and
    earned again.

    Any number of threads may search while others change the index. A search answers for the state
    that was there when it began; changes wait for each other and happen whole or not at all.

    Examples
    --------
    >>> import fasthash as fh
    >>> index = fh.HammingIndex(n_bits=2)
    >>> index.add(fh.pack([[1.0, 1.0], [-1.0, -1.0]]), ids=[70, 50])
    >>> index.search(fh.pack([[-1.0, -1.0]]), k=1)
    (array([[0]], dtype=int32), array([[50]]))

    Codes are removed and replaced by their ids, and a filter restricts a search to some.

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

    def _recent_searcher(self, codes: SortedCodes) -> Plan:
        choice = "never" if self.multi_index == "never" else "auto"
        return plan_of(codes, self.n_bits, choice)
