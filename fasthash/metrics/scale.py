"""What a Hamming distance means: how many relevant pairs, and how many others, are that near."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.kept import KeptProperty
from .._core.validation import check_count
from ..codes import check_codes
from ..hamming import distances

__all__ = ["DistanceScale"]

# Without relevant pairs, a distance is close if at most this share of the other pairs is as near.
_CLOSE_SHARE = 0.01

# Number of codes whose distances are counted.
_SAMPLES = 1000


@dataclass(frozen=True, eq=False)
class DistanceScale:
    """
    Distances of pairs that are relevant, and of other pairs, counted on samples.

    A distance of 9 of 64 bits may be near for one model and far for another. The scale compares it
    with the distances of pairs whose relevance is known.

    Parameters
    ----------
    relevant : ndarray of int64, shape (n_bits + 1,)
        Number of relevant pairs at each distance; all 0 if no relevant pairs are known.
    other : ndarray of int64, shape (n_bits + 1,)
        Number of other pairs at each distance.

    Raises
    ------
    ValueError
        If the counts are not int64 of one length, or negative, or there are no other pairs.

    See Also
    --------
    distances_by_relevance : Count such pairs.
    fasthash.AMSH : Its attribute `distance_scales_` has the scales of the training samples.

    Notes
    -----
    `close` is the distance at which the share of the relevant pairs that are as near exceeds the
    share of the other pairs by most (Youden's index); the smaller one of two. Without relevant
    pairs it is the largest distance within which at most 1 % of the other pairs are.

    Examples
    --------
    >>> import numpy as np
    >>> import fasthash as fh
    >>> scale = fh.metrics.DistanceScale(np.array([5, 3, 1, 0]), np.array([0, 1, 4, 5]))
    >>> scale.close, [scale.band(distance) for distance in range(4)]
    (1, ['same', 'close', 'far', 'far'])
    >>> scale.nearness(1)
    0.95
    """

    relevant: NDArray[np.int64]
    other: NDArray[np.int64]

    def __post_init__(self) -> None:
        for counts in (self.relevant, self.other):
            if (
                not isinstance(counts, np.ndarray)
                or counts.dtype != np.int64
                or counts.ndim != 1
                or (counts < 0).any()
            ):
                raise ValueError("the counts of a scale must be int64 of one dimension, from 0")
        if len(self.relevant) != len(self.other):
            raise ValueError(
                f"a scale needs counts of one length, got {len(self.relevant)} relevant and "
                f"{len(self.other)} other"
            )
        if not self.other.any():
            raise ValueError("a scale needs pairs that are not relevant")

    @classmethod
    def of_codes(cls, codes: ArrayLike, n_bits: int) -> DistanceScale:
        """
        Count the distances among codes, none of whose pairs are known to be relevant.

        Parameters
        ----------
        codes : array_like of uint8, shape (n, ceil(n_bits / 8))
            Two or more packed codes. All pairs of at most 1,000 of them, drawn with a fixed seed,
            are counted.
        n_bits : int
            Number of bits in a code.

        Returns
        -------
        DistanceScale
            Without relevant pairs.

        Raises
        ------
        TypeError, ValueError
            If the codes do not have `n_bits` bits, or are fewer than two.

        See Also
        --------
        distances_by_relevance : Count relevant pairs, too.

        Examples
        --------
        >>> import numpy as np
        >>> import fasthash as fh
        >>> codes = fh.pack(np.random.default_rng(0).standard_normal((500, 64)))
        >>> fh.metrics.DistanceScale.of_codes(codes, 64).close
        22
        """
        checked = check_codes(codes, "codes", n_bits)
        if len(checked) < 2:
            raise ValueError(f"codes has {len(checked)} rows: two or more are needed")
        rows = np.sort(np.random.default_rng(0).permutation(len(checked))[:_SAMPLES])
        far = distances(checked[rows], checked[rows], n_threads=1)
        pairs = far[np.triu_indices(len(rows), 1)]
        return cls(np.zeros(n_bits + 1, np.int64), np.bincount(pairs, minlength=n_bits + 1))

    def __add__(self, other: DistanceScale) -> DistanceScale:
        """Add the counts of another scale of the same code length."""
        if self.n_bits != other.n_bits:
            raise ValueError(
                f"scales of {self.n_bits} and {other.n_bits} bits cannot be added: their code "
                "lengths must be equal"
            )
        return DistanceScale(self.relevant + other.relevant, self.other + other.other)

    @property
    def n_bits(self) -> int:
        """Length of the codes."""
        return len(self.other) - 1

    # Kept, because the bands of a thousand answers need it a thousand times.
    @KeptProperty
    def close(self) -> int:
        """The largest distance that is close; -1 if not even equal codes are."""
        others = np.cumsum(self.other) / self.other.sum()
        if self.relevant.any():
            gain = np.cumsum(self.relevant) / self.relevant.sum() - others
            return int(gain.argmax()) if gain.max() > 0 else -1
        return int(np.searchsorted(others, _CLOSE_SHARE, side="right")) - 1

    def band(self, distance: int) -> str:
        """
        Name a distance.

        Parameters
        ----------
        distance : int
            From 0 to `n_bits`.

        Returns
        -------
        str
            "same" for equal codes, "close" up to the distance `close`, else "far". A match that is
            far is weak: other pairs are as near, too.

        Raises
        ------
        TypeError, ValueError
            If the distance is no integer from 0 to `n_bits`.

        See Also
        --------
        nearness : The distance as a number from 0 to 1.
        """
        distance = self._checked(distance)
        if distance == 0:
            return "same"
        return "close" if distance <= self.close else "far"

    def is_weak(self, distances: Iterable[int]) -> bool:
        """
        Tell whether the answers to a query are weak: none of them is the same or close.

        Parameters
        ----------
        distances : iterable of int
            From the query to its answers.

        Returns
        -------
        bool
            Also True without answers.

        Raises
        ------
        TypeError, ValueError
            If a distance is no integer from 0 to `n_bits`.

        See Also
        --------
        band : The name of one distance.
        """
        return all(self.band(distance) == "far" for distance in distances)

    def nearness(self, distance: int) -> float:
        """
        Compute the share of the other pairs that are farther apart.

        Parameters
        ----------
        distance : int
            From 0 to `n_bits`.

        Returns
        -------
        float
            From 0 to 1. Pairs at this distance count half.

        Raises
        ------
        TypeError, ValueError
            If the distance is no integer from 0 to `n_bits`.

        See Also
        --------
        band : The distance in a word.
        """
        distance = self._checked(distance)
        farther = self.other[distance + 1 :].sum() + self.other[distance] / 2
        return float(farther / self.other.sum())

    def _checked(self, distance: int) -> int:
        return check_count(distance, "distance", minimum=0, maximum=self.n_bits)
