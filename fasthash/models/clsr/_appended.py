"""What is appended to the latents of the heads, and how much it weighs.

Canonical variates of ridge regularised canonical correlation analysis are appended beside the
reconstruction. With few items they know more than the networks do. `append_best` fits them, and
chooses the weights of both on validation data.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._core.features import unit_rows
from ..._core.pieces import cut
from ...metrics.pairs import expected_recall
from .._canonical import canonical_directions, pair_covariances
from ._latent_maps import CanonicalVariates, DenseHead, Head, Reconstruction
from ._problem import RECALL_RANKS, Problem

__all__ = ["append_best"]

Appended = tuple[Reconstruction | None, CanonicalVariates | None]

# Choices on validation data. Weights are shares of u·v, the product of the heads' latents.
_WEIGHTS_OF_RECONSTRUCTION = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
_WEIGHTS_OF_VARIATES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_RIDGES = (0.01, 0.1, 1.0, 10.0, 100.0)
_POWERS = (0.5, 1.0, 2.0, 3.0)
# Without validation data.
_USUAL_RIDGE = 1.0
_USUAL_POWER = 1.0

_MOST_VARIATES = 128

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class _Covariances:
    """Means and covariances of the paired preprocessed features."""

    means: tuple[NDArray[np.float64], NDArray[np.float64]]
    covariances: list[list[NDArray[np.float64]]]


def append_best(
    problem: Problem,
    heads: Sequence[Head],
    reconstructions: Sequence[Reconstruction | None],
    *,
    choose_reconstruction: bool,
    variates_weight: float | None,
    usual_variates_weight: float,
) -> list[Appended]:
    """
    Choose what is appended to the latents of the heads.

    Parameters
    ----------
    problem : Problem
    heads : sequence of Head
        Trained, for each modality.
    reconstructions : sequence of Reconstruction or None
        Of the training, with the weight that it used.
    choose_reconstruction : bool
        Whether to choose the weight of the reconstruction on the validation data, if there are any.
    variates_weight : float or None
        Weight of the canonical variates; None to choose it, too.
    usual_variates_weight : float
        Their weight if there are no validation data to choose it.

    Returns
    -------
    list of (Reconstruction or None, CanonicalVariates or None)
        For each modality.
    """
    first, validation = reconstructions[0], problem.validation
    of_reconstruction: Sequence[float] = (0.0 if first is None else first.weight,)
    of_variates: Sequence[float] = (
        usual_variates_weight if variates_weight is None else variates_weight,
    )
    if validation is not None and choose_reconstruction and first is not None:
        of_reconstruction = _WEIGHTS_OF_RECONSTRUCTION
    if validation is not None and variates_weight is None:
        of_variates = _WEIGHTS_OF_VARIATES
    variates = None
    if max(of_variates) > 0:
        covariances = _covariances_of(problem)
        variates = (
            _scaled(covariances, *_directions(covariances, _USUAL_RIDGE), _USUAL_POWER)
            if validation is None
            else _best_variates(covariances, *validation)
        )
    weights = (of_reconstruction[0], of_variates[0])
    if validation is not None and len(of_reconstruction) * len(of_variates) > 1:
        choices = itertools.product(of_reconstruction, of_variates)
        weights = _best_weights(choices, heads, reconstructions, variates, *validation)
    return _with_weights(reconstructions, variates, *weights)


def _best_weights(
    choices: Iterable[tuple[float, float]],
    heads: Sequence[Head],
    reconstructions: Sequence[Reconstruction | None],
    variates: Sequence[DenseHead] | None,
    x: Pair,
    pairs: NDArray[np.int64],
) -> tuple[float, float]:
    """Choose weights of reconstruction and variates; among equal ones, the first."""
    vectors = []
    for i, values in enumerate(x):
        latents, reconstruction = unit_rows(heads[i](values)), reconstructions[i]
        nothing = latents[:, :0]
        vectors.append(
            (
                latents,
                nothing if reconstruction is None else reconstruction.vectors(latents, values),
                nothing if variates is None else unit_rows(variates[i](values)),
            )
        )

    def score(choice: tuple[float, float]) -> float:
        shares = np.sqrt(np.array([1, *choice], np.float32))
        first, second = (
            np.hstack([share * part for share, part in zip(shares, parts, strict=True)])
            for parts in vectors
        )
        return _sum_of_recalls(first, second, pairs)

    return max(choices, key=score)


def _sum_of_recalls(first: NDArray[Any], second: NDArray[Any], pairs: NDArray[np.int64]) -> float:
    """Sum R@1, R@5 and R@10 over both directions, of latents or of packed codes; at most 6."""
    return sum(
        sum(expected_recall(queries, database, order, RECALL_RANKS).values())
        for queries, database, order in ((first, second, pairs), (second, first, pairs[:, ::-1]))
    )


def _covariances_of(problem: Problem) -> _Covariances:
    items = problem.items
    singles = np.repeat(items.rows, np.diff(items.starts))
    rows = (singles, items.partners) if items.one == 0 else (items.partners, singles)
    means = tuple(
        x[own].mean(axis=0, dtype=np.float64) for x, own in zip(problem.x, rows, strict=True)
    )
    blocks = (
        [
            x[own[block]] - mean.astype(np.float32)
            for x, own, mean in zip(problem.x, rows, means, strict=True)
        ]
        for block in cut(len(singles), sum(x.shape[1] for x in problem.x))
    )
    return _Covariances((means[0], means[1]), pair_covariances(blocks))


def _directions(
    found: _Covariances, ridge: float
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    sizes = [len(mean) for mean in found.means]
    ridges = [
        # Features without variance have no ridge of their own.
        max(ridge * float(np.trace(row[i])) / sizes[i], 1e-12)
        for i, row in enumerate(found.covariances)
    ]
    return canonical_directions(found.covariances, ridges, min(_MOST_VARIATES, *sizes))


def _scaled(
    found: _Covariances,
    directions: Sequence[NDArray[np.float64]],
    correlations: NDArray[np.float64],
    power: float,
) -> tuple[DenseHead, DenseHead]:
    scale = np.maximum(correlations, 0) ** power
    first, second = (
        DenseHead(
            (
                (
                    np.ascontiguousarray(direction * scale, np.float32),
                    np.ascontiguousarray(-mean @ (direction * scale), np.float32),
                ),
            )
        )
        for direction, mean in zip(directions, found.means, strict=True)
    )
    return first, second


def _best_variates(
    found: _Covariances, x: Pair, pairs: NDArray[np.int64]
) -> tuple[DenseHead, DenseHead]:
    """Choose the ridge, and the power of the correlations, by the variates alone."""
    best, best_score = None, -1.0
    for ridge in _RIDGES:
        directions, correlations = _directions(found, ridge)
        for power in _POWERS:
            heads = _scaled(found, directions, correlations, power)
            first, second = (unit_rows(head(v)) for head, v in zip(heads, x, strict=True))
            score = _sum_of_recalls(first, second, pairs)
            if score > best_score:
                best, best_score = heads, score
    assert best is not None, "recalls are at least 0"
    return best


def _with_weights(
    reconstructions: Sequence[Reconstruction | None],
    variates: Sequence[DenseHead] | None,
    of_reconstruction: float,
    of_variates: float,
) -> list[Appended]:
    appended: list[Appended] = []
    for i, reconstruction in enumerate(reconstructions):
        kept = None
        if reconstruction is not None and of_reconstruction > 0:
            kept = replace(reconstruction, weight=of_reconstruction)
        own = None
        if variates is not None and of_variates > 0:
            before = 1 + 2 * of_reconstruction * (kept is not None)
            own = CanonicalVariates(variates[i], of_variates / before)
        appended.append((kept, own))
    return appended
