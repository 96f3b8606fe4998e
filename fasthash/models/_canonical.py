"""Canonical directions of two or more modalities: where their pairs vary together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy import linalg
from numpy.typing import NDArray
from scipy.linalg import eigh

__all__ = ["canonical_directions"]


def canonical_directions(
    x: Sequence[NDArray[np.floating]], ridges: Sequence[float], n_components: int
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """
    Find the directions along which paired modalities are correlated most.

    Parameters
    ----------
    x : sequence of ndarray, each of shape (n, d_m)
        Centred features of two or more modalities; row i of one belongs to row i of the others.
    ridges : sequence of float
        Added to the diagonal of each covariance; greater than 0.
    n_components : int
        At most the least of the d_m.

    Returns
    -------
    directions : list of ndarray of float64, shape (d_m, n_components)
        Scores ``x[m] @ directions[m]`` have a variance of at most 1.
    correlations : ndarray of float64, shape (n_components,)
        Descending. For more than two modalities the mean correlation of a score with the others.

    Notes
    -----
    The eigenvectors of the correlations between whitened modalities, which for two are those of
    canonical correlation analysis, and for more its MAXVAR generalisation. O(n · d² + d³) for d
    features in all.

    References
    ----------
    Kettenring, "Canonical Analysis of Several Sets of Variables", Biometrika 58(3), 1971.

    Examples
    --------
    >>> import numpy as np
    >>> shared = np.array([[1.0], [-1.0], [2.0], [-2.0]])
    >>> (a, b), correlations = canonical_directions([shared, 3 * shared], [1e-9, 1e-9], 1)
    >>> correlations.round(6)
    array([1.])
    """
    whitenings = [_whitening(values, ridge) for values, ridge in zip(x, ridges, strict=True)]
    edges = np.concatenate([[0], np.cumsum([len(w) for w in whitenings])])
    places = [slice(a, b) for a, b in itertools.pairwise(edges)]
    joined = np.zeros((edges[-1], edges[-1]))
    for i in range(len(x)):
        for j in range(i):
            # eigh reads the lower triangle alone.
            cross = (x[i].T @ x[j]).astype(np.float64) / len(x[i])
            joined[places[i], places[j]] = whitenings[i].T @ cross @ whitenings[j]
    found, vectors = eigh(joined, subset_by_index=[edges[-1] - n_components, edges[-1] - 1])
    vectors = np.sqrt(len(x)) * vectors[:, ::-1]
    # Which of two opposite vectors is found is a matter of rounding; what follows starts from it.
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(n_components)])
    directions = [w @ vectors[place] for w, place in zip(whitenings, places, strict=True)]
    return directions, found[::-1] / (len(x) - 1)


def _whitening(x: NDArray[np.floating], ridge: float) -> NDArray[np.float64]:
    """W with WᵀCW = I for the covariance C of the centred rows plus its ridge."""
    covariance = (x.T @ x).astype(np.float64) / len(x)
    covariance.flat[:: len(covariance) + 1] += ridge
    eigenvalues, vectors = linalg.eigh(covariance)
    return vectors / np.sqrt(eigenvalues)
