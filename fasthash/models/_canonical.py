"""Canonical correlation analysis of two or more modalities: directions in which pairs correlate.

- `pair_covariances`: what is needed of the pairs, added up block by block.
- `Spectra`, `canonical_directions`: the directions, for given ridges.
- `choose_ridges`: ridges by cross-validation, from the covariances of each fold of the pairs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import linalg
from numpy.typing import NDArray
from scipy.linalg import eigh

__all__ = [
    "N_FOLDS",
    "FoldSums",
    "Spectra",
    "canonical_directions",
    "choose_mixture",
    "choose_ridges",
    "fold_covariances",
    "fold_sums",
    "join_folds",
    "mix_covariances",
    "pair_covariances",
    "typical_eigenvalues",
]

# Number of parts into which pairs are split to choose ridges, and the fewest pairs for that.
N_FOLDS = 3
_FEWEST_PAIRS = 4 * N_FOLDS

# The ridges that are compared, in units of the typical eigenvalue of a covariance, and the one for
# too few pairs.
_RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_RIDGE_OF_FEW = 0.3

# The powers of the correlations that are compared as factors of the directions.
_POWERS = (1.0, 1.5, 2.0, 3.0)

# Number of leading directions whose correlations are compared. More of them would favour ridges
# that are too small: the last directions tell pairs apart, but not kinds of samples.
_COMPARED = 16


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
    return join_folds(*fold_covariances(blocks, 1))


def fold_covariances(
    blocks: Iterable[Sequence[NDArray[np.floating]]], n_folds: int
) -> tuple[list[list[list[NDArray[np.float64]]]], list[int]]:
    """
    Compute the covariances of every n-th row, from each of the first n rows on.

    Parameters
    ----------
    blocks : iterable of sequence of ndarray
        As for `pair_covariances`.
    n_folds : int
        At most the number of rows.

    Returns
    -------
    folds : list of covariances
        For each fold, what `pair_covariances` returns.
    n_rows : list of int
        Number of rows of each fold.
    """
    return fold_sums(blocks, n_folds).covariances()


@dataclass(frozen=True)
class FoldSums:
    """
    Products of the rows of a part, fold by fold; the sums of consecutive parts can be added.

    Attributes
    ----------
    products : list of list of list of ndarray of float64
        For each fold, as `pair_covariances`, but not divided by the number of rows.
    n_rows : list of int
        Number of rows of each fold. Row i of the part is in fold i modulo the number of folds.
    """

    products: list[list[list[NDArray[np.float64]]]]
    n_rows: list[int]

    def __sizeof__(self) -> int:
        # Dask asks for it, to add up sums where they are.
        n_bytes = sum(total.nbytes for fold in self.products for row in fold for total in row)
        return object.__sizeof__(self) + n_bytes

    def __add__(self, after: FoldSums) -> FoldSums:
        n_folds, n = len(self.n_rows), sum(self.n_rows)
        # The part after it counts folds from its own first row on.
        places = [(fold - n) % n_folds for fold in range(n_folds)]
        return FoldSums(
            [
                [
                    [p + q for p, q in zip(*rows, strict=True)]
                    for rows in zip(own, more, strict=True)
                ]
                for own, more in zip(
                    self.products, [after.products[i] for i in places], strict=True
                )
            ],
            [k + after.n_rows[place] for k, place in zip(self.n_rows, places, strict=True)],
        )

    def covariances(self) -> tuple[list[list[list[NDArray[np.float64]]]], list[int]]:
        """Return what `fold_covariances` returns."""
        folds = [
            [[total / k for total in row] for row in products]
            for products, k in zip(self.products, self.n_rows, strict=True)
        ]
        return folds, self.n_rows


def fold_sums(blocks: Iterable[Sequence[NDArray[np.floating]]], n_folds: int) -> FoldSums:
    """Compute the sums of a part, from blocks as for `fold_covariances`."""
    folds: list[list[list[NDArray[np.float64]]]] = [[] for _ in range(n_folds)]
    n_rows = [0] * n_folds
    n = 0
    for x in blocks:
        for fold in range(n_folds):
            few = [values[(fold - n) % n_folds :: n_folds] for values in x]
            n_rows[fold] += len(few[0])
            products = [
                [(a.T @ b).astype(np.float64) for b in few[: m + 1]] for m, a in enumerate(few)
            ]
            if not folds[fold]:
                folds[fold] = products
                continue
            for row, more in zip(folds[fold], products, strict=True):
                for total, product in zip(row, more, strict=True):
                    total += product
        n += len(x[0])
    return FoldSums(folds, n_rows)


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
    return Spectra(covariances).directions(ridges, n_components)


class Spectra:
    """
    Covariances in the bases of their eigenvectors, from which directions for any ridge are cheap.

    Parameters
    ----------
    covariances : sequence of sequence of ndarray of float64, shape (d_m, d_l)
        The result of `pair_covariances` for two or more modalities.
    """

    def __init__(self, covariances: Sequence[Sequence[NDArray[np.float64]]]) -> None:
        found = [linalg.eigh(row[m]) for m, row in enumerate(covariances)]
        # Rounding may leave eigenvalues just below 0.
        self._eigenvalues = [np.maximum(values, 0) for values, _ in found]
        self._vectors = [vectors for _, vectors in found]
        self._cross = [
            [self._vectors[m].T @ row[j] @ self._vectors[j] for j in range(m)]
            for m, row in enumerate(covariances)
        ]

    def directions(
        self, ridges: Sequence[float], n_components: int
    ) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
        """Compute what `canonical_directions` describes."""
        scales = [
            1 / np.sqrt(values + ridge)
            for values, ridge in zip(self._eigenvalues, ridges, strict=True)
        ]
        cross = [
            [scales[m][:, None] * block * scales[j] for j, block in enumerate(row)]
            for m, row in enumerate(self._cross)
        ]
        find = _of_two if len(scales) == 2 else _of_many
        parts, correlations = find(cross, [len(scale) for scale in scales], n_components)
        # Rounding decides which of two opposite vectors is found. Fix the sign, because the codes
        # depend on it.
        joined = np.concatenate(parts)
        signs = np.sign(joined[np.abs(joined).argmax(axis=0), np.arange(n_components)])
        directions = [
            vectors @ (scale[:, None] * part * signs)
            for vectors, scale, part in zip(self._vectors, scales, parts, strict=True)
        ]
        # Rounding may leave correlations just below 0, which have no roots.
        return directions, np.maximum(correlations, 0)


def typical_eigenvalues(covariances: Sequence[Sequence[NDArray[np.float64]]]) -> list[float]:
    """
    Compute for each modality the mean of the eigenvalues, weighted by themselves: Σλ² / Σλ.

    Both sums follow from the covariance without its eigenvalues: they are its squared norm and its
    trace. It is 1 for features that do not vary, so that a ridge of theirs is greater than 0.
    """
    own = [row[m] for m, row in enumerate(covariances)]
    return [float(np.sum(c**2) / np.trace(c)) if c.any() else 1.0 for c in own]


def _of_two(
    cross: list[list[NDArray[np.float64]]], sizes: list[int], n_components: int
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Compute singular vectors of the correlations between two whitened modalities."""
    block = cross[1][0]
    is_wide = sizes[1] < sizes[0]
    gram = block @ block.T if is_wide else block.T @ block
    n = len(gram)
    squares, vectors = eigh(gram, subset_by_index=[n - n_components, n - 1])
    vectors = vectors[:, ::-1]
    correlations = np.sqrt(np.maximum(squares[::-1], 0))
    others = block.T @ vectors if is_wide else block @ vectors
    # A direction without correlation has no counterpart; it gets a vector of zeros.
    lengths = linalg.norm(others, axis=0)
    others /= np.where(lengths > 0, lengths, 1.0)
    return ([others, vectors] if is_wide else [vectors, others]), correlations


def _of_many(
    cross: list[list[NDArray[np.float64]]], sizes: list[int], n_components: int
) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """Compute eigenvectors of the correlations between all whitened modalities."""
    edges = np.concatenate([[0], np.cumsum(sizes)])
    places = [slice(a, b) for a, b in itertools.pairwise(edges)]
    joined = np.zeros((edges[-1], edges[-1]))
    for i, row in enumerate(cross):
        for j, block in enumerate(row):
            # eigh reads only the lower triangle.
            joined[places[i], places[j]] = block
    found, vectors = eigh(joined, subset_by_index=[edges[-1] - n_components, edges[-1] - 1])
    vectors = np.sqrt(len(sizes)) * vectors[:, ::-1]
    return [vectors[place] for place in places], found[::-1] / (len(sizes) - 1)


def choose_ridges(
    folds: Sequence[Sequence[Sequence[NDArray[np.float64]]]],
    n_pairs: Sequence[int],
    n_components: int,
) -> tuple[list[float], float]:
    """
    Choose the ridges and factors of canonical directions by cross-validation, without labels.

    Parameters
    ----------
    folds : sequence of covariances
        For each fold of the pairs, the result of `pair_covariances`.
    n_pairs : sequence of int
        Number of pairs in each fold.
    n_components : int
        At most the smallest of the d_m.

    Returns
    -------
    ridges : list of float
        For each modality, a number to add to the diagonal of its covariance: the same multiple of
        its typical eigenvalue, which is the mean of the eigenvalues weighted by themselves.
    power : float
        Directions are best multiplied by this power of their correlations.

    Notes
    -----
    Each ridge and power is tried on every fold with the directions of the other folds. The best
    mean `agreement` wins. O(n_folds · d³) for d features in all, and O(d² · n_components) for each
    fold and ridge. The procedure is ours.
    """
    everything = [np.ones(len(row[m])) for m, row in enumerate(folds[0])]
    return choose_mixture(folds, n_pairs, n_components, [everything])[1:]


def choose_mixture(
    folds: Sequence[Sequence[Sequence[NDArray[np.float64]]]],
    n_pairs: Sequence[int],
    n_components: int,
    mixtures: Sequence[Sequence[NDArray[np.float64]]],
    references: Sequence[slice] | None = None,
) -> tuple[int, list[float], float]:
    """
    Choose weights of columns together with ridges, as `choose_ridges` chooses ridges.

    Parameters
    ----------
    folds, n_pairs, n_components
        As in `choose_ridges`.
    mixtures : sequence of sequence of ndarray of float64, shape (d_m,)
        For each choice, the factors of the columns of each modality; columns with a factor of 0
        are left out. The last one is taken if there are too few pairs to choose.
    references : sequence of slice, optional
        For each modality, the columns by which `agreement` judges what is alike; by default all.

    Returns
    -------
    best : int
        Number of the mixture.
    ridges : list of float
        For covariances of the columns times their factors.
    power : float
        As in `choose_ridges`.
    """
    if sum(n_pairs) < _FEWEST_PAIRS:
        typical = typical_eigenvalues(mix_covariances(join_folds(folds, n_pairs), mixtures[-1]))
        return len(mixtures) - 1, [_RIDGE_OF_FEW * value for value in typical], _POWERS[0]
    scores = np.zeros((len(mixtures), len(_RIDGES), len(_POWERS)))
    for held_out in range(len(folds)):
        kept = [fold for fold in range(len(folds)) if fold != held_out]
        known = join_folds([folds[k] for k in kept], [n_pairs[k] for k in kept])
        for i, mixture in enumerate(mixtures):
            mixed = mix_covariances(known, mixture)
            spectra, typical = Spectra(mixed), typical_eigenvalues(mixed)
            n_found = min(n_components, *(int(np.count_nonzero(f)) for f in mixture))
            for j, share in enumerate(_RIDGES):
                ridges = [share * value for value in typical]
                few, correlations = spectra.directions(ridges, n_found)
                directions = [
                    _spread(direction, factors)
                    for direction, factors in zip(few, mixture, strict=True)
                ]
                scores[i, j] += agreement(
                    folds[held_out], directions, [correlations**p for p in _POWERS], references
                )
    best, ridge, power = map(int, np.unravel_index(np.argmax(scores), scores.shape))
    typical = typical_eigenvalues(mix_covariances(join_folds(folds, n_pairs), mixtures[best]))
    return best, [_RIDGES[ridge] * value for value in typical], _POWERS[power]


def mix_covariances(
    covariances: Sequence[Sequence[NDArray[np.float64]]], factors: Sequence[NDArray[np.float64]]
) -> list[list[NDArray[np.float64]]]:
    """Compute the covariances of the columns times their factors, without those of factor 0."""
    used = [np.flatnonzero(f) for f in factors]
    return [
        [
            factors[m][used[m], None] * block[np.ix_(used[m], used[j])] * factors[j][used[j]]
            for j, block in enumerate(row)
        ]
        for m, row in enumerate(covariances)
    ]


def _spread(direction: NDArray[np.float64], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn directions of mixed columns into directions of all columns."""
    everywhere = np.zeros((len(factors), direction.shape[1]))
    used = factors != 0
    everywhere[used] = factors[used, None] * direction
    return everywhere


def agreement(
    covariances: Sequence[Sequence[NDArray[np.float64]]],
    directions: Sequence[NDArray[np.float64]],
    factors: Sequence[NDArray[np.float64]],
    references: Sequence[slice] | None = None,
) -> NDArray[np.float64]:
    """
    Tell how well directions, multiplied by factors, suit pairs that they do not know.

    The result is a product of two numbers, averaged over all couples of modalities. The first is
    the root of the sum of squared correlations along the leading directions: are partners near
    each other? The second is the alignment between the products of scores across modalities and
    the products of features within each modality: are samples near each other across modalities
    that are alike within a modality? The first alone prefers ridges that are too small, and the
    second alone ridges that are too large.

    Parameters
    ----------
    covariances : sequence of sequence of ndarray of float64
        The result of `pair_covariances` for the held-out pairs.
    directions : sequence of ndarray of float64, shape (d_m, n_components)
        The result of `canonical_directions` for other pairs.
    factors : sequence of ndarray of float64, shape (n_components,)
        Several choices of factors.
    references : sequence of slice, optional
        As in `choose_mixture`.

    Returns
    -------
    ndarray of float64, shape (n_choices,)
    """
    n = len(directions)
    places = references or [slice(None)] * n
    full = [[_block(covariances, m, j) for j in range(n)] for m in range(n)]
    # The covariances of all features with all scores, and those of scores with scores.
    mixed = [[full[m][j] @ directions[j] for j in range(n)] for m in range(n)]
    inner = [directions[m].T @ mixed[m][m] for m in range(n)]
    squares = np.square(factors)
    found = np.zeros(len(squares))
    couples = list(itertools.combinations(range(n), 2))
    for m, j in couples:
        shared = np.einsum("ij,ij->j", directions[m], mixed[m][j])
        spread = np.sqrt(np.maximum(np.diag(inner[m]) * np.diag(inner[j]), 0))
        along = np.divide(shared, spread, out=np.zeros_like(shared), where=spread > 0)
        partners = np.sqrt(np.sum(np.maximum(along[:_COMPARED], 0) ** 2))
        # Features that do not vary among these pairs say nothing about which samples are alike.
        alike = sum(
            np.einsum("ij,ij->j", mixed[a][a][place], mixed[a][b][place])
            / (linalg.norm(full[a][a][place, place]) or 1.0)
            for a, b, place in ((m, j, places[m]), (j, m, places[j]))
        )
        norms = np.sqrt(np.einsum("ci,ij,cj->c", squares, inner[m] * inner[j], squares))
        found += partners * np.divide(
            squares @ alike, norms, out=np.zeros(len(norms)), where=norms > 0
        )
    return found / len(couples)


def _block(
    covariances: Sequence[Sequence[NDArray[np.float64]]], m: int, j: int
) -> NDArray[np.float64]:
    return covariances[m][j] if j <= m else covariances[j][m].T


def join_folds(
    folds: Sequence[Sequence[Sequence[NDArray[np.float64]]]], n_pairs: Sequence[int]
) -> list[list[NDArray[np.float64]]]:
    """Compute the covariances of several folds together."""
    n = sum(n_pairs)
    return [
        [
            np.sum([fold[m][j] * (k / n) for fold, k in zip(folds, n_pairs, strict=True)], axis=0)
            for j in range(m + 1)
        ]
        for m in range(len(folds[0]))
    ]
