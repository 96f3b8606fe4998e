"""RREH: unsupervised codes from few pairs among many samples, by reconstruction from anchors.

``estimator`` has the class. ``_start`` prepares a fit: features, anchors, and the relations of
samples to anchors (``_relations``; ``_anchor_reconstruction`` computes them). ``_views`` has the
parts of a modality, of which there are several on a cluster. ``_fit`` has the sweeps, and
``_fit_parts`` what they do with a part of all modalities.
"""

from .estimator import RREH

__all__ = ["RREH"]
