# What the lazy names of __init__.py are, for type checkers and editors.
from . import (
    audio,
    codes,
    datasets,
    distributed,
    embeddings,
    experiments,
    fusion,
    interchange,
    metrics,
    models,
    neighbors,
    words,
)
from ._core.runtime import simd_level, simd_levels
from .asymmetric import topk_weighted
from .codes import pack, unpack
from .fusion import topk_fused
from .hamming import distances, rank, topk, within
from .include import get_include
from .index import HammingIndex, MultiIndexHash
from .loading import load
from .metrics import (
    average_precision,
    mean_average_precision,
    precision_at,
    precision_recall_curve,
    recall_at,
)
from .metrics.pairs import retrieval_scores
from .models import AMSH, CCAITQ, CLSR, ITQ, RREH, RandomHyperplanes
from .neighbors import duplicate_groups, knn_graph, pairs_within, radius_graph
from .reranking import rerank

__version__: str
__all__ = [
    "AMSH",
    "CCAITQ",
    "CLSR",
    "ITQ",
    "RREH",
    "HammingIndex",
    "MultiIndexHash",
    "RandomHyperplanes",
    "__version__",
    "audio",
    "average_precision",
    "codes",
    "datasets",
    "distances",
    "distributed",
    "duplicate_groups",
    "embeddings",
    "experiments",
    "fusion",
    "get_include",
    "interchange",
    "knn_graph",
    "load",
    "mean_average_precision",
    "metrics",
    "models",
    "neighbors",
    "pack",
    "pairs_within",
    "precision_at",
    "precision_recall_curve",
    "radius_graph",
    "rank",
    "recall_at",
    "rerank",
    "retrieval_scores",
    "simd_level",
    "simd_levels",
    "topk",
    "topk_fused",
    "topk_weighted",
    "unpack",
    "within",
    "words",
]
