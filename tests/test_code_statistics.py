"""What codes are like, against numpy on unpacked bits and against counting by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash.metrics.statistics import (
    average_precision_by_label,
    bit_correlations,
    bit_means,
    distances_by_relevance,
)


@given(st.integers(1, 70), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_means_and_correlations_are_those_of_the_bits(n_bits, n, seed):
    bits = np.random.default_rng(seed).random((n, n_bits)) < 0.6
    codes = fh.pack(bits)
    np.testing.assert_allclose(bit_means(codes, n_bits), bits.mean(axis=0))
    found = bit_correlations(codes, n_bits)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.nan_to_num(np.atleast_2d(np.corrcoef(bits.T)) if n > 1 else 0.0)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-9)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_distances_are_counted_by_relevance(n_bits, seed):
    rng = np.random.default_rng(seed)
    queries, codes = (fh.pack(rng.random((n, n_bits)) < 0.5) for n in (7, 23))
    y, labels = rng.integers(0, 3, 7), rng.integers(0, 3, 23)
    relevant, other = distances_by_relevance(queries, codes, y, labels, n_bits=n_bits)
    apart, same = fh.distances(queries, codes), y[:, None] == labels
    np.testing.assert_array_equal(relevant, np.bincount(apart[same], minlength=n_bits + 1))
    np.testing.assert_array_equal(other, np.bincount(apart[~same], minlength=n_bits + 1))


def test_scores_by_label_in_columns():
    columns = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 1]])
    names, counts, means = average_precision_by_label(np.array([0.5, 1.0, np.nan]), columns)
    assert names.tolist() == [0, 2] and counts.tolist() == [2, 2]
    np.testing.assert_allclose(means, [0.75, 1.0])


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="codes is empty"):
        bit_means(np.empty((0, 1), np.uint8), 8)
