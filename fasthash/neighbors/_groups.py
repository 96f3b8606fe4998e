"""`duplicate_groups`: codes that are connected by pairs within a radius, in groups.

Equal codes are taken as one, so pairs are looked for among different codes. Only with `accept` are
rows with equal codes told apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.interruptible import in_helper_thread, take
from .._core.pieces import Pace, cut
from .._core.validation import check_choice, check_count
from .._kernels.groups import NarrowGroups
from ..codes import check_codes
from ._blocks import Pairs
from ._pairs import Accept, iter_pairs

__all__ = ["DuplicateGroups", "duplicate_groups"]

# Bits of codes that are unpacked at a time, where medoids are found; numpy takes 9 bytes for each.
_UNPACKED_BITS = 1 << 23

# Codes that are compared in the first call of a kernel, before its speed is known.
_FIRST_COMPARED = 1 << 20


class DuplicateGroups(NamedTuple):
    """
    Groups of codes, numbered in the order of their first rows.

    Attributes
    ----------
    labels : ndarray of int64, shape (n,)
        The group of each row.
    representatives : ndarray of int64, shape (n_groups,)
        The row that stands for each group.
    """

    labels: NDArray[np.int64]
    representatives: NDArray[np.int64]


def duplicate_groups(
    codes: ArrayLike,
    radius: int,
    *,
    max_diameter: int | None = None,
    representative: str = "first",
    accept: Accept | None = None,
    n_threads: int | None = None,
) -> DuplicateGroups:
    """
    Put codes into groups of near-duplicates, exactly.

    Two codes within the radius of each other are in the same group, and so are codes that a chain
    of such pairs connects. So codes at the two ends of a chain may differ in many more bits than
    the radius; `max_diameter` limits that.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, n_bytes)
        Packed codes, as made by `pack`.
    radius : int
        Largest distance of a pair that connects two codes, in bits; inclusive. 0 finds equal codes.
    max_diameter : int, optional
        Largest distance of any two codes of a group; at least the radius. Wider groups are split:
        each code, in the order of rows, joins the first group that has a code within the radius of
        it and none farther away than `max_diameter`; if there is no such group, the code begins a
        new one. Equal codes are taken as one, unless `accept` is given. By default, groups are not
        split.
    representative : {"first", "medoid"}
        Which row stands for a group: the first one, or the one with the smallest sum of distances
        to the others, the first of those if there are several.
    accept : callable, optional
        Which pairs connect codes, as in `pairs_within`.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    labels : ndarray of int64, shape (n,)
        The group of each row. Groups are numbered from 0 in the order of their first rows. A code
        without a near-duplicate is a group of its own, and has a number like the others, not -1.
    representatives : ndarray of int64, shape (n_groups,)
        The row that stands for each group: the rows to keep, if one of each group is to stay. Both
        arrays are a named tuple.

    Raises
    ------
    TypeError, ValueError
        If the codes are not packed, the radius is negative, `max_diameter` is less than the radius,
        or `accept` does not return a boolean for each pair.

    See Also
    --------
    pairs_within : The pairs themselves.
    sklearn.cluster.DBSCAN : Groups by density; it takes the matrix that `radius_graph` makes.

    Notes
    -----
    Costs as much as `pairs_within`. Pairs are not kept, so memory is needed for a copy of the codes
    and a few numbers for each code, whatever the number of pairs. With `max_diameter`, 40 bytes for
    each pair of different codes are needed in addition.

    Examples
    --------
    >>> import fasthash as fh
    >>> codes = fh.pack([[1, 1, 1, 1], [-1, -1, -1, -1], [1, 1, 1, -1], [1, 1, -1, -1]])
    >>> labels, representatives = fh.duplicate_groups(codes, 1)
    >>> labels, representatives
    (array([0, 1, 0, 0]), array([0, 1]))
    >>> fh.duplicate_groups(codes, 1, max_diameter=1).labels
    array([0, 1, 0, 2])
    """
    codes = check_codes(codes, "codes")
    radius = check_count(radius, "radius", minimum=0, maximum=None)
    if max_diameter is not None:
        max_diameter = check_count(max_diameter, "max_diameter", minimum=0, maximum=None)
        if max_diameter < radius:
            raise ValueError(
                f"max_diameter={max_diameter} is less than radius={radius}: any pair within the "
                "radius would be too wide"
            )
    check_choice(representative, "representative", ("first", "medoid"))
    if accept is None:
        rows, place = _different(codes)
        labels = _groups_of(take(codes, rows), radius, max_diameter, None, n_threads)[place]
    else:
        labels = _groups_of(codes, radius, max_diameter, accept, n_threads)
    firsts, labels = _in_order_of_rows(labels)
    if representative == "medoid":
        firsts = _medoids(codes, labels, firsts)
    return DuplicateGroups(labels, firsts)


def _different(codes: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first rows of all different codes, ascending, and the place among them of each row."""
    whole = codes.view(np.dtype((np.void, codes.shape[1])))[:, 0]
    return in_helper_thread(len(codes), lambda: _in_order_of_rows(whole))


def _groups_of(
    codes: NDArray[np.uint8],
    radius: int,
    max_diameter: int | None,
    accept: Accept | None,
    n_threads: int | None,
) -> NDArray[np.int64]:
    """A label for each code; labels come in no order."""
    blocks = iter_pairs(codes, radius, accept=accept, n_threads=n_threads)
    if max_diameter is None:
        return _connected(len(codes), blocks)
    return _narrow_groups(codes, list(blocks), max_diameter)


def _connected(n: int, blocks: Iterator[Pairs]) -> NDArray[np.int64]:
    """Label the connected components of the pairs, a block at a time."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    labels = np.arange(n)
    n_labels = n
    for first, second, _ in blocks:
        edges = (np.ones(len(first), bool), (labels[first], labels[second]))
        graph = coo_array(edges, (n_labels, n_labels))
        n_labels, joined = connected_components(graph, directed=False)
        labels = joined.astype(np.int64)[labels]
    return labels


def _narrow_groups(
    codes: NDArray[np.uint8], pairs: list[Pairs], max_diameter: int
) -> NDArray[np.int64]:
    """Label groups no wider than `max_diameter`, code by code, as `duplicate_groups` says."""
    first = np.concatenate([np.empty(0, np.int64), *(block.first for block in pairs)])
    second = np.concatenate([np.empty(0, np.int64), *(block.second for block in pairs)])
    order = in_helper_thread(len(second), lambda: np.argsort(second, kind="stable"))
    starts = np.zeros(len(codes) + 1, np.int64)
    np.cumsum(np.bincount(second, minlength=len(codes)), out=starts[1:])
    narrow = NarrowGroups(codes, starts, take(first, order), min(max_diameter, 8 * codes.shape[1]))
    Pace(_FIRST_COMPARED).drive(narrow.advance)
    return narrow.groups


def _in_order_of_rows(
    values: NDArray[Any],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first rows of all different values, ascending, and the place among them of each row."""
    _, first, place = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[place]


def _medoids(
    codes: NDArray[np.uint8], labels: NDArray[np.int64], firsts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """
    The row of each group with the smallest sum of distances to the others.

    A bit adds to the sum of a code the number of codes of the group with the other value, so the
    sums of a group follow from how often each bit is 1, in O(n_bits) for each code.
    """
    medoids = firsts.copy()
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=len(firsts))
    ends = np.cumsum(sizes)
    for group in np.flatnonzero(sizes > 2):
        rows = order[ends[group] - sizes[group] : ends[group]]
        blocks = [rows[some] for some in cut(len(rows), 8 * codes.shape[1], _UNPACKED_BITS)]
        ones = np.zeros(8 * codes.shape[1], np.int64)
        for block in blocks:
            ones += np.unpackbits(codes[block], axis=1).sum(axis=0, dtype=np.int64)
        weights = sizes[group] - 2 * ones
        sums = [np.unpackbits(codes[block], axis=1) @ weights for block in blocks]
        medoids[group] = rows[np.argmin(np.concatenate(sums))]
    return medoids
