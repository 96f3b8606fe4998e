"""Words of texts: split, looked up with other endings too, and words that are spelt alike."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from itertools import chain

__all__ = ["ENDINGS", "Vocabulary", "split_words"]

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


def split_words(text: str) -> list[str]:
    """
    Split a text into lower-case words without accents.

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
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(c for c in decomposed if not unicodedata.combining(c)))


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
        similar = [
            difflib.get_close_matches(word, self._number, _SIMILAR_WORDS, _LEAST_SIMILARITY)
            for word in words[:_MOST_LOOKED_UP]
        ]
        no_words: list[str] = []
        return dict.fromkeys(words, no_words) | dict(zip(words, similar, strict=False))

    def refusal(self, text: str, else_try: str) -> ValueError:
        """Say that no word of a text is known, and name known words, or what else to try."""
        similar = dict.fromkeys(chain.from_iterable(self.unknown(text).values()))
        remedy = f"did you mean {', '.join(map(repr, similar))}?" if similar else else_try
        return ValueError(f"no word of the text {text!r} is known: {remedy}")
