"""Feature matrices read block by block.

Models read features through `Rows`. The values may be in memory, in a memory-mapped file, or in
another object that has a shape and can be sliced by rows.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .arrays import is_sparse, is_tensor
from .pieces import cut

__all__ = ["RowReader", "Rows", "as_csr", "is_sliced_by_rows", "zero_rows_of"]

_NO_ROWS: NDArray[np.int64] = np.empty(0, np.int64)


def is_sliced_by_rows(x: Any) -> bool:
    """Whether x is not an array but can be sliced by rows, as in h5py, dask and zarr."""
    if isinstance(x, np.ndarray | np.generic) or is_sparse(x) or is_tensor(x):
        return False
    return all(hasattr(x, name) for name in ("shape", "dtype", "__getitem__"))


def as_csr(x: Any) -> Any:
    """Convert a sparse matrix to CSR without duplicate entries; no copy if it is so already."""
    csr = x.tocsr()
    if csr.ndim == 2 and not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    return csr


class RowReader(Protocol):
    """Rows of numbers that are computed or read block by block, with the interface of `Rows`."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def read(self, rows: slice) -> NDArray[np.floating]:
        """Read a block."""


class Rows:
    """
    A feature matrix that is read in blocks of rows.

    Parameters
    ----------
    source : ndarray, scipy CSR matrix or array, or anything that can be sliced by rows
        An object with a ``shape``, of whose slices `numpy.asarray` makes arrays. A sparse matrix is
        made dense a block of rows at a time.
    dtype : float32 or float64
        The dtype to which the values are converted.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    names : ndarray of str as objects, or None
        Names of the columns of a data frame; set by the caller that checks them.
    """

    names: NDArray[Any] | None = None

    def __init__(self, source: Any, dtype: Any) -> None:
        self._source = source
        self._is_sparse = hasattr(source, "toarray") and hasattr(source, "indptr")
        # Not every source allows reads from two threads at once.
        is_in_memory = isinstance(source, np.ndarray) or self._is_sparse
        self._lock = None if is_in_memory else threading.Lock()
        self.shape: tuple[int, int] = (int(source.shape[0]), int(source.shape[1]))
        self.dtype = np.dtype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def is_sparse(self) -> bool:
        """Whether the source is a sparse matrix."""
        return self._is_sparse

    def parts(self) -> list[Any]:
        """The parts in which an executor visits the rows: here one of all rows."""
        return [self]

    def read(self, rows: slice) -> NDArray[np.floating]:
        """Read a block; without a copy if the source is an array of the right dtype."""
        if self._is_sparse:
            block = self._source[rows].toarray()
        elif self._lock is None:
            block = self._source[rows]
        else:
            with self._lock:
                block = np.asarray(self._source[rows])
        return np.asarray(block, self.dtype)

    def is_constant(self) -> bool:
        """Whether all rows are equal; stops reading at the first one that differs."""
        first = self.read(slice(0, 1))
        return all((self.read(rows) == first).all() for rows in cut(*self.shape))

    def inspect(self, largest: float) -> tuple[tuple[int, int, Any] | None, NDArray[np.int64]]:
        """
        Read every value once, and find values that cannot be used, and rows without any.

        Returns
        -------
        unusable : (int, int, number) or None
            Row, column and value of the first value that is NaN, infinite or above `largest`.
        zero_rows : ndarray of int64
            Numbers of the rows that hold only zeros; not complete if a value is unusable.
        """
        if self._is_sparse:
            values, starts = self._source.data, self._source.indptr
            place = np.flatnonzero(~(np.abs(values) <= largest))[:1]
            if len(place):
                row = int(np.searchsorted(starts, place[0], side="right")) - 1
                return (row, int(self._source.indices[place[0]]), values[place[0]]), _NO_ROWS
            if not values.all():
                # Zeros may be stored.
                starts = np.concatenate([[0], np.cumsum(values != 0)])[starts]
            return None, np.flatnonzero(np.diff(starts) == 0)
        zero_rows = []
        for rows in cut(*self.shape):
            block = self.read(rows)
            flat = block.ravel(order="K")
            # The sum of squares bounds every value, and costs less than a test of each.
            with np.errstate(over="ignore", invalid="ignore"):
                if not float(flat @ flat) <= largest**2:
                    usable = np.abs(block) <= largest
                    if not usable.all():
                        row, column = np.argwhere(~usable)[0]
                        return (rows.start + int(row), int(column), block[row, column]), _NO_ROWS
            zero_rows.append(rows.start + zero_rows_of(block))
        return None, np.concatenate(zero_rows)

    def take(self, indices: NDArray[np.integer]) -> NDArray[np.floating]:
        """Read rows in any order into one array; may read all blocks that contain one of them."""
        if self._is_sparse:
            return self._source[indices].toarray().astype(self.dtype, copy=False)
        if self._lock is None:
            return self._source[indices].astype(self.dtype, copy=False)
        out = np.empty((len(indices), self.shape[1]), self.dtype)
        # Some sources can only be read in ascending order of rows.
        order = np.argsort(indices)
        ascending = indices[order]
        for rows in cut(*self.shape):
            first, last = np.searchsorted(ascending, [rows.start, rows.stop])
            if first < last:
                out[order[first:last]] = self.read(rows)[ascending[first:last] - rows.start]
        return out

    def subset(self, indices: NDArray[np.integer]) -> Rows:
        """
        Select rows in any order, and hold them in memory; sparse if the source is sparse.

        All rows in their order are not copied if the source is sparse, or an array of the right
        dtype in C order; in another order, products would have other last digits.
        """
        if self._lock is None and self._source.dtype == self.dtype:
            is_in_order = self._is_sparse or self._source.flags.c_contiguous
            if is_in_order and np.array_equal(indices, np.arange(len(self))):
                return self
        rows = Rows(self._source[indices] if self._is_sparse else self.take(indices), self.dtype)
        rows.names = self.names
        return rows

    def column_means(self) -> NDArray[np.float64]:
        """Means of the columns, summed row by row in float64, so that blocks change no bit."""
        total = np.zeros((0, self.shape[1]))
        for rows in cut(*self.shape):
            block = self.read(rows)
            block = np.concatenate([total, block]) if len(total) else block
            total = block.sum(axis=0, dtype=np.float64, keepdims=True)
        return total[0] / len(self)


def zero_rows_of(block: NDArray[np.floating]) -> NDArray[np.int64]:
    """Find the rows that hold only zeros; most other rows are left after one column."""
    rows, done = np.flatnonzero(block[:, 0] == 0), 1
    while len(rows) and done < block.shape[1]:
        # Every column that is read again costs as much as all before it.
        more = block[rows, done : 2 * done] if len(rows) < len(block) else block[:, done : 2 * done]
        rows, done = rows[~more.any(axis=1)], 2 * done
    return rows
