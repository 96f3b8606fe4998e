"""Searches with weights against the reference, at every instruction-set level and thread count."""

import ctypes
import math
import mmap
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash._core import scan
from fasthash._core.pieces import smaller_pieces
from fasthash._kernels import tiles as kernels
from reference import asymmetric as reference
from strategies import random_codes, simd

levels = pytest.mark.parametrize("level", fh.simd_levels())

SCALES = [1.0, 1e-3, 1e12, 1e-308, 5e-324, 1e300]


@st.composite
def weighted_problems(draw, max_queries=3, max_codes=80):
    """(weights, database) with ties: equal weights, zeros, repeated codes; any magnitude."""
    n_bits = draw(st.integers(1, 300))
    n_queries = draw(st.integers(0, max_queries))
    n = draw(st.integers(0, max_codes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["normal", "signs", "few", "whole", "steep", "zero"]))
    weights = {
        "normal": lambda size: rng.normal(size=size),
        "signs": lambda size: rng.choice([-1.0, 1.0], size=size),
        "few": lambda size: rng.choice([-1.0, 0.0, 0.0, 0.5, 1.0], size=size),
        "whole": lambda size: rng.integers(-70, 70, size=size) // rng.integers(1, 3) * 1.0,
        "steep": lambda size: rng.normal(size=size) * 10.0 ** rng.integers(-12, 1, size=size),
        "zero": lambda size: np.zeros(size),
    }[kind]((n_queries, n_bits))
    centres = rng.random((3, n_bits)) < 0.5
    bits = centres[rng.integers(0, 3, n)]
    codes = np.packbits(bits ^ (rng.random(bits.shape) < rng.choice([0.0, 0.1])), axis=1)
    return weights * draw(st.sampled_from(SCALES)), codes


def assert_same(found, expected):
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[0], expected[0])
    assert (found[0].dtype, found[1].dtype) == (np.float64, np.int64)


@levels
@given(problem=weighted_problems(), k=st.integers(1, 90), n_threads=st.integers(1, 3))
def test_topk_weighted(level, problem, k, n_threads):
    weights, database = problem
    with simd(level):
        found = fh.topk_weighted(weights, database, k, n_threads=n_threads)
    assert_same(found, reference.topk_weighted(weights.tolist(), database, k))


@levels
@given(
    problem=weighted_problems(),
    k=st.integers(1, 90),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["booleans", "packed", "rows"]),
)
def test_a_filter_is_a_search_of_the_allowed_rows(level, problem, k, seed, kind):
    weights, database = problem
    rng = np.random.default_rng(seed)
    allowed = rng.random(len(database)) < (0.0, 0.05, 0.5, 1.0)[seed % 4]
    rows = np.flatnonzero(allowed)
    given = {
        "booleans": allowed,
        "packed": np.packbits(allowed),
        "rows": rng.permutation(np.concatenate([rows, rows])),
    }[kind]
    with simd(level):
        scores, ids = fh.topk_weighted(weights, database, k, filter=given)
    expected_scores, expected = reference.topk_weighted(weights.tolist(), database[allowed], k)
    np.testing.assert_array_equal(ids, np.append(rows, -1)[expected])
    np.testing.assert_array_equal(scores, expected_scores)


@given(problem=weighted_problems())
def test_the_error_is_bounded_as_documented(problem):
    weights, database = problem
    n_bits = weights.shape[1]
    for query, scores, ids in zip(
        weights.tolist(), *fh.topk_weighted(weights, database, 20), strict=True
    ):
        largest, step = reference.step_of(query)
        # Whole numbers are not rounded.
        bound = 0 if step == 1 else n_bits / 2 * step * largest
        assert bound <= n_bits * largest / 62 or largest < 1e-300
        for score, row in zip(scores[ids >= 0], ids[ids >= 0], strict=True):
            exact = reference.score(query, database[row])
            # Of the smallest floats, not even a step can be said.
            assert abs(score - exact) <= bound * (1 + 1e-9) + n_bits * 5e-324


@given(problem=weighted_problems())
def test_rounded_weights_of_a_byte_fit_into_it(problem):
    for query in problem[0].tolist():
        whole = np.abs(reference.rounded(query + [0.0] * (-len(query) % 8))).reshape(-1, 8)
        assert whole.sum(axis=1).max() <= 255


def test_weights_that_are_rounded_up_fit_into_a_byte():
    """Eight weights of x.5 steps each: 255 in total, the most there can be."""
    query = [123.5 + 0.5, 0.5, 0.5, 0.5, 125.5, 0.5, 0.25, 0.25]
    codes = np.arange(256, dtype=np.uint8)[:, None]
    for sign in (1, -1):
        weights = [[sign * w for w in query]]
        for level in fh.simd_levels():
            with simd(level):
                found = fh.topk_weighted(weights, codes, 256)
            assert_same(found, reference.topk_weighted(weights, codes, 256))


@levels
@pytest.mark.parametrize("n_bits", [2040, 2048, 2056, 4100, 8200])
def test_wide_codes(level, n_bits):
    """Past 256 bytes, sums do not fit in 16 bits; all bits may differ."""
    rng = np.random.default_rng(n_bits)
    weights = np.where(rng.random((2, n_bits)) < 0.5, 1.0, -1.0)
    weights[1] *= rng.random(n_bits)
    database = random_codes(70, n_bits)
    database[3] = np.packbits(weights[0] < 0)
    database[5] = np.packbits(weights[0] > 0)
    with simd(level):
        found = fh.topk_weighted(weights, database, 70)
    assert_same(found, reference.topk_weighted(weights.tolist(), database, 70))
    assert found[1][0, 0] == 5 and found[1][0, -1] == 3


def by_numpy(weights, database, k):
    """The same search by products of integers."""
    n_bits = weights.shape[1]
    bits = 2.0 * np.unpackbits(database, axis=1, count=n_bits) - 1
    scores, ids = [], []
    for query in weights.tolist():
        largest, step = reference.step_of(query)
        whole = bits @ np.array(reference.rounded(query), float)
        order = np.argsort(-whole, kind="stable")[:k]
        scores.append(whole[order] * step * largest)
        ids.append(order)
    return np.array(scores), np.array(ids)


@levels
@pytest.mark.parametrize("n_bits", [16, 64, 100, 256])
def test_many_blocks_tiles_and_compactions(level, n_bits):
    database = random_codes(9000, n_bits)
    weights = np.random.default_rng(1).normal(size=(5, n_bits))
    _, order = by_numpy(weights[:1], database, 9000)
    for codes in (database, database[order[0, ::-1]], np.repeat(database[:1], 9000, axis=0)):
        for k in (1, 10, 1500, 9000):
            with simd(level):
                found = fh.topk_weighted(weights, codes, k)
            assert_same(found, by_numpy(weights, codes, k))


@pytest.mark.parametrize("n_bits", [1, 9, 63, 64, 100, 128, 129, 192, 193, 256, 1000, 1100])
def test_estimates_lose_nothing(n_bits):
    """Batches estimate distances first; near codes may have large weights that differ."""
    rng = np.random.default_rng(n_bits)
    weights = rng.normal(size=(7, n_bits))
    weights[1] = rng.choice([-1.0, 1.0], n_bits)
    weights[2] *= 10.0 ** rng.integers(-4, 1, n_bits)
    weights[3] = 0
    weights[4, 1:] *= 1e-3
    weights[5] = np.sort(weights[5])
    near = np.packbits((weights[:, None] > 0) ^ (rng.random((7, 40, n_bits)) < 0.1), axis=-1)
    database = np.concatenate([random_codes(2000, n_bits), *near])
    for codes in (database, database[::-1], np.repeat(near[0][:3], 700, axis=0)):
        allowed = rng.random(len(codes)) < 0.7
        rows = np.flatnonzero(allowed)
        scores, ids = by_numpy(weights, codes, 200)
        some_scores, some_ids = by_numpy(weights, codes[rows], 200)
        for level in fh.simd_levels():
            with simd(level):
                for k in (1, 10, 200):
                    found = fh.topk_weighted(weights, codes, k, n_threads=2)
                    assert_same(found, (scores[:, :k], ids[:, :k]))
                found = fh.topk_weighted(weights, codes, 10, filter=allowed)
            assert_same(found, (some_scores[:, :10], rows[some_ids[:, :10]]))


@levels
@pytest.mark.parametrize("n_bits", [64, 200])
def test_a_sampled_bound_that_is_too_small(level, n_bits):
    """A sample gives the first bound; the near codes of query 0 are all among the sampled."""
    database = random_codes(70_000, n_bits)
    weights = np.random.default_rng(1).normal(size=(9, n_bits))
    # As sampling.pyx chooses them.
    width = 70_000 // 1093
    i = np.arange(1093)
    with np.errstate(over="ignore"):
        hashed = i.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)
    sampled = i * width + (hashed % np.uint64(width)).astype(np.int64)
    database[sampled[:40]] = np.packbits(weights[0] > 0)
    allowed = np.random.default_rng(2).random(len(database)) < 0.9
    for k in (50, 2000):
        with simd(level):
            found = fh.topk_weighted(weights, database, k)
            some = fh.topk_weighted(weights, database, k, filter=allowed)
        assert_same(found, by_numpy(weights, database, k))
        rows = np.flatnonzero(allowed)
        np.testing.assert_array_equal(some[1], rows[by_numpy(weights, database[rows], k)[1]])


@levels
@pytest.mark.parametrize("n_queries", [1, 2, 300])
def test_parts_threads_and_steps_change_nothing(level, n_queries):
    """Few queries cut the database into parts; a long search is cut into steps."""
    database = random_codes(300_000 if n_queries < 3 else 5000, 120)
    database[-2000:] = database[:2000]
    weights = np.random.default_rng(0).normal(size=(n_queries, 120)).astype(np.float32)
    allowed = np.random.default_rng(1).random(len(database)) < 0.5
    before = kernels.use_least_work(64)
    try:
        with simd(level):
            for k in (1, 10, 3000):
                for filter in (None, allowed, np.flatnonzero(allowed)[:4000]):
                    expected = fh.topk_weighted(weights, database, k, filter=filter, n_threads=1)
                    for n_threads in (2, 5):
                        options = {"filter": filter, "n_threads": n_threads}
                        assert_same(fh.topk_weighted(weights, database, k, **options), expected)
    finally:
        kernels.use_least_work(before)
    if n_queries < 3:
        assert_same(fh.topk_weighted(weights, database, 3000), by_numpy(weights, database, 3000))


@given(problem=weighted_problems(max_queries=6), k=st.integers(1, 90), most=st.integers(1, 2000))
def test_calls_and_blocks_of_any_size(problem, k, most):
    weights, database = problem
    expected = fh.topk_weighted(weights, database, k)
    sizes = scan.CallSizes(
        first_words=64, one_call_words=0, sharing_queries=2, shared_words=most % 3
    )
    rounded = np.array(
        [reference.rounded(query) + [0] * (-len(query) % 8) for query in weights.tolist()],
        np.int16,
    ).reshape(len(weights), 8 * database.shape[1])
    with smaller_pieces(most):
        _, ids = scan.scan_weighted(rounded, database, k, 2, sizes=sizes)
        found = fh.topk_weighted(weights, database, k)
    np.testing.assert_array_equal(ids, expected[1])
    assert_same(found, expected)


def test_with_equal_weights_it_is_the_hamming_search():
    database, queries = random_codes(3000, 64), random_codes(4, 64, seed=1)
    weights = np.where(fh.unpack(queries, 64), 3.0, -3.0)
    distances, expected = fh.topk(queries, database, 100)
    scores, ids = fh.topk_weighted(weights, database, 100)
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(scores, 3 * (64 - 2 * distances))


@levels
@given(seed=st.integers(0, 2**32 - 1), n_bits=st.integers(1, 200))
def test_whole_numbers_are_not_rounded(level, seed, n_bits):
    rng = np.random.default_rng(seed)
    weights = rng.integers(-31, 32, (3, n_bits))
    database = random_codes(60, n_bits)
    with simd(level):
        scores, ids = fh.topk_weighted(weights, database, 60)
    exact = weights @ (2 * fh.unpack(database, n_bits).astype(np.int64) - 1).T
    np.testing.assert_array_equal(scores, np.take_along_axis(exact, ids, 1))


def test_padding_bits_have_no_weight():
    database = np.array([[0b10100000], [0b10111111], [0b01011111]], np.uint8)
    scores, ids = fh.topk_weighted([[1.0, -1.0, 1.0]], database, 3)
    assert ids.tolist() == [[0, 1, 2]] and scores[0, 0] == scores[0, 1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.int64, np.uint16])
def test_weights_of_any_real_type_and_order(dtype):
    values = np.arange(120).reshape(3, 40).astype(dtype)
    database = random_codes(30, 40)
    expected = fh.topk_weighted(values.astype(float), database, 5)
    assert_same(fh.topk_weighted(values, database, 5), expected)
    assert_same(fh.topk_weighted(np.asfortranarray(values), database, 5), expected)
    assert_same(fh.topk_weighted(values.tolist(), database, 5), expected)


def test_arguments_are_not_changed_and_may_be_read_only():
    weights, database = np.random.default_rng(0).normal(size=(2, 24)), random_codes(50, 24)
    before = weights.copy()
    weights.setflags(write=False)
    database.setflags(write=False)
    fh.topk_weighted(weights, database, 3)
    np.testing.assert_array_equal(weights, before)


@pytest.mark.skipif(sys.platform != "linux", reason="guards a page with Linux's mprotect")
@levels
@pytest.mark.parametrize("n_bytes", [1, 2, 3, 7, 8, 9, 31, 64, 65])
def test_no_byte_behind_the_last_code_is_read(level, n_bytes):
    page, n_pages = mmap.PAGESIZE, 4
    memory = mmap.mmap(-1, (n_pages + 1) * page)
    data = np.frombuffer(memory, np.uint8)
    end = n_pages * page
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    guard = ctypes.c_void_p(data.ctypes.data + end)
    assert protect(guard, ctypes.c_size_t(page), 0) == 0
    try:
        for n in (1, 15, 17, 33, end // n_bytes):
            codes = data[end - n * n_bytes : end].reshape(n, n_bytes)
            with simd(level):
                _, ids = fh.topk_weighted(np.ones((1, 8 * n_bytes)), codes, 1)
            assert ids.tolist() == [[0]]
    finally:
        protect(guard, ctypes.c_size_t(page), mmap.PROT_READ | mmap.PROT_WRITE)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([[0.0, math.nan]], ValueError, r"weights\[0, 1\] is nan: weights must be finite"),
        ([[0.0, 1.0], [-math.inf, 1.0]], ValueError, r"weights\[1, 0\] is -inf"),
        ([[1e308, 1.0]], ValueError, r"values up to 1e\+308: the sum of 2 .* scale them first"),
        ([1.0, 2.0], ValueError, r"one query per row, got shape \(2,\) .*weights\[None, :\]"),
        (np.ones((2, 0)), ValueError, "weights has no columns"),
        ([[True, False]], TypeError, "weights must hold real numbers, got dtype bool"),
        ([["a", "b"]], TypeError, "weights must hold real numbers"),
        ([[1j, 2.0]], TypeError, "weights must hold real numbers, got dtype complex128"),
        (None, TypeError, "weights is None"),
        (np.ones((1, 9)), ValueError, "9 columns, one per bit, which needs codes of 2 bytes, but"),
    ],
)
def test_weights_that_are_refused(weights, error, message):
    with pytest.raises(error, match=message):
        fh.topk_weighted(weights, random_codes(3, 8), 1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, ValueError, "k must be at least 1, got 0"),
        ({"k": 1, "n_threads": 0}, ValueError, "n_threads=0"),
        ({"k": 1, "filter": [3]}, ValueError, "filter holds row 3"),
    ],
)
def test_other_arguments_that_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        fh.topk_weighted(np.ones((1, 8)), random_codes(3, 8), **options)
    with pytest.raises(TypeError, match="uint8"):
        fh.topk_weighted(np.ones((1, 8)), np.ones((3, 1)), 1)
