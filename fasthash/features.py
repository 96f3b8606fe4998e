"""Features as the models see them: RBF anchor features and centring, computed in blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FeatureMap", "blocks_of_rows", "fit_feature_map"]

# Rows per block such that a block of anchor features stays near this many values.
_BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class FeatureMap:
    """
    A fitted map from raw features to the centred features a hash function is linear in.

    With anchors ``a_j`` the map is ``exp(-‖x - a_j‖² / (2 width²)) - mean_j``, without it is
    ``x - mean``.

    Attributes
    ----------
    mean : ndarray of float64, shape (n_out,)
        Column means over the samples of the fit.
    anchors : ndarray of shape (n_anchors, n_features) or None
        Samples drawn at random.
    width : float or None
        Standard deviation of the radial basis functions, in units of the features.
    """

    mean: NDArray[np.float64]
    anchors: NDArray[np.floating] | None = None
    width: float | None = None

    @property
    def n_out(self) -> int:
        """Number of features that come out."""
        return len(self.mean)

    def transform(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """
        Map validated features.

        Parameters
        ----------
        x : ndarray of float32 or float64, shape (n, n_features)

        Returns
        -------
        ndarray of the dtype of `x`, shape (n, n_out)

        Notes
        -----
        Costs O(n · n_anchors · n_features); nothing but the result and one block is held.
        """
        out = np.empty((len(x), self.n_out), x.dtype)
        for rows in blocks_of_rows(len(x), self.n_out):
            raw = x[rows] if self.anchors is None else _rbf(x[rows], self.anchors, self.width)
            np.subtract(raw, self.mean, out=out[rows], casting="same_kind")
        return out


def fit_feature_map(
    x: NDArray[np.floating],
    n_anchors: int | None,
    random_state: np.random.RandomState,
    width: float = 1.0,
) -> FeatureMap:
    """
    Draw anchors, choose the width and compute the means.

    Parameters
    ----------
    x : ndarray of float32 or float64, shape (n, n_features)
        Validated features.
    n_anchors : int or None
        How many samples serve as anchors, at most n; None keeps the features linear.
    random_state : RandomState
        Draws the anchors, without repetition.
    width : float
        Standard deviation of the radial basis functions, in units of the mean distance of the
        samples to the anchors, so that the scale of the features does not matter.

    Returns
    -------
    FeatureMap
    """
    if n_anchors is None:
        # A float64 mean of float32 columns: the error must not grow with n.
        return FeatureMap(mean=x.mean(axis=0, dtype=np.float64))
    anchors = x[np.sort(random_state.permutation(len(x))[:n_anchors])]
    total = 0.0
    for rows in blocks_of_rows(len(x), n_anchors):
        total += np.sqrt(_squared_distances(x[rows], anchors)).sum(dtype=np.float64)
    width *= total / (len(x) * n_anchors)
    mean = np.zeros(n_anchors)
    for rows in blocks_of_rows(len(x), n_anchors):
        mean += _rbf(x[rows], anchors, width).sum(axis=0, dtype=np.float64)
    return FeatureMap(mean=mean / len(x), anchors=anchors, width=width)


def blocks_of_rows(n: int, n_columns: int) -> Iterator[slice]:
    """Cut n rows of n_columns values into slices of bounded size."""
    step = max(1, _BLOCK_VALUES // max(1, n_columns))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def _rbf(x: NDArray, anchors: NDArray, width: float) -> NDArray:
    exponents = _squared_distances(x, anchors)
    exponents *= -0.5 / width**2
    return np.exp(exponents, out=exponents)


def _squared_distances(x: NDArray, anchors: NDArray) -> NDArray:
    """‖x - a‖² by one matrix product, taken relative to the mean anchor so that little cancels."""
    origin = anchors.mean(axis=0, dtype=np.float64).astype(x.dtype)
    x, anchors = x - origin, anchors - origin
    out = x @ anchors.T
    out *= -2
    out += np.einsum("ij,ij->i", x, x)[:, None]
    out += np.einsum("ij,ij->i", anchors, anchors)
    return np.maximum(out, 0, out=out)
