"""Experiments: compare methods, and measure the speed of fasthash on this machine.

- ``comparison`` fits models for several code lengths and seeds, and scores them.
- ``scores`` has the metrics, the scores, their means over seeds, and differences of methods.
- ``recall`` compares a search by codes of embeddings with the float search.
- ``speed`` makes the measurements of ``fasthash bench``, and compares fasthash with numpy, faiss
  and limits of the machine. It uses ``_timing`` (measure calls in turn), ``_random_codes`` (codes
  to search), ``_peers`` and ``_model_peers`` (the same computations with numpy and faiss-cpu), and
  ``_cells`` (format figures).

The folder ``benchmarks`` of the repository uses the same modules for larger measurements.
"""

from .comparison import compare, fit_model, learns_from, score_model
from .recall import Recall, recall_of_codes
from .scores import Difference, Metric, Score, Summary, differences, summarise

__all__ = [
    "Difference",
    "Metric",
    "Recall",
    "Score",
    "Summary",
    "compare",
    "differences",
    "fit_model",
    "learns_from",
    "recall_of_codes",
    "score_model",
    "summarise",
]
