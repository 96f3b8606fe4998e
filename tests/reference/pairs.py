"""Recall, median rank and average precision of pairs, by writing down every order of ties."""

import math
from collections.abc import Sequence
from statistics import median

from reference.ranking import orders_within_ties, precision_sum


def orders(similarity: Sequence[float], relevant: Sequence[bool], ties: str) -> list[list[bool]]:
    """Relevance by rank: of every order within ties, or of the order of the rows."""
    rows = sorted(range(len(similarity)), key=lambda row: (-similarity[row], row))
    ranked = [(-similarity[row], bool(relevant[row])) for row in rows]
    return orders_within_ties(ranked) if ties == "expected" else [[r for _, r in ranked]]


def middle_ranks(similarity: Sequence[float], relevant: Sequence[bool]) -> list[float]:
    """Ranks of the relevant items: half of the irrelevant ones in a tie stand before them."""
    items = list(zip(similarity, relevant, strict=True))
    found = sorted((s for s, r in items if r), reverse=True)
    others = [s for s, r in items if not r]
    return [
        i + sum(s > value for s in others) + sum(s == value for s in others) / 2
        for i, value in enumerate(found, 1)
    ]


def scores(
    similarity: Sequence[Sequence[float]],
    relevant: Sequence[Sequence[bool]],
    ranks: Sequence[int],
    at: int | None,
    ties: str,
) -> tuple[dict[int, float], float, float, int]:
    """(recall per rank, median rank, mean average precision, number of queries that count)."""
    within: dict[int, list[float]] = {k: [] for k in ranks}
    firsts, precisions = [], []
    for s, r in zip(similarity, relevant, strict=True):
        if not any(r):
            continue
        limit = min(len(s), at or len(s))
        best = min(limit, sum(map(bool, r)))
        if ties == "middle":
            found = middle_ranks(s, r)
            first = [found[0]]
            sums = [sum(i / rank for i, rank in enumerate(found, 1) if rank <= limit)]
        else:
            all_orders = orders(s, r, ties)
            first = [order.index(True) + 1 for order in all_orders]
            sums = [precision_sum(order, limit) for order in all_orders]
        for k in ranks:
            within[k].append(sum(rank <= k for rank in first) / len(first))
        firsts.append(math.fsum(first) / len(first))
        precisions.append(math.fsum(sums) / len(sums) / best)
    n = len(firsts)
    recall = {k: math.fsum(values) / n for k, values in within.items()}
    return recall, median(firsts), math.fsum(precisions) / n, n
