"""Canonical correlation analysis of two or more modalities: directions in which pairs correlate."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy import linalg
from numpy.typing import NDArray
from scipy.linalg import eigh

__all__ = ["canonical_directions", "pair_covariances"]


def pair_covariances(
    blocks: Iterable[Sequence[NDArray[np.floating]]],
) -> list[list[NDArray[np.float64]]]:
    """
    Compute the covariances within and between paired modalities.

    Parameters
    ----------
    blocks : iterable of sequence of ndarray, each of shape (n_rows, d_m)
        For each block, the centred features of every modality; row i of one belongs to row i of the
        others. At least one block.

    Returns
    -------
    list of list of ndarray of float64, shape (d_m, d_l)
        Entry ``[m][l]`` is the covariance of modality m with modality l <= m.

    Notes
    -----
    O(n · d²) for d features in all. The products of a block are computed in the dtype of the
    features, and added up in float64.
    """
    total: list[list[NDArray[np.float64]]] = []
    n = 0
    for x in blocks:
        n += len(x[0])
        products = [[(a.T @ b).astype(np.float64) for b in x[: m + 1]] for m, a in enumerate(x)]
        if not total:
            total = products
            continue
        for row, more in zip(total, products, strict=True):
            for covariance, product in zip(row, more, strict=True):
                covariance += product
    return [[covariance / n for covariance in row] for row in total]


def canonical_directions(
    covariances: Sequence[Sequence[NDArray[np.float64]]],
    ridges: Sequence[float],
    n_components: int,
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """
    Find the directions along which paired modalities are correlated most.

    Parameters
    ----------
    covariances : sequence of sequence of ndarray of float64, shape (d_m, d_l)
        The result of `pair_covariances` for two or more modalities.
    ridges : sequence of float
        Added to the diagonal of each covariance; greater than 0.
    n_components : int
        At most the smallest of the d_m.

    Returns
    -------
    directions : list of ndarray of float64, shape (d_m, n_components)
        Scores ``x[m] @ directions[m]`` have a variance of at most 1.
    correlations : ndarray of float64, shape (n_components,)
        Descending. For more than two modalities, the mean correlation of a score with the others.

    Notes
    -----
    The directions come from eigenvectors of the correlations between whitened modalities. For two
    modalities this is canonical correlation analysis; for more it is its generalisation MAXVAR.
    O(d³) for d features in all.

    References
    ----------
    Kettenring, "Canonical Analysis of Several Sets of Variables", Biometrika 58(3), 1971.

    Examples
    --------
    >>> import numpy as np
    >>> shared = np.array([[1.0], [-1.0], [2.0], [-2.0]])
    >>> covariances = pair_covariances([[shared, 3 * shared]])
    >>> (a, b), correlations = canonical_directions(covariances, [1e-9, 1e-9], 1)
    >>> correlations.round(6)
    array([1.])
    """
    whitenings = [
        _whitening(row[m], ridge)
        for m, (row, ridge) in enumerate(zip(covariances, ridges, strict=True))
    ]
    edges = np.concatenate([[0], np.cumsum([len(w) for w in whitenings])])
    places = [slice(a, b) for a, b in itertools.pairwise(edges)]
    joined = np.zeros((edges[-1], edges[-1]))
    for i, row in enumerate(covariances):
        for j in range(i):
            # eigh reads only the lower triangle.
            joined[places[i], places[j]] = whitenings[i].T @ row[j] @ whitenings[j]
    found, vectors = eigh(joined, subset_by_index=[edges[-1] - n_components, edges[-1] - 1])
    vectors = np.sqrt(len(covariances)) * vectors[:, ::-1]
    # Rounding decides which of two opposite vectors eigh finds. Fix the sign, because the codes
    # depend on it.
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(n_components)])
    directions = [w @ vectors[place] for w, place in zip(whitenings, places, strict=True)]
    return directions, found[::-1] / (len(covariances) - 1)


def _whitening(covariance: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """Compute W with Wᵀ C W = I, where C is the covariance plus its ridge."""
    covariance = covariance.copy()
    covariance.flat[:: len(covariance) + 1] += ridge
    eigenvalues, vectors = linalg.eigh(covariance)
    return vectors / np.sqrt(eigenvalues)
