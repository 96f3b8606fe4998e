"""What the distances of a model mean: counted on pairs of training samples when it is fitted."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..hamming import distances
from ..metrics import DistanceScale

__all__ = ["Related", "Scales", "learn_scales", "scale_of", "scale_within"]

# Scales by the modality of the queries, and then by that of the database.
Scales = Mapping[str, Mapping[str, DistanceScale]]

# Number of samples of each modality whose distances are counted.
_SAMPLES = 1000


@dataclass(frozen=True, eq=False)
class Related:
    """
    Which training samples are relevant to each other: those that have a column in common.

    Attributes
    ----------
    columns : dict of str to csr_array of bool, each of shape (n_samples, n_columns)
        A column for each label, or for each pair.
    sampled : dict of str to ndarray of int64
        For each modality, the rows whose distances are counted, ascending.
    """

    columns: Mapping[str, Any]
    sampled: Mapping[str, NDArray[np.int64]]

    @classmethod
    def of_labels(cls, labels: Mapping[str, Any]) -> Related:
        """Samples that share a label, a column of a CSR array, are relevant to each other."""
        rng = np.random.default_rng(0)
        sampled = {
            name: np.sort(rng.permutation(one.shape[0])[:_SAMPLES]) for name, one in labels.items()
        }
        return cls(labels, sampled)

    @classmethod
    def of_pairs(cls, pairs: NDArray[np.int64] | None, samples: Mapping[str, Sized]) -> Related:
        """The samples of a pair, a row of row numbers, are relevant; None pairs equal rows."""
        n_samples = {name: len(one) for name, one in samples.items()}
        if pairs is None:
            n = min(n_samples.values())
            pairs = np.repeat(np.arange(n)[:, None], len(n_samples), axis=1)
        chosen = pairs[np.sort(np.random.default_rng(0).permutation(len(pairs))[:_SAMPLES])]
        columns, sampled = {}, {}
        for (name, n), rows in zip(n_samples.items(), chosen.T, strict=True):
            # A negative row is that of a missing partner.
            has_row = rows >= 0
            places = (rows[has_row], np.flatnonzero(has_row))
            ones = np.ones(len(places[0]), bool)
            columns[name] = csr_array((ones, places), shape=(n, len(chosen)))
            sampled[name] = np.unique(rows[has_row])
        return cls(columns, sampled)

    def matrix(self, a: str, b: str) -> NDArray[np.bool_]:
        """Tell which sampled rows of two modalities are relevant to each other."""
        one, other = (self.columns[name][self.sampled[name]].astype(np.int32) for name in (a, b))
        shared: NDArray[np.bool_] = (one @ other.T).toarray() > 0
        return shared


def learn_scales(
    related: Related,
    encode: Callable[[str, NDArray[np.int64]], NDArray[np.uint8]],
    codes: Mapping[str, NDArray[np.uint8]],
    n_bits: int,
) -> dict[str, dict[str, DistanceScale]]:
    """
    Count the distances of training samples, encoded as queries, to the codes of training samples.

    Parameters
    ----------
    related : Related
    encode : callable
        Called with a modality and row numbers; returns the codes by the hash functions.
    codes : dict of str to ndarray of uint8
        Codes of all training samples.
    n_bits : int

    Returns
    -------
    dict of str to dict of str to DistanceScale
        By the modality of the queries, and that of the database. A combination without pairs that
        are not relevant is missing.
    """
    scales: dict[str, dict[str, DistanceScale]] = {}
    for a, rows in related.sampled.items():
        queries = encode(a, rows) if len(rows) else codes[a][:0]
        scales[a] = {}
        for b, others in related.sampled.items():
            far = distances(queries, codes[b][others], n_threads=1)
            is_relevant = related.matrix(a, b)
            counted = np.ones(far.shape, bool)
            if a == b:
                np.fill_diagonal(counted, False)
            near, other = (
                np.bincount(far[counted & chosen], minlength=n_bits + 1).astype(np.int64)
                for chosen in (is_relevant, ~is_relevant)
            )
            if other.any():
                scales[a][b] = DistanceScale(near, other)
    return scales


def scale_of(scales: Scales, queries: str) -> DistanceScale | None:
    """Join the scales of one modality of queries, with a database of another modality."""
    return _joined([one for name, one in scales.get(queries, {}).items() if name != queries])


def scale_within(scales: Scales) -> DistanceScale | None:
    """Join the scales of queries and a database of one modality."""
    return _joined([found[name] for name, found in scales.items() if name in found])


def _joined(scales: list[DistanceScale]) -> DistanceScale | None:
    if not scales:
        return None
    return functools.reduce(operator.add, scales)
