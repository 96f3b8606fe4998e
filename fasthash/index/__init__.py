"""Indexes over packed codes: `HammingIndex`, which holds codes and answers exact searches."""

from .hamming_index import HammingIndex

__all__ = ["HammingIndex"]
