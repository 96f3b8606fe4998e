"""Metrics of rankings by weights against the reference, and against Hamming at equal weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from reference import asymmetric as reference_asymmetric
from reference import ranking as reference
from strategies import random_codes


@st.composite
def weighted_problems(draw):
    """Few weights of few values, so that scores tie; labels that may be empty."""
    n_bits = draw(st.sampled_from([1, 2, 5, 9, 70]))
    n_queries, n = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    n_classes = draw(st.sampled_from([1, 3, 130]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = [-3.0, -1.0, 0.0, 0.0, 1.0, 40.0]
    weights = rng.choice(values[: draw(st.integers(1, 6))], size=(n_queries, n_bits))
    codes = np.packbits(rng.random((n, n_bits)) < 0.5, axis=1)
    labels = rng.random((n_queries + n, n_classes)) < draw(st.sampled_from([0.0, 0.05, 0.4]))
    return weights, codes, labels[:n_queries], labels[n_queries:]


def arguments(problem):
    weights, codes, *labels = problem
    # A single 0/1 column must be sparse: a dense one could be class numbers.
    labels = [sparse.csr_array(y) if y.shape[1] == 1 else y for y in labels]
    return (None, codes, *labels), {"weights": weights}


@given(
    problem=weighted_problems(),
    at=st.none() | st.integers(1, 11),
    option=st.sampled_from(
        [
            ("database", "relevant"),
            ("database", "retrieved"),
            ("expected", "relevant"),
            ("expected", "retrieved"),
        ]
    ),
    most=st.sampled_from([1, 20, 10**6]),
)
def test_average_precision(problem, at, option, most):
    options = {"at": at, "ties": option[0], "normalize": option[1]}
    positional, weights = arguments(problem)
    with smaller_pieces(most):
        ours = fh.average_precision(*positional, **weights, **options, n_threads=1)
    queries, codes, query_labels, labels = problem
    expected = [
        reference.average_precision(query, codes, y, labels, **options)
        for query, y in zip(queries.tolist(), query_labels, strict=True)
    ]
    expected = np.array([np.nan if score is None else score for score in expected])
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
    if not np.isnan(expected).all():
        mean = fh.mean_average_precision(*positional, **weights, **options)
        assert mean == pytest.approx(np.nanmean(expected))


@given(problem=weighted_problems(), ties=st.sampled_from(["database", "expected"]))
def test_precision_and_recall_at_ranks(problem, ties):
    queries, codes, query_labels, labels = problem
    ranks = list(range(len(codes), 0, -1))
    hits = np.array(
        [
            [reference.hits_at(query, codes, y, labels, rank, ties) for rank in ranks]
            for query, y in zip(queries.tolist(), query_labels, strict=True)
        ]
    )
    positional, weights = arguments(problem)
    precision = fh.precision_at(*positional, **weights, ranks=ranks, ties=ties)
    np.testing.assert_allclose(precision, (hits / ranks).mean(axis=0), atol=1e-12)
    if (hits[:, 0] > 0).all():
        recall = fh.recall_at(*positional, **weights, ranks=ranks, ties=ties)
        np.testing.assert_allclose(recall, (hits / hits[:, :1]).mean(axis=0), atol=1e-12)


@given(problem=weighted_problems(), rule=st.sampled_from(["zero", "skip"]))
def test_precision_recall_curve(problem, rule):
    queries, codes, query_labels, labels = problem
    n_bits = queries.shape[1]
    relevant = query_labels.astype(int) @ labels.T.astype(int) > 0
    if not relevant.any():
        return
    positional, weights = arguments(problem)
    precision, recall, radii = fh.precision_recall_curve(
        *positional, **weights, nothing_retrieved=rule
    )
    np.testing.assert_array_equal(radii, np.arange(n_bits + 1))
    distances = [[reference.distance_to(q, code) for code in codes] for q in queries.tolist()]
    total = [sum(map(abs, reference_asymmetric.rounded(q))) for q in queries.tolist()]
    for radius in radii:
        inside = np.array(distances) * n_bits <= radius * np.array(total)[:, None]
        hits, retrieved = (inside & relevant).sum(axis=1), inside.sum(axis=1)
        shares = (hits / np.maximum(retrieved, 1))[(retrieved > 0) | (rule == "zero")]
        assert precision[radius] == pytest.approx(
            shares.mean() if len(shares) else np.nan, nan_ok=True
        )
        has = relevant.any(axis=1)
        assert recall[radius] == pytest.approx((hits[has] / relevant[has].sum(axis=1)).mean())


def test_equal_weights_give_the_figures_of_hamming_distance():
    rng = np.random.default_rng(0)
    queries, codes = random_codes(20, 30, seed=1), random_codes(3000, 30)
    labels = rng.integers(0, 4, 20), rng.integers(0, 4, 3000)
    weights = np.where(fh.unpack(queries, 30), 0.7, -0.7)
    measures = [
        (fh.mean_average_precision, {}),
        (fh.mean_average_precision, {"ties": "database", "at": 100}),
        (fh.precision_at, {"ranks": [1, 70]}),
        (fh.recall_at, {"ranks": [1, 70], "ties": "database"}),
        (fh.precision_recall_curve, {"n_bits": 30}),
    ]
    for measure, options in measures:
        by_codes = measure(queries, codes, *labels, **options)
        by_weights = measure(None, codes, *labels, weights=weights, **options)
        np.testing.assert_allclose(np.array(by_weights), np.array(by_codes), rtol=1e-12)


@pytest.mark.parametrize(
    ("queries", "options", "error", "message"),
    [
        (None, {}, TypeError, "pass either query_codes, .*; got neither"),
        (random_codes(2, 12), {"weights": np.ones((2, 12))}, TypeError, "got both"),
        (None, {"weights": np.ones((2, 17))}, ValueError, "database_codes has codes of 2 bytes"),
        (None, {"weights": np.ones((3, 12))}, ValueError, "query_labels"),
        (None, {"weights": np.ones((0, 12))}, ValueError, "weights is empty"),
        (None, {"weights": np.full((2, 12), np.inf)}, ValueError, r"weights\[0, 0\] is inf"),
    ],
)
def test_what_is_refused(queries, options, error, message):
    codes = random_codes(5, 12)
    with pytest.raises(error, match=message):
        fh.mean_average_precision(queries, codes, [0, 1], [0, 1, 0, 1, 0], **options)
    with pytest.raises(error, match=message):
        fh.precision_recall_curve(queries, codes, [0, 1], [0, 1, 0, 1, 0], **options)


@given(problem=weighted_problems(), ties=st.sampled_from(["database", "expected"]))
def test_a_set_against_itself_leaves_the_own_codes_out(problem, ties):
    _, codes, _, labels = problem
    if len(codes) < 2:
        return
    weights = np.random.default_rng(0).choice([-2.0, 1.0], size=(len(codes), problem[0].shape[1]))
    positional, options = arguments((weights, codes, labels, labels))
    ours = fh.average_precision(*positional, **options, ties=ties, exclude_self=True)
    for row in range(len(codes)):
        others = np.arange(len(codes)) != row
        alone = (weights[[row]], codes[others], labels[[row]], labels[others])
        positional, options = arguments(alone)
        expected = fh.average_precision(*positional, **options, ties=ties)
        np.testing.assert_allclose(ours[row], expected[0], rtol=1e-12)
    with pytest.raises(ValueError, match="weights has 1 rows and database_codes has"):
        fh.average_precision(
            None, codes, labels[:1], labels, weights=weights[:1], exclude_self=True
        )
