"""Experiments: compare methods, and measure the speed of fasthash on this machine.

- ``comparison``: models fitted for several code lengths and seeds, and scored.
- ``recall``: codes of embeddings compared with the float search.
- ``speed``: what ``fasthash bench`` measures, against numpy, faiss and the machine's limits. It
  stands on ``_timing`` (calls measured in turn, ratios within a round), ``_random_codes`` (codes to
  search), ``_peers`` and ``_model_peers`` (the same answers by numpy and faiss-cpu), ``_cells``
  (figures as text).

The figures of the repository, more of everything, are made by its folder ``benchmarks``, which
measures with these modules too.
"""

from .comparison import (
    Metric,
    Score,
    Summary,
    compare,
    fit_model,
    learns_from,
    score_model,
    summarise,
)
from .recall import Recall, recall_of_codes

__all__ = [
    "Metric",
    "Recall",
    "Score",
    "Summary",
    "compare",
    "fit_model",
    "learns_from",
    "recall_of_codes",
    "score_model",
    "summarise",
]
