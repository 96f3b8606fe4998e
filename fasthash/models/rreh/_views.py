"""One modality of `RREH`, and its parts: rows, latent rows, variates and relations of some samples.

On one machine, a view of all rows is the only part of itself. On a cluster there are as many parts
as the first modality has partitions. A pair is in the part where its row of the first modality is,
and its other rows are sent there. A row without a partner stays where it is if its modality has as
many partitions. The functions of parts are called by an `Executor`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._core.cluster_rows import ClusterRows
from ..._core.features import BlockMap
from ..._core.pieces import cut
from ..._core.rows import Rows
from ..._core.workers import Executor, Workers
from ._anchor_reconstruction import reconstruct
from ._features import Features
from ._relations import DenseRelations, NoRelations, Relations, SparseRelations

__all__ = [
    "View",
    "in_order",
    "joined_at_anchors",
    "make_parts",
    "project",
    "relate",
    "rows_of",
    "spread_of_variates",
    "variates_at_anchors",
]


@dataclass
class View:
    """
    One modality, with all that the sweeps need of it, or a part of its rows.

    Attributes
    ----------
    name : str
    rows : Rows
    latent_rows : ndarray of int64, shape (n,)
        For each row of this modality, its row in the latents. The latents of pairs come first, and
        all modalities share them. In a part, these are the latents of the part.
    n_pairs, n_bits : int
        A part counts its own pairs.
    anchors : ndarray of int64
        The pairs that are anchors.
    anchor_numbers : ndarray of int64
        Their numbers among the anchors of all parts.
    offset : ndarray, shape (d,)
    scale : float
        Such that rows of ``(x - offset) * scale`` have a mean squared norm of n_bits.
    features : Features
        φ, scaled so that rows have a mean squared norm of 1.
    parts : list
        The parts of this view, for an executor.
    part_rows : list of ndarray of int64
        For each part, the numbers of its rows, ascending.
    variates : ndarray, shape (n, q)
        Y, centred on the pairs; only in a part.
    relations : Relations
        S, with a row for each row of this modality; only in a part.
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
    anchors: NDArray[np.int64]
    anchor_numbers: NDArray[np.int64]
    offset: NDArray[np.floating]
    scale: float
    features: Features = field(init=False)
    parts: list[Any] = field(init=False)
    part_rows: list[NDArray[np.int64]] = field(init=False)
    variates: NDArray[np.floating] = field(init=False)
    relations: Relations = field(init=False)
    reliability: float = 0.0
    weight: float = 0.0

    def __sizeof__(self) -> int:
        # Dask asks for it, to keep tasks where the parts are.
        return object.__sizeof__(self) + self.basis.nbytes + self.latent_rows.nbytes

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
        """The blocks in which the rows are read; an empty one if a part has no rows."""
        blocks = cut(len(self.rows), max(self.feature_map.n_out, self.rows.shape[1]))
        return blocks or [slice(0, 0)]

    def copy(self) -> View:
        """A part that may be changed without a change of this one."""
        return copy.copy(self)

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

    def __init__(self, view: View, factor: float) -> None:
        self._view, self._factor = view, factor
        self.dtype = view.rows.dtype
        self.shape = (len(view.rows), view.rows.shape[1] + view.variates.shape[1])

    def read(self, rows: slice) -> NDArray[np.floating]:
        view = self._view
        left = view.read(rows) * view.rows.dtype.type(view.n_bits**-0.5)
        return np.hstack([left, view.variates[rows] * view.rows.dtype.type(self._factor)])


def rows_of(view: View, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of a modality that belong to pairs."""
    rows = np.empty(view.n_pairs, np.int64)
    paired = np.flatnonzero(view.latent_rows < view.n_pairs)
    rows[view.latent_rows[paired]] = paired
    return rows[pairs]


def make_parts(views: Sequence[View], workers: Executor) -> None:
    """Make the parts of the views, which have their features by now."""
    first = views[0].rows
    if not isinstance(first, ClusterRows):
        for view in views:
            view.parts, view.part_rows = [view], [np.arange(len(view.rows))]
        return
    n_parts, n_pairs, anchors = len(first.bounds) - 1, views[0].n_pairs, views[0].anchors
    part_of_pair = _parts_of_rows(first, n_parts)[rows_of(views[0], np.arange(n_pairs))]
    pairs = _grouped(part_of_pair, n_parts)
    own_number = np.empty(n_pairs, np.int64)
    for few in pairs:
        own_number[few] = np.arange(len(few))
    anchor_numbers = _grouped(part_of_pair[anchors], n_parts)
    n_latents = [len(few) for few in pairs]
    for view in views:
        rows = view.rows
        assert isinstance(rows, ClusterRows)
        part_of = _parts_of_rows(rows, n_parts)
        part_of[rows_of(view, np.arange(n_pairs))] = part_of_pair
        view.part_rows = _grouped(part_of, n_parts)
        own = []
        for part, numbers in enumerate(view.part_rows):
            latent_rows = view.latent_rows[numbers]
            paired = latent_rows < n_pairs
            latent_rows[paired] = own_number[latent_rows[paired]]
            n_unpaired = len(latent_rows) - len(pairs[part])
            latent_rows[~paired] = n_latents[part] + np.arange(n_unpaired)
            n_latents[part] += n_unpaired
            few = anchor_numbers[part]
            own.append((latent_rows, len(pairs[part]), own_number[anchors[few]], few))
        shared = view.copy()
        shared.rows, shared.latent_rows = Rows(np.empty((0, 1)), rows.dtype), np.empty(0, np.int64)
        del shared.part_rows
        arranged = rows.arranged(view.part_rows)
        view.parts = workers.made(
            _part, workers.beside([arranged.parts(), workers.spread(own)]), shared
        )


def _parts_of_rows(rows: ClusterRows, n_parts: int) -> NDArray[np.int64]:
    """For each row, the number of its partition, as a share of the number of partitions."""
    sizes = np.diff(rows.bounds)
    return np.repeat(np.arange(len(sizes)) * n_parts // len(sizes), sizes)


def _grouped(part_of: NDArray[np.int64], n_parts: int) -> list[NDArray[np.int64]]:
    """For each part, the places where its number is, ascending."""
    ends = np.cumsum(np.bincount(part_of, minlength=n_parts))[:-1]
    return np.split(np.argsort(part_of, kind="stable"), ends)


def _part(own: list[Any], workers: Workers, view: View) -> View:
    """Make the part of a view that has these rows, latent rows and pairs."""
    part = view.copy()
    part.rows, (part.latent_rows, part.n_pairs, part.anchors, part.anchor_numbers) = own
    return part


def in_order(
    found: Sequence[tuple[NDArray[np.int64], NDArray[np.floating]]], n_anchors: int
) -> NDArray[np.floating]:
    """Put values of the anchors of all parts into the order of the anchors."""
    values = np.empty((n_anchors, found[0][1].shape[1]), found[0][1].dtype)
    for numbers, own in found:
        values[numbers] = own
    return values


def project(
    view: View, workers: Workers, projection: NDArray[np.float64], shift: NDArray[np.float64]
) -> None:
    """Compute the variates of a part."""
    dtype = view.rows.dtype
    out = np.empty((len(view.rows), projection.shape[1]), dtype)
    projection, shift = projection.astype(dtype), shift.astype(dtype)

    def visit(blocks: Sequence[slice]) -> None:
        for rows in blocks:
            out[rows] = view.feature_map.transform(view.rows.read(rows)) @ projection - shift

    for _ in workers.map(visit, view.blocks):
        pass
    view.variates = out


def spread_of_variates(view: View, workers: Workers) -> np.float64:
    """Compute the sum of the squared variates of a part."""
    total: np.float64 = np.einsum("ij,ij->", view.variates, view.variates, dtype=np.float64)
    return total


def variates_at_anchors(
    view: View, workers: Workers
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Variates of the anchors of a part, and the numbers of these anchors."""
    return view.anchor_numbers, view.variates[rows_of(view, view.anchors)]


def joined_at_anchors(
    view: View, workers: Workers, factor: float
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Features and variates of the anchors of a part, and the numbers of these anchors."""
    joined = _JoinedRows(view, factor)
    none = np.empty((0, joined.shape[1]), joined.dtype)
    found = (joined.read(slice(row, row + 1)) for row in rows_of(view, view.anchors))
    return view.anchor_numbers, np.concatenate([none, *found])


def relate(
    view: View,
    workers: Workers,
    anchors: NDArray[np.floating],
    factor: float,
    weight: float,
    kind: str,
    k: int,
    regularisation: float,
) -> None:
    """Set the weight of unpaired rows and compute the relations of a part to all anchors."""
    view.weight = weight
    view.relations = _relations(
        view, _JoinedRows(view, factor), anchors, kind, k, regularisation, workers
    )


def _relations(
    view: View,
    joined: _JoinedRows,
    anchors: NDArray[np.floating],
    kind: str,
    k: int,
    regularisation: float,
    workers: Workers,
) -> Relations:
    if view.n_unpaired == 0:
        return NoRelations(len(anchors))
    if kind == "dense":
        return DenseRelations(joined, anchors, regularisation)
    return SparseRelations(reconstruct(joined, anchors, workers, k, regularisation))
