"""Retrieval scores of many-to-one pairs against a plain count, ties, directions, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from fasthash.metrics.pairs import best_ranks


def plain_scores(similarity, relevant, ks, at):
    """Per query one by one, over the relevant items in their order."""
    firsts, precisions = [], []
    for s, r in zip(similarity, relevant, strict=True):
        if not r.any():
            continue
        ranks = []
        for i, value in enumerate(sorted(s[r], reverse=True), start=1):
            ranks.append(i + (s[~r] > value).sum() + (s[~r] == value).sum() / 2)
        firsts.append(ranks[0])
        within = [i / rank for i, rank in enumerate(ranks, start=1) if rank <= (at or len(s))]
        precisions.append(sum(within) / min(len(ranks), at or len(s)))
    recall = {k: np.mean([rank <= k for rank in firsts]) for k in ks}
    return recall, np.median(firsts), np.mean(precisions), len(firsts)


@st.composite
def problems(draw):
    """Small integers, so that much ties; pairs of any kind, some rows in none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_a, n_b = draw(st.integers(1, 8)), draw(st.integers(1, 12))
    a, b = (rng.integers(-1, 2, (n, 2)).astype(np.float32) for n in (n_a, n_b))
    all_pairs = np.argwhere(np.ones((n_a, n_b)))
    n_pairs = draw(st.integers(1, len(all_pairs)))
    return a, b, rng.permutation(all_pairs)[:n_pairs]


@given(problem=problems(), at=st.one_of(st.none(), st.integers(1, 14)))
def test_scores_are_those_of_a_plain_count(problem, at):
    a, b, pairs = problem
    relevant = np.zeros((len(a), len(b)), bool)
    relevant[tuple(pairs.T)] = True
    scores = fh.retrieval_scores({"audio": a, "text": b}, pairs, ranks=(1, 2, 5), at=at)
    assert list(scores) == [("audio", "text"), ("text", "audio")]
    for (x, y, r), ours in zip(
        ((a, b, relevant), (b, a, relevant.T)), scores.values(), strict=True
    ):
        recall, median, precision, n_queries = plain_scores(x @ y.T, r, (1, 2, 5), at)
        assert ours.recall == pytest.approx(recall)
        assert ours.median_rank == median and ours.n_queries == n_queries
        assert ours.mean_average_precision == pytest.approx(precision)


@given(problem=problems())
def test_packed_codes_are_compared_by_hamming_distance(problem):
    a, b, pairs = problem
    codes = {"audio": fh.pack(a >= 0), "text": fh.pack(b >= 0)}
    signs = {"audio": np.where(a >= 0, 1.0, -1.0), "text": np.where(b >= 0, 1.0, -1.0)}
    assert fh.retrieval_scores(codes, pairs) == fh.retrieval_scores(signs, pairs)


def test_blocks_of_queries_join_without_a_seam():
    rng = np.random.default_rng(0)
    samples = {"audio": rng.standard_normal((40, 3)), "text": rng.standard_normal((90, 3))}
    pairs = np.column_stack([rng.integers(0, 40, 90), np.arange(90)])
    whole = fh.retrieval_scores(samples, pairs)
    with smaller_pieces(7 * 90):
        assert fh.retrieval_scores(samples, pairs) == whole


def test_equal_codes_gain_nothing():
    """All similarities tie: the clip's one caption of five stands in the middle."""
    same = {"audio": np.ones((5, 2)), "text": np.ones((5, 2))}
    scores = fh.retrieval_scores(same, ranks=(1, 2, 3))["audio", "text"]
    assert scores.recall == {1: 0.0, 2: 0.0, 3: 1.0} and scores.median_rank == 3
    assert scores.mean_average_precision == pytest.approx(1 / 3)


def test_labels_in_place_of_pairs():
    rng = np.random.default_rng(0)
    y = {"audio": rng.integers(0, 4, 30), "text": rng.integers(0, 4, 50)}
    bits = {name: rng.random((len(labels), 24)) < 0.5 for name, labels in y.items()}
    codes = {name: np.packbits(x, axis=1) for name, x in bits.items()}
    pairs = np.argwhere(y["audio"][:, None] == y["text"])
    scores = fh.retrieval_scores(codes, labels=y, at=None)
    assert scores == fh.retrieval_scores(codes, pairs, at=None)
    # Without ties between relevant and irrelevant it is the usual average precision.
    latents = {name: rng.standard_normal((len(labels), 8)) for name, labels in y.items()}
    latents = {name: x + 5 * np.eye(8)[y[name]] for name, x in latents.items()}
    scores = fh.retrieval_scores(latents, labels=y, at=None)
    s = latents["audio"] @ latents["text"].T
    for i, row in enumerate(s):
        hits = (y["text"] == y["audio"][i])[np.argsort(-row)]
        precision = (hits.cumsum() / np.arange(1, 51))[hits].mean()
        s[i, 0] = precision
    assert scores["audio", "text"].mean_average_precision == pytest.approx(s[:, 0].mean())


def test_best_ranks_of_queries_without_partners():
    ranks = best_ranks(np.eye(3), np.eye(3), np.array([[0, 0], [2, 1]]))
    np.testing.assert_array_equal(ranks, [1, np.nan, 2.5])


X = np.eye(3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (({"audio": X},), TypeError, "two modality names"),
        (({"audio": X, "text": X[:, :2]},), ValueError, "3 columns, .* has 2"),
        (({"audio": X, "text": fh.pack(X > 0)},), TypeError, "holds packed codes"),
        (({"audio": X, "text": X[:2]},), ValueError, "pairs is None"),
        (({"audio": X, "text": X}, [[0, 3]]), ValueError, "row 3 of 'text'"),
        (({"audio": X, "text": X}, [[0, 1], [0, 1]]), ValueError, r"\[0, 1\] 2 times"),
        (({"audio": X[:0], "text": X},), ValueError, "empty"),
        (({"audio": fh.pack(X > 0)[:0], "text": fh.pack(X > 0)},), ValueError, "empty"),
    ],
)
def test_what_it_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        fh.retrieval_scores(*arguments)


def test_options_it_refuses():
    samples = {"audio": X, "text": X}
    with pytest.raises(ValueError, match="pass one of them"):
        fh.retrieval_scores(samples, [[0, 0]], labels={"audio": [0] * 3, "text": [0] * 3})
    with pytest.raises(ValueError, match="ranks is empty"):
        fh.retrieval_scores(samples, ranks=[])
    with pytest.raises(ValueError, match="no query of 'audio' has a relevant item"):
        fh.retrieval_scores(samples, labels={"audio": [0] * 3, "text": [1] * 3})
