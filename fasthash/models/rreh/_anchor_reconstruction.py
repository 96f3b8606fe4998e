"""Samples as sparse combinations of their nearest anchors: the relations that RREH embeds.

Each sample is written as a combination of its k nearest anchors, with weights that are nowhere
negative and sum to 1: a row of k numbers of a sparse matrix S, so that S A is close to X. The work
is linear in the samples, and nothing of samples x anchors is held: a thread multiplies some hundred
samples with the anchors, then chooses and solves while the products are in its cache. The products
are BLAS's, one thread a call, because loops of our own take seven times as long; the rest is a
kernel.

Source of the relations: Wang, Shi, Luo, Zhang, Cheng, Xiao, "Reconstruction Relations Embedded
Hashing", ICIC 2024, arXiv 2405.17777, which reconstructs samples from anchors by least squares.
That only near anchors take part, the formula of the weights and its regularisation are ours.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._core.pieces import cut
from ..._core.rows import RowReader, Rows
from ..._core.validation import check_count, check_number
from ..._core.workers import Workers
from ..._kernels import reconstruct as kernels

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["reconstruct"]

# Values of a block of samples, copied, and their scores: what a core's second-level cache holds,
# and enough that threads seldom meet at the interpreter's lock.
_BLOCK_VALUES = 1 << 19


def reconstruct(
    x: RowReader | NDArray[np.floating],
    anchors: NDArray[np.floating],
    workers: Workers,
    k: int = 10,
    regularisation: float = 0.1,
) -> csr_array:
    """
    Express samples by their nearest anchors.

    Parameters
    ----------
    x : RowReader or ndarray of float32 or float64, shape (n, d)
        Finite. Of a reader only blocks are held.
    anchors : ndarray of the same dtype, shape (n_anchors, d)
        At least one.
    workers : Workers
    k : int, default=10
        How many anchors reconstruct a sample; all of them where there are fewer.
    regularisation : float, default=0.1
        g > 0 below. The larger, the more equal the weights.

    Returns
    -------
    csr_array of the dtype of `x`, shape (n, n_anchors)
        Rows of exactly min(k, n_anchors) weights, ascending in the anchor, each >= 0, with sum 1.
        Weights that were clipped stand there as zeros. Indices are int32 while they can be.

    Raises
    ------
    TypeError, ValueError
        If `k` or `regularisation` is out of range, or the anchors do not fit the samples.

    Notes
    -----
    Near is meant by the Euclidean distance; of anchors equally far the lower one is nearer. With C
    the k x k Gram matrix of the differences (anchor - sample), the weights solve

        (C + g tr(C)/k I) w = 1,

    are clipped at 0 and scaled to sum 1. Where all k anchors equal the sample they are equal.

    Products are made in the dtype of `x`, relative to the mean anchor. What their rounding could
    decide is decided by differences in float64: which anchors are nearest, always; the weights,
    where they might lose more than half the digits of the dtype. The number of threads changes no
    bit.

    Costs O(n (n_anchors d + k³)), up to half of the time one matrix product. Differences cost
    O(n (n_anchors + k²) d) more at worst, where clusters are tiny beside their distance to the mean
    anchor: several times as long. Memory beyond the result: n_anchors² float64, and per thread a
    block of two mebibytes in float32, four in float64, and about k (d + 4 k) float64.

    Examples
    --------
    >>> import numpy as np
    >>> from fasthash.models.rreh._anchor_reconstruction import reconstruct
    >>> from fasthash._core.workers import Workers
    >>> with Workers(1) as workers:
    ...     s = reconstruct(np.array([[1.0]]), np.array([[0.0], [9.0], [2.0]]), workers, k=2)
    >>> s.toarray()
    array([[0.5, 0. , 0.5]])
    """
    from scipy.sparse import csr_array

    k = min(check_count(k, "k"), len(anchors))
    regularisation = check_number(regularisation, "regularisation", positive=True)
    if anchors.ndim != 2 or anchors.shape[1] != x.shape[1] or anchors.dtype != x.dtype:
        raise ValueError(
            f"anchors must have {x.shape[1]} columns of {x.dtype} as the samples have, got "
            f"{anchors.dtype} of shape {anchors.shape}"
        )
    if not len(anchors):
        raise ValueError("anchors are empty: there is nothing to reconstruct samples from")
    source = Rows(x, x.dtype) if isinstance(x, np.ndarray) else x
    n, n_anchors, dtype = x.shape[0], len(anchors), x.dtype
    anchors = np.ascontiguousarray(anchors)
    origin, operand, gram = _operands(anchors)
    indices, weights = np.empty((n, k), np.int32), np.empty((n, k), dtype)

    blocks = cut(n, n_anchors + len(operand), _BLOCK_VALUES)
    # A thread keeps its block: fresh memory for every batch would cost a tenth of the time.
    own = threading.local()

    def visit(batch: Sequence[slice]) -> None:
        if not hasattr(own, "left"):
            own.left = np.ones((blocks[0].stop, len(operand)), dtype)
            own.scores = np.empty((blocks[0].stop, n_anchors), dtype)
        for rows in batch:
            block = np.ascontiguousarray(source.read(rows))
            left, scores = own.left[: len(block)], own.scores[: len(block)]
            # The kernel knows where a square may have overflowed, and takes differences there.
            with np.errstate(over="ignore", invalid="ignore"):
                np.subtract(block, origin, out=left[:, :-1])
                np.matmul(left, operand, out=scores)
            out = indices[rows], weights[rows]
            kernels.reconstruct(block, anchors, left[:, :-1], scores, gram, regularisation, *out)

    for _ in workers.map(visit, blocks):
        pass
    # scipy wants one type for both kinds of indices, and takes the smaller where it can.
    is_small = n * k <= np.iinfo(np.int32).max
    ends = np.arange(0, n * k + 1, k, dtype=np.int32 if is_small else np.int64)
    return csr_array((weights.ravel(), indices.ravel(), ends), shape=(n, n_anchors))


def _operands(anchors: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
    """
    The mean anchor; the right factor of the scores, shape (d + 1, n_anchors); products of anchors.

    A score is |a|² - 2 a·x, all relative to the mean anchor, so that little cancels. The squared
    norms are one more row of the factor, which saves a pass over the scores.
    """
    operand = np.empty((anchors.shape[1] + 1, len(anchors)), anchors.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        origin = anchors.mean(axis=0, dtype=np.float64).astype(anchors.dtype)
        centred = anchors.astype(np.float64) - origin
        gram = centred @ centred.T
        operand[:-1] = -2 * centred.T
        operand[-1] = np.diagonal(gram)
    return origin, operand, gram
