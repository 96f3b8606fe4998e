"""`SCM`: Semantic Correlation Maximisation, supervised, bit by bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cholesky, eigh, solve_triangular

from ..._core.labels import check_common_classes, check_labels
from ..._core.runtime import resolve_threads
from ..._core.validation import check_count, check_number
from ..._core.workers import threads_of_products
from .._progress import Callback, Progress
from .._scales import Related
from ..base import CrossModalHasher
from ._paired import check_classes, products, projected, read_rows, ridged_gram, store

__all__ = ["SCM"]


class SCM(CrossModalHasher):
    """
    Semantic Correlation Maximisation (Zhang and Li 2014), its sequential form, from labels.

    The products of codes shall be the similarities of labels. Bit after bit, the method finds a
    pair of projections whose signs explain most of what the bits before have left.

    Parameters
    ----------
    n_bits : int, default 32
        Length of the codes.
    ridge : float, default 0.01
        Number added to the diagonal of each covariance, as a share of its mean; greater than 0.
    preprocessing : str or mapping of str to str, default "none"
        Preprocessing of the features, as in `CCAITQ`.
    random_state : int, RandomState instance or None, default None
        Not used, because nothing is random; methods that are compared all have it.

    Attributes
    ----------
    codes_, projections_, feature_maps_, modalities_, n_features_in_, feature_names_in_
        As in `CrossModalHasher`.

    See Also
    --------
    AMSH : Learns from labels, too.
    DCH : Learns from labels of pairs.

    Notes
    -----
    L̃ holds labels as rows of unit length. The similarities are S = 2 L̃_x L̃_yᵀ - 1. Bit t maximises
    w_xᵀ Xᵀ R Y w_y for R = n_bits · S - Σ sgn(X w_x) sgn(Y w_y)ᵀ over the bits before, subject to
    w_xᵀ (XᵀX + ridge) w_x = n and the same for Y. No matrix of samples x samples is held.

    From the paper: this sequence of problems. Ours: the ridge is a share of the mean variance,
    chosen on validation data (the paper adds 1e-6), the two modalities may have different numbers
    of samples, and samples without a label have a row of zeros in L̃.

    O(n · n_features² + n_bits · (n · n_features + n_features³)) time.

    References
    ----------
    Zhang, Li, "Large-Scale Supervised Multimodal Hashing with Semantic Correlation Maximization",
    AAAI Conference on Artificial Intelligence, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from fasthash.models import SCM
    >>> y = np.arange(90) % 3
    >>> x = {"image": np.eye(3)[y], "text": np.eye(3)[y][:, ::-1]}
    >>> SCM(n_bits=8).fit(x, dict.fromkeys(x, y)).codes_["image"].shape
    (90, 1)
    """

    _needs_labels = True

    def __init__(
        self,
        n_bits: int = 32,
        *,
        ridge: float = 0.01,
        preprocessing: str | Mapping[str, str] = "none",
        random_state: Any = None,
    ) -> None:
        self.n_bits = n_bits
        self.ridge = ridge
        self.preprocessing = preprocessing
        self.random_state = random_state

    def fit(
        self,
        features: Mapping[str, ArrayLike],
        labels: Mapping[str, Any],
        *,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> SCM:
        """
        Learn from labels, and compute the codes of all samples.

        Parameters
        ----------
        features : mapping of str to array_like, each of shape (n_samples, n_features)
            Features of two modalities, in any form that `CCAITQ.fit` takes.
        labels : mapping of str to labels
            Labels of every modality, in any form that `AMSH.fit` takes.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`.
        callback : callable, optional
            Called as ``callback(stage, done, total)`` during the stages "bits" and
            "codes of <modality>" (by row).
        verbose : bool, default False
            Show progress on standard error, as bars if tqdm is installed.

        Returns
        -------
        SCM
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If parameters, features or labels are unsuitable. The model is then unchanged, and
            also when the callback raises an error.

        See Also
        --------
        encode : Compute the codes of other samples.

        Examples
        --------
        >>> import numpy as np
        >>> import fasthash as fh
        >>> y = np.arange(90) % 3
        >>> x = {"image": np.eye(3)[y] + 0.1 * np.random.default_rng(0).random((90, 3))}
        >>> x["text"] = x["image"] @ np.ones((3, 2)).cumsum(axis=0)
        >>> model = fh.models.SCM(n_bits=8, random_state=0).fit(x, dict.fromkeys(x, y))
        >>> found = fh.topk(model.encode(x["text"][:1], "text"), model.codes_["image"], k=5)[1]
        >>> bool((y[found] == y[0]).all())
        True
        """
        n_bits = check_count(self.n_bits, "n_bits")
        check_number(self.ridge, "ridge", positive=True)
        n_threads = resolve_threads(n_threads)
        rows = read_rows(self, features, None, is_paired=False, n_modalities=2)
        encoded = check_labels(labels, {name: len(x) for name, x in rows.given.items()})
        check_classes("SCM", encoded)
        check_common_classes(encoded)
        views = list(rows.mapped.values())
        with Progress(callback, verbose) as report:
            with threads_of_products(n_threads):
                roots = [cholesky(ridged_gram(z, self.ridge), lower=True) for z in views]
                votes = [
                    products(z, _unit_labels(y))
                    for z, y in zip(views, encoded.values(), strict=True)
                ]
                sums = [products(z, np.ones((z.n_rows, 1))) for z in views]
                left = n_bits * (2 * votes[0] @ votes[1].T - sums[0] @ sums[1].T)
                # Projections of whitened features are orthonormal.
                left = solve_triangular(roots[0], left, lower=True)
                left = solve_triangular(roots[1], left.T, lower=True).T
                found = []
                for bit in range(n_bits):
                    directions = [
                        solve_triangular(root, part[:, None], lower=True, trans="T")
                        for root, part in zip(roots, _leading_pair(left), strict=True)
                    ]
                    found.append(directions)
                    signed = [
                        products(z, np.where(projected(z, w) >= 0, 1.0, -1.0))
                        for z, w in zip(views, directions, strict=True)
                    ]
                    a, b = (
                        solve_triangular(root, s, lower=True)
                        for root, s in zip(roots, signed, strict=True)
                    )
                    left -= a @ b.T
                    report("bits", bit + 1, n_bits)
            projections = {
                name: np.hstack([pair[m] for pair in found]) for m, name in enumerate(rows.mapped)
            }
            related = Related.of_labels(encoded)
            store(self, rows, projections, None, related, n_threads, report)
        return self


def _unit_labels(labels: Any) -> Any:
    """Labels as sparse rows of unit length; a row without a label stays zero."""
    n_labels = np.diff(labels.indptr)
    scaled = labels.copy()
    scaled.data /= np.sqrt(np.repeat(n_labels, n_labels))
    return scaled


def _leading_pair(
    matrix: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the leading left and right singular vectors; the largest entry on the left is > 0."""
    is_wide = matrix.shape[1] > matrix.shape[0]
    square = matrix @ matrix.T if is_wide else matrix.T @ matrix
    n = len(square)
    vector = eigh(square, subset_by_index=[n - 1, n - 1])[1][:, 0]
    other = matrix.T @ vector if is_wide else matrix @ vector
    other /= np.linalg.norm(other) or 1.0
    left, right = (vector, other) if is_wide else (other, vector)
    sign = 1.0 if left[np.abs(left).argmax()] >= 0 else -1.0
    return sign * left, sign * right
