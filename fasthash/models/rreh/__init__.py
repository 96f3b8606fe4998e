"""RREH: unsupervised codes from few pairs among many samples, by reconstruction from anchors.

``estimator`` has the class. ``_start`` prepares a fit: features, anchors, and the relations of
samples to anchors (``_relations``; ``_anchor_reconstruction`` computes them). ``_fit`` has the
sweeps.
"""

from .estimator import RREH

__all__ = ["RREH"]
