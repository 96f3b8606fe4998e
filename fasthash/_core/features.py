"""Maps from raw features to the centred features on which models learn linear functions.

A map either keeps the features and subtracts their means, or replaces them by radial basis
functions around anchors (samples of the training set).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .kept import KeptProperty
from .pieces import cut
from .rows import Rows
from .workers import Executor, Workers, add_up

# The mean distance is estimated from at least this many samples if there are as many: with a
# thousand anchors, its relative error is about a thousandth.
_WIDTH_ROWS = 4096

# If exponents may be larger in size than this, rounding in float32 may make a positive number of an
# exponent near 0, and its exponential large. Then positive exponents are set to 0.
_LARGE_EXPONENT = 1e3

__all__ = [
    "BlockMap",
    "FeatureMap",
    "JoinedMap",
    "MappedRows",
    "centring_map",
    "rbf_map",
    "unit_rows",
]

Floating = TypeVar("Floating", bound=np.floating[Any])


class BlockMap(Protocol):
    """A map from blocks of raw features to the centred features of linear hash functions."""

    @property
    def n_out(self) -> int:
        """Number of mapped features."""

    def transform(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """Map validated features."""


@dataclass(frozen=True)
class FeatureMap:
    """
    A fitted map from raw features to the centred features of a linear hash function.

    With anchors ``a_j`` the map is ``exp(-‖x - a_j‖² / (2 width²)) - mean_j``. Without anchors it
    is ``x - mean``.

    Attributes
    ----------
    mean : ndarray of float64, shape (n_out,)
        Column means over the training samples, or over some of them if they are many.
    anchors : ndarray of shape (n_anchors, n_features) or None
        Samples drawn at random.
    width : float or None
        Standard deviation of the radial basis functions, in units of the features.
    """

    mean: NDArray[np.float64]
    anchors: NDArray[np.floating] | None = None
    width: float | None = None

    def __sizeof__(self) -> int:
        # On a cluster, large arguments are sent once to all workers.
        anchors = 0 if self.anchors is None else self.anchors.nbytes
        return object.__sizeof__(self) + self.mean.nbytes + anchors

    @property
    def n_out(self) -> int:
        """Number of mapped features."""
        return len(self.mean)

    def transform(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """
        Map validated features.

        Parameters
        ----------
        x : ndarray of float32 or float64, shape (n, n_features)
            A block of rows; the result is held in memory as a whole.

        Returns
        -------
        ndarray of the dtype of `x`, shape (n, n_out)

        Notes
        -----
        Costs O(n · n_anchors · n_features), nearly all of it one matrix product.
        """
        mean = self.mean.astype(x.dtype)
        if self.anchors is None:
            return x - mean
        out = self._exponents(x)
        np.exp(out, out=out)
        out -= mean
        return out

    def _exponents(self, x: NDArray[Any]) -> NDArray[Any]:
        """
        Compute -‖x - a‖² / (2 width²) as one matrix product; rounding may give values just above 0.

        The mean anchor is subtracted first, so that less is lost by cancellation. The squared norms
        are two more columns of the product, which saves two passes over the result.
        """
        origin, operand = self._operands
        n, d = x.shape
        left = np.empty((n, d + 2), x.dtype)
        np.subtract(x, origin.astype(x.dtype), out=left[:, :d])
        left[:, d] = np.einsum("ij,ij->i", left[:, :d], left[:, :d])
        left[:, d + 1] = 1
        out = left @ operand.astype(x.dtype, copy=False)
        if left[:, d].max(initial=0) * -operand[-2, 0] > _LARGE_EXPONENT:
            np.minimum(out, 0, out=out)
        return out

    @KeptProperty
    def _operands(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The mean anchor, and the right factor of the product: (n_features + 2, n_anchors)."""
        assert self.anchors is not None and self.width is not None
        origin = self.anchors.mean(axis=0, dtype=np.float64).astype(self.anchors.dtype)
        anchors = self.anchors - origin
        scale = 1 / (2 * self.width**2)
        norms = np.einsum("ij,ij->i", anchors, anchors, dtype=np.float64)
        operand = np.empty((anchors.shape[1] + 2, len(anchors)), anchors.dtype)
        operand[:-2] = (2 * scale * anchors).T
        operand[-2] = -scale
        operand[-1] = -scale * norms
        return origin, operand


@dataclass(frozen=True)
class JoinedMap:
    """
    Several maps of the same features, side by side.

    Attributes
    ----------
    maps : tuple of FeatureMap
    """

    maps: tuple[FeatureMap, ...]

    @property
    def n_out(self) -> int:
        """Number of mapped features."""
        return sum(few.n_out for few in self.maps)

    def transform(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """Map validated features."""
        return np.hstack([few.transform(x) for few in self.maps])


class MappedRows:
    """
    The mapped features of one modality, block by block.

    Parameters
    ----------
    x : Rows
    feature_map : BlockMap
    kept_bytes : int
        Memory for the first mapped blocks, which are kept so that they are not mapped again.
    row_size : int, optional
        Number of columns that decides how rows are cut into blocks; by default the larger number of
        columns before and after the map.
    """

    def __init__(
        self, x: Rows, feature_map: BlockMap, kept_bytes: int, row_size: int | None = None
    ) -> None:
        self._x, self._map = x, feature_map
        self._n_kept = kept_bytes // (feature_map.n_out * x.dtype.itemsize)
        self._kept: dict[int, NDArray[Any]] = {}
        self.blocks = cut(len(x), row_size or max(feature_map.n_out, x.shape[1]))
        self.n_rows, self.n_columns = len(x), feature_map.n_out
        self.dtype = x.dtype

    def __getitem__(self, rows: slice) -> NDArray[np.floating]:
        block = self._kept.get(rows.start)
        if block is None:
            block = self._map.transform(self._x.read(rows))
            if rows.stop <= self._n_kept:
                self._kept[rows.start] = block
        return block

    def parts(self) -> list[Any]:
        """The parts of the rows: here one of all rows."""
        return [self]

    def with_codes(self, codes: Sequence[NDArray[np.uint8]]) -> list[Any]:
        """The parts of the rows, each with its features and codes: here one of all rows."""
        return [(self, codes)]

    def keeps_all(self) -> bool:
        """Tell whether all mapped blocks are kept, so that no row is mapped twice."""
        return self.n_rows <= self._n_kept


def unit_rows(x: NDArray[Floating]) -> NDArray[Floating]:
    """
    Divide rows by their lengths; a row of zeros stays as it is.

    Examples
    --------
    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    unit = np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0)
    # Squares of numbers this small are 0 or inexact, so their rows are scaled first.
    limits = np.finfo(x.dtype)
    short = np.flatnonzero(lengths[:, 0] < np.sqrt(limits.tiny / limits.eps))
    if len(short) and (few := x[short]).any():
        largest = np.abs(few).max(axis=1, keepdims=True)
        few = np.divide(few, largest, out=np.zeros_like(few), where=largest > 0)
        unit[short] = few / np.maximum(np.linalg.norm(few, axis=1, keepdims=True), 1)
    return unit


def centring_map(sample: Rows) -> FeatureMap:
    """
    Make the map that subtracts the column means.

    Parameters
    ----------
    sample : Rows
        Validated features of all samples, or of enough samples to estimate the means.
    """
    return FeatureMap(mean=sample.column_means())


def rbf_map(
    sample: Rows, anchors: NDArray[np.floating], width: float, workers: Executor
) -> FeatureMap:
    """
    Choose the width of radial basis functions and compute their means.

    Parameters
    ----------
    sample : Rows
        Validated features of all samples, or of enough samples to estimate the means.
    anchors : ndarray of the same dtype, shape (n_anchors, n_features)
    width : float
        Standard deviation of the radial basis functions, in units of the mean distance of the
        sample to the anchors, so that the scale of the features does not matter.
    workers : Executor
        Of the sample.
    """
    zeros = np.zeros(len(anchors))
    # If the width is √½, the exponents are the negative squared distances.
    squared = FeatureMap(zeros, anchors, np.sqrt(0.5))
    few = sample.subset(np.arange(0, len(sample), max(1, len(sample) // _WIDTH_ROWS)))
    distance = workers.total(_sum_of_distances, few.parts(), squared) / (len(few) * len(anchors))
    uncentred = FeatureMap(zeros, anchors, width * distance)
    sums = workers.total(_column_sums, sample.parts(), uncentred)
    return FeatureMap(sums / len(sample), anchors, uncentred.width)


def _sum_of_distances(part: Rows, workers: Workers, squared: FeatureMap) -> float:
    """The sum of the distances of rows to all anchors."""

    def distances(blocks: Sequence[slice]) -> float:
        return sum(
            np.sqrt(np.maximum(-squared._exponents(part.read(rows)), 0)).sum(dtype=np.float64)
            for rows in blocks
        )

    return sum(workers.map(distances, cut(len(part), max(squared.n_out, part.shape[1]))))


def _column_sums(part: Rows, workers: Workers, feature_map: FeatureMap) -> NDArray[np.float64]:
    """The sums of the mapped features of rows."""

    def sums(blocks: Sequence[slice]) -> NDArray[np.float64]:
        return add_up(
            feature_map.transform(part.read(rows)).sum(axis=0, dtype=np.float64) for rows in blocks
        )

    return add_up(workers.map(sums, cut(len(part), max(feature_map.n_out, part.shape[1]))))
