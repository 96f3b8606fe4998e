"""AMSH: supervised codes of several modalities, learned from labels without any pairing.

``estimator`` has the class. ``_fit`` runs its two steps: ``_codes`` (codes from labels) and
``_hash_functions`` (hash functions of features); ``_code_rules`` codes new samples.
"""

from .estimator import AMSH

__all__ = ["AMSH"]
