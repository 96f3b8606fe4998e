"""What `RREH` computes once, before its sweeps: features, canonical variates, anchors, relations.

For each modality m:

- anchors: pairs;
- features φ: linear ones and radial basis functions around anchors, in a mixture that is chosen;
- variates Y = φA diag(sᵖ), where A are the canonical directions of the pairs, s their
  correlations, and p a power that is chosen;
- relations S of every row to the anchors, from x and Y side by side;
- the reliability R², computed from the anchors, and from it the weight ω of unpaired rows.

Source: the paper says that anchors are sampled from the pairs, that there is a common subspace, and
that samples are reconstructed from the anchors of their own modality. The rest is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..._core.cluster_rows import ClusterRows
from ..._core.pieces import cut
from ..._core.rows import Rows
from ..._core.workers import Executor, Workers
from .._canonical import (
    N_FOLDS,
    Spectra,
    choose_mixture,
    fold_covariances,
    join_folds,
    mix_covariances,
    typical_eigenvalues,
)
from ._anchor_reconstruction import reconstruct
from ._features import (
    Features,
    join_features,
    linear_features,
    radial_features,
    squared_lengths,
)
from ._views import (
    View,
    in_order,
    joined_at_anchors,
    make_parts,
    project,
    relate,
    rows_of,
    spread_of_variates,
    variates_at_anchors,
)

__all__ = ["Settings", "are_unpaired_rows_useless", "default_anchors", "start_views"]

# Number of rows from which means, widths and scales are estimated, and number of pairs from which
# correlations are estimated.
_SAMPLE_ROWS = 16384

# Shares of the linear features that are compared; the last one is for too few pairs.
_LINEAR_SHARES = (1.0, 0.0, 0.5)

# Number of dimensions where none is given: one for so many pairs, within two bounds. The directions
# after these are mostly noise, and cost bits.
_PAIRS_PER_COMPONENT = 12
_FEWEST_COMPONENTS, _MOST_COMPONENTS = 12, 24

# Number of anchors where none is given: as many as there are pairs, within two bounds. Time and
# memory of a fit grow with it.
_FEWEST_ANCHORS, _MOST_ANCHORS = 300, 600

# Factor on the weight of unpaired rows that follows from their error. It was chosen on validation
# splits; values between 1 and 10 give nearly the same accuracy.
_TRUST = 3.0

# If R² is below this in all modalities, unpaired rows are left out. With this R², those of a
# modality weigh as much as the pairs.
_LEAST_EXPLAINED = 1 / (1 + _TRUST)

_FOLDS = 10


@dataclass(frozen=True)
class Settings:
    """The parameters of a fit; the docstring of `RREH` explains them."""

    n_bits: int
    n_components: int | None
    n_anchors: int
    kernel: str
    width: float
    whitening: float
    shrinkage: float | None
    reconstruction: str
    k: int
    regularisation: float
    reliability: float | None
    alpha: float
    nu: float
    mu: float
    theta: float
    rho: float
    ridge: float | None
    n_sweeps: int


def default_anchors(n_pairs: int) -> int:
    """
    Number of anchors where none is given.

    It is larger than the number of pairs only if there are fewer than 300. So "fewer pairs than
    anchors" means the same whatever the number of pairs is.
    """
    return min(max(n_pairs, _FEWEST_ANCHORS), _MOST_ANCHORS)


def start_views(
    x: dict[str, Rows],
    pairs: NDArray[np.int64] | None,
    settings: Settings,
    random_state: np.random.RandomState,
    workers: Executor,
) -> tuple[list[View], NDArray[np.int64], float | None]:
    """
    Prepare every modality for the sweeps.

    Parameters
    ----------
    x : dict of str to Rows
    pairs : ndarray of int64, shape (n_pairs, n_modalities), or None
        Checked; None pairs row i with row i.
    settings : Settings
    random_state : RandomState
    workers : Executor
        Of the rows.

    Returns
    -------
    views : list of View
    anchors : ndarray of int64, shape (n_anchors,)
        The pairs that are anchors, ascending.
    share : float or None
        Share of the linear features in φ, if there are both kinds.
    """
    n_pairs = len(next(iter(x.values()))) if pairs is None else len(pairs)
    shuffled = random_state.permutation(n_pairs)
    anchors = np.sort(shuffled[: settings.n_anchors])
    views = []
    first_unpaired = n_pairs
    for column, (name, rows) in enumerate(x.items()):
        if pairs is None:
            latent_rows = np.arange(n_pairs)
        else:
            latent_rows = np.full(len(rows), -1)
            latent_rows[pairs[:, column]] = np.arange(n_pairs)
            unpaired = np.flatnonzero(latent_rows < 0)
            latent_rows[unpaired] = np.arange(first_unpaired, first_unpaired + len(unpaired))
            first_unpaired += len(unpaired)
        views.append(
            _view(name, rows, latent_rows, anchors, n_pairs, settings, random_state, workers.local)
        )

    sample = np.sort(shuffled[:_SAMPLE_ROWS])
    share = _compute_variates(views, sample, settings, workers)
    variates = [
        in_order(workers.run(variates_at_anchors, view.parts), len(anchors)) for view in views
    ]
    for i, view in enumerate(views):
        spread = workers.total(spread_of_variates, view.parts)
        factor = np.sqrt(len(view.rows) / spread) if spread > 0 else 1.0
        joined = in_order(workers.run(joined_at_anchors, view.parts, factor), len(anchors))
        others = np.stack(variates[:i] + variates[i + 1 :]).mean(axis=0, dtype=np.float64)
        view.reliability = _explained_variance(joined, others, settings, workers.local)
        view.weight = _weight(view, settings)
        workers.change(
            relate,
            view.parts,
            *(joined, factor, view.weight),
            *(settings.reconstruction, settings.k, settings.regularisation),
        )
    return views, anchors, share


def _view(
    name: str,
    rows: Rows,
    latent_rows: NDArray[np.int64],
    anchors: NDArray[np.int64],
    n_pairs: int,
    settings: Settings,
    random_state: np.random.RandomState,
    workers: Workers,
) -> View:
    """Compute the scale, the anchors and the feature map of one modality."""
    sample = np.sort(random_state.permutation(len(rows))[:_SAMPLE_ROWS])
    seen = _few(rows, sample)
    offset = seen.column_means()
    spread = np.mean(squared_lengths(seen.read(block) - offset for block in cut(*seen.shape)))
    view = View(
        name,
        rows,
        latent_rows,
        n_pairs,
        settings.n_bits,
        anchors,
        np.arange(len(anchors)),
        offset=offset.astype(rows.dtype),
        scale=float(np.sqrt(settings.n_bits / spread)),
    )
    # Pairs come first: with few pairs, hash functions are best with kernels around these pairs.
    chosen = rows_of(view, anchors)
    unpaired = np.flatnonzero(latent_rows >= n_pairs)
    more = random_state.permutation(unpaired)[: settings.n_anchors - len(chosen)]
    at_centres = rows.take(np.concatenate([chosen, more]))
    view.features = _features(seen, at_centres, settings, workers)
    return view


def _few(rows: Rows, indices: NDArray[np.int64]) -> Rows:
    """Some rows, in this process."""
    if isinstance(rows, ClusterRows):
        return Rows(rows.take(indices), rows.dtype)
    return rows.subset(indices)


def _features(
    seen: Rows, centres: NDArray[np.floating], settings: Settings, workers: Workers
) -> Features:
    """Make the features of one modality; of both kinds if their shares are to be chosen."""
    if settings.kernel == "linear":
        return linear_features(seen)
    radial = radial_features(seen, centres, settings.width, settings.whitening, workers)
    if settings.kernel == "rbf":
        return radial
    return join_features(linear_features(seen), radial)


def _compute_variates(
    views: Sequence[View],
    sample: NDArray[np.int64],
    settings: Settings,
    workers: Executor,
) -> float | None:
    """
    Learn canonical directions from a sample of the pairs; project all rows on them.

    The mixture of linear features and radial basis functions, the ridge, and the power of the
    correlations by which directions are weighted, are chosen together, by cross-validation.
    Returns the share of the linear features.
    """
    features, means = [], []
    for view in views:
        phi = view.features.transform(_few(view.rows, rows_of(view, sample)))
        means.append(phi.mean(axis=0, dtype=np.float64))
        features.append(phi - means[-1].astype(phi.dtype))
        if not features[-1].any():
            raise ValueError(
                f"features[{view.name!r}] has the same row in all pairs: there is no correlation "
                "to learn from; pass pairs that differ"
            )
    folds, n_pairs = fold_covariances([features], min(N_FOLDS, len(sample)))
    n_most = max(1, min(_n_components(views[0].n_pairs, settings), len(sample) - 1))
    shares = _LINEAR_SHARES if settings.kernel == "both" else (None,)
    mixtures = [[view.features.factors(share) for view in views] for share in shares]
    best, power = len(shares) - 1, 1.0
    if settings.shrinkage is None:
        references = [slice(0, view.features.n_linear or None) for view in views]
        best, ridges, power = choose_mixture(folds, n_pairs, n_most, mixtures, references)
    covariances = mix_covariances(join_folds(folds, n_pairs), mixtures[best])
    spectra = Spectra(covariances)
    if settings.shrinkage is not None:
        # The eigenvalue is squared: a modality that varies in more directions then gets a smaller
        # ridge relative to its variance, and is fitted to the other one.
        ridges = [settings.shrinkage * value**2 for value in typical_eigenvalues(covariances)]
    for view in views:
        view.features = view.features.mixed(shares[best])
    means = [(m * f)[f != 0] for m, f in zip(means, mixtures[best], strict=True)]
    n_found = min(n_most, *(view.features.n_columns for view in views))
    directions, correlations = spectra.directions(ridges, n_found)
    weights = correlations**power
    make_parts(views, workers)
    for view, mean, direction in zip(views, means, directions, strict=True):
        weighted = direction * weights
        workers.change(project, view.parts, view.basis @ weighted, mean @ weighted)
    return shares[best]


def _n_components(n_pairs: int, settings: Settings) -> int:
    """Number of dimensions that are wanted: the parameter, or one that follows from the pairs."""
    few = np.clip(n_pairs // _PAIRS_PER_COMPONENT, _FEWEST_COMPONENTS, _MOST_COMPONENTS)
    return min(settings.n_components or int(few), settings.n_bits)


def _explained_variance(
    anchors: NDArray[np.floating],
    others: NDArray[np.float64],
    settings: Settings,
    workers: Workers,
) -> float:
    """Compute the share of variance of the others that anchors of other folds explain."""
    fold = np.arange(len(anchors)) % _FOLDS
    missed = 0.0
    for i in range(min(_FOLDS, len(anchors))):
        out, kept = fold == i, fold != i
        if not kept.any():
            return 0.0
        relations = reconstruct(
            anchors[out], anchors[kept], workers, settings.k, settings.regularisation
        )
        missed += np.sum((others[out] - relations @ others[kept]) ** 2)
    total = np.sum((others - others.mean(axis=0)) ** 2)
    return float(1 - missed / total) if total > 0 else 0.0


def _weight(view: View, settings: Settings) -> float:
    """Compute ω: at most 1, and smaller for more unpaired rows per pair and for smaller R²."""
    if view.n_unpaired == 0:
        return 0.0
    if settings.reliability is not None:
        return settings.reliability
    explained = min(max(view.reliability, 0.0), 1 - 1e-9)
    return min(_TRUST * view.n_pairs / view.n_unpaired * explained / (1 - explained), 1.0)


def are_unpaired_rows_useless(views: Sequence[View], settings: Settings) -> bool:
    """
    Tell whether it is better to learn from the pairs alone, because relations explain too little.

    With fewer pairs than anchors, unpaired rows are also needed as centres.
    """
    explained = [view.reliability for view in views if view.n_unpaired]
    return (
        settings.reliability is None
        and views[0].n_pairs >= settings.n_anchors
        and max(explained, default=1.0) < _LEAST_EXPLAINED
    )
