"""What CLSR learns from, in numpy: which rows belong together, which are equal, and what they mean.

`Items` are the things that pairs speak of, a clip with its captions: a row on the one side, one row
or several on the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..._core.features import unit_rows
from ..._core.pieces import cut
from ..._core.rows import Rows

__all__ = ["Items", "duplicate_ids", "group_pairs", "semantic_features"]


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


def semantic_features(x: Rows) -> NDArray[np.float32]:
    """Rows centred and of unit length: their cosines say how much samples have in common."""
    mean, features = x.column_means(), np.empty(x.shape, np.float32)
    for rows in cut(*x.shape):
        features[rows] = unit_rows(x.read(rows) - mean)
    return features


def duplicate_ids(x: Rows) -> NDArray[np.int64]:
    """A number per row, the same where rows are equal."""
    numbers: dict[bytes, int] = {}
    ids = [
        numbers.setdefault(row.tobytes(), len(numbers))
        for rows in cut(*x.shape)
        for row in x.read(rows)
    ]
    return np.array(ids, np.int64)
