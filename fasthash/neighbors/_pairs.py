"""`pairs_within` and `iter_pairs`: all pairs of codes within a Hamming radius, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.interruptible import copy
from .._core.runtime import resolve_threads
from .._core.validation import check_count
from ..codes import check_codes, check_same_width
from ._blocks import MAX_ROWS, Pairs, found_blocks

__all__ = ["Accept", "iter_pairs", "pairs_within"]

# A function of the user: which of the pairs (first[i], second[i]) are wanted.
Accept = Callable[[NDArray[np.int64], NDArray[np.int64]], ArrayLike]

# Pairs that are found at a time where all of them are kept.
_COLLECTED = 1 << 23

# More pairs than there can be, in C's int64.
_EVERYTHING = 2**63 - 1


def pairs_within(
    codes: ArrayLike,
    radius: int,
    *,
    other: ArrayLike | None = None,
    max_pairs: int = 100_000_000,
    accept: Accept | None = None,
    n_threads: int | None = None,
) -> Pairs:
    """
    Find all pairs of codes within a Hamming radius, exactly, each of them once.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, n_bytes)
        Packed codes, as made by `pack`.
    radius : int
        Largest distance that counts, in bits; inclusive.
    other : array_like of uint8, shape (n_other, n_bytes), optional
        Packed codes of the same width. Then pairs are of a row of `codes` and a row of `other`. By
        default, pairs are of two different rows of `codes`.
    max_pairs : int
        With more pairs than this, the call fails, before memory runs out.
    accept : callable, optional
        Called as ``accept(first, second)`` with two read-only arrays of row numbers, the pairs of a
        block. It returns a boolean for each pair, false for those that are left out. For example,
        ``lambda first, second: source[first] != source[second]`` keeps the pairs of different
        sources.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    first, second : ndarray of int64, shape (n_pairs,)
        Row numbers, in the order of (first, second). Within one set of codes, first is less than
        second.
    distances : ndarray of int32, shape (n_pairs,)
        Hamming distances. The three arrays are a named tuple.

    Raises
    ------
    TypeError, ValueError
        If the codes are not packed or differ in width, the radius is negative, there are more than
        `max_pairs` pairs, or `accept` does not return a boolean for each pair.

    See Also
    --------
    fasthash.neighbors.iter_pairs : The same pairs in blocks, for any number of them.
    duplicate_groups : Groups of codes that such pairs connect.
    radius_graph : The pairs as a sparse matrix.
    within : All codes within a radius of each query.

    Notes
    -----
    Codes are sorted by a part of their bits, and codes that agree there, up to a few bits, are
    compared with each other. This is repeated with other parts, so that no pair is missed
    (multi-index hashing). A sample of the codes decides how many parts there are, or that all codes
    are compared, where this is faster.

    The result takes 20 bytes for each pair. The search also needs memory for one copy of the codes,
    about 16 bytes for each code, and 40 bytes for each of up to eight million pairs that it sorts
    at a time.

    Examples
    --------
    >>> import fasthash as fh
    >>> codes = fh.pack([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0], [1.0, 1.0, -1.0]])
    >>> first, second, distances = fh.pairs_within(codes, 1)
    >>> first, second, distances
    (array([0]), array([2]), array([1], dtype=int32))
    """
    max_pairs = check_count(max_pairs, "max_pairs", maximum=None)
    found: list[Pairs] = []
    n_found = 0
    for block in _accepted(codes, radius, other, accept, _COLLECTED, n_threads):
        n_found += len(block.first)
        if n_found > max_pairs:
            raise ValueError(
                f"more than max_pairs={max_pairs:,} pairs lie within radius={radius}: there are "
                f"{n_found:,} with the rows up to {block.first[-1]:,} alone. Lower the radius, "
                "raise max_pairs (a pair takes 20 bytes), or take them in blocks with "
                "fasthash.neighbors.iter_pairs"
            )
        found.append(block)
    return _joined(found)


def iter_pairs(
    codes: ArrayLike,
    radius: int,
    *,
    other: ArrayLike | None = None,
    block_pairs: int = 1 << 22,
    accept: Accept | None = None,
    n_threads: int | None = None,
) -> Iterator[Pairs]:
    """
    Find all pairs of codes within a Hamming radius, and yield them in blocks.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, n_bytes)
        Packed codes, as made by `pack`; they must not change before the last block.
    radius : int
        Largest distance that counts, in bits; inclusive.
    other : array_like of uint8, shape (n_other, n_bytes), optional
        Packed codes of the same width; then pairs are of a row of `codes` and a row of `other`.
    block_pairs : int
        Largest number of pairs of a block. Only if a single row is in more pairs than that, its
        block is larger.
    accept : callable, optional
        Which pairs are wanted, as in `pairs_within`.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    iterator of named tuples
        Each has ``first``, ``second`` and ``distances``, as `pairs_within` returns them. Joined in
        their order, the blocks are the result of `pairs_within`. Pairs with the same first
        row are in one block, and no block is empty.

    Raises
    ------
    TypeError, ValueError
        As `pairs_within`, except that any number of pairs is allowed.

    See Also
    --------
    pairs_within : All pairs at once.

    Notes
    -----
    Memory is needed for one copy of the codes, about 16 bytes for each code, and about 60 bytes for
    each pair of a block. With many blocks, the codes are sorted again for each of them.

    Examples
    --------
    >>> import fasthash as fh
    >>> codes = fh.pack([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0], [1.0, 1.0, -1.0]])
    >>> for first, second, distances in fh.neighbors.iter_pairs(codes, 1):
    ...     print(first, second, distances)
    [0] [2] [1]
    """
    block_pairs = min(check_count(block_pairs, "block_pairs", maximum=None), _EVERYTHING)
    return _even(_accepted(codes, radius, other, accept, block_pairs, n_threads), block_pairs)


def _accepted(
    codes: ArrayLike,
    radius: int,
    other: ArrayLike | None,
    accept: Accept | None,
    most: int,
    n_threads: int | None,
) -> Iterator[Pairs]:
    """Check the arguments, and find the pairs that are accepted, in blocks of any size."""
    codes = check_codes(codes, "codes")
    n = len(codes)
    if other is not None:
        other = check_codes(other, "other")
        check_same_width(codes, "codes", other, "other")
        n += len(other)
    if n > MAX_ROWS:
        raise ValueError(f"there are {n:,} codes; pairs are found among at most {MAX_ROWS:,}")
    radius = min(check_count(radius, "radius", minimum=0, maximum=None), 8 * codes.shape[1])
    if accept is not None and not callable(accept):
        raise TypeError(
            f"accept must be a function of (first, second), got {type(accept).__name__}"
        )
    blocks = found_blocks(codes, other, radius, most, resolve_threads(n_threads))
    return blocks if accept is None else (_those_accepted(block, accept) for block in blocks)


def _those_accepted(block: Pairs, accept: Accept) -> Pairs:
    first, second, distances = block
    shown = [first.view(), second.view()]
    for rows in shown:
        rows.flags.writeable = False
    wanted = np.asarray(accept(*shown))
    if wanted.dtype != bool or wanted.shape != first.shape:
        raise ValueError(
            f"accept must return an array of booleans, one for each of the {len(first)} pairs it "
            f"was given, got {wanted.dtype} of shape {wanted.shape}"
        )
    return Pairs(first[wanted], second[wanted], distances[wanted])


def _joined(blocks: list[Pairs]) -> Pairs:
    """Join blocks into one; empty the list, so that a block is freed as soon as it is copied."""
    if len(blocks) == 1:
        return blocks.pop()
    end = sum(len(block.first) for block in blocks)
    whole = Pairs(np.empty(end, np.int64), np.empty(end, np.int64), np.empty(end, np.int32))
    while blocks:
        block = blocks.pop()
        start = end - len(block.first)
        copy(block.first, whole.first[start:end])
        copy(block.second, whole.second[start:end])
        copy(block.distances, whole.distances[start:end])
        end = start
    return whole


def _even(blocks: Iterator[Pairs], most: int) -> Iterator[Pairs]:
    """Cut the pairs anew: each block has as many whole rows as fit, but at least one."""
    held: list[Pairs] = []
    n_held = 0
    for block in blocks:
        held.append(block)
        n_held += len(block.first)
        if n_held > most:
            whole = _joined(held)
            start = 0
            while n_held - start > most:
                end = _last_end(whole.first, start, most)
                yield _part(whole, start, end)
                start = end
            held.append(_part(whole, start, n_held))
            n_held -= start
    if n_held:
        yield _joined(held)


def _part(pairs: Pairs, start: int, end: int) -> Pairs:
    return Pairs(pairs.first[start:end], pairs.second[start:end], pairs.distances[start:end])


def _last_end(first: NDArray[np.int64], start: int, most: int) -> int:
    """Where a block that begins at `start` ends; there are more than `most` pairs from there on."""
    row = first[start + most]
    end = int(np.searchsorted(first, row))
    return end if end > start else int(np.searchsorted(first, row, side="right"))
