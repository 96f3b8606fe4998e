"""Codes of one or several lengths, searched by words, by an item, by features or by a code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..index._code_index import CodeIndex
from .gallery import Gallery

__all__ = ["Collection", "Found", "Length", "Scope", "Words"]

# The length that is shown first is the nearest to this one.
_USUAL_BITS = 64


@dataclass(frozen=True, eq=False)
class Length:
    """
    The codes of one length and what makes more of them.

    Attributes
    ----------
    index : CodeIndex
    encode : callable or None
        Called with features, shape (1, n_features), and their modality; returns their code.
    n_features : dict of str to int
        By modality; the modality of a model that has one kind of features only is "".
    """

    index: CodeIndex
    encode: Callable[[NDArray[np.float64], str], NDArray[np.uint8]] | None = None
    n_features: Mapping[str, int] | None = None


@dataclass(frozen=True, eq=False)
class Words:
    """
    How words become a query.

    Attributes
    ----------
    features : callable
        Called with a list of one text, one call at a time; returns features, shape (1, n_features).
        A ValueError is an answer to the person who typed them.
    modality : str
        Of these features.
    """

    features: Callable[[Sequence[str]], Any]
    modality: str


@dataclass(frozen=True)
class Scope:
    """
    What of a collection is searched.

    Attributes
    ----------
    n_bits : int
    k : int
        How many to find.
    radius : int or None
        Largest distance, inclusive.
    label : str or None
        Only items with this label.
    """

    n_bits: int
    k: int
    radius: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class Found:
    """
    What a search found.

    Attributes
    ----------
    ids, distances : list of int
        By distance, then by id.
    """

    ids: list[int]
    distances: list[int]


class Collection:
    """
    Items that can be searched: their codes, of one or several lengths, and a gallery.

    Parameters
    ----------
    title : str
    gallery : Gallery
        Item i is what has id i.
    lengths : sequence of Length
        All of the same ids and, where they encode, of the same features.
    words : Words, optional

    Raises
    ------
    ValueError
        If lengths are none, repeat, or are of different ids or features.
    """

    def __init__(
        self, title: str, gallery: Gallery, lengths: Sequence[Length], words: Words | None = None
    ) -> None:
        if not lengths:
            raise ValueError("there is no index to search")
        self.title = title
        self.gallery = gallery
        self.words = words
        self._lengths = {one.index.n_bits: one for one in lengths}
        first = lengths[0]
        if len(self._lengths) < len(lengths):
            raise ValueError("two indexes hold codes of the same length: one is enough")
        self.ids = first.index.ids
        self.n_features = dict(first.n_features or {})
        for one in lengths[1:]:
            if not np.array_equal(one.index.ids, self.ids):
                raise ValueError(
                    f"the indexes of {first.index.n_bits} and {one.index.n_bits} bits hold "
                    "different ids"
                )
            if dict(one.n_features or {}) != self.n_features:
                raise ValueError(
                    f"the models of {first.index.n_bits} and {one.index.n_bits} bits take "
                    f"different features: {self.n_features} and {dict(one.n_features or {})}"
                )
        if words is not None and words.modality not in self.n_features:
            raise ValueError(f"there is no model that encodes {words.modality!r}")
        self._with_label: dict[str, NDArray[np.int64]] = {}
        self._one_at_a_time = threading.Lock()

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item: int) -> bool:
        return item in next(iter(self._lengths.values())).index

    @property
    def bits(self) -> list[int]:
        """The lengths, ascending."""
        return sorted(self._lengths)

    @property
    def usual_bits(self) -> int:
        """The length that is searched unless one is asked for."""
        return min(self._lengths, key=lambda n_bits: (abs(n_bits - _USUAL_BITS), n_bits))

    def search_words(self, text: str, scope: Scope) -> Found:
        """
        Find what words mean.

        Raises
        ------
        ValueError
            If nothing is known of them; or whatever the person's own function raises.
        """
        assert self.words is not None
        with self._one_at_a_time:
            x = np.asarray(self.words.features([text]))
        n_features = self.n_features[self.words.modality]
        if x.shape != (1, n_features):
            raise TypeError(
                f"the function for words returned shape {x.shape}, and (1, {n_features}) is needed"
            )
        return self.search_features(x, self.words.modality, scope)

    def search_features(self, x: NDArray[Any], modality: str, scope: Scope) -> Found:
        """Find what is near to features, shape (1, n_features)."""
        encode = self._lengths[scope.n_bits].encode
        assert encode is not None
        return self.search_code(encode(x, modality), scope)

    def neighbours(self, item: int, scope: Scope) -> Found:
        """Find what is near to an item; itself is among the answers."""
        return self.search_code(self._lengths[scope.n_bits].index.reconstruct([item]), scope)

    def search_code(self, code: NDArray[np.uint8], scope: Scope) -> Found:
        """
        Find what is near to a code, shape (1, n_bytes).

        One thread: requests keep the cores busy, and teams of threads would fight for them.
        """
        index = self._lengths[scope.n_bits].index
        among = None if scope.label is None else self._ids_with(scope.label)
        distances, ids = index.search(code, scope.k, n_threads=1, filter=among)
        counts = ids[0] >= 0
        if scope.radius is not None:
            counts &= distances[0] <= scope.radius
        return Found(ids[0][counts].tolist(), distances[0][counts].tolist())

    def items(self, words: str, label: str | None, start: int, count: int) -> tuple[list[int], int]:
        """
        List items whose names contain all words, ascending, and how many there are.

        Costs O(n) for a word, the length of the answer otherwise.
        """
        ids = self.ids if label is None else self._ids_with(label)
        if words.strip():
            ids = np.intersect1d(ids, self.gallery.called(words), assume_unique=True)
        return ids[start : start + count].tolist(), len(ids)

    def count(self, label: str) -> int:
        """How many items have a label."""
        return len(self._ids_with(label))

    def _ids_with(self, label: str) -> NDArray[np.int64]:
        """Items with a label that the indexes hold, which may be fewer than there are labels of."""
        assert self.gallery.labels is not None
        if label not in self._with_label:
            ids = self.gallery.labels.ids(label)
            self._with_label[label] = np.intersect1d(ids, self.ids, assume_unique=True)
        return self._with_label[label]
