"""Feature matrices read block by block.

`Rows` is what a model sees of a feature matrix, wherever its values are: in memory, in a mapped
file, or behind anything that has a shape and can be sliced by rows.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .arrays import is_sparse, is_tensor
from .pieces import cut

__all__ = ["RowReader", "Rows", "is_sliced_by_rows"]


def is_sliced_by_rows(x: Any) -> bool:
    """Tell whether x is no array, but can be sliced like one, as h5py, dask and zarr can."""
    if isinstance(x, np.ndarray | np.generic) or is_sparse(x) or is_tensor(x):
        return False
    return all(hasattr(x, name) for name in ("shape", "dtype", "__getitem__"))


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
