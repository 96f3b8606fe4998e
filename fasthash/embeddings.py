"""Embeddings that somebody has already: codes of their signs, and the search without codes.

The nearest vectors by cosine are what codes are to find. How many they find is measured by
`fasthash.experiments.recall_of_codes`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core.features import unit_rows
from ._core.pieces import cut
from ._core.rows import Rows
from ._core.validation import check_count, check_rows
from .codes import check_signs, pack_signs

__all__ = [
    "METHODS",
    "codes_of_signs",
    "nearest",
]

# The last one learns from pairs of two modalities or more.
METHODS = ("sign", "itq", "rreh")

# In so many rows a feature that may have either sign has both.
_MANY_ROWS = 100


def codes_of_signs(x: ArrayLike, *, n_bits: int | None = None) -> NDArray[np.uint8]:
    """
    Pack the signs of embeddings.

    Parameters
    ----------
    x : array_like, shape (n, n_features)
        Anything that models take as features.
    n_bits : int, optional
        How many of the first features to take; by default all. For models that were trained to put
        what matters first.

    Returns
    -------
    ndarray of uint8, shape (n, ceil(n_bits / 8))

    Raises
    ------
    TypeError, ValueError
        If x is no matrix of finite numbers, has fewer features than `n_bits`, or holds nothing
        below 0 where `pack` refuses that, as what a ReLU gives: every bit would be 1.

    Warns
    -----
    UserWarning
        If a feature has the same sign in all rows, 100 or more: its bit tells nothing.

    Examples
    --------
    >>> codes_of_signs([[0.5, -1.0, 2.0]])
    array([[160]], dtype=uint8)
    """
    rows = check_rows(x, "x")
    n_bits = rows.shape[1] if n_bits is None else check_count(n_bits, "n_bits")
    if n_bits > rows.shape[1]:
        raise ValueError(f"n_bits is {n_bits}, and there are signs of {rows.shape[1]} features")
    check_signs((rows.read(block)[:, :n_bits] for block in cut(*rows.shape)), "x")
    codes = packed_signs(rows, n_bits)
    if len(codes) >= _MANY_ROWS:
        _warn_of_constant_bits(codes, n_bits)
    return codes


def nearest(
    queries: ArrayLike,
    vectors: ArrayLike,
    k: int,
    *,
    callback: Callable[[str, int, int], None] | None = None,
) -> NDArray[np.int64]:
    """
    Find the vectors with the largest cosines, by computing all of them.

    Parameters
    ----------
    queries : array_like, shape (n_queries, n_features)
    vectors : array_like, shape (n, n_features)
        Read block by block.
    k : int
        At most n.
    callback : callable, optional
        Called as ``callback(stage, done, total)`` after each block.

    Returns
    -------
    ndarray of int64, shape (n_queries, k)
        Rows, nearest first; of equal cosines the smaller row first.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit.

    Notes
    -----
    O(n_queries · n · n_features).

    Examples
    --------
    >>> nearest([[1.0, 0.1]], [[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]], 2)
    array([[1, 2]])
    """
    x, asked = check_rows(vectors, "vectors"), check_rows(queries, "queries")
    if asked.shape[1] != x.shape[1]:
        raise ValueError(f"queries have {asked.shape[1]} columns, and vectors have {x.shape[1]}")
    q = unit_rows(_all(asked))
    k = _check_k(k, len(x))
    best = np.full((len(q), 0), -np.inf)
    rows = np.empty((len(q), 0), np.int64)
    for some in cut(len(x), len(q)):
        block = unit_rows(x.read(some))
        best = np.hstack([best, q @ block.T])
        new = np.broadcast_to(np.arange(some.start, some.stop), (len(q), len(block)))
        rows = np.hstack([rows, new])
        # Rows ascend within equal cosines, and a stable sort leaves them so.
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best, rows = (np.take_along_axis(a, order, axis=1) for a in (best, rows))
        if callback is not None:
            callback("float search", some.stop, len(x))
    return rows


def packed_signs(rows: Rows, n_bits: int) -> NDArray[np.uint8]:
    """The signs of the first n_bits columns of rows that have been checked, packed."""
    blocks = cut(*rows.shape)
    return np.concatenate([pack_signs(rows.read(block)[:, :n_bits]) for block in blocks])


def _warn_of_constant_bits(codes: NDArray[np.uint8], n_bits: int) -> None:
    ones = np.unpackbits(np.bitwise_and.reduce(codes, axis=0), count=n_bits)
    zeros = np.unpackbits(np.bitwise_or.reduce(codes, axis=0), count=n_bits) == 0
    constant = np.flatnonzero(ones | zeros)
    if len(constant):
        named = ", ".join(map(str, constant[:5])) + ", …" * (len(constant) > 5)
        warnings.warn(
            f"{len(constant)} of {n_bits} features of x have the same sign in all {len(codes)} "
            f"rows ({named}), so their bits tell nothing: x - x.mean(axis=0) centres them",
            UserWarning,
            stacklevel=3,
        )


def _all(x: Rows) -> NDArray[Any]:
    return x.read(slice(0, len(x)))


def _check_k(k: Any, n: int) -> int:
    k = check_count(k, "k")
    if k > n:
        raise ValueError(f"k is {k}, and there are {n} vectors")
    return k
