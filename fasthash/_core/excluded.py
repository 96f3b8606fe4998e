"""Searches of a set against itself, in which each query leaves its own code out.

Each search first finds one code more than asked for. `drop_own` and `drop_own_within` then drop the
query's own code by its id, not by its place: equal codes may stand before it. If the own code is
not among the answers, `drop_own` drops the last one.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .pieces import blocks_of, cut
from .rows import Rows
from .validation import check_flag

__all__ = ["check_exclude_self", "check_same_labels", "drop_own", "drop_own_within"]

Value = TypeVar("Value", bound=np.generic)


def check_exclude_self(
    exclude_self: bool,
    queries: NDArray[Any] | Rows,
    database: NDArray[Any] | Rows,
    names: tuple[str, str],
) -> bool:
    """
    Check that query i is row i of the database, if `exclude_self` is True.

    The rows are compared block by block, and not at all if both are the same object.

    Raises
    ------
    TypeError
        If `exclude_self` is neither True nor False.
    ValueError
        If the queries are not the database. `names` are those of the two arguments.
    """
    if not check_flag(exclude_self, "exclude_self"):
        return False
    of = f"exclude_self=True is for a search of a set against itself, but {names[0]} and {names[1]}"
    if queries.shape != database.shape:
        raise ValueError(f"{of} have the shapes {queries.shape} and {database.shape}")
    if queries is database:
        return True
    for some in cut(*queries.shape) if isinstance(queries, Rows) else blocks_of(queries):
        differs = (_block(queries, some) != _block(database, some)).any(axis=1)
        if differs.any():
            raise ValueError(f"{of} differ in row {some.start + int(differs.argmax())}")
    return True


def _block(x: NDArray[Any] | Rows, rows: slice) -> NDArray[Any]:
    return x.read(rows) if isinstance(x, Rows) else x[rows]


def check_same_labels(query_labels: Any, database_labels: Any, names: tuple[str, str]) -> None:
    """
    Check that labels of the queries are those of the database, if `exclude_self` is True.

    Raises
    ------
    ValueError
        If sparse 0/1 columns of the same shape differ, or have a single row. `names` are those of
        the two arguments.
    """
    differs = (query_labels != database_labels).nonzero()[0]
    if len(differs):
        raise ValueError(
            f"exclude_self=True is for a search of a set against itself, but {names[0]} and "
            f"{names[1]} differ in row {differs.min()}"
        )
    if query_labels.shape[0] == 1:
        raise ValueError("exclude_self=True leaves nothing to measure in a set of one code")


def drop_own(
    distances: NDArray[Value], ids: NDArray[np.int64], own: NDArray[np.int64]
) -> tuple[NDArray[Value], NDArray[np.int64]]:
    """
    Leave out of each row of answers the own id, or the last answer if it is not there.

    Parameters
    ----------
    distances, ids : ndarray, shape (n_queries, k + 1)
    own : ndarray of int64, shape (n_queries,)

    Returns
    -------
    distances, ids : ndarray, shape (n_queries, k)
    """
    shape = (ids.shape[0], ids.shape[1] - 1)
    # A missing answer, -1, is no id that a caller may exclude.
    own = np.where(own < 0, -2, own)
    others, other_ids = np.empty(shape, distances.dtype), np.empty(shape, np.int64)
    for some in blocks_of(ids):
        is_kept = ids[some] != own[some, None]
        is_kept[is_kept.all(axis=1), -1] = False
        others[some] = distances[some][is_kept].reshape(-1, shape[1])
        other_ids[some] = ids[some][is_kept].reshape(-1, shape[1])
    return others, other_ids


def drop_own_within(
    limits: NDArray[np.int64],
    distances: NDArray[Value],
    ids: NDArray[np.int64],
    own: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[Value], NDArray[np.int64]]:
    """Leave the own id out of the answers of a radius search, where it is among them."""
    is_kept = np.empty(len(ids), bool)
    own_of_each = np.repeat(own, np.diff(limits))
    for some in blocks_of(ids):
        is_kept[some] = ids[some] != own_of_each[some]
    n_dropped = np.concatenate([np.zeros(1, np.int64), np.cumsum(~is_kept)])
    return limits - n_dropped[limits], distances[is_kept], ids[is_kept]
