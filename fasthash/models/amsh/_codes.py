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

Source: Luo, Zhang, Li, Jia, Chen, "Adaptive Marginalized Semantic Hashing for Unpaired Cross-Modal
Retrieval", IEEE Transactions on Multimedia 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import linalg
from numpy.typing import NDArray

from ..._core.pieces import cut
from ..._core.workers import Workers, add_up
from ..._kernels import discrete as kernels
from ...codes import pack_signs

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "LabelRows",
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

# Values in a block of latents: 1 MiB in float32, which fits into a core's cache.
_BLOCK_VALUES = 1 << 18


@dataclass(frozen=True)
class Weights:
    """λ, β and η of the objective."""

    lam: float
    beta: float
    eta: float


@dataclass(frozen=True)
class LabelRows:
    """
    The labels of one modality, in the form that the kernels read.

    Attributes
    ----------
    indptr : ndarray of int64, shape (n + 1,)
    indices : ndarray of int32
        The labels of sample i are ``indices[indptr[i]:indptr[i + 1]]``.
    n_classes : int
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    n_classes: int

    @classmethod
    def of(cls, labels: csr_array) -> LabelRows:
        """Make it from a CSR matrix of ones."""
        return cls(labels.indptr.astype(np.int64), labels.indices.astype(np.int32), labels.shape[1])

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def is_equal(self, other: LabelRows) -> bool:
        """Tell whether every sample has the same labels."""
        return (
            self.n_classes == other.n_classes
            and np.array_equal(self.indptr, other.indptr)
            and np.array_equal(self.indices, other.indices)
        )

    def of_rows(self, rows: slice) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return indptr and indices of a block."""
        return self.indptr[rows.start : rows.stop + 1], self.indices

    def gram(self) -> NDArray[np.float64]:
        """Compute L̂ᵀL̂, shape (n_classes, n_classes)."""
        from scipy.sparse import csr_array

        shape = len(self), self.n_classes
        unit = csr_array((self._weights(), self.indices, self.indptr), shape)
        return (unit.T @ unit).toarray()

    def mean(self) -> NDArray[np.float64]:
        """Return the mean row of L̂."""
        return np.bincount(self.indices, self._weights(), self.n_classes) / len(self)

    def _weights(self) -> NDArray[np.float64]:
        counts = np.diff(self.indptr)
        return np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts)


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
    labels : LabelRows
    v : ndarray of float32 or float64, shape (n, r)
        Latents.
    packed : ndarray of uint8, shape (n, ceil(r / 8))
        B.
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

    labels: LabelRows
    v: NDArray[np.floating]
    packed: NDArray[np.uint8]
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


def orthogonalise(
    z: NDArray[np.floating], random_state: np.random.RandomState, workers: Workers
) -> None:
    """
    Replace Z by the maximiser of tr(VᵀZ) over V with VᵀV = n I and zero column means.

    Parameters
    ----------
    z : ndarray of float32 or float64, shape (n, r), C-contiguous
        With r < n; overwritten.
    random_state : RandomState
        Draws the directions that complete a rank-deficient Z; any completion is a maximiser.
    workers : Workers
    """
    mean = z.mean(axis=0, dtype=np.float64)

    def gram_of(blocks: Sequence[slice]) -> NDArray[Any]:
        return add_up(_gram(z[rows] - mean) for rows in blocks)

    def whiten(blocks: Sequence[slice]) -> None:
        for rows in blocks:
            z[rows] = (z[rows] - mean) @ whitening.matrix

    blocks = cut(len(z), z.shape[1], _BLOCK_VALUES)
    gram = add_up(workers.map(gram_of, blocks))
    # A constant column is centred before it is squared, so only the square of its rounding is left.
    rounding = (np.finfo(np.float64).eps * np.abs(mean).max()) ** 2
    whitening = _whitening(mean, gram, len(z), rounding)
    for _ in workers.map(whiten, blocks):
        pass
    _complete(z, whitening, random_state)


def start_codes(labels: LabelRows, v: NDArray[np.floating], workers: Workers) -> ModalityState:
    """
    Prepare a modality for its first sweep.

    Parameters
    ----------
    labels : LabelRows
    v : ndarray of float32 or float64, shape (n, r), C-contiguous
        Initial latents, which the sweeps overwrite. They need not be orthogonal.
    workers : Workers
    """
    n, r = v.shape

    def gram_of(blocks: Sequence[slice]) -> NDArray[Any]:
        return add_up(_gram(v[rows].astype(np.float64)) for rows in blocks)

    state = ModalityState(
        labels=labels,
        v=v,
        packed=pack_signs(v),
        p=np.zeros((r, labels.n_classes)),
        vt=np.empty((r, labels.n_classes)),
        vv=add_up(workers.map(gram_of, cut(n, r, _BLOCK_VALUES))),
        v_votes=np.empty((labels.n_classes, r)),
        b_votes=np.empty((labels.n_classes, r)),
        label_gram=labels.gram(),
        label_mean=labels.mean(),
    )
    _measure(state, state.p, None, workers)
    _vote_by_codes(state, workers)
    return state


def sweep(
    modalities: Sequence[ModalityState],
    weights: Weights,
    random_state: np.random.RandomState,
    workers: Workers,
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
    for m, p in zip(modalities, maps, strict=True):
        n, r = m.v.shape
        others = add_up(other.v_votes for other in modalities if other is not m)
        votes = weights.lam * r * m.b_votes + weights.beta * r * others
        m.whitening = _fill_own_part(m, p, votes, weights.eta, workers)
        _measure(m, p, votes, workers)
        if _complete(m.v, m.whitening, random_state):
            _measure(m, p, None, workers)
        m.p, m.vv = p, n * np.eye(r)
        m.n_changed, m.alignment = kernels.update_codes(
            m.v,
            m.labels.indptr,
            m.labels.indices,
            weights.lam * r * m.v_votes,
            weights.eta,
            m.packed,
            workers.n_threads,
        )
        _vote_by_codes(m, workers)
    return _objective(modalities, weights)


def _fill_own_part(
    m: ModalityState, p: NDArray[Any], votes: NDArray[Any], eta: float, workers: Workers
) -> Whitening:
    """
    Overwrite V with T Pᵀ + η B, the *own part* of Z; return the map from Z to the new V.

    Z = T Pᵀ + η B + L̂ votes, where T is the target under the old label map. The votes come from
    many samples, and are larger than the own part of a sample by orders of magnitude. They are not
    stored with it, so that float32 is enough for the own part. The covariance of Z takes them from
    L̂ᵀL̂ and from L̂ᵀ times the own part.
    """
    n, r = m.v.shape
    old_map, new_map = (x.astype(m.v.dtype) for x in (m.p, p.T))
    blocks = cut(n, r, _BLOCK_VALUES)

    def fill(batch: Sequence[slice]) -> tuple[NDArray[Any], NDArray[Any]]:
        total, gram = np.zeros(r), np.zeros((r, r))
        target = np.empty((batch[0].stop - batch[0].start, old_map.shape[1]), m.v.dtype)
        ones = np.ones(len(target), m.v.dtype)
        for rows in batch:
            v = m.v[rows]
            np.matmul(v, old_map, out=target[: len(v)])
            kernels.label_target(target[: len(v)], *m.labels.of_rows(rows))
            np.matmul(target[: len(v)], new_map, out=v)
            kernels.add_codes(v, m.packed[rows], eta)
            total += ones[: len(v)] @ v
            gram += v.T @ v
        return total, gram

    total, gram = np.zeros(r), np.zeros((r, r))
    for batch_total, batch_gram in workers.map(fill, blocks):
        total += batch_total
        gram += batch_gram
    own_mean, label_mean = total / n, m.label_mean
    cross = votes.T @ (_label_votes(m, workers) - n * np.outer(label_mean, own_mean))
    gram += cross + cross.T - n * np.outer(own_mean, own_mean)
    gram += votes.T @ (m.label_gram - n * np.outer(label_mean, label_mean)) @ votes
    # After centring, columns that are the same for all samples hold only rounding errors.
    rounding = np.finfo(np.float64).eps * np.abs(votes).max() ** 2
    rounding += np.finfo(m.v.dtype).eps * np.abs(own_mean).max() ** 2
    return _whitening(own_mean + label_mean @ votes, gram, n, rounding)


def _whitening(mean: NDArray[Any], gram: NDArray[Any], n: int, rounding: float) -> Whitening:
    """Make it from the mean and the centred Gram matrix of Z; `rounding` is that of one product."""
    eigenvalues, rotation = linalg.eigh(gram)
    noise = 32 * n * len(gram) * rounding
    in_span = eigenvalues > max(_RANK_TOLERANCE * eigenvalues[-1], noise)
    scales = np.where(in_span, np.sqrt(n / np.where(in_span, eigenvalues, 1)), 0)
    return Whitening(mean, (rotation * scales) @ rotation.T, rotation, in_span)


def _complete(
    v: NDArray[np.floating], whitening: Whitening, random_state: np.random.RandomState
) -> bool:
    """
    Fill the directions in which Z does not vary with random values; return whether there are any.

    The new columns are orthogonal to the others and to the vector of ones. This is rare, so it is
    not done in blocks: it holds a few float64 arrays of the size of V.
    """
    if whitening.in_span.all():
        return False
    n = len(v)
    known, unknown = (
        whitening.rotation[:, whitening.in_span],
        whitening.rotation[:, ~whitening.in_span],
    )
    fixed = np.column_stack([np.full(n, n**-0.5), v @ (known / np.sqrt(n))])
    more = random_state.standard_normal((n, unknown.shape[1]))
    # Twice, because one projection leaves rounding errors of the size of what it removed.
    for _ in range(2):
        more -= fixed @ (fixed.T @ more)
        more, _ = linalg.qr(more)
    v += np.sqrt(n) * more @ unknown.T
    return True


def _measure(
    m: ModalityState, p: NDArray[Any], votes: NDArray[Any] | None, workers: Workers
) -> None:
    """
    Compute VᵀT, ‖T - VP‖² and L̂ᵀV; if votes are given, first compute V from the own part of Z.

    `_fill_own_part` has left the own part in V. It is multiplied with the whitening matrix W, and
    L̂ (votes W) is added.
    """
    r, dtype = m.v.shape[1], m.v.dtype
    label_map = p.astype(dtype)
    if votes is not None:
        whitening = m.whitening
        assert whitening is not None
        matrix = whitening.matrix.astype(dtype)
        origin = (whitening.mean @ whitening.matrix).astype(dtype)
        label_rows = (votes @ whitening.matrix).astype(dtype)

    def measure(blocks: Sequence[slice]) -> tuple[NDArray[Any], float]:
        vt, residual = np.zeros(p.shape), 0.0
        n_rows = blocks[0].stop - blocks[0].start
        target, whitened = np.empty((n_rows, p.shape[1]), dtype), np.empty((n_rows, r), dtype)
        for rows in blocks:
            v, n_rows, labels = m.v[rows], rows.stop - rows.start, m.labels.of_rows(rows)
            if votes is not None:
                np.matmul(v, matrix, out=whitened[:n_rows])
                kernels.add_label_rows(whitened[:n_rows], origin, *labels, label_rows, v)
            np.matmul(v, label_map, out=target[:n_rows])
            residual += kernels.label_target(target[:n_rows], *labels)
            vt += v.T @ target[:n_rows]
        return vt, residual

    m.vt, m.residual = np.zeros(p.shape), 0.0
    for vt, residual in workers.map(measure, cut(len(m.v), r, _BLOCK_VALUES)):
        m.vt += vt
        m.residual += residual
    m.v_votes = _label_votes(m, workers)


def _label_votes(m: ModalityState, workers: Workers) -> NDArray[np.float64]:
    """Compute L̂ᵀV, where V may hold the own part of Z."""
    labels = m.labels
    return kernels.label_votes(
        m.v, labels.indptr, labels.indices, labels.n_classes, workers.n_threads
    )


def _vote_by_codes(m: ModalityState, workers: Workers) -> None:
    labels = m.labels
    m.b_votes = kernels.label_votes_of_codes(
        m.packed,
        m.v.shape[1],
        labels.indptr,
        labels.indices,
        labels.n_classes,
        workers.n_threads,
    )


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
        n, r = m.v.shape
        fit = r**2 * np.sum(m.label_gram**2) - 2 * r * np.sum(m.b_votes * m.v_votes) + n**2 * r
        total += m.residual + weights.lam * fit + weights.eta * 2 * (n * r - m.alignment)
        for other in modalities[:i]:
            fit = r**2 * np.sum(m.label_gram * other.label_gram)
            fit += -2 * r * np.sum(m.v_votes * other.v_votes) + n * len(other.v) * r
            total += weights.beta * fit
    return float(total)


def _gram(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return z.T @ z
