"""Dask arrays of codes and ids, cut into the shards that they become; their checks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.arrays import is_dask_array
from .._core.worker_memory import check_fits
from ..codes import check_ids
from ._shards import ShardFacts, first_repeated, ids_between, make_shard

__all__ = ["check_ids_differ", "shard_row_bytes", "shards_of"]


def shards_of(
    client: Any, codes: Any, ids: Any, parameters: dict[str, Any], next_id: int
) -> list[Any]:
    """
    Make a shard of each partition of a Dask array; return futures.

    Raises
    ------
    TypeError, ValueError
        If codes or ids have a wrong dtype or shape, or a partition takes too much memory.
    """
    import dask

    codes = _check_partitions(codes, parameters["n_bits"])
    sizes = codes.chunks[0]
    blocks = codes.to_delayed().ravel()
    if np.isnan(sizes).any():
        # Reads the partitions once more, because their sizes decide ids and whether they fit.
        counted = client.compute([dask.delayed(len)(block) for block in blocks])
        sizes = tuple(client.gather(counted))
    check_fits(client, sizes, shard_row_bytes(parameters["n_bits"], 2), "partition {} of codes")
    id_blocks = [None] * len(blocks) if ids is None else _id_blocks(ids, codes, sizes)
    firsts = np.cumsum([next_id, *sizes])
    make = dask.delayed(make_shard, pure=False)
    made = [
        make(parameters, place, block, some, int(firsts[place]))
        for place, (block, some, n) in enumerate(zip(blocks, id_blocks, sizes, strict=True))
        if n
    ]
    shards: list[Any] = client.compute(made)
    return shards


def shard_row_bytes(n_bits: int, copies: int) -> int:
    """Memory of a code and its id, if `copies` copies of them are in memory at once."""
    return copies * (-(-n_bits // 8) + 8)


def check_ids_differ(client: Any, shards: Sequence[Any], facts: Sequence[ShardFacts]) -> None:
    """
    Check that no id is in two shards.

    Shards whose ids do not overlap need no work. Otherwise the range of ids is cut into as many
    parts as there are shards, of about the same number of ids; a task compares the ids of a part.

    Raises
    ------
    ValueError
        If an id is in two shards.
    """
    spans = sorted((f.quantiles[0], f.quantiles[-1]) for f in facts if f.n)
    if all(a[1] < b[0] for a, b in pairwise(spans)):
        return
    quantiles = np.sort(np.concatenate([f.quantiles for f in facts]))
    n_per_shard = max(1, len(quantiles) // len(shards))
    bounds = np.unique(quantiles[::n_per_shard])
    bounds = np.append(bounds, quantiles[-1] + 1)
    checks = [
        client.submit(
            first_repeated,
            *client.map(ids_between, shards, first=int(first), stop=int(stop), pure=False),
            pure=False,
        )
        for first, stop in pairwise(bounds)
    ]
    repeated = [i for i in client.gather(checks) if i is not None]
    if repeated:
        raise ValueError(
            f"ids holds {min(repeated)} more than once, or the index has it already: every code "
            "needs an id of its own"
        )


def _check_partitions(codes: Any, n_bits: int) -> Any:
    """Check dtype and shape; each partition then has all columns."""
    n_bytes = -(-n_bits // 8)
    if codes.dtype not in (np.uint8, np.int8):
        raise TypeError(f"codes must be packed codes of dtype uint8, got {codes.dtype}")
    if codes.ndim != 2 or codes.shape[1] != n_bytes:
        raise ValueError(
            f"codes must have shape (n, {n_bytes}) for n_bits={n_bits}, got {codes.shape}"
        )
    return codes.rechunk({1: -1})


def _id_blocks(ids: Any, codes: Any, sizes: Sequence[int]) -> NDArray[Any]:
    """The ids of each partition of codes."""
    import dask.array as da

    if not is_dask_array(ids):
        ids = da.from_array(check_ids(ids), chunks=-1)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise TypeError(
            f"ids must be integers in one dimension, got {ids.dtype} of shape {ids.shape}"
        )
    if np.isnan(ids.shape[0]):
        if len(ids.chunks[0]) != len(codes.chunks[0]):
            raise ValueError(
                f"ids has {len(ids.chunks[0])} partitions of unknown size and codes has "
                f"{len(codes.chunks[0])}: both must be cut at the same rows"
            )
    elif ids.shape[0] != sum(sizes):
        raise ValueError(f"ids has {ids.shape[0]} values, but codes has {sum(sizes)} rows")
    else:
        ids = ids.rechunk((tuple(sizes),))
    blocks: NDArray[Any] = ids.to_delayed().ravel()
    return blocks
