"""What codes are like: how bits are spread, how far relevant and other codes are apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.labels import check_labels, label_classes
from .._core.pieces import cut
from .._core.validation import check_count
from ..codes import check_codes, unpack
from ._relevance import check_problem

__all__ = [
    "average_precision_by_label",
    "bit_correlations",
    "bit_means",
    "distances_by_relevance",
]

# Rows unpacked at a time.
_BLOCK_ROWS = 1 << 14


def bit_means(codes: ArrayLike, n_bits: int) -> NDArray[np.float64]:
    """
    Compute the share of ones of every bit; a half is what tells most.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, ceil(n_bits / 8))
    n_bits : int

    Returns
    -------
    ndarray of float64, shape (n_bits,)

    Raises
    ------
    TypeError, ValueError
        If the codes are none of this length, or there are none.

    Examples
    --------
    >>> import fasthash as fh
    >>> bit_means(fh.pack([[1.0, 1.0], [1.0, -1.0]]), 2)
    array([1. , 0.5])
    """
    return _moments(codes, n_bits)[0]


def bit_correlations(codes: ArrayLike, n_bits: int) -> NDArray[np.float64]:
    """
    Compute the correlation of every two bits; those of a bit that never changes are 0.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, ceil(n_bits / 8))
    n_bits : int

    Returns
    -------
    ndarray of float64, shape (n_bits, n_bits)

    Raises
    ------
    TypeError, ValueError
        If the codes are none of this length, or there are none.

    Notes
    -----
    O(n · n_bits²).

    Examples
    --------
    >>> import fasthash as fh
    >>> bit_correlations(fh.pack([[1.0, -1.0], [-1.0, 1.0], [1.0, -1.0]]), 2)
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    mean, product = _moments(codes, n_bits)
    covariance = product - np.outer(mean, mean)
    scale = np.sqrt(mean * (1 - mean))
    scale = np.divide(1, scale, out=np.zeros(len(scale)), where=scale > 0)
    # Rounded, because rounding errors of a perfect correlation may exceed 1.
    return np.clip((covariance * np.outer(scale, scale)).round(12), -1, 1)


def _moments(codes: ArrayLike, n_bits: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of bits, and means of the products of any two."""
    n_bits = check_count(n_bits, "n_bits")
    checked = check_codes(codes, "codes", n_bits)
    if len(checked) == 0:
        raise ValueError("codes is empty: there is nothing to describe")
    total, product = np.zeros(n_bits), np.zeros((n_bits, n_bits))
    for some in cut(len(checked), most=_BLOCK_ROWS):
        # Sums of 0 and 1 up to 2**24 are exact in float32.
        bits = unpack(checked[some], n_bits).astype(np.float32)
        total += bits.sum(axis=0)
        product += bits.T @ bits
    return total / len(checked), product / len(checked)


def distances_by_relevance(
    query_codes: ArrayLike,
    database_codes: ArrayLike,
    query_labels: Any,
    database_labels: Any,
    *,
    n_bits: int,
    n_threads: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """
    Count the pairs of a query and a code at every distance, relevant ones and others.

    Parameters
    ----------
    query_codes, database_codes, query_labels, database_labels, n_threads
        As for `fasthash.mean_average_precision`.
    n_bits : int

    Returns
    -------
    relevant, other : ndarray of int64, shape (n_bits + 1,)

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit.

    Examples
    --------
    >>> import fasthash as fh
    >>> codes = fh.pack([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> distances_by_relevance(codes[:1], codes, [0], [0, 1, 0], n_bits=2)
    (array([1, 0, 1]), array([0, 1, 0]))
    """
    n_bits = check_count(n_bits, "n_bits")
    problem = check_problem(
        query_codes, database_codes, query_labels, database_labels, n_threads, n_bits
    )
    total = np.zeros(problem.n_distances, np.int64)
    relevant = np.zeros_like(total)
    for _, all_of_chunk, relevant_of_chunk in problem.counts():
        total += all_of_chunk.sum(axis=0)
        relevant += relevant_of_chunk.sum(axis=0)
    return relevant[: n_bits + 1], (total - relevant)[: n_bits + 1]


def average_precision_by_label(
    scores: NDArray[np.float64], labels: Any
) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.float64]]:
    """
    Average the average precision of the queries that have a label, for each label.

    Parameters
    ----------
    scores : ndarray of float64, shape (n_queries,)
        As `fasthash.average_precision` gives them; those that are NaN are left out.
    labels : labels
        Of the queries, as for `fasthash.mean_average_precision`.

    Returns
    -------
    names : ndarray, shape (n_labels,)
        Class names or numbers, or numbers of columns; those with a query, ascending.
    counts : ndarray of int64, shape (n_labels,)
        How many queries have the label.
    means : ndarray of float64, shape (n_labels,)
        NaN where all scores of a label are.

    Examples
    --------
    >>> average_precision_by_label(np.array([0.5, 1.0, 0.0]), ["a", "b", "a"])
    (array(['a', 'b'], dtype='<U1'), array([2, 1]), array([0.25, 1.  ]))
    """
    encoded = check_labels({"labels": labels}, {"labels": len(scores)}, argument="{}")["labels"]
    classes = label_classes({"labels": labels})
    names = np.arange(classes) if isinstance(classes, int) else classes
    is_scored = ~np.isnan(scores)
    counts = np.asarray(encoded.sum(axis=0)).reshape(-1).astype(np.int64)
    scored = encoded.T @ is_scored.astype(float)
    sums = encoded.T @ np.where(is_scored, scores, 0.0)
    means = np.divide(sums, scored, out=np.full(len(sums), np.nan), where=scored > 0)
    has_query = counts > 0
    return names[has_query], counts[has_query], means[has_query]
