"""Relations of rows to anchors: a matrix S such that S times the anchors approximates the rows.

There are three classes with the same methods: `SparseRelations` has weights of the nearest anchors;
`DenseRelations` is a ridge regression on all anchors, which does not store S; `NoRelations` is for
a modality without unpaired rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy import linalg
from numpy.typing import NDArray

from ..._core.rows import RowReader

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["DenseRelations", "NoRelations", "Relations", "SparseRelations"]


class Relations(Protocol):
    """What the sweeps need of S, a matrix with a row per sample and a column per anchor."""

    def times(self, rows: slice, at_anchors: NDArray[np.floating]) -> NDArray[np.floating]:
        """Multiply rows of S with the values of the anchors."""

    def transposed_times(self, rows: slice, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Multiply the transposed rows of S with values, one row of values per row."""

    def gram(self, rows: slice, weights: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute SᵀWS over these rows, where W is diagonal."""


class NoRelations:
    """For a modality in which every row is in a pair: S is zero."""

    def __init__(self, n_anchors: int) -> None:
        self._n_anchors = n_anchors

    def times(self, rows: slice, at_anchors: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.zeros((rows.stop - rows.start, at_anchors.shape[1]), at_anchors.dtype)

    def transposed_times(self, rows: slice, values: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.zeros((self._n_anchors, values.shape[1]))

    def gram(self, rows: slice, weights: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.zeros((self._n_anchors, self._n_anchors))


class SparseRelations:
    """
    A few anchors per row, with weights.

    Parameters
    ----------
    weights : csr_array, shape (n, n_anchors)
    """

    def __init__(self, weights: csr_array) -> None:
        self._weights = weights

    def times(self, rows: slice, at_anchors: NDArray[np.floating]) -> NDArray[np.floating]:
        return self._weights[rows] @ at_anchors

    def transposed_times(self, rows: slice, values: NDArray[np.floating]) -> NDArray[np.float64]:
        return (self._weights[rows].T @ values).astype(np.float64)

    def gram(self, rows: slice, weights: NDArray[np.floating]) -> NDArray[np.float64]:
        from scipy.sparse import diags_array

        few = self._weights[rows].astype(np.float64)
        return (few.T @ (diags_array(weights.astype(np.float64)) @ few)).toarray()


class DenseRelations:
    """
    Ridge regression on all anchors: S = X Aᵀ(AAᵀ + γI)⁻¹.

    γ is `share` times the mean of the diagonal of AAᵀ.

    Parameters
    ----------
    x : RowReader
        The samples.
    anchors : ndarray, shape (n_anchors, d)
        A.
    share : float
    """

    def __init__(self, x: RowReader, anchors: NDArray[np.floating], share: float) -> None:
        self._x = x
        gram = anchors.astype(np.float64) @ anchors.T
        gram.flat[:: len(gram) + 1] += share * np.trace(gram) / len(gram)
        self._solver = linalg.solve(gram, anchors).T

    def times(self, rows: slice, at_anchors: NDArray[np.floating]) -> NDArray[np.floating]:
        return self._x.read(rows) @ (self._solver @ at_anchors).astype(at_anchors.dtype)

    def transposed_times(self, rows: slice, values: NDArray[np.floating]) -> NDArray[np.float64]:
        return self._solver.T @ (self._x.read(rows).T @ values)

    def gram(self, rows: slice, weights: NDArray[np.floating]) -> NDArray[np.float64]:
        x = self._x.read(rows)
        return self._solver.T @ (x.T @ (weights[:, None] * x)) @ self._solver
