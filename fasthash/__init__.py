"""Binary codes that several modalities share, learned and searched exactly by Hamming distance.

This file defines nothing: it hands out the public names and imports a room when a name in it is
first used, so that ``import fasthash`` costs little more than numpy.
"""

import importlib
from importlib.machinery import PathFinder

__version__ = "0.1.0"

# Public name -> the room it stands in.
_ROOMS = {
    "AMSH": ".models",
    "CCAITQ": ".models",
    "CLSR": ".models",
    "HammingIndex": ".index",
    "ITQ": ".models",
    "MultiIndexHash": ".index",
    "RREH": ".models",
    "RandomHyperplanes": ".models",
    "average_precision": ".metrics",
    "datasets": "",
    "distances": ".hamming",
    "get_include": ".include",
    "interchange": "",
    "load": ".loading",
    "mean_average_precision": ".metrics",
    "metrics": "",
    "models": "",
    "pack": ".codes",
    "precision_at": ".metrics",
    "precision_recall_curve": ".metrics",
    "rank": ".hamming",
    "recall_at": ".metrics",
    "rerank": ".reranking",
    "retrieval_scores": ".metrics",
    "simd_level": "._core.runtime",
    "simd_levels": "._core.runtime",
    "topk": ".hamming",
    "unpack": ".codes",
    "within": ".hamming",
}

__all__ = ["__version__", *_ROOMS]

# Not by its full name, which would import what asks whether kernels are loaded after a fork.
if PathFinder.find_spec("hamming", [f"{folder}/_kernels" for folder in __path__]) is None:
    raise ImportError(
        "fasthash is being imported from a source tree whose kernels are not built: run "
        "'pip install .' in that folder and start Python in another one."
    )


def __getattr__(name):
    if name not in _ROOMS:
        raise AttributeError(f"module 'fasthash' has no attribute {name!r}")
    if _ROOMS[name]:
        value = getattr(importlib.import_module(_ROOMS[name], __name__), name)
    else:
        value = importlib.import_module(f".{name}", __name__)
    globals()[name] = value
    return value


def __dir__():
    return sorted(set(globals()) | set(__all__))
