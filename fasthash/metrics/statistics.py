"""Statistics of codes: how often bits are 1, how they correlate, how far apart codes are."""

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
    Compute the share of ones of every bit.

    A bit that is 1 in half of the codes carries the most information.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, ceil(n_bits / 8))
        Packed codes, as made by `pack`.
    n_bits : int
        Number of bits in a code.

    Returns
    -------
    ndarray of float64, shape (n_bits,)
        Between 0 and 1.

    Raises
    ------
    TypeError, ValueError
        If the codes do not have `n_bits` bits, or there are none.

    See Also
    --------
    bit_correlations : How much bits repeat each other.

    Examples
    --------
    >>> import fasthash as fh
    >>> bit_means(fh.pack([[1.0, 1.0], [1.0, -1.0]]), 2)
    array([1. , 0.5])
    """
    return _moments(codes, n_bits)[0]


def bit_correlations(codes: ArrayLike, n_bits: int) -> NDArray[np.float64]:
    """
    Compute the correlation of every two bits.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, ceil(n_bits / 8))
        Packed codes, as made by `pack`.
    n_bits : int
        Number of bits in a code.

    Returns
    -------
    ndarray of float64, shape (n_bits, n_bits)
        Between -1 and 1. The correlations of a bit that has one value in all codes are 0.

    Raises
    ------
    TypeError, ValueError
        If the codes do not have `n_bits` bits, or there are none.

    See Also
    --------
    bit_means : How often each bit is 1.

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
    exclude_self: bool = False,
    n_threads: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """
    Count the pairs of a query and a code at every distance, relevant pairs and others.

    Parameters
    ----------
    query_codes, database_codes : array_like of uint8, shape (n_items, ceil(n_bits / 8))
        Packed codes, as made by `pack`.
    query_labels, database_labels : labels
        Labels, in any form that `fasthash.mean_average_precision` accepts. A pair is relevant if
        the two share a label.
    n_bits : int
        Number of bits in a code.
    exclude_self : bool, default False
        Whether query i leaves out row i of the database, as in `fasthash.mean_average_precision`.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    relevant : ndarray of int64, shape (n_bits + 1,)
        Number of relevant pairs at each distance.
    other : ndarray of int64, shape (n_bits + 1,)
        Number of other pairs at each distance.

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit.

    See Also
    --------
    fasthash.precision_recall_curve : Precision and recall within each distance.

    Notes
    -----
    Costs one scan of the database per query.

    Examples
    --------
    >>> import fasthash as fh
    >>> codes = fh.pack([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    >>> distances_by_relevance(codes[:1], codes, [0], [0, 1, 0], n_bits=2)
    (array([1, 0, 1]), array([0, 1, 0]))
    """
    n_bits = check_count(n_bits, "n_bits")
    problem = check_problem(
        *(query_codes, database_codes, query_labels, database_labels, n_threads, n_bits),
        exclude_self=exclude_self,
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
    Compute, for each label, the mean average precision of the queries that have it.

    Parameters
    ----------
    scores : ndarray of float64, shape (n_queries,)
        Average precisions, as `fasthash.average_precision` returns them. NaN is left out.
    labels : labels
        Labels of the queries, in any form that `fasthash.mean_average_precision` accepts.

    Returns
    -------
    names : ndarray, shape (n_labels,)
        Class names or numbers, or numbers of label columns, ascending. Labels without a query are
        left out.
    counts : ndarray of int64, shape (n_labels,)
        Number of queries that have the label.
    means : ndarray of float64, shape (n_labels,)
        Mean of their scores; NaN if all these scores are NaN.

    Raises
    ------
    TypeError, ValueError
        If the labels do not fit.

    See Also
    --------
    fasthash.average_precision : Compute the scores.

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
