"""Parts of the samples of a modality, and the work of AMSH's first step on one of them.

A part is a strip of consecutive samples: in one process all of them, on a cluster those that a
worker holds. Every function returns sums over the samples of its part. Their size does not depend
on the number of samples. ``_codes`` adds up the sums of all parts, and explains the notation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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
    "CodePart",
    "LabelRows",
    "add_completion",
    "combine_completion",
    "complete_whole",
    "draw_completion",
    "draw_part",
    "fill_part",
    "gram_of_part",
    "measure_part",
    "product_with_fixed",
    "start_part",
    "subtract_fixed",
    "sum_of_part",
    "update_part",
    "vote_by_codes",
    "whiten_part",
]

# Values in a block of latents: 1 MiB in float32, which fits into a core's cache.
_BLOCK_VALUES = 1 << 18

# Number of random values from one generator. Each block has its own generator, so that threads can
# draw at the same time.
_DRAWN_VALUES = 1 << 18


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

    def matrix(self) -> csr_array:
        """Return the labels as a CSR matrix of ones."""
        from scipy.sparse import csr_array

        ones = np.ones(len(self.indices), bool)
        return csr_array((ones, self.indices, self.indptr), shape=(len(self), self.n_classes))

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

    def sum(self) -> NDArray[np.float64]:
        """Return the sum of the rows of L̂."""
        return np.bincount(self.indices, self._weights(), self.n_classes).astype(np.float64)

    def parts(self) -> list[CodePart]:
        """The only part of a modality in one process, without latents."""
        return [CodePart(0, self)]

    def _weights(self) -> NDArray[np.float64]:
        counts = np.diff(self.indptr)
        return np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts)


@dataclass
class CodePart:
    """
    Consecutive samples of a modality.

    Attributes
    ----------
    start : int
        The first of them.
    labels : LabelRows
    v : ndarray of float32 or float64, shape (n, r)
        Latents.
    packed : ndarray of uint8, shape (n, ceil(r / 8))
        B.
    more : ndarray of float64, shape (n, n_columns), or None
        Random columns while they complete the latents.
    """

    start: int
    labels: LabelRows
    v: NDArray[np.floating] = field(default_factory=lambda: np.empty((0, 0)))
    packed: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 0), np.uint8))
    more: NDArray[np.float64] | None = None

    def __sizeof__(self) -> int:
        # Dask asks for it, to keep tasks where the parts are.
        labels = self.labels.indptr.nbytes + self.labels.indices.nbytes
        return object.__sizeof__(self) + self.v.nbytes + self.packed.nbytes + labels

    def copy(self) -> CodePart:
        """A part that may be changed without a change of this one."""
        more = None if self.more is None else self.more.copy()
        return CodePart(self.start, self.labels, self.v.copy(), self.packed.copy(), more)


def draw_part(
    part: CodePart, workers: Workers, seed: NDArray[np.uint32], n_bits: int, dtype: Any
) -> None:
    """Fill the latents with random values, which depend on the rows alone."""
    part.v = np.empty((len(part.labels), n_bits), dtype)

    def draw(blocks: Sequence[slice]) -> None:
        for rows in blocks:
            rng = np.random.default_rng([*seed, part.start + rows.start])
            part.v[rows] = rng.standard_normal(part.v[rows].shape)

    for _ in workers.map(draw, cut(len(part.v), n_bits, _DRAWN_VALUES)):
        pass


def sum_of_part(part: CodePart, workers: Workers) -> tuple[int, NDArray[np.float64]]:
    return len(part.v), part.v.sum(axis=0, dtype=np.float64)


def gram_of_part(part: CodePart, workers: Workers, mean: NDArray[Any]) -> NDArray[Any]:
    def gram_of(blocks: Sequence[slice]) -> NDArray[Any]:
        return add_up(_gram(part.v[rows] - mean) for rows in blocks)

    return add_up(workers.map(gram_of, _blocks(part.v)))


def whiten_part(part: CodePart, workers: Workers, mean: NDArray[Any], matrix: NDArray[Any]) -> None:
    def whiten(blocks: Sequence[slice]) -> None:
        for rows in blocks:
            part.v[rows] = (part.v[rows] - mean) @ matrix

    for _ in workers.map(whiten, _blocks(part.v)):
        pass


def complete_whole(
    part: CodePart,
    workers: Workers,
    known: NDArray[Any],
    unknown: NDArray[Any],
    random_state: np.random.RandomState,
) -> Any:
    """
    Fill the unknown directions of the latents of all samples with random values.

    Holds a few float64 arrays of the size of V. Returns the new state of the generator.
    """
    v, n = part.v, len(part.v)
    fixed = np.column_stack([np.full(n, n**-0.5), v @ (known / np.sqrt(n))])
    more = random_state.standard_normal((n, unknown.shape[1]))
    # Twice, because one projection leaves rounding errors of the size of what it removed.
    for _ in range(2):
        more -= fixed @ (fixed.T @ more)
        more, _ = linalg.qr(more)
    v += np.sqrt(n) * more @ unknown.T
    return random_state.get_state()


def draw_completion(
    part: CodePart, workers: Workers, seed: NDArray[np.uint32], n_columns: int
) -> int:
    """Draw random columns, which depend on the place of the part; return the number of rows."""
    rng = np.random.default_rng([*seed, part.start])
    part.more = rng.standard_normal((len(part.v), n_columns))
    return len(part.v)


def product_with_fixed(
    part: CodePart, workers: Workers, fixed: NDArray[Any], n: int
) -> NDArray[np.float64]:
    """The products of the random columns with those that are fixed: the ones, and V of Z."""
    assert part.more is not None
    return np.vstack([part.more.sum(axis=0) * n**-0.5, (part.v @ fixed).T @ part.more])


def subtract_fixed(
    part: CodePart, workers: Workers, fixed: NDArray[Any], n: int, products: NDArray[Any]
) -> NDArray[np.float64]:
    """Subtract the fixed columns from the random ones; return the Gram matrix of these."""
    assert part.more is not None
    part.more -= products[0] * n**-0.5 + (part.v @ fixed) @ products[1:]
    return _gram(part.more)


def combine_completion(part: CodePart, workers: Workers, matrix: NDArray[Any]) -> None:
    """Replace the random columns by combinations of them."""
    assert part.more is not None
    part.more = part.more @ matrix


def add_completion(part: CodePart, workers: Workers, directions: NDArray[Any]) -> None:
    """Add the random columns to the latents, each in its direction."""
    assert part.more is not None
    part.v += part.more @ directions
    part.more = None


def start_part(part: CodePart, workers: Workers) -> tuple[int, Any, Any, Any, Any]:
    """Number of samples, no latents, VᵀV, L̂ᵀL̂ and the sum of the rows of L̂; makes codes."""
    v = part.v

    def gram_of(blocks: Sequence[slice]) -> NDArray[Any]:
        return add_up(_gram(v[rows].astype(np.float64)) for rows in blocks)

    part.packed = pack_signs(v)
    vv = add_up(workers.map(gram_of, _blocks(v)))
    return len(v), v[:0], vv, part.labels.gram(), part.labels.sum()


def update_part(
    part: CodePart, workers: Workers, votes: NDArray[Any], eta: float
) -> tuple[int, float, NDArray[np.float64]]:
    """Update the codes; return how many bits changed, tr(BᵀV) and L̂ᵀB."""
    labels = part.labels
    n_changed, alignment = kernels.update_codes(
        part.v, labels.indptr, labels.indices, votes, eta, part.packed, workers.n_threads
    )
    return n_changed, alignment, vote_by_codes(part, workers)


def fill_part(
    part: CodePart, workers: Workers, old_p: NDArray[Any], new_p: NDArray[Any], eta: float
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Sum and Gram matrix of the own part, and L̂ᵀ times it."""
    r, dtype = part.v.shape[1], part.v.dtype
    old_map, new_map = old_p.astype(dtype), new_p.T.astype(dtype)

    def fill(batch: Sequence[slice]) -> tuple[NDArray[Any], NDArray[Any]]:
        total, gram = np.zeros(r), np.zeros((r, r))
        target = np.empty((batch[0].stop - batch[0].start, old_map.shape[1]), dtype)
        ones = np.ones(len(target), dtype)
        for rows in batch:
            v = part.v[rows]
            np.matmul(v, old_map, out=target[: len(v)])
            kernels.label_target(target[: len(v)], *part.labels.of_rows(rows))
            np.matmul(target[: len(v)], new_map, out=v)
            kernels.add_codes(v, part.packed[rows], eta)
            total += ones[: len(v)] @ v
            gram += v.T @ v
        return total, gram

    total, gram = np.zeros(r), np.zeros((r, r))
    for batch_total, batch_gram in workers.map(fill, _blocks(part.v)):
        total += batch_total
        gram += batch_gram
    return total, gram, _label_votes(part, workers)


def measure_part(
    part: CodePart, workers: Workers, p: NDArray[Any], affine: tuple[Any, Any, Any] | None
) -> tuple[NDArray[Any], float, NDArray[Any]]:
    r, dtype = part.v.shape[1], part.v.dtype
    label_map = p.astype(dtype)
    if affine is not None:
        matrix, origin, label_rows = (x.astype(dtype) for x in affine)

    def measure(blocks: Sequence[slice]) -> tuple[NDArray[Any], float]:
        vt, residual = np.zeros(p.shape), 0.0
        n_rows = blocks[0].stop - blocks[0].start
        target, whitened = np.empty((n_rows, p.shape[1]), dtype), np.empty((n_rows, r), dtype)
        for rows in blocks:
            v, n_rows, labels = part.v[rows], rows.stop - rows.start, part.labels.of_rows(rows)
            if affine is not None:
                np.matmul(v, matrix, out=whitened[:n_rows])
                kernels.add_label_rows(whitened[:n_rows], origin, *labels, label_rows, v)
            np.matmul(v, label_map, out=target[:n_rows])
            residual += kernels.label_target(target[:n_rows], *labels)
            vt += v.T @ target[:n_rows]
        return vt, residual

    total, total_residual = np.zeros(p.shape), 0.0
    for vt, residual in workers.map(measure, _blocks(part.v)):
        total += vt
        total_residual += residual
    return total, total_residual, _label_votes(part, workers)


def _label_votes(part: CodePart, workers: Workers) -> NDArray[np.float64]:
    """Compute L̂ᵀV, where V may hold the own part of Z."""
    labels = part.labels
    return kernels.label_votes(
        part.v, labels.indptr, labels.indices, labels.n_classes, workers.n_threads
    )


def vote_by_codes(part: CodePart, workers: Workers) -> NDArray[np.float64]:
    labels = part.labels
    return kernels.label_votes_of_codes(
        part.packed,
        part.v.shape[1],
        labels.indptr,
        labels.indices,
        labels.n_classes,
        workers.n_threads,
    )


def _gram(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return z.T @ z


def _blocks(v: NDArray[np.floating]) -> list[slice]:
    return cut(len(v), v.shape[1], _BLOCK_VALUES)
