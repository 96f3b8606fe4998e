"""Pairs grouped by item, equal rows, and features of the teacher, for the training of CLSR.

An item is, for example, a clip with its captions: one row of one modality, and one row or several
rows of the other.
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
    Pairs grouped by item: each item has one row of one modality, and one or more of the other.

    Attributes
    ----------
    one : int
        The modality, 0 or 1, of which every item has a single row.
    rows : ndarray of int64, shape (n_items,)
        The single row of each item.
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
    Group pairs by the rows of the modality in which rows repeat.

    Parameters
    ----------
    pairs : ndarray of int64, shape (n_pairs, 2)
        Checked: in at least one of the modalities no row repeats, and no pair is given twice.
    """
    repeats = [len(np.unique(column)) < len(column) for column in pairs.T]
    one = 1 if repeats[1] else 0
    order = np.lexsort((pairs[:, 1 - one], pairs[:, one]))
    rows, starts = np.unique(pairs[order, one], return_index=True)
    return Items(one, rows, pairs[order, 1 - one], np.append(starts, len(pairs)))


def semantic_features(x: Rows) -> NDArray[np.float32]:
    """Centre the rows and scale them to unit length, so that products are cosines."""
    mean, features = x.column_means(), np.empty(x.shape, np.float32)
    for rows in cut(*x.shape):
        features[rows] = unit_rows(x.read(rows) - mean)
    return features


def duplicate_ids(x: Rows) -> NDArray[np.int64]:
    """Number the rows; equal rows have the same number."""
    numbers: dict[bytes, int] = {}
    ids = [
        numbers.setdefault(row.tobytes(), len(numbers))
        for rows in cut(*x.shape)
        for row in x.read(rows)
    ]
    return np.array(ids, np.int64)
