"""Peers of fasthash in measurements, plain numpy and faiss-cpu, and a check that results agree.

Peers run on one thread. A missing peer raises `MissingPeerError` with the reason, which tables show
instead of a figure. This module needs only numpy and imports nothing of fasthash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MissingPeerError",
    "Search",
    "check_same",
    "faiss_flat",
    "faiss_or_none",
    "import_peer",
    "nearest",
    "numpy_bitwise_count",
    "precision_of",
    "xor_average_precision",
    "xor_distances",
]

Search = Callable[[NDArray[np.uint8], int], tuple[Any, Any]]


class MissingPeerError(ImportError):
    """The peer cannot take part; the message says why."""


def import_peer(name: str) -> Any:
    """Import a module, or raise MissingPeerError."""
    try:
        return __import__(name)
    except ImportError as error:
        raise MissingPeerError(f"{name} is not installed here") from error


def check_same(
    found: tuple[Any, Any], expected: tuple[Any, Any], what: str, same_ids: bool = True
) -> None:
    """Check that distances agree, and ids too if the peer breaks ties by the lowest id."""
    for name, a, b in zip(("distances", "ids"), found, expected, strict=True):
        if (name == "distances" or same_ids) and not np.array_equal(a, b):
            raise AssertionError(f"{what}: {name} differ between fasthash and its peer")


def faiss_flat(database: NDArray[np.uint8]) -> Search:
    """Make an `IndexBinaryFlat` of faiss-cpu, which breaks ties by the lowest id."""
    faiss = import_peer("faiss")
    faiss.omp_set_num_threads(1)
    index = faiss.IndexBinaryFlat(8 * database.shape[1])
    index.add(database)
    return index.search


def faiss_or_none(database: NDArray[np.uint8]) -> Search | None:
    """Make the search of `faiss_flat`, or return None if faiss is not installed."""
    try:
        return faiss_flat(database)
    except MissingPeerError:
        return None


def numpy_bitwise_count(database: NDArray[np.uint8]) -> Search:
    """Make a search by `numpy.bitwise_count` of the xor, followed by `argpartition`."""
    words = database.view(np.uint64)

    def search(queries: NDArray[np.uint8], k: int) -> tuple[Any, Any]:
        rows = [xor_distances(query, words) for query in queries.view(np.uint64)]
        return nearest(np.stack(rows), k)

    return search


def xor_distances(query: NDArray[np.uint64], words: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Compute the distances of one query to all codes, in the narrowest type that fits."""
    counts = np.bitwise_count(words ^ query)
    total: NDArray[Any] = counts[:, 0].astype(np.uint8 if 64 * words.shape[1] < 256 else np.uint16)
    # The columns are added one by one, because numpy's sum over a short axis takes twice as long.
    for word in range(1, words.shape[1]):
        total += counts[:, word]
    return total


def xor_average_precision(
    queries: NDArray[np.uint64], words: NDArray[np.uint64], query_labels: Any, labels: Any
) -> list[float]:
    """Compute average precision with ties in database order, by numpy's stable radix sort."""
    return [
        precision_of(np.argsort(xor_distances(query, words), kind="stable"), labels == label)
        for query, label in zip(queries, query_labels, strict=True)
    ]


def precision_of(order: NDArray[np.int64], relevant: NDArray[np.bool_]) -> float:
    """Compute the average precision of a ranking."""
    ranks = np.flatnonzero(relevant[order]) + 1
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def nearest(distances: NDArray[Any], k: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return distances and ids of the k nearest codes of each row, with arbitrary ties."""
    ids = np.argpartition(distances, k - 1, axis=1)[:, :k]
    found = np.take_along_axis(distances, ids, axis=1)
    order = np.argsort(found, axis=1, kind="stable")
    return (
        np.rint(np.take_along_axis(found, order, axis=1)).astype(np.int32),
        np.take_along_axis(ids, order, axis=1),
    )
