"""The features φ of `RREH`: linear ones, radial basis functions, or both side by side.

φ = K T, where the map K turns raw rows into centred columns, and the matrix T makes features of
them. Linear features are the raw columns, or their leading principal components if there are many.
Radial basis functions are multiplied by a power of their centres' kernel matrix. Each kind is
scaled so that its rows have a mean squared norm of 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy import linalg
from numpy.typing import NDArray
from scipy.linalg import block_diag, eigh, qr

from ..._core.features import BlockMap, FeatureMap, JoinedMap, centring_map, rbf_map
from ..._core.pieces import cut
from ..._core.rows import Rows
from ..._core.workers import Workers

__all__ = ["Features", "join_features", "linear_features", "radial_features", "squared_lengths"]

# Eigenvalues of the kernel matrix of the centres are raised to at least this share of the largest
# one. Otherwise whitening would enlarge the rounding errors of float32.
_LEAST_EIGENVALUE = 1e-5

# Of more linear features than this, only so many principal components are used.
_MOST_LINEAR = 384

# Of at most so many columns, the principal components are computed from the covariances. Of more,
# they are approximated from products with some directions more than are used, in several rounds.
_MOST_COVARIANCE = 4096
_MORE_DIRECTIONS = 64
_ROUNDS = 4


@dataclass(frozen=True)
class Features:
    """
    The features of one modality.

    Attributes
    ----------
    feature_map : BlockMap
        K, from raw rows to centred columns.
    basis : ndarray of float64, shape (n_out, n_columns)
        T.
    n_linear : int
        So many of the columns of T are linear features; they come first.
    """

    feature_map: BlockMap
    basis: NDArray[np.float64]
    n_linear: int

    @property
    def n_columns(self) -> int:
        """Number of features."""
        return self.basis.shape[1]

    def transform(self, rows: Rows) -> NDArray[np.floating]:
        """Compute φ of some rows of a modality, block by block."""
        basis = self.basis.astype(rows.dtype)
        features = np.empty((len(rows), basis.shape[1]), rows.dtype)
        for block in cut(len(rows), max(len(basis), rows.shape[1])):
            features[block] = self.feature_map.transform(rows.read(block)) @ basis
        return features

    def mixed(self, share: float | None) -> Features:
        """Multiply the columns by `factors`; leave out those with a factor of 0."""
        if share is None or not isinstance(self.feature_map, JoinedMap):
            return self
        linear, radial = self.feature_map.maps
        basis = self.basis * self.factors(share)
        if share == 1:
            return Features(linear, basis[: linear.n_out, : self.n_linear], self.n_linear)
        if share == 0:
            return Features(radial, basis[linear.n_out :, self.n_linear :], 0)
        return Features(self.feature_map, basis, self.n_linear)

    def factors(self, share: float | None) -> NDArray[np.float64]:
        """
        Compute factors of the columns such that linear ones have a share of the squared norm.

        All factors are 1 if the share is None.
        """
        if share is None:
            return np.ones(self.n_columns)
        sizes = [self.n_linear, self.n_columns - self.n_linear]
        return np.sqrt(np.repeat([share, 1 - share], sizes))


def linear_features(seen: Rows) -> Features:
    """Make linear features, from rows that stand for all."""
    feature_map = centring_map(seen)
    d = seen.shape[1]
    blocks = cut(*seen.shape)
    if d <= _MOST_LINEAR:
        spread = np.mean(squared_lengths(feature_map.transform(seen.read(b)) for b in blocks))
        return Features(feature_map, np.eye(d) / np.sqrt(spread), d)
    if d <= _MOST_COVARIANCE:
        covariance = np.zeros((d, d))
        for block in blocks:
            centred = feature_map.transform(seen.read(block))
            covariance += centred.T @ centred
        variances, vectors = eigh(
            covariance / len(seen), subset_by_index=[d - _MOST_LINEAR, d - 1], driver="evr"
        )
    else:
        variances, vectors = _leading_components(seen, feature_map)
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(_MOST_LINEAR)])
    return Features(feature_map, vectors[:, ::-1] / np.sqrt(np.sum(variances)), _MOST_LINEAR)


def _leading_components(
    seen: Rows, feature_map: FeatureMap
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """
    Approximate variances and directions of the leading principal components, ascending.

    Subspace iteration from random directions (Halko, Martinsson and Tropp 2011). Each of the rounds
    reads all rows once; covariances of all columns, of size d², are never held.
    """
    d = seen.shape[1]
    # The same directions for all fits: codes do not depend on them much.
    directions = np.random.default_rng(0).standard_normal((d, _MOST_LINEAR + _MORE_DIRECTIONS))
    for _ in range(_ROUNDS):
        basis = qr(directions, mode="economic", overwrite_a=True, check_finite=False)[0]
        products = np.zeros(basis.shape)
        for block in cut(*seen.shape):
            centred = feature_map.transform(seen.read(block))
            products += centred.T @ (centred @ basis)
        products /= len(seen)
        variances, mixture = eigh(basis.T @ products)
        found = basis @ mixture[:, -_MOST_LINEAR:]
        directions = products
    return np.maximum(variances[-_MOST_LINEAR:], 0), found


def radial_features(
    seen: Rows,
    centres: NDArray[np.floating],
    width: float,
    whitening: float,
    workers: Workers,
) -> Features:
    """Make radial basis functions, times a power of the kernel matrix of their centres."""
    feature_map = rbf_map(seen, centres, width, workers)
    features = Features(feature_map, _kernel_power(feature_map, whitening), 0)
    spread = np.mean(squared_lengths([features.transform(seen)]))
    return Features(feature_map, features.basis / np.sqrt(spread), 0)


def join_features(linear: Features, radial: Features) -> Features:
    """Put linear features and radial basis functions side by side."""
    assert isinstance(linear.feature_map, FeatureMap) and isinstance(radial.feature_map, FeatureMap)
    return Features(
        JoinedMap((linear.feature_map, radial.feature_map)),
        block_diag(linear.basis, radial.basis),
        linear.n_linear,
    )


def squared_lengths(blocks: Iterable[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Compute the squared length of every row of the blocks."""
    return np.concatenate([np.einsum("ij,ij->i", x, x, dtype=np.float64) for x in blocks])


def _kernel_power(feature_map: FeatureMap, whitening: float) -> NDArray[np.float64]:
    """Compute T such that TTᵀ is the centres' kernel matrix to the power of -whitening."""
    assert feature_map.anchors is not None
    uncentred = FeatureMap(np.zeros(feature_map.n_out), feature_map.anchors, feature_map.width)
    kernel = uncentred.transform(feature_map.anchors.astype(np.float64))
    eigenvalues, vectors = linalg.eigh((kernel + kernel.T) / 2)
    least = _LEAST_EIGENVALUE * eigenvalues[-1]
    return vectors * np.maximum(eigenvalues, least) ** (-whitening / 2)
