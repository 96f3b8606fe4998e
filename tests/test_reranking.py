"""Two-stage search against a plain one, ties, missing rows, memory-mapped latents, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from fasthash.datasets._found_arrays import SlicedRows
from fasthash.embeddings import nearest
from fasthash.reranking import rerank


def plain(query_codes, query_latents, codes, latents, k, n_candidates):
    similarities = np.full((len(query_codes), k), np.nan)
    ids = np.full((len(query_codes), k), -1)
    nearest = fh.rank(query_codes, codes)[:, : max(k, n_candidates)]
    for i, candidates in enumerate(nearest):
        cosines = latents @ query_latents[i]
        order = sorted(candidates.tolist(), key=lambda row: (-cosines[row], row))[:k]
        ids[i, : len(order)] = order
        similarities[i, : len(order)] = cosines[order]
    return similarities, ids


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 12),
    k=st.integers(1, 14),
    n_candidates=st.integers(1, 14),
)
def test_like_a_plain_search(seed, n, k, n_candidates):
    rng = np.random.default_rng(seed)
    queries, latents = (rng.integers(-2, 3, (m, 3)).astype(np.float64) for m in (4, n))
    arguments = fh.pack(queries), queries, fh.pack(latents), latents, k
    ours = fh.topk_reranked(*arguments, n_candidates=n_candidates)
    expected = plain(*arguments, n_candidates)
    np.testing.assert_array_equal(ours[1], expected[1])
    np.testing.assert_allclose(ours[0], expected[0])


def test_all_rows_as_candidates_give_the_search_by_latents():
    rng = np.random.default_rng(0)
    queries, latents = rng.standard_normal((50, 8)), rng.standard_normal((300, 8))
    _, ids = fh.topk_reranked(
        fh.pack(queries), queries, fh.pack(latents), latents, 10, n_candidates=300
    )
    np.testing.assert_array_equal(ids, np.argsort(-(queries @ latents.T), axis=1)[:, :10])


def test_blocks_and_memory_mapped_latents(tmp_path):
    rng = np.random.default_rng(0)
    queries, latents = (rng.standard_normal((n, 8)).astype(np.float32) for n in (50, 300))
    np.save(tmp_path / "latents.npy", latents)
    mapped = np.load(tmp_path / "latents.npy", mmap_mode="r")
    whole = fh.topk_reranked(fh.pack(queries), queries, fh.pack(latents), latents, 10)
    with smaller_pieces(3 * 50 * 8):
        blocks = fh.topk_reranked(fh.pack(queries), queries, fh.pack(latents), mapped, 10)
    np.testing.assert_array_equal(blocks[1], whole[1])
    np.testing.assert_allclose(blocks[0], whole[0], rtol=1e-6)
    assert whole[0].dtype == np.float32 and whole[1].dtype == np.int64


RNG = np.random.default_rng(0)
QUERIES, VECTORS = RNG.standard_normal((11, 24)), RNG.standard_normal((300, 24))


@pytest.mark.parametrize("hold", [np.asarray, SlicedRows, np.float32])
def test_all_candidates_in_the_order_of_cosines_are_the_nearest(hold):
    vectors = hold(VECTORS)
    candidates = np.tile(np.arange(300)[::-1], (11, 1))
    cosines, ids = rerank(QUERIES, vectors, candidates, 10)
    np.testing.assert_array_equal(ids, nearest(QUERIES, VECTORS, 10))
    lengths = np.linalg.norm(QUERIES, axis=1)[:, None] * np.linalg.norm(VECTORS[ids], axis=2)
    np.testing.assert_allclose(
        cosines, np.einsum("qd,qkd->qk", QUERIES, VECTORS[ids]) / lengths, rtol=1e-5
    )


def test_missing_candidates_come_last_and_ties_in_the_order_of_rows():
    vectors = np.vstack([VECTORS, VECTORS[:1], np.zeros((1, 24))])
    candidates = np.array([[300, -1, 0]] * 10 + [[-1, -1, 301]])
    with smaller_pieces(2 * 3 * 24):
        cosines, ids = rerank(QUERIES, vectors, candidates, 4)
    assert ids.tolist() == [[0, 300, -1, -1]] * 10 + [[301, -1, -1, -1]]
    assert np.isnan(cosines).tolist() == (ids < 0).tolist()
    assert cosines[10, 0] == 0


def test_only_candidates_are_looked_at():
    vectors = VECTORS.copy()
    vectors[7, 3] = np.nan
    few = np.full((11, 1), 8)
    assert (rerank(QUERIES, vectors, few, 1)[1] == 8).all()
    with pytest.raises(ValueError, match="row 7 of vectors holds NaN"):
        rerank(QUERIES, vectors, few - 1, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rerank(QUERIES, VECTORS, np.full((11, 2), 300), 1), "candidates holds 300"),
        (lambda: rerank(QUERIES, VECTORS, np.zeros((2, 2), int), 1), "2 rows for 11 queries"),
        (lambda: rerank(QUERIES[:, :3], VECTORS, np.zeros((11, 2), int), 1), "have 3 columns"),
        (lambda: rerank(QUERIES, VECTORS.astype(str), np.zeros((11, 2), int), 1), "real numbers"),
    ],
)
def test_what_rerank_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


X = np.eye(3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"n_candidates": 0}, "n_candidates must be at least 1"),
        ({"database_latents": X[:2]}, "2 rows for 3 database_codes"),
        ({"query_latents": X[:, :2]}, "query_latents must have shape"),
        ({"query_latents": X[:2]}, "query_latents must have shape"),
        ({"database_latents": X.astype(int)}, "floating-point"),
    ],
)
def test_what_it_refuses(change, message):
    arguments = {
        "query_codes": fh.pack(X),
        "query_latents": X,
        "database_codes": fh.pack(X),
        "database_latents": X,
        "k": 1,
    }
    with pytest.raises(ValueError, match=message):
        fh.topk_reranked(**{**arguments, **change})
