"""`CCAITQ`: the standard unsupervised baseline of canonical correlations and a learned rotation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from .._core.features import FeatureMap, centring_map
from .._core.pieces import cut
from .._core.rows import Rows
from .._core.runtime import resolve_threads
from .._core.validation import check_count, check_number, check_pairs
from .._core.workers import threads_of_products
from ._canonical import canonical_directions, pair_covariances
from ._encoding import encode_rows
from ._preprocessing import kinds_of, preprocess, preprocessed_maps
from ._progress import Callback, Progress
from ._rotation import quantising_rotation
from .base import CrossModalHasher, read_modalities

__all__ = ["CCAITQ"]


class CCAITQ(CrossModalHasher):
    """
    Canonical correlation analysis, followed by iterative quantisation.

    Projects paired modalities on their canonical directions, each scaled by its correlation. Then
    one Procrustes rotation for all modalities brings the projections as near to ±1 as possible. It
    learns from pairs, not from labels. Samples without a partner get codes, but nothing is learned
    from them.

    Parameters
    ----------
    n_bits : int, default 64
        Length of the codes.
    n_components : int, optional
        Number of canonical directions; by default ``n_bits``, or the smallest number of features of
        a modality if that is less. The rotation spreads fewer directions over all bits.
    ridge : float, default 1e-2
        Number added to the diagonal of each covariance, as a share of its mean; greater than 0.
        With many features and few samples, larger values are better: the emoji demo does best with
        30.
    n_iterations : int, default 50
        Number of steps in which the rotation is improved.
    preprocessing : str or mapping of str to str, default "none"
        Preprocessing of the features: one choice for all modalities, or a choice per modality
        ("none" where a mapping has none). "none": nothing. "unit": rows are scaled to unit length,
        for embeddings that are compared by cosine. "centre": columns are centred, and all are
        divided by one number. "standardise": every column is centred and divided by its standard
        deviation. "whiten": columns are standardised, and at most 384 principal components are
        kept, each divided by its standard deviation or by 0.3, whichever is larger.
    random_state : int, RandomState instance or None, default None
        Seed of the first rotation.

    Attributes
    ----------
    codes_, projections_, feature_maps_, modalities_, n_features_in_, feature_names_in_
        As in `CrossModalHasher`.
    correlations_ : ndarray of float64, shape (n_components,)
        Canonical correlations, descending. With more than two modalities, each is a mean over the
        others.

    See Also
    --------
    RREH : Learns from pairs and from samples without a partner.
    AMSH : Learns from labels.
    ITQ : The same rotation for one kind of features.

    Notes
    -----
    With n pairs and d features in all modalities together: O(n · d² + d³) for the correlations, and
    O(n · n_bits²) per step of the rotation. Features are read block by block; d² covariances and
    2 n · n_bits float64 numbers are held.

    References
    ----------
    Gong, Lazebnik, Gordo, Perronnin, "Iterative Quantization: A Procrustean Approach to Learning
    Binary Codes for Large-Scale Image Retrieval", IEEE Transactions on Pattern Analysis and Machine
    Intelligence 35(12), 2013. Our additions are one rotation for all modalities, and more bits than
    directions. Without scaling by the correlations, retrieval on the sets of docs/rreh.md is much
    worse.

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

    _learned = (*CrossModalHasher._learned, "correlations_")

    def __init__(
        self,
        n_bits: int = 64,
        *,
        n_components: int | None = None,
        ridge: float = 1e-2,
        n_iterations: int = 50,
        preprocessing: str | Mapping[str, str] = "none",
        random_state: Any = None,
    ) -> None:
        self.n_bits = n_bits
        self.n_components = n_components
        self.ridge = ridge
        self.n_iterations = n_iterations
        self.preprocessing = preprocessing
        self.random_state = random_state

    def fit(
        self,
        features: Mapping[str, ArrayLike],
        pairs: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> CCAITQ:
        """
        Learn the projections from pairs, and compute the codes of all samples.

        Parameters
        ----------
        features : mapping of str to array_like, each of shape (n_samples, n_features)
            Features of two or more modalities. Numbers of samples may differ if `pairs` is given.
            Memory-mapped arrays, scipy sparse matrices, and anything with ``shape`` and ``dtype``
            that can be sliced by rows, are read block by block.
        pairs : array_like of int, shape (n_pairs, n_modalities), optional
            Rows that belong together, with a column per modality in the order of `features`. At
            least two pairs, and no row in two of them. The means, correlations and rotation use
            only these rows. By default row i belongs to row i.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`.
        callback : callable, optional
            Called as ``callback(stage, done, total)`` during the stages "correlations" (once),
            "rotation" (by step) and "codes of <modality>" (by row).
        verbose : bool, default False
            Show progress on standard error, as bars if tqdm is installed.

        Returns
        -------
        CCAITQ
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If parameters, features or pairs are unsuitable. The model is then unchanged, and also
            when the callback raises an error.

        See Also
        --------
        encode : Compute the codes of other samples.

        Examples
        --------
        >>> import numpy as np
        >>> import fasthash as fh
        >>> x = np.random.default_rng(0).standard_normal((100, 4))
        >>> pairs = [[i, 99 - i] for i in range(50)]
        >>> model = fh.CCAITQ(n_bits=4, random_state=0).fit({"image": x, "text": x[::-1]}, pairs)
        >>> model.correlations_.round(1)
        array([1., 1., 1., 1.])
        """
        n_bits = check_count(self.n_bits, "n_bits")
        if self.n_components is not None:
            check_count(self.n_components, "n_components")
        check_number(self.ridge, "ridge", positive=True)
        check_count(self.n_iterations, "n_iterations")
        n_threads = resolve_threads(n_threads)
        rows = read_modalities(features)
        kinds = kinds_of(self.preprocessing, rows, "none")
        x, preprocessing = preprocess(_rows_of_pairs(rows, pairs), kinds)
        rng = check_random_state(self.random_state)

        with Progress(callback, verbose) as report:
            with threads_of_products(n_threads):
                feature_maps = {name: centring_map(values) for name, values in x.items()}
                covariances, ridges = self._covariances(x, feature_maps)
                n_components = min(
                    self.n_components or n_bits, n_bits, *(v.shape[1] for v in x.values())
                )
                directions, correlations = canonical_directions(covariances, ridges, n_components)
                report("correlations", 1, 1)
                directions = [d * correlations for d in directions]
                scores = np.vstack(
                    [
                        _scores(values, feature_maps[name], d)
                        for (name, values), d in zip(x.items(), directions, strict=True)
                    ]
                )
                rotation = quantising_rotation(scores, self.n_iterations, rng, n_bits, report)
            projections = {name: d @ rotation for name, d in zip(x, directions, strict=True)}
            maps = preprocessed_maps(feature_maps, preprocessing)
            codes = {
                name: encode_rows(
                    *(rows[name], maps[name], projections[name], n_threads),
                    *(report, f"codes of {name}"),
                )
                for name in rows
            }
        self._set_fitted(rows, maps, projections, codes, correlations_=correlations)
        return self

    def _covariances(
        self, x: dict[str, Rows], feature_maps: dict[str, FeatureMap]
    ) -> tuple[list[list[NDArray[np.float64]]], list[float]]:
        """Compute the covariances of the pairs, and the ridges to add to their diagonals."""
        n_pairs = len(next(iter(x.values())))
        squares = np.zeros(len(x))

        def centred() -> Iterator[list[NDArray[np.floating]]]:
            for block in cut(n_pairs, sum(values.shape[1] for values in x.values())):
                found = [feature_maps[name].transform(x[name].read(block)) for name in x]
                squares[:] += [np.einsum("ij,ij->", c, c, dtype=np.float64) for c in found]
                yield found

        covariances = pair_covariances(centred())
        sizes = [n_pairs * values.shape[1] for values in x.values()]
        return covariances, (self.ridge * squares / sizes).tolist()


def _rows_of_pairs(rows: dict[str, Rows], pairs: ArrayLike | None) -> dict[str, Rows]:
    """Select the rows of the pairs, so that rows i of all modalities belong together."""
    checked = check_pairs(pairs, {name: len(read) for name, read in rows.items()})
    x = {}
    for column, (name, read) in enumerate(rows.items()):
        x[name] = read if checked is None else read.subset(checked[:, column])
        if x[name].is_constant():
            raise ValueError(
                f"features[{name!r}] has the same row in all pairs: there is no correlation to "
                "learn from; pass pairs that differ"
            )
    return x


def _scores(
    x: Rows, feature_map: FeatureMap, directions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Multiply centred features with the directions, block by block."""
    scores = np.empty((len(x), directions.shape[1]))
    for block in cut(*x.shape):
        scores[block] = feature_map.transform(x.read(block)) @ directions
    return scores
