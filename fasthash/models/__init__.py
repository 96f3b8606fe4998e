"""Estimators that learn codes several modalities share.

`base` has the contract, `amsh` and `amsh_steps` the supervised method that needs no pairing,
`cca_itq` the unsupervised baseline on pairs.
"""

from .amsh import AMSH
from .base import CrossModalHasher
from .cca_itq import CCAITQ

__all__ = ["AMSH", "CCAITQ", "CrossModalHasher"]
