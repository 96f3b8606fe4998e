"""Two-stage search against a plain one, ties, missing rows, memory-mapped latents, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh


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


def test_blocks_and_memory_mapped_latents(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    queries, latents = (rng.standard_normal((n, 8)).astype(np.float32) for n in (50, 300))
    np.save(tmp_path / "latents.npy", latents)
    mapped = np.load(tmp_path / "latents.npy", mmap_mode="r")
    whole = fh.topk_reranked(fh.pack(queries), queries, fh.pack(latents), latents, 10)
    monkeypatch.setattr("fasthash.rows._BLOCK_VALUES", 3 * 50 * 8)
    blocks = fh.topk_reranked(fh.pack(queries), queries, fh.pack(latents), mapped, 10)
    np.testing.assert_array_equal(blocks[1], whole[1])
    np.testing.assert_allclose(blocks[0], whole[0], rtol=1e-6)
    assert whole[0].dtype == np.float32 and whole[1].dtype == np.int64


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
