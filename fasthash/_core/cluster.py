"""A fit on the workers of a Dask cluster: `Cluster` does there what `Workers` does with threads.

A part of the samples is a future, the result of a task. A change of a part makes another future, so
that Dask can repeat all tasks of a part whose worker is lost. Only what a function returns travels
to this process, and only its arguments travel to the workers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

from .arrays import is_dask_array
from .cluster_rows import (
    ClusterArray,
    ClusterRows,
    RemotePart,
    mapped_on,
    sent,
    submitted,
    workers_of,
)
from .features import BlockMap, MappedRows
from .merges import merged_on_workers, total_of
from .rows import Rows
from .runtime import resolve_threads
from .worker_memory import share_of_part
from .workers import Executor, Products, Workers

__all__ = [
    "Cluster",
    "client_for",
    "executor_of",
    "map_rows",
]

Result = TypeVar("Result")


def client_for(features: Any) -> Any:
    """The current client of a cluster, if features are a mapping to Dask arrays; else None."""
    # Another thread may be importing the module, which then has no clients yet.
    get_client = getattr(sys.modules.get("distributed"), "get_client", None)
    if get_client is None or not isinstance(features, Mapping) or not features:
        return None
    if not all(is_dask_array(x) for x in features.values()):
        return None
    try:
        return get_client()
    except ValueError:
        return None


def executor_of(
    x: Rows, n_threads: int | None, local: Callable[[int], Workers] = Products
) -> Executor:
    """The executor of a fit, where the rows are; by default one for large matrix products."""
    if isinstance(x, ClusterRows):
        return Cluster(x._client, n_threads)
    return local(resolve_threads(n_threads))


def map_rows(
    x: Rows, feature_map: BlockMap, kept_bytes: int, row_size: int | None = None
) -> MappedRows:
    """The mapped features, where the rows are."""
    if isinstance(x, ClusterRows):
        return x.mapped(feature_map, kept_bytes, row_size)
    return MappedRows(x, feature_map, kept_bytes, row_size)


class _Changed:
    """A part after a change, and what the function returned."""

    def __init__(self, part: Any, result: Any) -> None:
        self.part, self.result = part, result

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + sys.getsizeof(self.part)


class Cluster(AbstractContextManager["Cluster"]):
    """
    The workers of a Dask cluster as the executor of a fit.

    Parameters
    ----------
    client : distributed.Client
    n_threads : int or None
        Number of threads of a part on its worker; None means ``OMP_NUM_THREADS`` of the worker.
    """

    def __init__(self, client: Any, n_threads: int | None) -> None:
        self.client, self._n_threads = client, n_threads
        self._local = Workers(resolve_threads(n_threads))

    @property
    def local(self) -> Workers:
        """The workers of this process."""
        return self._local

    def __enter__(self) -> Cluster:
        self._local.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._local.__exit__(*error)

    def run(
        self,
        function: Callable[..., Result],
        parts: list[RemotePart],
        *arguments: Any,
        report: Callable[[int], None] | None = None,
    ) -> list[Result]:
        """Call a function for each part, where the part is."""
        futures = self._map(_run, function, parts, arguments)
        if report is not None:
            self._report(report, parts, futures)
        results: list[Result] = self.client.gather(futures)
        return results

    def total(
        self,
        function: Callable[..., Result],
        parts: list[RemotePart],
        *arguments: Any,
        report: Callable[[int], None] | None = None,
        is_large: bool = False,
    ) -> Result:
        """Call a function for each part, and add up the results."""
        futures = self._map(_run, function, parts, arguments)
        if report is not None:
            self._report(report, parts, futures)
        total: Result = merged_on_workers(self.client, futures, total_of, is_large)
        return total

    def change(
        self, function: Callable[..., Result], parts: list[RemotePart], *arguments: Any
    ) -> Result:
        """Call a function that changes the part; return the total of the results."""
        return self.begin_change(function, parts, *arguments)()

    def begin_change(
        self, function: Callable[..., Result], parts: list[RemotePart], *arguments: Any
    ) -> Callable[[], Result]:
        """As `change`, but a call of what is returned waits for the total."""
        changed = self._map(_change, function, parts, arguments)
        for part, future in zip(parts, changed, strict=True):
            part.future = future
        results = self.client.map(_result_of, changed, pure=False)
        return partial(merged_on_workers, self.client, results, total_of)

    def made(
        self, function: Callable[..., Any], parts: list[RemotePart], *arguments: Any
    ) -> list[RemotePart]:
        """Parts that a function makes of other parts, on the same workers."""
        return [
            RemotePart(future, worker=part.worker)
            for future, part in zip(self._map(_run, function, parts, arguments), parts, strict=True)
        ]

    def spread(self, values: list[Any]) -> list[RemotePart]:
        """Parts that are values of this process; each is sent as a task, to be sent again."""
        return [RemotePart(future) for future in submitted(self.client, values)]

    def beside(self, parts: Sequence[list[RemotePart]]) -> list[RemotePart]:
        """Parts that are lists of parts; a worker that has the first of a list gets the others."""
        self._find_workers(parts[0])
        workers = [part.worker for part in parts[0]]
        futures = ([part.future for part in own] for own in parts)
        return [
            RemotePart(future, part.n_rows, part.worker)
            for future, part in zip(
                mapped_on(self.client, workers, _listed, *futures), parts[0], strict=True
            )
        ]

    def rows_of(self, parts: list[RemotePart], name: str) -> ClusterArray:
        """An attribute of the parts, which stays on the workers."""
        return ClusterArray(
            self.client,
            self.client.map(
                partial(_attribute, name=name), [part.future for part in parts], pure=False
            ),
        )

    def share(self, n_bytes: int, parts: list[RemotePart]) -> int:
        """What each part may keep, if the parts of a worker keep so many bytes together."""
        return share_of_part(self.client, n_bytes, len(parts))

    def finish(self, function: Callable[[], Result]) -> Result:
        """Run a function to its end, also during a KeyboardInterrupt."""
        return self._local.finish(function)

    def _report(
        self, report: Callable[[int], None], parts: list[RemotePart], futures: list[Any]
    ) -> None:
        """Wait for all parts, and report the rows of those that are done."""
        from distributed import as_completed

        n_rows = {future.key: part.n_rows for future, part in zip(futures, parts, strict=True)}
        done = 0
        for future in as_completed(futures):
            done += n_rows[future.key]
            report(done)

    def _map(
        self, task: Any, function: Any, parts: list[RemotePart], arguments: tuple[Any, ...]
    ) -> list[Any]:
        self._find_workers(parts)
        call = partial(task, function=function, n_threads=self._n_threads)
        shared = sent(self.client, list(arguments))
        futures = [part.future for part in parts]
        return mapped_on(
            self.client, [part.worker for part in parts], call, futures, [shared] * len(parts)
        )

    def _find_workers(self, parts: list[RemotePart]) -> None:
        new = [part for part in parts if part.worker is None]
        workers = workers_of(self.client, [part.future for part in new])
        for part, worker in zip(new, workers, strict=True):
            part.worker = worker


def _change(part: Any, arguments: list[Any], *, function: Any, n_threads: int | None) -> _Changed:
    part = _part_of(part).copy()
    with Workers(resolve_threads(n_threads)) as workers:
        return _Changed(part, function(part, workers, *arguments))


def _run(part: Any, arguments: list[Any], *, function: Any, n_threads: int | None) -> Any:
    with Workers(resolve_threads(n_threads)) as workers:
        return function(_part_of(part), workers, *arguments)


def _part_of(part: Any) -> Any:
    return part.part if isinstance(part, _Changed) else part


def _result_of(changed: _Changed) -> Any:
    return changed.result


def _attribute(part: Any, name: str) -> Any:
    return getattr(_part_of(part), name)


def _listed(*parts: Any) -> list[Any]:
    return [_part_of(part) for part in parts]
