"""The result of a fit: maps to latents, and the projection from latents to the bits of a code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from ..._core.suspicious import without_warnings
from ...codes import pack_signs
from ...metrics.pairs import expected_hits
from .._preprocessing import Preprocessing
from ..baselines.single_view import ITQ
from ._appended import Appended
from ._inputs import group_pairs
from ._latent_maps import Head, LatentMap, latents_of, with_constant
from ._problem import RECALL_RANKS, Problem
from ._refinement import fit_refinement

__all__ = ["make_latent_maps"]

# Number of items of each modality from which ITQ learns.
_ITQ_ROWS = 16384
_ITQ_ITERATIONS = 50

# Codes of principal components times this power of their variance are tried as well: of as many as
# there are bits, and of fewer with so many thresholds each. If they gain more recall on validation
# items than so many standard errors of this gain, the better ones are taken.
_POWER_OF_VARIANCE = 0.25
_THRESHOLDS = 4
_STANDARD_ERRORS = 2.0

# Codes of as many components as bits are refined if they have at least so many bits.
_FEWEST_REFINED_BITS = 128

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
        The same for both modalities; the last row has offsets if latent maps end with a constant.
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

    n_out = one.n_latents
    if n_bits == n_out:
        return latent_maps, dict.fromkeys(problem.names, np.eye(n_bits))
    stacked = np.vstack(centred)

    def fit(directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Principal components along these directions, rotated by iterative quantisation."""
        itq = ITQ(n_bits, n_iterations=_ITQ_ITERATIONS, random_state=random_state)
        # A latent that does not vary is not a fault of the features.
        with without_warnings():
            fitted = itq.fit(stacked @ directions.astype(np.float32))
        return directions @ fitted.projection_

    all_scales = _scales(appended, n_out, trained_weight, n_bits)
    found = [fit(np.diag(scales)[:, scales > 0]) for scales in all_scales]
    best, first = found[0], 0
    if problem.validation is not None:
        pairs = problem.validation[1]
        recalls = [_recalls(held_out, projection, pairs) for projection in found]
        first = int(np.argmax([of_items.mean() for of_items in recalls]))
        best, best_recalls = found[first], recalls[first]
        tried = [
            fit(_weighted_components(stacked, n_bits)),
            _with_thresholds(stacked, n_bits, random_state),
        ]
        for projection in tried:
            its_recalls = _recalls(held_out, projection, pairs)
            if _gains(recalls[first], its_recalls) and its_recalls.mean() > best_recalls.mean():
                best, best_recalls = projection, its_recalls
        if may_be_signs and n_bits == n_out - sum(_widths(appended)):
            signs = np.eye(n_out, n_bits)
            least = _SHARE_OF_SIGNS * best_recalls.mean()
            if _recalls(held_out, signs, pairs).mean() >= least:
                best = signs
    if best is found[first] and n_bits >= _FEWEST_REFINED_BITS:
        refinement = fit_refinement(stacked, n_bits, random_state)
        latent_maps = {
            name: replace(one, refinement=refinement) for name, one in latent_maps.items()
        }
        best = np.eye(n_bits)
    elif len(best) > n_out:
        latent_maps = {name: replace(one, has_constant=True) for name, one in latent_maps.items()}
    return latent_maps, dict.fromkeys(problem.names, best)


def _weighted_components(x: NDArray[np.float32], n_bits: int) -> NDArray[np.float64]:
    """First principal components of centred rows, times a power of their variance."""
    variances, components = np.linalg.eigh((x.T @ x).astype(np.float64) / len(x))
    return components[:, -n_bits:] * np.maximum(variances[-n_bits:], 0) ** _POWER_OF_VARIANCE


def _with_thresholds(
    x: NDArray[np.float32], n_bits: int, random_state: np.random.RandomState
) -> NDArray[np.float64]:
    """
    First principal components, weighted and rotated at random, each with several thresholds.

    The thresholds are quantiles of centred rows. So the Hamming distance of two samples along a
    direction is the number of thresholds between them. The last row of the result has the
    thresholds, negated: it is multiplied with a constant.
    """
    n_directions = -(-n_bits // _THRESHOLDS)
    rotation = linalg.qr(random_state.standard_normal((n_directions, n_directions)))[0]
    directions = _weighted_components(x, n_directions) @ rotation
    projected = x @ directions.astype(np.float32)
    level, direction = np.divmod(np.arange(n_bits), n_directions)
    shares = (level + 0.5) / np.bincount(direction)[direction]
    thresholds = [
        np.quantile(projected[:, i], share) for i, share in zip(direction, shares, strict=True)
    ]
    return np.vstack([directions[:, direction], np.negative(thresholds)])


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


def _gains(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """Whether the same items gain more recall than chance explains; not with a single item."""
    if len(before) < 2:
        return False
    gain = after - before
    return bool(gain.mean() > _STANDARD_ERRORS * gain.std(ddof=1) / np.sqrt(len(gain)))


def _recalls(
    latents: Sequence[NDArray[np.float32]],
    projection: NDArray[np.float64],
    pairs: NDArray[np.int64],
) -> NDArray[np.float64]:
    """
    What each item adds to the sum of recalls of codes over ranks and directions.

    If the projection has one more row than there are latents, this row has an offset for each bit.
    The mean over items is this sum, at most 6. An item is a row of one modality with all its
    partners: these answer alike, so they must not count as independent of each other.
    """
    items = group_pairs(pairs)
    sides = [items.one, 1 - items.one]
    if len(projection) > latents[0].shape[1]:
        latents = [with_constant(x) for x in latents]
    first, second = (pack_signs(latents[i] @ projection.astype(np.float32)) for i in sides)
    of_rows, of_partners = (
        np.sum(list(expected_hits(queries, database, order, RECALL_RANKS).values()), axis=0)
        for queries, database, order in (
            (first, second, pairs[:, sides]),
            (second, first, pairs[:, sides[::-1]]),
        )
    )
    # Recalls of partners are in the order of their rows.
    together = of_partners[np.searchsorted(np.sort(items.partners), items.partners)]
    share = len(items.rows) / len(items.partners)
    return of_rows + share * np.add.reduceat(together, items.starts[:-1])
