"""`CCAITQ`: the standard unsupervised baseline of canonical correlations and a learned rotation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from ..._core.cluster import client_for, executor_of
from ..._core.features import MappedRows
from ..._core.validation import check_choice, check_count, check_number
from ..._core.workers import Workers
from .._canonical import N_FOLDS, FoldSums, Spectra, choose_ridges, fold_sums, join_folds
from .._progress import Callback, Progress
from .._projected_search import signed_roots
from .._rotation import moments_of_part, rotation_from
from .._scales import Related
from ..base import CrossModalHasher
from ._paired import blocks_together, kernel_maps, projected, read_rows, store

__all__ = ["CCAITQ"]


class CCAITQ(CrossModalHasher):
    """
    Canonical correlation analysis, followed by iterative quantisation.

    Projects paired modalities on their canonical directions, each scaled by a power of its
    correlation. Then one Procrustes rotation for all modalities brings the projections as near to
    ±1 as possible. It learns from pairs, not from labels. Samples without a partner get codes, but
    nothing is learned from them.

    Parameters
    ----------
    n_bits : int, default 64
        Length of the codes.
    n_components : int, optional
        Number of canonical directions; by default ``n_bits``, or the smallest number of features of
        a modality if that is less. The rotation spreads fewer directions over all bits.
    ridge : float, optional
        Number added to the diagonal of each covariance, as a share of its mean; greater than 0. By
        default it is chosen by cross-validation on the pairs, without labels, and with it the power
        of the correlations.
    kernel : {"linear", "rbf"}, default "linear"
        Whether the hash functions are linear in the features, or in radial basis functions of them.
    n_anchors : int, default 300
        Number of pairs that are centres of the radial basis functions, at most.
    width : float, default 0.7
        Standard deviation of the radial basis functions, in units of the mean distance between the
        samples of a modality and its centres.
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
        Seed of the centres and of the first rotation.

    Attributes
    ----------
    codes_, projections_, feature_maps_, modalities_, n_features_in_, feature_names_in_
        As in `CrossModalHasher`.
    correlations_ : ndarray of float64, shape (n_components,)
        Canonical correlations, descending. With more than two modalities, each is a mean over the
        others.
    ridges_ : dict of str to float
        For each modality, the ridge that was used, as a share of the mean of the diagonal.
    power_ : float
        The power of its correlation by which a direction was multiplied; 1 if `ridge` is given.

    See Also
    --------
    RREH : Learns from pairs and from samples without a partner.
    AMSH : Learns from labels.
    ITQ : The same rotation for one kind of features.

    Notes
    -----
    The ridge is chosen from seven multiples of each covariance's typical eigenvalue, by three-fold
    cross-validation. For held-out pairs, a ridge should give scores that are correlated, and that
    are alike across modalities where features are alike within a modality. docs/baselines.md
    reports how far the choice is from the best one.

    With n pairs and d (mapped) features in all modalities together: O(n · d² + d³) for the
    correlations, about four times as much if the ridge is chosen, and O(n · n_bits²) per step of
    the rotation. Features are read block by block; d² covariances, four times if the ridge is
    chosen, and 2 n · n_bits float64 numbers are held.

    References
    ----------
    Gong, Lazebnik, Gordo, Perronnin, "Iterative Quantization: A Procrustean Approach to Learning
    Binary Codes for Large-Scale Image Retrieval", IEEE Transactions on Pattern Analysis and Machine
    Intelligence 35(12), 2013. Our additions are one rotation for all modalities, more bits than
    directions, radial basis functions, and the choice of the ridge. Without scaling by the
    correlations, retrieval on the sets of docs/rreh.md is much worse.

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

    _learned = (*CrossModalHasher._learned, "correlations_", "ridges_", "power_")
    _fits_on_cluster = True

    def __init__(
        self,
        n_bits: int = 64,
        *,
        n_components: int | None = None,
        ridge: float | None = None,
        kernel: str = "linear",
        n_anchors: int = 300,
        width: float = 0.7,
        n_iterations: int = 50,
        preprocessing: str | Mapping[str, str] = "none",
        random_state: Any = None,
    ) -> None:
        self.n_bits = n_bits
        self.n_components = n_components
        self.ridge = ridge
        self.kernel = kernel
        self.n_anchors = n_anchors
        self.width = width
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
            that can be sliced by rows, are read block by block. With a current client of a Dask
            cluster, Dask arrays are fitted by its workers.
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
        array([0.8, 0.8, 0.7, 0.7])
        """
        n_bits = check_count(self.n_bits, "n_bits")
        if self.n_components is not None:
            check_count(self.n_components, "n_components")
        if self.ridge is not None:
            check_number(self.ridge, "ridge", positive=True)
        check_choice(self.kernel, "kernel", ("linear", "rbf"))
        check_count(self.n_anchors, "n_anchors")
        check_number(self.width, "width", positive=True)
        check_count(self.n_iterations, "n_iterations")
        rng = check_random_state(self.random_state)
        make_maps = kernel_maps(self, rng, n_threads)
        rows = read_rows(
            *(self, features, pairs),
            make_maps=make_maps,
            kept_bytes=0,
            client=client_for(features),
        )
        views = rows.mapped
        with Progress(callback, verbose) as report:
            with executor_of(next(iter(rows.given.values())), n_threads) as workers:
                parts = workers.beside([z.parts() for z in views.values()])
                fewest = min(z.n_columns for z in views.values())
                n_components = min(self.n_components or n_bits, n_bits, fewest)
                n_folds = min(N_FOLDS, next(iter(views.values())).n_rows)
                sums = workers.total(_sums_of_part, parts, n_folds, is_large=True)
                folds, n_pairs = sums.covariances()
                covariances = join_folds(folds, n_pairs)
                means = [np.trace(row[m]) / len(row[m]) for m, row in enumerate(covariances)]
                power = 1.0
                if self.ridge is None:
                    ridges, power = choose_ridges(folds, n_pairs, n_components)
                else:
                    ridges = [self.ridge * mean for mean in means]
                directions, correlations = Spectra(covariances).directions(ridges, n_components)
                report("correlations", 1, 1)
                directions = [d * correlations**power for d in directions]
                scores = workers.made(_scores_of_part, parts, directions)
                rotation = rotation_from(
                    lambda rotation: workers.total(moments_of_part, scores, rotation),
                    *(n_components, self.n_iterations, rng, n_bits, report),
                )
            projections = {name: d @ rotation for name, d in zip(views, directions, strict=True)}
            related = Related.of_pairs(rows.pairs, rows.given)
            shares = [float(ridge / mean) for ridge, mean in zip(ridges, means, strict=True)]
            store(
                *(self, rows, projections, None, related, n_threads, report),
                correlations_=correlations,
                power_=power,
                ridges_=dict(zip(views, shares, strict=True)),
            )
        return self

    def _as_weights(self, projections: NDArray[np.floating]) -> NDArray[np.floating]:
        return signed_roots(projections)


def _sums_of_part(views: list[MappedRows], workers: Workers, n_folds: int) -> FoldSums:
    return fold_sums(blocks_together(views), n_folds)


def _scores_of_part(
    views: list[MappedRows], workers: Workers, directions: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Scores of the samples of all modalities, one modality below the other."""
    return np.vstack([projected(z, d) for z, d in zip(views, directions, strict=True)])
