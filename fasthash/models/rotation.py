"""The rotation of iterative quantisation, which several models turn their projections by."""

from __future__ import annotations

import numpy as np
from numpy import linalg
from numpy.typing import NDArray

__all__ = ["quantising_rotation"]


def quantising_rotation(
    scores: NDArray[np.floating], n_iterations: int, random_state: np.random.RandomState
) -> NDArray[np.float64]:
    """
    Turn scores so that they come near to their own signs.

    Alternates the two steps that each lower ‖B - VR‖²: B = sign(VR), and the Procrustes rotation R
    of V to B. The scale of the scores does not matter.

    Parameters
    ----------
    scores : ndarray of float32 or float64, shape (n, n_bits)
        V, centred projections of the samples.
    n_iterations : int
        Steps; fifty are enough by experience.
    random_state : RandomState
        Draws the rotation to start from.

    Returns
    -------
    ndarray of float64, shape (n_bits, n_bits)
        R, orthogonal.

    Notes
    -----
    O(n · n_bits² + n_bits³) per step; a copy of the scores as signs is held.

    References
    ----------
    Gong, Lazebnik, Gordo, Perronnin, "Iterative Quantization: A Procrustean Approach to Learning
    Binary Codes for Large-Scale Image Retrieval", IEEE Transactions on Pattern Analysis and Machine
    Intelligence 35(12), 2013.

    Examples
    --------
    A square that stands on its corners is turned to stand on a side.

    >>> import numpy as np
    >>> corners = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    >>> rotation = quantising_rotation(corners, 50, np.random.RandomState(0))
    >>> np.abs(corners @ rotation).round(3)[0]
    array([0.707, 0.707])
    """
    n_bits = scores.shape[1]
    rotation, _ = linalg.qr(random_state.standard_normal((n_bits, n_bits)))
    for _ in range(n_iterations):
        signs = np.where(scores @ rotation >= 0, 1.0, -1.0)
        left, _, right = linalg.svd(scores.T @ signs)
        rotation = left @ right
    return rotation
