"""Searches of a set against itself: every query leaves out its own code, also among equal codes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
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


def test_an_id_that_is_not_held_excludes_nothing():
    codes = random_codes(9, 16)
    index = fh.MultiIndexHash(16)
    index.add(codes)
    found = index.search(codes, 4, exclude=np.full(9, 99))
    np.testing.assert_array_equal(np.stack(found), np.stack(index.search(codes, 4)))


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
