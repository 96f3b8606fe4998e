"""Codes of one or several lengths, searched by text, by an item, by features or by a code.

A search request comes from ``app`` by way of ``operations``. Every kind of search makes `Queries`,
which `Searched` of the module ``searches`` answers: it calls `index.search`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.words import quoted
from ..codes import pack_signs
from ..index import HammingIndex
from ..index._code_index import CodeIndex
from ..metrics import DistanceScale
from .gallery import Gallery
from .item_words import ItemWords
from .searches import Found, Queries, Searched

__all__ = ["Collection", "Files", "Length", "NoFeaturesError", "Scope", "Words"]

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
        Called with features, shape (n, n_features), and their modality; returns their projections,
        shape (n, n_bits), whose signs are the codes.
    n_features : dict of str to int, or None
        Number of features by modality. If a model has only one kind of features, its name is "".
    item_weights : ndarray or None
        Projections of the items, shape (n, n_bits). Row i belongs to id i.
    scales : dict of str to DistanceScale, or None
        What the distances of a query mean, by the modality of the query; "" for
        queries that are codes or items.
    """

    index: CodeIndex
    project: Callable[[NDArray[Any], str], NDArray[np.floating]] | None = None
    n_features: Mapping[str, int] | None = None
    item_weights: NDArray[np.floating] | None = None
    scales: Mapping[str, DistanceScale] | None = None

    def scale(self, modality: str) -> DistanceScale | None:
        """Return the scale of the queries of a modality, if it is known."""
        return (self.scales or {}).get(modality)


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


@dataclass(frozen=True, eq=False)
class Files:
    """
    A function that turns the file of a picture or sound into features, and their modality.

    Attributes
    ----------
    features : callable
        Called with a list of one path; returns features, shape (1, n_features). There is one call
        at a time. The message of a ValueError or OSError is shown to the person who sent the file.
    modality : str
        Modality of these features.
    """

    features: Callable[[Sequence[str]], Any]
    modality: str


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
    by_words : bool
        Whether the words of the items' texts are compared too, if they are known.
    recall : float or None
        The recall to keep in a search by distance; None or 1 for an exact search.
    """

    n_bits: int
    k: int
    order: str
    radius: int | None = None
    filter: str | None = None
    by_words: bool = True
    recall: float | None = None


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
    texts : sequence of str, optional
        Text i belongs to id i. Its words are searched too: a text query finds the items that have
        its words, besides those with near codes.
    files : sequence of Files, optional
        Functions for a search by files of pictures or sounds, one for each modality.
    examples : sequence of str, optional
        Texts to search by, which the page offers.

    Raises
    ------
    ValueError
        If `lengths` is empty, two have the same code length, or their ids or features differ.
    """

    def __init__(
        self,
        title: str,
        gallery: Gallery,
        lengths: Sequence[Length],
        words: Words | None = None,
        texts: Sequence[str] | None = None,
        files: Sequence[Files] = (),
        examples: Sequence[str] = (),
    ) -> None:
        if not lengths:
            raise ValueError("there is no index to search")
        self.title = title
        self.gallery = gallery
        self.words = words
        self.files = {one.modality: one for one in files}
        self.examples = list(examples)
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
        self.item_words = None
        if texts is not None:
            n = len(texts)
            self.item_words = ItemWords([texts[i] if i < n else "" for i in self.ids.tolist()])
        self._searched = {
            n_bits: Searched(one.index, self.item_words) for n_bits, one in self._lengths.items()
        }
        for modality in self.files:
            if modality not in self.n_features:
                raise ValueError(f"there is no model that encodes {modality!r}")
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

    @property
    def has_recall(self) -> bool:
        """Whether the indexes of all lengths search with a recall."""
        return all(isinstance(one.index, HammingIndex) for one in self._lengths.values())

    @property
    def has_lists(self) -> bool:
        """Whether the indexes of all lengths have lists, which make such searches faster."""
        indexes = [one.index for one in self._lengths.values()]
        return all(isinstance(one, HammingIndex) and one._has_lists for one in indexes)

    def search_words(self, text: str, scope: Scope) -> Found:
        """
        Search by text.

        Raises
        ------
        ValueError
            If no word is known. The user's own function may raise other errors.
        """
        one = self._lengths[scope.n_bits]
        features, refusal = self._features_of(text)
        weights = None
        if scope.by_words and self.item_words is not None:
            weights = self.item_words.weights(text)
        if weights is None and refusal is not None:
            raise refusal
        if features is None:
            if scope.order == "distance" or scope.radius is not None:
                raise ValueError(
                    f"the model knows no word of {quoted(text)}, so no item has a distance"
                )
            query = Queries(None, words=weights)
        else:
            assert self.words is not None
            query = self._projected(features, self.words.modality, one, weights)
        [found] = self._search(query, scope)
        matched = None
        if self.item_words is not None:
            rows = np.searchsorted(self.ids, found.ids)
            matched = [self.item_words.matched(text, row) for row in rows.tolist()]
            if features is None:
                # Without a code of the query, the other items are in no order.
                found, matched = _with_words(found, matched)
        unknown = self.unknown_words(text, scope.by_words)
        return replace(found, unknown=unknown, matched=matched)

    def search_file(self, path: str, modality: str, scope: Scope) -> Found:
        """
        Search by the file of a picture or sound.

        Raises
        ------
        ValueError, OSError
            If the file cannot be read. The user's own function may raise other errors.
        """
        x = self._made(self.files[modality], path)
        return self.search_features(x, modality, scope)[0]

    def unknown_words(self, text: str, by_words: bool = True) -> Mapping[str, Sequence[str]]:
        """
        List the words of a text that are not known, with similar words that are.

        With `by_words`, a word is known if either the model or the text of an item has it.
        """
        known: list[Mapping[str, Sequence[str]]] = []
        if self.words is not None:
            if self.words.unknown is None:
                return {}
            with self._one_at_a_time:
                known.append(self.words.unknown(text))
        if by_words and self.item_words is not None:
            known.append(self.item_words.unknown(text))
        both = [word for word in known[0] if all(word in one for one in known)] if known else []
        return {
            word: list(dict.fromkeys(similar for one in reversed(known) for similar in one[word]))
            for word in both
        }

    def search_features(self, x: NDArray[Any], modality: str, scope: Scope) -> list[Found]:
        """
        Search by features, shape (n, n_features).

        Raises
        ------
        NoFeaturesError
            If all features of a row are zero, for then its answers would have no meaning.
        """
        return self._search(self._projected(x, modality, self._lengths[scope.n_bits]), scope)

    def neighbours(self, item: int, scope: Scope) -> Found:
        """Search by an item. The item itself is among the answers."""
        one = self._lengths[scope.n_bits]
        code = one.index.reconstruct([item])
        weights = None if one.item_weights is None else one.item_weights[[item]]
        words = None
        if scope.by_words and self.item_words is not None:
            words = self.item_words.weights_of(int(np.searchsorted(self.ids, item)))
        return self._search(Queries(code, weights, words, one.scale("")), scope)[0]

    def search_codes(self, codes: NDArray[np.uint8], scope: Scope) -> list[Found]:
        """Search by codes, shape (n, n_bytes)."""
        return self._search(Queries(codes, scale=self._lengths[scope.n_bits].scale("")), scope)

    def _features_of(self, text: str) -> tuple[NDArray[Any] | None, ValueError | None]:
        """Return the features of a text, or why there are none."""
        if self.words is None:
            return None, ValueError(f"no word of the text {quoted(text)} is in the text of an item")
        try:
            x = self._made(self.words, text)
        except ValueError as error:
            return None, error
        if x.shape[1] > 1 and not x.any():
            return None, NoFeaturesError("all features of the text are zero: no word is known")
        return x, None

    def _made(self, function: Words | Files, of: str) -> NDArray[Any]:
        """Return the features that a function of the user makes of a text or of a file."""
        with self._one_at_a_time:
            x = np.asarray(function.features([of]))
        n_features = self.n_features[function.modality]
        if x.shape != (1, n_features):
            kind = "texts" if isinstance(function, Words) else "files"
            raise TypeError(
                f"the function for {kind} returned shape {x.shape}, and (1, {n_features}) is needed"
            )
        return x

    def _projected(
        self, x: NDArray[Any], modality: str, one: Length, words: NDArray[Any] | None = None
    ) -> Queries:
        is_zero = ~x.any(axis=1) if x.shape[1] > 1 else np.zeros(len(x), bool)
        if is_zero.any():
            of = "" if len(x) == 1 else f" of row {is_zero.argmax()}"
            raise NoFeaturesError(f"all features{of} are zero, so there is nothing to search by")
        assert one.project is not None
        weights = one.project(x, modality)
        return Queries(pack_signs(weights), weights, words, one.scale(modality))

    def _search(self, queries: Queries, scope: Scope) -> list[Found]:
        searched = self._searched[scope.n_bits]
        allowed = None if scope.filter is None else self._ids_with(scope.filter)
        if scope.order == "distance":
            recall = None if scope.recall == 1 else scope.recall
            return list(
                searched.by_distance(queries, scope.k, scope.radius, allowed, recall, scope.filter)
            )
        return list(searched.by_score(queries, scope.k, scope.radius, allowed))

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


def _with_words(found: Found, matched: list[list[str]]) -> tuple[Found, list[list[str]]]:
    """Keep the answers that have a word of the query."""
    kept = [i for i, words in enumerate(matched) if words]
    assert found.scores is not None
    scores = [found.scores[i] for i in kept]
    ids = [found.ids[i] for i in kept]
    ties = None if found.ties is None else [found.ties[i] for i in kept]
    return replace(found, ids=ids, ties=ties, scores=scores), [matched[i] for i in kept]
