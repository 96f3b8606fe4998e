"""`CCAITQ`: the classic unsupervised baseline, canonical correlations and a learned rotation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy import linalg
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from ..codes import pack
from ..features import centring_map
from ..validation import check_count, check_modalities, check_number
from .base import CrossModalHasher
from .rotation import quantising_rotation

__all__ = ["CCAITQ"]


class CCAITQ(CrossModalHasher):
    """
    Canonical correlation analysis followed by iterative quantisation.

    Projects two paired modalities on their canonical directions and turns both by the one
    Procrustes rotation that brings them nearest to ±1. Uses pairs and no labels.

    Parameters
    ----------
    n_bits : int, default 64
        Length of the codes; at most the number of features of either modality.
    ridge : float, default 1e-2
        Added to the diagonal of each covariance, as a share of its mean; greater than 0. Many
        features for few samples want more: the emoji demo does best with 30.
    n_iterations : int, default 50
        Steps of the rotation.
    random_state : int, RandomState instance or None, default None
        Seeds the first rotation.

    Attributes
    ----------
    codes_, projections_, feature_maps_, modalities_, n_features_in_
        As in `CrossModalHasher`.
    correlations_ : ndarray of float64, shape (n_bits,)
        Canonical correlations, descending.

    Notes
    -----
    O(n · d² + d³) for the correlations, d features; O(n · n_bits²) per step of the rotation.

    References
    ----------
    Gong, Lazebnik, Gordo, Perronnin, "Iterative Quantization: A Procrustean Approach to Learning
    Binary Codes for Large-Scale Image Retrieval", IEEE Transactions on Pattern Analysis and Machine
    Intelligence 35(12), 2013. One rotation for both modalities is ours.

    Examples
    --------
    >>> import numpy as np
    >>> import fasthash as fh
    >>> rng = np.random.default_rng(0)
    >>> shared = rng.standard_normal((300, 8))
    >>> features = {
    ...     "image": shared @ rng.standard_normal((8, 20)),
    ...     "text": shared @ rng.standard_normal((8, 10)),
    ... }
    >>> model = fh.CCAITQ(n_bits=8, random_state=0).fit(features)
    >>> bool((model.codes_["image"] == model.codes_["text"]).mean() > 0.9)
    True
    """

    def __init__(
        self,
        n_bits: int = 64,
        *,
        ridge: float = 1e-2,
        n_iterations: int = 50,
        random_state: Any = None,
    ) -> None:
        self.n_bits = n_bits
        self.ridge = ridge
        self.n_iterations = n_iterations
        self.random_state = random_state

    def fit(self, features: Mapping[str, ArrayLike]) -> CCAITQ:
        """
        Learn the projections from paired samples.

        Parameters
        ----------
        features : mapping of str to array_like, each of shape (n_samples, n_features)
            Two modalities; row i of one belongs to row i of the other.

        Returns
        -------
        CCAITQ
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If parameters or features are unsuitable; the model is then unchanged.
        """
        n_bits = check_count(self.n_bits, "n_bits")
        check_number(self.ridge, "ridge", positive=True)
        check_count(self.n_iterations, "n_iterations")
        rows = check_modalities(features)
        x = {name: read.read(slice(0, len(read))) for name, read in rows.items()}
        self._check_pairs(x)
        rng = check_random_state(self.random_state)

        feature_maps = {name: centring_map(values) for name, values in x.items()}
        (a_name, a), (b_name, b) = ((name, feature_maps[name].transform(x[name])) for name in x)
        a_whitening, b_whitening = _whitening(a, self.ridge), _whitening(b, self.ridge)
        cross = a_whitening.T @ (a.T @ b).astype(np.float64) @ b_whitening / len(a)
        left, correlations, right = linalg.svd(cross, full_matrices=False)
        a_projection = a_whitening @ left[:, :n_bits]
        b_projection = b_whitening @ right[:n_bits].T
        scores = np.vstack([a @ a_projection, b @ b_projection])
        rotation = quantising_rotation(scores, self.n_iterations, rng)

        projections = {a_name: a_projection @ rotation, b_name: b_projection @ rotation}
        codes = {a_name: pack(a @ projections[a_name]), b_name: pack(b @ projections[b_name])}
        self._set_fitted(
            rows, feature_maps, projections, codes, correlations_=correlations[:n_bits].copy()
        )
        return self

    def _check_pairs(self, x: dict[str, NDArray]) -> None:
        if len(x) != 2:
            raise ValueError(f"CCAITQ takes two modalities, got {list(x)}")
        sizes = {name: len(rows) for name, rows in x.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"CCAITQ needs pairs, one row of each: the modalities have {sizes}")
        for name, rows in x.items():
            if rows.shape[1] < self.n_bits:
                raise ValueError(
                    f"features[{name!r}] has {rows.shape[1]} columns: n_bits={self.n_bits} needs "
                    "at least as many features as bits"
                )
            if (rows == rows[:1]).all():
                raise ValueError(f"features[{name!r}] has the same row for all samples")


def _whitening(x: NDArray, ridge: float) -> NDArray[np.float64]:
    """W with WᵀCW = I for the covariance C of the centred rows plus its ridge."""
    covariance = (x.T @ x).astype(np.float64) / len(x)
    covariance.flat[:: len(covariance) + 1] += ridge * np.trace(covariance) / len(covariance)
    eigenvalues, vectors = linalg.eigh(covariance)
    return vectors / np.sqrt(eigenvalues)
