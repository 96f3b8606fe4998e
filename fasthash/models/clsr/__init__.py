"""CLSR: a common space of two modalities learned by contrast and latent reconstruction, and codes.

``estimator`` has the class, ``_settings`` its parameters. ``_problem`` makes the input of the
training from features and pairs (``_inputs`` groups the pairs). ``_training`` has the training loop
and ``_losses`` its terms; these two need PyTorch. Then ``_appended`` chooses what is appended to
the latents, and ``_codes`` how bits are made of them; ``_refinement`` is one of the ways.
``_latent_maps`` has the maps from features to latents, the result of a fit, and ``_latent_search``
transforms samples and searches with them.
"""

from .estimator import CLSR

__all__ = ["CLSR"]
