"""Graded relevance, R-precision and depths of average precision against every order of ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import fasthash as fh
from fasthash import metrics
from fasthash._core.pieces import smaller_pieces
from reference import graded as reference
from reference import ranking as reference_ranking
from reference.hamming import distance
from strategies import random_codes

TIES = ["expected", "database"]
NORMALIZE = ["relevant", "retrieved", "all_relevant"]


@st.composite
def graded_problems(draw):
    """Few short codes or weights, so that almost everything ties; grades from 0 to 4."""
    n_bits = draw(st.sampled_from([1, 2, 9, 70]))
    n_queries, n = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    n_classes = draw(st.sampled_from([1, 2, 4, 70]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = np.packbits(rng.random((n_queries + n, n_bits)) < 0.5, axis=1)
    labels = rng.random((n_queries + n, n_classes)) < draw(st.sampled_from([0.05, 0.5]))
    queries, weights = codes[:n_queries], None
    if draw(st.booleans()):
        weights = rng.choice([-3.0, -1.0, 0.0, 1.0], size=(n_queries, n_bits))
        queries = None
    return queries, codes[n_queries:], labels[:n_queries], labels[n_queries:], weights


def measured(measure, problem, **options):
    queries, codes, *labels, weights = problem
    # A single 0/1 column must be sparse: a dense one could be class numbers.
    labels = [sparse.csr_array(y) if y.shape[1] == 1 else y for y in labels]
    return measure(queries, codes, *labels, weights=weights, **options)


def rankings_of(problem, ties):
    queries, codes, query_labels, labels, weights = problem
    asked = queries if weights is None else weights.tolist()
    return [
        reference.grades_by_rank(query, codes, y, labels, ties)
        for query, y in zip(asked, query_labels, strict=True)
    ]


def as_array(scores):
    return np.array([np.nan if score is None else score for score in scores], float)


@given(
    problem=graded_problems(),
    ties=st.sampled_from(TIES),
    gain=st.sampled_from(["exponential", "linear"]),
    most=st.sampled_from([1, 20, 10**6]),
)
def test_ndcg_and_cumulative_gain(problem, ties, gain, most):
    n = len(problem[1])
    ranks = list(range(n, 0, -1))
    rankings = rankings_of(problem, ties)
    options = {"ranks": ranks, "ties": ties, "n_threads": 1}
    with smaller_pieces(most):
        ndcg = measured(metrics.ndcg_at, problem, gain=gain, per_query=True, **options)
        acg = measured(metrics.acg_at, problem, per_query=True, **options)
    for column, rank in enumerate(ranks):
        expected = as_array([reference.ndcg(r, rank, gain) for r in rankings])
        np.testing.assert_allclose(ndcg[:, column], expected, rtol=1e-12)
        expected = [reference.acg(r, rank) for r in rankings]
        np.testing.assert_allclose(acg[:, column], expected, rtol=1e-12)
    np.testing.assert_allclose(measured(metrics.acg_at, problem, **options), acg.mean(axis=0))
    mean = measured(metrics.ndcg_at, problem, gain=gain, no_relevant="zero", **options)
    np.testing.assert_allclose(mean, np.nan_to_num(ndcg).mean(axis=0))


@given(
    problem=graded_problems(),
    ties=st.sampled_from(TIES),
    normalize=st.sampled_from(NORMALIZE),
    at=st.sampled_from([None, 1, 2, 4, 9, "n_relevant"]),
    radius=st.none() | st.integers(0, 9),
)
def test_average_precision_of_every_depth(problem, ties, normalize, at, radius):
    rankings = rankings_of(problem, ties)
    queries, codes, *_, weights = problem
    options = {"at": at, "radius": radius, "ties": ties, "normalize": normalize}
    weighted = measured(metrics.weighted_average_precision, problem, per_query=True, **options)
    plain = measured(fh.average_precision, problem, **options)
    for q, grades in enumerate(rankings):
        n_relevant = sum(grade > 0 for grade in grades[0])
        depth = {None: len(codes), "n_relevant": n_relevant}.get(at, at)
        if radius is not None:
            depth = min(depth, n_within(queries, weights, codes, q, radius))
        depth = min(depth, len(codes))
        score = reference.weighted_average_precision(grades, depth, normalize)
        np.testing.assert_allclose(weighted[q], as_array([score])[0], rtol=1e-12)
        binary = [[int(grade > 0) for grade in ranking] for ranking in grades]
        score = reference.weighted_average_precision(binary, depth, normalize)
        np.testing.assert_allclose(plain[q], as_array([score])[0], rtol=1e-12)


def n_within(queries, weights, codes, q, radius):
    if weights is None:
        return sum(distance(queries[q], code) <= radius for code in codes)
    n_bits = weights.shape[1]
    total = sum(map(abs, reference_ranking.rounded(weights[q].tolist())))
    distances = [reference_ranking.distance_to(weights[q].tolist(), code) for code in codes]
    return sum(d * n_bits <= radius * total for d in distances)


@given(problem=graded_problems(), ties=st.sampled_from(TIES))
def test_r_precision(problem, ties):
    rankings = rankings_of(problem, ties)
    ours = measured(metrics.r_precision, problem, ties=ties, per_query=True)
    for score, grades in zip(ours, rankings, strict=True):
        n_relevant = sum(grade > 0 for grade in grades[0])
        hits = [sum(grade > 0 for grade in ranking[:n_relevant]) for ranking in grades]
        expected = np.mean(hits) / n_relevant if n_relevant else np.nan
        np.testing.assert_allclose(score, expected, rtol=1e-12)


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("by_weights", [False, True])
def test_without_the_own_item_as_if_each_query_had_its_own_database(ties, by_weights):
    """Rows before the own one keep their order, so both rules for ties must agree."""
    rng = np.random.default_rng(0)
    codes = random_codes(40, 12)
    labels = rng.random((40, 5)) < 0.3
    weights = rng.integers(-2, 3, (40, 12)).astype(float) if by_weights else None
    others = [np.flatnonzero(np.arange(40) != i) for i in range(40)]
    for measure, options in (
        (metrics.ndcg_at, {"ranks": [5, 39]}),
        (metrics.acg_at, {"ranks": [5, 39]}),
        (metrics.r_precision, {}),
        (metrics.weighted_average_precision, {"at": "n_relevant", "normalize": "retrieved"}),
        (metrics.weighted_average_precision, {"radius": 3}),
    ):
        options = {**options, "ties": ties, "per_query": True}
        queries = None if by_weights else codes
        ours = measure(
            *(queries, codes, labels, labels), weights=weights, exclude_self=True, **options
        )
        for i, rows in enumerate(others):
            own = None if by_weights else codes[i : i + 1]
            own_weights = weights[i : i + 1] if by_weights else None
            alone = measure(
                *(own, codes[rows], labels[i : i + 1], labels[rows]), weights=own_weights, **options
            )
            np.testing.assert_allclose(ours[i], alone[0], rtol=1e-12)


def test_one_class_per_item_is_relevance_of_0_and_1():
    codes, labels = random_codes(60, 16), np.arange(60) % 4
    problem = (codes[:10], codes, labels[:10], labels)
    assert metrics.weighted_average_precision(*problem, at=7) == pytest.approx(
        fh.mean_average_precision(*problem, at=7)
    )
    np.testing.assert_allclose(
        metrics.acg_at(*problem, ranks=[3, 9]), fh.precision_at(*problem, ranks=[3, 9])
    )
    assert metrics.r_precision(*problem) == pytest.approx(
        np.mean([fh.precision_at(*problem, ranks=15, per_query=True)])
    )


def test_ids_as_labels_need_no_masks():
    """Each item is its own class: far more classes than a mask has bits."""
    codes = random_codes(3000, 64)
    ids = np.arange(3000) * 7
    assert fh.mean_average_precision(codes, codes, ids, ids) == 1.0
    assert metrics.r_precision(codes[:50], codes, ids[:50], ids) == 1.0


def test_a_long_tie_that_the_depth_cuts():
    """The hypergeometric distribution of the relevant items found, where no order can be listed."""
    n, at = 4000, 700
    labels = (np.arange(n) % 5 == 0).astype(int)
    codes = np.zeros((n, 2), np.uint8)
    options = {"at": at, "normalize": "retrieved"}
    ours = fh.mean_average_precision(codes[:1], codes, [1], labels, **options)
    rng = np.random.default_rng(0)
    drawn = [
        fh.mean_average_precision(
            codes[:1], codes, [1], rng.permutation(labels), ties="database", **options
        )
        for _ in range(200)
    ]
    assert abs(np.mean(drawn) - ours) < 4 * np.std(drawn) / np.sqrt(len(drawn))


@pytest.mark.parametrize(
    ("measure", "options", "error", "message"),
    [
        (metrics.ndcg_at, {"ranks": 1, "gain": "log"}, ValueError, "gain must be one of"),
        (metrics.ndcg_at, {"ranks": 5}, ValueError, "ranks holds 5, but a query ranks 4 codes"),
        (metrics.acg_at, {"ranks": 1, "ties": "middle"}, ValueError, "ties must be one of"),
        (metrics.acg_at, {"ranks": 1, "per_query": 1}, TypeError, "per_query"),
        (metrics.acg_at, {"ranks": 1, "per_query": 0}, TypeError, "per_query"),
        (fh.mean_average_precision, {"no_relevant": "drop"}, ValueError, "no_relevant must be"),
        (fh.precision_recall_curve, {"no_relevant": "drop"}, ValueError, "no_relevant must be"),
        (metrics.r_precision, {"ties": "middle"}, ValueError, "ties must be one of"),
        (fh.average_precision, {"at": "relevant"}, ValueError, "at must be one of 'n_relevant'"),
        (fh.average_precision, {"radius": -1}, ValueError, "radius must be at least 0"),
        (fh.average_precision, {"normalize": "k"}, ValueError, "normalize must be one of"),
    ],
)
def test_what_is_refused(measure, options, error, message):
    codes = random_codes(4, 16)
    with pytest.raises(error, match=message):
        measure(codes, codes, [0, 1, 0, 1], [0, 1, 0, 1], **options)


@pytest.mark.parametrize(
    ("measure", "options"),
    [
        (metrics.ndcg_at, {"ranks": 1}),
        (fh.recall_at, {"ranks": 1}),
        (metrics.r_precision, {}),
        (metrics.weighted_average_precision, {}),
    ],
)
def test_a_rule_that_is_not_applied_is_checked_too(measure, options):
    codes = random_codes(4, 16)
    for per_query in (False, True):
        with pytest.raises(ValueError, match="no_relevant must be one of"):
            measure(
                *(codes, codes, [0, 1, 0, 1], [0, 1, 0, 1]),
                **(options | {"no_relevant": "drop", "per_query": per_query}),
            )


@pytest.mark.parametrize("ties", ["expected", "database"])
def test_many_shared_labels(ties):
    """Gains of 2^g - 1 are finite, or refused."""
    codes = random_codes(6, 16)
    for n_labels in (960, 961):
        labels = np.ones((6, n_labels), int)
        labels[3:, 50:] = 0
        arguments = codes, codes, labels, labels
        linear = metrics.ndcg_at(*arguments, ranks=[3], gain="linear", ties=ties)
        assert 0 < linear[0] < 1
        if n_labels == 960:
            found = metrics.ndcg_at(*arguments, ranks=[3], ties=ties, per_query=True)
            assert np.isfinite(found).all() and (found > 0).all() and (found < 1 + 1e-12).all()
            continue
        with pytest.raises(ValueError, match=r"shares 961 labels with an item.*gain=.linear"):
            metrics.ndcg_at(*arguments, ranks=[3], ties=ties)
