"""One measurement of batched top-k: fasthash, faiss on a few queries, and the limit, in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import fasthash as fh
from fasthash.experiments._timing import Ratio, interleave
from limits import Limits
from peers import Search, check_same

# faiss takes its queries one after the other, so a few give its time per query.
N_FAISS_QUERIES = 64

# Long enough for the clock, short enough for seven rounds.
_LIMIT_SECONDS = 0.05


@dataclass(frozen=True)
class Batched:
    distances_per_second: float
    limit_per_second: float | None
    over_faiss: Ratio | None
    share_of_limit: Ratio | None


def measure(
    database: NDArray[np.uint8],
    queries: NDArray[np.uint8],
    k: int,
    level: str,
    limits: Limits | None,
    faiss: Search | None,
    repeats: int,
) -> Batched:
    """Time one batch at the level in use, after its answers have been compared with faiss."""
    n_distances = len(queries) * len(database)
    few = queries[:N_FAISS_QUERIES]
    calls: dict[str, Callable[[], object]] = {
        "fasthash": lambda: fh.topk(queries, database, k, n_threads=1)
    }
    if faiss is not None:
        found = fh.topk(queries, database, k, n_threads=1)
        check_same(tuple(part[: len(few)] for part in found), faiss(few, k), f"topk, k = {k}")
        calls["faiss"] = lambda: faiss(few, k)
    scan = None
    if limits is not None and level in limits.levels:
        scan = limits.scan(level, 8 * database.shape[1]).lasting(_LIMIT_SECONDS)
        calls["limit"] = scan.run
    rounds = interleave(calls, repeats)
    over_faiss = share = limit = None
    if faiss is not None:
        over_faiss = rounds.ratio("faiss", "fasthash").times(len(queries) / len(few))
    if scan is not None:
        share = rounds.ratio("limit", "fasthash").times(n_distances / scan.n_distances)
        limit = scan.n_distances / rounds.median("limit")
    return Batched(n_distances / rounds.median("fasthash"), limit, over_faiss, share)
