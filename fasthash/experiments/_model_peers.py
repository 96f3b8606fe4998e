"""Computations of the models in plain numpy: reconstruction from anchors, and encoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.pieces import cut
from .._core.workers import Workers

__all__ = [
    "encode_in_numpy",
    "multiply_like_encode",
    "of_differences",
    "reconstruct_in_numpy",
]

# Rows in a block: larger blocks only need more memory, and smaller blocks need more calls.
_ROWS = 4096


def reconstruct_in_numpy(
    local_gram: Callable[..., NDArray[Any]],
    x: NDArray[Any],
    anchors: NDArray[Any],
    n_threads: int,
    k: int,
    regularisation: float,
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Find the nearest anchors by argpartition, and solve for weights with `local_gram`."""
    from threadpoolctl import threadpool_limits

    n = len(x)
    indices, weights = np.empty((n, k), np.int32), np.empty((n, k), x.dtype)
    norms, gram = np.sum(anchors**2, axis=1), anchors @ anchors.T
    diagonal, ones = np.arange(k), np.ones((k, 1), x.dtype)
    with threadpool_limits(n_threads, "blas"):
        for rows in cut(n, most=_ROWS):
            products = x[rows] @ anchors.T
            nearest = np.argpartition(norms - 2 * products, k - 1, axis=1)[:, :k]
            nearest.sort(axis=1)
            c = local_gram(x[rows], anchors, gram, products, nearest)
            spread = np.trace(c, axis1=1, axis2=2) / k
            c[:, diagonal, diagonal] += regularisation * spread[:, None]
            w = np.maximum(np.linalg.solve(c, ones)[:, :, 0], 0)
            indices[rows], weights[rows] = nearest, w / w.sum(axis=1, keepdims=True)
    return indices, weights


def of_differences(
    x: NDArray[Any],
    anchors: NDArray[Any],
    gram: NDArray[Any],
    products: NDArray[Any],
    nearest: NDArray[Any],
) -> NDArray[Any]:
    """Compute local Gram matrices from differences to the anchors, as in the definition."""
    differences = anchors[nearest] - x[:, None]
    return differences @ differences.transpose(0, 2, 1)


def encode_in_numpy(
    x: NDArray[Any],
    anchors: NDArray[Any],
    width: float,
    mean: NDArray[Any],
    projection: NDArray[Any],
) -> NDArray[np.uint8]:
    """Encode features by radial basis functions, as in the definition."""
    squared = np.sum(x**2, axis=1)[:, None] + np.sum(anchors**2, axis=1) - 2 * x @ anchors.T
    mapped = np.exp(squared / np.float32(-2 * width**2)) - mean
    return np.packbits(mapped @ projection >= 0, axis=1)


def multiply_like_encode(
    x: NDArray[Any], anchors: NDArray[Any], projection: NDArray[Any], n_threads: int
) -> None:
    """Compute only the two matrix products of `encode`. Anchors are columns here."""
    blocks = cut(len(x), anchors.shape[1])

    def multiply(batch: Sequence[slice]) -> None:
        mapped = np.empty((blocks[0].stop, anchors.shape[1]), np.float32)
        for rows in batch:
            np.matmul(x[rows], anchors, out=mapped[: rows.stop - rows.start])
            mapped[: rows.stop - rows.start] @ projection

    with Workers(n_threads) as workers:
        list(workers.map(multiply, blocks))
