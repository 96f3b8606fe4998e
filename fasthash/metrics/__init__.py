"""Quality of rankings and of codes.

- ``average_precisions``: average precision, of all ranks, of the first ones, or within a radius.
- ``ranking``: precision, recall as the share of all relevant items, and R-precision.
- ``graded``: NDCG, average cumulative gain and weighted average precision, for several labels.
- ``curves``: precision and recall within every radius.
- ``pairs``: recall at k as the share of queries that find a partner, and the median rank; for
  latents or codes, one to one or many to one.
- ``comparison``: whether two rankings differ by more than the choice of the queries explains.
- ``statistics``: how often bits are 1, how they correlate, how far apart relevant codes are.
- ``scale``: what a distance means, by the distances of relevant and of other pairs.
- ``_relevance``, ``_weighted_relevance``: count relevant codes per distance, or per score;
  ``_means``: means over queries; ``_ties``: the rules for ties.
"""

from .average_precisions import average_precision, mean_average_precision
from .comparison import PairedComparison, compare_paired
from .curves import precision_recall_curve
from .graded import acg_at, ndcg_at, weighted_average_precision
from .pairs import RetrievalScores, retrieval_scores
from .ranking import precision_at, r_precision, recall_at
from .scale import DistanceScale
from .statistics import (
    average_precision_by_label,
    bit_correlations,
    bit_means,
    distances_by_relevance,
)

__all__ = [
    "DistanceScale",
    "PairedComparison",
    "RetrievalScores",
    "acg_at",
    "average_precision",
    "average_precision_by_label",
    "bit_correlations",
    "bit_means",
    "compare_paired",
    "distances_by_relevance",
    "mean_average_precision",
    "ndcg_at",
    "precision_at",
    "precision_recall_curve",
    "r_precision",
    "recall_at",
    "retrieval_scores",
    "weighted_average_precision",
]
