"""The words of the texts of items: codes that are searched beside those of a model, and matches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .._core.words import split_words
from ..codes import unpack_signs
from ..words import WordCodes

__all__ = ["ItemWords"]


class ItemWords:
    """
    Codes of the words of the texts of items.

    Parameters
    ----------
    texts : sequence of str
        The text of each item, in the order of their ids; "" for an item without a text.

    Attributes
    ----------
    codes : ndarray of uint8, shape (n, n_bytes)
        Codes of the words.
    n_bits : int
        Length of the codes.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._words = WordCodes(texts)
        self.codes = self._words.encode(texts)
        self.n_bits = self._words.n_bits
        self._texts = texts

    def weights(self, text: str) -> NDArray[np.float32] | None:
        """Return weights for the bits, shape (1, n_bits); None if no word of the text is known."""
        return self._words.project([text]) if self._numbers(text) else None

    def weights_of(self, row: int) -> NDArray[np.int8]:
        """Return the code of an item as weights of 1 and -1, shape (1, n_bits)."""
        return unpack_signs(self.codes[[row]], self.n_bits)

    def unknown(self, text: str) -> dict[str, list[str]]:
        """List the words that no item has, with similar words."""
        return self._words.unknown_words(text)

    def matched(self, text: str, row: int) -> list[str]:
        """List the words of a text that an item has too, perhaps with another ending."""
        own = self._numbers(self._texts[row])
        return [word for word in dict.fromkeys(split_words(text)) if self._numbers(word) & own]

    def _numbers(self, text: str) -> set[int]:
        return set(self._words.vocabulary.count(text))
