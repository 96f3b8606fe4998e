"""Retrieval scores of many-to-one pairs against a plain count, ties, directions, refusals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from fasthash.metrics._ties import chance_of_a_hit
from fasthash.metrics.pairs import expected_recall
from reference import pairs as reference
from strategies import random_codes


@st.composite
def problems(draw):
    """Small integers, so that much ties; pairs of any kind, some rows in none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_a, n_b = draw(st.integers(1, 8)), draw(st.integers(1, 12))
    a, b = (rng.integers(-1, 2, (n, 2)).astype(np.float32) for n in (n_a, n_b))
    all_pairs = np.argwhere(np.ones((n_a, n_b)))
    n_pairs = draw(st.integers(1, len(all_pairs)))
    return a, b, rng.permutation(all_pairs)[:n_pairs]


@pytest.mark.filterwarnings("ignore:.*hold only zeros")
@given(
    problem=problems(),
    at=st.one_of(st.none(), st.integers(1, 14)),
    ties=st.sampled_from(["expected", "middle", "database"]),
)
def test_scores_are_those_of_every_order_written_down(problem, at, ties):
    a, b, pairs = problem
    relevant = np.zeros((len(a), len(b)), bool)
    relevant[tuple(pairs.T)] = True
    ranks = (1, 2, 5, 40)
    scores = fh.retrieval_scores({"audio": a, "text": b}, pairs, ranks=ranks, at=at, ties=ties)
    assert list(scores) == [("audio", "text"), ("text", "audio")]
    for (x, y, r), ours in zip(
        ((a, b, relevant), (b, a, relevant.T)), scores.values(), strict=True
    ):
        recall, median, precision, n_queries = reference.scores(x @ y.T, r, ranks, at, ties)
        assert ours.recall == pytest.approx(recall)
        assert ours.median_rank == pytest.approx(median) and ours.n_queries == n_queries
        assert ours.mean_average_precision == pytest.approx(precision)
        if ties == "expected":
            assert expected_recall(x, y, np.argwhere(r), ranks) == ours.recall


@pytest.mark.filterwarnings("ignore:.*hold only zeros")
@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
def test_by_default_the_order_of_the_rows_changes_nothing(problem, seed):
    a, b, pairs = problem
    rng = np.random.default_rng(seed)
    order_a, order_b = rng.permutation(len(a)), rng.permutation(len(b))
    moved = np.column_stack([np.argsort(order_a)[pairs[:, 0]], np.argsort(order_b)[pairs[:, 1]]])
    first = fh.retrieval_scores({"audio": a, "text": b}, pairs)
    again = fh.retrieval_scores({"audio": a[order_a], "text": b[order_b]}, moved)
    for ours, other in zip(first.values(), again.values(), strict=True):
        assert ours.recall == pytest.approx(other.recall, abs=1e-12)
        assert ours.median_rank == other.median_rank
        assert ours.mean_average_precision == pytest.approx(other.mean_average_precision)


@given(tied=st.integers(1, 30), relevant=st.integers(1, 30), n_seen=st.integers(-3, 40))
def test_the_chance_of_a_hit_is_that_of_drawing_without_return(tied, relevant, n_seen):
    relevant = min(tied, relevant)
    seen = min(max(n_seen, 0), tied)
    chance = 1 - math.comb(tied - relevant, seen) / math.comb(tied, seen)
    ours = chance_of_a_hit(*(np.array([x]) for x in (tied, relevant, n_seen)))[0]
    assert ours == pytest.approx(chance, rel=1e-13)
    assert (ours == 1) == (chance == 1)


@given(problem=problems())
def test_packed_codes_are_compared_by_hamming_distance(problem):
    a, b, pairs = problem
    codes = {"audio": fh.pack(a >= 0), "text": fh.pack(b >= 0)}
    signs = {"audio": np.where(a >= 0, 1.0, -1.0), "text": np.where(b >= 0, 1.0, -1.0)}
    assert fh.retrieval_scores(codes, pairs) == fh.retrieval_scores(signs, pairs)


@given(problem=problems(), seed=st.integers(0, 2**32 - 1), n_bits=st.sampled_from([3, 8, 21]))
def test_weights_rank_as_a_weighted_search_does(problem, seed, n_bits):
    a, b, pairs = problem
    rng = np.random.default_rng(seed)
    codes = {"audio": random_codes(len(a), n_bits), "text": random_codes(len(b), n_bits)}
    weights = rng.integers(-2, 3, (len(a), n_bits)).astype(float)
    scores = fh.retrieval_scores(codes, pairs, weights={"audio": weights})
    similarity = np.zeros((len(a), len(b)))
    found, ids = fh.topk_weighted(weights, codes["text"], len(b))
    np.put_along_axis(similarity, ids, found, axis=1)
    relevant = np.zeros((len(a), len(b)), bool)
    relevant[tuple(pairs.T)] = True
    recall, median, precision, _ = reference.scores(
        similarity, relevant, (1, 5, 10), 10, "expected"
    )
    ours = scores["audio", "text"]
    assert ours.recall == pytest.approx(recall) and ours.median_rank == pytest.approx(median)
    assert ours.mean_average_precision == pytest.approx(precision)
    # The other direction has no weights and compares codes.
    assert scores["text", "audio"] == fh.retrieval_scores(codes, pairs)["text", "audio"]


def test_what_weights_are_refused():
    codes = {"audio": random_codes(3, 16), "text": random_codes(3, 16)}
    with pytest.raises(TypeError, match="one or both of 'audio', 'text'"):
        fh.retrieval_scores(codes, weights={"image": np.ones((3, 16))})
    with pytest.raises(ValueError, match="a row for each of the 3 codes"):
        fh.retrieval_scores(codes, weights={"audio": np.ones((2, 16))})
    with pytest.raises(ValueError, match="up to 16 bits"):
        fh.retrieval_scores(codes, weights={"audio": np.ones((3, 17))})
    latents = {"audio": np.ones((3, 2)), "text": np.ones((3, 2))}
    with pytest.raises(TypeError, match="samples holds latents"):
        fh.retrieval_scores(latents, weights={"audio": np.ones((3, 2))})


def test_blocks_of_queries_join_without_a_seam():
    rng = np.random.default_rng(0)
    samples = {"audio": rng.standard_normal((40, 3)), "text": rng.standard_normal((90, 3))}
    pairs = np.column_stack([rng.integers(0, 40, 90), np.arange(90)])
    whole = fh.retrieval_scores(samples, pairs)
    with smaller_pieces(7 * 90):
        assert fh.retrieval_scores(samples, pairs) == whole


def test_equal_codes_gain_nothing():
    """All similarities tie: the clip's one caption of five stands anywhere, or in the middle."""
    same = {"audio": np.ones((5, 2)), "text": np.ones((5, 2))}
    scores = fh.retrieval_scores(same, ranks=(1, 2, 3))["audio", "text"]
    assert scores.recall == pytest.approx({1: 0.2, 2: 0.4, 3: 0.6}) and scores.median_rank == 3
    assert scores.mean_average_precision == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 5)
    scores = fh.retrieval_scores(same, ranks=(1, 2, 3), ties="middle")["audio", "text"]
    assert scores.recall == {1: 0.0, 2: 0.0, 3: 1.0} and scores.median_rank == 3
    assert scores.mean_average_precision == pytest.approx(1 / 3)
    scores = fh.retrieval_scores(same, ranks=(1, 2, 3), ties="database")["audio", "text"]
    assert scores.recall == pytest.approx({1: 0.2, 2: 0.4, 3: 0.6}) and scores.median_rank == 3


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


def test_labels_score_as_mean_average_precision_does():
    rng = np.random.default_rng(1)
    y = {"audio": rng.integers(0, 4, 30), "text": rng.integers(0, 4, 50)}
    codes = {name: np.packbits(rng.random((len(v), 6)) < 0.5, axis=1) for name, v in y.items()}
    for at in (None, 10):
        for ties in ("expected", "database"):
            scores = fh.retrieval_scores(codes, labels=y, at=at, ties=ties)
            ours = scores["audio", "text"].mean_average_precision
            problem = codes["audio"], codes["text"], y["audio"], y["text"]
            other = fh.mean_average_precision(*problem, at=at, ties=ties)
            assert ours == pytest.approx(other, rel=1e-12)


def test_queries_without_partners_are_left_out():
    recall = expected_recall(np.eye(3), np.eye(3), np.array([[0, 0], [2, 1]]), (1, 2, 3))
    assert recall == pytest.approx({1: 0.5, 2: 0.75, 3: 1.0})


X = np.eye(3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (({"audio": X},), TypeError, "two modality names"),
        (({"audio": X, "text": X[:, :2] + 1},), ValueError, "3 columns, .* has 2"),
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
    with pytest.raises(ValueError, match="ties must be one of 'expected', 'middle', 'database'"):
        fh.retrieval_scores(samples, ties="random")
    with pytest.raises(ValueError, match="ranks is empty"):
        fh.retrieval_scores(samples, ranks=[])
    with pytest.raises(ValueError, match="no query of 'audio' has a relevant item"):
        fh.retrieval_scores(samples, labels={"audio": [0] * 3, "text": [1] * 3})
