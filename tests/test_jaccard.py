"""Search by Jaccard distance against the reference, at every level; many codes against numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from fasthash.neighbors import jaccard_topk, jaccard_within
from reference import jaccard as reference
from strategies import search_problems, simd

levels = pytest.mark.parametrize("level", fh.simd_levels())


def compare(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


@levels
@given(problem=search_problems(), k=st.integers(1, 45), n_threads=st.integers(1, 3))
def test_topk(level, problem, k, n_threads):
    queries, database, _ = problem
    with simd(level):
        found = jaccard_topk(queries, database, k, n_threads=n_threads)
    compare(found, reference.jaccard_topk(queries, database, k))


@levels
@given(problem=search_problems(), n_threads=st.integers(1, 3), data=st.data())
def test_within(level, problem, n_threads, data):
    queries, database, _ = problem
    radii = st.floats(0, 1.5)
    if len(queries) and len(database):
        # A distance that occurs, so that the radius is inclusive.
        own = reference.jaccard_topk(queries, database, len(database))[0]
        radii |= st.sampled_from(own.ravel().tolist())
    radius = data.draw(radii)
    with simd(level):
        found = jaccard_within(queries, database, radius, n_threads=n_threads)
    compare(found, reference.jaccard_within(queries, database, radius))


def fingerprints(n, n_bits, seed=0):
    """Codes whose numbers of bits set differ widely, as those of molecules do; some are equal."""
    rng = np.random.default_rng(seed)
    bits = rng.random((n, n_bits)) < rng.beta(2, 18, (n, 1))
    codes = np.packbits(bits, axis=1)
    codes[rng.integers(0, n, n // 10)] = codes[rng.integers(0, n, n // 10)]
    codes[:2] = 0
    return codes


def all_distances(queries, database):
    a, b = (np.unpackbits(x, axis=1).astype(np.int32) for x in (queries, database))
    shared = a @ b.T
    n_set = a.sum(1)[:, None] + b.sum(1) - shared
    return (n_set - shared) / np.maximum(n_set, 1)


@levels
@pytest.mark.parametrize("n_bits", [40, 64, 200, 1024])
@pytest.mark.parametrize("n_queries", [2, 300])
def test_many_tiles(level, n_bits, n_queries):
    codes = fingerprints(5000, n_bits)
    queries = codes[:n_queries]
    distances = all_distances(queries, codes)
    order = np.argsort(distances, axis=1, kind="stable")[:, :20]
    with simd(level), smaller_pieces(1 << 12):
        found = jaccard_topk(queries, codes, 20, n_threads=2)
        limits, near, _ = jaccard_within(queries, codes, 0.3, n_threads=2)
    compare(found, (np.take_along_axis(distances, order, 1), order))
    np.testing.assert_array_equal(np.diff(limits), (distances <= 0.3).sum(1))
    assert near.max() <= 0.3


def test_the_own_code_is_left_out():
    codes = fingerprints(300, 64)
    distances = all_distances(codes, codes)
    np.fill_diagonal(distances, 2)
    order = np.argsort(distances, axis=1, kind="stable")[:, :5]
    compare(
        jaccard_topk(codes, codes, 5, exclude_self=True),
        (np.take_along_axis(distances, order, 1), order),
    )
    limits, _, rows = jaccard_within(codes, codes, 0.5, exclude_self=True)
    np.testing.assert_array_equal(np.diff(limits), (distances <= 0.5).sum(1))
    assert (np.repeat(np.arange(300), np.diff(limits)) != rows).all()


def test_what_is_refused():
    codes = fingerprints(9, 64)
    with pytest.raises(ValueError, match="both must be packed from the same number of bits"):
        jaccard_topk(codes[:, :3], codes, 1)
    with pytest.raises(ValueError, match="k must be at least 1"):
        jaccard_topk(codes, codes, 0)
    with pytest.raises(ValueError, match="radius must be finite and at least 0"):
        jaccard_within(codes, codes, -0.5)
