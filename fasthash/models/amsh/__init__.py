"""AMSH: supervised codes of several modalities, learned from labels; no pairs are needed.

``estimator`` has the class and ``_settings`` its parameters. ``_fit`` runs the two steps of a fit:
``_codes`` learns codes from labels, and ``_hash_functions`` learns functions from features to
codes. ``_code_parts`` has the work on a part of the samples, and ``_cluster_fit`` prepares a fit of
Dask arrays. ``_code_rules`` computes codes of new samples from their labels, for ``partial_fit``.
"""

from .estimator import AMSH

__all__ = ["AMSH"]
