"""The answers of ``fasthash search``: how queries are searched, and how answers are printed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import hamming
from .._core.suspicious import without_warnings
from ..codes import pack_signs, unpack_signs
from ..fusion import join_codes, join_weights
from ..index import HammingIndex
from ..index._ties import count_ties, found_of, search_with_ties
from ..reranking import rerank

if TYPE_CHECKING:
    from ..metrics import DistanceScale

__all__ = ["Answers", "Fused", "Search", "as_members", "as_text"]

# Names come from files of others: their control characters must not change what a terminal shows.
_CONTROL = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029], " ")
_CONTROL |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], "")


@dataclass(frozen=True, eq=False)
class Search:
    """
    How queries are searched.

    Attributes
    ----------
    index : CodeIndex
    k : int
        Number of answers.
    radius : int or None
        If given, all within this distance are found instead.
    recall : float or None
        As in the ``search`` of an index.
    allowed : ndarray, PreparedFilter or None
        Ids that may be found.
    with_ties : bool
        Whether ties are counted.
    """

    index: Any
    k: int
    radius: int | None = None
    recall: float | None = None
    allowed: Any = None
    with_ties: bool = False

    @property
    def n_answers(self) -> int:
        """Number of answers; those of more than all codes would take memory for nothing."""
        return min(self.k, max(len(self.index), 1))

    def by_codes(self, codes: NDArray[np.uint8]) -> Iterator[Answers]:
        """Yield the answers to each code, sorted by Hamming distance."""
        if self.radius is not None:
            limits, distances, ids = self.index.within(codes, self.radius, filter=self.allowed)
            for start, stop in itertools.pairwise(limits):
                some = distances[start:stop]
                ties = count_ties(some) if self.with_ties and len(some) else None
                yield Answers(ids[start:stop], some, ties=ties)
            return
        options = {"recall": self.recall, "filter": self.allowed}
        if self.with_ties:
            n = self.n_answers
            for distances, ids, ties in search_with_ties(
                lambda some, n: self.index.search(codes[some], n, **options), len(codes), n
            ):
                yield Answers(ids[:n], distances[:n], ties=ties[:n])
            return
        for distances, ids in found_of(self.index.search(codes, self.n_answers, **options)):
            yield Answers(ids, distances)

    def by_weights(self, weights: NDArray[np.floating]) -> Iterator[Answers]:
        """Yield the answers to each query with weights, sorted by score."""
        n = self.n_answers
        scored: Iterator[tuple[NDArray[Any], NDArray[Any], list[int] | None]]

        def search(some: Any, n: int) -> Any:
            return self.index.search(weights=weights[some], k=n, filter=self.allowed)

        if self.with_ties:
            scored = search_with_ties(search, len(weights), n)
        else:
            scored = ((*found, None) for found in found_of(search(slice(None), n)))
        for code, (scores, ids, ties) in zip(pack_signs(weights), scored, strict=True):
            distances = hamming.distances(code[None], self.index.reconstruct(ids[:n]))[0]
            yield Answers(ids[:n], distances, scores[:n], None if ties is None else ties[:n])

    def by_several_codes(self, queries: NDArray[Any], fused: Fused) -> Iterator[Answers]:
        """Yield the answers to queries, codes or weights, compared with all codes of an item."""
        are_codes = queries.dtype == np.uint8
        codes = queries if are_codes else pack_signs(queries)
        weights = unpack_signs(codes, self.index.n_bits) if are_codes else queries
        by_name = dict.fromkeys(fused.factors, weights)
        search = replace(self, index=fused.joined)
        joined = join_weights(by_name, factors=fused.factors)
        for code, found in zip(codes, search.by_weights(joined), strict=True):
            scores = None if are_codes else found.scores
            yield replace(found, distances=fused.distances(code, found.ids), scores=scores)

    def by_rerank(
        self, codes: NDArray[np.uint8], x: Any, vectors: Any, n_candidates: int | None
    ) -> Iterator[Answers]:
        """Yield the answers to each query, sorted by cosine similarity of vectors."""
        n = self.n_answers
        n_candidates = min(max(n_candidates or 10 * n, n), max(len(self.index), 1))
        distances, ids = self.index.search(
            codes, n_candidates, recall=self.recall, filter=self.allowed
        )
        with without_warnings():
            similarities, best_of_all = rerank(x, vectors, ids, n)
        for far, near, best, scores in zip(distances, ids, best_of_all, similarities, strict=True):
            best = best[best >= 0]
            by_id = np.argsort(near, kind="stable")
            places = by_id[np.searchsorted(near, best, sorter=by_id)]
            yield Answers(best, far[places], similarities=scores[: len(best)])


class Fused:
    """
    Several indexes of codes of the same items.

    Parameters
    ----------
    indexes : sequence of CodeIndex
        With the same ids.
    factors : sequence of int
        The factor of the distance to the codes of each index.

    Attributes
    ----------
    joined : HammingIndex
        The joined codes.
    factors : dict of str to int
        The factors, by the names of the codes in `joined`.
    """

    def __init__(self, indexes: Sequence[Any], factors: Sequence[int]) -> None:
        self._indexes = {str(number): one for number, one in enumerate(indexes)}
        self.factors = dict(zip(self._indexes, factors, strict=True))
        codes = join_codes({name: one.codes for name, one in self._indexes.items()})
        self.joined = HammingIndex(8 * codes.shape[1])
        self.joined.add(codes, ids=indexes[0].ids)

    def distances(self, code: NDArray[np.uint8], ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Add up the distances of a code to the codes of items, each times its factor."""
        total = np.zeros(len(ids), np.int32)
        for name, one in self._indexes.items():
            total += self.factors[name] * hamming.distances(code[None], one.reconstruct(ids))[0]
        return total


@dataclass(frozen=True, eq=False)
class Answers:
    """
    The answers to a query, the best first.

    Attributes
    ----------
    ids : ndarray of int64
    distances : ndarray of int32
        Hamming distances.
    scores : ndarray of float64, or None
        Scores by weights, if answers are sorted by them.
    ties : list of int, or None
        For each answer, how many items have its score or its distance, if they were counted.
    similarities : ndarray, or None
        Cosine similarities, if answers are sorted by them.
    """

    ids: NDArray[np.int64]
    distances: NDArray[np.int32]
    scores: NDArray[np.float64] | None = None
    ties: list[int] | None = None
    similarities: NDArray[Any] | None = None


def as_members(
    answers: Answers, names: Sequence[str | None] | None, scale: DistanceScale | None
) -> dict[str, Any]:
    """Return the members of a JSON object; those that are not known are missing."""
    distances = answers.distances.tolist()
    bands = None if scale is None else [scale.band(distance) for distance in distances]
    members = {
        "ids": answers.ids.tolist(),
        "distances": distances,
        "scores": None if answers.scores is None else answers.scores.tolist(),
        "similarities": None if answers.similarities is None else answers.similarities.tolist(),
        "ties": answers.ties,
        "names": names,
        "bands": bands,
        "weak": None if scale is None else scale.is_weak(distances),
    }
    return {name: value for name, value in members.items() if value is not None}


def as_text(answer: dict[str, Any]) -> str:
    """Return lines of text: the query, and a line for each answer."""
    title = f"query {answer['query']}"
    if "query_name" in answer:
        title += f"  {_on_one_line(answer['query_name'])}"
    if answer.get("weak"):
        title += "  (weak: no answer is close)"
    lines = [title]
    width = max((len(str(id_)) for id_ in answer["ids"]), default=1)
    columns = ["" for _ in answer["ids"]]
    shown = (
        ("distances", "{:>4}"),
        ("bands", "{:<5}"),
        ("scores", "{:>9.4g}"),
        ("similarities", "{:>6.3f}"),
        ("ties", "{:>5}"),
        ("ids", f"{{:>{width}}}"),
        ("names", "{}"),
    )
    for name, form in shown:
        if name in answer:
            values = [form.format("" if value is None else value) for value in answer[name]]
            if name == "names":
                values = [_on_one_line(value) for value in values]
            columns = [f"{a}  {b}" for a, b in zip(columns, values, strict=True)]
    lines += [line.rstrip() for line in columns]
    if not answer["ids"]:
        lines.append("  nothing found")
    return "\n".join(lines)


def _on_one_line(text: str) -> str:
    """Return a text without characters that control a terminal or the direction of its lines."""
    return text.translate(_CONTROL)
