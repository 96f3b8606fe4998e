"""Estimators that learn codes several modalities share, and two baselines for a single one.

`base` has the contract. `amsh` is the supervised method that needs no pairing: `amsh_fit` runs its
two steps, `amsh_codes` and `hash_functions`; `code_rules` codes new samples. `rreh` is the
unsupervised method for few pairs among many samples: `rreh_start` prepares features, anchors and
the `relations` of samples to them by `anchor_reconstruction`; `rreh_fit` sweeps. `cca_itq` is the
unsupervised baseline on pairs. `single_view` has scikit-learn transformers of one kind of features.
`canonical` and `rotation` are what several of them share. `selection` chooses between models by
held-out pairs, without labels.
"""

from .amsh import AMSH
from .base import CrossModalHasher
from .cca_itq import CCAITQ
from .rreh import RREH
from .selection import Selection, select_by_pairs
from .single_view import ITQ, RandomHyperplanes

__all__ = [
    "AMSH",
    "CCAITQ",
    "ITQ",
    "RREH",
    "CrossModalHasher",
    "RandomHyperplanes",
    "Selection",
    "select_by_pairs",
]
