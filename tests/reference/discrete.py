"""AMSH as it is written down: dense labels, similarities of n x n, loops where they help."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def sign(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """+1 for x >= 0, else -1."""
    return np.where(x >= 0, 1.0, -1.0)


def unit_rows(labels: NDArray[Any]) -> NDArray[np.float64]:
    """Rows scaled to unit length; a zero row stays zero."""
    scaled = np.zeros(labels.shape)
    for i, row in enumerate(labels):
        length = np.sqrt(np.sum(row**2))
        if length > 0:
            scaled[i] = row / length
    return scaled


def label_target(labels: NDArray[Any], prediction: NDArray[np.float64]) -> NDArray[np.float64]:
    """The closest target to a prediction that keeps every label on its side of the margin."""
    target = np.zeros(labels.shape)
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            if labels[i, j] == 1:
                target[i, j] = max(prediction[i, j], 1)
            else:
                target[i, j] = min(prediction[i, j], 0)
    return target


def label_votes(labels: NDArray[Any], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per class and bit, the sum of the samples' values, each scaled by its labels' unit length."""
    return unit_rows(labels).T @ values


def update_codes(
    labels: NDArray[Any], votes: NDArray[np.float64], v: NDArray[np.float64], eta: float
) -> NDArray[np.float64]:
    """Codes of ±1 from the votes of a sample's labels and its latents."""
    return sign(unit_rows(labels) @ votes + eta * v)


def bit_target(b: NDArray[np.float64], margins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Codes with margins that grow where a bit is right already."""
    return b * np.maximum(1, b * margins)


def orthogonal_latents(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """√n times the orthogonal factor of the centred Z, which must have full column rank."""
    u, _, wt = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)
    return np.sqrt(len(z)) * u @ wt


def sweep(
    labels: Sequence[NDArray[Any]],
    targets: Sequence[NDArray[np.float64]],
    v: Sequence[NDArray[np.float64]],
    b: Sequence[NDArray[np.float64]],
    lam: float,
    beta: float,
    eta: float,
) -> tuple[
    list[NDArray[np.float64]],
    list[NDArray[np.float64]],
    list[NDArray[np.float64]],
    list[NDArray[np.float64]],
]:
    """One sweep over all modalities; returns new (targets, p, v, b), leaves the inputs alone."""
    unit = [unit_rows(y) for y in labels]
    v, n_modalities, r = list(v), len(v), v[0].shape[1]
    p = [np.linalg.inv(v[m].T @ v[m]) @ v[m].T @ targets[m] for m in range(n_modalities)]
    for m in range(n_modalities):
        similarity = unit[m] @ unit[m].T
        z = targets[m] @ p[m].T + lam * r * similarity @ b[m] + eta * b[m]
        for other in range(n_modalities):
            if other != m:
                z = z + beta * r * (unit[m] @ unit[other].T) @ v[other]
        v[m] = orthogonal_latents(z)
    b = [
        update_codes(labels[m], lam * r * label_votes(labels[m], v[m]), v[m], eta)
        for m in range(n_modalities)
    ]
    targets = [label_target(labels[m], v[m] @ p[m]) for m in range(n_modalities)]
    return targets, p, v, b


def objective(
    labels: Sequence[NDArray[Any]],
    targets: Sequence[NDArray[np.float64]],
    p: Sequence[NDArray[np.float64]],
    v: Sequence[NDArray[np.float64]],
    b: Sequence[NDArray[np.float64]],
    lam: float,
    beta: float,
    eta: float,
) -> float:
    """The sum of squares itself."""
    unit, r, total = [unit_rows(y) for y in labels], v[0].shape[1], 0.0
    for m in range(len(v)):
        total += np.sum((targets[m] - v[m] @ p[m]) ** 2)
        total += lam * np.sum((r * unit[m] @ unit[m].T - b[m] @ v[m].T) ** 2)
        total += eta * np.sum((b[m] - v[m]) ** 2)
        for other in range(m):
            total += beta * np.sum((r * unit[m] @ unit[other].T - v[m] @ v[other].T) ** 2)
    return total


def hash_function(
    x: NDArray[np.float64], b: NDArray[np.float64], ridge: float, n_sweeps: int
) -> NDArray[np.float64]:
    """Ridge regression on the bits, with margins that grow where a bit is right already."""
    target = b
    for _ in range(n_sweeps):
        f = np.linalg.inv(x.T @ x + ridge * np.eye(x.shape[1])) @ x.T @ target
        target = bit_target(b, x @ f)
    return f
