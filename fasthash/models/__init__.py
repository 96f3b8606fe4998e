"""Estimators that learn codes several modalities share.

`base` has the contract. `amsh` is the supervised method that needs no pairing: `amsh_fit` runs its
two steps, `amsh_codes` and `hash_functions`. `cca_itq` is the unsupervised baseline on pairs.
"""

from .amsh import AMSH
from .base import CrossModalHasher
from .cca_itq import CCAITQ

__all__ = ["AMSH", "CCAITQ", "CrossModalHasher"]
