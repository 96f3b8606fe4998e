"""`RREH`: unsupervised cross-modal hashing from few pairs and many samples without a partner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from ..._core.cluster import client_for, executor_of
from ..._core.rows import Rows
from ..._core.runtime import resolve_threads
from ..._core.validation import (
    check_choice,
    check_count,
    check_number,
    check_pairs,
)
from ..._core.workers import Executor, Workers
from .._encoding import encode_samples
from .._pairing import pairs_together
from .._preprocessing import Preprocessing, kinds_of, preprocess, preprocessed_maps
from .._progress import Callback, Progress, Report
from .._projected_search import signed_roots
from .._scales import Related
from ..base import CrossModalHasher, read_modalities
from ._fit import RrehFit
from ._start import Settings, are_unpaired_rows_useless, default_anchors, start_views
from ._views import View

__all__ = ["RREH"]


class RREH(CrossModalHasher):
    """
    Reconstruction Relations Embedded Hashing.

    Learns codes for two or more modalities of which some samples are known to belong together. It
    needs no labels. It also learns from samples without a partner: each of them is reconstructed
    from anchors of its own modality. The anchors are pairs, so their positions in the common space
    tell the position of the sample.

    Parameters
    ----------
    n_bits : int, default 64
        Length of the codes.
    n_components : int, optional
        Dimensions of the common space; at most the number of bits is used. By default a twelfth of
        the number of pairs, but at least 12 and at most 24. Dimensions count less the less the
        modalities have in common along them. With many more kinds of samples than this, more may be
        better.
    n_anchors : int, optional
        Number of pairs from which samples are reconstructed, and number of centres of the radial
        basis functions. By default the number of pairs, but at least 300 and at most 600. If there
        are fewer pairs, other samples are added to the centres.
    kernel : {"both", "rbf", "linear"}, default "both"
        Whether hash functions are linear in radial basis functions, in the features, or in what of
        the two suits the pairs: one of them, or both with equal weights. That is chosen by
        cross-validation on the pairs, without labels.
    width : float, default 0.7
        Standard deviation of the radial basis functions, in units of the mean distance between the
        samples of a modality and its anchors.
    whitening : float, default 0.5
        Power of the inverse kernel matrix of the anchors by which the radial basis functions are
        multiplied. With 0 they are unchanged; with 1 their products are those of the kernel.
    shrinkage : float, optional
        Ridge of the canonical correlations, in units of the square of a typical eigenvalue of the
        covariance, whose sum is 1. By default it is chosen by cross-validation on the pairs. If it
        is given, nothing is chosen.
    ridge : float, optional
        Ridge of the regression from features to bits, as a share of the mean squared feature. By
        default 0.02, or 0.1 with fewer pairs than `n_anchors`.
    reconstruction : {"sparse", "dense"}, default "sparse"
        Whether a sample is reconstructed from its nearest anchors, or by ridge regression from all.
    k : int, default 10
        Number of nearest anchors.
    regularisation : float, default 0.1
        Regularisation of the reconstruction. Larger values make the weights of the anchors more
        equal.
    reliability : float, optional
        Weight ω of a sample without a partner, relative to a pair, in all modalities. By default it
        is computed per modality from how well its anchors predict the other modalities.
    alpha, mu, theta, rho : float, default 1.0, 10.0, 0.3, 1.0
        Weights of four terms: the reconstruction of the features from the common space, the
        embedded relations, the quantisation, and the hash functions.
    nu : float, default 1e-3
        Ridge of the map from the common space to the features.
    n_sweeps : int, default 5
        Number of sweeps over all unknowns.
    unpaired : bool, default True
        Whether to learn from samples without a partner. If False, this is the baseline "paired
        only", and these samples get their codes from the hash functions. The same happens, by a
        rule that the paper does not have, if anchors explain less than a quarter of the variance
        (`reliability_`) in every modality with such samples, unless `reliability` is given or there
        are fewer pairs than `n_anchors`.
    preprocessing : str or mapping of str to str, default "none"
        Preprocessing of the features: one choice for all modalities, or a choice per modality
        ("none" where a mapping has none). "none": nothing. "unit": rows are scaled to unit length,
        for embeddings that are compared by cosine. "centre": columns are centred, and all are
        divided by one number. "standardise": every column is centred and divided by its standard
        deviation. "whiten": columns are standardised, and at most 384 principal components are
        kept, each divided by its standard deviation or by 0.3, whichever is larger.
    random_state : int, RandomState instance or None, default None
        Seed of anchors, samples and the first rotation.

    Attributes
    ----------
    codes_ : dict of str to ndarray of uint8, shape (n_samples, ceil(n_bits / 8))
        Packed codes learned for the training samples; equal within a pair.
    objective_ : ndarray of float64, shape (n_sweeps,)
        The objective after every sweep; it never increases.
    reliability_ : dict of str to float
        For each modality, the share of the other modalities' variance that is explained by the
        nearest other anchors; from below 0 to 1. If unpaired samples are left out, it is that of
        the fit without them.
    weights_ : dict of str to float
        For each modality, the weight ω that was used; 0 if all samples are pairs, or others were
        left out.
    anchors_ : ndarray of int64, shape (n_anchors,)
        Numbers of the pairs that are anchors of the reconstruction.
    linear_share_ : float or None
        Share of the linear features that was chosen: 0, 0.5 or 1; None if `kernel` is not "both".
    projections_, feature_maps_, modalities_, n_features_in_, feature_names_in_
        As in `CrossModalHasher`.

    See Also
    --------
    AMSH : Learns from labels instead of pairs.
    CCAITQ : The baseline that learns from pairs alone.
    fasthash.models.select_by_pairs : Choose the parameters without labels.

    Notes
    -----
    From the paper: unsupervised and semi-paired; a common subspace in which a pair has one
    representation; anchors sampled from the pairs; unpaired samples reconstructed linearly from the
    anchors of their own modality, and these relations embedded; latents and discrete codes in one
    objective, linear in n. Only the abstract and an outline were available, and no code has been
    published. Ours are the details of the objective, the start from canonical correlations, sparse
    weights, the weight ω, the features and all defaults. docs/research/rreh.md has the formulas,
    and how much each part contributes.

    `project` returns the roots of the sizes of the projections, with their signs: as weights, these
    find better neighbours (docs/weighted-queries.md).

    Costs O(n · n_anchors · (n_features + n_anchors)) once, O(n · n_anchors · (n_features + n_bits))
    per sweep, and O(n_anchors³). In addition to the features, memory holds about 8 k + 12
    n_components + 2 n_bits bytes per sample in float32, at most a quarter of a gibibyte of mapped
    features, and blocks of features per thread. Features are read block by block, as by `AMSH`.
    Linear features of more than 384 columns are principal components of up to 16,384 samples: from
    covariances, of n_features² numbers, for up to 4,096 columns; for more columns approximated with
    memory for about 1,800 n_features numbers.

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
        "linear_share_",
    )
    _fits_on_cluster = True

    def __init__(
        self,
        n_bits: int = 64,
        *,
        n_components: int | None = None,
        n_anchors: int | None = None,
        kernel: str = "both",
        width: float = 0.7,
        whitening: float = 0.5,
        shrinkage: float | None = None,
        ridge: float | None = None,
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
            Features of two or more modalities. Numbers of samples may differ if `pairs` is given.
            Memory-mapped arrays, scipy sparse matrices, and anything with ``shape`` and ``dtype``
            that can be sliced by rows, are read block by block. With a current client of a Dask
            cluster, Dask arrays are fitted by its workers.
        pairs : array_like of int, shape (n_pairs, n_modalities), optional
            Rows that belong together, with a column per modality in the order of `features`. At
            least two pairs, and no row in two of them. By default row i belongs to row i.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`. During a fit, matrix products elsewhere in
            this process use one thread.
        callback : callable, optional
            Called as ``callback(stage, done, total)`` during the stages "start" (once), "sweeps"
            (by sweep), and "codes of <modality>" (by row) if nothing was learned from some samples.
        verbose : bool, default False
            Show progress on standard error, as bars if tqdm is installed.

        Returns
        -------
        RREH
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If parameters, features or pairs are unsuitable. The model is then unchanged, and also
            when the fit is interrupted.

        See Also
        --------
        encode : Compute the codes of other samples.

        Examples
        --------
        >>> import numpy as np
        >>> import fasthash as fh
        >>> x = np.random.default_rng(0).standard_normal((100, 4))
        >>> pairs = [[i, i] for i in range(50)]
        >>> model = fh.RREH(n_bits=16, random_state=0).fit({"image": x, "text": x[:, ::-1]}, pairs)
        >>> model.codes_["image"].shape
        (100, 2)
        """
        self._check_parameters()
        resolve_threads(n_threads)
        x = read_modalities(features, client=client_for(features))
        kinds = kinds_of(self, x)
        pairs = check_pairs(pairs, {name: len(rows) for name, rows in x.items()})
        n_pairs = len(next(iter(x.values()))) if pairs is None else len(pairs)
        settings = self._settings(n_pairs)
        is_left_out = pairs is not None and any(len(rows) > len(pairs) for rows in x.values())
        is_left_out = is_left_out and not self.unpaired
        random_state = check_random_state(self.random_state)
        first_draws = random_state.get_state()
        with Progress(callback, verbose) as report:
            with executor_of(next(iter(x.values())), n_threads, Workers) as workers:
                start = _start(x, pairs, is_left_out, kinds, settings, random_state, workers)
                if are_unpaired_rows_useless(start[0], settings):
                    is_left_out = True
                    random_state.set_state(first_draws)
                    # Free what they hold, before the next start takes as much. A view may be its
                    # own part.
                    for view in start[0]:
                        view.parts.clear()
                    del start, view
                    start = _start(x, pairs, True, kinds, settings, random_state, workers)
                views, anchors, share, preprocessing = start
                fit = RrehFit(views, anchors, settings, random_state, workers)
                report("start", 1, 1)
                objective = []
                for done in range(1, settings.n_sweeps + 1):
                    objective.append(fit.sweep())
                    report("sweeps", done, settings.n_sweeps)
                fit.update_hash_functions()
                codes = fit.codes()

            feature_maps = preprocessed_maps(
                {view.name: view.feature_map for view in views}, preprocessing
            )
            projections = dict(zip(feature_maps, fit.projections, strict=True))
            if is_left_out and pairs is not None:
                codes = self._codes_of_all(
                    x, pairs, codes, feature_maps, projections, n_threads, report
                )
        self._set_fitted(
            x,
            feature_maps,
            projections,
            codes,
            Related.of_pairs(pairs, x),
            objective_=np.array(objective),
            reliability_={view.name: view.reliability for view in views},
            weights_={view.name: view.weight for view in views},
            anchors_=anchors,
            linear_share_=share,
        )
        return self

    def _as_weights(self, projections: NDArray[np.floating]) -> NDArray[np.floating]:
        return signed_roots(projections)

    def _codes_of_all(
        self,
        x: dict[str, Rows],
        pairs: NDArray[np.int64],
        codes: dict[str, NDArray[np.uint8]],
        feature_maps: dict[str, Any],
        projections: dict[str, NDArray[np.float64]],
        n_threads: int | None,
        report: Report,
    ) -> dict[str, NDArray[np.uint8]]:
        """Learned codes of the pairs, and codes of the other samples by the hash functions."""
        everything = {}
        for (name, rows), column in zip(x.items(), pairs.T, strict=True):
            everything[name] = encode_samples(
                *(rows, feature_maps[name], projections[name], n_threads),
                *(report, f"codes of {name}"),
            )
            everything[name][column] = codes[name]
        return everything

    def _check_parameters(self) -> None:
        for name in ("n_bits", "k", "n_sweeps"):
            check_count(getattr(self, name), name)
        for name in ("n_components", "n_anchors"):
            if getattr(self, name) is not None:
                check_count(getattr(self, name), name)
        for name in ("shrinkage", "ridge"):
            if getattr(self, name) is not None:
                check_number(getattr(self, name), name, positive=True)
        for name in ("width", "regularisation", "alpha", "theta", "nu"):
            check_number(getattr(self, name), name, positive=True)
        for name in ("whitening", "mu", "rho"):
            check_number(getattr(self, name), name)
        if self.reliability is not None:
            check_number(self.reliability, "reliability")
        check_choice(self.kernel, "kernel", ("both", "rbf", "linear"))
        check_choice(self.reconstruction, "reconstruction", ("sparse", "dense"))
        if not isinstance(self.unpaired, bool):
            raise TypeError(f"unpaired must be True or False, got {self.unpaired!r}")

    def _settings(self, n_pairs: int) -> Settings:
        """Return the checked parameters and the default of `n_anchors`."""
        parameters = {name: getattr(self, name) for name in Settings.__dataclass_fields__}
        if self.n_anchors is None:
            parameters["n_anchors"] = default_anchors(n_pairs)
        return Settings(**parameters)


def _start(
    x: dict[str, Rows],
    pairs: NDArray[np.int64] | None,
    is_left_out: bool,
    kinds: Mapping[str, str],
    settings: Settings,
    random_state: np.random.RandomState,
    workers: Executor,
) -> tuple[list[View], NDArray[np.int64], float | None, dict[str, Preprocessing]]:
    """Preprocess the rows, or the pairs alone if others are left out, and call `start_views`."""
    if is_left_out:
        x, pairs = pairs_together(x, pairs), None
    prepared, preprocessing = preprocess(x, kinds)
    for name, rows in prepared.items():
        if rows.is_constant():
            raise ValueError(
                f"features[{name!r}] has the same row in all samples: there is nothing to "
                "learn from; pass features that differ"
            )
    return *start_views(prepared, pairs, settings, random_state, workers), preprocessing
