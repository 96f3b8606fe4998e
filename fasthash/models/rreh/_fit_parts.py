"""What the sweeps of `RREH` do with a part of the samples, on threads.

A part has rows of every modality, the latents and codes of its pairs, and those of its unpaired
rows. Functions return sums over the rows, or change latents and codes. The symbols are those of
``_fit``. Rows of a modality may be missing; its sums are then zeros.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
from numpy import linalg
from numpy.typing import NDArray

from ..._core.features import MappedRows
from ..._core.pieces import cut
from ..._core.workers import Workers
from ...codes import pack_signs
from ._views import View

__all__ = [
    "FitPart",
    "codes",
    "fit_part",
    "grams",
    "latents_at_anchors",
    "norm_of_pairs",
    "right_at_anchors",
    "scale_pairs",
    "some_pairs",
    "start_rest",
    "update_codes",
    "update_paired_latents",
    "update_unpaired_latents",
]


class FitPart:
    """
    A part of the samples.

    Parameters
    ----------
    views : list of View
        Parts of all modalities.
    kept_bytes : int
        Memory for the mapped features of a modality.
    dtype : dtype
        Of the latents.

    Attributes
    ----------
    latents : ndarray, shape (n_latents, n_components)
    signs : ndarray of int8, shape (n_latents, n_bits)
    groups : list of slice
        The latents of pairs, and those of the unpaired rows of each modality.
    pair_right : ndarray, shape (n_pairs, n_components)
        C of the pairs: α Σ_m x U_mᵀ + θ b Rᵀ.
    """

    pair_right: NDArray[np.floating]

    def __init__(self, views: list[View], kept_bytes: int, dtype: Any) -> None:
        self.views, self.n_pairs = views, views[0].n_pairs
        edges = self.n_pairs + np.cumsum([0, *(view.n_unpaired for view in views)])
        self.groups = [slice(0, self.n_pairs)]
        self.groups += [slice(int(a), int(b)) for a, b in pairwise(edges)]
        self.mapped = [MappedRows(view.rows, view.feature_map, kept_bytes) for view in views]
        self.latents = np.zeros((int(edges[-1]), views[0].variates.shape[1]), dtype)
        self.signs = np.zeros((len(self.latents), views[0].n_bits), np.int8)

    def __sizeof__(self) -> int:
        # Dask asks for it, to keep tasks where the parts are.
        return object.__sizeof__(self) + self.latents.nbytes + self.signs.nbytes

    def copy(self) -> FitPart:
        """A part that may be changed without a change of this one."""
        part = copy.copy(self)
        part.latents, part.signs = self.latents.copy(), self.signs.copy()
        return part


def fit_part(views: list[View], workers: Workers, kept_bytes: int, dtype: Any) -> FitPart:
    """Make a part, whose latents of pairs are the sums of their variates."""
    part = FitPart(views, kept_bytes, dtype)
    for view in views:
        paired = view.latent_rows < part.n_pairs
        part.latents[view.latent_rows[paired]] += view.variates[paired]
    return part


def grams(part: FitPart, workers: Workers) -> tuple[tuple[NDArray[np.float64], ...], ...]:
    """Compute φᵀwφ and SᵀwS of each modality."""
    return tuple(
        _grams_of(view, mapped, workers)
        for view, mapped in zip(part.views, part.mapped, strict=True)
    )


def _grams_of(view: View, mapped: MappedRows, workers: Workers) -> tuple[NDArray[np.float64], ...]:
    basis = view.basis.astype(view.rows.dtype)

    def add(rows: slice) -> tuple[Any, ...]:
        # T is applied before the sum: the rounding of large sums would be larger than small
        # eigenvalues.
        features, weights = mapped[rows] @ basis, view.row_weights(rows)
        gram = (features.T @ (weights[:, None] * features)).astype(np.float64)
        unpaired = weights * (view.latent_rows[rows] >= view.n_pairs)
        return gram, view.relations.gram(rows, unpaired)

    return _total(view, add, workers)


def norm_of_pairs(part: FitPart, workers: Workers) -> np.floating:
    """Compute the norm of the latents of pairs."""
    return linalg.norm(part.latents[: part.n_pairs])


def scale_pairs(part: FitPart, workers: Workers, factor: np.floating) -> None:
    """Multiply the latents of pairs."""
    pairs = part.latents[: part.n_pairs]
    pairs *= factor


def some_pairs(part: FitPart, workers: Workers, step: int) -> NDArray[np.floating]:
    """The latents of some pairs, at equal steps."""
    return part.latents[: part.n_pairs : step]


def start_rest(
    part: FitPart,
    workers: Workers,
    at_anchors: NDArray[np.floating],
    rotation: NDArray[np.float64],
) -> tuple[tuple[Any, ...], ...]:
    """
    Compute first latents of unpaired rows from those of the anchors, and codes from latents.

    Returns `_latent_grams` and `_sums`.
    """
    for view in part.views:
        _start_unpaired(part, view, at_anchors, workers)
    rotation = rotation.astype(part.latents.dtype)
    for rows in cut(len(part.latents), part.signs.shape[1]):
        part.signs[rows] = _signs(part.latents[rows] @ rotation)
    return _latent_grams(part), _sums(part, workers)


def _start_unpaired(
    part: FitPart, view: View, at_anchors: NDArray[np.floating], workers: Workers
) -> None:
    def start(rows: slice) -> None:
        latent_rows = view.latent_rows[rows]
        unpaired = latent_rows >= part.n_pairs
        part.latents[latent_rows[unpaired]] = view.relations.times(rows, at_anchors)[unpaired]

    _visit(view, start, workers)


def _latent_grams(part: FitPart) -> tuple[NDArray[np.float64], ...]:
    """Compute zᵀz of the pairs, and of the unpaired rows of each modality."""
    return tuple(_product(part.latents[rows], part.latents[rows]) for rows in part.groups)


def _latents_by_codes(part: FitPart) -> tuple[NDArray[np.float64], ...]:
    """Compute zᵀb of the pairs, and of the unpaired rows of each modality."""
    return tuple(_product(part.latents[rows], part.signs[rows]) for rows in part.groups)


def _sums(part: FitPart, workers: Workers) -> tuple[tuple[Any, ...], ...]:
    """Compute Σ w zᵀx, Σ w φᵀb before T is applied, and Σ w ‖x‖² of each modality."""
    return tuple(
        _sums_of(part, view, mapped, workers)
        for view, mapped in zip(part.views, part.mapped, strict=True)
    )


def _sums_of(part: FitPart, view: View, mapped: MappedRows, workers: Workers) -> tuple[Any, ...]:
    def add(rows: slice) -> tuple[Any, ...]:
        x, latent_rows = view.read(rows), view.latent_rows[rows]
        weights = view.row_weights(rows)
        weighted = weights[:, None] * x
        return (
            (part.latents[latent_rows].T @ weighted).astype(np.float64),
            (mapped[rows].T @ (weights[:, None] * part.signs[latent_rows])).astype(np.float64),
            np.einsum("ij,ij->", weighted, x, dtype=np.float64),
        )

    return _total(view, add, workers)


def latents_at_anchors(
    part: FitPart, workers: Workers
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Latents of the anchors of a part, and the numbers of these anchors."""
    view = part.views[0]
    return view.anchor_numbers, part.latents[view.anchors]


def right_at_anchors(
    part: FitPart, workers: Workers
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """C of the anchors of a part, and the numbers of these anchors."""
    view = part.views[0]
    return view.anchor_numbers, part.pair_right[view.anchors]


def update_unpaired_latents(
    part: FitPart,
    workers: Workers,
    at_anchors: NDArray[np.floating],
    from_codes: NDArray[np.floating],
    mu: float,
    maps: list[tuple[NDArray[np.floating], NDArray[np.floating]]],
) -> tuple[NDArray[np.float64], ...]:
    """
    Update the latents of unpaired rows; return the anchors' term Σ Sᵀz of each modality.

    The same pass computes C of the pairs.
    """
    part.pair_right = part.signs[: part.n_pairs] @ from_codes
    return tuple(
        _update_unpaired(part, view, at_anchors, from_codes, mu, *own, workers)
        for view, own in zip(part.views, maps, strict=True)
    )


def _update_unpaired(
    part: FitPart,
    view: View,
    at_anchors: NDArray[np.floating],
    from_codes: NDArray[np.floating],
    mu: float,
    from_features: NDArray[np.floating],
    inverse: NDArray[np.floating],
    workers: Workers,
) -> NDArray[np.float64]:
    """Update the unpaired rows of a modality."""

    def update(rows: slice) -> tuple[Any, ...]:
        latent_rows = view.latent_rows[rows]
        unpaired = latent_rows >= part.n_pairs
        right = view.read(rows) @ from_features
        part.pair_right[latent_rows[~unpaired]] += right[~unpaired]
        right += mu * view.relations.times(rows, at_anchors)
        right += part.signs[latent_rows] @ from_codes
        z = right @ inverse
        part.latents[latent_rows[unpaired]] = z[unpaired]
        z[~unpaired] = 0
        return (view.relations.transposed_times(rows, z),)

    term: NDArray[np.float64] = _total(view, update, workers)[0]
    return term


def update_paired_latents(
    part: FitPart,
    workers: Workers,
    inverse: NDArray[np.floating],
    at_anchors: NDArray[np.floating],
) -> tuple[tuple[NDArray[np.float64], ...], ...]:
    """Set the latents of pairs, and of the anchors; return `_latent_grams`, `_latents_by_codes`."""
    view = part.views[0]
    part.latents[: part.n_pairs] = part.pair_right @ inverse
    part.latents[view.anchors] = at_anchors[view.anchor_numbers]
    return _latent_grams(part), _latents_by_codes(part)


def update_codes(
    part: FitPart,
    workers: Workers,
    rotated: NDArray[np.floating],
    projections: list[NDArray[np.floating]],
) -> tuple[tuple[Any, ...], ...]:
    """
    Update the codes of unpaired rows, and those of pairs from the scores of all their rows.

    Returns `_sums` and `_latents_by_codes`.
    """
    scores = part.latents[: part.n_pairs] @ rotated
    for view, mapped, projection in zip(part.views, part.mapped, projections, strict=True):
        _update_codes_of(part, view, mapped, projection, rotated, scores, workers)
    part.signs[: part.n_pairs] = _signs(scores)
    return _sums(part, workers), _latents_by_codes(part)


def _update_codes_of(
    part: FitPart,
    view: View,
    mapped: MappedRows,
    projection: NDArray[np.floating],
    rotated: NDArray[np.floating],
    scores: NDArray[np.floating],
    workers: Workers,
) -> None:
    """Update the codes of unpaired rows; add the scores of paired rows to `scores`."""

    def update(rows: slice) -> None:
        latent_rows = view.latent_rows[rows]
        unpaired = latent_rows >= part.n_pairs
        found = mapped[rows] @ projection
        scores[latent_rows[~unpaired]] += found[~unpaired]
        own = latent_rows[unpaired]
        part.signs[own] = _signs(found[unpaired] + part.latents[own] @ rotated)

    _visit(view, update, workers)


def codes(part: FitPart, workers: Workers) -> list[NDArray[np.uint8]]:
    """Return the packed codes of the rows of each modality."""
    packed = pack_signs(part.signs)
    return [packed[view.latent_rows] for view in part.views]


def _visit(view: View, function: Callable[[slice], None], workers: Workers) -> None:
    """Call a function with every block of a modality."""

    def visit(blocks: Sequence[slice]) -> None:
        for rows in blocks:
            function(rows)

    for _ in workers.map(visit, view.blocks):
        pass


def _total(
    view: View, function: Callable[[slice], tuple[Any, ...]], workers: Workers
) -> tuple[Any, ...]:
    """Call a function with every block; add up its results entry by entry, in order of rows."""

    def visit(blocks: Sequence[slice]) -> tuple[Any, ...]:
        return _added(function(rows) for rows in blocks)

    return _added(workers.map(visit, view.blocks))


def _added(results: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Add tuples entry by entry, and hold only their sum."""
    return reduce(lambda a, b: tuple(map(operator.add, a, b)), results)


def _signs(scores: NDArray[np.floating]) -> NDArray[np.int8]:
    return np.where(scores >= 0, np.int8(1), np.int8(-1))


def _product(a: NDArray[np.floating], b: NDArray[Any]) -> NDArray[np.float64]:
    """Compute AᵀB; the sum over blocks of rows is in float64."""
    total = np.zeros((a.shape[1], b.shape[1]))
    for rows in cut(len(a), b.shape[1]):
        total += a[rows].T @ b[rows].astype(a.dtype, copy=False)
    return total
