"""How good rankings and codes are.

- ``ranking``: average precision with named rules for ties, precision, recall, curves.
- ``pairs``: recall at k and median rank of pairs, of latents or codes, many to one.
- ``statistics``: how bits are spread, how far relevant and other codes are apart.
- ``_relevance``: relevant codes counted per distance; ``_ties``: means over all orders of ties.
"""

from .pairs import RetrievalScores, retrieval_scores
from .ranking import (
    average_precision,
    mean_average_precision,
    precision_at,
    precision_recall_curve,
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
