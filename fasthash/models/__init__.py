"""Estimators that learn codes several modalities share, and two baselines for a single one.

`base` has the contract. `amsh` is the supervised method that needs no pairing: `amsh_fit` runs its
two steps, `amsh_codes` and `hash_functions`; `code_rules` codes new samples. `cca_itq` is the
unsupervised baseline on pairs. `single_view` has scikit-learn transformers of one kind of features;
`rotation` is what it and `cca_itq` share. `anchor_reconstruction` writes samples as weighted
anchors.
"""

from .amsh import AMSH
from .base import CrossModalHasher
from .cca_itq import CCAITQ
from .single_view import ITQ, RandomHyperplanes

__all__ = ["AMSH", "CCAITQ", "ITQ", "CrossModalHasher", "RandomHyperplanes"]
