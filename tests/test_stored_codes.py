"""Codes that lie in another order than their rows are searched as if they lay in this order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_scan import SMALL_CALLS

from fasthash._core import scan
from fasthash._core.allowed import allow
from fasthash._core.stored_codes import StoredCodes
from fasthash._kernels import tiles as kernels
from fasthash._kernels.multi_index import Tables, best_n_tables
from fasthash.index import _tables as tables_module
from fasthash.index._tables import CodeTables
from reference import hamming as reference
from strategies import WIDTHS, all_distances, random_codes, search_problems, simd


def laid_out(codes, seed=0):
    """Codes that lie in any order."""
    stored = StoredCodes(codes)
    stored.lay_out(np.random.default_rng(seed).permutation(len(codes)).astype(np.uint32))
    return stored


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def chosen(n, share, seed):
    if share is None:
        return None
    return allow(np.random.default_rng(seed).random(n) < share, n)


@pytest.mark.parametrize("level", kernels.supported_levels())
@pytest.mark.parametrize("cut", [None, "queries", "rows"])
@given(
    problem=search_problems(max_queries=12, max_codes=150),
    k=st.integers(1, 160),
    radius=st.integers(0, 1024),
    share=st.sampled_from([None, 0.1, 0.5, 0.9]),
    n_threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=30)
def test_scans_do_not_depend_on_the_order(level, cut, problem, k, radius, share, n_threads, seed):
    queries, codes, _ = problem
    stored, allowed = laid_out(codes, seed), chosen(len(codes), share, seed)
    radius = min(radius, 8 * codes.shape[1])
    sizes = SMALL_CALLS[cut] if cut else scan.CallSizes()
    rows = np.arange(len(codes)) if allowed is None else allowed.rows
    # Weights that tie.
    weights = np.random.default_rng(seed).integers(-2, 3, (len(queries), 8 * codes.shape[1]))
    weights = weights.astype(np.int16)
    with simd(level):
        near = scan.scan_topk(queries, stored, k, n_threads, allowed, sizes)
        within = scan.scan_within(queries, stored, radius, n_threads, allowed, sizes)
        first = scan.scan_within(queries, stored, radius, n_threads, allowed, sizes, most=20)
        weighted = scan.scan_weighted(weights, stored, k, n_threads, allowed, sizes)
        expected = scan.scan_weighted(weights, codes, k, n_threads, allowed, sizes)
        expected_first = scan.scan_within(
            queries, codes, radius, n_threads, allowed, sizes, most=20
        )
    distances, ids = reference.topk(queries, codes[rows], k)
    assert_same(near, (distances, np.append(rows, -1)[ids]))
    limits, distances, ids = reference.within(queries, codes[rows], radius)
    assert_same(within, (limits, distances, rows[ids]))
    assert_same(first, expected_first)
    assert_same(weighted, expected)


def many_codes(kind, n, n_bits):
    """(codes, queries), spread evenly or with so many ties that hundreds are as far as the k-th."""
    codes, queries = random_codes(n, n_bits, 1), random_codes(40, n_bits, 2)
    if kind == "ties":
        codes = codes[np.random.default_rng(3).integers(0, 20, n)]
    return codes, queries


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("kind", ["even", "ties"])
@pytest.mark.parametrize("n_bits", [8, 64, 200, 256])
def test_many_codes_in_any_order(kind, n_bits, n_threads):
    """So many that samples bound the search, bit planes and estimates are scanned, and parts."""
    n = 140_000
    codes, queries = many_codes(kind, n, n_bits)
    stored = laid_out(codes)
    far = all_distances(queries, codes)
    nearest = np.argsort(far, axis=1, kind="stable")
    weights = np.random.default_rng(n_bits).integers(-9, 10, (40, n_bits)).astype(np.int16)
    for n_queries in (1, 2, 40):
        some = queries[:n_queries]
        for k in (1, 10, 300, 9000, n // 4):
            distances, rows = scan.scan_topk(some, stored, k, n_threads)
            np.testing.assert_array_equal(rows, nearest[:n_queries, :k])
            np.testing.assert_array_equal(
                distances, np.take_along_axis(far[:n_queries], rows, axis=1)
            )
        for k in (1, 10, 300, 9000):
            assert_same(
                scan.scan_weighted(weights[:n_queries], stored, k, n_threads),
                scan.scan_weighted(weights[:n_queries], codes, k, n_threads),
            )
        radius = int(np.partition(far[:n_queries].ravel(), 3000)[3000])
        assert_same(
            scan.scan_within(some, stored, radius, n_threads),
            scan.scan_within(some, codes, radius, n_threads),
        )
        allowed = chosen(n, 0.7, 1)
        assert_same(
            scan.scan_topk(some, stored, 100, n_threads, allowed),
            scan.scan_topk(some, codes, 100, n_threads, allowed),
        )


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n_bits", [8, 64])
def test_nearer_codes_with_larger_rows(n_bits, n_threads):
    """Codes lie from the farthest to the nearest, and from the last row to the first."""
    codes = random_codes(70_000, n_bits, 1)
    query = codes[:1]
    far = all_distances(query, codes)[0]
    stored = StoredCodes(codes)
    stored.lay_out(np.lexsort((-np.arange(len(codes)), -far)).astype(np.uint32))
    for k in (1, 10, 1000, 8000):
        assert_same(
            scan.scan_topk(query, stored, k, n_threads), scan.scan_topk(query, codes, k, n_threads)
        )


@pytest.mark.parametrize("level", kernels.supported_levels())
@pytest.mark.parametrize("n_bits", [bits for bits in WIDTHS if bits > 7])
def test_tables_do_not_depend_on_the_order(level, n_bits, monkeypatch):
    # So that no query is scanned.
    monkeypatch.setattr(tables_module, "default_budget", lambda n: 10**9)
    codes = random_codes(50, n_bits, 1)[np.random.default_rng(1).integers(0, 50, 3000)]
    queries = np.concatenate([codes[:5], random_codes(5, n_bits, 2)])
    n_tables = best_n_tables(n_bits, len(codes))
    stored = StoredCodes(codes)
    with simd(level):
        tables = CodeTables(stored, n_bits, n_tables, 1)
        expected = tables.memory.copy()
        stored.lay_out(np.random.default_rng(0).permutation(3000).astype(np.uint32))
        tables.follow()
        built = CodeTables(stored, n_bits, n_tables, 2)
        for some in (tables, built):
            np.testing.assert_array_equal(some.memory, expected)
            assert some.agree_with_codes(1)
            for allowed in (None, chosen(3000, 0.5, 1), chosen(3000, 0.01, 1)):
                for k in (1, 70, 2900):
                    found = some.topk(queries, k, 10**9, 2, allowed)
                    assert_same(found, scan.scan_topk(queries, codes, k, 2, allowed))
                found = some.within(queries, n_bits // 4, 10**9, 2, allowed)
                assert_same(found, scan.scan_within(queries, codes, n_bits // 4, 2, allowed))


def test_tables_do_not_keep_the_codes_as_they_lay(n_bits=128):
    codes = random_codes(100, n_bits)
    stored = StoredCodes(codes)
    tables = CodeTables(stored, n_bits, 8, 1)
    assert isinstance(tables._tables, Tables)
    before = tables._tables
    stored.lay_out(np.arange(100, dtype=np.uint32)[::-1].copy())
    tables.follow()
    assert tables._tables is not before and tables.memory is before.memory


@given(problem=search_problems(max_codes=60), seed=st.integers(0, 99))
def test_codes_by_row(problem, seed):
    _, codes, _ = problem
    stored = laid_out(codes, seed)
    # Laid out twice.
    stored.lay_out(np.random.default_rng(seed + 1).permutation(len(codes)).astype(np.uint32))
    rows = np.random.default_rng(seed).integers(0, max(1, len(codes)), min(20, len(codes)))
    np.testing.assert_array_equal(stored.at(rows), codes[rows])
    np.testing.assert_array_equal(stored.block(slice(3, 40)), codes[3:40])
    assert stored.shape == codes.shape and len(stored) == len(codes)
    assert stored.nbytes == codes.nbytes + 8 * len(codes)
    assert not stored.layout.codes.flags.writeable
