"""The search of queries: by the code of a model, by weights of its bits, and by words of texts.

An item has a code of a model and, if it has a text, a code of the words of that text. A query is
compared with both. `Searched` holds the codes of all items, `Queries` what is known of queries, and
`Found` the answers to one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import hamming
from ..codes import unpack_signs
from ..fusion import join_codes, join_weights
from ..index import HammingIndex
from ..index._code_index import CodeIndex
from ..index._filters import PreparedFilter
from ..index._ties import count_ties, found_of, search_with_ties
from ..metrics import DistanceScale
from .item_words import ItemWords

__all__ = ["Found", "Queries", "Searched"]


@dataclass(frozen=True, eq=False)
class Queries:
    """
    What is known of one or several queries.

    Attributes
    ----------
    codes : ndarray of uint8, shape (n, n_bytes), or None
        Their codes; None if the model knows none of their words.
    weights : ndarray, shape (n, n_bits), or None
        The projections whose signs are the codes, if they are known.
    words : ndarray, shape (n, n_bits of words), or None
        Weights of the bits of the codes of words.
    scale : DistanceScale or None
        What distances to the codes mean.
    """

    codes: NDArray[np.uint8] | None
    weights: NDArray[Any] | None = None
    words: NDArray[Any] | None = None
    scale: DistanceScale | None = None

    def __len__(self) -> int:
        known = (self.codes, self.weights, self.words)
        return max(len(one) for one in known if one is not None)

    def __getitem__(self, some: slice) -> Queries:
        codes, weights, words = (
            None if one is None else one[some] for one in (self.codes, self.weights, self.words)
        )
        return Queries(codes, weights, words, self.scale)


@dataclass(frozen=True)
class Found:
    """
    Answers to one query.

    Attributes
    ----------
    ids : list of int
        Sorted by score, descending; or by distance, then by score. Equal ones are sorted by id.
    distances : list of int, or None
        Hamming distances to the code of the query; None if the model knows none of its words.
    ties : list of int, or None
        For each answer, the number of items that the search cannot tell from it: the order among
        them says nothing. Items that the filter or the radius excludes do not count. None after a
        search with a recall, which does not find all of them.
    scores : list of float, or None
        None for a query that is a code.
    scale : DistanceScale or None
        What the distances mean, if it is known.
    unknown : dict of str to sequence of str
        Words of the query that are not known, with similar words that are.
    matched : list of list of str, or None
        For each answer, the words of the query that are in its text; None if the query is no text,
        or the items have none.
    exact : bool
        Whether the search was exact.
    """

    ids: list[int]
    distances: list[int] | None
    ties: list[int] | None
    scores: list[float] | None = None
    scale: DistanceScale | None = None
    unknown: Mapping[str, Sequence[str]] = field(default_factory=dict)
    matched: list[list[str]] | None = None
    exact: bool = True

    def is_weak(self, asked: int | None = None) -> bool | None:
        """
        Whether no answer is the same or close, and none has a word of the query in its text.

        The item `asked`, which is the query, does not count. None if it is not known what distances
        mean.
        """
        if self.scale is None or self.distances is None:
            return None
        answers = zip(self.ids, self.distances, strict=True)
        others = [distance for item, distance in answers if item != asked]
        return self.scale.is_weak(others) and not any(self.matched or [])


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
        self._prepared: dict[str, PreparedFilter] = {}
        self._joined: CodeIndex | None = None
        if words is not None:
            joined = join_codes({"model": index.codes, "words": words.codes})
            self._joined = HammingIndex(8 * joined.shape[1])
            self._joined.add(joined, ids=index.ids)

    def by_score(
        self, queries: Queries, k: int, radius: int | None, allowed: NDArray[np.int64] | None
    ) -> Iterator[Found]:
        """
        Find the items with the highest scores.

        All codes within a radius are only listed if a better answer is outside of it. So a radius
        that excludes almost nothing costs no memory.

        Parameters
        ----------
        queries : Queries
            With weights or words; with codes if there is a radius.
        k : int
        radius : int or None
            Largest distance to the code of the query.
        allowed : ndarray of int64, or None
            Ids that may be found.

        Yields
        ------
        Found
            For each query.
        """
        found = search_with_ties(self._scored(queries, allowed), len(queries), k)
        for q, (scores, ids, ties) in enumerate(found):
            one = queries[q : q + 1]
            distances = self._distances(one, ids)
            if radius is not None and distances is not None and distances.max(initial=0) > radius:
                assert one.codes is not None
                near = self._index.within(one.codes, radius, n_threads=1, filter=allowed)[2]
                [(scores, ids, ties)] = search_with_ties(self._scored(one, near), 1, k)
                distances = self._distances(one, ids)
            yield _first(k, one, ids, distances, ties, scores)

    def by_distance(
        self,
        queries: Queries,
        k: int,
        radius: int | None,
        allowed: NDArray[np.int64] | None,
        recall: float | None = None,
        label: str | None = None,
    ) -> Iterator[Found]:
        """
        Find the items with the smallest distances; equal ones by score, if weights are known.

        Parameters
        ----------
        queries : Queries
            With codes.
        k, radius, allowed
            As in `by_score`.
        recall : float or None
            The recall to keep, below 1; None for an exact search. The index must be a
            `HammingIndex`.
        label : str or None
            What all allowed items have. Searches with a recall are calibrated for each label.

        Yields
        ------
        Found
            For each query.
        """
        codes, exact = queries.codes, True
        assert codes is not None
        found: Iterator[tuple[NDArray[Any], NDArray[np.int64], list[int] | None]]
        if recall is None:
            found = search_with_ties(
                lambda some, n: self._index.search(codes[some], n, n_threads=1, filter=allowed),
                len(codes),
                k,
            )
        else:
            assert isinstance(self._index, HammingIndex)
            prepared = None
            if allowed is not None:
                assert label is not None
                if label not in self._prepared:
                    self._prepared[label] = self._index.prepare_filter(allowed)
                prepared = self._prepared[label]
            answer = self._index.search(codes, k, recall=recall, n_threads=1, filter=prepared)
            found = ((*one, None) for one in found_of(answer))
            # Without a calibration, the index has searched exactly.
            known = (self._index if prepared is None else prepared).calibration_
            exact = (k, recall) not in known or not known[k, recall].uses_lists(len(codes))
        for q, one in enumerate(found):
            yield self._sorted(queries[q : q + 1], one, k, radius, exact)

    def _sorted(
        self,
        query: Queries,
        found: tuple[NDArray[Any], NDArray[np.int64], list[int] | None],
        k: int,
        radius: int | None,
        exact: bool,
    ) -> Found:
        """Answers to one query sorted by distance; found are its nearest items, with all ties."""
        distances, ids, ties = found
        n = len(ids) if radius is None else int((distances <= radius).sum())
        if query.weights is not None or query.words is not None:
            [(scores, ids)] = found_of(self._scored(query, ids[:n])(slice(None), max(n, 1)))
            far = self._distances(query, ids)
            assert far is not None
            order = np.lexsort((ids, -scores, far))
            distances, scores, ids = far[order], scores[order], ids[order]
            if ties is not None:
                ties = count_ties(np.stack([distances, scores], axis=1))
        else:
            scores = None
        return _first(min(n, k), query, ids, distances, ties, scores, exact)

    def _scored(
        self, queries: Queries, allowed: NDArray[np.int64] | None
    ) -> Callable[[Any, int], Any]:
        """Return a search by score for some of the queries, and a number of answers."""
        n_bits, weights = self._index.n_bits, queries.weights
        index = self._index
        if queries.words is not None and self._joined is not None:
            index = self._joined
            if weights is None and queries.codes is not None:
                weights = unpack_signs(queries.codes, n_bits)
            parts = {"model": np.zeros((len(queries), n_bits)) if weights is None else weights}
            weights = join_weights({**parts, "words": queries.words})
        assert weights is not None
        return lambda some, n: index.search(weights=weights[some], k=n, n_threads=1, filter=allowed)

    def _distances(self, query: Queries, ids: NDArray[np.int64]) -> NDArray[np.int32] | None:
        if query.codes is None:
            return None
        return hamming.distances(query.codes, self._index.reconstruct(ids), n_threads=1)[0]


def _first(
    n: int,
    query: Queries,
    ids: NDArray[np.int64],
    distances: NDArray[np.int32] | None,
    ties: list[int] | None,
    scores: NDArray[np.float64] | None,
    exact: bool = True,
) -> Found:
    """Return the first n answers to a query."""
    return Found(
        ids[:n].tolist(),
        None if distances is None else distances[:n].tolist(),
        None if ties is None else ties[:n],
        None if scores is None else scores[:n].tolist(),
        query.scale,
        exact=exact,
    )
