"""Searches of a set against itself: every query leaves out its own code, also among equal codes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from fasthash.embeddings import nearest
from fasthash.experiments import recall_of_codes
from reference import hamming as reference
from strategies import random_codes, search_problems

INDEXES = {"scan": "never", "tables": "always"}


def others_by_sorting(codes, radius):
    """(distance, row) of all other rows within the radius, for every row."""
    distances = reference.distances(codes, codes)
    return [
        sorted((d, j) for j, d in enumerate(row) if j != i and d <= radius)
        for i, row in enumerate(distances.tolist())
    ]


def padded(pairs, k):
    missing = [(-1, -1)] * k
    return np.array([(row + missing)[:k] for row in pairs]).reshape(len(pairs), k, 2)


def as_lists(limits, distances, ids):
    pairs = list(zip(distances.tolist(), ids.tolist(), strict=True))
    return [pairs[a:b] for a, b in pairwise(limits)]


@given(problem=search_problems(), k=st.integers(1, 45), n_threads=st.integers(1, 2))
def test_functions_leave_out_the_own_row(problem, k, n_threads):
    _, codes, n_bits = problem
    expected = padded(others_by_sorting(codes, n_bits), k)
    found = fh.topk(codes, codes.copy(), k, exclude_self=True, n_threads=n_threads)
    np.testing.assert_array_equal(np.stack(found, 2), expected)
    assert [x.dtype for x in found] == [np.int32, np.int64]
    radius = k % (n_bits + 1)
    found = fh.within(codes, codes, radius, exclude_self=True, n_threads=n_threads)
    assert as_lists(*found) == others_by_sorting(codes, radius)


@pytest.mark.parametrize("kind", INDEXES)
@given(problem=search_problems(), k=st.integers(1, 45), seed=st.integers(0, 2**32 - 1))
def test_indexes_leave_out_an_id_per_query(kind, problem, k, seed):
    _, codes, n_bits = problem
    index = fh.HammingIndex(n_bits, multi_index=INDEXES[kind])
    half = len(codes) // 2
    # Ids ascend with the rows, so that ties have the same order.
    ids = np.sort(np.random.default_rng(seed).choice(1000, len(codes), replace=False))
    index.add(codes[:half], ids=ids[:half])
    index.search(codes[:1], 1)
    index.add(codes[half:], ids=ids[half:])
    expected = padded(others_by_sorting(codes, n_bits), k)
    distances, found = index.search(codes, k, exclude=ids)
    np.testing.assert_array_equal(distances, expected[:, :, 0])
    rows = expected[:, :, 1]
    np.testing.assert_array_equal(found, np.where(rows < 0, -1, ids[rows]) if len(ids) else rows)
    weights = np.where(fh.unpack(codes, n_bits), 1.0, -1.0).reshape(len(codes), n_bits)
    for candidates in (None, 1):
        _, found = index.search(weights=weights, k=k, candidates=candidates, exclude=ids)
        np.testing.assert_array_equal(
            found, np.where(rows < 0, -1, ids[rows]) if len(ids) else rows
        )
    radius = k % (n_bits + 1)
    found = as_lists(*index.within(codes, radius, exclude=ids))
    assert found == [[(d, ids[j]) for d, j in row] for row in others_by_sorting(codes, radius)]


def test_an_own_code_that_the_filter_forbids_costs_no_other_one():
    codes = random_codes(20, 16)
    filter = np.arange(20) % 2 == 0
    distances, rows = fh.topk(codes, codes, 20, filter=filter, exclude_self=True)
    assert (rows >= 0).sum(axis=1).tolist() == [9, 10] * 10
    index = fh.HammingIndex(16)
    index.add(codes)
    found = index.search(codes, 20, filter=np.arange(0, 20, 2), exclude=np.arange(20))
    np.testing.assert_array_equal(np.stack(found), np.stack([distances, rows]))


@pytest.mark.parametrize("k", [4, 12])
def test_an_id_that_is_not_held_excludes_nothing(k):
    """Not even -1, which is also what a missing answer has; with k=12 there are some."""
    codes = random_codes(9, 16)
    index = fh.MultiIndexHash(16)
    index.add(codes)
    weights = np.where(fh.unpack(codes, 16), 1.0, -1.0)
    for excluded in (99, -1, -(2**63)):
        exclude = np.full(9, excluded)
        found = index.search(codes, k, exclude=exclude)
        np.testing.assert_array_equal(np.stack(found), np.stack(index.search(codes, k)))
        for options in ({}, {"candidates": 5}):
            _, found = index.search(weights=weights, k=k, exclude=exclude, **options)
            _, all_found = index.search(weights=weights, k=k, **options)
            np.testing.assert_array_equal(found, all_found)


def test_what_is_refused():
    codes = random_codes(9, 16)
    with pytest.raises(ValueError, match=r"exclude_self=True .* shapes \(8, 2\) and \(9, 2\)"):
        fh.topk(codes[:8], codes, 1, exclude_self=True)
    with pytest.raises(ValueError, match="queries and database differ in row 0"):
        fh.within(np.roll(codes, 7, axis=0), codes, 1, exclude_self=True)
    with pytest.raises(TypeError, match="exclude_self must be True or False"):
        fh.topk(codes, codes, 1, exclude_self=[1])
    index = fh.HammingIndex(16)
    with pytest.raises(ValueError, match="exclude must have one id per query, 9 in all, got 1"):
        index.search(codes, 1, exclude=[3])
    with pytest.raises(TypeError, match="exclude must be integers"):
        index.within(codes, 1, exclude=np.arange(9.0))


@st.composite
def labelled_sets(draw):
    """Few short codes, so that almost everything ties; labels may be missing."""
    n = draw(st.integers(2, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    codes = np.packbits(rng.random((n, draw(st.sampled_from([2, 9])))) < 0.5, axis=1)
    return codes, rng.random((n, 3)) < draw(st.sampled_from([0.2, 0.5]))


def without_own_row(codes, labels, function, **options):
    """The answers to each query alone, over a database from which its row is deleted."""
    rows = range(len(codes))
    others = [(np.delete(codes, i, axis=0), np.delete(labels, i, axis=0)) for i in rows]
    return [function(codes[[i]], others[i][0], labels[[i]], others[i][1], **options) for i in rows]


@given(
    problem=labelled_sets(),
    at=st.one_of(st.none(), st.integers(1, 13)),
    ties=st.sampled_from(["expected", "database"]),
    most=st.sampled_from([1, 1 << 20]),
)
def test_measures_leave_out_the_own_row(problem, at, ties, most):
    codes, labels = problem
    both = (codes, codes, labels, labels)
    with smaller_pieces(most):
        ours = fh.average_precision(*both, at=at, ties=ties, exclude_self=True)
    expected = without_own_row(codes, labels, fh.average_precision, at=at, ties=ties)
    np.testing.assert_allclose(ours, np.concatenate(expected), rtol=1e-12)
    ranks = np.arange(1, len(codes))
    for function, options in (
        (fh.precision_at, {"ranks": ranks, "ties": ties}),
        (fh.recall_at, {"ranks": ranks, "ties": ties, "no_relevant": "zero"}),
        (fh.precision_recall_curve, {"no_relevant": "zero"}),
        (fh.metrics.distances_by_relevance, {"n_bits": 8 * codes.shape[1]}),
    ):
        if function is fh.metrics.distances_by_relevance:
            expected = np.sum(without_own_row(codes, labels, function, **options), axis=0)
        else:
            expected = np.mean(without_own_row(codes, labels, function, **options), axis=0)
        np.testing.assert_allclose(function(*both, exclude_self=True, **options), expected)


def one_direction(samples, others, relevant, **options):
    """Scores of queries in a database, which is the other side."""
    scores = fh.retrieval_scores({"a": samples, "b": others}, np.argwhere(relevant), **options)
    return scores["a", "b"]


@given(
    problem=labelled_sets(),
    at=st.one_of(st.none(), st.integers(1, 13)),
    ties=st.sampled_from(["expected", "middle", "database"]),
    kind=st.sampled_from(["codes", "latents", "weights"]),
    most=st.sampled_from([1, 1 << 20]),
)
def test_retrieval_scores_leave_out_the_own_row(problem, at, ties, kind, most):
    codes, labels = problem
    labels[:2] = True
    signs = np.where(fh.unpack(codes, 8 * codes.shape[1]), 1.0, -1.0)
    x = signs if kind == "latents" else codes
    options = {"ranks": [1, 3], "at": at, "ties": ties}
    weights = {"a": signs, "b": signs} if kind == "weights" else None
    with smaller_pieces(most):
        given = {"a": x, "b": x.copy()}
        of_labels = fh.retrieval_scores(
            given,
            labels=dict.fromkeys(given, labels),
            weights=weights,
            exclude_self=True,
            **options,
        )
        related = (labels.astype(int) @ labels.T) > 0
        scores = fh.retrieval_scores(
            given, np.argwhere(related), weights=weights, exclude_self=True, **options
        )
    assert scores == of_labels and scores["a", "b"] == scores["b", "a"]
    alone = []
    for i in range(len(x)):
        others = np.delete(related[[i]], i, axis=1)
        if others.any():
            alone.append(one_direction(x[[i]], np.delete(x, i, axis=0), others, **options))
    ours = scores["a", "b"]
    assert ours.n_queries == len(alone)
    assert ours.mean_average_precision == pytest.approx(
        np.mean([one.mean_average_precision for one in alone])
    )
    assert ours.median_rank == np.median([one.median_rank for one in alone])
    assert ours.recall == pytest.approx(
        {k: np.mean([one.recall[k] for one in alone]) for k in options["ranks"]}
    )


def test_what_retrieval_scores_refuse():
    codes, labels = random_codes(9, 16), np.arange(9) % 2
    with pytest.raises(ValueError, match=r"samples\['a'\] and samples\['b'\] have the shapes"):
        fh.retrieval_scores({"a": codes, "b": codes[:5]}, [[0, 1]], exclude_self=True)
    with pytest.raises(ValueError, match=r"labels\['a'\] and labels\['b'\] differ in row 0"):
        fh.retrieval_scores(
            {"a": codes, "b": codes}, labels={"a": labels, "b": 1 - labels}, exclude_self=True
        )
    with pytest.raises(ValueError, match="nothing to measure in a set of one code"):
        fh.retrieval_scores(
            {"a": codes[:1], "b": codes[:1]}, labels={"a": [0], "b": [0]}, exclude_self=True
        )
    # Row i belongs to row i, and that row does not count.
    with pytest.raises(ValueError, match="no query of 'a' has a relevant item"):
        fh.retrieval_scores({"a": codes, "b": codes}, exclude_self=True)
    with pytest.raises(TypeError, match="exclude_self must be True or False"):
        fh.retrieval_scores({"a": codes, "b": codes}, exclude_self="yes")


@pytest.mark.parametrize("method", ["sign", "itq"])
def test_recall_of_codes_leaves_out_the_own_row(method):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 8))
    x[20:23] = x[0]
    options = {"methods": [method], "n_bits": [6], "k": 3, "candidates": [7]}
    lines = recall_of_codes(x, x.copy(), exclude_self=True, **options)
    near = [nearest(x[[i]], np.delete(x, i, axis=0), 3)[0] for i in range(60)]
    model = fh.ITQ(6, random_state=0).fit(x)
    weights = x[:, :6] if method == "sign" else model.project(x)
    codes = fh.pack(weights)
    expected = {"codes": [], "weights": [], "candidates": []}
    for i in range(60):
        others, vectors = np.delete(codes, i, axis=0), np.delete(x, i, axis=0)
        _, ids = fh.topk(codes[[i]], others, 7)
        for name, found in (
            ("codes", ids[:, :3]),
            ("weights", fh.topk_weighted(weights[[i]], others, 3)[1]),
            ("candidates", fh.rerank(x[[i]], vectors, ids, 3)[1]),
        ):
            expected[name].append(len(np.intersect1d(found, near[i])) / 3)
    assert [line.value for line in lines] == pytest.approx(
        [np.mean(values) for values in expected.values()]
    )


def test_only_the_own_modality_leaves_a_row_out():
    rng = np.random.default_rng(0)
    x = {name: rng.standard_normal((40, 8)) for name in ("image", "text")}
    options = {"methods": ["sign"], "n_bits": [8], "k": 2}
    all_rows = recall_of_codes(x, x, **options)
    without = recall_of_codes(x, x, exclude_self=True, **options)
    for before, after in zip(all_rows, without, strict=True):
        assert (before == after) == (before.query != before.database)


class Sliced:
    """Rows that are read by slices, and the length of the longest slice."""

    def __init__(self, x):
        self.x, self.shape, self.dtype, self.longest = x, x.shape, x.dtype, 0

    def __getitem__(self, rows):
        self.longest = max(self.longest, len(self.x[rows]))
        return self.x[rows]


def test_recall_of_codes_compares_queries_with_vectors_block_by_block():
    x = np.random.default_rng(0).standard_normal((60, 8))
    y = x.copy()
    y[59, 7] += 1
    vectors, queries = Sliced(x), Sliced(y)
    with smaller_pieces(80), pytest.raises(ValueError, match="differ in row 59"):
        recall_of_codes(vectors, queries, n_bits=[8], k=1, exclude_self=True)
    assert vectors.longest == queries.longest == 10


def test_what_recall_of_codes_refuses():
    x = np.random.default_rng(0).standard_normal((9, 8))
    options = {"methods": ["sign"], "n_bits": [8]}
    with pytest.raises(ValueError, match="queries and vectors have the shapes"):
        recall_of_codes(x, x[:5], k=1, exclude_self=True, **options)
    with pytest.raises(ValueError, match=r"queries\['a'\] and vectors\['a'\] differ in row 1"):
        moved = {"a": np.vstack([x[:1], x[2:], x[1:2]])}
        recall_of_codes({"a": x}, moved, k=1, exclude_self=True, **options)
    with pytest.raises(ValueError, match="k is 9, and exclude_self=True leaves 8 vectors"):
        recall_of_codes(x, x, k=9, exclude_self=True, **options)


def test_what_measures_refuse():
    codes = random_codes(9, 16)
    labels = np.arange(9) % 2
    with pytest.raises(ValueError, match="query_labels and database_labels differ in row 0"):
        fh.precision_at(codes, codes, labels, 1 - labels, ranks=1, exclude_self=True)
    with pytest.raises(ValueError, match=r"query_codes and database_codes have the shapes"):
        fh.precision_at(codes[:5], codes, labels[:5], labels, ranks=1, exclude_self=True)
    with pytest.raises(ValueError, match="ranks holds 9, but a query ranks 8 codes"):
        fh.precision_at(codes, codes, labels, labels, ranks=9, exclude_self=True)
    with pytest.raises(ValueError, match="nothing to measure in a set of one code"):
        fh.average_precision(codes[:1], codes[:1], labels[:1], labels[:1], exclude_self=True)
