"""CLSR: a common space of two modalities learned by contrast and latent reconstruction, and codes.

``estimator`` has the class. ``_settings`` are its parameters, ``_inputs`` brings features to scale,
``_problem`` is what training is given; ``_training`` and ``_losses`` need PyTorch; ``_latent_maps``
is what a fit leaves.
"""

from .estimator import CLSR

__all__ = ["CLSR"]
