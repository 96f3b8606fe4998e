"""The kernels of AMSH's discrete updates against their reference twins."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy import sparse

import fasthash as fh
from fasthash._kernels import discrete as kernels
from reference import discrete as reference

WIDTHS = [1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 256]
FLOATS = [np.float32, np.float64]


@st.composite
def problems(draw):
    """Labels, dense and as CSR; values of n_bits per sample; codes; votes; threads."""
    n = draw(st.sampled_from([0, 1, 2, 15, 16, 17, 40]))
    n_bits = draw(st.sampled_from(WIDTHS))
    n_classes = draw(st.sampled_from([2, 3, 24, 70]))
    dtype = draw(st.sampled_from(FLOATS))
    share = draw(st.sampled_from([0.0, 0.1, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = (rng.random((n, n_classes)) < share).astype(float)
    values = rng.standard_normal((n, n_bits)).astype(dtype)
    # Exact zeros and ones: the borders of every rule.
    values[rng.random(values.shape) < 0.1] = 0
    values[rng.random(values.shape) < 0.1] = 1
    codes = fh.pack(rng.standard_normal((n, n_bits)))
    votes = rng.standard_normal((n_classes, n_bits))
    return labels, values, codes, votes, draw(st.sampled_from([1, 2, 5]))


def rows_of(labels):
    y = sparse.csr_array(labels)
    return y.indptr.astype(np.int64), y.indices.astype(np.int32)


def signs_of(codes, n_bits):
    return np.where(fh.unpack(codes, n_bits), 1.0, -1.0)


def tolerance(values):
    return {"rtol": 1e-4, "atol": 1e-4} if values.dtype == np.float32 else {"atol": 1e-10}


@given(problems())
def test_label_votes(problem):
    labels, values, codes, votes, n_threads = problem
    n_classes, n_bits = votes.shape
    found = kernels.label_votes(values, *rows_of(labels), n_classes, n_threads)
    np.testing.assert_allclose(found, reference.label_votes(labels, values), **tolerance(values))
    found = kernels.label_votes_of_codes(codes, n_bits, *rows_of(labels), n_classes, n_threads)
    expected = reference.label_votes(labels, signs_of(codes, n_bits))
    np.testing.assert_allclose(found, expected, atol=1e-10)


@given(problems())
def test_label_target(problem):
    labels, values, _, votes, n_threads = problem
    prediction = (values @ votes.T).astype(values.dtype)
    expected = reference.label_target(labels, prediction)
    found = prediction.copy()
    change = kernels.label_target(found, *rows_of(labels), n_threads)
    np.testing.assert_allclose(found, expected, **tolerance(values))
    np.testing.assert_allclose(change, np.sum((expected - prediction) ** 2), **tolerance(values))


@given(problems())
def test_bit_target(problem):
    _, values, codes, votes, n_threads = problem
    margins, n_bits = 2 * values, votes.shape[1]
    b = signs_of(codes, n_bits)
    # In the columns of a wider array, as the codes of several lengths are.
    wide = np.full((len(margins), n_bits + 5), 7, values.dtype)
    wide[:, 3:-2] = margins
    loss = kernels.bit_target(wide[:, 3:-2], codes, n_threads)
    np.testing.assert_array_equal(wide[:, 3:-2], reference.bit_target(b, margins))
    np.testing.assert_array_equal(np.delete(wide, np.s_[3:-2], axis=1), 7)
    expected = np.sum(np.maximum(0, 1 - b * margins) ** 2)
    np.testing.assert_allclose(loss, expected, **tolerance(values))


@given(problems())
def test_add_codes(problem):
    _, values, codes, votes, n_threads = problem
    expected = values + 0.3 * signs_of(codes, votes.shape[1])
    kernels.add_codes(values, codes, 0.3, n_threads)
    np.testing.assert_allclose(values, expected, **tolerance(values))


@given(problems())
def test_add_label_rows(problem):
    labels, values, _, votes, n_threads = problem
    origin, label_rows = votes[0].astype(values.dtype), votes.astype(values.dtype)
    latents = np.empty_like(values)
    kernels.add_label_rows(values, origin, *rows_of(labels), label_rows, latents, n_threads)
    expected = values - origin + reference.unit_rows(labels) @ label_rows
    np.testing.assert_allclose(latents, expected, **tolerance(values))


@given(problems())
def test_update_codes(problem):
    labels, values, codes, votes, n_threads = problem
    n_bits = votes.shape[1]
    before = signs_of(codes, n_bits)
    expected = reference.update_codes(labels, votes, values, 0.7)
    changed, alignment = kernels.update_codes(
        values, *rows_of(labels), votes, 0.7, codes, n_threads
    )
    # unpack refuses codes whose padding bits are set.
    np.testing.assert_array_equal(signs_of(codes, n_bits), expected)
    assert changed == np.sum(before != expected)
    np.testing.assert_allclose(alignment, np.sum(expected * values), **tolerance(values))


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_number_of_threads_changes_no_bit(dtype):
    rng = np.random.default_rng(0)
    labels, values = (rng.random((1000, 30)) < 0.1), rng.standard_normal((1000, 65)).astype(dtype)
    codes, votes = fh.pack(values), rng.standard_normal((30, 65))
    one, many = [
        (
            kernels.label_votes(values, *rows_of(labels), 30, n_threads),
            kernels.label_votes_of_codes(codes, 65, *rows_of(labels), 30, n_threads),
            kernels.label_target(values.copy(), *rows_of(labels), n_threads),
            kernels.bit_target(values.copy(), codes, n_threads),
            *kernels.update_codes(values, *rows_of(labels), votes, 0.5, codes.copy(), n_threads),
        )
        for n_threads in (1, 4)
    ]
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a, b)
