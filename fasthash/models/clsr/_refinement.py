"""`Refinement`: bits of a sample whose directions add up to its latents.

A code b of bits 1 and -1 stands for P b, the sum of the directions of its bits, each with its sign.
The bits of a sample x, its centred latents, are those that minimise

    ‖x - P b‖² + a (x·P b / ‖x‖ - ‖x‖)² + e (‖P b‖² - s)² / s

The second term counts the part of the error along x more. This part raises or lowers all scores of
the sample, so that it would be found too often or too rarely. The third does so for lengths, where
s is the usual one. The search starts at the signs of xP, and changes single bits while that helps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._core.kept import KeptProperty
from ..._kernels.refine import refine
from .._rotation import quantising_rotation
from .._saving import check_shape

__all__ = ["Refinement", "check_refinement", "fit_refinement"]

# a and e.
_ALONG = 3.0
_EVEN = 2.0

# Largest number of sweeps over the bits: for codes, and in a step of the fit.
_SWEEPS = 8
_SWEEPS_OF_STEP = 2

# The fit begins with a rotation of as many components as bits. Then it alternates between the bits,
# and directions by ridge regression. It uses at most so many rows.
_ROWS = 8192
_ROTATION_STEPS = 15
_STEPS = 12
_RIDGE = 0.01

# The size of a projection whose bit the refinement changed. It weighs nothing, and has the sign.
_SMALL = 1e-12


@dataclass(frozen=True)
class Refinement:
    """
    Projections of centred latents on the directions of bits, with the signs of refined bits.

    Attributes
    ----------
    directions : ndarray of float64, shape (n_latents, n_bits)
        P.
    norm : float
        s.
    """

    directions: NDArray[np.float64]
    norm: float

    @KeptProperty
    def gram(self) -> NDArray[np.float64]:
        """Products of the directions with each other."""
        products: NDArray[np.float64] = self.directions.T @ self.directions
        return products

    def project(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Project centred latents; near 0 where the refined bit is not the sign of the product."""
        products = x.astype(np.float64) @ self.directions
        bits = _refined(products, x, self.gram, self.norm, _SWEEPS)
        return (bits * np.maximum(bits * products, _SMALL)).astype(np.float32)


def _refined(
    products: NDArray[np.float64],
    x: NDArray[np.float32],
    gram: NDArray[np.float64],
    norm: float,
    n_sweeps: int,
    bits: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Refine bits, by default the signs of the products."""
    bits = np.where(products >= 0, 1.0, -1.0) if bits is None else bits
    lengths = np.maximum(np.linalg.norm(x.astype(np.float64), axis=1), _SMALL)
    refine(products, lengths, gram, _ALONG, _EVEN, norm, n_sweeps, bits)
    return bits


def fit_refinement(
    x: NDArray[np.float32], n_bits: int, random_state: np.random.RandomState
) -> Refinement:
    """
    Learn directions for the bits of centred latents.

    Parameters
    ----------
    x : ndarray of float32, shape (n, n_latents)
        Rows of both modalities.
    n_bits : int
    random_state : RandomState
    """
    # As many of each modality, wherever they are.
    x = x[:: max(1, -(-len(x) // _ROWS))]
    n_components = min(x.shape[1], n_bits)
    components = np.linalg.eigh((x.T @ x).astype(np.float64))[1][:, -n_components:]
    values = x.astype(np.float64) @ components
    rotation = quantising_rotation(values, _ROTATION_STEPS, random_state, n_bits)
    bits = np.where(values @ rotation >= 0, 1.0, -1.0)
    for _ in range(_STEPS):
        counts = bits.T @ bits
        counts[np.diag_indices(n_bits)] *= 1 + _RIDGE
        directions = np.linalg.solve(counts, bits.T @ values)
        # Latents that do not vary have no length.
        norm = max(float(np.mean(np.sum((bits @ directions) ** 2, axis=1))), _SMALL)
        gram = directions @ directions.T
        bits = _refined(values @ directions.T, x, gram, norm, _SWEEPS_OF_STEP, bits)
    norm = max(float(np.mean(np.sum((bits @ directions) ** 2, axis=1))), _SMALL)
    return Refinement(components @ directions.T, norm)


def check_refinement(refinement: Any, n_bits: int) -> int:
    """
    Check that a refinement from a file makes codes of n_bits, and return the number of latents.

    Raises
    ------
    ValueError
        If it does not.
    """
    if not (
        isinstance(refinement, Refinement)
        and isinstance(refinement.norm, float)
        and 0 < refinement.norm < np.inf
    ):
        raise ValueError("the refinement is damaged")
    return check_shape(refinement.directions, "directions of bits", (None, n_bits)).shape[0]
