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
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..._core.features import BlockMap
from ..._core.pieces import cut
from ..._core.rows import Rows
from ..._core.workers import Workers
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
from ._relations import DenseRelations, NoRelations, Relations, SparseRelations

__all__ = ["Settings", "View", "start_views"]

# Number of rows from which means, widths and scales are estimated, and number of pairs from which
# correlations are estimated.
_SAMPLE_ROWS = 16384

# Shares of the linear features that are compared; the last one is for too few pairs.
_LINEAR_SHARES = (1.0, 0.0, 0.5)

# Factor on the weight of unpaired rows that follows from their error. It was chosen on validation
# splits; values between 1 and 10 give nearly the same accuracy.
_TRUST = 3.0

_FOLDS = 10


@dataclass(frozen=True)
class Settings:
    """The parameters of a fit; the docstring of `RREH` explains them."""

    n_bits: int
    n_components: int
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
    ridge: float
    n_sweeps: int


@dataclass
class View:
    """
    One modality, with all that the sweeps need of it.

    Attributes
    ----------
    name : str
    rows : Rows
    latent_rows : ndarray of int64, shape (n,)
        For each row of this modality, its row in the latents. The latents of pairs come first, and
        all modalities share them.
    n_pairs, n_bits : int
    features : Features
        φ, scaled so that rows have a mean squared norm of 1.
    offset : ndarray, shape (d,)
    scale : float
        Such that rows of ``(x - offset) * scale`` have a mean squared norm of n_bits.
    variates : ndarray, shape (n, q)
        Y, centred on the pairs.
    relations : Relations
        S, with a row for each row of this modality.
    reliability : float
        R²: how well the nearest anchors predict the variates of the other modalities.
    weight : float
        ω, the weight of a row without a partner; a pair has weight 1.
    """

    name: str
    rows: Rows
    latent_rows: NDArray[np.int64]
    n_pairs: int
    n_bits: int
    offset: NDArray[np.floating]
    scale: float
    features: Features = field(init=False)
    variates: NDArray[np.floating] = field(init=False)
    relations: Relations = field(init=False)
    reliability: float = 0.0
    weight: float = 0.0

    @property
    def feature_map(self) -> BlockMap:
        """K, from raw rows to the centred columns before T."""
        return self.features.feature_map

    @property
    def basis(self) -> NDArray[np.float64]:
        """T, from the columns of K to φ."""
        return self.features.basis

    @property
    def n_unpaired(self) -> int:
        """Number of rows without a partner."""
        return len(self.rows) - self.n_pairs

    @property
    def blocks(self) -> list[slice]:
        """The blocks in which the rows are read."""
        return cut(len(self.rows), max(self.feature_map.n_out, self.rows.shape[1]))

    def read(self, rows: slice) -> NDArray[np.floating]:
        """Read the features of a block, centred and scaled."""
        return (self.rows.read(rows) - self.offset) * self.rows.dtype.type(self.scale)

    def row_weights(self, rows: slice) -> NDArray[np.floating]:
        """Return 1 for rows of pairs and ω for others."""
        paired = self.latent_rows[rows] < self.n_pairs
        return np.where(paired, 1.0, self.weight).astype(self.rows.dtype)


class _JoinedRows:
    """
    Features and variates side by side, both with a mean squared norm of 1.

    Distances between such rows say which anchors are near, for the relations.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        spread = np.einsum("ij,ij->", view.variates, view.variates, dtype=np.float64)
        self._factor = np.sqrt(len(view.variates) / spread) if spread > 0 else 1.0
        self.dtype = view.rows.dtype
        self.shape = (len(view.rows), view.rows.shape[1] + view.variates.shape[1])

    def read(self, rows: slice) -> NDArray[np.floating]:
        view = self._view
        left = view.read(rows) * view.rows.dtype.type(view.n_bits**-0.5)
        return np.hstack([left, view.variates[rows] * view.rows.dtype.type(self._factor)])


def start_views(
    x: dict[str, Rows],
    pairs: NDArray[np.int64] | None,
    settings: Settings,
    random_state: np.random.RandomState,
    workers: Workers,
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
    workers : Workers

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
            _view(name, rows, latent_rows, anchors, n_pairs, settings, random_state, workers)
        )

    sample = np.sort(shuffled[:_SAMPLE_ROWS])
    share = _compute_variates(views, sample, settings, workers)
    for view in views:
        joined = _JoinedRows(view)
        at_anchors = np.concatenate(
            [joined.read(slice(row, row + 1)) for row in _rows_of(view, anchors)]
        )
        view.relations = _relations(view, joined, at_anchors, settings, workers)
        others = np.stack(
            [other.variates[_rows_of(other, anchors)] for other in views if other is not view]
        ).mean(axis=0, dtype=np.float64)
        view.reliability = _explained_variance(at_anchors, others, settings, workers)
        view.weight = _weight(view, settings)
    return views, anchors, share


def _rows_of(view: View, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of a modality that belong to pairs."""
    rows = np.empty(view.n_pairs, np.int64)
    paired = np.flatnonzero(view.latent_rows < view.n_pairs)
    rows[view.latent_rows[paired]] = paired
    return rows[pairs]


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
    seen = rows if len(sample) == len(rows) else rows.subset(sample)
    offset = seen.column_means()
    spread = np.mean(squared_lengths(seen.read(block) - offset for block in cut(*seen.shape)))
    view = View(
        name,
        rows,
        latent_rows,
        n_pairs,
        settings.n_bits,
        offset=offset.astype(rows.dtype),
        scale=float(np.sqrt(settings.n_bits / spread)),
    )
    # Pairs come first: with few pairs, hash functions are best with kernels around these pairs.
    chosen = _rows_of(view, anchors)
    unpaired = np.flatnonzero(latent_rows >= n_pairs)
    more = random_state.permutation(unpaired)[: settings.n_anchors - len(chosen)]
    at_centres = rows.take(np.concatenate([chosen, more]))
    view.features = _features(seen, at_centres, settings, workers)
    return view


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
    workers: Workers,
) -> float | None:
    """
    Learn canonical directions from a sample of the pairs; project all rows on them.

    The mixture of linear features and radial basis functions, the ridge, and the power of the
    correlations by which directions are weighted, are chosen together, by cross-validation.
    Returns the share of the linear features.
    """
    features, means = [], []
    for view in views:
        phi = view.features.transform(view.rows.subset(_rows_of(view, sample)))
        means.append(phi.mean(axis=0, dtype=np.float64))
        features.append(phi - means[-1].astype(phi.dtype))
        if not features[-1].any():
            raise ValueError(
                f"features[{view.name!r}] has the same row in all pairs: there is no correlation "
                "to learn from; pass pairs that differ"
            )
    folds, n_pairs = fold_covariances([features], min(N_FOLDS, len(sample)))
    n_most = max(1, min(settings.n_components, len(sample) - 1))
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
    for view, mean, direction in zip(views, means, directions, strict=True):
        weighted = direction * weights
        view.variates = _project(view, view.basis @ weighted, mean @ weighted, workers)
    return shares[best]


def _project(
    view: View, projection: NDArray[np.float64], shift: NDArray[np.float64], workers: Workers
) -> NDArray[np.floating]:
    dtype = view.rows.dtype
    out = np.empty((len(view.rows), projection.shape[1]), dtype)
    projection, shift = projection.astype(dtype), shift.astype(dtype)

    def visit(blocks: Sequence[slice]) -> None:
        for rows in blocks:
            out[rows] = view.feature_map.transform(view.rows.read(rows)) @ projection - shift

    for _ in workers.map(visit, view.blocks):
        pass
    return out


def _relations(
    view: View,
    joined: _JoinedRows,
    anchors: NDArray[np.floating],
    settings: Settings,
    workers: Workers,
) -> Relations:
    if view.n_unpaired == 0:
        return NoRelations(len(anchors))
    if settings.reconstruction == "dense":
        return DenseRelations(joined, anchors, settings.regularisation)
    return SparseRelations(
        reconstruct(joined, anchors, workers, settings.k, settings.regularisation)
    )


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
