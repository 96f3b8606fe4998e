"""What CLSR learns from, in numpy: features brought to one scale, and which rows belong together.

`fit_preprocessing` learns an affine map per modality, on the training rows alone. `Items` are the
things that pairs speak of, a clip with its captions: a row on the one side, one row or several on
the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from ..._core.features import unit_rows
from ..._core.pieces import cut

__all__ = [
    "PREPROCESSING",
    "Items",
    "Preprocessing",
    "duplicate_ids",
    "fit_preprocessing",
    "group_pairs",
    "semantic_features",
]

PREPROCESSING = ("whiten", "centre", "none")

# Directions of less spread than this are not blown up to the spread of the others: the standard
# deviation that a component is divided by is at least so much, where a mean feature has 1.
_LEAST_DEVIATION = 0.3


@dataclass(frozen=True)
class Preprocessing:
    """
    A fitted affine map ``(x - mean) / scale @ components``.

    Attributes
    ----------
    mean, scale : ndarray of float64, shape (n_features,)
    components : ndarray of float64, shape (n_features, n_out), or None
        None keeps the features as they are.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    components: NDArray[np.float64] | None = None

    @property
    def n_out(self) -> int:
        """Number of features that come out."""
        return len(self.mean) if self.components is None else self.components.shape[1]

    def transform(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map a block of rows; features far from the origin lose nothing to single precision."""
        out = ((x - self.mean.astype(x.dtype)) / self.scale.astype(x.dtype)).astype(np.float32)
        if self.components is None:
            return out
        return out @ self.components.astype(np.float32)


@dataclass(frozen=True)
class Items:
    """
    What pairs make of rows: every item is a row on the one side and rows on the many side.

    Attributes
    ----------
    one : int
        The modality, 0 or 1, of which every item has a single row.
    rows : ndarray of int64, shape (n_items,)
        That row.
    partners : ndarray of int64, shape (n_pairs,)
        Rows of the other modality, item by item.
    starts : ndarray of int64, shape (n_items + 1,)
        Item i has ``partners[starts[i]:starts[i + 1]]``.
    """

    one: int
    rows: NDArray[np.int64]
    partners: NDArray[np.int64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


def group_pairs(pairs: NDArray[np.int64]) -> Items:
    """
    Gather the pairs of every row on the side where rows repeat.

    Parameters
    ----------
    pairs : ndarray of int64, shape (n_pairs, 2)
        Validated: no row repeats on at least one of the sides, no pair twice.
    """
    repeats = [len(np.unique(column)) < len(column) for column in pairs.T]
    one = 1 if repeats[1] else 0
    order = np.lexsort((pairs[:, 1 - one], pairs[:, one]))
    rows, starts = np.unique(pairs[order, one], return_index=True)
    return Items(one, rows, pairs[order, 1 - one], np.append(starts, len(pairs)))


def fit_preprocessing(given: NDArray[np.floating], kind: str, n_most: int) -> Preprocessing:
    """
    Learn a modality's preprocessing.

    Parameters
    ----------
    given : ndarray of float32 or float64, shape (n, n_features)
        The training rows.
    kind : {"whiten", "centre", "none"}
        Columns standardised, principal components, each divided by its standard deviation (or by
        .3 where that is less); centred, with one scale for all columns; as given.
    n_most : int
        Keep at most so many components.

    Notes
    -----
    O(n · d² + d³) for "whiten", d features; a block of rows is held in float64.
    """
    d = given.shape[1]
    if kind == "none":
        return Preprocessing(np.zeros(d), np.ones(d))
    mean = given.mean(axis=0, dtype=np.float64)
    blocks = cut(*given.shape)
    square = sum(((given[b] - mean) ** 2).sum(axis=0) for b in blocks)
    deviation = np.sqrt(square / len(given))
    if kind == "centre":
        return Preprocessing(mean, np.full(d, deviation.mean()))
    # A column that hardly moves carries rounding, nothing else.
    still = deviation <= 1e-6 * np.maximum(np.abs(mean), deviation.max())
    scale = np.where(still, 1.0, deviation)
    covariance = np.zeros((d, d))
    for b in blocks:
        z = (given[b] - mean) / scale
        z[:, still] = 0
        covariance += z.T @ z
    n_kept = min(n_most, d)
    variances, directions = eigh(covariance / len(given), subset_by_index=[d - n_kept, d - 1])
    spread = np.sqrt(np.maximum(variances[::-1], 0))
    components = np.ascontiguousarray(directions[:, ::-1] / np.maximum(spread, _LEAST_DEVIATION))
    components[still] = 0
    return Preprocessing(mean, scale, components)


def semantic_features(x: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows centred and of unit length: their cosines say how much samples have in common."""
    centred = x - x.mean(axis=0, dtype=np.float64)
    return unit_rows(centred).astype(np.float32)


def duplicate_ids(x: NDArray[Any]) -> NDArray[np.int64]:
    """A number per row, the same where rows are equal."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in x], np.int64)
