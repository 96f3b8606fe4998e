"""The client of a Dask cluster, the memory of its workers, and merges on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .._core.pieces import cut

__all__ = [
    "MOST_ANSWERS",
    "client_of",
    "in_groups",
    "memory_for_data",
    "merged_on_workers",
]

# Largest number of answers that one process merges. If there are more, workers merge groups of this
# size first, so that every process receives a bounded number of answers.
MOST_ANSWERS = 16

# Above this share of its memory limit, a worker of Dask begins to move data to its disk.
_MEMORY_SHARE = 0.6


def client_of(client: Any) -> Any:
    """
    Return the client that is given, or else the current one.

    Raises
    ------
    ImportError
        If Dask is not installed.
    TypeError, ValueError
        If it is not a client, or there is none, or it was made for coroutines.
    """
    try:
        import distributed
    except ImportError:
        raise ImportError(
            "fasthash.distributed needs Dask: pip install 'fasthash-retrieval[distributed]'"
        ) from None
    if client is None:
        try:
            client = distributed.get_client()
        except ValueError:
            raise ValueError(
                "there is no client of a Dask cluster: make one, such as "
                "distributed.Client(address), or pass client="
            ) from None
    if not isinstance(client, distributed.Client):
        raise TypeError(f"client must be a distributed.Client, got {type(client).__name__}")
    if client.asynchronous:
        raise ValueError("client is asynchronous: pass one that is made without asynchronous=True")
    return client


def memory_for_data(client: Any) -> float:
    """Bytes that data may take on the worker with the least memory; infinity without limits."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    limits = [worker["memory_limit"] for worker in workers if worker["memory_limit"]]
    return min(limits) * _MEMORY_SHARE if limits else float("inf")


def in_groups(answers: Sequence[Any], merge: Callable[[list[Any]], Any]) -> list[Any]:
    """Merge groups of answers, until at most `MOST_ANSWERS` are left; return these."""
    answers = list(answers)
    while len(answers) > MOST_ANSWERS:
        answers = [merge(answers[some]) for some in cut(len(answers), most=MOST_ANSWERS)]
    return answers


def merged_on_workers(
    client: Any, answers: Sequence[Any], merge: Callable[[list[Any]], Any]
) -> Any:
    """Merge answers that are futures, and return the result; workers merge if there are many."""
    call = partial(_merge, merge)
    left = in_groups(answers, lambda some: client.submit(call, *some, pure=False))
    return merge(client.gather(left))


def _merge(merge: Callable[[list[Any]], Any], *answers: Any) -> Any:
    return merge(list(answers))
