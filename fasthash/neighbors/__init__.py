"""Neighbours of packed codes among themselves, by Hamming or Jaccard distance.

- ``_estimator``: `HammingNeighbors`, for pipelines of scikit-learn.
- ``_jaccard``: search by Jaccard distance.
"""

from typing import TYPE_CHECKING, Any

from ._jaccard import jaccard_topk, jaccard_within

if TYPE_CHECKING:
    from ._estimator import HammingNeighbors

__all__ = ["HammingNeighbors", "jaccard_topk", "jaccard_within"]


def __getattr__(name: str) -> Any:
    # Only this class needs scikit-learn, which takes a second to import.
    if name == "HammingNeighbors":
        from ._estimator import HammingNeighbors

        return HammingNeighbors
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
