"""The second stage against a slow one: metrics, types, ties, missing rows, mapped vectors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from fasthash.datasets._found_arrays import SlicedRows
from fasthash.embeddings import nearest
from reference import reranking as reference

DTYPES = ("float64", "float32", "float16", "int8", "uint8", "int32")


@pytest.mark.filterwarnings("ignore:.* rows that hold only zeros")
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 12),
    n_features=st.integers(1, 9),
    n_candidates=st.integers(0, 14),
    k=st.integers(1, 14),
    metric=st.sampled_from(["cosine", "inner"]),
    dtype=st.sampled_from(DTYPES),
    query_dtype=st.sampled_from(["float64", "float32", "int8"]),
)
def test_like_one_candidate_at_a_time(
    seed, n, n_features, n_candidates, k, metric, dtype, query_dtype
):
    """Small integers, so that ties are many and products exact."""
    rng = np.random.default_rng(seed)
    lowest = 0 if dtype == "uint8" else -2
    queries = rng.integers(-2, 3, (4, n_features)).astype(query_dtype)
    vectors = rng.integers(lowest, 3, (n, n_features)).astype(dtype)
    candidates = rng.integers(-1, n, (4, n_candidates))
    before = candidates.copy()
    similarities, ids = fh.rerank(queries, vectors, candidates, k, metric=metric)
    expected, expected_ids = reference.rerank(queries, vectors, candidates, k, metric)
    assert ids.dtype == np.int64 and ids.shape == (4, k)
    np.testing.assert_allclose(similarities, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(np.isnan(similarities), ids < 0)
    np.testing.assert_array_equal(candidates, before)
    for found, among in zip(ids.tolist(), candidates.tolist(), strict=True):
        assert set(found) - {-1} <= set(among)
    # Cosines that are equal may differ by rounding.
    if metric == "inner":
        np.testing.assert_array_equal(ids, expected_ids)


def test_inner_products_of_int8_are_exact():
    """4,097 features: a sum of 127² · 4,097 has more bits than float32."""
    rng = np.random.default_rng(0)
    vectors = rng.integers(-128, 128, (50, 4097)).astype(np.int8)
    vectors[0] = queries = np.full(4097, 127, np.int8)
    similarities, ids = fh.rerank(queries[None], vectors, np.arange(50)[None], 50, metric="inner")
    exact = vectors.astype(np.int64) @ queries.astype(np.int64)
    np.testing.assert_array_equal(similarities[0], exact[ids[0]])
    assert ids[0, 0] == 0 and similarities[0, 0] == 127 * 127 * 4097


RNG = np.random.default_rng(0)
QUERIES, VECTORS = RNG.standard_normal((11, 24)), RNG.standard_normal((300, 24))
ALL = np.tile(np.arange(300)[::-1], (11, 1))


@pytest.mark.parametrize("hold", [np.asarray, SlicedRows, np.float32, np.float16])
def test_all_candidates_in_the_order_of_cosines_are_the_nearest(hold):
    vectors = hold(VECTORS)
    cosines, ids = fh.rerank(QUERIES, vectors, ALL, 10)
    seen = VECTORS if hold is SlicedRows else np.asarray(vectors, np.float64)
    np.testing.assert_array_equal(ids, nearest(QUERIES, seen, 10))
    lengths = np.linalg.norm(QUERIES, axis=1)[:, None] * np.linalg.norm(seen[ids], axis=2)
    np.testing.assert_allclose(
        cosines, np.einsum("qd,qkd->qk", QUERIES, seen[ids]) / lengths, rtol=1e-12
    )


def test_all_candidates_in_the_order_of_inner_products():
    _, ids = fh.rerank(QUERIES, VECTORS, ALL, 10, metric="inner")
    np.testing.assert_array_equal(ids, np.argsort(-(QUERIES @ VECTORS.T), axis=1)[:, :10])


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
def test_blocks_and_memory_mapped_vectors(tmp_path, dtype):
    queries, vectors = (10 * x for x in (QUERIES.astype(np.float32), VECTORS))
    np.save(tmp_path / "vectors.npy", vectors.astype(dtype))
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    whole = fh.rerank(queries, vectors.astype(dtype), ALL[:, :50], 10)
    with smaller_pieces(3 * 50 * 8):
        blocks = fh.rerank(queries, mapped, ALL[:, :50], 10)
    np.testing.assert_array_equal(blocks[1], whole[1])
    np.testing.assert_array_equal(blocks[0], whole[0])
    assert whole[0].dtype == (np.float64 if dtype is np.int8 else np.float32)


def test_missing_candidates_come_last_and_ties_in_the_order_of_ids():
    vectors = np.vstack([VECTORS, VECTORS[:1], np.zeros((1, 24))])
    candidates = np.array([[300, -1, 0, 300]] * 10 + [[-1, -1, 301, -1]])
    with smaller_pieces(2 * 4 * 24):
        cosines, ids = fh.rerank(QUERIES, vectors, candidates, 4)
    assert ids.tolist() == [[0, 300, -1, -1]] * 10 + [[301, -1, -1, -1]]
    assert np.isnan(cosines).tolist() == (ids < 0).tolist()
    assert cosines[10, 0] == 0


@pytest.mark.parametrize("n_candidates", [0, 3])
def test_no_candidate_of_no_vector(n_candidates):
    none = np.full((11, n_candidates), -1)
    similarities, ids = fh.rerank(QUERIES, VECTORS[:0], none, 2)
    assert np.isnan(similarities).all() and (ids == -1).all()


def test_only_candidates_are_looked_at():
    vectors = VECTORS.copy()
    vectors[[0, 7], 3] = np.nan
    few = np.tile([-1, 8], (11, 1))
    assert (fh.rerank(QUERIES, vectors, few, 1)[1] == 8).all()
    with pytest.raises(ValueError, match=r"vectors\[7\] holds NaN"):
        fh.rerank(QUERIES, vectors, few - (few > 0), 1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"candidates": np.full((11, 2), 300)}, ValueError, "candidates holds 300"),
        ({"candidates": np.full((11, 2), -2)}, ValueError, "candidates holds -2"),
        ({"candidates": np.zeros((2, 2), int)}, ValueError, r"shape \(11, n_candidates\)"),
        ({"candidates": np.zeros(11, int)}, ValueError, r"got \(11,\)"),
        ({"candidates": np.zeros((11, 2))}, TypeError, "integer row numbers, got dtype float64"),
        ({"candidates": np.ones((11, 2), bool)}, TypeError, "got dtype bool"),
        ({"queries": QUERIES[:, :3]}, ValueError, "queries has 3 columns and vectors has 24"),
        ({"vectors": VECTORS.astype(str)}, TypeError, "vectors must hold real numbers"),
        ({"vectors": VECTORS[0]}, ValueError, "vectors must have two dimensions"),
        ({"k": 0}, ValueError, "k must be at least 1"),
        ({"metric": "l2"}, ValueError, "metric must be one of 'cosine', 'inner', got 'l2'"),
    ],
)
def test_what_rerank_refuses(change, error, message):
    arguments = {"queries": QUERIES, "vectors": VECTORS, "candidates": ALL, "k": 1}
    with pytest.raises(error, match=message):
        fh.rerank(**{**arguments, **change})
