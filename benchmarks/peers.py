"""All peers: those of `fasthash.experiments._peers`, and more libraries and loops, a call each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fasthash.experiments._peers import (
    MissingPeerError,
    Search,
    check_same,
    faiss_flat,
    faiss_or_none,
    import_peer,
    nearest,
    numpy_bitwise_count,
    precision_of,
    xor_average_precision,
    xor_distances,
)

__all__ = [
    "MissingPeerError",
    "Search",
    "as_signs",
    "check_same",
    "faiss_flat",
    "faiss_or_none",
    "gemm_distances",
    "import_peer",
    "numkong_packed",
    "numpy_bitwise_count",
    "numpy_gemm",
    "product_average_precision",
    "scipy_cdist",
    "sklearn_brute",
    "usearch_exact",
    "xor_average_precision",
    "xor_distances",
]


def numpy_gemm(database: NDArray[np.uint8]) -> Search:
    """Codes as ±1 in float32, one matrix product, then `argpartition`."""
    signs = as_signs(database)

    def search(queries: NDArray[np.uint8], k: int) -> tuple[Any, Any]:
        return nearest(gemm_distances(as_signs(queries), signs), k)

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
        return nearest(shares * bits.shape[1], k)

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
        return nearest(np.asarray(numkong.hammings_packed(queries, packed)), k)

    return search


def usearch_exact(database: NDArray[np.uint8]) -> Search:
    """usearch's exact search over packed bits."""
    usearch = import_peer("usearch.index").index

    def search(queries: NDArray[np.uint8], k: int) -> tuple[Any, Any]:
        hamming = usearch.MetricKind.Hamming
        found = usearch.search(database, queries, k, hamming, exact=True, threads=1)
        return np.rint(found.distances).astype(np.int32), found.keys

    return search


def product_average_precision(
    queries: NDArray[np.float32], signs: NDArray[np.float32], query_labels: Any, labels: Any
) -> list[float]:
    """The loop of most evaluation code: matrix product, argsort (ties at will), precision."""
    return [
        precision_of(np.argsort(gemm_distances(query, signs)), labels == label)
        for query, label in zip(queries, query_labels, strict=True)
    ]
