"""Binary codes that several modalities share, learned and searched exactly by Hamming distance.

This file defines the version alone. It hands out the public names and imports a module when a name
in it is first used, so that ``import fasthash`` costs little more than numpy. ``__init__.pyi`` says
the same to type checkers; a test compares the two.
"""

import importlib
import sys
from importlib.machinery import PathFinder

# The one place that says it: pyproject.toml reads it from here.
__version__ = "0.1.0"

# Modules that are public as a whole.
_PUBLIC_MODULES = (
    "audio",
    "codes",
    "datasets",
    "distributed",
    "embeddings",
    "experiments",
    "fusion",
    "interchange",
    "metrics",
    "models",
    "neighbors",
    "words",
)

# Public name -> the module that defines it.
_MODULE_OF = {
    "AMSH": ".models",
    "CCAITQ": ".models",
    "CLSR": ".models",
    "HammingIndex": ".index",
    "ITQ": ".models",
    "MultiIndexHash": ".index",
    "RREH": ".models",
    "RandomHyperplanes": ".models",
    "average_precision": ".metrics",
    "distances": ".hamming",
    "duplicate_groups": ".neighbors",
    "get_include": ".include",
    "knn_graph": ".neighbors",
    "load": ".loading",
    "mean_average_precision": ".metrics",
    "pack": ".codes",
    "pairs_within": ".neighbors",
    "precision_at": ".metrics",
    "precision_recall_curve": ".metrics",
    "radius_graph": ".neighbors",
    "rank": ".hamming",
    "recall_at": ".metrics",
    "rerank": ".reranking",
    "retrieval_scores": ".metrics",
    "simd_level": "._core.runtime",
    "simd_levels": "._core.runtime",
    "topk": ".hamming",
    "topk_fused": ".fusion",
    "topk_weighted": ".asymmetric",
    "unpack": ".codes",
    "within": ".hamming",
}

__all__ = ["__version__", *_PUBLIC_MODULES, *_MODULE_OF]

# Not by its full name, which would import what asks whether kernels are loaded after a fork.
if PathFinder.find_spec("tiles", [f"{folder}/_kernels" for folder in __path__]) is None:
    raise ImportError(
        "fasthash is being imported from a source tree whose kernels are not built: run "
        "'pip install .' in that folder and start Python in another one."
    )


def __getattr__(name):
    if name in _PUBLIC_MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _MODULE_OF:
        # With these two, Python suggests a name that is spelt alike.
        where = {"name": name, "obj": sys.modules[__name__]}
        raise AttributeError(f"module 'fasthash' has no attribute {name!r}", **where)
    value = getattr(importlib.import_module(_MODULE_OF[name], __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(set(globals()) | set(__all__))
