"""RREH: unsupervised codes from few pairs among many samples, by reconstruction from anchors.

``estimator`` has the class. ``_start`` prepares features, anchors (``_anchor_reconstruction``) and
the relations of samples to them (``_relations``); ``_fit`` sweeps.
"""

from .estimator import RREH

__all__ = ["RREH"]
