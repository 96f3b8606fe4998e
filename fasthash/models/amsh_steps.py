"""The steps of AMSH, one function each, in the notation of the paper.

Per modality: L (n x c) sparse 0/1 labels, L̂ its rows scaled to unit length, V (n x r) latents with
VᵀV = n I and zero column means, B (n x r) codes of ±1, P (r x c) label map, T (n x c) label target
with adaptive margins. The similarity S = L̂ L̂'ᵀ of two modalities is never formed: a product with it
is two products with the sparse L̂.

All linear algebra here is numpy's: numpy and scipy bring a BLAS each, and two sets of threads that
take turns at small matrices cost more than the arithmetic.

Source: Luo, Zhang, Li, Jia, Chen, "Adaptive Marginalized Semantic Hashing for Unpaired Cross-Modal
Retrieval", IEEE Transactions on Multimedia 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy import linalg
from numpy.typing import NDArray

from ..features import blocks_of_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# Directions whose eigenvalue is below this share of the largest are noise. Relative, so that the
# scale of labels and weights does not matter.
_RANK_TOLERANCE = 1e-10


def signs(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """±1 with sign(0) = +1: a bit at zero must not stay there."""
    return np.where(x >= 0, 1.0, -1.0)


def unit_rows(labels: csr_array) -> csr_array:
    """L̂: 0/1 rows scaled to unit length; a row without labels stays zero."""
    counts = np.diff(labels.indptr)
    scaled = labels.copy()
    scaled.data = np.repeat(1.0 / np.sqrt(np.maximum(counts, 1)), counts)
    return scaled


def orthogonal_latents(z: NDArray, random_state: np.random.RandomState) -> NDArray[np.float64]:
    """
    Maximise tr(VᵀZ) over V with VᵀV = n I and zero column means.

    Parameters
    ----------
    z : ndarray, shape (n, r)
        With r < n.
    random_state : RandomState
        Draws the directions that complete a rank-deficient Z; any completion is a maximiser.

    Returns
    -------
    ndarray of float64, shape (n, r)

    Notes
    -----
    V = √n Zc (ZcᵀZc)^(-1/2) with Zc the centred Z; O(n r² + r³).
    """
    n, r = z.shape
    centred = z - z.mean(axis=0)
    eigenvalues, rotation = linalg.eigh(centred.T @ centred)
    # What centring leaves of a constant column is rounding, not a direction.
    rounding = z.size * (4 * np.finfo(np.float64).eps * np.abs(z).max()) ** 2
    kept = eigenvalues > max(_RANK_TOLERANCE * eigenvalues[-1], rounding)
    directions = np.empty((n, r))
    directions[:, kept] = centred @ (rotation[:, kept] / np.sqrt(eigenvalues[kept]))
    if not kept.all():
        directions[:, ~kept] = _further_directions(
            directions[:, kept], r - kept.sum(), random_state
        )
    return np.sqrt(n) * directions @ rotation.T


def _further_directions(
    directions: NDArray, n_more: int, random_state: np.random.RandomState
) -> NDArray[np.float64]:
    """Random orthonormal columns, orthogonal to the given ones and to the ones vector."""
    n = len(directions)
    fixed = np.column_stack([np.full(n, n**-0.5), directions])
    more = random_state.standard_normal((n, n_more))
    # Twice, because one projection leaves rounding errors of the size of what it removed.
    for _ in range(2):
        more -= fixed @ (fixed.T @ more)
        more, _ = linalg.qr(more)
    return more


def label_target(labels: csr_array, v: NDArray, p: NDArray) -> NDArray[np.float64]:
    """T = max(VP, 1) where a sample has the label, min(VP, 0) elsewhere: the best margins."""
    prediction = v @ p
    target = np.minimum(prediction, 0)
    rows = np.repeat(np.arange(labels.shape[0]), np.diff(labels.indptr))
    columns = labels.indices
    target[rows, columns] = np.maximum(prediction[rows, columns], 1)
    return target


def label_map(v: NDArray, target: NDArray) -> NDArray[np.float64]:
    """P = (VᵀV)⁻¹ VᵀT; solved, because given latents may be ill-conditioned."""
    return linalg.solve(v.T @ v, v.T @ target)


def latents(
    target: NDArray,
    p: NDArray,
    unit_labels: csr_array,
    b: NDArray,
    other_votes: NDArray,
    lam: float,
    beta: float,
    eta: float,
    random_state: np.random.RandomState,
) -> NDArray[np.float64]:
    """
    V from Z = T Pᵀ + λ r L̂(L̂ᵀB) + η B + β r L̂ Σ(L̂'ᵀV'), the sum over the other modalities.

    `other_votes` is that sum, shape (c, r): all that a modality sees of the others.
    """
    r = b.shape[1]
    votes = lam * r * (unit_labels.T @ b) + beta * r * other_votes
    return orthogonal_latents(target @ p.T + unit_labels @ votes + eta * b, random_state)


def codes(unit_labels: csr_array, v: NDArray, lam: float, eta: float) -> NDArray[np.float64]:
    """B = sign(λ r L̂(L̂ᵀV) + η V)."""
    r = v.shape[1]
    return signs(lam * r * (unit_labels @ (unit_labels.T @ v)) + eta * v)


def objective(
    targets: Sequence[NDArray],
    unit_labels: Sequence[csr_array],
    p: Sequence[NDArray],
    v: Sequence[NDArray],
    b: Sequence[NDArray],
    lam: float,
    beta: float,
    eta: float,
) -> float:
    """
    The quantity the sweeps minimise, for latents with VᵀV = n I.

        Σ ‖T - VP‖² + λ‖r S - BVᵀ‖² + η‖B - V‖²  +  β Σ_{pairs} ‖r S' - VV'ᵀ‖²

    Notes
    -----
    With orthogonal latents ‖BVᵀ‖² = n² r and ‖VV'ᵀ‖² = n n' r are constants, and the products with
    S go through L̂ᵀB and L̂ᵀV: O(n r · labels per sample), nothing of size n x n.
    """
    r = v[0].shape[1]
    grams = [(labels.T @ labels).toarray() for labels in unit_labels]
    v_votes = [labels.T @ x for labels, x in zip(unit_labels, v, strict=True)]
    total = 0.0
    for m in range(len(v)):
        n = len(v[m])
        b_votes = unit_labels[m].T @ b[m]
        total += np.sum((targets[m] - v[m] @ p[m]) ** 2)
        fit = r**2 * np.sum(grams[m] ** 2) - 2 * r * np.sum(b_votes * v_votes[m]) + n**2 * r
        total += lam * fit + eta * np.sum((b[m] - v[m]) ** 2)
        for other in range(m):
            fit = r**2 * np.sum(grams[m] * grams[other])
            fit += -2 * r * np.sum(v_votes[m] * v_votes[other]) + n * len(v[other]) * r
            total += beta * fit
    return float(total)


def inverse_factor(x: NDArray[np.floating], ridge: float) -> NDArray[np.float64]:
    """
    W with WᵀW = (XᵀX + ridge I)⁻¹, the inverse of the Cholesky factor.

    Accumulated and factored in float64 whatever X is. Inverting the factor loses half the digits
    that inverting the matrix would. ValueError where rounding is larger than the ridge.
    """
    gram = np.zeros((x.shape[1], x.shape[1]))
    for rows in blocks_of_rows(*x.shape):
        block = x[rows].astype(np.float64, copy=False)
        gram += block.T @ block
    gram.flat[:: len(gram) + 1] += ridge
    try:
        return linalg.inv(linalg.cholesky(gram))
    except linalg.LinAlgError:
        raise ValueError(
            f"ridge={ridge} is lost in rounding beside features whose squares sum to "
            f"{gram.diagonal().max():.1g}: scale the features down or raise the ridge"
        ) from None


def hash_function(
    x: NDArray[np.floating], b: NDArray, factor: NDArray[np.float64], n_sweeps: int
) -> NDArray[np.float64]:
    """
    F of the hash function sign(XF), by ridge regression on bits with adaptive margins.

    A bit already on the right side beyond its margin costs nothing: T = B ∘ max(1, B ∘ XF).
    `factor` is what `inverse_factor` gives for X; it serves every sweep and every code length.
    """
    target = b
    for sweep in range(n_sweeps):
        f = factor.T @ (factor @ (x.T @ target))
        if sweep + 1 < n_sweeps:
            target = b * np.maximum(1, b * (x @ f))
    return f
