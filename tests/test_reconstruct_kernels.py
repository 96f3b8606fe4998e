"""Samples reconstructed from their nearest anchors, against the reference twin."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from fasthash._core.pieces import smaller_pieces
from fasthash._core.rows import Rows
from fasthash._core.workers import Workers
from fasthash.models.rreh._anchor_reconstruction import reconstruct
from reference import reconstruct as reference

FLOATS = [np.float32, np.float64]
# Bounds of the weights' errors. The twin itself is off by rounding in float64.
TOLERANCE = {np.dtype(np.float32): 2e-4, np.dtype(np.float64): 1e-7}


def run(x, anchors, k=10, regularisation=0.1, n_threads=1):
    with Workers(n_threads) as workers:
        return reconstruct(x, anchors, workers, k, regularisation)


def rows_of(s, k):
    """Indices and weights of a CSR matrix whose rows have k entries."""
    np.testing.assert_array_equal(s.indptr, np.arange(s.shape[0] + 1) * k)
    return s.indices.reshape(-1, k), s.data.reshape(-1, k)


def check(x, anchors, k=10, regularisation=0.1, n_threads=1):
    """Same anchors as the reference, weights as close as rounding lets them be; returns both."""
    s = run(x, anchors, k, regularisation, n_threads)
    assert s.shape == (len(x), len(anchors)) and s.dtype == x.dtype
    assert s.has_canonical_format
    indices, weights = rows_of(s, min(k, len(anchors)))
    expected_indices, expected = reference.reconstruct(x, anchors, k, regularisation)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(weights, expected, atol=TOLERANCE[x.dtype])
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    return indices, weights


@st.composite
def problems(draw):
    """
    Samples, anchors, k, regularisation, threads.

    Features on a grid, of which every sum is exact, make ties; few values make duplicates, of
    anchors and of samples with anchors; an offset makes products cancel.
    """
    dtype = draw(st.sampled_from(FLOATS))
    n = draw(st.sampled_from([0, 1, 7, 8, 9, 30]))
    n_anchors = draw(st.sampled_from([1, 2, 5, 16, 17, 40, 63, 64, 65, 130, 200]))
    d = draw(st.sampled_from([1, 2, 3, 8, 33]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = draw(st.sampled_from([1, 2, 4, 0]))

    def make(*shape):
        drawn = rng.integers(0, values, shape) if values else rng.standard_normal(shape)
        return drawn.astype(dtype)

    offset = draw(st.sampled_from([0, 0, 1, 1000]))
    k = draw(st.sampled_from([1, 2, 3, 10, 16, 31]))
    regularisation = draw(st.sampled_from([0.01, 0.1, 1.0]))
    x, anchors = make(n, d) + dtype(offset), make(n_anchors, d) + dtype(offset)
    return x, anchors, k, regularisation, draw(st.sampled_from([1, 2]))


@given(problems())
def test_like_the_reference(problem):
    check(*problem)


@given(
    hnp.arrays(np.float64, (9, 3), elements=st.floats(-100, 100)),
    hnp.arrays(np.float64, (20, 3), elements=st.floats(-100, 100)),
)
def test_whatever_the_values_rows_are_convex_combinations(x, anchors):
    _, weights = rows_of(run(x, anchors, k=4), 4)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("offset", [0, 1e4])
def test_products_and_differences_agree(dtype, offset):
    """Clusters much closer together than to the origin, and to each other."""
    rng = np.random.default_rng(0)
    for spread in (1.0, 1e-1, 1e-3):
        centres = rng.standard_normal((5, 20))
        x, anchors = [
            (offset + centres[rng.integers(0, 5, n)] + spread * rng.standard_normal((n, 20)))
            for n in (100, 150)
        ]
        check(x.astype(dtype), anchors.astype(dtype))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e18, 1e30])
def test_squares_that_underflow_or_overflow_in_single_precision(dtype, scale):
    rng = np.random.default_rng(0)
    x, anchors = rng.standard_normal((20, 6)), rng.standard_normal((80, 6))
    check((scale * x).astype(dtype), (scale * anchors).astype(dtype), k=5)


@pytest.mark.parametrize("dtype", FLOATS)
class TestDegenerate:
    def test_a_sample_that_is_an_anchor(self, dtype):
        anchors = np.random.default_rng(0).standard_normal((30, 4)).astype(dtype)
        indices, weights = check(anchors, anchors, k=1)
        np.testing.assert_array_equal(indices[:, 0], np.arange(30))
        np.testing.assert_array_equal(weights, 1)
        # The anchor itself costs nothing, its neighbours something.
        indices, weights = check(anchors, anchors, k=3)
        assert (weights[indices == np.arange(30)[:, None]] >= 1 / 3).all()

    def test_all_neighbours_equal_the_sample(self, dtype):
        """No direction to prefer: equal weights, on the lowest of the equals."""
        anchors = np.repeat(np.eye(3, dtype=dtype), 20, axis=0)
        indices, weights = check(np.eye(3, dtype=dtype), anchors, k=4)
        np.testing.assert_array_equal(indices, np.arange(4) + 20 * np.arange(3)[:, None])
        np.testing.assert_array_equal(weights, dtype(0.25))

    def test_zero_variance(self, dtype):
        constant = np.full((50, 3), 0.1, dtype)
        indices, weights = check(constant, constant, k=5)
        np.testing.assert_array_equal(indices, np.tile(np.arange(5), (50, 1)))
        np.testing.assert_array_equal(weights, dtype(0.2))
        # Away from the anchors, but they all count the same.
        _, weights = check(constant + 1, constant, k=5)
        np.testing.assert_allclose(weights, 0.2, rtol=1e-6)

    def test_duplicate_anchors_share_a_weight(self, dtype):
        rng = np.random.default_rng(0)
        anchors = np.repeat(rng.standard_normal((20, 4)), 2, axis=0).astype(dtype)
        _, weights = check(rng.standard_normal((40, 4)).astype(dtype), anchors, k=6)
        np.testing.assert_allclose(weights[:, ::2], weights[:, 1::2], atol=1e-5)

    def test_collinear_anchors(self, dtype):
        anchors = (np.arange(40)[:, None] * np.ones((1, 5))).astype(dtype)
        check(np.linspace(-3, 45, 60, dtype=dtype)[:, None] + np.zeros((1, 5), dtype), anchors)

    def test_a_sample_outside_clips_the_far_anchors(self, dtype):
        anchors = np.arange(10, dtype=dtype)[:, None] * np.ones((1, 2), dtype)
        _, weights = check(np.full((1, 2), -1, dtype), anchors, k=10, regularisation=1e-3)
        # Of anchors at 1 to 10 on a ray, w is nearly 1 - t / 7 before it is clipped.
        np.testing.assert_allclose(weights[0, :6], np.arange(6, 0, -1) / 21, atol=1e-4)
        np.testing.assert_array_equal(weights[0, 7:], 0)

    def test_fewer_anchors_than_k(self, dtype):
        rng = np.random.default_rng(0)
        for n_anchors in (1, 3, 9):
            x, anchors = rng.standard_normal((20, 4)), rng.standard_normal((n_anchors, 4))
            indices, _ = check(x.astype(dtype), anchors.astype(dtype))
            np.testing.assert_array_equal(indices, np.tile(np.arange(n_anchors), (20, 1)))

    def test_one_sample_and_none(self, dtype):
        rng = np.random.default_rng(0)
        for n in (0, 1):
            check(rng.standard_normal((n, 4)).astype(dtype), np.eye(4, dtype=dtype), k=2)

    def test_regularisation_below_rounding(self, dtype):
        """Whatever comes out is a convex combination."""
        rng = np.random.default_rng(0)
        x, anchors = rng.standard_normal((20, 2)), rng.standard_normal((50, 2))
        for regularisation in (1e-8, 1e-20, 1e-300):
            s = run(x.astype(dtype), anchors.astype(dtype), regularisation=regularisation)
            assert (s.data >= 0).all()
            np.testing.assert_allclose(s.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_number_of_threads_changes_no_bit(dtype):
    rng = np.random.default_rng(0)
    x, anchors = rng.standard_normal((3000, 20)), rng.standard_normal((100, 20))
    x, anchors = x.astype(dtype), anchors.astype(dtype)
    with smaller_pieces(5000):
        one, *more = [run(x, anchors, n_threads=n_threads) for n_threads in (1, 2, 3, 7)]
    for other in more:
        np.testing.assert_array_equal(other.data, one.data)
        np.testing.assert_array_equal(other.indices, one.indices)
    check(x[-50:], anchors)
    np.testing.assert_allclose(run(x[-50:], anchors).data, one.data[-500:], atol=1e-4)


def test_read_only_strided_and_sliced_samples():
    rng = np.random.default_rng(0)
    wide, anchors = rng.standard_normal((200, 12)), rng.standard_normal((60, 6))
    for x in (wide[::3, ::2], np.asfortranarray(wide[:, 6:])):
        x.flags.writeable = anchors.flags.writeable = False
        expected = run(np.ascontiguousarray(x), anchors)
        before = x.copy()
        found = run(x, np.asfortranarray(anchors))
        np.testing.assert_array_equal(found.data, expected.data)
        np.testing.assert_array_equal(run(Rows(x, x.dtype), anchors).data, expected.data)
        np.testing.assert_array_equal(x, before)
        single = run(Rows(x, np.float32), anchors.astype(np.float32))
        assert single.dtype == np.float32
        np.testing.assert_allclose(single.data, expected.data, atol=1e-4)


def test_not_a_number_stays_within_bounds():
    """Samples are checked elsewhere; what slips through must not write outside."""
    x, anchors = np.random.default_rng(0).standard_normal((2, 60, 4))
    for value in (np.nan, np.inf):
        x[5] = value
        s = run(x, anchors)
        assert s.indices.min() >= 0 and s.indices.max() < 60
        bad = anchors.copy()
        bad[7] = value
        s = run(x, bad)
        assert s.indices.min() >= 0 and s.indices.max() < 60


def test_what_is_refused():
    x = np.zeros((3, 2))
    with pytest.raises(ValueError, match="anchors must have 2 columns of float64"):
        run(x, np.zeros((3, 3)))
    with pytest.raises(ValueError, match="anchors must have 2 columns of float64"):
        run(x, np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="anchors are empty"):
        run(x, np.zeros((0, 2)))
    with pytest.raises(ValueError, match="regularisation must be"):
        run(x, x, regularisation=0)
    with pytest.raises(ValueError, match="k must be at least 1"):
        run(x, x, k=0)
