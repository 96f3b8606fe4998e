"""`HammingIndex`: packed codes with ids, searched exactly, or in lists with a recall."""

from __future__ import annotations

import copy as copying
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.runtime import resolve_threads
from .._core.validation import check_choice, check_count
from .._core.weights import check_weights, round_weights
from ..codes import check_codes
from ._calibration import Calibration, check_recall
from ._code_index import CodeIndex
from ._filtered_lists import FilteredLists
from ._filters import AllowedRows, Filter, PreparedFilter, live_rows
from ._list_search import Among, Answer
from ._partitioning import Partitioning
from ._partitions import MAX_CHOSEN_LISTS, Queries
from ._plan import Plan, plan_of
from ._snapshot import Content, Snapshot, SortedCodes, StoredLists
from ._tables import CodeTables

__all__ = ["HammingIndex"]


class HammingIndex(CodeIndex):
    """
    Hold packed codes and search them by Hamming distance, exactly unless a recall is given.

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
        `compact`; with lists it is always a copy.
    model : str or None
        Which model made the codes: None, or what you set, such as ``model.fingerprint()``. `save`
        writes it to the file.
    calibration_ : dict of (int, float) to Calibration
        What searches with a recall achieve, by (k, recall); see `calibrate`.
    weighted_calibration_ : dict of (int, float) to Calibration
        The same of searches with weights.

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
    about as much memory as in `MultiIndexHash`. The search that finds them worth building builds
    them: ten million codes of 64 bits take 1.5 seconds on one thread. Meanwhile, searches in other
    threads go on by scans. A file can hold the tables, see `save`.

    Tables stay valid after changes: removed codes are marked, and added codes are searched in
    addition to the tables. When these are more than 4,096 and more than an eighth of the codes in
    the tables, the tables are dropped. They are built again when the searches have paid for them.

    Any number of threads may search while others change the index. A search answers for the state
    at its beginning. Changes wait for each other, and each happens as a whole or not at all.

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
        self._partitioning = Partitioning()

    def __copy__(self) -> Self:
        other = super().__copy__()
        other._partitioning = copying.copy(self._partitioning)
        return other

    @property
    def calibration_(self) -> dict[tuple[int, float], Calibration]:
        return self._partitioning.calibrations(self._storage.state.base, has_weights=False)

    @property
    def weighted_calibration_(self) -> dict[tuple[int, float], Calibration]:
        return self._partitioning.calibrations(self._storage.state.base, has_weights=True)

    def partition(self, *, n_lists: int | None = None, n_threads: int | None = None) -> None:
        """
        Put the codes into lists, so that searches with a recall are fast from the first one on.

        Parameters
        ----------
        n_lists : int, optional
            About how many lists to make, at most 32,767; by default the square root of twice the
            number of codes, or up to four times as many if an estimate says that a query compares
            far more codes than centres. More lists make searches faster, until the comparison
            with the centres takes most of the time.
        n_threads : int, optional
            Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

        Raises
        ------
        TypeError, ValueError
            If `n_lists` is not an integer from 1 to 32,767, or the index holds no codes.

        See Also
        --------
        search : Search with a recall.
        calibrate : Choose which lists are probed.

        Notes
        -----
        The index is compacted first, as by `compact`. When codes that were added join the others,
        the lists are made again at the next search with a recall, around the same centres. When the
        number of codes has doubled or halved, about `n_lists` lists are learned again. Copies and
        files of the index, see `save`, keep `n_lists`.

        The codes are then stored list by list, with eight bytes more for each. Answers and their
        order stay the same, but the attribute `codes` gathers a copy whenever it is read. The codes
        of a memory-mapped index stay in the file: lists take four bytes for each, and searches with
        a recall take up to twice as long.

        The centres are learned from a fifth of the codes, but 48 to 256 for each list, in ten
        rounds: every code is assigned to the nearest centre, and each bit of a centre becomes the
        one that most of its codes have. O(codes held * lists).

        Examples
        --------
        >>> import fasthash as fh
        >>> index = fh.HammingIndex(n_bits=8)
        >>> index.add(fh.pack([[1.0] * 8, [-1.0] * 8]))
        >>> index.partition(n_lists=2)
        >>> index.search(fh.pack([[1.0] * 8]), k=1, recall=0.9)
        (array([[0]], dtype=int32), array([[0]]))
        """
        if n_lists is not None:
            n_lists = check_count(n_lists, "n_lists", maximum=MAX_CHOSEN_LISTS)
        base = self._storage.compact().base
        self._partitioning.learn(base, n_lists, resolve_threads(n_threads))

    def calibrate(
        self,
        *,
        recall: float,
        k: int = 10,
        queries: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        filter: PreparedFilter | None = None,
        n_threads: int | None = None,
    ) -> Calibration:
        """
        Choose which lists are probed by searches with a recall, and measure what they achieve.

        A search with a recall does the same at the first time. With queries of your own, the recall
        holds for queries like these; codes of the index may be more or less alike than queries.

        Parameters
        ----------
        recall : float
            The recall that these searches ask for, above 0 and at most 1.
        k : int, default 10
            How many codes the searches return.
        queries : array_like of uint8, shape (n_queries, ceil(n_bits / 8)), optional
            Packed codes, which are kept for all calibrations to come; at least some hundred. They
            are not saved to a file. By default codes of the index, each of which is searched
            without itself.
        weights : array_like of float or int, shape (n_queries, n_bits), optional
            Weights of queries, for searches with weights; at least some hundred queries, which are
            kept apart from `queries`. Codes of the index have no weights, so without this argument
            searches with weights are exact.
        filter : PreparedFilter, optional
            Calibrate searches with this filter, which `prepare_filter` has returned. Without
            queries of your own, as many codes that the filter does not allow are also searched,
            and the recall is kept for both groups of queries.
        n_threads : int, optional
            Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

        Returns
        -------
        Calibration
            Also in `calibration_`, by (k, recall), or with weights in `weighted_calibration_`;
            with a filter, in those of the filter.

        Raises
        ------
        TypeError, ValueError
            If the queries are not codes of `n_bits`, or the weights do not fit; if both are given;
            if k or the recall is out of range, or the filter has not been prepared by this index.

        See Also
        --------
        partition : Make the lists; without them, `calibrate` makes them.
        search : Search with a recall.

        Notes
        -----
        The queries are searched exactly: 2,048 to 4,096 codes of the index, the more the higher
        the recall. Of ten rules, the one that compares the fewest codes is chosen, among those for
        which the lower bound of the recall is at least the recall asked for, at 95 % confidence.
        If none is, or if the exact search is faster, the searches are exact. They are also exact,
        without a calibration, if the index holds fewer than 32 codes for each of the k answers, or
        if the filter allows fewer, or at most a 64th of the codes.

        Examples
        --------
        >>> import fasthash as fh
        >>> index = fh.HammingIndex(n_bits=8)
        >>> index.add(fh.pack([[1.0] * 8, [-1.0] * 8]))
        >>> index.calibrate(k=1, recall=0.9).achieved
        1.0
        """
        k, recall = check_count(k, "k"), check_recall(recall)
        if queries is not None and weights is not None:
            raise TypeError(
                "pass either queries, for searches by Hamming distance, or weights, for searches "
                "with weights; got both"
            )
        given: Queries | None = None
        if queries is not None:
            given = check_codes(queries, "queries", self.n_bits)
        elif weights is not None:
            given = round_weights(check_weights(weights, self.n_bits)).values
        if given is not None and len(given) == 0:
            name, other = "queries", "None for codes of the index"
            if weights is not None:
                name, other = "weights", "leave it out: searches with weights are then exact"
            raise ValueError(f"{name} has no rows: pass some, or {other}")
        has_weights = weights is not None
        if filter is not None and not isinstance(filter, PreparedFilter):
            raise TypeError(
                "filter must be what prepare_filter returned, which keeps its calibrations: pass "
                f"index.prepare_filter(...), got {type(filter).__name__}"
            )
        threads = resolve_threads(n_threads)
        state, allowed = self._restricted(filter)
        if given is not None:
            self._partitioning.take_queries(given, has_weights)
        search = self._partitioning.search(state.base, has_weights, threads)
        if filter is not None:
            search = filter._lists.search(search, filter._known_in(state).key)
        among = self._among(state, allowed, filter, threads)
        return search.chosen(k, recall, among, threads).calibration

    @property
    def _has_lists(self) -> bool:
        """Whether there are lists now, or a file has them."""
        return self._partitioning.has_lists(self._storage.state.base)

    def _lists_to_store(self, codes: SortedCodes, n_threads: int) -> StoredLists:
        return self._partitioning.stored(codes, n_threads)

    def _take_lists(self, content: Content) -> None:
        self._partitioning.take_file(self._storage.state.base, content)

    def _near(
        self,
        queries: Queries,
        k: int,
        state: Snapshot,
        allowed: AllowedRows,
        own: NDArray[np.int64] | None,
        threads: int,
        recall: float | None,
        filter: Filter | None,
    ) -> Answer:
        prepared = None if filter is None or not isinstance(filter, PreparedFilter) else filter
        if recall is None or filter is not prepared:
            return self._nearest(queries, k, state, allowed, own, threads)
        base, in_base = state.base, allowed[0]
        if prepared is not None and in_base is not None and in_base.is_few:
            return self._nearest(queries, k, state, allowed, own, threads)
        has_weights = queries.dtype.kind == "i"
        lists = self._partitioning.search_if_due(base, has_weights, len(queries), threads)
        timer: Partitioning | FilteredLists = self._partitioning
        if lists is not None and prepared is not None:
            timer, of = prepared._lists, prepared._known_in(state).key
            lists = prepared._lists.search_if_due(
                lists, of, in_base, len(queries), k, recall, threads
            )
        if lists is None and has_weights and timer is self._partitioning:
            # Nobody has calibrated them, and their time does not pay for lists.
            return self._nearest(queries, k, state, allowed, own, threads)
        if lists is None:
            with timer.timed():
                return self._nearest(queries, k, state, allowed, own, threads)
        n = k if own is None else k + 1
        find_among = partial(self._among, state, allowed, prepared, threads)
        found = lists.topk(queries, k, n, recall, in_base, find_among, threads)
        return self._join_recent(found, queries, n, state, allowed, own, threads)

    def _among(
        self, state: Snapshot, allowed: AllowedRows, filter: PreparedFilter | None, threads: int
    ) -> Among:
        """What may be found in the base."""
        base, rows = state.base, allowed[0]
        live = rows if filter is None else live_rows(state)
        return Among(lambda queries, n: self._topk(base, queries, n, threads, rows), rows, live)

    def _searcher(self, codes: SortedCodes, n_threads: int) -> Plan:
        return plan_of(codes, self.n_bits, self.multi_index)

    def _searcher_by_tables(self, codes: SortedCodes, tables: CodeTables) -> Plan:
        return Plan(codes.stored, self.n_bits, self.multi_index, tables)

    def _recent_searcher(self, codes: SortedCodes) -> Plan:
        choice = "never" if self.multi_index == "never" else "auto"
        return plan_of(codes, self.n_bits, choice)
