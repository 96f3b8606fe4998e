"""Reconstruction from anchors as it is written down: every distance, every system by itself."""

import numpy as np
from numpy.typing import NDArray


def nearest_anchors(
    sample: NDArray[np.floating], anchors: NDArray[np.floating], k: int
) -> list[int]:
    """The k nearest anchors, ascending; of anchors equally far the lower one is nearer."""
    distances = []
    for anchor in anchors:
        difference = anchor.astype(np.float64) - sample.astype(np.float64)
        distances.append(np.sum(difference**2))
    order = sorted(range(len(anchors)), key=lambda j: (distances[j], j))
    return sorted(order[:k])


def weights_of(
    sample: NDArray[np.floating], neighbours: NDArray[np.floating], regularisation: float
) -> NDArray[np.float64]:
    """Weights >= 0 that sum to 1, with which the neighbours make up the sample."""
    k = len(neighbours)
    gram = np.zeros((k, k))
    for i in range(k):
        for j in range(k):
            a = neighbours[i].astype(np.float64) - sample.astype(np.float64)
            b = neighbours[j].astype(np.float64) - sample.astype(np.float64)
            gram[i, j] = np.sum(a * b)
    spread = np.trace(gram) / k
    if spread == 0:
        return np.full(k, 1 / k)
    w = np.linalg.solve(gram + regularisation * spread * np.eye(k), np.ones(k))
    w = np.maximum(w, 0)
    return w / np.sum(w)


def reconstruct(
    x: NDArray[np.floating], anchors: NDArray[np.floating], k: int, regularisation: float
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Indices and weights, both of shape (n, min(k, number of anchors))."""
    k = min(k, len(anchors))
    indices = np.zeros((len(x), k), np.int32)
    weights = np.zeros((len(x), k))
    for i, sample in enumerate(x):
        indices[i] = nearest_anchors(sample, anchors, k)
        weights[i] = weights_of(sample, anchors[indices[i]], regularisation)
    return indices, weights
