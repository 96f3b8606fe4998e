"""What `RREH` computes once, before its sweeps: features, canonical variates, anchors, relations.

Per modality m: the anchors, pairs while there are any; features φ = (k(x, anchors) - mean) T, where
T is a power of the anchors' kernel matrix; from pairs the variates Y = φA diag(s), with A the
canonical directions and s their correlations; the relations S of every row to the anchors, by x and
Y joined; and from the anchors alone the reliability R² and with it the weight ω of unpaired rows.

Source: RREH fixes that anchors are sampled from the pairs, that there is a common subspace, and
that samples are reconstructed from the anchors of their own modality. The rest is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy import linalg
from numpy.typing import NDArray

from ..._core.features import FeatureMap, centring_map, rbf_map
from ..._core.pieces import cut
from ..._core.rows import Rows
from ..._core.workers import Workers
from .._canonical import canonical_directions, pair_covariances
from ._anchor_reconstruction import reconstruct
from ._relations import DenseRelations, NoRelations, Relations, SparseRelations

__all__ = ["Settings", "View", "start_views"]

# Enough rows to tell means, widths and scales by, and enough pairs to tell correlations by.
_SAMPLE_ROWS = 16384

# Eigenvalues of the anchors' kernel matrix below this share of the largest are taken to be that
# much: to whiten them would be to multiply the rounding of single precision.
_LEAST_EIGENVALUE = 1e-5

# How much more than its error says a modality's unpaired rows are trusted; chosen on validation
# splits, flat between 1 and 10.
_TRUST = 3.0

_FOLDS = 10


@dataclass(frozen=True)
class Settings:
    """The parameters of a fit, as `RREH` documents them."""

    n_bits: int
    n_components: int
    n_anchors: int
    kernel: str
    width: float
    whitening: float
    shrinkage: float
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
    One modality as the sweeps see it.

    Attributes
    ----------
    name : str
    rows : Rows
    latent_rows : ndarray of int64, shape (n,)
        Row of the latents for each row of this modality; rows of pairs come first, shared by all.
    n_pairs, n_bits : int
    feature_map : FeatureMap
        K, the centred features before T.
    basis : ndarray of float64, shape (n_out, n_columns)
        T, scaled so that rows of φ have a mean squared norm of 1.
    offset : ndarray, shape (d,)
    scale : float
        What makes rows of ``(x - offset) * scale`` have a mean squared norm of n_bits.
    variates : ndarray, shape (n, q)
        Y, centred on the pairs.
    relations : Relations
        S, a row per row.
    reliability : float
        R², how well neighbours among the anchors predict the other modalities' variates.
    weight : float
        ω, of a row without a partner; a pair has 1.
    """

    name: str
    rows: Rows
    latent_rows: NDArray[np.int64]
    n_pairs: int
    n_bits: int
    feature_map: FeatureMap
    basis: NDArray[np.float64]
    offset: NDArray[np.floating]
    scale: float
    variates: NDArray[np.floating] = field(init=False)
    relations: Relations = field(init=False)
    reliability: float = 0.0
    weight: float = 0.0

    @property
    def n_alone(self) -> int:
        """Number of rows without a partner."""
        return len(self.rows) - self.n_pairs

    @property
    def blocks(self) -> list[slice]:
        """Blocks of rows to visit."""
        return cut(len(self.rows), max(self.feature_map.n_out, self.rows.shape[1]))

    def read(self, rows: slice) -> NDArray[np.floating]:
        """Centred and scaled features of a block."""
        return (self.rows.read(rows) - self.offset) * self.rows.dtype.type(self.scale)

    def row_weights(self, rows: slice) -> NDArray[np.floating]:
        """1 for pairs and ω for others."""
        paired = self.latent_rows[rows] < self.n_pairs
        return np.where(paired, 1.0, self.weight).astype(self.rows.dtype)


class _JoinedRows:
    """Features beside variates, both with a mean squared norm of 1: the metric of the relations."""

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
) -> tuple[list[View], NDArray[np.int64]]:
    """
    Prepare every modality for the sweeps.

    Parameters
    ----------
    x : dict of str to Rows
    pairs : ndarray of int64, shape (n_pairs, n_modalities), or None
        Validated; None pairs row i with row i.
    settings : Settings
    random_state : RandomState
    workers : Workers

    Returns
    -------
    views : list of View
    anchors : ndarray of int64, shape (n_anchors,)
        Which of the pairs are anchors, ascending.
    """
    n_pairs = len(next(iter(x.values()))) if pairs is None else len(pairs)
    shuffled = random_state.permutation(n_pairs)
    anchors = np.sort(shuffled[: settings.n_anchors])
    views = []
    first_alone = n_pairs
    for column, (name, rows) in enumerate(x.items()):
        if pairs is None:
            latent_rows = np.arange(n_pairs)
        else:
            latent_rows = np.full(len(rows), -1)
            latent_rows[pairs[:, column]] = np.arange(n_pairs)
            alone = np.flatnonzero(latent_rows < 0)
            latent_rows[alone] = np.arange(first_alone, first_alone + len(alone))
            first_alone += len(alone)
        views.append(
            _view(name, rows, latent_rows, anchors, n_pairs, settings, random_state, workers)
        )

    sample = np.sort(shuffled[:_SAMPLE_ROWS])
    _find_variates(views, sample, settings.shrinkage, settings.n_components, workers)
    for view in views:
        joined = _JoinedRows(view)
        at_anchors = np.concatenate(
            [joined.read(slice(row, row + 1)) for row in _rows_of(view, anchors)]
        )
        view.relations = _relations(view, joined, at_anchors, settings, workers)
        others = np.stack(
            [other.variates[_rows_of(other, anchors)] for other in views if other is not view]
        ).mean(axis=0, dtype=np.float64)
        view.reliability = _explained(at_anchors, others, settings, workers)
        view.weight = _weight(view, settings)
    return views, anchors


def _rows_of(view: View, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where in a modality pairs stand."""
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
    """Scale, anchors and features of one modality."""
    sample = np.sort(random_state.permutation(len(rows))[:_SAMPLE_ROWS])
    seen = rows if len(sample) == len(rows) else rows.subset(sample)
    offset = seen.column_means()
    spread = np.mean(_squared_lengths(seen.read(block) - offset for block in cut(*seen.shape)))
    view = View(
        name,
        rows,
        latent_rows,
        n_pairs,
        settings.n_bits,
        feature_map=centring_map(seen),
        basis=np.empty((0, 0)),
        offset=offset.astype(rows.dtype),
        scale=float(np.sqrt(settings.n_bits / spread)),
    )
    if settings.kernel == "linear":
        view.basis = np.eye(rows.shape[1]) / np.sqrt(spread)
        return view
    # Pairs first: hash functions learned from few pairs do best with kernels on these very pairs.
    chosen = _rows_of(view, anchors)
    alone = np.flatnonzero(latent_rows >= n_pairs)
    more = random_state.permutation(alone)[: settings.n_anchors - len(chosen)]
    at_anchors = rows.take(np.concatenate([chosen, more]))
    view.feature_map = rbf_map(seen, at_anchors, settings.width, workers)
    view.basis = _kernel_power(view.feature_map, settings.whitening)
    view.basis /= np.sqrt(np.mean(_squared_lengths([_features(view, seen)])))
    return view


def _features(view: View, rows: Rows) -> NDArray[np.floating]:
    """φ, block by block, of some rows of a modality."""
    basis = view.basis.astype(rows.dtype)
    features = np.empty((len(rows), basis.shape[1]), rows.dtype)
    for block in cut(len(rows), max(len(basis), rows.shape[1])):
        features[block] = view.feature_map.transform(rows.read(block)) @ basis
    return features


def _squared_lengths(blocks: Iterable[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Squared length of every row of the blocks."""
    return np.concatenate([np.einsum("ij,ij->i", x, x, dtype=np.float64) for x in blocks])


def _kernel_power(feature_map: FeatureMap, whitening: float) -> NDArray[np.float64]:
    """T with TTᵀ the anchors' kernel matrix to the power of -whitening."""
    assert feature_map.anchors is not None
    uncentred = FeatureMap(np.zeros(feature_map.n_out), feature_map.anchors, feature_map.width)
    kernel = uncentred.transform(feature_map.anchors.astype(np.float64))
    eigenvalues, vectors = linalg.eigh((kernel + kernel.T) / 2)
    least = _LEAST_EIGENVALUE * eigenvalues[-1]
    return vectors * np.maximum(eigenvalues, least) ** (-whitening / 2)


def _find_variates(
    views: Sequence[View],
    sample: NDArray[np.int64],
    shrinkage: float,
    n_components: int,
    workers: Workers,
) -> None:
    """Learn canonical directions from a sample of the pairs; project all rows on them."""
    features, means = [], []
    for view in views:
        phi = _features(view, view.rows.subset(_rows_of(view, sample)))
        means.append(phi.mean(axis=0, dtype=np.float64))
        features.append(phi - means[-1].astype(phi.dtype))
        if not features[-1].any():
            raise ValueError(
                f"features[{view.name!r}] has the same row in all pairs: there is no correlation "
                "to learn from; pass pairs that differ"
            )
    # Squared: of two modalities the one that varies in fewer directions then leads, and the other
    # is fitted to it, which served retrieval better than an equal ridge.
    ridges = [shrinkage * _typical_eigenvalue(phi) ** 2 for phi in features]
    n_components = min(n_components, len(sample) - 1, *(phi.shape[1] for phi in features))
    directions, correlations = canonical_directions(
        pair_covariances([features]), ridges, max(1, n_components)
    )
    for view, mean, direction in zip(views, means, directions, strict=True):
        direction = direction * correlations
        view.variates = _project(view, view.basis @ direction, mean @ direction, workers)


def _typical_eigenvalue(x: NDArray[np.floating]) -> float:
    """The mean of the covariance's eigenvalues, each weighted by itself; their sum is about 1."""
    covariance = (x.T @ x).astype(np.float64) / len(x)
    return np.sum(covariance**2) / np.trace(covariance)


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
    if view.n_alone == 0:
        return NoRelations(len(anchors))
    if settings.reconstruction == "dense":
        return DenseRelations(joined, anchors, settings.regularisation)
    return SparseRelations(
        reconstruct(joined, anchors, workers, settings.k, settings.regularisation)
    )


def _explained(
    anchors: NDArray[np.floating],
    others: NDArray[np.float64],
    settings: Settings,
    workers: Workers,
) -> float:
    """Share of the others' variance that anchors of other folds explain."""
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
    """ω: at most 1, and less the more unpaired rows there are beside pairs and the less R² is."""
    if view.n_alone == 0:
        return 0.0
    if settings.reliability is not None:
        return settings.reliability
    explained = min(max(view.reliability, 0.0), 1 - 1e-9)
    return min(_TRUST * view.n_pairs / view.n_alone * explained / (1 - explained), 1.0)
