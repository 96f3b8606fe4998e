"""The published algorithm of AMSH in numpy, line by line: what the paper's program does.

Everything is held whole and in double precision, labels are dense, and every sweep over the hash
functions factors the same matrix again. Only what would make the comparison unfair is left out:
the width of the radial basis functions and the random start are as in fasthash.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def literal_fit(
    features: list[NDArray],
    labels: list[NDArray],
    n_bits: int,
    n_anchors: int,
    n_sweeps: int,
    weights: tuple[float, float, float],
    seed: int,
    finished: Callable[[str], None],
) -> tuple[list[NDArray], list[Callable[[NDArray], NDArray]]]:
    """Codes of ±1 of both modalities, and functions from features to codes."""
    rng = np.random.default_rng(seed)
    maps = [rbf_map(x.astype(np.float64), n_anchors, rng) for x in features]
    mapped = [f(x.astype(np.float64)) for f, x in zip(maps, features, strict=True)]
    finished("features")
    b = learn_codes([y.astype(np.float64) for y in labels], n_bits, n_sweeps, weights, rng)
    finished("codes")
    projections = [hash_function(x, codes, n_sweeps) for x, codes in zip(mapped, b, strict=True)]
    finished("hash functions")
    encoders = [
        lambda x, f=f, p=p: np.where(f(x.astype(np.float64)) @ p >= 0, 1.0, -1.0)
        for f, p in zip(maps, projections, strict=True)
    ]
    return b, encoders


def rbf_map(x: NDArray, n_anchors: int, rng: np.random.Generator) -> Callable[[NDArray], NDArray]:
    anchors = x[rng.permutation(len(x))[:n_anchors]]

    def squared_distances(x: NDArray) -> NDArray:
        norms = (x**2).sum(axis=1)[:, None] + (anchors**2).sum(axis=1)
        return np.maximum(norms - 2 * x @ anchors.T, 0)

    width = np.sqrt(squared_distances(x)).mean()

    def kernel(x: NDArray) -> NDArray:
        return np.exp(-squared_distances(x) / (2 * width**2))

    mean = kernel(x).mean(axis=0)
    return lambda x: kernel(x) - mean


def learn_codes(
    labels: list[NDArray],
    n_bits: int,
    n_sweeps: int,
    weights: tuple[float, float, float],
    rng: np.random.Generator,
) -> list[NDArray]:
    lam, beta, eta = weights
    unit = [y / np.maximum(np.sqrt((y**2).sum(axis=1, keepdims=True)), 1e-12) for y in labels]
    side = [np.where(y == 1, 1.0, -1.0) for y in labels]
    margins = [np.zeros_like(y) for y in labels]
    v = [orthogonal(rng.standard_normal((len(y), n_bits))) for y in labels]
    b = [np.where(x >= 0, 1.0, -1.0) for x in v]
    for _ in range(n_sweeps):
        targets = [y + r * e for y, r, e in zip(labels, side, margins, strict=True)]
        p = [np.linalg.solve(x.T @ x, x.T @ t) for x, t in zip(v, targets, strict=True)]
        for m, other in ((0, 1), (1, 0)):
            z = targets[m] @ p[m].T + eta * b[m]
            z += lam * n_bits * unit[m] @ (unit[m].T @ b[m])
            z += beta * n_bits * unit[m] @ (unit[other].T @ v[other])
            v[m] = orthogonal(z)
        b = [
            np.where(lam * n_bits * u @ (u.T @ x) + eta * x >= 0, 1.0, -1.0)
            for u, x in zip(unit, v, strict=True)
        ]
        margins = [
            np.maximum(r * (x @ q - y), 0) for r, x, q, y in zip(side, v, p, labels, strict=True)
        ]
    return b


def orthogonal(z: NDArray) -> NDArray:
    z = z - z.mean(axis=0)
    eigenvalues, vectors = np.linalg.eigh(z.T @ z)
    return np.sqrt(len(z)) * z @ (vectors / np.sqrt(eigenvalues)) @ vectors.T


def hash_function(x: NDArray, b: NDArray, n_sweeps: int) -> NDArray:
    margins = np.zeros_like(b)
    for _ in range(n_sweeps):
        target = b + b * margins
        f = np.linalg.solve(x.T @ x + 0.01 * np.eye(x.shape[1]), x.T @ target)
        margins = np.maximum(b * (x @ f) - 1, 0)
    return f
