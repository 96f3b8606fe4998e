"""The search kernels against the reference, at every instruction-set level and thread count."""

import ctypes
import mmap
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from reference import hamming as reference
from strategies import WIDTHS, all_distances, random_codes, search_problems, simd

levels = pytest.mark.parametrize("level", fh.simd_levels())


@levels
@given(problem=search_problems(), n_threads=st.integers(1, 3))
def test_distances(level, problem, n_threads):
    queries, database, _ = problem
    with simd(level):
        out = fh.distances(queries, database, n_threads=n_threads)
    np.testing.assert_array_equal(out, reference.distances(queries, database))
    assert out.dtype == np.int32


@levels
@given(problem=search_problems(), k=st.integers(1, 45), n_threads=st.integers(1, 3))
def test_topk(level, problem, k, n_threads):
    queries, database, _ = problem
    with simd(level):
        found_distances, ids = fh.topk(queries, database, k, n_threads=n_threads)
    expected_distances, expected_ids = reference.topk(queries, database, k)
    np.testing.assert_array_equal(found_distances, expected_distances)
    np.testing.assert_array_equal(ids, expected_ids)
    assert (found_distances.dtype, ids.dtype) == (np.int32, np.int64)


@levels
@given(problem=search_problems(), radius=st.integers(0, 1100), n_threads=st.integers(1, 3))
def test_within(level, problem, radius, n_threads):
    queries, database, n_bits = problem
    radius %= n_bits + 2
    with simd(level):
        found = fh.within(queries, database, radius, n_threads=n_threads)
    for ours, expected in zip(found, reference.within(queries, database, radius), strict=True):
        np.testing.assert_array_equal(ours, expected)
        assert ours.dtype == expected.dtype


@levels
@given(problem=search_problems(), n_threads=st.integers(1, 3))
def test_rank(level, problem, n_threads):
    queries, database, _ = problem
    with simd(level):
        out = fh.rank(queries, database, n_threads=n_threads)
    np.testing.assert_array_equal(out, reference.rank(queries, database))


def stable_order(queries, database):
    """Distances and the full ranking, by numpy."""
    d = all_distances(queries, database)
    return d, np.argsort(d, axis=1, kind="stable")


@levels
@pytest.mark.parametrize("n_bits", [16, 64, 100, 128])
def test_many_blocks_and_compactions(level, n_bits):
    """Databases that improve as they go on make the selection compact its candidates often."""
    database = random_codes(5000, n_bits)
    queries = random_codes(3, n_bits, seed=1)
    by_first, _ = stable_order(queries[:1], database)
    worst_first = np.ascontiguousarray(database[np.argsort(-by_first[0], kind="stable")])
    for codes in (database, worst_first, np.repeat(database[:1], 5000, axis=0)):
        d, order = stable_order(queries, codes)
        with simd(level):
            np.testing.assert_array_equal(fh.rank(queries, codes), order)
            for k in (1, 10, 700, 1500, 4999, 5000):
                found_distances, ids = fh.topk(queries, codes, k)
                np.testing.assert_array_equal(ids, order[:, :k])
                np.testing.assert_array_equal(
                    found_distances, np.take_along_axis(d, order[:, :k], axis=1)
                )
            limits, _, ids = fh.within(queries, codes, n_bits // 2)
            for q in range(len(queries)):
                inside = order[q][: np.sum(d[q] <= n_bits // 2)]
                np.testing.assert_array_equal(ids[limits[q] : limits[q + 1]], inside)


@pytest.mark.parametrize("n_bits", WIDTHS)
def test_extreme_distances(n_bits):
    ones = fh.pack(np.ones((1, n_bits), bool))
    zeros = np.zeros_like(ones)
    assert fh.distances(ones, zeros).item() == n_bits
    assert fh.distances(ones, ones).item() == 0


def test_results_do_not_depend_on_threads_or_level():
    queries, database = random_codes(70, 96, seed=2), random_codes(4000, 96)
    expected = fh.topk(queries, database, 50, n_threads=1)
    for level in fh.simd_levels():
        for n_threads in (1, 2, 5, None, -1):
            with simd(level):
                found = fh.topk(queries, database, 50, n_threads=n_threads)
            for ours, theirs in zip(found, expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_memory_mapped_and_read_only_codes(tmp_path):
    database = random_codes(200, 64)
    np.save(tmp_path / "codes.npy", database)
    mapped = np.load(tmp_path / "codes.npy", mmap_mode="r")
    for ours, expected in zip(
        fh.topk(mapped[:3], mapped, 5), fh.topk(database[:3], database, 5), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.skipif(sys.platform != "linux", reason="guards a page with Linux's mprotect")
@levels
@pytest.mark.parametrize("n_bytes", [1, 2, 3, 5, 8, 9, 16, 64, 65, 125])
def test_no_byte_behind_the_last_code_is_read(level, n_bytes):
    """The codes end where an unreadable page begins: one byte too far is a segmentation fault."""
    page, n_pages = mmap.PAGESIZE, 4
    memory = mmap.mmap(-1, (n_pages + 1) * page)
    data = np.frombuffer(memory, np.uint8)
    end = n_pages * page
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    guard = ctypes.c_void_p(data.ctypes.data + end)
    assert protect(guard, ctypes.c_size_t(page), 0) == 0
    try:
        for n in (1, 7, 16, end // n_bytes):
            codes = data[end - n * n_bytes : end].reshape(n, n_bytes)
            with simd(level):
                assert fh.topk(codes[-1:], codes, 1)[0].item() == 0
                assert fh.distances(codes[-1:], codes)[0, -1] == 0
    finally:
        protect(guard, ctypes.c_size_t(page), mmap.PROT_READ | mmap.PROT_WRITE)


@pytest.mark.parametrize("search", [fh.distances, fh.rank, lambda a, b: fh.topk(a, b, 1)])
def test_what_searches_refuse(search):
    codes = random_codes(3, 16)
    with pytest.raises(ValueError, match=r"codes of 2 bytes, .* of 3"):
        search(codes, random_codes(3, 24))
    with pytest.raises(TypeError, match="uint8"):
        search(codes.astype(np.int32), codes)
    with pytest.raises(ValueError, match="two dimensions"):
        search(codes[0], codes)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda c: fh.topk(c, c, 0), ValueError, "k must be at least 1, got 0"),
        (lambda c: fh.topk(c, c, 1.5), TypeError, "k must be an integer, got 1.5"),
        (lambda c: fh.within(c, c, -1), ValueError, "radius must be at least 0, got -1"),
        (lambda c: fh.topk(c, c, 1, n_threads=0), ValueError, "n_threads=0"),
        (lambda c: fh.topk(c, c, 1, n_threads=1.5), TypeError, "n_threads must be an integer"),
    ],
)
def test_numbers_out_of_range(call, error, message):
    with pytest.raises(error, match=message):
        call(random_codes(3, 16))


@levels
@given(
    problem=search_problems(),
    k=st.integers(1, 45),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["booleans", "packed", "rows", "list"]),
    n_threads=st.integers(1, 3),
)
def test_a_filter_is_a_search_of_the_allowed_rows(level, problem, k, seed, kind, n_threads):
    queries, database, n_bits = problem
    rng = np.random.default_rng(seed)
    allowed = rng.random(len(database)) < (0.0, 0.02, 0.5, 1.0)[seed % 4]
    rows = np.flatnonzero(allowed)
    given = {
        "booleans": allowed,
        "packed": np.packbits(allowed),
        "rows": rng.permutation(np.concatenate([rows, rows])).astype(np.uint16),
        "list": rows[::-1].tolist(),
    }[kind]
    options = {"filter": given, "n_threads": n_threads}
    with simd(level):
        found_distances, ids = fh.topk(queries, database, k, **options)
        limits, inside_distances, inside_ids = fh.within(queries, database, n_bits // 2, **options)
        ranked = fh.rank(queries, database, **options)
    expected_distances, expected = reference.topk(queries, database[allowed], k)
    expected_ids = np.full_like(expected, -1)
    expected_ids[expected >= 0] = rows[expected[expected >= 0]]
    np.testing.assert_array_equal(found_distances, expected_distances)
    np.testing.assert_array_equal(ids, expected_ids)
    expected = reference.within(queries, database[allowed], n_bits // 2)
    np.testing.assert_array_equal(limits, expected[0])
    np.testing.assert_array_equal(inside_distances, expected[1])
    np.testing.assert_array_equal(inside_ids, rows[expected[2]])
    np.testing.assert_array_equal(ranked, rows[reference.rank(queries, database[allowed])])


@pytest.mark.parametrize(
    ("filter", "error", "message"),
    [
        (np.ones(9, bool), ValueError, r"one boolean per row, shape \(10,\), got \(9,\)"),
        (np.full(2, 255, np.uint8), ValueError, "bits set after the last of the 10 rows"),
        (np.zeros(3, np.uint8), ValueError, r"uint8, so .* shape \(2,\), got \(3,\).*astype"),
        ([3, 10], ValueError, "filter holds row 10, but the database has 10 rows"),
        ([3, -1], ValueError, "filter holds row -1"),
        (np.array([2**63], np.uint64), ValueError, "filter holds row 9223372036854775808"),
        ([0.5], TypeError, "row numbers in one dimension, got float64"),
        ([[1], [2]], TypeError, r"got int64 of shape \(2, 1\)"),
        ({1, 2}, TypeError, "filter must be an array, got set"),
        (np.ma.array([1, 2], mask=[0, 1]), ValueError, "filter has masked values"),
    ],
)
@pytest.mark.parametrize("search", [fh.topk, fh.within, lambda q, x, k, **f: fh.rank(q, x, **f)])
def test_filters_that_do_not_fit(search, filter, error, message):
    codes = random_codes(10, 16)
    with pytest.raises(error, match=message):
        search(codes, codes, 1, filter=filter)


def test_a_filter_is_not_changed_and_may_be_read_only():
    codes, rows = random_codes(300, 16), np.array([7, 2, 7, 290])
    rows.setflags(write=False)
    _, found = fh.topk(codes[:1], codes, 300, filter=rows)
    assert sorted(found[found >= 0].tolist()) == [2, 7, 290]
    assert rows.tolist() == [7, 2, 7, 290]


@levels
@pytest.mark.parametrize("n_bits", [64, 200])
def test_few_queries_over_parts_of_a_large_database(level, n_bits):
    """Few queries cut the database into parts per thread; the answer must not show it."""
    database = random_codes(100_000, n_bits)
    database[60_000:] = database[:40_000]
    queries = random_codes(2, n_bits, seed=1)
    with simd(level):
        for k in (1, 10, 5000, 40_000, 100_000):
            expected = fh.topk(queries, database, k, n_threads=1)
            for n_threads in (2, 3, 8):
                found = fh.topk(queries, database, k, n_threads=n_threads)
                for ours, theirs in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(ours, theirs)
        order = fh.rank(queries, database)
        np.testing.assert_array_equal(expected[1], order)
        expected = fh.within(queries, database, n_bits // 2 - 8, n_threads=1)
        for n_threads in (2, 3, 8):
            found = fh.within(queries, database, n_bits // 2 - 8, n_threads=n_threads)
            for ours, theirs in zip(found, expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("n_bits", [8, 64, 72, 128, 256, 512, 1000, 1024])
def test_answers_are_those_of_faiss(n_bits):
    faiss = pytest.importorskip("faiss", reason="faiss-cpu is not installed: nothing to compare")
    database, queries = random_codes(20_000, n_bits), random_codes(40, n_bits, seed=1)
    index = faiss.IndexBinaryFlat(n_bits)
    index.add(database)
    for k in (1, 10, 1000):
        expected_distances, expected_ids = index.search(queries, k)
        for level in fh.simd_levels():
            with simd(level):
                found_distances, ids = fh.topk(queries, database, k)
            np.testing.assert_array_equal(found_distances, expected_distances)
            np.testing.assert_array_equal(ids, expected_ids)


@pytest.mark.slow
def test_codes_beyond_two_gigabytes(tmp_path):
    """Offsets past 2^31 bytes, in a sparse file of zeros with a few codes at its end."""
    n = 2**31 // 8 + 5000
    database = np.memmap(tmp_path / "codes.bin", np.uint8, "w+", shape=(n, 8))
    queries = random_codes(2, 64)
    database[n - 7], database[n - 3] = queries
    for n_threads in (1, 2):
        found_distances, ids = fh.topk(queries, database, 2, n_threads=n_threads)
        np.testing.assert_array_equal(ids[:, 0], [n - 7, n - 3])
        np.testing.assert_array_equal(found_distances[:, 0], [0, 0])
        limits, _, ids = fh.within(queries, database, 0, n_threads=n_threads)
        np.testing.assert_array_equal(limits, [0, 1, 2])
        np.testing.assert_array_equal(ids, [n - 7, n - 3])


@pytest.mark.parametrize("n_queries", [1, 20])
@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
def test_filters_over_a_large_database(n_queries, share):
    """Few and many queries, few and many allowed rows take different ways to the same answer."""
    database, queries = random_codes(50_000, 72), random_codes(n_queries, 72, seed=1)
    allowed = np.random.default_rng(0).random(50_000) < share
    rows = np.flatnonzero(allowed)
    for k in (1, 100, 40_000):
        found_distances, ids = fh.topk(queries, database, k, filter=allowed)
        expected_distances, expected = fh.topk(queries, database[allowed], k)
        np.testing.assert_array_equal(found_distances, expected_distances)
        np.testing.assert_array_equal(ids, np.append(rows, -1)[expected])
    limits, _, ids = fh.within(queries, database, 30, filter=allowed)
    expected_limits, _, expected = fh.within(queries, database[allowed], 30)
    np.testing.assert_array_equal(limits, expected_limits)
    np.testing.assert_array_equal(ids, rows[expected])


@pytest.mark.parametrize("level", fh.simd_levels())
@pytest.mark.parametrize("n_queries", [8, 20, 40, 64])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_sample_has_room_beside_few_queries(level, n_queries, n_threads):
    """The rows of a sample are gathered: more scratch than the tiles of so few queries take."""
    database = random_codes(100_000, 16)
    queries = random_codes(n_queries, 16, 1)
    with simd(level):
        for _ in range(3):
            _, ids = fh.topk(queries, database, 100, n_threads=n_threads)
    _, expected = stable_order(queries[:3], database)
    np.testing.assert_array_equal(ids[:3], expected[:, :100])
