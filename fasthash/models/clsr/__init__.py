"""CLSR: a common space of two modalities learned by contrast and latent reconstruction, and codes.

``estimator`` has the class, ``_settings`` its parameters. ``_problem`` makes the input of the
training from features and pairs (``_inputs`` groups the pairs). ``_training`` has the training loop
and ``_losses`` its terms; these two need PyTorch. ``_latent_maps`` has the maps from features to
latents, the result of a fit.
"""

from .estimator import CLSR

__all__ = ["CLSR"]
