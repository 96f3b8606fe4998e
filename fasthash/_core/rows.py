"""Feature matrices read block by block, and work on blocks spread over threads.

`Rows` is what a model sees of a feature matrix, wherever its values are: in memory, in a mapped
file, or behind anything that has a shape and can be sliced by rows. `Workers` runs a function over
strips of rows, a strip to a thread, and hands the results back in order.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack
from functools import partial, reduce
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["RowReader", "Rows", "Workers", "cut", "is_sliced_by_rows"]

Result = TypeVar("Result")

# Values in a block: 16 MiB in float32, which matrix products use well and threads can afford.
_BLOCK_VALUES = 1 << 22

# Blocks in a strip, at most. What a strip accumulates is added up once per strip.
_STRIP_BLOCKS = 8


def is_sliced_by_rows(x: Any) -> bool:
    """Tell whether x is no array, but can be sliced like one, as h5py, dask and zarr can."""
    return not isinstance(x, np.ndarray | np.generic) and all(
        hasattr(x, name) for name in ("shape", "dtype", "__getitem__")
    )


class RowReader(Protocol):
    """Rows of numbers that are computed or read block by block, as `Rows` are."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def read(self, rows: slice) -> NDArray[np.floating]:
        """Read a block."""


class Rows:
    """
    A feature matrix of which blocks of rows are read.

    Parameters
    ----------
    source : ndarray, or anything with ``shape`` that can be sliced by rows
        A slice must become an array by `numpy.asarray`.
    dtype : float32 or float64
        What the values are converted to.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    """

    def __init__(self, source: Any, dtype: Any) -> None:
        self._source = source
        # Not every reader may be called from two threads at once.
        self._lock = None if isinstance(source, np.ndarray) else threading.Lock()
        self.shape: tuple[int, int] = (int(source.shape[0]), int(source.shape[1]))
        self.dtype = np.dtype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, rows: slice) -> NDArray[np.floating]:
        """Read a block; without a copy where the source is an array of the right dtype."""
        if self._lock is None:
            block = self._source[rows]
        else:
            with self._lock:
                block = np.asarray(self._source[rows])
        return np.asarray(block, self.dtype)

    def is_constant(self) -> bool:
        """Tell whether all rows are equal; reads on only while they are."""
        first = self.read(slice(0, 1))
        return all((self.read(rows) == first).all() for rows in cut(*self.shape))

    def take(self, indices: NDArray[np.integer]) -> NDArray[np.floating]:
        """Read rows, in any order, into one array: costs a reading of the blocks they lie in."""
        if self._lock is None:
            return self._source[indices].astype(self.dtype, copy=False)
        out = np.empty((len(indices), self.shape[1]), self.dtype)
        # What is behind may give ascending rows only.
        order = np.argsort(indices)
        ascending = indices[order]
        for rows in cut(*self.shape):
            first, last = np.searchsorted(ascending, [rows.start, rows.stop])
            if first < last:
                out[order[first:last]] = self.read(rows)[ascending[first:last] - rows.start]
        return out


def cut(n: int, n_columns: int, n_values: int | None = None) -> list[slice]:
    """Cut n rows of n_columns values into blocks of at most n_values, or of a size for features."""
    step = max(1, (n_values or _BLOCK_VALUES) // max(1, n_columns))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def add_up(parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """Add arrays of one shape, in their order: at least one."""
    return reduce(np.add, parts)


class Workers(AbstractContextManager["Workers"]):
    """
    Threads that work on strips of rows, each with a matrix product of one thread.

    Two sets of threads, ours and those of the linear algebra, would take turns on the same cores;
    so while the workers exist the linear algebra of the process runs on one thread per call.

    Parameters
    ----------
    n_threads : int
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def __enter__(self) -> Workers:
        from threadpoolctl import ThreadpoolController

        self._exits = ExitStack()
        # For the process, and in each thread, because OpenMP counts threads per thread.
        libraries = ThreadpoolController()
        limit = partial(libraries.limit, limits=1, user_api="blas")
        self._exits.enter_context(limit())
        self._pool, self._finisher = (
            ThreadPoolExecutor(n, "fasthash", limit) for n in (self.n_threads, 1)
        )
        self._exits.callback(self._pool.shutdown, cancel_futures=True)
        self._exits.callback(self._finisher.shutdown, cancel_futures=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._exits.close()

    def map(
        self, function: Callable[[Sequence[slice]], Result], blocks: Sequence[slice]
    ) -> Iterator[Result]:
        """
        Call a function with strips of blocks; yield its results in the order of the strips.

        How blocks make strips depends on their number alone, so that sums over the results do not
        depend on the number of threads. Not many more results than threads are held at a time.
        """
        size = max(1, min(_STRIP_BLOCKS, len(blocks) // 16))
        strips = [blocks[i : i + size] for i in range(0, len(blocks), size)]
        if self.n_threads == 1:
            yield from map(function, strips)
            return
        waiting: deque[Any] = deque()
        try:
            for strip in strips:
                waiting.append(self._pool.submit(function, strip))
                if len(waiting) > self.n_threads + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def finish(self, function: Callable[[], Result]) -> Result:
        """
        Run a function to its end, whatever happens meanwhile.

        A KeyboardInterrupt is raised after it: what it changes is never left half changed.
        """
        future = self._finisher.submit(function)
        interrupt = None
        while not future.done():
            try:
                wait([future])
            except KeyboardInterrupt as raised:
                interrupt = raised
        result = future.result()
        if interrupt is not None:
            raise interrupt
        return result
