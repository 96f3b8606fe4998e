"""Codes of words: texts that share words get similar codes, without a model that was trained."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import ndtri

from ._core.pieces import cut
from ._core.validation import check_count
from ._core.words import Vocabulary, check_texts, split_words
from .codes import pack_signs

__all__ = ["WordCodes"]

# Texts whose vectors are held at a time.
_BLOCK_TEXTS = 1 << 12

_ELSE_TRY = "use words of the texts that are searched"


class WordCodes:
    """
    Packed codes of the words of texts.

    Each word has a vector of normal random numbers, which its letters decide. The projections of a
    text are the sum of the vectors of its words, in which rare words count more. The code of a text
    is their signs. So the more words two texts share, the nearer are their codes. Meanings are not
    compared: for these, join the codes with those of a model by `fasthash.topk_fused`.

    Parameters
    ----------
    texts : sequence of str
        The texts that are searched. Their words are the known words, and the fewer of the texts a
        word is in, the more it counts.
    n_bits : int, default 256
        Length of the codes. Longer codes distinguish texts with more words.

    Attributes
    ----------
    n_bits : int
        Length of the codes.
    vocabulary : Vocabulary
        The known words.

    Raises
    ------
    TypeError, ValueError
        If `texts` is no sequence of strings, or `n_bits` is less than 1.

    See Also
    --------
    fasthash.topk_fused : Search by codes of words and other codes together.

    Notes
    -----
    A word that occurs c times in a text, and in d of the n texts, has the weight
    (1 + log c) · (1 + log((1 + n) / (1 + d))). Words are compared in lower case and without
    accents. An unknown word counts as a known one if common English endings make the difference:
    "dogs" as "dog". Costs O(n_bits) for each word.

    Words end at spaces and punctuation. So a text of a language that is written without spaces,
    such as Chinese, Japanese or Thai, is one word, unless spaces are put between its words first.

    References
    ----------
    Charikar, "Similarity Estimation Techniques from Rounding Algorithms", STOC 2002. The weights
    are those of TF-IDF.

    Examples
    --------
    >>> import fasthash as fh
    >>> names = ["dog face", "red apple", "green apple"]
    >>> words = fh.words.WordCodes(names)
    >>> codes = words.encode(names)
    >>> fh.topk_weighted(words.project(["apples, red"]), codes, k=3)[1]
    array([[1, 2, 0]])
    """

    def __init__(self, texts: Sequence[str], *, n_bits: int = 256) -> None:
        self.n_bits = check_count(n_bits, "n_bits")
        in_texts: Counter[str] = Counter()
        for text in check_texts(texts):
            # In the order of the text, because that of a set differs between processes.
            in_texts.update(list(dict.fromkeys(split_words(text))))
        self.vocabulary = Vocabulary(in_texts)
        counts = np.fromiter(in_texts.values(), np.int64, len(in_texts))
        self._words = list(in_texts)
        self._rarity = 1 + np.log((1 + len(texts)) / (1 + counts))

    def project(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """
        Compute the projections of texts, whose signs are the codes.

        Parameters
        ----------
        texts : sequence of str, length m
            Any texts.

        Returns
        -------
        ndarray of float32, shape (m, n_bits)
            Weights for `fasthash.topk_weighted`.

        Raises
        ------
        TypeError
            If `texts` is one string, or holds an object that is not a string.
        ValueError
            If a text has no known word. The message names the text and similar words that are
            known.

        See Also
        --------
        encode : The codes.
        unknown_words : The words that are left out.
        """
        projections = self._project(texts)
        for row in np.flatnonzero(~projections.any(axis=1)).tolist():
            if not self.vocabulary.count(texts[row]):
                raise self.vocabulary.refusal(texts[row], _ELSE_TRY)
        return projections

    def encode(self, texts: Sequence[str]) -> NDArray[np.uint8]:
        """
        Compute the packed codes of texts.

        Parameters
        ----------
        texts : sequence of str, length m
            Any texts.

        Returns
        -------
        ndarray of uint8, shape (m, ceil(n_bits / 8))
            A text without a known word gets a code that is near to no other one.

        Raises
        ------
        TypeError
            As in `project`.

        See Also
        --------
        project : The numbers whose signs are the codes.
        """
        projections = self._project(texts)
        has_no_word = ~projections.any(axis=1)
        projections[has_no_word] = _vectors([""], self.n_bits)
        return pack_signs(projections)

    def _project(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Compute projections; 0 for texts without a known word."""
        checked = check_texts(texts)
        projections = np.empty((len(checked), self.n_bits), np.float32)
        for rows in cut(len(texts), most=_BLOCK_TEXTS):
            counts = [self.vocabulary.count(text) for text in checked[rows]]
            # Words in the order of their numbers, so that other texts do not change the rounding.
            numbers = [sorted(one) for one in counts]
            known, columns = np.unique(list(chain(*numbers)), return_inverse=True)
            known = known.astype(np.int64)
            times = [
                one[number] for one, row in zip(counts, numbers, strict=True) for number in row
            ]
            weights = (1 + np.log(np.array(times, np.float64))) * self._rarity[known[columns]]
            limits = np.cumsum([0, *map(len, numbers)])
            table = csr_array((weights, columns, limits), shape=(len(counts), len(known)))
            projections[rows] = table @ _vectors([self._words[i] for i in known], self.n_bits)
        return projections

    def unknown_words(self, text: str) -> dict[str, list[str]]:
        """
        List the words of a text that are not known, and for each of them known words.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        dict of str to list of str
            The unknown words, in the order of the text, with at most three known words that are
            spelt alike, the most similar first. They are looked up for the first eight words.

        See Also
        --------
        project : Leaves these words out.

        Examples
        --------
        >>> import fasthash as fh
        >>> fh.words.WordCodes(["dog face", "red apple"]).unknown_words("aple dogs zebra")
        {'aple': ['apple'], 'zebra': []}
        """
        return self.vocabulary.unknown(text)


def _vectors(words: Sequence[str], n_bits: int) -> NDArray[np.float32]:
    """Make normal random numbers of words, shape (n_words, n_bits), the same on every machine."""
    digests = b"".join(hashlib.shake_128(word.encode()).digest(2 * n_bits) for word in words)
    return _normal_quantiles()[np.frombuffer(digests, "<u2").reshape(len(words), n_bits)]


@functools.cache
def _normal_quantiles() -> NDArray[np.float32]:
    """Return the quantiles of the normal distribution that 16 random bits choose from."""
    quantiles: NDArray[np.float64] = ndtri((np.arange(1 << 16) + 0.5) / (1 << 16))
    return quantiles.astype(np.float32)
