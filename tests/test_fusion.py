"""Search by several codes of each item against the reference, at every level and thread count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash.fusion import join_codes, join_weights, topk_fused
from reference import asymmetric
from reference import fusion as reference
from strategies import random_codes, simd

levels = pytest.mark.parametrize("level", fh.simd_levels())
WIDTHS = st.sampled_from([1, 7, 8, 9, 63, 64, 65, 128, 129])


@st.composite
def problems(draw):
    """(n_bits by name, codes of queries, codes of items, factors, allowed items), with ties."""
    names = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True))
    n_bits = {name: draw(WIDTHS) for name in names}
    n_queries, n = draw(st.integers(0, 3)), draw(st.integers(0, 50))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def codes(rows, bits):
        # Few different codes, so that distances are equal.
        return fh.pack(rng.choice([-1.0, 1.0], (4, bits)))[rng.integers(0, 4, rows)]

    queries = {name: codes(n_queries, bits) for name, bits in n_bits.items()}
    database = {name: codes(n, bits) for name, bits in n_bits.items()}
    factors = {name: draw(st.integers(1, 31)) for name in names if draw(st.booleans())}
    return n_bits, queries, database, factors, rng.random(n) < draw(st.sampled_from([0, 0.5, 1]))


@levels
@given(problem=problems(), k=st.integers(1, 60), n_threads=st.integers(1, 3))
def test_sums_of_distances(level, problem, k, n_threads):
    _, queries, database, factors, allowed = problem
    database = {**database, "not asked for": np.zeros((3, 1), np.uint8)}
    with simd(level):
        distances, ids = topk_fused(
            queries, database, k, factors=factors, filter=allowed, n_threads=n_threads
        )
    expected = reference.topk_fused(queries, database, k, factors, allowed)
    np.testing.assert_array_equal(ids, expected[1])
    np.testing.assert_array_equal(distances, expected[0])
    assert (distances.dtype, ids.dtype) == (np.int32, np.int64)


@given(problem=problems())
def test_it_is_the_sum_of_the_matrices_of_distances(problem):
    _, queries, database, factors, _ = problem
    total = sum(
        factors.get(name, 1) * fh.distances(codes, database[name])
        for name, codes in queries.items()
    )
    order = np.argsort(total, axis=1, kind="stable")
    distances, ids = topk_fused(queries, database, max(1, total.shape[1]), factors=factors)
    if total.shape[1]:
        np.testing.assert_array_equal(ids, order)
        np.testing.assert_array_equal(distances, np.take_along_axis(total, order, axis=1))


@given(problem=problems(), k=st.integers(1, 60))
def test_an_index_of_joined_codes_finds_the_same(problem, k):
    """Weights of 1 and -1 are whole numbers, which are never rounded."""
    n_bits, queries, database, factors, allowed = problem
    joined = join_codes(database)
    signs = {name: 2.0 * fh.unpack(queries[name], n_bits[name]) - 1 for name in queries}
    index = fh.HammingIndex(8 * joined.shape[1])
    index.add(joined)
    weights = join_weights(signs, factors=factors)
    scores, ids = index.search(weights=weights, k=k, filter=np.flatnonzero(allowed))
    distances, expected = topk_fused(queries, database, k, factors=factors, filter=allowed)
    np.testing.assert_array_equal(ids, expected)
    total = sum(factors.get(name, 1) * n_bits[name] for name in queries)
    found = ids >= 0
    np.testing.assert_array_equal(scores[found], total - 2 * distances[found])


@levels
@given(problem=problems(), k=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_weights_of_several_codes(level, problem, k, seed):
    n_bits, queries, database, factors, allowed = problem
    rng = np.random.default_rng(seed)
    weights = {
        name: rng.normal(size=(len(queries[name]), bits)) * rng.choice([0.0, 1.0, 1e-3, 1e6])
        for name, bits in n_bits.items()
    }
    joined = join_weights(weights, factors=factors)
    for q, row in enumerate(joined):
        one = {name: values[q].tolist() for name, values in weights.items()}
        np.testing.assert_allclose(row, reference.joined(one, factors), rtol=1e-12)
    with simd(level):
        scores, ids = topk_fused(
            None, database, k, weights=weights, factors=factors, filter=allowed
        )
    rows = np.flatnonzero(allowed)
    expected = asymmetric.topk_weighted(joined.tolist(), join_codes(database)[rows], k)
    np.testing.assert_array_equal(ids, np.append(rows, -1)[expected[1]])
    np.testing.assert_array_equal(scores, expected[0])


def test_one_code_is_topk():
    queries, database = random_codes(5, 64, seed=1), random_codes(500, 64)
    found = topk_fused({"a": queries}, {"a": database}, 20)
    for one, expected in zip(found, fh.topk(queries, database, 20), strict=True):
        np.testing.assert_array_equal(one, expected)


def test_arguments_may_be_read_only_and_are_not_changed():
    codes = random_codes(20, 24)
    weights = np.random.default_rng(0).normal(size=(2, 24))
    before = codes.copy(), weights.copy()
    codes.setflags(write=False)
    weights.setflags(write=False)
    topk_fused(None, {"a": codes}, 3, weights={"a": weights})
    topk_fused({"a": codes}, {"a": codes}, 3)
    np.testing.assert_array_equal(codes, before[0])
    np.testing.assert_array_equal(weights, before[1])


CODES = {"a": np.zeros((3, 1), np.uint8), "b": np.zeros((3, 2), np.uint8)}


@pytest.mark.parametrize(
    ("queries", "database", "options", "error", "message"),
    [
        (None, CODES, {}, TypeError, "pass either queries.*got neither"),
        (CODES, CODES, {"weights": {"a": [[1.0]]}}, TypeError, "got both"),
        ({"c": CODES["a"]}, CODES, {}, ValueError, "queries has 'c', and database has 'a', 'b'"),
        (CODES["a"], CODES, {}, TypeError, "queries must be a mapping"),
        (CODES, CODES["a"], {}, TypeError, "database must be a mapping"),
        ({}, CODES, {}, ValueError, "queries is empty"),
        ({"a": CODES["b"]}, CODES, {}, ValueError, "for 'a' has codes of 2 bytes.* of 1"),
        (CODES, {**CODES, "b": np.zeros((4, 2), np.uint8)}, {}, ValueError, "'a' 3, 'b' 4"),
        ({**CODES, "b": np.zeros((4, 2), np.uint8)}, CODES, {}, ValueError, "'a' 3, 'b' 4"),
        (CODES, CODES, {"factors": {"a": 32}}, ValueError, r"factors\['a'\].*31"),
        (CODES, CODES, {"factors": {"a": 0}}, ValueError, r"factors\['a'\]"),
        (CODES, CODES, {"factors": {"a": 0.5}}, TypeError, r"factors\['a'\]"),
        (CODES, CODES, {"factors": {"c": 1}}, ValueError, "factors has 'c', and the queries 'a'"),
        (CODES, CODES, {"factors": 2}, TypeError, "factors must be a mapping"),
        (None, CODES, {"weights": {"a": [[1.0, np.nan]]}}, ValueError, "finite"),
        (CODES, CODES, {"filter": [7]}, ValueError, "filter holds row 7"),
    ],
)
def test_what_is_refused(queries, database, options, error, message):
    with pytest.raises(error, match=message):
        topk_fused(queries, database, 1, **options)


@pytest.mark.parametrize("exponent", [-1060, -500, 0, 500, 1023])
def test_the_size_of_weights_does_not_matter(exponent):
    few = np.array([[1.0, -0.5, 1.0, 1.75], [0.0, 0.0, 0.0, 0.0]])
    joined = join_weights({"a": np.ldexp(few, exponent), "b": few})
    np.testing.assert_array_equal(joined[:, :4], joined[:, 8:12])
    np.testing.assert_allclose(np.abs(joined).sum(axis=1), [8, 0])
