"""`AMSH`: supervised cross-modal hashing that needs labels on both sides but no pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg
from sklearn.utils import check_random_state

from ..codes import pack
from ..features import FeatureMap, fit_feature_map
from ..validation import (
    check_choice,
    check_count,
    check_features,
    check_labels,
    check_modalities,
    check_number,
)
from . import amsh_steps as steps
from .base import CrossModalHasher

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["AMSH"]

# The paper's number of anchors.
_AUTO_ANCHORS = 1500


class AMSH(CrossModalHasher):
    """
    Adaptive Marginalized Semantic Hashing.

    Learns codes for two or more modalities from features and labels. Which sample of one modality
    belongs to which of another is not used: sizes may differ and the order is free.

    Parameters
    ----------
    n_bits : int, default 64
        Length of the codes; less than the number of samples of every modality.
    n_anchors : int, None or "auto", default "auto"
        Number of RBF anchors per modality, drawn among its samples. None keeps the features linear;
        "auto" takes the paper's 1500, or all samples where there are fewer.
    n_sweeps : int, default 15
        Sweeps over the discrete codes, and again over the hash functions.
    lam : float, default 1e-2
        λ, weight of the similarity within a modality.
    beta : float, default 1e-2
        β, weight of the similarity between modalities. Not below λ: where the modalities weigh less
        than each for itself, their codes drift apart.
    eta : float, default 1.0
        η, weight of the quantisation.
    ridge : float, default 0.01
        Absolute ridge of the regression from features to bits; greater than 0.
    width : float, default 1.0
        Standard deviation of the radial basis functions, in units of the mean distance of a
        modality's samples to its anchors; greater than 0.
    init : {"random", "pca"} or mapping of str to ndarray, default "random"
        Latents to start from: Gaussian, principal components of the features (the authors' choice),
        or given arrays of shape (n_samples, n_bits) per modality.
    random_state : int, RandomState instance or None, default None
        Seeds the anchors and the initial latents.

    Attributes
    ----------
    codes_ : dict of str to ndarray of uint8, shape (n_samples, ceil(n_bits / 8))
        Packed codes learned for the training samples: the database of the paper's protocol.
    projections_ : dict of str to ndarray of float64, shape (n_out, n_bits)
        F, the hash functions of new samples.
    feature_maps_ : dict of str to FeatureMap
        Anchors and means per modality.
    objective_ : ndarray of float64, shape (n_sweeps,)
        What the first step minimises, after every sweep.
    modalities_ : tuple of str
        Names of the modalities.
    n_features_in_ : dict of str to int
        Number of raw features per modality.

    Notes
    -----
    From the paper: the objective, the order of the updates, η = 1, 15 sweeps, 1500 anchors, the
    ridge of 0.01. Ours: λ = β = 1e-2, better on validation data than the paper's 1e-3; the random
    start (the paper's start from principal components is ``init="pca"``); the width of the radial
    basis functions; one factorisation for all sweeps instead of one per sweep; and more than two
    modalities.

    Time per sweep is O(n · n_bits · (labels per sample + n_classes + n_bits)) for the codes and
    O(n · n_anchors · n_bits) for the hash functions, after O(n · n_anchors²) once. Memory is the
    mapped features, n · n_anchors values, and a few arrays of n · n_bits.

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

    def __init__(
        self,
        n_bits: int = 64,
        *,
        n_anchors: int | str | None = "auto",
        n_sweeps: int = 15,
        lam: float = 1e-2,
        beta: float = 1e-2,
        eta: float = 1.0,
        ridge: float = 0.01,
        width: float = 1.0,
        init: str | Mapping[str, ArrayLike] = "random",
        random_state: Any = None,
    ) -> None:
        self.n_bits = n_bits
        self.n_anchors = n_anchors
        self.n_sweeps = n_sweeps
        self.lam = lam
        self.beta = beta
        self.eta = eta
        self.ridge = ridge
        self.width = width
        self.init = init
        self.random_state = random_state

    def fit(
        self,
        features: Mapping[str, ArrayLike],
        labels: Mapping[str, Any],
        callback: Callable[[str, int, int], None] | None = None,
    ) -> AMSH:
        """
        Learn codes and hash functions.

        Parameters
        ----------
        features : mapping of str to array_like, each of shape (n_samples, n_features)
            Two or more modalities; the number of samples may differ.
        labels : mapping of str to labels
            Per modality class names or numbers of shape (n_samples,), or 0/1 columns as an array or
            a scipy sparse matrix of shape (n_samples, n_classes). A row may be empty.
        callback : callable, optional
            Called as ``callback(stage, done, total)`` after every finished piece of work, with
            stage "features", "codes" or "hash functions".

        Returns
        -------
        AMSH
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If parameters, features or labels are unsuitable; the model is then unchanged.
        """
        self._check_parameters()
        x = check_modalities(features)
        given = check_labels(labels, {name: len(rows) for name, rows in x.items()})
        self._check_problem(x, given)
        report = callback if callback is not None else lambda stage, done, total: None
        rng = check_random_state(self.random_state)

        feature_maps: dict[str, FeatureMap] = {}
        mapped: dict[str, NDArray] = {}
        for done, (name, rows) in enumerate(x.items(), 1):
            n_anchors = self._n_anchors_of(name, len(rows))
            feature_maps[name] = fit_feature_map(rows, n_anchors, rng, self.width)
            mapped[name] = feature_maps[name].transform(rows)
            report("features", done, len(x))

        start = self._initial_latents(mapped, rng)
        bits, objective = self._learn_codes(start, list(given.values()), rng, report)
        projections = {}
        for done, (name, b) in enumerate(zip(x, bits, strict=True), 1):
            factor = steps.inverse_factor(mapped[name], self.ridge)
            projections[name] = steps.hash_function(mapped[name], b, factor, self.n_sweeps)
            report("hash functions", done, len(x))
        codes = {name: pack(b) for name, b in zip(x, bits, strict=True)}
        self._set_fitted(x, feature_maps, projections, codes, objective_=np.array(objective))
        return self

    def _learn_codes(
        self,
        v: list[NDArray],
        labels: list[csr_array],
        rng: np.random.RandomState,
        report: Callable[[str, int, int], None],
    ) -> tuple[list[NDArray], list[float]]:
        """Sweep over targets, label maps, latents and codes; later modalities see earlier ones."""
        unit_labels = [steps.unit_rows(y) for y in labels]
        votes = [y.T @ x for y, x in zip(unit_labels, v, strict=True)]
        targets = [y.toarray() for y in labels]
        b = [steps.signs(x) for x in v]
        objective = []
        for sweep in range(self.n_sweeps):
            p = [steps.label_map(x, t) for x, t in zip(v, targets, strict=True)]
            for m, y in enumerate(unit_labels):
                others = sum(votes[:m] + votes[m + 1 :])
                v[m] = steps.latents(
                    targets[m], p[m], y, b[m], others, self.lam, self.beta, self.eta, rng
                )
                votes[m] = y.T @ v[m]
            b = [steps.codes(y, x, self.lam, self.eta) for y, x in zip(unit_labels, v, strict=True)]
            targets = [steps.label_target(y, x, q) for y, x, q in zip(labels, v, p, strict=True)]
            objective.append(
                steps.objective(targets, unit_labels, p, v, b, self.lam, self.beta, self.eta)
            )
            report("codes", sweep + 1, self.n_sweeps)
        return b, objective

    def _initial_latents(
        self, mapped: dict[str, NDArray], rng: np.random.RandomState
    ) -> list[NDArray]:
        if isinstance(self.init, Mapping):
            return [
                np.array(check_features(self.init[name], f"init[{name!r}]"), np.float64)
                for name in mapped
            ]
        if self.init == "random":
            return [
                steps.orthogonal_latents(rng.standard_normal((len(x), self.n_bits)), rng)
                for x in mapped.values()
            ]
        return [
            steps.orthogonal_latents(_principal_components(x, self.n_bits), rng)
            for x in mapped.values()
        ]

    def _n_anchors_of(self, name: str, n_samples: int) -> int | None:
        if self.n_anchors is None:
            return None
        if self.n_anchors == "auto":
            return min(_AUTO_ANCHORS, n_samples)
        return self.n_anchors

    def _check_parameters(self) -> None:
        check_count(self.n_bits, "n_bits")
        check_count(self.n_sweeps, "n_sweeps")
        for name in ("lam", "beta", "eta"):
            check_number(getattr(self, name), name)
        check_number(self.ridge, "ridge", positive=True)
        check_number(self.width, "width", positive=True)
        if isinstance(self.n_anchors, str):
            check_choice(self.n_anchors, "n_anchors", ["auto"])
        elif self.n_anchors is not None:
            check_count(self.n_anchors, "n_anchors")
        if not isinstance(self.init, Mapping):
            check_choice(self.init, "init", ["random", "pca"])

    def _check_problem(self, x: dict[str, NDArray], labels: dict[str, csr_array]) -> None:
        """Refuse what no code could be learned from, before anything is computed."""
        n_classes = next(iter(labels.values())).shape[1]
        if n_classes < 2:
            raise ValueError(
                f"labels have {n_classes} class: with fewer than two every sample would get the "
                "same code"
            )
        for name, rows in x.items():
            if len(rows) <= self.n_bits:
                raise ValueError(
                    f"features[{name!r}] has {len(rows)} samples: n_bits={self.n_bits} needs more "
                    "samples than bits"
                )
            if (rows == rows[:1]).all():
                raise ValueError(
                    f"features[{name!r}] has the same row for all samples: there is nothing to "
                    "tell them apart by"
                )
            if not isinstance(self.n_anchors, str | None) and self.n_anchors > len(rows):
                raise ValueError(
                    f"n_anchors={self.n_anchors}, but features[{name!r}] has only {len(rows)} "
                    'samples to draw anchors from: lower it, or pass n_anchors="auto"'
                )
            if labels[name].nnz == 0:
                raise ValueError(f"labels[{name!r}] are all empty: AMSH learns from labels")
        if isinstance(self.init, Mapping):
            for name, rows in x.items():
                shape = np.shape(self.init[name]) if name in self.init else None
                if shape != (len(rows), self.n_bits):
                    raise ValueError(
                        f"init[{name!r}] must have shape {(len(rows), self.n_bits)}, got {shape}"
                    )


def _principal_components(x: NDArray, n_components: int) -> NDArray[np.float64]:
    """Scores of centred features on their first components; columns past the rank are zero."""
    gram = x.T.astype(np.float64) @ x
    n_found = min(n_components, x.shape[1])
    _, vectors = linalg.eigh(gram, subset_by_index=[x.shape[1] - n_found, x.shape[1] - 1])
    scores = np.zeros((len(x), n_components))
    scores[:, :n_found] = x @ vectors[:, ::-1]
    return scores
