"""Features in the partitions of a Dask array: workers of a cluster hold them, and map them."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .features import BlockMap, MappedRows
from .merges import merged_on_workers, total_of
from .rows import Rows, zero_rows_of
from .suspicious import MOST_NAMED, warn_of_zero_rows, without_warnings
from .validation import check_rows
from .worker_memory import check_fits, share_of_part

__all__ = [
    "ClusterArray",
    "ClusterMappedRows",
    "ClusterRows",
    "RemotePart",
    "is_small",
    "mapped_on",
    "sent",
    "submitted",
    "with_partition",
    "workers_of",
]

# Above this size, a value is sent once, as a task of its own. Below, every task carries a copy,
# which saves a message between workers.
_COPIED_BYTES = 1 << 16


def sent(client: Any, value: list[Any]) -> Any:
    """A list of values, or a future of it that all workers read, if it is large."""
    return value if is_small(value) else submitted(client, [value])[0]


def submitted(client: Any, values: Sequence[Any]) -> list[Any]:
    """Futures of values of this process; each is a task, which Dask repeats if a worker is lost."""
    with _of_any_size():
        return [client.submit(_unchanged, value, pure=False) for value in values]


def workers_of(client: Any, futures: Sequence[Any]) -> list[str | None]:
    """Wait for futures, and return a worker that has each; None if its task failed."""
    from distributed import wait

    if not futures:
        return []
    with client.as_current():
        wait(futures)
    holders = client.who_has(futures)
    return [next(iter(holders[future.key]), None) for future in futures]


def mapped_on(
    client: Any,
    workers: Sequence[str | None],
    function: Callable[..., Any],
    *futures: Sequence[Any],
) -> list[Any]:
    """
    Call a function as ``client.map`` does, on a worker for each call; on another if it is lost.

    Dask would move the smaller argument to the larger one. But it does not know how much memory
    features and parts refer to, and would move these.
    """
    found: dict[int, Any] = {}
    for worker in dict.fromkeys(workers):
        own = [i for i, other in enumerate(workers) if other == worker]
        place = {} if worker is None else {"workers": [worker], "allow_other_workers": True}
        given = ([column[i] for i in own] for column in futures)
        found.update(zip(own, client.map(function, *given, pure=False, **place), strict=True))
    return [found[i] for i in range(len(workers))]


@contextlib.contextmanager
def _of_any_size() -> Iterator[None]:
    """
    Send values of any size to workers without a warning.

    Dask warns above 10 MB, and tells users to load their data with Dask. They have done that; these
    are labels, numbers of rows and anchors, which this process has checked or chosen.
    """
    import dask

    with dask.config.set({"distributed.admin.large-graph-warning-threshold": sys.maxsize}):
        yield


def is_small(value: list[Any]) -> bool:
    """Whether every task may carry a copy of a list of values."""
    from dask.sizeof import sizeof

    n_bytes: int = sizeof(value)
    return n_bytes <= _COPIED_BYTES


@contextlib.contextmanager
def with_partition(place: int) -> Iterator[None]:
    """Let errors about a value say which partition it is from."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"partition {place}: {error}") from None


class RemotePart:
    """
    A part on a worker.

    Parameters
    ----------
    future : Future
        Of the part, or of a `_Changed`.
    n_rows : int
        Number of samples, for reports of progress.
    worker : str, optional
        Address of a worker that had the part, or what it was made of; found when it is needed.
    """

    def __init__(self, future: Any, n_rows: int = 0, worker: str | None = None) -> None:
        self.future, self.n_rows, self.worker = future, n_rows, worker


class ClusterArray:
    """An array whose parts lie on workers."""

    def __init__(self, client: Any, futures: list[Any], sizes: Sequence[int] | None = None) -> None:
        self._client, self.futures = client, futures
        if sizes is None:
            sizes = client.gather(client.map(len, futures, pure=False))
        self.bounds = np.concatenate([[0], np.cumsum(sizes)])

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        joined = np.concatenate(self._client.gather(self.futures))
        return joined if dtype is None else joined.astype(dtype, copy=False)

    def __getitem__(self, indices: NDArray[np.integer]) -> ClusterArray:
        """Rows in ascending order, which stay on their workers; parts without any are left out."""
        places, found = self._found(indices)
        return ClusterArray(self._client, found, [len(rows) for rows in places])

    def parts_of(self, futures: list[Any]) -> list[RemotePart]:
        """Make parts of futures, each of which has the rows of a part of the array."""
        sizes = np.diff(self.bounds).tolist()
        return [RemotePart(future, n) for future, n in zip(futures, sizes, strict=True)]

    def take(self, indices: NDArray[np.integer]) -> NDArray[Any]:
        """Rows in any order, in this process."""
        places, found = self._found(indices)
        return _put(self._client.gather(found), places)

    def arranged(self, rows: Sequence[NDArray[np.integer]]) -> ClusterArray:
        """An array whose parts have the rows of these numbers; rows go from worker to worker."""
        futures = []
        for indices in rows:
            first = indices[0] if len(indices) else 0
            part = int(np.searchsorted(self.bounds, first, side="right")) - 1
            if np.array_equal(indices, np.arange(*self.bounds[part : part + 2])):
                futures.append(self.futures[part])
                continue
            places, found = self._found(indices)
            with _of_any_size():
                futures.append(self._client.submit(_put, found, places, pure=False))
        return ClusterArray(self._client, futures, list(map(len, rows)))

    def _found(self, indices: NDArray[np.integer]) -> tuple[list[NDArray[np.int64]], list[Any]]:
        """Futures of the rows, by the part where they lie, and their places among the indices."""
        part_of = np.searchsorted(self.bounds, indices, side="right") - 1
        # An empty piece of the first part tells what the rows are if none are asked for.
        asked = np.unique(part_of).tolist() or [0]
        places = [np.flatnonzero(part_of == part) for part in asked]
        local = [indices[own] - self.bounds[part] for part, own in zip(asked, places, strict=True)]
        with _of_any_size():
            found = self._client.map(
                _take, [self.futures[part] for part in asked], local, pure=False
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
        As `check_rows`; the error names the partition. Or a partition takes more memory than a
        worker has for data.

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
        self.dtype = np.dtype(np.float32 if features.dtype == np.float32 else np.float64)
        row_bytes = features.shape[1] * self.dtype.itemsize
        check_fits(client, features.chunks[0], row_bytes, f"partition {{}} of {name}")
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
        starts = np.cumsum([0, *sizes[:-1]])
        rows = np.concatenate([start + few for start, few in zip(starts, first, strict=True)])
        warn_of_zero_rows(rows.tolist(), len(self), name, sum(n_zero))

    def transformed(self, function: Callable[[NDArray[Any]], NDArray[Any]]) -> ClusterRows:
        """Rows to which a function is applied, part by part; the number of columns is kept."""
        other = copy.copy(self)
        futures = self._client.map(function, self._array.futures, pure=False)
        other._array = ClusterArray(self._client, futures, np.diff(self.bounds).tolist())
        return other

    def arranged(self, rows: Sequence[NDArray[np.integer]]) -> ClusterRows:
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
        return self._array.take(indices)

    def subset(self, indices: NDArray[np.integer]) -> ClusterRows:
        """Select rows in ascending order, which stay on their workers."""
        other = copy.copy(self)
        other._array = self._array[indices]
        other.shape = (len(indices), self.shape[1])
        return other

    def column_means(self) -> NDArray[np.float64]:
        """Means of the columns: sums of the parts, added in their order."""
        sums = self._client.map(_column_sums, self._array.futures, pure=False)
        means: NDArray[np.float64] = merged_on_workers(self._client, sums, total_of) / len(self)
        return means

    def mapped(
        self, feature_map: BlockMap, kept_bytes: int, row_size: int | None = None
    ) -> ClusterMappedRows:
        """The mapped features, which stay on the workers; all parts of one keep `kept_bytes`."""
        n_parts = len(self._array.futures)
        own_bytes = share_of_part(self._client, kept_bytes, n_parts)
        # Anchors may be many megabytes, so they are sent once.
        shared = submitted(self._client, [feature_map])[0]
        futures = self._client.map(
            partial(_mapped, kept_bytes=own_bytes, row_size=row_size),
            self._array.futures,
            [shared] * n_parts,
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

    def keeps_all(self) -> bool:
        """
        Tell whether a worker that has no other part keeps all mapped features of its part.

        What depends on it does not depend on the number of workers.
        """
        return bool(np.diff(self._array.bounds).max() <= self._n_kept)

    def with_codes(self, codes: Sequence[Any]) -> list[Any]:
        """The parts of the rows, each with its features and codes."""
        workers = workers_of(self._client, self._futures)
        columns = [array.futures for array in codes]
        joined = mapped_on(self._client, workers, _joined, self._futures, *columns)
        return self._array.parts_of(joined)


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


def _mapped(
    block: NDArray[Any], feature_map: BlockMap, kept_bytes: int, row_size: int | None
) -> MappedRows:
    return MappedRows(Rows(block, block.dtype), feature_map, kept_bytes, row_size)


def _joined(mapped: MappedRows, *codes: NDArray[np.uint8]) -> tuple[MappedRows, list[Any]]:
    return mapped, list(codes)


def _unchanged(value: Any) -> Any:
    return value
