"""HammingIndex: the caller's ids, growth, order, and refusals that leave it unchanged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from reference import hamming as reference
from strategies import random_codes


def expected_search(codes, ids, queries, k):
    """The reference over codes sorted by id, with ids in the place of rows."""
    order = np.argsort(ids)
    d, rows = reference.topk(queries, codes[order], k)
    return d, np.where(rows >= 0, ids[order][rows], -1)


@given(
    ids=st.lists(st.integers(0, 10**12), unique=True, min_size=1, max_size=30),
    n_parts=st.integers(1, 4),
    n_bits=st.sampled_from([5, 8, 64, 70]),
)
def test_search_orders_ties_by_the_callers_ids(ids, n_parts, n_bits):
    ids = np.array(ids)
    codes = random_codes(len(ids), n_bits)
    index = fh.HammingIndex(n_bits)
    for part in np.array_split(np.arange(len(ids)), n_parts):
        index.add(codes[part], ids=ids[part])
    assert len(index) == len(ids)
    queries = random_codes(3, n_bits, seed=1)
    for k in (1, 7, 40):
        d, found = index.search(queries, k)
        expected_d, expected_ids = expected_search(codes, ids, queries, k)
        np.testing.assert_array_equal(d, expected_d)
        np.testing.assert_array_equal(found, expected_ids)
    limits, d, found = index.within(queries, n_bits // 2)
    all_d, all_ids = expected_search(codes, ids, queries, len(ids))
    for q in range(3):
        inside = all_d[q] <= n_bits // 2
        np.testing.assert_array_equal(d[limits[q] : limits[q + 1]], all_d[q][inside])
        np.testing.assert_array_equal(found[limits[q] : limits[q + 1]], all_ids[q][inside])


def test_ids_are_numbered_on():
    index = fh.HammingIndex(16)
    codes = random_codes(5, 16)
    index.add(codes[:2])
    index.add(codes[2:3], ids=[10])
    index.add(codes[3:])
    np.testing.assert_array_equal(index.ids, [0, 1, 10, 11, 12])
    np.testing.assert_array_equal(index.codes, codes)


def test_empty_index_answers_missing():
    index = fh.HammingIndex(16)
    d, ids = index.search(random_codes(2, 16), 3)
    assert (d == -1).all() and (ids == -1).all()
    limits, d, ids = index.within(random_codes(2, 16), 16)
    assert limits.tolist() == [0, 0, 0] and len(d) == len(ids) == 0
    index.add(np.empty((0, 2), np.uint8))
    assert len(index) == 0


def test_codes_are_copied_and_views_are_read_only():
    codes = random_codes(4, 16)
    index = fh.HammingIndex(16)
    index.add(codes)
    kept = index.codes.copy()
    codes[:] = 0
    np.testing.assert_array_equal(index.codes, kept)
    with pytest.raises(ValueError, match="read-only"):
        index.codes[0] = 0


@pytest.mark.parametrize(
    ("codes", "ids", "error", "message"),
    [
        (random_codes(2, 24), None, ValueError, "codes of 3 bytes, but n_bits=12 needs 2"),
        (np.full((2, 2), 255, np.uint8), None, ValueError, "padding bits"),
        (random_codes(2, 12), [1], ValueError, r"shape \(2,\)"),
        (random_codes(2, 12), [1.0, 2.0], TypeError, "ids must be integers"),
        (random_codes(2, 12), [8, 8], ValueError, "8 more than once"),
        (random_codes(2, 12), [9, 5], ValueError, "5, which the index has already"),
        (random_codes(2, 12), [9, -5], ValueError, "ids holds -5"),
        (random_codes(2, 12), np.array([1, 2**63], np.uint64), ValueError, "fit in int64"),
    ],
)
def test_a_refused_add_leaves_the_index_unchanged(codes, ids, error, message):
    index = fh.HammingIndex(12)
    index.add(random_codes(1, 12), ids=[5])
    kept = index.codes.copy()
    with pytest.raises(error, match=message):
        index.add(codes, ids=ids)
    assert len(index) == 1
    np.testing.assert_array_equal(index.codes, kept)


def test_numbering_on_past_the_largest_id_is_refused():
    index = fh.HammingIndex(12)
    index.add(random_codes(1, 12), ids=[2**63 - 1])
    with pytest.raises(ValueError, match="no int64 ids are left"):
        index.add(random_codes(1, 12))


def test_queries_of_another_width_are_refused():
    index = fh.HammingIndex(12)
    with pytest.raises(ValueError, match="n_bits=12"):
        index.search(random_codes(1, 32), 1)
    with pytest.raises(ValueError, match="n_bits must be at least 1"):
        fh.HammingIndex(0)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("share", [0.001, 0.3])
def test_filters_of_ids_in_any_order(gaps, share):
    """Few ids and many, some twice and some not held, ids held with gaps and without."""
    rng = np.random.default_rng(int(1000 * share))
    codes = random_codes(20_000, 64)
    ids = np.cumsum(rng.integers(1, 4, len(codes))) if gaps else np.arange(5, 5 + len(codes))
    index = fh.HammingIndex(64)
    index.add(codes, ids=ids)
    chosen = rng.choice(ids, int(share * len(ids)))
    given = np.concatenate([chosen, chosen[:3], [0, 1, 2**62, -1, -(2**63)]])
    d, found = index.search(codes[:5], 9, filter=rng.permutation(given))
    allowed = np.isin(ids, given)
    expected = fh.topk(codes[:5], codes[allowed], 9)
    np.testing.assert_array_equal(d, expected[0])
    np.testing.assert_array_equal(found, np.append(ids[allowed], -1)[expected[1]])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, TypeError, "pass either queries, .* or weights, .*; got neither"),
        ({"queries": random_codes(1, 12), "weights": [[1.0] * 12]}, TypeError, "got both"),
        ({"weights": [[1.0] * 11]}, ValueError, "weights has 11 columns, but n_bits=12"),
        ({"weights": [1.0] * 12}, ValueError, r"weights\[None, :\]"),
        ({"weights": [[np.nan] * 12]}, ValueError, r"weights\[0, 0\] is nan"),
        ({"weights": [[1.0] * 12], "candidates": 0}, ValueError, "candidates must be at least 1"),
        ({"weights": [[1.0] * 12], "k": None}, TypeError, "k is missing: .* as in k=10"),
        ({"queries": random_codes(1, 12), "candidates": 9}, TypeError, "candidates is given with"),
    ],
)
def test_searches_with_weights_that_are_refused(options, error, message):
    index = fh.HammingIndex(12)
    with pytest.raises(error, match=message):
        index.search(**{"k": 2, **options})


def test_weights_are_rounded_once_for_codes_added_before_and_after():
    """The steps would differ if each part of the index were rounded by itself."""
    index = fh.MultiIndexHash(16)
    index.add(random_codes(50, 16), ids=np.arange(50) * 2)
    index.search(random_codes(1, 16), 1)
    index.add(random_codes(50, 16, seed=1), ids=np.arange(50) * 2 + 1)
    assert len(index._storage.state.recent) == 50
    weights = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    scores, ids = index.search(weights=weights, k=100)
    expected, rows = fh.topk_weighted(weights, index.codes, 100)
    np.testing.assert_array_equal(ids, rows)
    np.testing.assert_array_equal(scores, expected)
    assert np.isnan(index.search(weights=weights, k=101, candidates=1)[0][:, 100]).all()
