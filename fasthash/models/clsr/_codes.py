"""The result of a fit: maps to latents, and the projection from latents to the bits of a code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..._core.suspicious import without_warnings
from ...codes import pack_signs
from .._preprocessing import Preprocessing
from ..baselines.single_view import ITQ
from ._appended import Appended, sum_of_recalls
from ._latent_maps import Head, LatentMap, latents_of
from ._problem import Problem

__all__ = ["make_latent_maps"]

# Number of items of each modality from which ITQ learns.
_ITQ_ROWS = 16384
_ITQ_ITERATIONS = 50

# Signs of the heads' latents are the codes if their recalls are at least this share of the best.
_SHARE_OF_SIGNS = 0.99


def make_latent_maps(
    problem: Problem,
    preprocessing: dict[str, Preprocessing],
    heads: Sequence[Head],
    appended: Sequence[Appended],
    trained_weight: float,
    n_bits: int,
    may_be_signs: bool,
    random_state: np.random.RandomState,
) -> tuple[dict[str, LatentMap], dict[str, NDArray[np.float64]]]:
    """
    Centre the latents of the training rows, and find the projection from latents to bits.

    Parameters
    ----------
    problem : Problem
    preprocessing : dict of str to Preprocessing
    heads : sequence of Head
    appended : sequence of (Reconstruction or None, CanonicalVariates or None)
        The result of `append_best`.
    trained_weight : float
        Weight of the reconstruction before it was chosen on validation data.
    n_bits : int
    may_be_signs : bool
        Whether codes may be the signs of the heads' latents if there are as many bits.
    random_state : RandomState

    Returns
    -------
    latent_maps : dict of str to LatentMap
    projections : dict of str to ndarray of float64, shape (n_out, n_bits)
        The same for both modalities.
    """
    latent_maps, centred, held_out = {}, [], []
    items = problem.items
    for i, name in enumerate(problem.names):
        # One row of each modality per item, so that both modalities have the same weight.
        chosen = items.rows if i == items.one else items.partners[items.starts[:-1]]
        reconstruction, variates = appended[i]
        latents = latents_of(problem.x[i], heads[i], reconstruction, variates)
        mean = latents.mean(axis=0, dtype=np.float64)
        one = LatentMap(preprocessing[name], heads[i], reconstruction, mean, variates)
        latent_maps[name] = one
        centred.append(latents[chosen[:_ITQ_ROWS]] - mean.astype(np.float32))
        if problem.validation is not None:
            own = latents_of(problem.validation[0][i], heads[i], reconstruction, variates)
            held_out.append(own - mean.astype(np.float32))

    def fit(scales: NDArray[np.float64]) -> NDArray[np.float64]:
        """Principal components of both modalities together, rotated by iterative quantisation."""
        if n_bits == len(scales) and scales.all():
            return np.eye(n_bits)
        used, projection = scales > 0, np.zeros((len(scales), n_bits))
        scaled = np.vstack([x[:, used] for x in centred]) * scales[used].astype(np.float32)
        itq = ITQ(n_bits, n_iterations=_ITQ_ITERATIONS, random_state=random_state)
        # A latent that does not vary is not a fault of the features.
        with without_warnings():
            projection[used] = scales[used, None] * itq.fit(scaled).projection_
        return projection

    found = [fit(scales) for scales in _scales(appended, one.n_out, trained_weight, n_bits)]
    best = found[0]
    if problem.validation is not None:
        n_latent = one.n_out - sum(_widths(appended))
        if may_be_signs and n_bits == n_latent < one.n_out:
            found.append(np.eye(one.n_out, n_bits))
        if len(found) > 1:
            scores = [_score(held_out, p, problem.validation[1]) for p in found]
            best = found[int(np.argmax(scores))]
            if may_be_signs and scores[-1] >= _SHARE_OF_SIGNS * max(scores):
                best = found[-1]
    return latent_maps, dict.fromkeys(problem.names, best)


def _widths(appended: Sequence[Appended]) -> tuple[int, int]:
    """Numbers of columns of reconstructions, and of variates."""
    (reconstruction, variates), (other, _) = appended
    n_reconstructed = 0
    if reconstruction is not None and other is not None:
        n_reconstructed = len(reconstruction.mean) + len(other.mean)
    return n_reconstructed, 0 if variates is None else len(variates.head.layers[-1][1])


def _scales(
    appended: Sequence[Appended], n_out: int, trained_weight: float, n_bits: int
) -> list[NDArray[np.float64]]:
    """Scales of the latents from which codes are tried: as they are, and without variates."""
    scales = [np.ones(n_out)]
    n_reconstructed, n_variates = _widths(appended)
    if n_variates and n_bits <= n_out - n_variates:
        without = np.ones(n_out)
        without[n_out - n_variates :] = 0
        reconstruction = appended[0][0]
        if reconstruction is not None:
            share = np.sqrt(trained_weight / reconstruction.weight)
            without[n_out - n_variates - n_reconstructed : n_out - n_variates] = share
        scales.append(without)
    return scales


def _score(
    latents: Sequence[NDArray[np.float32]],
    projection: NDArray[np.float64],
    pairs: NDArray[np.int64],
) -> float:
    first, second = (pack_signs(x @ projection.astype(np.float32)) for x in latents)
    return sum_of_recalls(first, second, pairs)
