"""Two baselines for one kind of features, as scikit-learn transformers: `ITQ`, `RandomHyperplanes`.

What the models of several modalities are compared with when nothing is shared and nothing labelled:
a code learned from the principal components, and one that is not learned at all.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh
from sklearn.base import TransformerMixin
from sklearn.utils import Tags, check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .._core.features import FeatureMap, centring_map
from .._core.pieces import cut
from .._core.rows import Rows
from .._core.runtime import resolve_threads
from .._core.validation import check_count
from ._rotation import quantising_rotation
from ._saving import SavedModel, check_shape
from .base import encode_rows

__all__ = ["ITQ", "RandomHyperplanes"]

# What scikit-learn leaves alone; other numbers become float64.
_DTYPES: tuple[Any, ...] = (np.float64, np.float32)


class _LinearTransformer(TransformerMixin, SavedModel):
    """Base of the transformers whose bits are signs of centred features times `projection_`."""

    _learned: ClassVar[tuple[str, ...]] = (
        "mean_",
        "projection_",
        "n_features_in_",
        "feature_names_in_",
    )

    def transform(self, X: ArrayLike) -> NDArray[np.uint8]:
        """
        Compute packed codes.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            Features, as in the fit.

        Returns
        -------
        ndarray of uint8, shape (n_samples, ceil(n_bits / 8))

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model has not been fitted.
        TypeError, ValueError
            If X is no matrix of finite real numbers, is sparse, or has another number of features
            than in the fit.

        Notes
        -----
        Costs O(n_samples · n_features · n_bits). Beside the codes a block of centred features per
        thread is held. float32 features are projected in float32, others in float64.
        """
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, dtype=_DTYPES)
        return encode_rows(
            Rows(x, x.dtype), FeatureMap(self.mean_), self.projection_, resolve_threads(None)
        )

    def _set_learned_state(self, learned: dict[str, Any]) -> None:
        n_features = learned["n_features_in_"]
        check_shape(learned["mean_"], "mean_", (n_features,))
        check_shape(learned["projection_"], "projection_", (n_features, None))
        if "feature_names_in_" in learned:
            check_shape(learned["feature_names_in_"], "feature_names_in_", (n_features,), object)
        super()._set_learned_state(learned)

    def _set_fitted(
        self, X: ArrayLike, feature_map: FeatureMap, projection: NDArray[np.float64]
    ) -> None:
        """Store what a fit learned, all at once; X is what it was given."""
        # Number and names of the features; X itself has been checked by then.
        validate_data(self, X, skip_check_array=True)
        self.mean_ = feature_map.mean
        self.projection_ = projection

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # Codes are bytes, whatever the features were.
        tags.transformer_tags.preserves_dtype = []
        return tags


class ITQ(_LinearTransformer):
    """
    Iterative quantisation of principal components.

    Projects features on their directions of largest variance and turns these so that they come near
    to ±1. The standard among unsupervised binary codes of one kind of features.

    Parameters
    ----------
    n_bits : int, default 64
        Length of the codes; at most the number of features.
    n_iterations : int, default 50
        Steps of the rotation.
    random_state : int, RandomState instance or None, default None
        Seeds the first rotation.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (n_features,)
        Column means of the training samples.
    projection_ : ndarray of float64, shape (n_features, n_bits)
        Orthonormal columns: bit 1 where the centred features times a column are >= 0.
    explained_variance_ : ndarray of float64, shape (n_bits,)
        Variance of the training samples along the principal directions, descending.
    n_features_in_ : int
        Number of features in the fit.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Their names, where the fit was given a data frame.

    Notes
    -----
    Time is O(n · d² + d³) for the directions, d features, and O(n · n_bits²) per step of the
    rotation. Memory beside the features is d² + 2 n · n_bits of float64. The covariance is summed
    up in float64, whatever the dtype of the features.

    Codes are packed, so a byte that comes out is no feature and has no name: there is no
    ``get_feature_names_out``.

    References
    ----------
    Gong, Lazebnik, Gordo, Perronnin, "Iterative Quantization: A Procrustean Approach to Learning
    Binary Codes for Large-Scale Image Retrieval", IEEE Transactions on Pattern Analysis and Machine
    Intelligence 35(12), 2013.

    Examples
    --------
    >>> import numpy as np
    >>> import fasthash as fh
    >>> X = np.random.default_rng(0).standard_normal((300, 20))
    >>> codes = fh.ITQ(n_bits=16, random_state=0).fit_transform(X)
    >>> codes.shape, codes.dtype
    ((300, 2), dtype('uint8'))
    """

    _learned: ClassVar[tuple[str, ...]] = (*_LinearTransformer._learned, "explained_variance_")

    def __init__(
        self, n_bits: int = 64, *, n_iterations: int = 50, random_state: Any = None
    ) -> None:
        self.n_bits = n_bits
        self.n_iterations = n_iterations
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> ITQ:
        """
        Learn the projection.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            Features of two samples or more, not all the same. A memory-mapped array of float32 or
            float64 is read block by block.
        y : ignored

        Returns
        -------
        ITQ
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If parameters or features are unsuitable, or there are fewer features than bits; the
            model is then unchanged.
        """
        n_bits = check_count(self.n_bits, "n_bits")
        n_iterations = check_count(self.n_iterations, "n_iterations")
        x = check_array(X, dtype=_DTYPES, ensure_min_samples=2, estimator=self, input_name="X")
        n, d = x.shape
        if n_bits > d:
            raise ValueError(
                f"n_bits={n_bits} is more than n_features={d} of X, and ITQ makes at most one bit "
                "per feature: ask for fewer bits, or take RandomHyperplanes"
            )
        if Rows(x, x.dtype).is_constant():
            raise ValueError(
                "X has the same row for all samples: there is no variance to learn from; pass "
                "samples that differ"
            )
        rng = check_random_state(self.random_state)

        feature_map = centring_map(x)
        variances, directions = _principal_directions(x, feature_map, n_bits)
        scores = np.empty((n, n_bits))
        for rows in cut(n, d):
            scores[rows] = feature_map.transform(x[rows]) @ directions
        projection = directions @ quantising_rotation(scores, n_iterations, rng)

        self._set_fitted(X, feature_map, projection)
        self.explained_variance_ = variances
        return self


class RandomHyperplanes(_LinearTransformer):
    """
    Signs of random projections, the simplest locality-sensitive hash.

    Every bit says on which side of a random hyperplane through the mean a sample lies. Two samples
    differ in a bit with a probability of their angle, seen from the mean, divided by π, so that
    Hamming distances estimate angles. Learns nothing but the mean.

    Parameters
    ----------
    n_bits : int, default 64
        Length of the codes; any number, also more than there are features.
    random_state : int, RandomState instance or None, default None
        Seeds the hyperplanes.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (n_features,)
        Column means of the training samples.
    projection_ : ndarray of float64, shape (n_features, n_bits)
        Gaussian columns: bit 1 where the centred features times a column are >= 0.
    n_features_in_ : int
        Number of features in the fit.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Their names, where the fit was given a data frame.

    Notes
    -----
    A fit costs O(n · d + d · n_bits), d features. As with `ITQ` there is no
    ``get_feature_names_out``.

    References
    ----------
    Charikar, "Similarity Estimation Techniques from Rounding Algorithms", ACM Symposium on Theory
    of Computing, 2002. Centring the features is ours.

    Examples
    --------
    Two samples on opposite sides of the mean differ in all bits.

    >>> import fasthash as fh
    >>> codes = fh.RandomHyperplanes(n_bits=40, random_state=0).fit_transform([[0.0, 1], [2, 5]])
    >>> fh.distances(codes[:1], codes[1:])
    array([[40]], dtype=int32)
    """

    def __init__(self, n_bits: int = 64, *, random_state: Any = None) -> None:
        self.n_bits = n_bits
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> RandomHyperplanes:
        """
        Compute the mean and draw the hyperplanes.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
            Features; one sample is enough, the hyperplanes then pass through it.
        y : ignored

        Returns
        -------
        RandomHyperplanes
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If parameters or features are unsuitable; the model is then unchanged.
        """
        n_bits = check_count(self.n_bits, "n_bits")
        x = check_array(X, dtype=_DTYPES, estimator=self, input_name="X")
        rng = check_random_state(self.random_state)
        projection = rng.standard_normal((x.shape[1], n_bits))
        self._set_fitted(X, centring_map(x), projection)
        return self


def _principal_directions(
    x: NDArray[np.floating], feature_map: FeatureMap, n_components: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Largest variances, descending, and their directions as columns."""
    n, d = x.shape
    covariance = np.zeros((d, d))
    for rows in cut(n, d):
        # In float64: squares of float32 features may be too large for their dtype.
        centred = x[rows] - feature_map.mean
        covariance += centred.T @ centred
    covariance /= n
    variances, directions = eigh(covariance, subset_by_index=[d - n_components, d - 1])
    # Rounding could make the variance of a constant direction negative.
    return np.maximum(variances[::-1], 0), directions[:, ::-1]
