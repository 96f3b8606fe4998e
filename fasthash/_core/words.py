"""Words of texts: split, looked up with other endings too, and words that are spelt alike."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from .kept import KeptProperty
from .pieces import cut

__all__ = ["ENDINGS", "Vocabulary", "check_texts", "quoted", "split_words"]

_WORD = re.compile(r"\w+")
# Pairs of (ending, replacement). They are tried in this order on a word that the vocabulary lacks.
ENDINGS = (
    ("ies", "y"),
    ("es", ""),
    ("s", ""),
    ("ing", ""),
    ("ing", "e"),
    ("ed", ""),
    ("ed", "e"),
    ("y", "ies"),
    ("", "s"),
    ("", "ing"),
)

# Number of known words that are named for an unknown one, how similar they must be at least (from 0
# to 1), and for how many unknown words of a text: a search takes milliseconds.
_SIMILAR_WORDS = 3
_LEAST_SIMILARITY = 0.75
_MOST_LOOKED_UP = 8

# Characters of a text in a message.
_MOST_QUOTED = 80

# Letters are counted by their numbers modulo this one. Counts of longer words do not fit in a byte.
_LETTERS = 32
_MOST_COUNTED = 255
_BLOCK_WORDS = 1 << 14


def split_words(text: str) -> list[str]:
    """
    Split a text into lower-case words without accents.

    Other marks above and below a letter are dropped too, such as some vowels of Thai and Hindi.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    list of str
        The words in order, including repetitions. Punctuation and symbols are dropped.

    Examples
    --------
    >>> split_words("Flag: Côte d'Ivoire")
    ['flag', 'cote', 'd', 'ivoire']
    """
    if text.isascii():
        return _WORD.findall(text.lower())
    # Some symbols have capital letters only after the first decomposition, such as ℡.
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(map(_letter_or_space, decomposed)).split()


def _letter_or_space(c: str) -> str:
    """Return a character that belongs to a word, "" for a mark, and a space for all others."""
    if c.isalnum() or c == "_":
        return c
    kind = unicodedata.category(c)
    # Vowels that have a place of their own, as in Hindi, belong to the word.
    return c if kind == "Mc" else "" if kind in ("Mn", "Me") else " "


def quoted(text: str) -> str:
    """Quote a text for a message; a long one is cut."""
    return repr(text if len(text) <= _MOST_QUOTED else text[: _MOST_QUOTED - 1] + "…")


def check_texts(texts: Sequence[str]) -> Sequence[str]:
    """Refuse what is not a sequence of strings."""
    if isinstance(texts, str):
        raise TypeError(f"texts must be a sequence of strings, not one string: use [{texts!r}]")
    if not (hasattr(texts, "__len__") and hasattr(texts, "__getitem__")):
        raise TypeError(
            f"texts must be a sequence of strings, not {type(texts).__name__}: pass a list"
        )
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{row}] must be a string, not {type(text).__name__}")
    return texts


class Vocabulary:
    """
    Known words. A word of a text counts as known if another form of it is: "dogs" as "dog".

    Parameters
    ----------
    words : iterable of str
        The known words, in the form that `split_words` returns; each once.

    Examples
    --------
    >>> vocabulary = Vocabulary(["cat", "dog"])
    >>> vocabulary.count("a dog and dogs")
    Counter({1: 2})
    >>> vocabulary.unknown("Dogs, catt and birds")
    {'catt': ['cat'], 'and': [], 'birds': []}
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._number = {word: number for number, word in enumerate(words)}

    def count(self, text: str) -> Counter[int]:
        """Count the known words of a text, by their numbers; empty if no word is known."""
        numbers = (self.number(word) for word in split_words(text))
        return Counter(number for number in numbers if number is not None)

    def number(self, word: str) -> int | None:
        """Return the number of a word, or of its first other form that is known, or None."""
        number = self._number.get(word)
        if number is not None or len(word) < 3:
            return number
        for ending, replacement in ENDINGS:
            stem = word[: len(word) - len(ending)]
            if word.endswith(ending) and len(stem) >= 3:
                number = self._number.get(stem + replacement)
                if number is not None:
                    return number
        return None

    def unknown(self, text: str) -> dict[str, list[str]]:
        """
        List the words of a text that are not known, and for each of them known words.

        Parameters
        ----------
        text : str

        Returns
        -------
        dict of str to list of str
            The unknown words, in the order of the text, with at most three known words that are
            spelt alike, the most similar first. They are looked up for the first eight words.
        """
        words = [word for word in dict.fromkeys(split_words(text)) if self.number(word) is None]
        return {
            word: self._similar(word) if place < _MOST_LOOKED_UP else []
            for place, word in enumerate(words)
        }

    def _similar(self, word: str) -> list[str]:
        """List the known words that are spelt alike, the most similar first."""
        # Two words can only be similar if they have enough letters in common, in any order. That
        # takes far less time than a comparison, and leaves few words to compare.
        known, lengths, counts = self._letters
        shared = np.minimum(counts, _count_letters([word])).sum(axis=1)
        is_candidate = 2 * shared >= _LEAST_SIMILARITY * (lengths + len(word))
        if len(word) > _MOST_COUNTED:
            is_candidate[:] = True
        else:
            is_candidate |= lengths > _MOST_COUNTED
        candidates = [known[i] for i in np.flatnonzero(is_candidate)]
        return difflib.get_close_matches(word, candidates, _SIMILAR_WORDS, _LEAST_SIMILARITY)

    @KeptProperty
    def _letters(self) -> tuple[list[str], NDArray[np.int64], NDArray[np.uint8]]:
        """The known words, their lengths, and how often each has each letter."""
        known = list(self._number)
        counts = np.empty((len(known), _LETTERS), np.uint8)
        for some in cut(len(known), most=_BLOCK_WORDS):
            counts[some] = _count_letters(known[some])
        return known, np.fromiter(map(len, known), np.int64, len(known)), counts

    def refusal(self, text: str, else_try: str) -> ValueError:
        """Say that no word of a text is known, and name known words, or what else to try."""
        similar = dict.fromkeys(chain.from_iterable(self.unknown(text).values()))
        remedy = f"did you mean {', '.join(map(repr, similar))}?" if similar else else_try
        return ValueError(f"no word of the text {quoted(text)} is known: {remedy}")


def _count_letters(words: Sequence[str]) -> NDArray[np.uint8]:
    """Count the letters of words, at most 255 of each; shape (n_words, _LETTERS)."""
    letters = np.frombuffer("".join(words).encode("utf-32-le"), "<u4").astype(np.int64)
    word = np.repeat(np.arange(len(words)), [len(one) for one in words])
    counts = np.bincount(word * _LETTERS + letters % _LETTERS, minlength=len(words) * _LETTERS)
    return np.minimum(counts, _MOST_COUNTED).astype(np.uint8).reshape(-1, _LETTERS)
