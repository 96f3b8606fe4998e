"""`SearchedCodes`: what both indexes share: searches with a filter, by codes or by weights.

A subclass decides how a set of codes is searched by Hamming distance, and how a recall is kept. A
search with weights is a scan otherwise, or sorts the nearest codes by Hamming distance.
"""

from __future__ import annotations

from typing import Any, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.allowed import Allowed
from .._core.excluded import drop_own, drop_own_within
from .._core.runtime import resolve_threads
from .._core.scan import merge_topk, merge_within, scan_weighted, threads_of_scan
from .._core.validation import check_count
from .._core.weights import RoundedWeights, check_weights, round_weights
from ..codes import check_codes, check_ids, pack_signs
from ._calibration import check_recall
from ._filters import AllowedRows, Filter, PreparedFilter, allowed_rows
from ._held_codes import HeldCodes
from ._partitions import Queries
from ._snapshot import Snapshot, SortedCodes

__all__ = ["SearchedCodes"]

# Distances and rows or ids.
_Answer = tuple[NDArray[np.int32], NDArray[np.int64]]


class SearchedCodes(HeldCodes):
    """
    Held codes that can be searched.

    Any number of threads may search while others change the index. A search answers for the state
    at its beginning.
    """

    def prepare_filter(self, ids: Filter) -> PreparedFilter:
        """
        Look up the ids of a filter once, for use in many searches.

        Parameters
        ----------
        ids : array_like of int, set of int, or callable
            Which codes may be found, as the ``filter`` of `search`.

        Returns
        -------
        PreparedFilter
            A value for the ``filter`` of `search` and `within` of this index. It stays valid when
            the index changes: an id that is added later may be found if it is among the given ids.
            A callable is called again after a change.

        Raises
        ------
        TypeError, ValueError
            If it is not a filter.

        See Also
        --------
        search : Search with a filter.

        Notes
        -----
        O(ids given + codes held / 64), or a sort of the given ids if the ids held are far apart. A
        search with a prepared filter takes about as long as one without, and less if the filter
        allows few codes.

        Examples
        --------
        >>> import fasthash as fh
        >>> index = fh.HammingIndex(n_bits=2)
        >>> index.add(fh.pack([[1.0, 1.0], [-1.0, -1.0]]), ids=[70, 50])
        >>> group = index.prepare_filter([50, 60])
        >>> index.search(fh.pack([[1.0, 1.0]]), k=1, filter=group)
        (array([[2]], dtype=int32), array([[50]]))
        """
        return PreparedFilter(self._storage, ids)

    @overload
    def search(
        self,
        queries: ArrayLike,
        k: int,
        *,
        weights: None = None,
        candidates: None = None,
        recall: float | None = None,
        filter: Filter | None = None,
        exclude: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...

    @overload
    def search(
        self,
        queries: None = None,
        k: int = ...,
        *,
        weights: ArrayLike,
        candidates: int | None = None,
        recall: float | None = None,
        filter: Filter | None = None,
        exclude: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]: ...

    def search(
        self,
        queries: ArrayLike | None = None,
        k: int | None = None,
        *,
        weights: ArrayLike | None = None,
        candidates: int | None = None,
        recall: float | None = None,
        filter: Filter | None = None,
        exclude: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> tuple[NDArray[np.int32] | NDArray[np.float64], NDArray[np.int64]]:
        """
        Find the k nearest codes of every query, exactly unless a recall is given.

        A query is either a packed code, compared by Hamming distance, or a weight for each bit,
        such as the projections that a model's `project` computes. Weights find better neighbours
        among the same codes.

        Parameters
        ----------
        queries : array_like of uint8, shape (n_queries, ceil(n_bits / 8))
            Packed codes, as made by `pack`. Pass either `queries` or `weights`.
        k : int
            How many codes to return for each query; may exceed the number of codes held.
        weights : array_like of float or int, shape (n_queries, n_bits)
            The weight of each bit; finite. The score of a code is the sum of the weights, each
            times 1 where the bit of the code is 1 and times -1 where it is 0.
        candidates : int, optional
            Compare the weights only with this many codes of each query, at least k: those nearest
            by Hamming distance to the signs of the weights. By default with all codes, in a scan.
        recall : float, optional
            Search a `HammingIndex` approximately: the mean share of the exact answers that is
            returned, above 0. By default and with 1, the search is exact. Most of the codes are
            then not compared; see the notes. With `candidates`, it holds for their search.
        filter : array_like of int, set of int, callable, or PreparedFilter, optional
            Which codes may be found, by default all. Either ids in any order; ids that are not held
            find nothing. Or a callable that gets all ids held, ascending, and returns a boolean for
            each. Or the result of `prepare_filter`. An array of booleans is refused, because an
            index has ids and no rows: pass ``index.ids[booleans]``.
        exclude : array_like of int, shape (n_queries,), optional
            An id for each query, which that query does not find, such as its own id in a search of
            the held codes. An id that is not held excludes nothing.
        n_threads : int, optional
            Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

        Returns
        -------
        distances or scores : ndarray of int32 or float64, shape (n_queries, k)
            For queries: Hamming distances, ascending; -1 where fewer than k codes may be found. For
            weights: scores, descending; NaN where missing.
        ids : ndarray of int64, shape (n_queries, k)
            Ascending among equal distances or scores; -1 where missing.

        Raises
        ------
        TypeError, ValueError
            If neither or both of queries and weights are given, or they do not fit codes of
            `n_bits`, k is less than 1, the recall is not above 0 and at most 1, the filter does not
            fit, or `exclude` does not have one id per query.

        See Also
        --------
        within : All codes within a radius.
        fasthash.topk : The same search without an index, which answers with rows.
        fasthash.topk_weighted : The same search with weights; says how they are rounded.

        Notes
        -----
        A search with weights is a scan, unless a recall is given. With `candidates`, tables may
        find the candidates; this is faster than the scan only among many codes whose neighbours
        are near.

        A search with `recall` compares a query with the codes in the lists of its nearest centres.
        The lists are made by `HammingIndex.partition`, or when searches with a recall have taken as
        long as making them takes; until then, these searches are exact. At the first search with a
        recall and k, the index finds out which lists must be probed: it searches codes of its own,
        or the queries that `HammingIndex.calibrate` was given, exactly and in lists. The recall is
        kept on average over queries like these, not for each query. The search is exact where that
        is faster, and where the recall cannot be kept. A filter needs a calibration of its own. So
        with a `filter` the search is exact, unless `prepare_filter` has made it, it allows more
        than a 64th of the codes, and searches with it have paid for the calibration. With weights,
        the search is exact until `HammingIndex.calibrate` has been given weights of some queries.

        Examples
        --------
        >>> import fasthash as fh
        >>> index = fh.HammingIndex(n_bits=2)
        >>> index.add(fh.pack([[1.0, 1.0], [-1.0, -1.0]]), ids=[70, 50])
        >>> index.search(fh.pack([[-1.0, -1.0]]), k=2)
        (array([[0, 2]], dtype=int32), array([[50, 70]]))
        >>> index.search(index.codes, k=1, exclude=index.ids)
        (array([[2],
               [2]], dtype=int32), array([[70],
               [50]]))
        >>> scores, ids = index.search(weights=[[-2.0, 0.5]], k=2)
        >>> ids, scores.round(1)
        (array([[50, 70]]), array([[ 1.5, -1.5]]))
        """
        if (queries is None) == (weights is None):
            given = "neither" if weights is None else "both"
            raise TypeError(
                "pass either queries, which are packed codes, or weights, a number for each bit; "
                f"got {given}"
            )
        if candidates is not None and weights is None:
            raise TypeError("candidates is given without weights, which would sort them")
        if k is None:
            raise TypeError(
                "k is missing: say how many codes to find, as in k=10 (within(queries, radius) "
                "finds all codes within a radius)"
            )
        k = check_count(k, "k")
        if recall is not None and check_recall(recall) == 1:
            recall = None
        if queries is not None:
            codes = check_codes(queries, "queries", self.n_bits)
            own = None if exclude is None else _check_exclude(exclude, len(codes))
            state, allowed = self._restricted(filter)
            threads = threads_of_scan(n_threads, codes, state.base.stored)
            return self._near(codes, k, state, allowed, own, threads, recall, filter)
        threads = resolve_threads(n_threads)
        values = check_weights(cast("ArrayLike", weights), self.n_bits)
        own = None if exclude is None else _check_exclude(exclude, len(values))
        rounded = round_weights(values)
        if candidates is None:
            state, allowed = self._restricted(filter)
            distances, ids = self._near(
                rounded.values, k, state, allowed, own, threads, recall, filter
            )
        else:
            n = max(k, check_count(candidates, "candidates"))
            _, found, sums = self._candidates(values, rounded, n, filter, own, threads, recall)
            distances, ids = merge_topk([(sums, found)], k)
        return rounded.scores(distances, ids), ids

    def within(
        self,
        queries: ArrayLike,
        radius: int,
        *,
        filter: Filter | None = None,
        exclude: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
        """
        Find all codes within a Hamming radius of every query.

        Parameters
        ----------
        queries : array_like of uint8, shape (n_queries, ceil(n_bits / 8))
            Packed codes, as made by `pack`.
        radius : int
            Largest distance that counts, in bits; inclusive.
        filter : array_like of int, set of int, callable, or PreparedFilter, optional
            Which codes may be found, as in `search`.
        exclude : array_like of int, shape (n_queries,), optional
            An id for each query, which that query does not find, as in `search`.
        n_threads : int, optional
            Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

        Returns
        -------
        limits : ndarray of int64, shape (n_queries + 1,)
            The answers to query i are at ``[limits[i]:limits[i + 1]]`` of the other two.
        distances : ndarray of int32, shape (n_found,)
            Ascending within a query.
        ids : ndarray of int64, shape (n_found,)
            Ascending among equal distances.

        Raises
        ------
        TypeError, ValueError
            If the queries are not codes of `n_bits`, the radius is negative, the filter does not
            fit, or `exclude` does not have one id per query.

        See Also
        --------
        search : The k nearest codes.
        fasthash.within : The same search without an index, which answers with rows.

        Examples
        --------
        >>> import fasthash as fh
        >>> index = fh.HammingIndex(n_bits=2)
        >>> index.add(fh.pack([[1.0, 1.0], [-1.0, -1.0]]), ids=[70, 50])
        >>> index.within(fh.pack([[-1.0, -1.0]]), radius=1)
        (array([0, 1]), array([0], dtype=int32), array([50]))
        """
        queries = check_codes(queries, "queries", self.n_bits)
        radius = min(check_count(radius, "radius", minimum=0, maximum=None), self.n_bits)
        own = None if exclude is None else _check_exclude(exclude, len(queries))
        state, (in_base, in_recent) = self._restricted(filter)
        threads = threads_of_scan(n_threads, queries, state.base.stored)
        searcher = self._searcher(state.base, threads)
        limits, distances, rows = searcher.within(queries, radius, threads, in_base)
        answer = limits, distances, state.base.ids_at(rows)
        if len(state.recent):
            searcher = self._recent_searcher(state.recent)
            limits, distances, rows = searcher.within(queries, radius, threads, in_recent)
            recent = limits, distances, state.recent.ids_at(rows)
            answer = merge_within([answer, recent])
        return answer if own is None else drop_own_within(*answer, own)

    def _restricted(self, filter: Filter | None) -> tuple[Snapshot, AllowedRows]:
        """The current state, and the rows of its base and of its recent codes that are allowed."""
        state = self._storage.state
        if filter is None and state.live is None:
            return state, (None, None)
        return state, allowed_rows(self._storage, state, filter)

    def _candidates(
        self,
        values: NDArray[Any],
        rounded: RoundedWeights,
        n: int,
        filter: Filter | None,
        own: NDArray[np.int64] | None,
        threads: int,
        recall: float | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
        """
        Find the n codes nearest to the signs of weights by Hamming distance.

        Returns Hamming distances and ids, in this order, and the weights of the differing bits.
        """
        state, allowed = self._restricted(filter)
        codes = pack_signs(values >= 0)
        distances, ids = self._near(codes, n, state, allowed, own, threads, recall, filter)
        return distances, ids, rounded.distances(lambda q: state.codes_at(ids[q]), n)

    def _nearest(
        self,
        queries: Queries,
        k: int,
        state: Snapshot,
        allowed: AllowedRows,
        own: NDArray[np.int64] | None,
        threads: int,
    ) -> _Answer:
        """Find the nearest codes of a state to queries, which are codes or rounded weights."""
        n = k if own is None else k + 1
        found = self._topk(state.base, queries, n, threads, allowed[0])
        return self._join_recent(found, queries, n, state, allowed, own, threads)

    def _topk(
        self, base: SortedCodes, queries: Queries, n: int, threads: int, rows: Allowed | None
    ) -> _Answer:
        """Find the n nearest codes of a base, exactly."""
        if queries.dtype.kind == "i":
            return scan_weighted(queries, base.stored, n, threads, rows)
        answer: _Answer = self._searcher(base, threads).topk(queries, n, threads, rows)
        return answer

    def _join_recent(
        self,
        found: _Answer,
        queries: Queries,
        n: int,
        state: Snapshot,
        allowed: AllowedRows,
        own: NDArray[np.int64] | None,
        threads: int,
    ) -> _Answer:
        """
        Merge the n nearest rows of the base, `found`, and of the recent codes, by (distance, id).

        Own ids are dropped. Returns ids, no rows.
        """
        distances, rows = found
        answer = distances, state.base.ids_at(rows)
        recent = state.recent
        if len(recent.ids):
            if queries.dtype.kind == "i":
                distances, rows = scan_weighted(queries, recent.stored, n, threads, allowed[1])
            else:
                searcher = self._recent_searcher(recent)
                distances, rows = searcher.topk(queries, n, threads, allowed[1])
            answer = merge_topk([answer, (distances, recent.ids_at(rows))], n)
        return answer if own is None else drop_own(*answer, own)

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
    ) -> _Answer:
        """Find the nearest codes as `_nearest`, or with a recall."""
        if recall is None:
            return self._nearest(queries, k, state, allowed, own, threads)
        raise TypeError(
            f"recall is given, but a {type(self).__name__} searches exactly: leave it out, or use "
            "a HammingIndex"
        )

    def _searcher(self, codes: SortedCodes, n_threads: int) -> Any:
        """
        An object that searches these codes; made at the first search, then kept with them.

        Its `tables` are None or `CodeTables`; `tables_to_keep` builds them if it may use them.
        """
        raise NotImplementedError

    def _recent_searcher(self, codes: SortedCodes) -> Any:
        """An object that searches recent codes, which the next change replaces."""
        raise NotImplementedError


def _check_exclude(exclude: ArrayLike, n_queries: int) -> NDArray[np.int64]:
    own = check_ids(exclude, "exclude")
    if len(own) != n_queries:
        raise ValueError(f"exclude must have one id per query, {n_queries} in all, got {len(own)}")
    return own
