"""`RREH`: unsupervised cross-modal hashing from few pairs and many samples without a partner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from ..._core.rows import Rows
from ..._core.runtime import resolve_threads
from ..._core.validation import (
    check_choice,
    check_count,
    check_number,
    check_pairs,
)
from ..._core.workers import Workers
from .._preprocessing import kinds_of, preprocess, preprocessed_maps
from .._progress import Callback, Progress, Report
from ..base import CrossModalHasher, encode_rows, read_modalities
from ._fit import RrehFit
from ._start import Settings, start_views

__all__ = ["RREH"]


class RREH(CrossModalHasher):
    """
    Reconstruction Relations Embedded Hashing.

    Learns codes for two or more modalities of which some samples are known to belong together. It
    takes no labels. Samples without a partner take part through anchors: pairs, by which every such
    sample is reconstructed within its own modality, and whose places in the common space tell where
    it belongs there.

    Parameters
    ----------
    n_bits : int, default 64
        Length of the codes.
    n_components : int, default 16
        Dimensions of the common space; no more than bits are used.
    n_anchors : int, default 300
        Number of anchors: of pairs that samples are reconstructed from, and of centres of the
        radial basis functions. Where there are fewer pairs, these are filled up with other samples.
    kernel : {"rbf", "linear"}, default "rbf"
        Whether hash functions are linear in radial basis functions, or in the features.
    width : float, default 0.7
        Standard deviation of the radial basis functions, in units of the mean distance of a
        modality's samples to its anchors.
    whitening : float, default 0.5
        Power of the anchors' inverse kernel matrix that the radial basis functions are multiplied
        by: 0 leaves them as they are, 1 makes their products those of the kernel.
    shrinkage : float, default 0.5
        Ridge of the canonical correlations: times the square of a typical eigenvalue of the
        covariance, of which the sum is 1.
    ridge : float, default 1e-3
        Ridge of the regression from features to bits, as a share of the mean squared feature.
    reconstruction : {"sparse", "dense"}, default "sparse"
        Whether a sample is reconstructed from its nearest anchors, or by ridge regression on all.
    k : int, default 10
        Number of nearest anchors.
    regularisation : float, default 0.1
        Of the reconstruction; the larger, the more equal the weights of the anchors.
    reliability : float, optional
        ω, weight of a sample without a partner beside that of a pair, in all modalities. By default
        each modality's is told by how well its anchors predict the other modalities.
    alpha, mu, theta, rho : float, default 1.0, 10.0, 0.3, 1.0
        Weights of reconstructing the features from the common space, of the embedded relations, of
        the quantisation and of the hash functions.
    nu : float, default 1e-3
        Ridge of the map from the common space to the features.
    n_sweeps : int, default 5
        Sweeps over all unknowns.
    unpaired : bool, default True
        Whether to learn from samples without a partner. Without them this is the baseline "paired
        only"; they then get their codes from the hash functions.
    preprocessing : str or mapping of str to str, default "none"
        What is done to the features first, in all modalities or per modality; one that a mapping
        leaves out is taken as given. "none": as given. "unit": rows of unit length, for embeddings
        that are compared by cosine. "centre": centred, one scale for all columns. "standardise":
        every column centred and divided by its standard deviation. "whiten": columns standardised,
        at most 384 principal components, each divided by its standard deviation, or by .3 where
        that is less.
    random_state : int, RandomState instance or None, default None
        Seeds anchors, samples and the first rotation.

    Attributes
    ----------
    codes_ : dict of str to ndarray of uint8, shape (n_samples, ceil(n_bits / 8))
        Packed codes learned for the training samples; equal within a pair.
    objective_ : ndarray of float64, shape (n_sweeps,)
        What is minimised, after every sweep; it never increases.
    reliability_ : dict of str to float
        Per modality the share of the other modalities' variance that the nearest of other anchors
        explain, from below 0 to 1.
    weights_ : dict of str to float
        Per modality ω as it was used; 0 where all samples are pairs.
    anchors_ : ndarray of int64, shape (n_anchors,)
        Which of the pairs are anchors of the reconstruction.
    projections_, feature_maps_, modalities_, n_features_in_, feature_names_in_
        As in `CrossModalHasher`.

    Notes
    -----
    From the paper: unsupervised and semi-paired; a common subspace in which a pair has one
    representation; anchors sampled from the pairs; unpaired samples reconstructed linearly from the
    anchors of their own modality, and these relations embedded; latents and discrete codes in one
    objective, linear in n. Only its abstract and an outline could be had, and there is no published
    code: the objective's details, the start from canonical correlations, sparse weights, the
    weight ω, the features and all defaults are ours. docs/research/rreh.md has the
    formulas, and what each part is worth.

    Costs O(n · n_anchors · (n_features + n_anchors)) once and O(n · n_anchors · (n_features +
    n_bits)) per sweep, and O(n_anchors³). Memory beside the features: per sample about 8 k +
    12 n_components + 2 n_bits bytes in float32, at most a quarter of a gibibyte of mapped features,
    and blocks of features per thread. Features are read block by block, as by `AMSH`.

    References
    ----------
    Wang, Shi, Luo, Zhang, Cheng, Xiao, "Reconstruction Relations Embedded Hashing", ICIC 2024,
    arXiv:2405.17777.

    Examples
    --------
    >>> import numpy as np
    >>> import fasthash as fh
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 3, 300)
    >>> features = {
    ...     "image": rng.standard_normal((3, 20))[y] + 0.1 * rng.standard_normal((300, 20)),
    ...     "text": rng.standard_normal((3, 10))[y] + 0.1 * rng.standard_normal((300, 10)),
    ... }
    >>> pairs = np.column_stack([np.arange(30), np.arange(30)])  # the other 270 have no partner
    >>> model = fh.RREH(n_bits=16, random_state=0).fit(features, pairs=pairs)
    >>> found = fh.topk(model.encode(features["text"][:1], "text"), model.codes_["image"], k=5)[1]
    >>> bool((y[found] == y[0]).all())
    True
    """

    _learned = (
        *CrossModalHasher._learned,
        "objective_",
        "reliability_",
        "weights_",
        "anchors_",
    )

    def __init__(
        self,
        n_bits: int = 64,
        *,
        n_components: int = 16,
        n_anchors: int = 300,
        kernel: str = "rbf",
        width: float = 0.7,
        whitening: float = 0.5,
        shrinkage: float = 0.5,
        ridge: float = 1e-3,
        reconstruction: str = "sparse",
        k: int = 10,
        regularisation: float = 0.1,
        reliability: float | None = None,
        alpha: float = 1.0,
        mu: float = 10.0,
        theta: float = 0.3,
        rho: float = 1.0,
        nu: float = 1e-3,
        n_sweeps: int = 5,
        unpaired: bool = True,
        preprocessing: str | Mapping[str, str] = "none",
        random_state: Any = None,
    ) -> None:
        self.n_bits = n_bits
        self.n_components = n_components
        self.n_anchors = n_anchors
        self.kernel = kernel
        self.width = width
        self.whitening = whitening
        self.shrinkage = shrinkage
        self.ridge = ridge
        self.reconstruction = reconstruction
        self.k = k
        self.regularisation = regularisation
        self.reliability = reliability
        self.alpha = alpha
        self.mu = mu
        self.theta = theta
        self.rho = rho
        self.nu = nu
        self.n_sweeps = n_sweeps
        self.unpaired = unpaired
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
    ) -> RREH:
        """
        Learn codes and hash functions.

        Parameters
        ----------
        features : mapping of str to array_like, each of shape (n_samples, n_features)
            Two or more modalities; with `pairs` the number of samples may differ. Memory-mapped
            arrays, scipy sparse matrices, and anything with ``shape`` and ``dtype`` that can be
            sliced by rows, are read block by block.
        pairs : array_like of int, shape (n_pairs, n_modalities), optional
            Which rows belong together, a column per modality in the order of `features`; at least
            two pairs, no row in two of them. Default: row i belongs to row i.
        n_threads : int, optional
            As in `fasthash.topk`. While a fit runs, matrix products elsewhere in this process have
            one thread.
        callback : callable, optional
            Called as ``callback(stage, done, total)`` when the "start" is done, after every one of
            the "sweeps", and while "codes of <modality>" are computed for samples that nothing was
            learned from.
        verbose : bool, default False
            Show progress on standard error, as bars where tqdm is installed.

        Returns
        -------
        RREH
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If parameters, features or pairs are unsuitable; the model is then unchanged, as it is
            when the fit is interrupted.
        """
        settings = self._settings()
        n_threads = resolve_threads(n_threads)
        x = read_modalities(features)
        kinds = kinds_of(self.preprocessing, x, "none")
        pairs = check_pairs(pairs, {name: len(rows) for name, rows in x.items()})
        learned_from, used = x, pairs
        if not self.unpaired and pairs is not None:
            learned_from = {
                name: rows.subset(column)
                for (name, rows), column in zip(x.items(), pairs.T, strict=True)
            }
            used = None
        prepared, preprocessing = preprocess(learned_from, kinds)
        for name, rows in prepared.items():
            if rows.is_constant():
                raise ValueError(
                    f"features[{name!r}] has the same row in all samples: there is nothing to "
                    "learn from; pass features that differ"
                )
        random_state = check_random_state(self.random_state)
        with Progress(callback, verbose) as report:
            with Workers(n_threads) as workers:
                views, anchors = start_views(prepared, used, settings, random_state, workers)
                fit = RrehFit(views, anchors, settings, random_state, workers)
                report("start", 1, 1)
                objective = []
                for done in range(1, settings.n_sweeps + 1):
                    objective.append(fit.sweep())
                    report("sweeps", done, settings.n_sweeps)
                fit.update_hash_functions()

            feature_maps = preprocessed_maps(
                {view.name: view.feature_map for view in views}, preprocessing
            )
            projections = dict(zip(feature_maps, fit.projections, strict=True))
            codes = fit.codes()
            if learned_from is not x and pairs is not None:
                codes = self._codes_of_all(
                    x, pairs, codes, feature_maps, projections, n_threads, report
                )
        self._set_fitted(
            x,
            feature_maps,
            projections,
            codes,
            objective_=np.array(objective),
            reliability_={view.name: view.reliability for view in views},
            weights_={view.name: view.weight for view in views},
            anchors_=anchors,
        )
        return self

    def _codes_of_all(
        self,
        x: dict[str, Rows],
        pairs: NDArray[np.int64],
        codes: dict[str, NDArray[np.uint8]],
        feature_maps: dict[str, Any],
        projections: dict[str, NDArray[np.float64]],
        n_threads: int,
        report: Report,
    ) -> dict[str, NDArray[np.uint8]]:
        """Learned codes of the pairs among the hashed ones of the others."""
        everything = {}
        for (name, rows), column in zip(x.items(), pairs.T, strict=True):
            everything[name] = encode_rows(
                *(rows, feature_maps[name], projections[name], n_threads),
                *(report, f"codes of {name}"),
            )
            everything[name][column] = codes[name]
        return everything

    def _settings(self) -> Settings:
        """Check the parameters."""
        for name in ("n_bits", "n_components", "n_anchors", "k", "n_sweeps"):
            check_count(getattr(self, name), name)
        for name in ("width", "shrinkage", "ridge", "regularisation", "alpha", "theta", "nu"):
            check_number(getattr(self, name), name, positive=True)
        for name in ("whitening", "mu", "rho"):
            check_number(getattr(self, name), name)
        if self.reliability is not None:
            check_number(self.reliability, "reliability")
        check_choice(self.kernel, "kernel", ("rbf", "linear"))
        check_choice(self.reconstruction, "reconstruction", ("sparse", "dense"))
        if not isinstance(self.unpaired, bool):
            raise TypeError(f"unpaired must be True or False, got {self.unpaired!r}")
        parameters = {name: getattr(self, name) for name in Settings.__dataclass_fields__}
        return Settings(**parameters | {"n_components": min(self.n_components, self.n_bits)})
