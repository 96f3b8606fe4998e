"""The search of one query: by the code of a model, by weights of its bits, and by words of texts.

An item has a code of a model and, if it has a text, a code of the words of that text. A query is
compared with both. `Searched` holds the codes of all items, and `Query` what is known of a query.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import hamming
from ..codes import unpack_signs
from ..fusion import join_codes, join_weights
from ..index import HammingIndex
from ..index._code_index import CodeIndex
from ..index._ties import Found, count_ties, found_of, search_with_ties
from ..metrics import DistanceScale
from .item_words import ItemWords

__all__ = ["Query", "Searched", "Sorted"]


@dataclass(frozen=True, eq=False)
class Query:
    """
    What is known of a query.

    Attributes
    ----------
    code : ndarray of uint8, shape (1, n_bytes), or None
        Its code; None if the model knows none of its words.
    weights : ndarray, shape (1, n_bits), or None
        The projections whose signs are the code, if they are known.
    words : ndarray, shape (1, n_bits of words), or None
        Weights of the bits of the codes of words.
    scale : DistanceScale or None
        What distances to the code mean.
    """

    code: NDArray[np.uint8] | None
    weights: NDArray[Any] | None = None
    words: NDArray[Any] | None = None
    scale: DistanceScale | None = None


@dataclass(frozen=True, eq=False)
class Sorted:
    """
    Answers of a search.

    Attributes
    ----------
    ids : ndarray of int64, shape (n,)
    distances : ndarray of int32, shape (n,), or None
        Hamming distances to the code of the query, if it has one.
    scores : ndarray of float64, shape (n,), or None
        None for a query that is a code.
    ties : list of int
        For each answer, the number of items that the search cannot tell from it.
    """

    ids: NDArray[np.int64]
    distances: NDArray[np.int32] | None
    scores: NDArray[np.float64] | None
    ties: list[int]


class Searched:
    """
    The codes of items, of one length, and those of their words.

    Each search uses one thread, because concurrent requests use all cores already.

    Parameters
    ----------
    index : CodeIndex
        Codes of a model.
    words : ItemWords or None
        Codes of words, in the order of the ids of the index.
    """

    def __init__(self, index: CodeIndex, words: ItemWords | None) -> None:
        self._index = index
        self._joined: CodeIndex | None = None
        if words is not None:
            joined = join_codes({"model": index.codes, "words": words.codes})
            self._joined = HammingIndex(8 * joined.shape[1])
            self._joined.add(joined, ids=index.ids)

    def by_score(
        self, query: Query, k: int, radius: int | None, allowed: NDArray[np.int64] | None
    ) -> Sorted:
        """
        Find the items with the highest scores.

        All codes within a radius are only listed if a better answer is outside of it. So a radius
        that excludes almost nothing costs no memory.

        Parameters
        ----------
        query : Query
            With weights or words; with a code if there is a radius.
        k : int
        radius : int or None
            Largest distance to the code of the query.
        allowed : ndarray of int64, or None
            Ids that may be found.

        Returns
        -------
        Sorted
        """
        search = self._scored(query, allowed)
        scores, ids, ties = search_with_ties(search, k)
        distances = self._distances(query, ids)
        if radius is not None and distances is not None and distances.max(initial=0) > radius:
            assert query.code is not None
            near = self._index.within(query.code, radius, n_threads=1, filter=allowed)[2]
            scores, ids, ties = search_with_ties(self._scored(query, near), k)
            distances = self._distances(query, ids)
        return Sorted(ids[:k], None if distances is None else distances[:k], scores[:k], ties[:k])

    def by_distance(
        self, query: Query, k: int, radius: int | None, allowed: NDArray[np.int64] | None
    ) -> Sorted:
        """
        Find the items with the smallest distances; equal ones by score, if weights are known.

        Parameters
        ----------
        query : Query
            With a code.
        k, radius, allowed
            As in `by_score`.

        Returns
        -------
        Sorted
        """
        code = query.code
        assert code is not None
        distances, ids, ties = search_with_ties(
            lambda n: self._index.search(code, n, n_threads=1, filter=allowed), k
        )
        if radius is not None:
            n = int((distances <= radius).sum())
            distances, ids, ties = distances[:n], ids[:n], ties[:n]
        if query.weights is None and query.words is None:
            return Sorted(ids[:k], distances[:k], None, ties[:k])
        scores, found = found_of(self._scored(query, ids)(max(len(ids), 1)))
        far = self._distances(query, found)
        assert far is not None
        order = np.lexsort((found, -scores, far))
        far, scores, found = far[order], scores[order], found[order]
        ties = count_ties(np.stack([far, scores], axis=1))
        return Sorted(found[:k], far[:k], scores[:k], ties[:k])

    def _scored(self, query: Query, allowed: NDArray[np.int64] | None) -> Callable[[int], Found]:
        """Return a search by score for a number of answers."""
        n_bits, weights = self._index.n_bits, query.weights
        index = self._index
        if query.words is not None and self._joined is not None:
            index = self._joined
            if weights is None and query.code is not None:
                weights = unpack_signs(query.code, n_bits)
            parts = {"model": np.zeros((1, n_bits)) if weights is None else weights}
            weights = join_weights({**parts, "words": query.words})
        assert weights is not None
        return lambda n: index.search(weights=weights, k=n, n_threads=1, filter=allowed)

    def _distances(self, query: Query, ids: NDArray[np.int64]) -> NDArray[np.int32] | None:
        if query.code is None:
            return None
        return hamming.distances(query.code, self._index.reconstruct(ids), n_threads=1)[0]
