"""Exact top-k against faiss-cpu, one thread each, in one run: `pytest benchmarks/bench_hamming.py`.

pytest-benchmark interleaves nothing, so compare ratios of medians within a group, not times between
runs. Needs the extra `bench`.
"""

import numpy as np
import pytest

import fasthash as fh

faiss = pytest.importorskip("faiss", reason="the peer is missing: install the extra 'bench'")

N = 1_000_000
CASES = [(64, 1000, 10), (64, 1000, 100), (64, 1, 10), (128, 200, 10), (256, 200, 10)]


def make_codes(n, n_bits, seed):
    return np.random.default_rng(seed).integers(0, 256, (n, n_bits // 8), dtype=np.uint8)


@pytest.mark.parametrize("library", ["fasthash", "faiss"])
@pytest.mark.parametrize(("n_bits", "n_queries", "k"), CASES)
def test_topk(benchmark, library, n_bits, n_queries, k):
    benchmark.group = f"topk: {n_bits} bits, {n_queries} queries, k = {k}, n = {N:,}"
    database, queries = make_codes(N, n_bits, 0), make_codes(n_queries, n_bits, 1)
    expected = fh.topk(queries, database, k, n_threads=1)
    if library == "fasthash":
        found = benchmark(fh.topk, queries, database, k, n_threads=1)
    else:
        faiss.omp_set_num_threads(1)
        index = faiss.IndexBinaryFlat(n_bits)
        index.add(database)
        found = benchmark(index.search, queries, k)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
