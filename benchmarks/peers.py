"""The libraries fasthash is compared with, each behind one call, and the check that answers agree.

Peers run on one thread. A missing one raises `MissingPeerError` with the reason, which the tables
show in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Search = Callable[[NDArray[np.uint8], int], tuple[Any, Any]]


class MissingPeerError(RuntimeError):
    """The peer cannot take part; the message says why."""


def import_peer(name: str) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        raise MissingPeerError(f"{name} is not installed here") from error


def check_same(
    found: tuple[Any, Any], expected: tuple[Any, Any], what: str, same_ids: bool = True
) -> None:
    """Distances must agree; ids too where the peer gives equal distances to the lowest id."""
    for name, a, b in zip(("distances", "ids"), found, expected, strict=True):
        if (name == "distances" or same_ids) and not np.array_equal(a, b):
            raise AssertionError(f"{what}: {name} differ between fasthash and its peer")


def faiss_flat(database: NDArray[np.uint8]) -> Search:
    """faiss-cpu `IndexBinaryFlat` with its default heap; breaks ties by the lowest id."""
    faiss = import_peer("faiss")
    faiss.omp_set_num_threads(1)
    index = faiss.IndexBinaryFlat(8 * database.shape[1])
    index.add(database)
    return index.search


def numpy_bitwise_count(database: NDArray[np.uint8]) -> Search:
    """`numpy.bitwise_count` of the xor, then `argpartition`."""
    words = database.view(np.uint64)

    def search(queries: NDArray[np.uint8], k: int) -> tuple[Any, Any]:
        rows = [xor_distances(query, words) for query in queries.view(np.uint64)]
        return _nearest(np.stack(rows), k)

    return search


def xor_distances(query: NDArray[np.uint64], words: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Distances of one query to all codes, in the narrowest type they fit."""
    counts = np.bitwise_count(words ^ query)
    total = counts[:, 0].astype(np.uint8 if 64 * words.shape[1] < 256 else np.uint16)
    # Column by column: a sum over a short axis takes numpy twice as long.
    for word in range(1, words.shape[1]):
        total += counts[:, word]
    return total


def numpy_gemm(database: NDArray[np.uint8]) -> Search:
    """Codes as ±1 in float32, one matrix product, then `argpartition`."""
    signs = as_signs(database)

    def search(queries: NDArray[np.uint8], k: int) -> tuple[Any, Any]:
        return _nearest(gemm_distances(as_signs(queries), signs), k)

    return search


def as_signs(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    return 2 * np.unpackbits(codes, axis=1).astype(np.float32) - 1


def gemm_distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return (b.shape[1] - a @ b.T) / 2


def scipy_cdist(database: NDArray[np.uint8]) -> Search:
    """`scipy.spatial.distance.cdist` on unpacked bits, then `argpartition`."""
    distance = import_peer("scipy.spatial.distance").spatial.distance
    bits = np.unpackbits(database, axis=1).view(bool)

    def search(queries: NDArray[np.uint8], k: int) -> tuple[Any, Any]:
        shares = distance.cdist(np.unpackbits(queries, axis=1).view(bool), bits, "hamming")
        return _nearest(shares * bits.shape[1], k)

    return search


def sklearn_brute(database: NDArray[np.uint8]) -> Search:
    """scikit-learn `NearestNeighbors`, brute force with the Hamming metric, on unpacked bits."""
    neighbors = import_peer("sklearn.neighbors").neighbors
    bits = np.unpackbits(database, axis=1)
    model = neighbors.NearestNeighbors(algorithm="brute", metric="hamming", n_jobs=1).fit(bits)

    def search(queries: NDArray[np.uint8], k: int) -> tuple[Any, Any]:
        shares, ids = model.kneighbors(np.unpackbits(queries, axis=1), k)
        return np.rint(shares * bits.shape[1]).astype(np.int32), ids

    return search


def numkong_packed(database: NDArray[np.uint8]) -> Search:
    """numkong `hammings_packed`, then `argpartition`."""
    numkong = import_peer("numkong")
    packed = numkong.hammings_pack(database, dtype="uint1")

    def search(queries: NDArray[np.uint8], k: int) -> tuple[Any, Any]:
        return _nearest(np.asarray(numkong.hammings_packed(queries, packed)), k)

    return search


def product_average_precision(
    queries: NDArray[np.float32], signs: NDArray[np.float32], query_labels: Any, labels: Any
) -> list[float]:
    """The loop of most evaluation code: matrix product, argsort (ties at will), precision."""
    return [
        _precision(np.argsort(gemm_distances(query, signs)), labels == label)
        for query, label in zip(queries, query_labels, strict=True)
    ]


def xor_average_precision(
    queries: NDArray[np.uint64], words: NDArray[np.uint64], query_labels: Any, labels: Any
) -> list[float]:
    """The same in database order and as fast as numpy allows: its stable sort is a radix sort."""
    return [
        _precision(np.argsort(xor_distances(query, words), kind="stable"), labels == label)
        for query, label in zip(queries, query_labels, strict=True)
    ]


def _precision(order: NDArray[np.int64], relevant: NDArray[np.bool_]) -> float:
    ranks = np.flatnonzero(relevant[order]) + 1
    return float(np.mean(np.arange(1, len(ranks) + 1) / ranks))


def _nearest(distances: NDArray[Any], k: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    ids = np.argpartition(distances, k - 1, axis=1)[:, :k]
    found = np.take_along_axis(distances, ids, axis=1)
    order = np.argsort(found, axis=1, kind="stable")
    return (
        np.rint(np.take_along_axis(found, order, axis=1)).astype(np.int32),
        np.take_along_axis(ids, order, axis=1),
    )
