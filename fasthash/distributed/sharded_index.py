"""`ShardedIndex`: an index whose codes lie on the workers of a Dask cluster."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.arrays import is_dask_array
from .._core.carried import Carried
from .._core.cluster_rows import sent
from .._core.merges import merged_on_workers
from .._core.scan import merge_topk
from .._core.validation import check_count
from .._core.weights import check_weights, round_weights
from ..index._filters import Filter
from . import _shards
from ._direct import direct_answers
from ._lazy_search import lazy_search
from ._merging import merge_candidates, merge_nearest, merge_ranges, merge_scored
from ._sharded_codes import ShardedCodes

__all__ = ["PreparedShardFilter", "ShardedIndex"]


class PreparedShardFilter:
    """
    A filter that each shard looks up once, made by ``index.prepare_filter``.

    It can be the ``filter=`` of searches of any sharded index of the same client. A shard that has
    changed, or is made again after the loss of a worker, looks it up again.
    """

    def __init__(self, client: Any, given: Any) -> None:
        self._client = client
        # Sent once, not with every search.
        self._given = (
            _carried(given) if callable(given) else client.submit(np.asarray, given, pure=False)
        )
        self._token = uuid.uuid4().hex

    def __repr__(self) -> str:
        return "PreparedShardFilter()"


class ShardedIndex(ShardedCodes):
    """
    Hold packed codes on the workers of a Dask cluster, and search them exactly.

    Each partition of a Dask array of codes becomes a shard, a `HammingIndex` on a worker. A search
    asks all shards and merges their answers, so that it answers as one index over all codes.

    Parameters
    ----------
    n_bits : int
        Number of bits in every code.
    multi_index : {"auto", "always", "never"}, default "auto"
        Whether a shard is searched by multi-index hashing or by a scan, as in `HammingIndex`.
    client : distributed.Client, optional
        The client of the cluster, by default the current one.

    Attributes
    ----------
    n_bits, multi_index, client
        The arguments.
    shard_sizes : list of int
        The number of codes of each shard.
    ids : ndarray of int64, shape (n,)
        The ids held, ascending, fetched from the workers: 8 bytes per code.
    model : str or None
        Which model made the codes: None, or what you set, such as ``model.fingerprint()``. `save`
        writes it.

    Raises
    ------
    ImportError
        If Dask is not installed.
    TypeError, ValueError
        If an argument is not one of its choices, or there is no client.

    See Also
    --------
    fasthash.HammingIndex : An index in one process.

    Notes
    -----
    If a worker is lost, Dask makes its shards again from their source, on another worker, and runs
    again the searches that had no answer yet. The source is the graph of the Dask array, or the
    files of `load`. Arrays that were moved to workers with ``client.scatter`` cannot be made again.

    Up to 16 queries go to up to 16 shards without a task, which saves some milliseconds. So
    the dashboard of Dask does not show these searches, and its ``idle-timeout`` does not see them.

    A shard is searched by one thread. So use at least as many shards as workers have threads. A
    worker that a nanny starts sets OMP_NUM_THREADS to 1, and then a task uses one thread.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from distributed import Client
    >>> import fasthash as fh
    >>> codes = np.random.default_rng(0).integers(0, 256, (1000, 8), dtype=np.uint8)
    >>> with Client(processes=False, n_workers=1, dashboard_address=":0") as client:
    ...     index = fh.distributed.ShardedIndex(n_bits=64)
    ...     index.add(da.from_array(codes, chunks=(250, 8)))
    ...     print(index)
    ...     distances, ids = index.search(codes[:1], k=2)
    ShardedIndex(n_bits=64) of 1000 codes in 4 shards
    >>> ids[0, 0], distances[0, 0]
    (np.int64(0), np.int32(0))
    """

    def prepare_filter(self, ids: Filter) -> PreparedShardFilter:
        """
        Send the ids of a filter to the workers once, for use in many searches.

        Parameters
        ----------
        ids : array_like of int, set of int, or callable
            Which codes may be found, as the ``filter`` of `search`.

        Returns
        -------
        PreparedShardFilter
            A value for the ``filter`` of `search` and `within`.

        Raises
        ------
        TypeError, ValueError
            If it is not a filter.

        See Also
        --------
        search : Search with a filter.
        """
        if callable(ids):
            return PreparedShardFilter(self.client, ids)
        return PreparedShardFilter(self.client, self._empty.prepare_filter(ids)._given)

    def search(
        self,
        queries: Any = None,
        k: int | None = None,
        *,
        weights: Any = None,
        candidates: int | None = None,
        filter: Filter | PreparedShardFilter | None = None,
        exclude: ArrayLike | None = None,
        n_threads: int | None = None,
        **options: Any,
    ) -> tuple[Any, Any]:
        """
        Find the k nearest codes of every query, exactly unless a recall is given.

        Parameters
        ----------
        queries : array_like or dask.array.Array of uint8, shape (n_queries, ceil(n_bits / 8))
            Packed codes, as made by `pack`. Pass either `queries` or `weights`.
        k : int
            How many codes to return for each query; may exceed the number of codes held.
        weights : array_like or dask.array.Array of float, shape (n_queries, n_bits)
            The weight of each bit, as in `HammingIndex.search`.
        candidates : int, optional
            Compare the weights only with this many codes of each query, as in
            `HammingIndex.search`.
        filter : array_like of int, set of int, callable, or PreparedShardFilter, optional
            Which codes may be found, by default all. A callable is called once for each shard, with
            the ids of this shard, ascending. So it must decide about each id alone. Workers must be
            able to import its module, unless it is defined in the script that runs.
        exclude : array_like of int, shape (n_queries,), optional
            An id for each query, which that query does not find.
        n_threads : int, optional
            Number of threads for each shard, by default ``OMP_NUM_THREADS`` of its worker.
        **options
            Further keywords of `HammingIndex.search`, such as ``recall``: each shard then keeps it,
            and so do the merged answers.

        Returns
        -------
        distances or scores : ndarray of int32 or float64, shape (n_queries, k)
            As `HammingIndex.search` returns them. If the queries are a Dask array, both results are
            Dask arrays with the same partitions, and nothing is searched before they are computed.
        ids : ndarray of int64, shape (n_queries, k)
            Ascending among equal distances or scores; -1 where missing.

        Raises
        ------
        TypeError, ValueError
            As `HammingIndex.search`.
        ImportError
            If workers cannot import the module of the filter.

        See Also
        --------
        within : All codes within a radius.

        Notes
        -----
        The answer of each shard has 12 bytes for each query and neighbour. If there are more than
        16 shards, workers merge the answers of 16 at a time.
        """
        state = self._state
        rows = queries if weights is None else weights
        is_lazy = is_dask_array(rows)
        options["n_threads"] = n_threads
        # Checks all arguments, and is the answer without codes. An array of no rows stands for a
        # Dask array.
        some = np.empty((0, *rows.shape[1:]), rows.dtype) if is_lazy else rows
        asked: Any = {"queries": queries, "weights": weights}
        asked["queries" if weights is None else "weights"] = some
        search: Callable[..., Any] = self._empty.search
        nothing = search(
            **asked,
            k=k,
            candidates=candidates,
            filter=_checkable(filter),
            exclude=None if is_lazy else exclude,
            **options,
        )
        k = check_count(k, "k")
        if is_lazy:
            if candidates is not None:
                raise TypeError(
                    "candidates is given with weights that are a Dask array: pass "
                    "weights.compute(), or one block of weights at a time"
                )
            shards = state.shards or (self.client.submit(_shards.Shard, self._empty, pure=False),)
            return lazy_search(
                shards,
                rows,
                k,
                exclude,
                partial(_shards.nearest, k=k, is_weighted=weights is not None, **options),
                _filter_to_send(filter),
                is_weighted=weights is not None,
            )
        if not state.shards:
            return nothing[0], nothing[1]
        request = _request(rows, filter, exclude)
        if candidates is None:
            call = partial(_shards.nearest, k=k, is_weighted=weights is not None, **options)
            merge = merge_nearest if weights is None else merge_scored
            return self._ask(state.shards, call, request, partial(merge, k=k))
        n = max(k, check_count(candidates, "candidates"))
        call = partial(_shards.candidates, n=n, **options)
        _, ids, sums = self._ask(state.shards, call, request, partial(merge_candidates, n=n))
        distances, ids = merge_topk([(sums, ids)], k)
        return round_weights(check_weights(weights, self.n_bits)).scores(distances, ids), ids

    def within(
        self,
        queries: ArrayLike,
        radius: int,
        *,
        filter: Filter | PreparedShardFilter | None = None,
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
        filter : array_like of int, set of int, callable, or PreparedShardFilter, optional
            Which codes may be found, as in `search`.
        exclude : array_like of int, shape (n_queries,), optional
            An id for each query, which that query does not find.
        n_threads : int, optional
            Number of threads for each shard, by default ``OMP_NUM_THREADS`` of its worker.

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
            As `HammingIndex.within`; also if the queries are a Dask array, because the number of
            answers is not known before the search.

        See Also
        --------
        search : The k nearest codes.
        """
        if is_dask_array(queries):
            raise TypeError(
                "queries is a Dask array, and within answers with arrays of unknown size: pass "
                "queries.compute(), or one block of queries at a time"
            )
        state = self._state
        nothing = self._empty.within(
            queries, radius, filter=_checkable(filter), exclude=exclude, n_threads=n_threads
        )
        if not state.shards:
            return nothing
        call = partial(_shards.within, radius=radius, n_threads=n_threads)
        request = _request(queries, filter, exclude)
        answer: tuple[Any, Any, Any] = self._ask(state.shards, call, request, merge_ranges)
        return answer

    def _ask(
        self,
        shards: tuple[Any, ...],
        call: Callable[..., Any],
        request: Sequence[Any],
        merge: Callable[[list[Any]], Any],
    ) -> Any:
        answers = direct_answers(self.client, shards, call, request)
        if answers is not None:
            return merge(answers)
        request = sent(self.client, list(request))
        futures = self.client.map(call, shards, [request] * len(shards), pure=False)
        return merged_on_workers(self.client, futures, merge)


def _request(rows: ArrayLike, filter: Any, exclude: ArrayLike | None) -> list[Any]:
    """What every shard gets: queries, the filter and its token, and excluded ids."""
    return [
        np.asarray(rows),
        *_filter_to_send(filter),
        None if exclude is None else np.asarray(exclude),
    ]


def _checkable(filter: Any) -> Any:
    """The filter if it can be checked without a shard: a function expects ids that one holds."""
    return None if callable(filter) or isinstance(filter, PreparedShardFilter) else filter


def _filter_to_send(filter: Any) -> tuple[Any, str | None]:
    """What a shard makes the filter of, and the token under which it keeps the filter."""
    if isinstance(filter, PreparedShardFilter):
        return filter._given, filter._token
    if isinstance(filter, set | frozenset):
        return np.fromiter(filter, np.int64, len(filter)), None
    if callable(filter):
        return _carried(filter), None
    return None if filter is None else np.asarray(filter), None


def _carried(function: Callable[..., Any]) -> Carried:
    return Carried(function, "the function that is the filter")
