"""Few queries go to the workers of the shards in one message, without a task for each shard.

For one query, tasks take longer than the search: the scheduler receives a graph, sends a task to
each worker, tells the client when it is done, and fetches the result, and Dask holds messages back
for some milliseconds to send several at once. `Client.run` calls a function on workers at once,
but repeats nothing if a worker is lost. Then there is no answer, and the caller uses tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from .._core.carried import Carried
from .._core.cluster_rows import is_small
from .._core.merges import MOST_ANSWERS

__all__ = ["direct_answers"]

# With more queries, a search takes longer than its tasks. These are better for long work: Dask
# shows and counts them, and distributes them among its workers.
_MOST_QUERIES = 16


def direct_answers(
    client: Any, shards: Sequence[Any], call: Callable[..., Any], request: Sequence[Any]
) -> list[Any] | None:
    """
    Call a function with each shard, on the workers that hold the shards.

    Parameters
    ----------
    client : distributed.Client
    shards : sequence of futures
    call : callable
        Gets a shard and the request.
    request : sequence
        The rows, the filter and its token, and excluded ids.

    Returns
    -------
    list or None
        The answers in the order of the shards. None if tasks must do it: there are many queries
        or shards, the filter is large, a function, or not yet prepared, a shard is not in memory, a
        worker is lost meanwhile, or a call failed.
    """
    rows, given, token, exclude = request
    # What is prepared need not be sent. Neither a future nor a function of a user is
    # sent in this message: futures cannot be, and functions belong in tasks, which run once.
    request = [rows, None if token else given, token, exclude]
    if len(rows) > _MOST_QUERIES or len(shards) > MOST_ANSWERS:
        return None
    if isinstance(request[1], Carried) or not is_small(request):
        return None
    keys = [shard.key for shard in shards]
    holders = {key: workers[0] for key, workers in client.who_has(shards).items() if workers}
    if not holders.keys() >= set(keys):
        return None
    wanted = {
        worker: [key for key in keys if holders[key] == worker] for worker in holders.values()
    }
    found = client.run(_answers, wanted, call, request, workers=list(wanted), on_error="ignore")
    answers = {key: answer for own in found.values() for key, answer in own.items()}
    return [answers[key] for key in keys] if answers.keys() >= set(keys) else None


async def _answers(
    wanted: dict[str, list[Any]], call: Callable[..., Any], request: list[Any], dask_worker: Any
) -> dict[Any, Any]:
    """The answers of the shards of this worker, by the threads that run its tasks."""
    keys = wanted[dask_worker.contact_address]
    if any(key not in dask_worker.data for key in keys):
        return {}
    shards = [dask_worker.data[key] for key in keys]
    if not all(shard.has_filter(request[2]) for shard in shards):
        return {}
    threads, loop = dask_worker.executors["default"], asyncio.get_running_loop()
    answers = await asyncio.gather(
        *(loop.run_in_executor(threads, call, shard, request) for shard in shards)
    )
    return dict(zip(keys, answers, strict=True))
