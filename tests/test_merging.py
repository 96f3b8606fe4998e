"""Answers of shards, merged in any groups, are the answers of one index over all codes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash.distributed import _merging, _shards
from reference import merging as twin
from strategies import search_problems


@st.composite
def sharded_problems(draw):
    """(queries, codes, ids, the shard of each code, n_bits)."""
    queries, codes, n_bits = draw(search_problems())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ids = np.sort(rng.choice(10 * len(codes) + 1, len(codes), replace=False))
    return queries, codes, ids, rng.integers(0, draw(st.integers(1, 5)), len(codes)), n_bits


def index_of(codes, ids, n_bits):
    index = fh.HammingIndex(n_bits)
    index.add(codes, ids=ids)
    return index


def shards_of(codes, ids, shard_of, n_bits):
    n = shard_of.max(initial=0) + 1
    return [index_of(codes[shard_of == s], ids[shard_of == s], n_bits) for s in range(n)]


def merged(merge, answers, group):
    """As workers and the client merge: groups first, then what they gave."""
    while len(answers) > group:
        answers = [merge(answers[at : at + group]) for at in range(0, len(answers), group)]
    return merge(answers)


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def listed(values, ids):
    """Without what is missing, as the twin answers."""
    rows = [
        [(v, i) for v, i in zip(*row, strict=True) if i >= 0]
        for row in zip(values.tolist(), ids.tolist(), strict=True)
    ]
    return [[v for v, _ in row] for row in rows], [[i for _, i in row] for row in rows]


@given(sharded_problems(), st.integers(1, 8), st.integers(2, 4))
def test_nearest(problem, k, group):
    queries, codes, ids, shard_of, n_bits = problem
    answers = [s.search(queries, k) for s in shards_of(codes, ids, shard_of, n_bits)]
    found = merged(lambda some: _merging.merge_nearest(some, k), answers, group)
    assert_same(found, index_of(codes, ids, n_bits).search(queries, k))
    assert listed(*found) == twin.merge_nearest(answers, k)


@given(sharded_problems(), st.integers(0, 70), st.integers(2, 4))
def test_ranges(problem, radius, group):
    queries, codes, ids, shard_of, n_bits = problem
    answers = [s.within(queries, radius) for s in shards_of(codes, ids, shard_of, n_bits)]
    limits, distances, found = merged(_merging.merge_ranges, answers, group)
    assert_same((limits, distances, found), index_of(codes, ids, n_bits).within(queries, radius))
    pairs = list(zip(distances.tolist(), found.tolist(), strict=True))
    in_rows = [pairs[a:b] for a, b in pairwise(limits)]
    assert in_rows == twin.merge_ranges(answers)


@given(sharded_problems(), st.integers(1, 8), st.integers(0, 20), st.integers(2, 4))
def test_weights(problem, k, extra, group):
    """All codes by weights, and only the candidates that are near by Hamming distance."""
    queries, codes, ids, shard_of, n_bits = problem
    # Small integers, so that many scores are equal.
    weights = np.random.default_rng(k).integers(-2, 3, (len(queries), n_bits)).astype(float)
    parts = shards_of(codes, ids, shard_of, n_bits)
    answers = [s.search(weights=weights, k=k) for s in parts]
    found = merged(lambda some: _merging.merge_scored(some, k), answers, group)
    one = index_of(codes, ids, n_bits)
    assert_same(found, one.search(weights=weights, k=k))
    assert listed(*found) == twin.merge_nearest(answers, k, descending=True)

    n = k + extra
    request = [weights, None, None, None]
    near = [_shards.candidates(_shards.Shard(s), request, n, None) for s in parts]
    distances, near_ids, _ = merged(lambda some: _merging.merge_candidates(some, n), near, group)
    assert_same((distances, near_ids), one.search(fh.codes.pack_signs(weights >= 0), n))


@pytest.mark.parametrize("descending", [False, True])
def test_the_twin_sees_a_wrong_order(descending):
    answers = [(np.array([[1, 1]]), np.array([[4, 9]])), (np.array([[1, 2]]), np.array([[5, 6]]))]
    values, ids = twin.merge_nearest(answers, 3, descending)
    assert ids == ([[6, 4, 5]] if descending else [[4, 5, 9]])
    assert values == ([[2, 1, 1]] if descending else [[1, 1, 1]])
