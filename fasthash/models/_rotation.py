"""The rotation of iterative quantisation (ITQ), which several models apply to their projections."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy import linalg
from numpy.typing import NDArray

from .._core.workers import Workers
from ._progress import Report, ignore

__all__ = ["moments_of_part", "quantising_rotation", "rotation_from", "sign_moments"]


def quantising_rotation(
    scores: NDArray[np.floating],
    n_iterations: int,
    random_state: np.random.RandomState,
    n_bits: int | None = None,
) -> NDArray[np.float64]:
    """
    Find a rotation of the scores that brings them close to their signs.

    There may be more bits than columns of scores. Then the rotation has orthonormal rows, and maps
    the scores into the larger space of the bits.

    The method alternates two steps, each of which lowers ‖B - VR‖²: B = sign(VR), and the
    Procrustes rotation R of V to B. The scale of the scores does not matter.

    Parameters
    ----------
    scores : ndarray of float32 or float64, shape (n, n_columns)
        V, centred projections of the samples.
    n_iterations : int
        Number of steps; fifty have been enough.
    random_state : RandomState
        Draws the rotation to start from.
    n_bits : int, optional
        At least the number of columns. By default the number of columns.

    Returns
    -------
    ndarray of float64, shape (n_columns, n_bits)
        R, with orthonormal rows.

    Notes
    -----
    O(n · n_bits² + n_bits³) per step. Holds an array of signs with the shape of the scores.

    References
    ----------
    Gong, Lazebnik, Gordo, Perronnin, "Iterative Quantization: A Procrustean Approach to Learning
    Binary Codes for Large-Scale Image Retrieval", IEEE Transactions on Pattern Analysis and Machine
    Intelligence 35(12), 2013.

    Examples
    --------
    The corners of a square lie on the axes. The rotation moves them away from the axes.

    >>> import numpy as np
    >>> corners = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> rotation = quantising_rotation(corners, 50, np.random.RandomState(0))
    >>> np.abs(corners @ rotation).round(3)[0]
    array([0.707, 0.707])
    """
    moments = partial(sign_moments, scores)
    n_columns = scores.shape[1]
    return rotation_from(moments, n_columns, n_iterations, random_state, n_bits, ignore)


def sign_moments(
    scores: NDArray[np.floating], rotation: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Compute Vᵀ sign(VR), which is a sum over samples."""
    moments: NDArray[np.floating] = scores.T @ np.where(scores @ rotation >= 0, 1.0, -1.0)
    return moments


def moments_of_part(
    scores: NDArray[np.floating], workers: Workers, rotation: NDArray[np.float64]
) -> NDArray[np.floating]:
    """Compute `sign_moments` of the scores of a part of the samples."""
    return sign_moments(scores, rotation)


def rotation_from(
    moments: Callable[[NDArray[np.float64]], NDArray[np.floating]],
    n_columns: int,
    n_iterations: int,
    random_state: np.random.RandomState,
    n_bits: int | None,
    report: Report,
) -> NDArray[np.float64]:
    """`quantising_rotation` of scores that only a function knows, which computes `sign_moments`."""
    n_bits = n_bits or n_columns
    rotation = linalg.qr(random_state.standard_normal((n_bits, n_bits)))[0][:n_columns]
    for step in range(n_iterations):
        left, _, right = linalg.svd(moments(rotation), full_matrices=False)
        rotation = left @ right
        report("rotation", step + 1, n_iterations)
    return rotation
