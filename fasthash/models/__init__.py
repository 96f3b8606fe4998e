"""Estimators that learn codes which several modalities share, and two baselines for one modality.

``base`` has the contract of all estimators; begin there to add one. ``amsh``, ``rreh`` and ``clsr``
hold one method each. ``baselines`` has the simple methods: for pairs, for one kind of features, and
published ones for comparisons. ``selection`` chooses between models by held-out pairs, without
labels. ``_encoding`` computes codes of features, and ``_partitions`` those of Dask arrays.
``_canonical``, ``_rotation``, ``_preprocessing``, ``_columns``, ``_progress`` and ``_saving`` have
what several of them use. ``_names`` lists the classes.

A class is imported when its name is first used, because scikit-learn takes a second to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._names import MODULES

if TYPE_CHECKING:
    from .amsh import AMSH
    from .base import CrossModalHasher
    from .baselines.cca_itq import CCAITQ
    from .baselines.cmfh import CMFH
    from .baselines.cvh import CVH
    from .baselines.dch import DCH
    from .baselines.scm import SCM
    from .baselines.single_view import ITQ, RandomHyperplanes
    from .clsr import CLSR
    from .rreh import RREH
    from .selection import Selection, select_by_pairs

__all__ = [
    "AMSH",
    "CCAITQ",
    "CLSR",
    "CMFH",
    "CVH",
    "DCH",
    "ITQ",
    "RREH",
    "SCM",
    "CrossModalHasher",
    "RandomHyperplanes",
    "Selection",
    "select_by_pairs",
]


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(MODULES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
