"""Every function over packed codes beside a peer, on one thread.

    pytest benchmarks/bench_hamming.py

For looking at one function while working on it: pytest-benchmark groups fasthash with its peer but
does not interleave them, so compare medians within a group and take the ratios to keep from run.py.
The peer is faiss-cpu for searches, numpy for the rest. Needs the extra `bench`.
"""

from functools import partial

import numpy as np
import pytest

import fasthash as fh
import peers
from fasthash.experiments._random_codes import make_codes

N = 200_000
TOPK = [
    (64, 1, 10), (64, 1000, 10), (64, 1000, 100), (128, 1000, 10),
    (256, 1, 10), (256, 1000, 10), (256, 1000, 1000), (1000, 200, 10), (1024, 200, 10),
]  # fmt: skip
LIBRARIES = pytest.mark.parametrize("library", ["fasthash", "peer"])


def faiss_flat(database):
    try:
        return peers.faiss_flat(database)
    except peers.MissingPeerError as error:
        pytest.skip(f"the peer is missing: {error}; install the extra 'bench'")


@LIBRARIES
@pytest.mark.parametrize(("n_bits", "n_queries", "k"), TOPK)
def test_topk(benchmark, library, n_bits, n_queries, k):
    benchmark.group = f"topk: {n_bits} bits, {n_queries} queries, k = {k}, n = {N:,}"
    database, queries = make_codes("uniform", N, n_queries, n_bits)
    expected = fh.topk(queries, database, k, n_threads=1)
    if library == "fasthash":
        benchmark(fh.topk, queries, database, k, n_threads=1)
    else:
        found = benchmark(faiss_flat(database), queries, k)
        peers.check_same(expected, found, "topk")


@LIBRARIES
@pytest.mark.parametrize(("n_bits", "n_queries", "radius"), [(64, 100, 15), (256, 100, 90)])
def test_within(benchmark, library, n_bits, n_queries, radius):
    benchmark.group = f"within: {n_bits} bits, {n_queries} queries, radius {radius}, n = {N:,}"
    database, queries = make_codes("clustered", N, n_queries, n_bits)
    limits, distances, ids = fh.within(queries, database, radius, n_threads=1)
    if library == "fasthash":
        benchmark(fh.within, queries, database, radius, n_threads=1)
        return
    faiss_flat(database)
    import faiss

    index = faiss.IndexBinaryFlat(n_bits)
    index.add(database)
    # faiss leaves the radius itself out.
    found_limits, found_distances, found_ids = benchmark(index.range_search, queries, radius + 1)
    np.testing.assert_array_equal(found_limits.astype(np.int64), limits)
    for i in range(n_queries):
        part = slice(limits[i], limits[i + 1])
        # faiss gives them in the order of the database.
        order = np.lexsort((found_ids[part], found_distances[part]))
        np.testing.assert_array_equal(found_distances[part][order], distances[part])
        np.testing.assert_array_equal(found_ids[part][order], ids[part])


@LIBRARIES
def test_jaccard_topk(benchmark, library):
    benchmark.group = f"jaccard_topk: 1024 bits, 20 queries, k = 10, n = {N:,}"
    database, queries = make_codes("clustered", N, 20, 1024)
    if library == "fasthash":
        benchmark(fh.neighbors.jaccard_topk, queries, database, 10, n_threads=1)
        return
    words = database.view(np.uint64)

    def by_popcount():
        for query in queries.view(np.uint64):
            shared = np.bitwise_count(words & query).sum(axis=1)
            either = np.bitwise_count(words | query).sum(axis=1)
            yield np.argpartition(1 - shared / either, 10)[:10]

    benchmark(lambda: list(by_popcount()))


@LIBRARIES
@pytest.mark.parametrize("n_bits", [64, 256])
def test_rank(benchmark, library, n_bits):
    benchmark.group = f"rank: {n_bits} bits, 20 queries, n = {N:,}; numpy is given the distances"
    database, queries = make_codes("uniform", N, 20, n_bits)
    if library == "fasthash":
        benchmark(fh.rank, queries, database, n_threads=1)
    else:
        distances = _numpy_distances(queries, database)
        found = benchmark(partial(np.argsort, distances, axis=1, kind="stable"))
        np.testing.assert_array_equal(found, fh.rank(queries, database, n_threads=1))


@LIBRARIES
@pytest.mark.parametrize("n_bits", [64, 256])
def test_distances(benchmark, library, n_bits):
    benchmark.group = f"distances: {n_bits} bits, 100 x {N:,}"
    database, queries = make_codes("uniform", N, 100, n_bits)
    if library == "fasthash":
        benchmark(fh.distances, queries, database, n_threads=1)
    else:
        found = benchmark(_numpy_distances, queries, database)
        np.testing.assert_array_equal(found, fh.distances(queries, database, n_threads=1))


@pytest.mark.parametrize("library", ["fasthash, database", "fasthash, expected", "peer"])
@pytest.mark.parametrize("n_bits", [64, 256])
def test_average_precision(benchmark, library, n_bits):
    benchmark.group = f"average precision: {n_bits} bits, 10 queries, n = {N:,}"
    database, queries = make_codes("clustered", N, 10, n_bits)
    rng = np.random.default_rng(0)
    query_labels, labels = rng.integers(0, 10, 10), rng.integers(0, 10, N)
    args = queries, database, query_labels, labels
    if library == "peer":
        words = queries.view(np.uint64), database.view(np.uint64)
        found = benchmark(peers.xor_average_precision, *words, query_labels, labels)
        expected = fh.average_precision(*args, ties="database", n_threads=1)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    else:
        ties = library.removeprefix("fasthash, ")
        benchmark(fh.average_precision, *args, ties=ties, n_threads=1)


def _numpy_distances(queries, database):
    words = database.view(np.uint64)
    return np.stack([peers.xor_distances(query, words) for query in queries.view(np.uint64)])
