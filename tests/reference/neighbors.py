"""Pairs of near codes, and groups of them, by comparing every code with every other."""

import numpy as np
from numpy.typing import NDArray

from reference.hamming import distance, topk


def pairs_within(
    codes: NDArray[np.uint8], radius: int, other: NDArray[np.uint8] | None = None
) -> list[tuple[int, int, int]]:
    """(i, j, distance) within the radius, in the order of (i, j); i < j within one set."""
    found = []
    for i in range(len(codes)):
        for j in range(i + 1, len(codes)) if other is None else range(len(other)):
            d = distance(codes[i], (codes if other is None else other)[j])
            if d <= radius:
                found.append((i, j, d))
    return found


def duplicate_groups(
    codes: NDArray[np.uint8],
    radius: int,
    max_diameter: int | None = None,
    takes_equal_as_one: bool = True,
) -> list[list[int]]:
    """The rows of each group, in the order of their first rows."""
    groups: list[list[int]] = []
    if max_diameter is not None:
        for row in range(len(codes)):
            equal = [g for g in groups if any(distance(codes[row], codes[o]) == 0 for o in g)]
            if equal and takes_equal_as_one:
                equal[0].append(row)
                continue
            for group in groups:
                away = [distance(codes[row], codes[other]) for other in group]
                if min(away) <= radius and max(away) <= max_diameter:
                    group.append(row)
                    break
            else:
                groups.append([row])
        return groups
    left = list(range(len(codes)))
    while left:
        group = [left.pop(0)]
        for row in group:
            near = [other for other in left if distance(codes[row], codes[other]) <= radius]
            group.extend(near)
            left = [other for other in left if other not in near]
        groups.append(sorted(group))
    return groups


def medoid(codes: NDArray[np.uint8], rows: list[int]) -> int:
    """The row with the smallest sum of distances to the others; the first of several."""
    return min(rows, key=lambda row: (sum(distance(codes[row], codes[o]) for o in rows), row))


def knn_graph(codes: NDArray[np.uint8], k: int) -> list[list[tuple[int, int]]]:
    """(row, distance) of the k nearest other codes of each code."""
    near, rows = topk(codes, codes, len(codes)) if len(codes) else (codes, codes)
    return [
        [(int(j), int(d)) for j, d in zip(js, ds, strict=True) if j != i][:k]
        for i, (js, ds) in enumerate(zip(rows, near, strict=True))
    ]
