"""Whether the partitions of a Dask array fit into the memory of a worker."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["check_fits", "memory_for_data", "share_of_part"]

# Above this share of its memory limit, a worker of Dask begins to move data to its disk.
_MEMORY_SHARE = 0.6


def memory_for_data(client: Any) -> float:
    """Bytes that data may take on the worker with the least memory; infinity without limits."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    limits = [worker["memory_limit"] for worker in workers if worker["memory_limit"]]
    return min(limits) * _MEMORY_SHARE if limits else float("inf")


def share_of_part(client: Any, n_bytes: int, n_parts: int) -> int:
    """What one of some parts may keep, if the parts of each worker keep so many bytes together."""
    n_workers = len(client.scheduler_info(n_workers=-1)["workers"])
    return n_bytes // max(1, -(-n_parts // max(1, n_workers)))


def check_fits(client: Any, sizes: Sequence[float], row_bytes: int, name: str) -> None:
    """
    Check that parts of these sizes fit into the memory of a worker.

    Parameters
    ----------
    client : Client
    sizes : sequence of int or nan
        The number of rows of each; those of unknown size are not checked.
    row_bytes : int
        The memory that a row needs.
    name : str
        What is too large, with "{}" for its number.

    Raises
    ------
    ValueError
        If one does not fit.
    """
    space = memory_for_data(client)
    for place, n in enumerate(sizes):
        if not math.isnan(n) and n * row_bytes > space:
            raise ValueError(
                f"{name.replace('{}', str(place))} has {n:,} rows, and a worker needs "
                f"{n * row_bytes / 1e6:,.0f} MB for them, but it should hold at most "
                f"{space / 1e6:,.0f} MB of data by its memory limit: make partitions of at most "
                f"{int(space // row_bytes):,} rows, or give the workers more memory"
            )
