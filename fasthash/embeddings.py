"""Embeddings that somebody has already: codes of them, and what searching by codes loses.

The nearest vectors by the cosine of their angle are what codes are to find. A search by codes may
fetch more candidates than are wanted and put these in the order of their cosines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .codes import pack
from .hamming import topk
from .reranking import rerank, unit_rows
from .rows import Rows, cut
from .validation import check_choice, check_count, check_rows

__all__ = ["METHODS", "Recall", "codes_of_signs", "nearest", "recall_of_codes"]

METHODS = ("sign", "itq")

# Products of queries and vectors that are held at a time.
_BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class Recall:
    """
    How many of the nearest vectors a search by codes finds.

    Attributes
    ----------
    method : str
    n_bits : int
    candidates : int
        How many codes are fetched for every query, of which the best by cosine are answers; where
        these are no more than the answers, nothing is put in another order.
    value : float
        Share of the nearest vectors that are among the answers, mean over queries.
    """

    method: str
    n_bits: int
    candidates: int
    value: float


def codes_of_signs(x: ArrayLike, n_bits: int | None = None) -> NDArray[np.uint8]:
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
        If x is no matrix of finite numbers, or has fewer features than `n_bits`.

    Examples
    --------
    >>> codes_of_signs([[0.5, -1.0, 2.0]])
    array([[160]], dtype=uint8)
    """
    rows = check_rows(x, "x")
    n_bits = rows.shape[1] if n_bits is None else check_count(n_bits, "n_bits")
    if n_bits > rows.shape[1]:
        raise ValueError(f"n_bits is {n_bits}, and there are signs of {rows.shape[1]} features")
    blocks = [pack(rows.read(block)[:, :n_bits]) for block in cut(*rows.shape)]
    return np.concatenate(blocks)


def nearest(queries: ArrayLike, vectors: ArrayLike, k: int) -> NDArray[np.int64]:
    """
    Find the vectors with the largest cosines, by computing all of them.

    Parameters
    ----------
    queries : array_like, shape (n_queries, n_features)
    vectors : array_like, shape (n, n_features)
        Read block by block.
    k : int
        At most n.

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
    x = check_rows(vectors, "vectors")
    q = unit_rows(_all(check_rows(queries, "queries", x.shape[1])))
    k = _check_k(k, len(x))
    best = np.full((len(q), 0), -np.inf)
    rows = np.empty((len(q), 0), np.int64)
    step = max(1, _BLOCK_VALUES // max(1, len(q)))
    for first in range(0, len(x), step):
        block = unit_rows(x.read(slice(first, min(first + step, len(x)))))
        best = np.hstack([best, q @ block.T])
        new = np.broadcast_to(np.arange(first, first + len(block)), (len(q), len(block)))
        rows = np.hstack([rows, new])
        # Rows ascend within equal cosines, and a stable sort leaves them so.
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best, rows = (np.take_along_axis(a, order, axis=1) for a in (best, rows))
    return rows


def recall_of_codes(
    vectors: ArrayLike,
    queries: ArrayLike,
    *,
    methods: Sequence[str] = METHODS,
    n_bits: Sequence[int],
    k: int = 10,
    candidates: Sequence[int] = (),
    random_state: Any = 0,
    callback: Callable[[str, int, int], None] | None = None,
) -> list[Recall]:
    """
    Compare the search by codes with the search by cosines.

    Parameters
    ----------
    vectors, queries : array_like, shapes (n, n_features) and (n_queries, n_features)
    methods : sequence of {"sign", "itq"}
        Signs of the first features, or `fasthash.ITQ` fitted to the vectors.
    n_bits : sequence of int
        Each at most n_features.
    k : int, default 10
        How many of the nearest are to be found.
    candidates : sequence of int, default ()
        Also by fetching so many codes and putting them in the order of their cosines.
    random_state : int or None, default 0
        Seeds ITQ.
    callback : callable, optional
        Called as ``callback(stage, done, total)`` after each method and length.

    Returns
    -------
    list of Recall
        Per method and length: of the k nearest codes, then of `candidates`.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((200, 16))
    >>> for line in recall_of_codes(x, x[:5], methods=["sign"], n_bits=[16], k=1, candidates=[20]):
    ...     print(line.method, line.n_bits, line.candidates, line.value)
    sign 16 1 1.0
    sign 16 20 1.0
    """
    for method in methods:
        check_choice(method, "methods", METHODS)
    lengths = [check_count(length, "n_bits") for length in n_bits]
    wanted = nearest(queries, vectors, k)
    fetched = [k, *(min(c, len(check_rows(vectors, "vectors"))) for c in candidates)]
    table = []
    for method in methods:
        for length in lengths:
            encode = _encoder(method, vectors, length, random_state)
            _, ids = topk(encode(queries), encode(vectors), max(fetched))
            for n in fetched:
                found = ids[:, :k] if n <= k else rerank(queries, vectors, ids[:, :n], k)[1]
                hits = [len(np.intersect1d(a, b)) for a, b in zip(found, wanted, strict=True)]
                table.append(Recall(method, length, n, float(np.mean(hits)) / k))
            if callback is not None:
                total = len(methods) * len(lengths) * len(fetched)
                callback(f"{method}, {length} bits", len(table), total)
    return table


def _encoder(
    method: str, vectors: Any, n_bits: int, seed: Any
) -> Callable[[Any], NDArray[np.uint8]]:
    if method == "sign":
        return lambda x: codes_of_signs(x, n_bits)
    from .models import ITQ

    model = ITQ(n_bits, random_state=seed).fit(np.asarray(vectors))
    return lambda x: model.transform(np.asarray(x))


def _all(x: Rows) -> NDArray[Any]:
    return x.read(slice(0, len(x)))


def _check_k(k: Any, n: int) -> int:
    k = check_count(k, "k")
    if k > n:
        raise ValueError(f"k is {k}, and there are {n} vectors")
    return k
