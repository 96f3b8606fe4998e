"""Write samples as sparse combinations of their nearest anchors: the relations that RREH embeds.

Each sample is written as a combination of its k nearest anchors, with weights >= 0 that sum to 1.
The weights are a row of a sparse matrix S, so that S A is close to X. The work is linear in the
number of samples, and no array of samples x anchors is held: a thread multiplies a few hundred
samples with the anchors, then chooses anchors and solves for weights while the products are in its
cache. BLAS computes the products, with one thread per call, because a loop of our own takes seven
times as long. A kernel does the rest.

Source of the relations: Wang, Shi, Luo, Zhang, Cheng, Xiao, "Reconstruction Relations Embedded
Hashing", ICIC 2024, arXiv 2405.17777, which reconstructs samples from anchors by least squares.
Three things are ours: that only near anchors take part, the formula of the weights, and its
regularisation.
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

# Values in a block: a copy of its samples, and their scores. They fit into a core's second-level
# cache, and a block takes long enough that threads seldom wait for the interpreter's lock.
_BLOCK_VALUES = 1 << 19


def reconstruct(
    x: RowReader | NDArray[np.floating],
    anchors: NDArray[np.floating],
    workers: Workers,
    k: int = 10,
    regularisation: float = 0.1,
) -> csr_array:
    """
    Compute the weights with which samples are combinations of their nearest anchors.

    Parameters
    ----------
    x : RowReader or ndarray of float32 or float64, shape (n, d)
        Finite values. A reader is read block by block.
    anchors : ndarray of the same dtype, shape (n_anchors, d)
        At least one.
    workers : Workers
    k : int, default=10
        Number of anchors that reconstruct a sample; all anchors if there are fewer.
    regularisation : float, default=0.1
        g > 0 in the formula below. A larger g makes the weights more equal.

    Returns
    -------
    csr_array of the dtype of `x`, shape (n, n_anchors)
        Each row has exactly min(k, n_anchors) weights >= 0, in the order of the anchors, with sum
        1. Weights that were clipped are stored as zeros. Indices are int32 if they fit.

    Raises
    ------
    TypeError, ValueError
        If `k` or `regularisation` is out of range, or the anchors do not fit the samples.

    Notes
    -----
    The nearest anchors are those with the smallest Euclidean distance; if two are equally far, the
    one with the lower number counts as nearer. C is the k x k Gram matrix of the differences
    (anchor - sample). The weights solve

        (C + g tr(C)/k I) w = 1,

    are clipped at 0, and are scaled so that their sum is 1. If all k anchors equal the sample, all
    weights are equal.

    Products are computed in the dtype of `x`, relative to the mean anchor. Where rounding could
    change the result, differences in float64 are used instead: always to decide which anchors are
    nearest, and for the weights if they might lose more than half the digits of the dtype. The
    number of threads changes no bit.

    Costs O(n (n_anchors d + k³)); one matrix product takes up to half of the time. In the worst
    case, differences cost O(n (n_anchors + k²) d) more, several times as long: when clusters are
    very small compared with their distance to the mean anchor. Memory in addition to the result:
    n_anchors² float64, and for each thread a block of 2 MiB in float32 or 4 MiB in float64, and
    about k (d + 4 k) float64.

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
    # Each thread keeps its memory; new memory for every batch would cost a tenth of the time.
    own = threading.local()

    def visit(batch: Sequence[slice]) -> None:
        if not hasattr(own, "left"):
            own.left = np.ones((blocks[0].stop, len(operand)), dtype)
            own.scores = np.empty((blocks[0].stop, n_anchors), dtype)
        for rows in batch:
            block = np.ascontiguousarray(source.read(rows))
            left, scores = own.left[: len(block)], own.scores[: len(block)]
            # Where a square may have overflowed, the kernel uses differences.
            with np.errstate(over="ignore", invalid="ignore"):
                np.subtract(block, origin, out=left[:, :-1])
                np.matmul(left, operand, out=scores)
            out = indices[rows], weights[rows]
            kernels.reconstruct(block, anchors, left[:, :-1], scores, gram, regularisation, *out)

    for _ in workers.map(visit, blocks):
        pass
    # scipy uses one integer type for both index arrays: the smaller one if all indices fit.
    is_small = n * k <= np.iinfo(np.int32).max
    ends = np.arange(0, n * k + 1, k, dtype=np.int32 if is_small else np.int64)
    return csr_array((weights.ravel(), indices.ravel(), ends), shape=(n, n_anchors))


def _operands(anchors: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
    """
    Compute the mean anchor, the right factor of the scores, and the products of the anchors.

    A score is |a|² - 2 a·x, all relative to the mean anchor, so that less is lost by cancellation.
    The right factor has shape (d + 1, n_anchors): the squared norms are its last row, which saves a
    pass over the scores.
    """
    operand = np.empty((anchors.shape[1] + 1, len(anchors)), anchors.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        origin = anchors.mean(axis=0, dtype=np.float64).astype(anchors.dtype)
        centred = anchors.astype(np.float64) - origin
        gram = centred @ centred.T
        operand[:-1] = -2 * centred.T
        operand[-1] = np.diagonal(gram)
    return origin, operand, gram
