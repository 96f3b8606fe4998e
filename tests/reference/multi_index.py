"""Multi-index hashing with dictionaries: substring -> rows. Order is always (distance, row).

Step r = flips * n_tables + table looks up all substrings of one table that differ from the query's
in `flips` bits. After step r, every code within distance r has been met.
"""

from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

# The bits of a substring; and the rows that have it, per value.
Key = tuple[int, ...]
Table = dict[Key, list[int]]


def spans(n_bits: int, n_tables: int) -> list[tuple[int, int]]:
    """Where each substring starts and ends; the first ones take the bits that are left over."""
    length, longer = divmod(n_bits, n_tables)
    starts = [i * length + min(i, longer) for i in range(n_tables + 1)]
    return list(pairwise(starts))


def substrings(code: NDArray[np.uint8], n_bits: int, n_tables: int) -> list[Key]:
    """A packed code cut into tuples of bits."""
    bits = np.unpackbits(code, count=n_bits).tolist()
    return [tuple(bits[start:end]) for start, end in spans(n_bits, n_tables)]


def build(database: NDArray[np.uint8], n_bits: int, n_tables: int) -> list[Table]:
    """One dictionary per substring, from its value to the rows that have it."""
    tables: list[Table] = [{} for _ in range(n_tables)]
    for row, code in enumerate(database):
        for table, key in zip(tables, substrings(code, n_bits, n_tables), strict=True):
            table.setdefault(key, []).append(row)
    return tables


def _differing(a: Key, b: Key) -> int:
    return sum(x != y for x, y in zip(a, b, strict=True))


def _met_at(
    query_keys: list[Key],
    database: NDArray[np.uint8],
    n_bits: int,
    n_tables: int,
    tables: list[Table],
    step: int,
) -> list[tuple[int, int]]:
    """(distance, row) of the codes that this step meets and no earlier one has met."""
    flips, j = divmod(step, n_tables)
    met = []
    for positions in combinations(range(len(query_keys[j])), flips):
        key = tuple(bit ^ (i in positions) for i, bit in enumerate(query_keys[j]))
        for row in tables[j].get(key, []):
            keys = substrings(database[row], n_bits, n_tables)
            away = [_differing(a, b) for a, b in zip(keys, query_keys, strict=True)]
            # A table meets a code at this step; the first of these steps reports it.
            if min(away[i] * n_tables + i for i in range(n_tables)) == step:
                met.append((sum(away), row))
    return met


def topk(
    queries: NDArray[np.uint8], database: NDArray[np.uint8], k: int, n_bits: int, n_tables: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The k nearest of every query; what is missing is -1."""
    tables = build(database, n_bits, n_tables)
    out_distances = np.full((len(queries), k), -1, np.int32)
    out_ids = np.full((len(queries), k), -1, np.int64)
    for i, query in enumerate(queries):
        keys = substrings(query, n_bits, n_tables)
        found: list[tuple[int, int]] = []
        for step in range(n_bits + 1):
            found = sorted(found + _met_at(keys, database, n_bits, n_tables, tables, step))[:k]
            if len(found) == min(k, len(database)) and (not found or found[-1][0] <= step):
                break
        for place, (d, row) in enumerate(found):
            out_distances[i, place] = d
            out_ids[i, place] = row
    return out_distances, out_ids


def within(
    queries: NDArray[np.uint8], database: NDArray[np.uint8], radius: int, n_bits: int, n_tables: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """All codes at most the radius away, as (limits, distances, ids)."""
    tables = build(database, n_bits, n_tables)
    limits, found_distances, found_ids = [0], [], []
    for query in queries:
        keys = substrings(query, n_bits, n_tables)
        found: list[tuple[int, int]] = []
        for step in range(min(radius, n_bits) + 1):
            found += _met_at(keys, database, n_bits, n_tables, tables, step)
        for d, row in sorted(found):
            if d <= radius:
                found_distances.append(d)
                found_ids.append(row)
        limits.append(len(found_ids))
    return (
        np.array(limits, np.int64),
        np.array(found_distances, np.int32),
        np.array(found_ids, np.int64),
    )
