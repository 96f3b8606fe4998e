"""Codes of one or several lengths, searched by text, by an item, by features or by a code.

A search request comes from ``app`` by way of ``operations``. A query is either a code or the
weights of its bits. So every kind of search ends in `Collection.search_code` or
`Collection.search_weights`, which call `index.search`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import hamming
from ..codes import pack_signs
from ..index._code_index import CodeIndex
from ..metrics import DistanceScale
from .gallery import Gallery

__all__ = ["Collection", "Found", "Length", "NoFeaturesError", "Scope", "Words"]

# The default length is the one that is nearest to this length.
_USUAL_BITS = 64


class NoFeaturesError(ValueError):
    """All features of a query are zero."""


@dataclass(frozen=True, eq=False)
class Length:
    """
    An index of codes of one length, and a function that projects queries.

    Attributes
    ----------
    index : CodeIndex
        Codes to search.
    project : callable or None
        Called with features, shape (1, n_features), and their modality; returns their projections,
        shape (1, n_bits), whose signs are the code.
    n_features : dict of str to int, or None
        Number of features by modality. If a model has only one kind of features, its name is "".
    item_weights : ndarray or None
        Projections of the items, shape (n, n_bits). Row i belongs to id i.
    scales : dict of str to DistanceScale, or None
        What the distances of a query mean, by the modality of the query; "" for any other.
    """

    index: CodeIndex
    project: Callable[[NDArray[Any], str], NDArray[np.floating]] | None = None
    n_features: Mapping[str, int] | None = None
    item_weights: NDArray[np.floating] | None = None
    scales: Mapping[str, DistanceScale] | None = None

    def scale(self, modality: str) -> DistanceScale | None:
        """Return the scale of the queries of a modality, if it is known."""
        scales = self.scales or {}
        return scales.get(modality, scales.get(""))


@dataclass(frozen=True, eq=False)
class Words:
    """
    A function that turns text into features, and their modality.

    Attributes
    ----------
    features : callable
        Called with a list of one text; returns features, shape (1, n_features). There is one call
        at a time. The message of a ValueError is shown to the person who typed the text.
    modality : str
        Modality of these features.
    unknown : callable or None
        Called with a text; returns its words that the features leave out, and for each of them
        similar words that are known. None if no word is left out.
    """

    features: Callable[[Sequence[str]], Any]
    modality: str
    unknown: Callable[[str], Mapping[str, Sequence[str]]] | None = None


@dataclass(frozen=True)
class Scope:
    """
    Parameters of a search in a collection.

    Attributes
    ----------
    n_bits : int
        Length of the codes.
    k : int
        Number of items to find.
    order : str
        "weights" sorts answers by their scores, "distance" by their Hamming distances. A query that
        is a code has no weights.
    radius : int or None
        Largest distance, inclusive.
    filter : str or None
        If given, only items with this label are found.
    """

    n_bits: int
    k: int
    order: str
    radius: int | None = None
    filter: str | None = None


@dataclass(frozen=True)
class Found:
    """
    Answers of a search.

    Attributes
    ----------
    ids, distances : list of int
        Sorted by score, descending, or by distance; then by id.
    ties : list of int
        For each answer, the number of items that have its score, or its distance: the order among
        them says nothing. Items that the filter or the radius excludes do not count.
    scores : list of float, or None
        None if the answers are sorted by distance.
    scale : DistanceScale or None
        What the distances mean, if it is known.
    unknown : dict of str to sequence of str
        Words of the query that are not known, with similar words that are.
    """

    ids: list[int]
    distances: list[int]
    ties: list[int]
    scores: list[float] | None = None
    scale: DistanceScale | None = None
    unknown: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Collection:
    """
    Items to search: their codes, of one or several lengths, and a gallery.

    Parameters
    ----------
    title : str
        Title of the page.
    gallery : Gallery
        Names, labels and pictures. Item i has id i.
    lengths : sequence of Length
        Indexes with equal ids, whose models take the same features.
    words : Words, optional
        Function for a search by text; without it there is no search by text.

    Raises
    ------
    ValueError
        If `lengths` is empty, two have the same code length, or their ids or features differ.
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
        """The code length that is searched by default."""
        return min(self._lengths, key=lambda n_bits: (abs(n_bits - _USUAL_BITS), n_bits))

    @property
    def has_item_weights(self) -> bool:
        """Whether the projections of the items are known, for each length."""
        return all(one.item_weights is not None for one in self._lengths.values())

    def search_words(self, text: str, scope: Scope) -> Found:
        """
        Search by text.

        Raises
        ------
        ValueError
            If no word is known. The user's own function may raise other errors.
        """
        assert self.words is not None
        with self._one_at_a_time:
            x = np.asarray(self.words.features([text]))
        n_features = self.n_features[self.words.modality]
        if x.shape != (1, n_features):
            raise TypeError(
                f"the function for texts returned shape {x.shape}, and (1, {n_features}) is needed"
            )
        found = self.search_features(x, self.words.modality, scope)
        return replace(found, unknown=self.unknown_words(text))

    def unknown_words(self, text: str) -> Mapping[str, Sequence[str]]:
        """List the words of a text that are not known, with similar words that are."""
        if self.words is None or self.words.unknown is None:
            return {}
        with self._one_at_a_time:
            return self.words.unknown(text)

    def search_features(self, x: NDArray[Any], modality: str, scope: Scope) -> Found:
        """
        Search by features, shape (1, n_features).

        Raises
        ------
        NoFeaturesError
            If all features are zero, for then the answers would have no meaning.
        """
        if x.shape[1] > 1 and not x.any():
            raise NoFeaturesError("all features are zero, so there is nothing to search by")
        one = self._lengths[scope.n_bits]
        assert one.project is not None
        return self._search_weights(one.project(x, modality), scope, one.scale(modality))

    def neighbours(self, item: int, scope: Scope) -> Found:
        """Search by an item. The item itself is among the answers."""
        one = self._lengths[scope.n_bits]
        if scope.order == "distance":
            return self.search_code(one.index.reconstruct([item]), scope)
        assert one.item_weights is not None
        return self._search_weights(one.item_weights[[item]], scope, one.scale(""))

    def _search_weights(
        self, weights: NDArray[np.floating], scope: Scope, scale: DistanceScale | None
    ) -> Found:
        """
        Search by the projections of a query, shape (1, n_bits), in the order of the scope.

        All codes within a radius are only listed if a better answer is outside of it. So a radius
        that excludes almost nothing costs no memory.
        """
        code = pack_signs(weights)
        if scope.order == "distance":
            return self._search_code(code, scope, scale)
        index = self._lengths[scope.n_bits].index
        allowed = None if scope.filter is None else self._ids_with(scope.filter)

        def search(k: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
            return index.search(weights=weights, k=k, n_threads=1, filter=allowed)

        def far_of(ids: NDArray[np.int64]) -> NDArray[np.int32]:
            return hamming.distances(code, index.reconstruct(ids), n_threads=1)[0]

        scores, ids, ties = _with_ties(search, scope.k)
        distances = far_of(ids)
        if scope.radius is not None and distances.max(initial=0) > scope.radius:
            _, _, allowed = index.within(code, scope.radius, n_threads=1, filter=allowed)
            scores, ids, ties = _with_ties(search, scope.k)
            distances = far_of(ids)
        return Found(ids.tolist(), distances.tolist(), ties, scores.tolist(), scale)

    def search_code(self, code: NDArray[np.uint8], scope: Scope) -> Found:
        """Search by a code, shape (1, n_bytes), in the order of distances."""
        return self._search_code(code, scope, self._lengths[scope.n_bits].scale(""))

    def _search_code(
        self, code: NDArray[np.uint8], scope: Scope, scale: DistanceScale | None
    ) -> Found:
        # One thread, because concurrent requests use all cores already.
        index = self._lengths[scope.n_bits].index
        allowed = None if scope.filter is None else self._ids_with(scope.filter)
        distances, ids, ties = _with_ties(
            lambda k: index.search(code, k, n_threads=1, filter=allowed), scope.k
        )
        n = len(ids) if scope.radius is None else int((distances <= scope.radius).sum())
        return Found(ids[:n].tolist(), distances[:n].tolist(), ties[:n], None, scale)

    def items(self, words: str, label: str | None, start: int, count: int) -> tuple[list[int], int]:
        """
        Return a slice of the items whose names contain all words, and the number of these items.

        The cost is O(n) for each word; without words it is the length of the answer.
        """
        ids = self.ids if label is None else self._ids_with(label)
        if words.strip():
            ids = np.intersect1d(ids, self.gallery.called(words), assume_unique=True)
        return ids[start : start + count].tolist(), len(ids)

    def count(self, label: str) -> int:
        """Count the items with a label."""
        return len(self._ids_with(label))

    def _ids_with(self, label: str) -> NDArray[np.int64]:
        """Return the ids with a label that the indexes hold; labels may exist for other ids too."""
        assert self.gallery.labels is not None
        if label not in self._with_label:
            ids = self.gallery.labels.ids(label)
            self._with_label[label] = np.intersect1d(ids, self.ids, assume_unique=True)
        return self._with_label[label]


def _with_ties(
    search: Callable[[int], tuple[NDArray[Any], NDArray[np.int64]]], k: int
) -> tuple[NDArray[Any], NDArray[np.int64], list[int]]:
    """
    Search for the k best items, and count how many items have the value of each of them.

    All items with a better value than the last answer are among the answers. So the search is
    repeated with a larger k until it has found all items with the value of the last answer.

    Returns
    -------
    values, ids : ndarray, shape (n,)
        Answers, at most k.
    ties : list of int
    """
    n = k + 1
    while True:
        values, ids = search(n)
        values, ids = values[0][ids[0] >= 0], ids[0][ids[0] >= 0]
        if len(ids) < n or values[-1] != values[k - 1]:
            break
        n *= 8
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return values[:k], ids[:k], counts[place[:k]].tolist()
