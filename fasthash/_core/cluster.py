"""A fit on the workers of a Dask cluster: `Cluster` does there what `Workers` does with threads.

A part of the samples is a future, the result of a task. A change of a part makes another future, so
that Dask can repeat all tasks of a part whose worker is lost. Only what a function returns travels
to this process, and only its arguments travel to the workers.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .arrays import is_dask_array
from .features import BlockMap, MappedRows
from .rows import Rows, zero_rows_of
from .runtime import resolve_threads
from .suspicious import MOST_NAMED, warn_of_zero_rows, without_warnings
from .validation import check_rows
from .workers import Executor, Products, Workers

__all__ = [
    "Cluster",
    "ClusterArray",
    "ClusterRows",
    "RemotePart",
    "client_for",
    "executor_of",
    "map_rows",
    "sent",
    "with_partition",
]

Result = TypeVar("Result")

# Above this size, a value is sent once, as a task of its own. Below, every task carries a copy,
# which saves a message between workers.
_COPIED_BYTES = 1 << 16


def client_for(features: Any) -> Any:
    """The current client of a cluster, if features are a mapping to Dask arrays; else None."""
    distributed = sys.modules.get("distributed")
    if distributed is None or not isinstance(features, Mapping) or not features:
        return None
    if not all(is_dask_array(x) for x in features.values()):
        return None
    try:
        return distributed.get_client()
    except ValueError:
        return None


def sent(client: Any, value: list[Any]) -> Any:
    """A list of values, or a future of it that all workers read, if its arrays are large."""
    n_bytes = sum(x.nbytes for x in value if isinstance(x, np.ndarray))
    return value if n_bytes <= _COPIED_BYTES else client.submit(_unchanged, value, pure=False)


@contextlib.contextmanager
def with_partition(place: int) -> Iterator[None]:
    """Let errors about a value say which partition it is from."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"partition {place}: {error}") from None


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


class RemotePart:
    """
    A part on a worker.

    Parameters
    ----------
    future : Future
        Of the part, or of a `_Changed`.
    n_rows : int
        Number of samples, for reports of progress.
    """

    def __init__(self, future: Any, n_rows: int = 0) -> None:
        self.future, self.n_rows = future, n_rows


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

    def change(
        self, function: Callable[..., Result], parts: list[RemotePart], *arguments: Any
    ) -> list[Result]:
        """Call a function that changes the part; the parts then are the changed ones."""
        changed = self._map(_change, function, parts, arguments)
        results: list[Result] = self.client.gather(self.client.map(_result_of, changed, pure=False))
        for part, future in zip(parts, changed, strict=True):
            part.future = future
        return results

    def made(
        self, function: Callable[..., Any], parts: list[RemotePart], *arguments: Any
    ) -> list[RemotePart]:
        """Parts that a function makes of other parts, on the same workers."""
        return [RemotePart(future) for future in self._map(_run, function, parts, arguments)]

    def beside(self, parts: Sequence[list[RemotePart]]) -> list[RemotePart]:
        """Parts that are lists of parts; a worker that has one of them gets the others."""
        futures = ([part.future for part in own] for own in parts)
        return [
            RemotePart(future, part.n_rows)
            for future, part in zip(
                self.client.map(_listed, *futures, pure=False), parts[0], strict=True
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
        n = len(parts)
        return self.client.map(
            partial(task, function=function, n_threads=self._n_threads),
            [part.future for part in parts],
            [sent(self.client, list(arguments))] * n,
            pure=False,
        )


class ClusterArray:
    """An array whose parts lie on workers."""

    def __init__(self, client: Any, futures: list[Any]) -> None:
        self._client, self.futures = client, futures
        sizes = client.gather(client.map(len, futures, pure=False))
        self.bounds = np.concatenate([[0], np.cumsum(sizes)])

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        joined = np.concatenate(self._client.gather(self.futures))
        return joined if dtype is None else joined.astype(dtype, copy=False)

    def parts_of(self, futures: list[Any]) -> list[RemotePart]:
        """Make parts of futures, each of which has the rows of a part of the array."""
        sizes = np.diff(self.bounds).tolist()
        return [RemotePart(future, n) for future, n in zip(futures, sizes, strict=True)]

    def __getitem__(self, indices: NDArray[np.integer]) -> NDArray[Any]:
        """Rows in any order."""
        places, found = self._found(indices)
        return _put(self._client.gather(found), places)

    def arranged(self, rows: list[NDArray[np.integer]]) -> ClusterArray:
        """An array whose parts have the rows of these numbers; rows go from worker to worker."""
        futures = []
        for indices in rows:
            part = int(np.searchsorted(self.bounds, indices[0], side="right")) - 1
            if np.array_equal(indices, np.arange(*self.bounds[part : part + 2])):
                futures.append(self.futures[part])
                continue
            places, found = self._found(indices)
            futures.append(self._client.submit(_put, found, places, pure=False))
        return ClusterArray(self._client, futures)

    def _found(self, indices: NDArray[np.integer]) -> tuple[list[NDArray[np.int64]], list[Any]]:
        """Futures of the rows, by the part where they lie, and their places among the indices."""
        part_of = np.searchsorted(self.bounds, indices, side="right") - 1
        asked = np.unique(part_of)
        places = [np.flatnonzero(part_of == part) for part in asked]
        found = self._client.map(
            _take,
            [self.futures[part] for part in asked],
            [indices[own] - self.bounds[part] for part, own in zip(asked, places, strict=True)],
            pure=False,
        )
        return places, found


class ClusterRows(Rows):
    """
    Features in the partitions of a Dask array, which workers hold, with the interface of `Rows`.

    Parameters
    ----------
    client : distributed.Client
    features : dask.array.Array, shape (n_samples, n_features)
    name : str
        Name of the argument, for errors.
    largest_single : float
        Largest size of float32 values, as in `check_rows`.

    Raises
    ------
    TypeError, ValueError
        As `check_rows`; the error names the partition.

    Warns
    -----
    UserWarning
        As `check_rows`, once for all partitions.
    """

    def __init__(self, client: Any, features: Any, name: str, largest_single: float = 1e15) -> None:
        import dask

        check_rows(np.ones((1, max(1, features.shape[-1])), features.dtype), name)
        if features.ndim != 2:
            raise ValueError(
                f"{name} must have two dimensions, one sample per row, got shape {features.shape}"
            )
        features = features.rechunk({1: -1})
        check = dask.delayed(_checked_rows, pure=False)
        futures = client.compute(
            [
                check(block, name, i, largest_single)
                for i, block in enumerate(features.to_delayed().ravel())
            ]
        )
        counts = client.gather(client.map(_count_rows, futures, pure=False))
        sizes, n_zero, first = zip(*counts, strict=True)
        kept = [future for future, n in zip(futures, sizes, strict=True) if n]
        if not kept:
            raise ValueError(f"{name} is empty: its shape is {features.shape}")
        self._client, self._array = client, ClusterArray(client, kept)
        self.shape = (int(self._array.bounds[-1]), int(features.shape[1]))
        self.dtype = np.dtype(np.float32 if features.dtype == np.float32 else np.float64)
        starts = np.cumsum([0, *sizes[:-1]])
        rows = np.concatenate([start + few for start, few in zip(starts, first, strict=True)])
        warn_of_zero_rows(rows.tolist(), len(self), name, sum(n_zero))

    def transformed(self, function: Callable[[NDArray[Any]], NDArray[Any]]) -> ClusterRows:
        """Rows to which a function is applied, part by part; the number of columns is kept."""
        other = copy.copy(self)
        futures = self._client.map(function, self._array.futures, pure=False)
        other._array = ClusterArray(self._client, futures)
        return other

    def arranged(self, rows: list[NDArray[np.integer]]) -> ClusterRows:
        """Some rows, in other parts, which have the rows of these numbers."""
        other = copy.copy(self)
        other._array = self._array.arranged(rows)
        other.shape = (int(other.bounds[-1]), self.shape[1])
        return other

    @property
    def is_sparse(self) -> bool:
        """No partition is a sparse matrix."""
        return False

    @property
    def bounds(self) -> NDArray[np.int64]:
        """The first row of each part, and the number of rows."""
        return self._array.bounds

    def parts(self) -> list[RemotePart]:
        """The partitions."""
        rows = self._client.map(_as_rows, self._array.futures, pure=False)
        return self._array.parts_of(rows)

    def read(self, rows: slice) -> NDArray[np.floating]:
        """Read a block."""
        return self.take(np.arange(*rows.indices(len(self))))

    def is_constant(self) -> bool:
        """Whether all rows are equal."""
        first = self.read(slice(0, 1))
        found = self._client.map(partial(_equals, row=first), self._array.futures, pure=False)
        return all(self._client.gather(found))

    def take(self, indices: NDArray[np.integer]) -> NDArray[np.floating]:
        """Read rows in any order into one array of this process."""
        return self._array[indices]

    def subset(self, indices: NDArray[np.integer]) -> Rows:
        """Select rows in any order, and hold them in memory of this process."""
        return Rows(self.take(indices), self.dtype)

    def column_means(self) -> NDArray[np.float64]:
        """Means of the columns: sums of the parts, added in their order."""
        sums = self._client.gather(self._client.map(_column_sums, self._array.futures, pure=False))
        means: NDArray[np.float64] = sum(sums[1:], start=sums[0]) / len(self)
        return means

    def mapped(
        self, feature_map: BlockMap, kept_bytes: int, row_size: int | None = None
    ) -> ClusterMappedRows:
        """The mapped features, which stay on the workers."""
        # Anchors may be many megabytes, so they are sent once.
        shared = self._client.submit(_unchanged, feature_map, pure=False)
        futures = self._client.map(
            partial(_mapped, kept_bytes=kept_bytes, row_size=row_size),
            self._array.futures,
            [shared] * len(self._array.futures),
            pure=False,
        )
        return ClusterMappedRows(self, feature_map, kept_bytes, futures)


class ClusterMappedRows(MappedRows):
    """The mapped features of one modality, part by part on the workers."""

    def __init__(
        self, x: ClusterRows, feature_map: BlockMap, kept_bytes: int, futures: list[Any]
    ) -> None:
        super().__init__(x, feature_map, kept_bytes)
        self._client, self._array, self._futures = x._client, x._array, futures

    def parts(self) -> list[Any]:
        """The parts of the rows, which are `MappedRows`."""
        return self._array.parts_of(self._futures)

    def with_codes(self, codes: Sequence[Any]) -> list[Any]:
        """The parts of the rows, each with its features and codes."""
        joined = self._client.map(
            _joined, self._futures, *(array.futures for array in codes), pure=False
        )
        return self._array.parts_of(joined)


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


def _checked_rows(
    block: NDArray[Any], name: str, place: int, largest_single: float
) -> NDArray[Any]:
    if len(block) == 0:
        return block
    with with_partition(place), without_warnings():
        x = check_rows(block, name, largest_single=largest_single)
    return np.ascontiguousarray(x.read(slice(0, len(x))))


def _as_rows(block: NDArray[Any]) -> Rows:
    return Rows(block, block.dtype)


def _count_rows(block: NDArray[Any]) -> tuple[int, int, NDArray[np.int64]]:
    """The number of rows, of rows that hold only zeros, and the first of these."""
    # A single feature may well be 0.
    zero_rows = zero_rows_of(block) if block.shape[1] > 1 else np.empty(0, np.int64)
    return len(block), len(zero_rows), zero_rows[:MOST_NAMED]


def _take(block: NDArray[Any], indices: NDArray[np.integer]) -> NDArray[Any]:
    taken: NDArray[Any] = block[indices]
    return taken


def _equals(block: NDArray[Any], row: NDArray[Any]) -> bool:
    return bool((block == row).all())


def _column_sums(block: NDArray[Any]) -> NDArray[np.float64]:
    sums: NDArray[np.float64] = block.sum(axis=0, dtype=np.float64)
    return sums


def _put(pieces: list[NDArray[Any]], places: list[NDArray[np.int64]]) -> NDArray[Any]:
    """Put rows to their places in one array."""
    n = sum(map(len, pieces))
    out = np.empty((n, *pieces[0].shape[1:]), pieces[0].dtype)
    for piece, own in zip(pieces, places, strict=True):
        out[own] = piece
    return out


def _listed(*parts: Any) -> list[Any]:
    return list(parts)


def _mapped(
    block: NDArray[Any], feature_map: BlockMap, kept_bytes: int, row_size: int | None
) -> MappedRows:
    return MappedRows(Rows(block, block.dtype), feature_map, kept_bytes, row_size)


def _joined(mapped: MappedRows, *codes: NDArray[np.uint8]) -> tuple[MappedRows, list[Any]]:
    return mapped, list(codes)


def _unchanged(value: Any) -> Any:
    return value
