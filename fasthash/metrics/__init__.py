"""Quality of rankings and of codes.

- ``ranking``: average precision, precision, and recall as the share of all relevant items.
- ``curves``: precision and recall within every radius.
- ``pairs``: recall at k as the share of queries that find a partner, and the median rank; for
  latents or codes, one to one or many to one.
- ``statistics``: how often bits are 1, how they correlate, how far apart relevant codes are.
- ``_relevance``, ``_weighted_relevance``: count relevant codes per distance, or per score;
  ``_means``: means over queries; ``_ties``: the rules for ties.
"""

from .curves import precision_recall_curve
from .pairs import RetrievalScores, retrieval_scores
from .ranking import (
    average_precision,
    mean_average_precision,
    precision_at,
    recall_at,
)
from .statistics import (
    average_precision_by_label,
    bit_correlations,
    bit_means,
    distances_by_relevance,
)

__all__ = [
    "RetrievalScores",
    "average_precision",
    "average_precision_by_label",
    "bit_correlations",
    "bit_means",
    "distances_by_relevance",
    "mean_average_precision",
    "precision_at",
    "precision_recall_curve",
    "recall_at",
    "retrieval_scores",
]
