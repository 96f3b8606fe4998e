"""Neighbours of packed codes among themselves, by Hamming or Jaccard distance.

- ``_estimator``: `HammingNeighbors`, for pipelines of scikit-learn.
- ``_jaccard``: search by Jaccard distance.
"""

from ._estimator import HammingNeighbors
from ._jaccard import jaccard_topk, jaccard_within

__all__ = ["HammingNeighbors", "jaccard_topk", "jaccard_within"]
