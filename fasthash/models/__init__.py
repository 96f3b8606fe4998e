"""Estimators that learn codes several modalities share, and two baselines for a single one.

`base` has the contract. `amsh` is the supervised method that needs no pairing: `amsh_fit` runs its
two steps, `amsh_codes` and `hash_functions`; `code_rules` codes new samples. `rreh` is the
unsupervised method for few pairs among many samples: `rreh_start` prepares features, anchors and
the `relations` of samples to them by `anchor_reconstruction`; `rreh_fit` sweeps. `clsr` learns a
common space from pairs: `clsr_settings` are its parameters, `clsr_inputs` brings features to scale,
`clsr_problem` is what training is given, `clsr_training` and `clsr_losses` are the parts that need
PyTorch, `latent_maps` what a fit leaves. `cca_itq` is the unsupervised baseline on pairs.
`single_view` has scikit-learn transformers of one kind of features. `canonical` and `rotation` are
what several of them share. `selection` chooses between models by held-out pairs, without labels.
"""

from .amsh import AMSH
from .base import CrossModalHasher
from .cca_itq import CCAITQ
from .clsr import CLSR
from .rreh import RREH
from .selection import Selection, select_by_pairs
from .single_view import ITQ, RandomHyperplanes

__all__ = [
    "AMSH",
    "CCAITQ",
    "CLSR",
    "ITQ",
    "RREH",
    "CrossModalHasher",
    "RandomHyperplanes",
    "Selection",
    "select_by_pairs",
]
