"""The first step of AMSH: codes from adaptively marginalised labels, in the notation of the paper.

Each modality has: L (n x c), sparse 0/1 labels; L̂, the rows of L scaled to unit length; V (n x r),
latents with VᵀV = n I and zero column means; B (n x r), codes of ±1; P (r x c), the label map;
T (n x c), the label target with adaptive margins. The *votes* L̂ᵀV (c x r) are, for each label, the
weighted sum of the latents of its samples; L̂ᵀB are the same for codes. The similarity S = L̂ L̂'ᵀ
of two modalities is never computed as a matrix: a product with it is two products with the sparse
L̂. T is not stored either: it is computed from V, P and L, block by block.

A sweep reads and writes V of each modality twice, in blocks that stay in a core's cache, and B
once: O(n r (c + r + labels per sample)). V keeps its own precision. Sums over samples are float64.
So is Z, because its directions differ by orders of magnitude; it is never stored as a whole.

The samples of a modality lie in one or more *parts*, strips of consecutive rows. All work over
samples is a function of a part that returns sums; the sums of the parts are added up in their
order. In one process there is one part. On a cluster each part stays on its worker, and only the
sums travel: their size does not depend on the number of samples.

Source: Luo, Zhang, Li, Jia, Chen, "Adaptive Marginalized Semantic Hashing for Unpaired Cross-Modal
Retrieval", IEEE Transactions on Multimedia 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import linalg
from numpy.typing import NDArray

from ..._core.workers import Executor, add_up
from ._code_parts import (
    add_completion,
    combine_completion,
    complete_whole,
    draw_completion,
    fill_part,
    gram_of_part,
    measure_part,
    product_with_fixed,
    start_part,
    subtract_fixed,
    sum_of_part,
    update_part,
    vote_by_codes,
    whiten_part,
)

__all__ = [
    "ModalityState",
    "Weights",
    "Whitening",
    "orthogonalise",
    "start_codes",
    "sweep",
]

# Directions whose eigenvalue is below this share of the largest are noise. The limit is relative,
# so that the scale of labels and weights does not matter. It is small, because the votes of a
# million samples are that many times larger than the code of one sample, and eigenvalues are
# squares.
_RANK_TOLERANCE = 1e-13


@dataclass(frozen=True)
class Weights:
    """λ, β and η of the objective."""

    lam: float
    beta: float
    eta: float


@dataclass(frozen=True)
class Whitening:
    """
    The affine map that makes latents orthogonal: V = (Z - mean) matrix.

    Attributes
    ----------
    mean : ndarray of float64, shape (r,)
    matrix : ndarray of float64, shape (r, r)
        √n (ZcᵀZc)^(-1/2), where Zc is the centred Z, over the directions in which Z varies.
    rotation : ndarray of float64, shape (r, r)
        Eigenvectors of ZcᵀZc.
    in_span : ndarray of bool, shape (r,)
        For each eigenvector, whether Z varies in its direction. Where Z does not, `_complete` fills
        the direction with random values.
    """

    mean: NDArray[np.float64]
    matrix: NDArray[np.float64]
    rotation: NDArray[np.float64]
    in_span: NDArray[np.bool_]


@dataclass
class ModalityState:
    """
    The state of one modality between two sweeps.

    Attributes
    ----------
    parts : list of CodePart, or what stands for them on a cluster
    n, r : int
        Number of samples, and of bits.
    dtype : dtype
        Of the latents.
    p : ndarray of float64, shape (r, c)
        Label map of the last sweep. It is zero before the first sweep, so that the target is L.
    vt, vv : ndarray of float64, shapes (r, c) and (r, r)
        VᵀT and VᵀV.
    v_votes, b_votes : ndarray of float64, shape (c, r)
        The votes L̂ᵀV and L̂ᵀB.
    label_gram, label_mean : ndarray of float64, shapes (c, c) and (c,)
        L̂ᵀL̂, and the mean row of L̂.
    whitening : Whitening or None
        The map from Z to V in the last sweep.
    residual, alignment : float
        ‖T - VP‖² and tr(BᵀV).
    n_changed : int
        Number of bits that changed in the last sweep.
    """

    parts: list[Any]
    n: int
    r: int
    dtype: np.dtype[Any]
    p: NDArray[np.float64]
    vt: NDArray[np.float64]
    vv: NDArray[np.float64]
    v_votes: NDArray[np.float64]
    b_votes: NDArray[np.float64]
    label_gram: NDArray[np.float64]
    label_mean: NDArray[np.float64]
    whitening: Whitening | None = None
    residual: float = np.nan
    alignment: float = np.nan
    n_changed: int = 0

    @property
    def v(self) -> NDArray[np.floating]:
        """The latents of all samples, in one process."""
        return self.parts[0].v if len(self.parts) == 1 else np.vstack([x.v for x in self.parts])

    @property
    def packed(self) -> NDArray[np.uint8]:
        """The codes of all samples, in one process."""
        packed = [part.packed for part in self.parts]
        return packed[0] if len(packed) == 1 else np.vstack(packed)


def orthogonalise(parts: list[Any], random_state: np.random.RandomState, workers: Executor) -> None:
    """
    Replace Z by the maximiser of tr(VᵀZ) over V with VᵀV = n I and zero column means.

    Parameters
    ----------
    parts : list of CodePart, or what stands for them on a cluster
        Their `v` are Z, of float32 or float64, with more rows than columns; overwritten.
    random_state : RandomState
        Draws the directions that complete a rank-deficient Z; any completion is a maximiser.
    workers : Executor
    """
    n, total = workers.total(sum_of_part, parts)
    mean = total / n
    gram = workers.total(gram_of_part, parts, mean)
    # A constant column is centred before it is squared, so only the square of its rounding is left.
    rounding = (np.finfo(np.float64).eps * np.abs(mean).max()) ** 2
    whitening = _whitening(mean, gram, n, rounding)
    workers.change(whiten_part, parts, mean, whitening.matrix)
    _complete(parts, whitening, random_state, workers)


def start_codes(parts: list[Any], workers: Executor) -> ModalityState:
    """
    Prepare a modality for its first sweep.

    Parameters
    ----------
    parts : list of CodePart, or what stands for them on a cluster
        Their `v` are initial latents, which the sweeps overwrite. They need not be orthogonal.
    workers : Executor
    """
    n, no_latents, vv, label_gram, label_sum = workers.change(start_part, parts)
    n_classes, r = len(label_gram), len(vv)
    state = ModalityState(
        parts=parts,
        n=n,
        r=r,
        dtype=no_latents.dtype,
        p=np.zeros((r, n_classes)),
        vt=np.empty((r, n_classes)),
        vv=vv,
        v_votes=np.empty((n_classes, r)),
        b_votes=np.empty((n_classes, r)),
        label_gram=label_gram,
        label_mean=label_sum / n,
    )
    _measure(state, state.p, None, workers)
    state.b_votes = workers.total(vote_by_codes, parts)
    return state


def sweep(
    modalities: Sequence[ModalityState],
    weights: Weights,
    random_state: np.random.RandomState,
    workers: Executor,
) -> float:
    """
    Update label maps, latents and codes of all modalities once, in place.

    Modalities are updated one after another; each uses the new latents of those before it.

    Returns
    -------
    float
        The objective after the sweep.
    """
    # A linear solve, because VᵀV of the initial latents need not be n I.
    maps: list[NDArray[Any]] = [linalg.solve(m.vv, m.vt) for m in modalities]
    # On a cluster, the work on one modality goes on while this process waits for another.
    filled = [
        workers.begin_change(fill_part, m.parts, m.p, p, weights.eta)
        for m, p in zip(modalities, maps, strict=True)
    ]
    updates = []
    for m, p, sums in zip(modalities, maps, filled, strict=True):
        n, r = m.n, m.r
        others = add_up(other.v_votes for other in modalities if other is not m)
        votes = weights.lam * r * m.b_votes + weights.beta * r * others
        m.whitening = _whitening_of_votes(m, votes, *sums())
        _measure(m, p, votes, workers)
        if _complete(m.parts, m.whitening, random_state, workers):
            _measure(m, p, None, workers)
        m.p, m.vv = p, n * np.eye(r)
        updates.append(
            workers.begin_change(update_part, m.parts, weights.lam * r * m.v_votes, weights.eta)
        )
    for m, updated in zip(modalities, updates, strict=True):
        m.n_changed, m.alignment, m.b_votes = updated()
    return _objective(modalities, weights)


def _whitening_of_votes(
    m: ModalityState,
    votes: NDArray[Any],
    total: NDArray[Any],
    gram: NDArray[Any],
    own_votes: NDArray[Any],
) -> Whitening:
    """
    Compute the map from Z to the new V from sums that `fill_part` returns.

    Z = T Pᵀ + η B + L̂ votes, where T is the target under the old label map. `fill_part` overwrites
    V with T Pᵀ + η B, the *own part* of Z. The votes come from many samples, and are larger than
    the own part of a sample by orders of magnitude. They are not stored with it, so that float32 is
    enough for the own part. The covariance of Z takes them from L̂ᵀL̂ and from L̂ᵀ times the own
    part.
    """
    n = m.n
    own_mean, label_mean = total / n, m.label_mean
    cross = votes.T @ (own_votes - n * np.outer(label_mean, own_mean))
    gram = gram + cross + cross.T - n * np.outer(own_mean, own_mean)
    gram += votes.T @ (m.label_gram - n * np.outer(label_mean, label_mean)) @ votes
    # After centring, columns that are the same for all samples hold only rounding errors.
    rounding = np.finfo(np.float64).eps * np.abs(votes).max() ** 2
    rounding += np.finfo(m.dtype).eps * np.abs(own_mean).max() ** 2
    return _whitening(own_mean + label_mean @ votes, gram, n, rounding)


def _whitening(mean: NDArray[Any], gram: NDArray[Any], n: int, rounding: float) -> Whitening:
    """Make it from the mean and the centred Gram matrix of Z; `rounding` is that of one product."""
    eigenvalues, rotation = linalg.eigh(gram)
    noise = 32 * n * len(gram) * rounding
    in_span = eigenvalues > max(_RANK_TOLERANCE * eigenvalues[-1], noise)
    scales = np.where(in_span, np.sqrt(n / np.where(in_span, eigenvalues, 1)), 0)
    return Whitening(mean, (rotation * scales) @ rotation.T, rotation, in_span)


def _complete(
    parts: list[Any],
    whitening: Whitening,
    random_state: np.random.RandomState,
    workers: Executor,
) -> bool:
    """
    Fill the directions in which Z does not vary with random values; return whether there are any.

    The new columns are orthogonal to the others and to the vector of ones.
    """
    if whitening.in_span.all():
        return False
    known, unknown = (
        whitening.rotation[:, whitening.in_span],
        whitening.rotation[:, ~whitening.in_span],
    )
    if len(parts) == 1:
        random_state.set_state(workers.change(complete_whole, parts, known, unknown, random_state))
        return True
    seed = random_state.randint(2**32, size=4, dtype=np.uint32)
    n = workers.change(draw_completion, parts, seed, unknown.shape[1])
    fixed = known / np.sqrt(n)
    # Twice, because one projection leaves rounding errors of the size of what it removed.
    for _ in range(2):
        products = workers.total(product_with_fixed, parts, fixed, n)
        gram = workers.change(subtract_fixed, parts, fixed, n, products)
        # An orthonormal basis of the columns, from the Cholesky factor of their Gram matrix.
        workers.change(combine_completion, parts, linalg.inv(linalg.cholesky(gram)).T)
    workers.change(add_completion, parts, np.sqrt(n) * unknown.T)
    return True


def _measure(
    m: ModalityState, p: NDArray[Any], votes: NDArray[Any] | None, workers: Executor
) -> None:
    """
    Compute VᵀT, ‖T - VP‖² and L̂ᵀV; if votes are given, first compute V from the own part of Z.

    `fill_part` has left the own part in V. It is multiplied with the whitening matrix W, and
    L̂ (votes W) is added.
    """
    affine = None
    if votes is not None:
        assert m.whitening is not None
        matrix = m.whitening.matrix
        affine = matrix, m.whitening.mean @ matrix, votes @ matrix
    m.vt, m.residual, m.v_votes = workers.change(measure_part, m.parts, p, affine)


def _objective(modalities: Sequence[ModalityState], weights: Weights) -> float:
    """
    Compute the objective that the sweeps minimise, for latents with VᵀV = n I.

        Σ ‖T - VP‖² + λ‖r S - BVᵀ‖² + η‖B - V‖²  +  β Σ_{pairs} ‖r S' - VV'ᵀ‖²

    Notes
    -----
    For orthogonal latents, ‖BVᵀ‖² = n² r and ‖VV'ᵀ‖² = n n' r are constants. The products with S
    are computed from L̂ᵀB and L̂ᵀV, so nothing has the size n x n.
    """
    total = 0.0
    for i, m in enumerate(modalities):
        n, r = m.n, m.r
        fit = r**2 * np.sum(m.label_gram**2) - 2 * r * np.sum(m.b_votes * m.v_votes) + n**2 * r
        total += m.residual + weights.lam * fit + weights.eta * 2 * (n * r - m.alignment)
        for other in modalities[:i]:
            fit = r**2 * np.sum(m.label_gram * other.label_gram)
            fit += -2 * r * np.sum(m.v_votes * other.v_votes) + n * other.n * r
            total += weights.beta * fit
    return float(total)
