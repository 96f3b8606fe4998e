"""The second stage of a search, one candidate at a time."""

import math
from collections.abc import Sequence

Vector = Sequence[float]


def inner(a: Vector, b: Vector) -> float:
    """The inner product, each term and the sum without rounding where they are integers."""
    return math.fsum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def cosine(a: Vector, b: Vector) -> float:
    """The cosine of the angle, 0 where a vector is all zeros."""
    lengths = math.sqrt(inner(a, a)) * math.sqrt(inner(b, b))
    return inner(a, b) / lengths if lengths else 0.0


def rerank(
    queries: Sequence[Vector],
    vectors: Sequence[Vector],
    candidates: Sequence[Sequence[int]],
    k: int,
    metric: str,
) -> tuple[list[list[float]], list[list[int]]]:
    """The k best of the candidates of every query; NaN and -1 where there are fewer."""
    measure = {"inner": inner, "cosine": cosine}[metric]
    similarities, ids = [], []
    for query, found in zip(queries, candidates, strict=True):
        # Products that differ by rounding alone are equal.
        scored = [(-round(measure(query, vectors[i]), 9), i) for i in set(found) if i >= 0]
        best = sorted(scored)[:k]
        similarities.append([-s for s, _ in best] + [math.nan] * (k - len(best)))
        ids.append([i for _, i in best] + [-1] * (k - len(best)))
    return similarities, ids
