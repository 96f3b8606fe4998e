"""An index as a dictionary from ids to codes, searched by sorting, in order (distance, id)."""

from collections.abc import Container, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from reference.asymmetric import bit, rounded, step_of
from reference.hamming import distance


class Index:
    """The twin of HammingIndex and MultiIndexHash."""

    def __init__(self, n_bits: int) -> None:
        self.n_bytes = (n_bits + 7) // 8
        self.held: dict[int, bytes] = {}
        self.next_id = 0

    def add(
        self, codes: NDArray[np.uint8], ids: Iterable[int] | None = None, replace: bool = False
    ) -> bool:
        """Hold codes; False, and nothing has happened, where an id may not be added."""
        if ids is None:
            ids = range(self.next_id, self.next_id + len(codes))
        ids = [int(i) for i in ids]
        if len(set(ids)) < len(ids) or (not replace and any(i in self.held for i in ids)):
            return False
        self.held.update(zip(ids, map(bytes, codes), strict=True))
        self.next_id = max([self.next_id, *(i + 1 for i in ids)])
        return True

    def update(self, ids: Sequence[int], codes: NDArray[np.uint8]) -> bool:
        """Replace codes; False, and nothing has happened, where an id is not held."""
        if not all(int(i) in self.held for i in ids):
            return False
        return self.add(codes, ids, replace=True)

    def remove(self, ids: Iterable[int]) -> int:
        """Forget ids, held or not; how many were held."""
        return sum(self.held.pop(i, None) is not None for i in {int(i) for i in ids})

    def search(
        self, queries: NDArray[np.uint8], k: int, allowed: Container[int] | None = None
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The k nearest of every query among the allowed ids; what is missing is -1."""
        distances = np.full((len(queries), k), -1, np.int32)
        ids = np.full((len(queries), k), -1, np.int64)
        for i, query in enumerate(queries):
            for place, (d, found) in enumerate(self._sorted(query, allowed)[:k]):
                distances[i, place], ids[i, place] = d, found
        return distances, ids

    def search_weighted(
        self,
        weights: Sequence[Sequence[float]],
        k: int,
        allowed: Container[int] | None = None,
        candidates: int | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The k codes with the largest scores; what is missing is NaN and -1."""
        scores = np.full((len(weights), k), np.nan)
        ids = np.full((len(weights), k), -1, np.int64)
        for i, query in enumerate(weights):
            signs = np.packbits([w >= 0 for w in query])
            nearest = self._sorted(signs, allowed)
            if candidates is not None:
                nearest = nearest[: max(k, candidates)]
            largest, step = step_of(query)
            whole = rounded(query)
            ranked = sorted(
                (
                    -sum(
                        w * bit(np.frombuffer(self.held[n], np.uint8), j)
                        for j, w in enumerate(whole)
                    ),
                    n,
                )
                for _, n in nearest
            )
            for place, (negative, found) in enumerate(ranked[:k]):
                scores[i, place], ids[i, place] = -negative * step * largest, found
        return scores, ids

    def within(
        self, queries: NDArray[np.uint8], radius: int, allowed: Container[int] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
        """All codes at most the radius away, as (limits, distances, ids)."""
        limits = [0]
        pairs: list[tuple[int, int]] = []
        for query in queries:
            pairs += [pair for pair in self._sorted(query, allowed) if pair[0] <= radius]
            limits.append(len(pairs))
        return (
            np.array(limits, np.int64),
            np.array([d for d, _ in pairs], np.int32),
            np.array([i for _, i in pairs], np.int64),
        )

    def _sorted(
        self, query: NDArray[np.uint8], allowed: Container[int] | None
    ) -> list[tuple[int, int]]:
        return sorted(
            (distance(query, code), i)
            for i, code in self.held.items()
            if allowed is None or i in allowed
        )
