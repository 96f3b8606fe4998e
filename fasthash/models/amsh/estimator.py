"""`AMSH`: supervised cross-modal hashing that needs labels on both sides but no pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from ..._core.cluster import client_for
from ..._core.features import MappedRows
from ..._core.labels import check_labels, label_classes
from ..._core.rows import Rows
from ..._core.runtime import resolve_threads
from ..._core.validation import check_count, check_modalities
from ..._core.workers import Workers
from .._columns import check_columns
from .._preprocessing import kinds_of, preprocess, preprocessed_maps
from .._progress import Callback, Progress, Report
from .._scales import Related
from ..base import CrossModalHasher, read_modalities
from ._cluster_fit import fit_on_cluster
from ._code_parts import LabelRows
from ._code_rules import CodeRule
from ._codes import Whitening
from ._fit import AmshFit, PartialFitState, interrupted_fit
from ._hash_functions import Regression, SweepRule, add_rows
from ._settings import check_parameters, check_problem, check_updatable, settings_for

__all__ = ["AMSH"]


class AMSH(CrossModalHasher):
    """
    Adaptive Marginalized Semantic Hashing.

    Learns codes for two or more modalities from features and labels. It does not use which sample
    of one modality belongs to which of another: sizes may differ, and samples may be in any order.

    Parameters
    ----------
    n_bits : int, default 64
        Length of the codes; less than the number of samples of every modality.
    n_anchors : int, None or "auto", default "auto"
        Number of anchors of the radial basis functions per modality, drawn among its samples. None
        keeps the features linear. "auto" means 1500 as in the paper, or all samples if there are
        fewer.
    n_sweeps : int, default 15
        Largest number of sweeps over the discrete codes, and of sweeps over the hash functions.
    tol : float, default 1e-2
        When to stop earlier. Codes: when a sweep changes at most a hundredth of this share of their
        bits. Hash functions: when another sweep would lower their loss by less than this share.
        With 0 all sweeps are made, exactly as published.
    lam : float, default 1e-2
        Weight λ of the similarity within a modality.
    beta : float, default 1e-2
        Weight β of the similarity between modalities. It should not be less than λ: then the codes
        of the modalities become unlike each other.
    eta : float, default 1.0
        Weight η of the quantisation.
    ridge : float, default 0.01
        Ridge of the regression from features to bits, an absolute value; greater than 0.
    width : float, default 1.0
        Standard deviation of the radial basis functions, in units of the mean distance between the
        samples of a modality and its anchors; greater than 0.
    init : {"random", "pca"} or mapping of str to ndarray, default "random"
        First values of the latents: Gaussian, principal components of the features (the choice of
        the authors), or given arrays of shape (n_samples, n_bits) per modality.
    preprocessing : str or mapping of str to str, default "none"
        Preprocessing of the features: one choice for all modalities, or a choice per modality
        ("none" where a mapping has none). "none": nothing. "unit": rows are scaled to unit length,
        for embeddings that are compared by cosine. "centre": columns are centred, and all are
        divided by one number. "standardise": every column is centred and divided by its standard
        deviation. "whiten": columns are standardised, and at most 384 principal components are
        kept, each divided by its standard deviation or by 0.3, whichever is larger.
    random_state : int, RandomState instance or None, default None
        Seed of the anchors and the first latents.

    Attributes
    ----------
    codes_ : dict of str to ndarray of uint8, shape (n_samples, ceil(n_bits / 8))
        Packed codes learned for the training samples: the database of the paper's protocol.
    projections_ : dict of str to ndarray of float64, shape (n_out, n_bits)
        F, the hash functions of new samples.
    feature_maps_ : dict of str to FeatureMap
        Anchors and means per modality.
    objective_ : ndarray of float64
        The objective of the first step after every sweep.
    n_iter_ : dict of str to int
        Number of sweeps over the "codes", and over the hash functions of each modality.
    classes_ : ndarray or int
        The classes of the labels, ascending, or the number of their 0/1 columns.
    modalities_, n_features_in_, feature_names_in_
        As in `CrossModalHasher`.

    See Also
    --------
    RREH : Learns from pairs instead of labels.
    CCAITQ : The baseline that learns from pairs.

    Notes
    -----
    From the paper: the objective, the order of the updates, η = 1, 15 sweeps, 1500 anchors, the
    ridge of 0.01. Ours: λ = β = 1e-2, better on validation data than the paper's 1e-3; the random
    start (the paper's start from principal components is ``init="pca"``); the width of the radial
    basis functions; one factorisation for all sweeps instead of one per sweep; stopping early; the
    start from a sample and secant steps, which reach in a few sweeps what the published sweeps
    reach in 15 (``tol=0`` makes the published sweeps); and more than two modalities.

    A sweep over the codes takes O(n · n_bits · (labels per sample + n_classes + n_bits)) time. A
    sweep over the hash functions takes O(n · n_anchors · (n_features + n_bits)), because it maps
    the features again, and O(n · n_anchors²) is spent once. In addition to the features, memory
    holds codes and latents, n · n_bits numbers of the features' dtype (float32 if all modalities
    are), at most half a gibibyte of mapped features, and a block of features per thread.

    References
    ----------
    Luo, Zhang, Li, Jia, Chen, "Adaptive Marginalized Semantic Hashing for Unpaired Cross-Modal
    Retrieval", IEEE Transactions on Multimedia, 2023, arXiv:2207.11880.

    Examples
    --------
    >>> import numpy as np
    >>> import fasthash as fh
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 3, 200)
    >>> features = {
    ...     "image": rng.standard_normal((3, 20))[y] + 0.1 * rng.standard_normal((200, 20)),
    ...     "text": rng.standard_normal((3, 10))[y] + 0.1 * rng.standard_normal((200, 10)),
    ... }
    >>> model = fh.AMSH(n_bits=16, random_state=0).fit(features, labels={"image": y, "text": y})
    >>> found = fh.topk(model.encode(features["text"][:1], "text"), model.codes_["image"], k=5)[1]
    >>> bool((y[found] == y[0]).all())
    True
    """

    _learned = (*CrossModalHasher._learned, "objective_", "n_iter_", "classes_", "_states")
    _for_updates = ("_states",)
    _fits_on_cluster = True
    _needs_labels = True
    _parts = (*CrossModalHasher._parts, CodeRule, PartialFitState, Regression, Whitening)

    # The states from which `partial_fit` and `resume` continue.
    _states: dict[str, PartialFitState]
    _unfinished: AmshFit | None

    def __init__(
        self,
        n_bits: int = 64,
        *,
        n_anchors: int | str | None = "auto",
        n_sweeps: int = 15,
        tol: float = 1e-2,
        lam: float = 1e-2,
        beta: float = 1e-2,
        eta: float = 1.0,
        ridge: float = 0.01,
        width: float = 1.0,
        init: str | Mapping[str, ArrayLike] = "random",
        preprocessing: str | Mapping[str, str] = "none",
        random_state: Any = None,
    ) -> None:
        self.n_bits = n_bits
        self.n_anchors = n_anchors
        self.n_sweeps = n_sweeps
        self.tol = tol
        self.lam = lam
        self.beta = beta
        self.eta = eta
        self.ridge = ridge
        self.width = width
        self.init = init
        self.preprocessing = preprocessing
        self.random_state = random_state

    def fit(
        self,
        features: Mapping[str, ArrayLike],
        labels: Mapping[str, Any],
        *,
        resume: bool = False,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> AMSH:
        """
        Learn codes and hash functions.

        Parameters
        ----------
        features : mapping of str to array_like, each of shape (n_samples, n_features)
            Features of two or more modalities. Numbers of samples may differ. Memory-mapped arrays,
            scipy sparse matrices, and h5py datasets, dask and zarr arrays, are read block by block.
            With a current client of a Dask cluster, Dask arrays are fitted by its workers.
        labels : mapping of str to labels
            Labels per modality: class names or numbers of shape (n_samples,), or 0/1 columns as an
            array or a scipy sparse matrix of shape (n_samples, n_classes). A row may have no label.
        resume : bool, default False
            Continue an interrupted fit of the same data after its last finished sweep. It may have
            been interrupted by KeyboardInterrupt or an error of the callback. The result is that of
            a fit without interruption. Until then an interrupted fit keeps its latents in memory.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`. During a fit, matrix products elsewhere in
            this process use one thread.
        callback : callable, optional
            Called as ``callback(stage, done, total)`` during the stages "features" (by modality),
            "codes" (by sweep), "hash functions of <modality>, <sweep>" (by row).
        verbose : bool, default False
            Show progress on standard error, as bars if tqdm is installed.

        Returns
        -------
        AMSH
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If parameters, features or labels are unsuitable, or there is nothing to resume. The
            model is then unchanged, and also when the fit is interrupted.

        See Also
        --------
        fit_lengths : Models of several code lengths at little more than the cost of one.
        partial_fit : Add new samples with labels to the fitted model.
        """
        lengths = (check_count(self.n_bits, "n_bits"),)
        with Progress(callback, verbose) as report:
            fit, x = self._fit_lengths(features, labels, lengths, report, resume, n_threads)
        self._take(fit, x, 0)
        return self

    def fit_lengths(
        self,
        features: Mapping[str, ArrayLike],
        labels: Mapping[str, Any],
        n_bits: Sequence[int],
        *,
        resume: bool = False,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> dict[int, AMSH]:
        """
        Learn codes of several lengths at little more than the cost of the longest.

        Features are mapped, and their Gram matrices factored, for all lengths at once.

        Parameters
        ----------
        features : mapping of str to array_like, each of shape (n_samples, n_features)
            Features of two or more modalities, as in `fit`.
        labels : mapping of str to labels
            Labels per modality, as in `fit`.
        n_bits : sequence of int
            The lengths, which replace the parameter ``n_bits``. ``init`` must be "random" or "pca".
        resume : bool, default False
            Continue an interrupted fit of the same data and lengths, as in `fit`.
        n_threads : int, optional
            Number of threads, as in `fit`.
        callback : callable, optional
            Called as ``callback(stage, done, total)``, as in `fit`.
        verbose : bool, default False
            Show progress on standard error.

        Returns
        -------
        dict of int to AMSH
            A new model per length, with the codes of a fit of this length alone. This model is
            unchanged.

        Raises
        ------
        TypeError, ValueError
            As in `fit`, and if lengths repeat or are not positive integers.

        See Also
        --------
        fit : Learn codes of one length.

        Examples
        --------
        >>> import numpy as np
        >>> import fasthash as fh
        >>> rng = np.random.default_rng(0)
        >>> y = rng.integers(0, 3, 200)
        >>> x = {"image": np.eye(3)[y] + rng.random((200, 3)), "text": np.eye(3)[y]}
        >>> models = fh.AMSH(random_state=0).fit_lengths(x, {"image": y, "text": y}, [16, 32])
        >>> {length: model.codes_["text"].shape for length, model in models.items()}
        {16: (200, 2), 32: (200, 4)}
        """
        lengths = tuple(check_count(length, "n_bits") for length in n_bits)
        if not lengths or len(set(lengths)) < len(lengths):
            raise ValueError(f"n_bits must be different code lengths, got {list(lengths)}")
        if isinstance(self.init, Mapping):
            raise ValueError(
                "init holds latents of one length: fit_lengths needs init='random' or 'pca'"
            )
        with Progress(callback, verbose) as report:
            fit, x = self._fit_lengths(features, labels, lengths, report, resume, n_threads)
        models = {}
        for i, length in enumerate(lengths):
            models[length] = clone(self).set_params(n_bits=length)
            models[length]._take(fit, x, i)
        return models

    def partial_fit(
        self,
        features: Mapping[str, ArrayLike],
        labels: Mapping[str, Any],
        *,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> AMSH:
        """
        Add new samples with labels to the fitted model; the first call fits it.

        New samples get codes from their labels, which are appended to ``codes_``. Their features
        and codes enter the regression of the hash functions of their modality. These stay
        unchanged: the codes and margins of earlier samples, the label maps and votes by which
        labels make codes, and the anchors, widths and means of the features. Fit again if there are
        many new samples, or if they differ from the first ones.

        Parameters
        ----------
        features : mapping of str to array_like, each of shape (n_new, n_features)
            Features of one or more modalities of the fit. In the first call as in `fit`: two or
            more modalities, each with more samples than bits.
        labels : mapping of str to labels
            Labels of these modalities, in the form of the first fit: class names or numbers that
            occurred in it, or the same number of 0/1 columns.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`.
        callback : callable, optional
            Called as ``callback("hash functions of <modality>", done, total)`` by row; in the first
            call as in `fit`.
        verbose : bool, default False
            Show progress on standard error, as bars if tqdm is installed.

        Returns
        -------
        AMSH
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If features or labels are unsuitable, or the columns of the features or `n_bits` are not
            those of the fit. The model is then unchanged.

        Warns
        -----
        UserWarning
            If features have column names and those of the fit had none, or the other way round.

        See Also
        --------
        fit : Learn from all samples at once.

        Notes
        -----
        Costs O(n_new · n_anchors · (n_features + n_anchors)) for new samples, and a factorisation
        of O(n_anchors³).

        Examples
        --------
        >>> import numpy as np
        >>> import fasthash as fh
        >>> rng = np.random.default_rng(0)
        >>> y = np.arange(60) % 3
        >>> x = {"image": np.eye(3)[y] + 0.1 * rng.random((60, 3)), "text": np.eye(3)[y]}
        >>> model = fh.AMSH(16, random_state=0)
        >>> for rows in (slice(0, 40), slice(40, 60)):
        ...     part = {name: values[rows] for name, values in x.items()}
        ...     model = model.partial_fit(part, {"image": y[rows], "text": y[rows]})
        >>> model.codes_["image"].shape
        (60, 2)
        """
        if not hasattr(self, "projections_"):
            return self.fit(
                features, labels, n_threads=n_threads, callback=callback, verbose=verbose
            )
        check_updatable(self)
        n_bits = next(iter(self.projections_.values())).shape[1]
        if check_count(self.n_bits, "n_bits") != n_bits:
            raise ValueError(f"n_bits={self.n_bits}, but the model has learned {n_bits}: call fit")
        x = self._read_new(features)
        given = check_labels(
            labels, {name: len(rows) for name, rows in x.items()}, classes=self.classes_
        )
        rule = SweepRule(self.ridge, self.n_sweeps, self.tol)
        codes, projections, states = dict(self.codes_), dict(self.projections_), dict(self._states)
        with (
            Progress(callback, verbose) as report,
            Workers(resolve_threads(n_threads)) as workers,
        ):
            for name, rows in x.items():
                old = self._states[name]
                new = old.rule.codes(LabelRows.of(given[name]), self.n_sweeps)
                mapped = MappedRows(rows, self.feature_maps_[name], 0)
                regression, gram = add_rows(
                    *(old.regression, old.gram, mapped, new, rule, workers),
                    partial(report, f"hash functions of {name}", total=len(rows)),
                )
                codes[name] = np.concatenate([codes[name], new])
                projections[name] = regression.projection
                states[name] = replace(old, regression=regression, gram=gram)
        self.codes_, self.projections_, self._states = codes, projections, states
        return self

    def _read_new(self, features: Any) -> dict[str, Rows]:
        """Check new samples of some modalities of the fitted model."""
        x = check_modalities(features, minimum=1)
        for name in x:
            self._check_modality(name)
            argument = f"features[{name!r}]"
            check_columns(features[name], argument, self._names_of(name))
            if x[name].shape[1] != self.n_features_in_[name]:
                raise ValueError(
                    f"{argument} has {x[name].shape[1]} columns, but the model was fitted with "
                    f"{self.n_features_in_[name]}"
                )
        return x

    def _fit_lengths(
        self,
        features: Mapping[str, ArrayLike],
        labels: Mapping[str, Any],
        lengths: tuple[int, ...],
        report: Report,
        resume: bool,
        n_threads: int | None,
    ) -> tuple[AmshFit, dict[str, Rows]]:
        """Check all arguments, then run a new fit, or the interrupted one, to its end."""
        check_parameters(self)
        if (client := client_for(features)) is not None:
            data = features, labels, lengths
            return fit_on_cluster(self, client, *data, report, resume, n_threads)
        n_threads = resolve_threads(n_threads)
        x = read_modalities(features)
        given = check_labels(labels, {name: len(rows) for name, rows in x.items()})
        kinds = kinds_of(self, x)
        prepared, preprocessing = preprocess(x, kinds)
        check_problem(self, prepared, given, max(lengths))
        fit = AmshFit(
            settings_for(self, x, lengths, kinds),
            {name: LabelRows.of(y) for name, y in given.items()},
            label_classes(labels),
            {name: (rows.shape, rows.dtype) for name, rows in x.items()},
            preprocessing,
            self.random_state,
        )
        if resume:
            fit = interrupted_fit(getattr(self, "_unfinished", None), fit)
        try:
            fit.run(prepared, Workers(n_threads), report)
        except BaseException:
            self._unfinished = fit
            raise
        self._unfinished = None
        return fit, x

    def _take(self, fit: AmshFit, x: dict[str, Rows], place: int) -> None:
        """Become the model of one of the lengths of a finished fit."""
        learned = fit.learned[fit.settings.lengths[place]]
        regressions = {name: hashing.regressions[place] for name, hashing in fit.hashing.items()}
        self._set_fitted(
            x,
            preprocessed_maps(fit.feature_maps, fit.preprocessing),
            {name: regression.projection for name, regression in regressions.items()},
            {name: np.asarray(packed) for name, packed in learned.packed.items()},
            Related.of_labels({name: one.matrix() for name, one in fit.labels.items()}),
            objective_=np.array(learned.objective),
            n_iter_={
                "codes": len(learned.objective),
                **{name: regression.n_sweeps for name, regression in regressions.items()},
            },
            classes_=fit.classes,
            _states=fit.states(place),
        )

    def _set_learned_state(self, learned: dict[str, Any]) -> None:
        super()._set_learned_state(learned)
        n_classes = self.classes_ if isinstance(self.classes_, int) else len(self.classes_)
        for name in self.modalities_ if "_states" in learned else ():
            n_out, n_bits = self.projections_[name].shape
            self._states[name].check(n_out, n_bits, n_classes)
