"""Metrics against the reference: both tie rules, cut-offs, policies, many classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from reference import hamming as reference_hamming
from reference import ranking as reference
from strategies import random_codes, simd


@st.composite
def labelled_problems(draw):
    """Few short codes, so that almost everything ties, with multi-labels that may be empty."""
    n_bits = draw(st.sampled_from([1, 2, 5, 9, 70]))
    n_queries, n = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    n_classes = draw(st.sampled_from([1, 3, 65, 130]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = np.packbits(rng.random((n_queries + n, n_bits)) < 0.5, axis=1)
    labels = rng.random((n_queries + n, n_classes)) < draw(st.sampled_from([0.0, 0.05, 0.4]))
    return codes[:n_queries], codes[n_queries:], labels[:n_queries], labels[n_queries:]


def as_given(problem):
    """A single 0/1 column must be sparse: a dense one could be class numbers."""
    queries, database, *labels = problem
    return queries, database, *(sparse.csr_array(y) if y.shape[1] == 1 else y for y in labels)


def expected_scores(problem, **options):
    queries, database, query_labels, labels = problem
    scores = [
        reference.average_precision(q, database, y, labels, **options)
        for q, y in zip(queries, query_labels, strict=True)
    ]
    return np.array([np.nan if s is None else s for s in scores])


@pytest.mark.parametrize("level", fh.simd_levels())
@given(
    problem=labelled_problems(),
    at=st.one_of(st.none(), st.integers(1, 11)),
    option=st.sampled_from(
        [
            ("database", "relevant"),
            ("database", "retrieved"),
            ("expected", "relevant"),
            ("expected", "retrieved"),
        ]
    ),
    n_threads=st.integers(1, 2),
)
def test_average_precision(level, problem, at, option, n_threads):
    ties, normalize = option
    with simd(level):
        ours = fh.average_precision(
            *as_given(problem), at=at, ties=ties, normalize=normalize, n_threads=n_threads
        )
    expected = expected_scores(problem, at=at, ties=ties, normalize=normalize)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


@given(problem=labelled_problems(), ties=st.sampled_from(["database", "expected"]))
def test_precision_and_recall_at_ranks(problem, ties):
    queries, database, query_labels, labels = problem
    ranks = list(range(len(database), 0, -1))
    hits = np.array(
        [
            [reference.hits_at(q, database, y, labels, rank, ties) for rank in ranks]
            for q, y in zip(queries, query_labels, strict=True)
        ]
    )
    precision = fh.precision_at(*as_given(problem), ranks=ranks, ties=ties)
    np.testing.assert_allclose(precision, (hits / ranks).mean(axis=0), atol=1e-12)
    n_relevant = hits[:, 0]
    if (n_relevant > 0).all():
        recall = fh.recall_at(*as_given(problem), ranks=ranks, ties=ties, no_relevant="raise")
        np.testing.assert_allclose(recall, (hits / n_relevant[:, None]).mean(axis=0), atol=1e-12)


@given(problem=labelled_problems())
def test_precision_recall_curve(problem):
    queries, database, query_labels, labels = problem
    distances = reference_hamming.distances(queries, database)
    relevant = query_labels.astype(int) @ labels.T.astype(int) > 0
    if not relevant.any():
        with pytest.raises(ValueError, match="no query has a relevant item"):
            fh.precision_recall_curve(*as_given(problem))
        return
    precision, recall, radii = fh.precision_recall_curve(*as_given(problem))
    np.testing.assert_array_equal(radii, np.arange(8 * queries.shape[1] + 1))
    skipping, _, _ = fh.precision_recall_curve(*as_given(problem), nothing_retrieved="skip")
    for radius in radii:
        inside = distances <= radius
        hits, retrieved = (inside & relevant).sum(axis=1), inside.sum(axis=1)
        shares = hits / np.maximum(retrieved, 1)
        assert precision[radius] == pytest.approx(shares.mean())
        if retrieved.any():
            assert skipping[radius] == pytest.approx(shares[retrieved > 0].mean())
        else:
            assert np.isnan(skipping[radius])
        has = relevant.any(axis=1)
        assert recall[radius] == pytest.approx((hits[has] / relevant[has].sum(axis=1)).mean())


def test_larger_than_a_block_against_sorting():
    rng = np.random.default_rng(0)
    queries, database = random_codes(5, 24, seed=1), random_codes(3000, 24)
    y_query, y = rng.integers(0, 4, 5), rng.integers(0, 4, 3000)
    order = fh.rank(queries, database)
    relevant = y[order] == y_query[:, None]
    precision = relevant.cumsum(axis=1) / np.arange(1, 3001)
    for at in (None, 1, 100, 2999):
        top = slice(at)
        sums = (precision * relevant)[:, top].sum(axis=1)
        expected = sums / np.minimum(relevant.sum(axis=1), at or 3000)
        ours = fh.average_precision(queries, database, y_query, y, at=at, ties="database")
        np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_expected_ties_do_not_depend_on_the_order_of_the_database():
    rng = np.random.default_rng(0)
    queries, database = random_codes(20, 6, seed=1), random_codes(5000, 6)
    y_query, y = rng.integers(0, 3, 20), rng.integers(0, 3, 5000)
    first = fh.average_precision(queries, database, y_query, y)
    order = rng.permutation(5000)
    again = fh.average_precision(queries, database[order], y_query, y[order])
    np.testing.assert_array_equal(again, first)
    shuffled = []
    for _ in range(60):
        order = rng.permutation(5000)
        shuffled.append(
            fh.average_precision(queries, database[order], y_query, y[order], ties="database")
        )
    spread = np.std(shuffled, axis=0) / np.sqrt(60)
    assert (np.abs(np.mean(shuffled, axis=0) - first) < 5 * spread).all()


def test_six_equal_codes_score_the_same_in_every_order():
    """In database order, the same six codes score 1.0 or .383."""
    codes, query = np.zeros((6, 1), np.uint8), np.zeros((1, 1), np.uint8)
    relevant_first, relevant_last = [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]
    for measure, in_order in (
        (fh.mean_average_precision, (1.0, (1 / 4 + 2 / 5 + 3 / 6) / 3)),
        (lambda *args, **options: fh.precision_at(*args, ranks=[3], **options)[0], (1.0, 0.0)),
        (lambda *args, **options: fh.recall_at(*args, ranks=[3], **options)[0], (1.0, 0.0)),
    ):
        assert measure(query, codes, [1], relevant_first) == measure(
            query, codes, [1], relevant_last
        )
        for labels, score in zip((relevant_first, relevant_last), in_order, strict=True):
            assert measure(query, codes, [1], labels, ties="database") == pytest.approx(score)


@given(problem=labelled_problems(), seed=st.integers(0, 2**32 - 1))
def test_by_default_the_order_of_the_database_changes_nothing(problem, seed):
    queries, database, query_labels, labels = problem
    order = np.random.default_rng(seed).permutation(len(database))
    ranks = np.arange(1, len(database) + 1)

    def measured(database, labels):
        args = as_given((queries, database, query_labels, labels))
        yield fh.average_precision(*args)
        yield fh.mean_average_precision(*args, at=2, no_relevant="zero")
        yield fh.precision_at(*args, ranks=ranks)
        yield fh.recall_at(*args, ranks=ranks, no_relevant="zero")

    for ours, other in zip(
        measured(database, labels), measured(database[order], labels[order]), strict=True
    ):
        np.testing.assert_array_equal(ours, other)


def test_chunks_of_queries_join_without_a_seam(monkeypatch):
    rng = np.random.default_rng(0)
    args = (random_codes(33, 16, seed=1), random_codes(200, 16))
    args += (rng.integers(0, 4, 33), rng.integers(0, 4, 200))

    def everything():
        return [
            fh.average_precision(*args, ties="database"),
            fh.average_precision(*args),
            fh.precision_at(*args, ranks=[1, 7, 200], ties="database"),
            fh.recall_at(*args, ranks=[1, 7, 200]),
            *fh.precision_recall_curve(*args, n_bits=16),
        ]

    whole = everything()
    # Ten queries at a time where distances are counted, or a few where relevant codes are noted.
    for most in (17 * 10, 2000):
        with smaller_pieces(most):
            parts = everything()
        for part, expected in zip(parts, whole, strict=True):
            np.testing.assert_allclose(part, expected, rtol=1e-14)


def test_queries_without_relevant_items():
    database = fh.pack([[1.0, 1.0], [1.0, -1.0]])
    queries = fh.pack([[1.0, 1.0], [1.0, 1.0]])
    args = (queries, database, [0, 9], [0, 1])
    assert fh.mean_average_precision(*args) == 1.0
    assert fh.mean_average_precision(*args, no_relevant="zero") == 0.5
    np.testing.assert_array_equal(fh.average_precision(*args), [1.0, np.nan])
    with pytest.raises(ValueError, match="query 1 has no relevant item"):
        fh.mean_average_precision(*args, no_relevant="raise")
    with pytest.raises(ValueError, match="no query has a relevant item"):
        fh.mean_average_precision(queries, database, [8, 9], [0, 1])
    np.testing.assert_array_equal(fh.recall_at(*args, ranks=[1]), [1.0])
    np.testing.assert_array_equal(fh.recall_at(*args, ranks=1, no_relevant="zero"), [0.5])
    np.testing.assert_array_equal(fh.precision_at(*args, ranks=1), [0.5])


def test_a_cut_off_limits_the_rank_not_the_number_of_relevant_items():
    """Two irrelevant items, then three relevant ones: within rank 3 there is one hit of three."""
    database = fh.pack([[1.0] * 4, [1.0] * 4, [-1.0, 1, 1, 1], [-1.0, -1, 1, 1], [-1.0] * 4])
    args = (fh.pack([[1.0] * 4]), database, [0], [1, 1, 0, 0, 0])
    assert fh.mean_average_precision(*args, at=3) == pytest.approx((1 / 3) / 3)
    in_order = {"ties": "database", "normalize": "retrieved"}
    assert fh.mean_average_precision(*args, at=3, **in_order) == pytest.approx(1 / 3)
    assert fh.mean_average_precision(*args, at=2, **in_order) == 0


def test_kinds_of_labels_mean_the_same():
    rng = np.random.default_rng(0)
    queries, database = random_codes(6, 16, seed=1), random_codes(50, 16)
    y_query, y = rng.integers(0, 3, 6), rng.integers(0, 3, 50)
    expected = fh.mean_average_precision(queries, database, y_query, y)
    names = np.array(["ant", "bee", "cat"])
    for a, b in (
        (names[y_query], names[y]),
        (np.eye(3)[y_query], np.eye(3)[y]),
        (sparse.csr_array(np.eye(3)[y_query]), np.eye(3)[y].astype(bool)),
    ):
        assert fh.mean_average_precision(queries, database, a, b) == expected


CODES = random_codes(4, 16)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ties": "random"}, ValueError, "ties must be one of 'expected', 'database'"),
        ({"at": 0}, ValueError, "at must be at least 1"),
        ({"normalize": "k"}, ValueError, "normalize must be one of"),
        ({"no_relevant": "drop"}, ValueError, "no_relevant must be one of"),
        ({"query_labels": [0, 1]}, ValueError, "query_labels has 2 rows for 4 samples"),
        ({"query_codes": CODES[:0], "query_labels": []}, ValueError, "query_codes is empty"),
        ({"query_codes": random_codes(4, 24)}, ValueError, "of 3 bytes, database_codes of 2"),
        ({"query_labels": np.eye(4)}, ValueError, "use one of them"),
    ],
)
def test_what_average_precision_refuses(options, error, message):
    arguments = {
        "query_codes": CODES,
        "database_codes": CODES,
        "query_labels": [0, 1, 0, 1],
        "database_labels": [0, 1, 0, 1],
    }
    with pytest.raises(error, match=message):
        fh.mean_average_precision(**{**arguments, **options})


@pytest.mark.parametrize("ranks", [[0], [5], [], [1.5]])
def test_ranks_out_of_range(ranks):
    with pytest.raises((TypeError, ValueError), match="ranks"):
        fh.precision_at(CODES, CODES, [0] * 4, [0] * 4, ranks=ranks)


def test_more_sets_of_labels_than_bits_of_a_word():
    """Each query has a class of its own: 150 sets, which take three words."""
    n = 150
    codes, labels = random_codes(n, 64), np.arange(n)
    # Of the nearest codes only the query itself is relevant.
    scores = fh.average_precision(codes, codes, labels, labels, ties="expected")
    np.testing.assert_array_equal(scores, 1)
