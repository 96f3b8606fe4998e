"""Indexes over packed codes: `HammingIndex`, and `MultiIndexHash` for near neighbours."""

from .hamming_index import HammingIndex
from .multi_index import MultiIndexHash

__all__ = ["HammingIndex", "MultiIndexHash"]
