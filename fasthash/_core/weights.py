"""Weights of queries: `check_weights` checks them, and `round_weights` rounds them to integers.

The kernels add up integers, so that results do not depend on the order of the additions. A search
of several sets of codes rounds its weights once, and then compares the sums from all sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._kernels import weighted as _kernels
from .arrays import as_array
from .pieces import cut

__all__ = ["RoundedWeights", "check_weights", "round_weights", "weighted_distances"]

# The sum of all rounded weights, 255 for a byte, must fit in int32.
_MAX_BYTES = (2**31 - 1) // 255 - 1


@dataclass(frozen=True)
class RoundedWeights:
    """
    The weights of queries as multiples of a step.

    Attributes
    ----------
    values : ndarray of int16, shape (n_queries, 8 n_bytes)
        Zero in the columns of padding bits. At most 255 in total for each byte, without the signs.
    largest, step : ndarray of float64, shape (n_queries, 1)
        The largest absolute weight of a query, and the step as a multiple of it.
    """

    values: NDArray[np.int16]
    largest: NDArray[np.float64]
    step: NDArray[np.float64]

    def distances(
        self, codes_of: Callable[[slice], NDArray[np.uint8]], n_codes: int
    ) -> NDArray[np.int32]:
        """
        Sum up, for each query, the absolute weights of the bits in which codes differ from it.

        Parameters
        ----------
        codes_of : callable
            Returns the codes of a slice of the queries, of shape (n_some, n_codes, n_bytes). They
            are asked for block by block.
        n_codes : int
            Number of codes for each query.

        Returns
        -------
        ndarray of int32, shape (n_queries, n_codes)
        """
        n, n_bits = self.values.shape
        distances = np.empty((n, n_codes), np.int32)
        for some in cut(n, n_codes * n_bits):
            # float64 holds sums of integers exactly, and its products are fast.
            weights = self.values[some].astype(np.float64)
            bits = np.unpackbits(codes_of(some), axis=2).astype(np.float64)
            differing_ones = np.matmul(bits, -weights[:, :, None])[:, :, 0]
            distances[some] = differing_ones + np.maximum(weights, 0).sum(axis=1)[:, None]
        return distances

    def scores(self, distances: NDArray[np.int32], ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """
        Turn weights of differing bits into scores; NaN where an id is -1.

        Parameters
        ----------
        distances : ndarray of int32, shape (n_queries, k)
            Sums of the absolute values of the bits in which a code differs from the query.
        ids : ndarray of int64, shape (n_queries, k)
        """
        total = np.abs(self.values).sum(axis=1, dtype=np.int64)[:, None]
        # In this order, because a step may be smaller than any float.
        scores = (total - 2 * distances.astype(np.int64)) * self.step * self.largest
        scores[ids < 0] = np.nan
        return scores


def weighted_distances(values: NDArray[np.int16], codes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """
    Sum up, for each query, the absolute weights of the bits in which all codes differ from it.

    Parameters
    ----------
    values : ndarray of int16, shape (n_queries, 8 n_bytes)
        As in `RoundedWeights`.
    codes : ndarray of uint8, shape (n, n_bytes)

    Returns
    -------
    ndarray of int32, shape (n_queries, n)
    """
    # float64 holds sums of integers exactly, and its products are fast.
    weights = values.astype(np.float64)
    distances = np.empty((len(weights), len(codes)), np.int32)
    largest = np.maximum(weights, 0).sum(axis=1)[:, None]
    for rows in cut(len(codes), weights.shape[1]):
        bits = np.unpackbits(codes[rows], axis=1).astype(np.float64)
        distances[:, rows] = largest - weights @ bits.T
    return distances


def check_weights(weights: ArrayLike, n_bits: int | None = None) -> NDArray[Any]:
    """
    Check dtype and shape of weights. `round_weights` checks that they are finite.

    Parameters
    ----------
    weights : array_like of float or int, shape (n_queries, n_bits)
    n_bits : int, optional
        The number of columns; by default any.

    Raises
    ------
    TypeError, ValueError
        If they are not real numbers in two dimensions, have another number of columns, or have so
        many that their sum may overflow.
    """
    x = as_array(weights, "weights")
    if x.dtype.kind not in "fiu":
        raise TypeError(f"weights must hold real numbers, got dtype {x.dtype}")
    if x.ndim != 2:
        hint = " (for a single query pass weights[None, :])" if x.ndim == 1 else ""
        raise ValueError(
            f"weights must have two dimensions, one query per row, got shape {x.shape}{hint}"
        )
    if x.shape[1] == 0:
        raise ValueError("weights has no columns: pass one weight per bit")
    if n_bits is not None and x.shape[1] != n_bits:
        raise ValueError(
            f"weights has {x.shape[1]} columns, but n_bits={n_bits}: pass one weight per bit"
        )
    if x.shape[1] > 8 * _MAX_BYTES:
        raise ValueError(f"weights has {x.shape[1]} columns; the limit is {8 * _MAX_BYTES}")
    return x


def round_weights(weights: NDArray[Any]) -> RoundedWeights:
    """
    Round the weights of every query to multiples of a step, which `topk_weighted` describes.

    Parameters
    ----------
    weights : ndarray, shape (n_queries, n_bits)
        As returned by `check_weights`.

    Raises
    ------
    ValueError
        If a weight is not finite, or the sum of the weights of a query may overflow.
    """
    n, n_bits = weights.shape
    n_columns = 8 * ((n_bits + 7) // 8)
    rounded = np.empty((n, n_columns), np.int16)
    largest, step = np.empty((n, 1)), np.empty((n, 1))
    for some in cut(n, n_columns):
        with np.errstate(over="ignore"):
            block = np.ascontiguousarray(weights[some], np.float64)
        refused = _kernels.round_weights(block, rounded[some], largest[some], step[some])
        if refused >= 0:
            raise _refusal(weights[some.start + refused], block[refused], some.start + refused)
    return RoundedWeights(rounded, largest, step)


def _refusal(given: NDArray[Any], weights: NDArray[np.float64], query: int) -> ValueError:
    """What to say of a query whose weights cannot be rounded."""
    is_unusable = ~np.isfinite(weights)
    if is_unusable.any():
        column = np.flatnonzero(is_unusable)[0]
        return ValueError(
            f"weights[{query}, {column}] is {given[column]}: weights must be finite numbers of "
            "float64"
        )
    return ValueError(
        f"weights has values up to {np.abs(weights).max():g}: the sum of {len(weights)} of them "
        "may overflow; scale them first"
    )
