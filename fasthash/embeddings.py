"""Binary codes of existing embeddings by their signs, and the float search without codes.

`nearest` finds the vectors with the largest cosine similarity. A search by codes should find the
same vectors; `fasthash.experiments.recall_of_codes` measures how many of them it finds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core.arrays import as_array
from ._core.features import unit_rows
from ._core.pieces import BLOCK_BYTES, cut
from ._core.rows import Rows
from ._core.suspicious_columns import warn_of_signs
from ._core.validation import check_count, check_rows
from .codes import check_signs, pack_signs

__all__ = [
    "METHODS",
    "codes_of_signs",
    "nearest",
]

METHODS = ("sign", "itq", "rreh")
"""The ways to make codes of embeddings that `fasthash.experiments.recall_of_codes` compares: their
signs, `fasthash.ITQ`, and `fasthash.RREH`, which learns from pairs of two or more modalities."""


CENTRE = "subtract the means with centre="
"""The remedy for vectors that hold nothing below 0, for errors."""


def codes_of_signs(
    x: ArrayLike, *, n_bits: int | None = None, centre: bool | ArrayLike = False
) -> NDArray[np.uint8]:
    """
    Pack the signs of embeddings.

    Parameters
    ----------
    x : array_like, shape (n, n_features)
        Embeddings, in any form that models accept as features.
    n_bits : int, optional
        Number of features to use, counted from the first one. By default all are used. A smaller
        number suits Matryoshka embeddings, whose first features matter most.
    centre : bool or array_like of float, shape (n_features,), default False
        Means to subtract from the features first. True subtracts the means of x. The codes of
        queries need the means of the vectors that are searched, ``vectors.mean(axis=0)``.

    Returns
    -------
    ndarray of uint8, shape (n, ceil(n_bits / 8))
        Packed codes. A bit is 1 if the feature is at least 0, or at least its mean.

    Raises
    ------
    TypeError, ValueError
        If x is not a matrix of finite numbers, has fewer features than `n_bits`, or holds no
        negative number although `pack` needs one: for the output of a ReLU every bit would be 1,
        so pass `centre`.

    Warns
    -----
    UserWarning
        If there are at least 100 rows and a feature has the same sign in 99 % of them. Its bit then
        carries hardly any information.

    See Also
    --------
    fasthash.pack : Pack the signs of any real values.
    fasthash.experiments.recall_of_codes : Measure how many nearest vectors a search by codes finds.

    Examples
    --------
    >>> codes_of_signs([[0.5, -1.0, 2.0]])
    array([[160]], dtype=uint8)

    The output of a ReLU is at least 0, so its means are subtracted:

    >>> codes_of_signs([[0.0, 3.0, 2.0], [0.5, 0.0, 0.0]], centre=True)
    array([[ 96],
           [128]], dtype=uint8)
    """
    rows = check_rows(x, "x")
    n_bits = rows.shape[1] if n_bits is None else check_count(n_bits, "n_bits")
    if n_bits > rows.shape[1]:
        raise ValueError(f"n_bits is {n_bits}, and x has {rows.shape[1]} features only")
    mean = _means(centre, rows)
    if mean is None:
        blocks = (rows.read(block)[:, :n_bits] for block in cut(*rows.shape))
        check_signs(blocks, "x", CENTRE)
    codes = packed_signs(rows, n_bits, mean)
    n_ones = np.zeros(n_bits, np.int64)
    for block in cut(len(codes), n_bits, BLOCK_BYTES):
        n_ones += np.unpackbits(codes[block], axis=1, count=n_bits).sum(axis=0, dtype=np.int64)
    warn_of_signs(n_ones, len(codes), "x")
    return codes


def nearest(
    queries: ArrayLike,
    vectors: ArrayLike,
    k: int,
    *,
    callback: Callable[[str, int, int], None] | None = None,
) -> NDArray[np.int64]:
    """
    Find the vectors with the largest cosine similarity, by computing all similarities.

    Parameters
    ----------
    queries : array_like, shape (n_queries, n_features)
        Vectors to search with.
    vectors : array_like, shape (n, n_features)
        Vectors to search. They are read block by block.
    k : int
        Number of vectors to find for each query, at most n.
    callback : callable, optional
        Called as ``callback(stage, done, total)`` after each block.

    Returns
    -------
    ndarray of int64, shape (n_queries, k)
        Row numbers of the vectors, nearest first. Among equal similarities, the smaller row number
        comes first.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or shape, or `k` is greater than n.

    See Also
    --------
    fasthash.experiments.recall_of_codes : Compare this search with a search by codes.

    Notes
    -----
    The cost is O(n_queries · n · n_features).

    Examples
    --------
    >>> nearest([[1.0, 0.1]], [[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]], 2)
    array([[1, 2]])
    """
    x, asked = check_rows(vectors, "vectors"), check_rows(queries, "queries")
    if asked.shape[1] != x.shape[1]:
        raise ValueError(f"queries have {asked.shape[1]} columns, and vectors have {x.shape[1]}")
    q = unit_rows(_read_all(asked))
    k = _check_k(k, len(x))
    best = np.full((len(q), 0), -np.inf)
    rows = np.empty((len(q), 0), np.int64)
    for some in cut(len(x), len(q)):
        block = unit_rows(x.read(some))
        best = np.hstack([best, q @ block.T])
        new = np.broadcast_to(np.arange(some.start, some.stop), (len(q), len(block)))
        rows = np.hstack([rows, new])
        # Row numbers ascend among equal similarities, and a stable sort keeps this order.
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best, rows = (np.take_along_axis(a, order, axis=1) for a in (best, rows))
        if callback is not None:
            callback("float search", some.stop, len(x))
    return rows


def first_columns(
    rows: Rows, n_columns: int, mean: NDArray[np.float64] | None = None
) -> NDArray[np.floating]:
    """Read the first columns of rows that have been checked, less their means if given."""
    return np.concatenate([_centred(rows, block, n_columns, mean) for block in cut(*rows.shape)])


def packed_signs(
    rows: Rows, n_bits: int, mean: NDArray[np.float64] | None = None
) -> NDArray[np.uint8]:
    """Pack the signs of the first n_bits columns of rows that have been checked."""
    blocks = cut(*rows.shape)
    return np.concatenate([pack_signs(_centred(rows, block, n_bits, mean)) for block in blocks])


def _centred(
    rows: Rows, block: slice, n_columns: int, mean: NDArray[np.float64] | None
) -> NDArray[np.floating]:
    x = rows.read(block)[:, :n_columns]
    return x if mean is None else x - mean[:n_columns].astype(x.dtype)


def _means(centre: bool | ArrayLike, rows: Rows) -> NDArray[np.float64] | None:
    """Return the means to subtract, or None."""
    if isinstance(centre, bool | np.bool_):
        return rows.column_means() if centre else None
    mean = as_array(centre, "centre")
    if mean.dtype.kind not in "fiu" or mean.shape != (rows.shape[1],):
        raise ValueError(
            f"centre must be True, False or an array of {rows.shape[1]} means, one for each "
            f"feature, got dtype {mean.dtype} and shape {mean.shape}"
        )
    if not np.isfinite(mean).all():
        raise ValueError(f"centre[{np.flatnonzero(~np.isfinite(mean))[0]}] is not finite")
    return mean.astype(np.float64)


def _read_all(x: Rows) -> NDArray[Any]:
    return x.read(slice(0, len(x)))


def _check_k(k: Any, n: int) -> int:
    k = check_count(k, "k")
    if k > n:
        raise ValueError(f"k is {k}, and there are {n} vectors only")
    return k
