"""Two baselines for one kind of features, as scikit-learn transformers: `ITQ`, `RandomHyperplanes`.

The models of several modalities are compared with them. `ITQ` learns a code from the principal
components, and `RandomHyperplanes` learns nothing except the mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh
from sklearn.utils import check_random_state

from ..._core.cluster import executor_of
from ..._core.features import FeatureMap, centring_map
from ..._core.pieces import cut
from ..._core.rows import Rows
from ..._core.suspicious_columns import refuse_vanishing
from ..._core.validation import check_count
from ..._core.workers import Executor, Workers
from .._progress import Callback, Progress, Report
from .._rotation import moments_of_part, rotation_from
from ._linear_transformer import LinearTransformer

__all__ = ["ITQ", "RandomHyperplanes"]


class ITQ(LinearTransformer):
    """
    Iterative quantisation of principal components.

    Projects features on the directions of their largest variance, and rotates the projections so
    that they come near to ±1. This is the standard unsupervised baseline for one kind of features.

    Parameters
    ----------
    n_bits : int, default 64
        Length of the codes. With more bits than features, the rotation spreads all principal
        components over the bits.
    n_iterations : int, default 50
        Number of steps in which the rotation is improved.
    random_state : int, RandomState instance or None, default None
        Seed of the first rotation.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (n_features,)
        Column means of the training samples.
    projection_ : ndarray of float64, shape (n_features, n_bits)
        Orthonormal columns, or orthonormal rows if there are more bits than features. A bit is 1
        where the centred features times its column are >= 0.
    explained_variance_ : ndarray of float64, shape (min(n_bits, n_features),)
        Variance of the training samples along the principal directions, descending.
    n_features_in_ : int
        Number of features in the fit.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Names of the columns, if the fit was given a data frame.

    See Also
    --------
    CCAITQ : The same rotation for several modalities.
    RandomHyperplanes : Codes that are not learned.
    fasthash.embeddings.codes_of_signs : Signs of the features themselves.

    Notes
    -----
    With d features, time is O(n · d² + d³) for the directions, and O(n · n_bits²) per step of the
    rotation. In addition to the features, d² + 2 n · n_bits float64 numbers are held. The
    covariance is summed in float64 for every dtype of the features.

    A code is packed into bytes, so ``get_feature_names_out`` names bytes: "itq0", "itq1", …

    References
    ----------
    Gong, Lazebnik, Gordo, Perronnin, "Iterative Quantization: A Procrustean Approach to Learning
    Binary Codes for Large-Scale Image Retrieval", IEEE Transactions on Pattern Analysis and Machine
    Intelligence 35(12), 2013. More bits than features are our addition.

    Examples
    --------
    >>> import numpy as np
    >>> import fasthash as fh
    >>> X = np.random.default_rng(0).standard_normal((300, 20))
    >>> codes = fh.ITQ(n_bits=16, random_state=0).fit_transform(X)
    >>> codes.shape, codes.dtype
    ((300, 2), dtype('uint8'))
    """

    _learned: ClassVar[tuple[str, ...]] = (*LinearTransformer._learned, "explained_variance_")

    def __init__(
        self, n_bits: int = 64, *, n_iterations: int = 50, random_state: Any = None
    ) -> None:
        self.n_bits = n_bits
        self.n_iterations = n_iterations
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        *,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> ITQ:
        """
        Learn the projection.

        Parameters
        ----------
        X : array_like or scipy sparse matrix, shape (n_samples, n_features)
            Features of two or more samples that are not all equal. A memory-mapped array of float32
            or float64, or a scipy sparse matrix, is read block by block. With a current client of a
            Dask cluster, a Dask array is fitted by its workers.
        y : object, optional
            Ignored; scikit-learn passes it.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`.
        callback : callable, optional
            Called as ``callback(stage, done, total)`` during the stages "covariance" (by row) and
            "rotation" (by step).
        verbose : bool, default False
            Show progress on standard error, as bars if tqdm is installed.

        Returns
        -------
        ITQ
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If parameters or features are unsuitable. The model is then unchanged, and also when the
            callback raises an error.

        See Also
        --------
        transform : Compute the codes of samples.

        Examples
        --------
        >>> import numpy as np
        >>> import fasthash as fh
        >>> X = np.random.default_rng(0).standard_normal((300, 20))
        >>> fh.ITQ(n_bits=16, random_state=0).fit(X).projection_.shape
        (20, 16)
        """
        n_bits = check_count(self.n_bits, "n_bits")
        n_iterations = check_count(self.n_iterations, "n_iterations")
        x = self._read(X, minimum=2)
        refuse_vanishing(x, "X")
        if x.is_constant():
            raise ValueError(
                "X has the same row for all samples: there is no variance to learn from; pass "
                "samples that differ"
            )
        rng = check_random_state(self.random_state)

        with Progress(callback, verbose) as report, executor_of(x, n_threads) as workers:
            feature_map = centring_map(x)
            n_components = min(n_bits, x.shape[1])
            variances, directions = _principal_directions(
                x, feature_map, n_components, workers, report
            )
            scores = workers.made(_scores_of_part, x.parts(), feature_map, directions)
            rotation = rotation_from(
                lambda rotation: workers.total(moments_of_part, scores, rotation),
                *(n_components, n_iterations, rng, n_bits, report),
            )

        self._set_fitted(X, feature_map, directions @ rotation)
        self.explained_variance_ = variances
        return self


class RandomHyperplanes(LinearTransformer):
    """
    Signs of random projections, the simplest locality-sensitive hash.

    Every bit tells on which side of a random hyperplane through the mean a sample lies. Two samples
    differ in a bit with the probability θ / π, where θ is the angle between them, seen from the
    mean. So Hamming distances estimate angles. Only the mean is learned.

    Parameters
    ----------
    n_bits : int, default 64
        Length of the codes; may exceed the number of features.
    random_state : int, RandomState instance or None, default None
        Seed of the hyperplanes.

    Attributes
    ----------
    mean_ : ndarray of float64, shape (n_features,)
        Column means of the training samples.
    projection_ : ndarray of float64, shape (n_features, n_bits)
        Gaussian columns. A bit is 1 where the centred features times its column are >= 0.
    n_features_in_ : int
        Number of features in the fit.
    feature_names_in_ : ndarray of str, shape (n_features,)
        Names of the columns, if the fit was given a data frame.

    See Also
    --------
    ITQ : Codes that are learned from the features.

    Notes
    -----
    With d features, a fit costs O(n · d + d · n_bits). As in `ITQ`, ``get_feature_names_out`` names
    the bytes of a code.

    References
    ----------
    Charikar, "Similarity Estimation Techniques from Rounding Algorithms", ACM Symposium on Theory
    of Computing, 2002. Centring the features is our choice.

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

    def fit(
        self,
        X: ArrayLike,
        y: Any = None,
        *,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> RandomHyperplanes:
        """
        Compute the mean and draw the hyperplanes.

        Parameters
        ----------
        X : array_like or scipy sparse matrix, shape (n_samples, n_features)
            Features of one or more samples. If there is one sample, all hyperplanes pass through
            it. A memory-mapped array of float32 or float64, or a scipy sparse matrix, is read block
            by block. With a current client of a Dask cluster, a Dask array is fitted by its
            workers.
        y : object, optional
            Ignored; scikit-learn passes it.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`.
        callback : callable, optional
            Called as ``callback("hyperplanes", 1, 1)`` when the hyperplanes have been drawn.
        verbose : bool, default False
            Show progress on standard error, as bars if tqdm is installed.

        Returns
        -------
        RandomHyperplanes
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If parameters or features are unsuitable; the model is then unchanged.

        See Also
        --------
        transform : Compute the codes of samples.

        Examples
        --------
        >>> import fasthash as fh
        >>> fh.RandomHyperplanes(n_bits=40, random_state=0).fit([[0.0, 1], [2, 5]]).mean_
        array([1., 3.])
        """
        n_bits = check_count(self.n_bits, "n_bits")
        x = self._read(X, minimum=1)
        rng = check_random_state(self.random_state)
        with Progress(callback, verbose) as report, executor_of(x, n_threads):
            projection = rng.standard_normal((x.shape[1], n_bits))
            feature_map = centring_map(x)
            report("hyperplanes", 1, 1)
        self._set_fitted(X, feature_map, projection)
        return self


def _principal_directions(
    x: Rows, feature_map: FeatureMap, n_components: int, workers: Executor, report: Report
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest variances, descending, and their directions as columns."""
    n, d = x.shape
    covariance = workers.total(
        _products_of_part,
        *(x.parts(), feature_map),
        report=lambda done: report("covariance", done, n),
        is_large=True,
    )
    covariance /= n
    variances, directions = eigh(covariance, subset_by_index=[d - n_components, d - 1])
    # Rounding could make the variance of a constant direction negative.
    return np.maximum(variances[::-1], 0), directions[:, ::-1]


def _products_of_part(
    x: Rows,
    workers: Workers,
    feature_map: FeatureMap,
    report: Callable[[int], None] = lambda done: None,
) -> NDArray[np.float64]:
    """The sum of the products of centred features, over some samples."""
    total = np.zeros((x.shape[1], x.shape[1]))
    for rows in cut(*x.shape):
        # In float64: squares of float32 features may be too large for their dtype.
        centred = x.read(rows) - feature_map.mean
        total += centred.T @ centred
        report(rows.stop)
    return total


def _scores_of_part(
    x: Rows, workers: Workers, feature_map: FeatureMap, directions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Centred features of some samples times the directions."""
    scores = np.empty((len(x), directions.shape[1]))
    for rows in cut(*x.shape):
        scores[rows] = feature_map.transform(x.read(rows)) @ directions
    return scores
