"""Neighbours of packed codes among themselves: pairs, groups of near-duplicates, and graphs.

- ``_pairs``: `pairs_within` and `iter_pairs`, all pairs within a radius.
- ``_groups``: `duplicate_groups`, the connected components of these pairs.
- ``_graphs``: `knn_graph` and `radius_graph`, sparse matrices of distances.
- ``_blocks``: how pairs are found, in blocks of rows; ``_plan``: whether by a join or a scan.
- ``_estimator``: `HammingNeighbors`, for pipelines of scikit-learn; ``_searches``: what it holds.
- ``_jaccard``: search by Jaccard distance.
"""

from typing import TYPE_CHECKING, Any

from ._graphs import knn_graph, radius_graph
from ._groups import duplicate_groups
from ._jaccard import jaccard_topk, jaccard_within
from ._pairs import iter_pairs, pairs_within

if TYPE_CHECKING:
    from ._estimator import HammingNeighbors

__all__ = [
    "HammingNeighbors",
    "duplicate_groups",
    "iter_pairs",
    "jaccard_topk",
    "jaccard_within",
    "knn_graph",
    "pairs_within",
    "radius_graph",
]


def __getattr__(name: str) -> Any:
    # Only this class needs scikit-learn, which takes a second to import.
    if name == "HammingNeighbors":
        from ._estimator import HammingNeighbors

        return HammingNeighbors
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
