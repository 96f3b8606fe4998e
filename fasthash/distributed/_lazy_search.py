"""Searches of a `ShardedIndex` whose queries are a Dask array: nothing is searched at the call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .._core.merges import in_groups
from ..codes import check_ids
from ._merging import merge_nearest, merge_scored

__all__ = ["lazy_search"]


def lazy_search(
    shards: tuple[Any, ...],
    rows: Any,
    k: int,
    exclude: Any,
    call: Callable[..., Any],
    filter: tuple[Any, str | None],
    *,
    is_weighted: bool,
) -> tuple[Any, Any]:
    """
    Search for each partition of the queries, when the results are computed.

    Parameters
    ----------
    shards : tuple of futures
    rows : dask.array.Array
        Queries, or their weights.
    k : int
    exclude : array_like of int or None
        An id for each query.
    call : callable
        Searches a shard.
    filter : tuple
        What a shard makes the filter of, and its token.
    is_weighted : bool
        Whether the answers are scores.

    Returns
    -------
    distances or scores, ids : dask.array.Array
        With the partitions of the queries.
    """
    import dask
    import dask.array as da

    rows = rows.rechunk({1: -1})
    sizes = rows.chunks[0]
    search = dask.delayed(call, pure=False)
    merge = dask.delayed(partial(merge_scored if is_weighted else merge_nearest, k=k), pure=False)
    dtypes = (np.float64 if is_weighted else np.int32, np.int64)
    parts = []
    for block, own, n in zip(rows.to_delayed().ravel(), _cut(exclude, sizes), sizes, strict=True):
        answers = [search(shard, [block, *filter, own]) for shard in shards]
        answer = merge(in_groups(answers, merge))
        parts.append([da.from_delayed(answer[i], (n, k), dtype) for i, dtype in enumerate(dtypes)])
    return da.concatenate([part[0] for part in parts]), da.concatenate([part[1] for part in parts])


def _cut(exclude: Any, sizes: tuple[Any, ...]) -> list[Any]:
    """The excluded ids of each partition of the queries."""
    if exclude is None:
        return [None] * len(sizes)
    own = check_ids(exclude, "exclude")
    if np.isnan(sizes).any():
        raise ValueError(
            "exclude needs queries whose partitions have known sizes: call "
            "queries.compute_chunk_sizes() first"
        )
    if len(own) != sum(sizes):
        raise ValueError(f"exclude must have one id per query, {sum(sizes)} in all, got {len(own)}")
    return np.split(own, np.cumsum(sizes[:-1]))
