"""Packing: agreement with the reference, and every refusal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from fasthash.codes import check_codes
from reference import codes as reference
from strategies import WIDTHS

matrices = st.tuples(st.integers(0, 5), st.sampled_from(WIDTHS))


@given(hnp.arrays(bool, matrices))
def test_booleans_are_taken_as_they_are(values):
    codes = fh.pack(values)
    np.testing.assert_array_equal(codes, reference.pack(values))
    np.testing.assert_array_equal(codes, np.packbits(values, axis=1))
    n_bits = values.shape[1]
    np.testing.assert_array_equal(fh.unpack(codes, n_bits), values)
    np.testing.assert_array_equal(reference.unpack(codes, n_bits), values)


@given(
    hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]),
        matrices,
        elements=st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 2.0, np.inf]),
    )
)
def test_floats_are_taken_by_sign(values):
    # Without a value below 0 the sign says nothing, see below.
    values = np.concatenate([values, np.full_like(values[:1], -1), -np.ones_like(values[:1])])
    before = values.copy()
    np.testing.assert_array_equal(fh.pack(values), reference.pack(values))
    np.testing.assert_array_equal(values, before)


def test_signed_integers_are_taken_by_sign():
    np.testing.assert_array_equal(fh.pack(np.array([[-1, 0, 3, -7]])), [[0b01100000]])
    np.testing.assert_array_equal(fh.pack(np.array([[1, -1]], np.int8)), [[0b10000000]])


def test_unsigned_bits_are_taken_by_value():
    np.testing.assert_array_equal(fh.pack(np.array([[0, 1, 1]], np.uint8)), [[0b01100000]])


def test_blocks_join_without_a_seam():
    values = np.random.default_rng(0).standard_normal((101, 37))
    whole = fh.pack(values)
    with smaller_pieces(37 * 10):
        np.testing.assert_array_equal(fh.pack(values), whole)


def test_views_and_read_only_arrays():
    values = np.random.default_rng(0).standard_normal((20, 30))
    values.flags.writeable = False
    np.testing.assert_array_equal(fh.pack(values[::2, ::-1]), reference.pack(values[::2, ::-1]))


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (
            np.array([[0, 1]]),
            ValueError,
            r"signed dtype int64 and holds only 0 and 1.*np.asarray\(values, bool\)",
        ),
        (np.array([[0, 0]], np.int8), ValueError, r"holds only 0 and 1"),
        (
            np.array([[0, 2]], np.uint8),
            ValueError,
            r"holds 2: unsigned.*packed already need no pack",
        ),
        (np.array([[0.5, np.nan]]), ValueError, r"NaN"),
        (np.array([["a"]]), TypeError, r"dtype <U1"),
        (np.array([[1j]]), TypeError, r"dtype complex128"),
        (np.array([1.0, -1.0]), ValueError, r"shape \(2,\) \(for a single one pass"),
        (np.zeros((3, 0)), ValueError, r"no columns"),
        (np.zeros((1, 1, 1)), ValueError, r"two dimensions"),
    ],
)
def test_what_pack_refuses(values, error, message):
    with pytest.raises(error, match=message):
        fh.pack(values)


def test_nan_in_a_later_block_is_refused():
    values = np.ones((9, 4))
    values[8, 1] = np.nan
    with smaller_pieces(4), pytest.raises(ValueError, match=r"^values\[8, 1\] is NaN"):
        fh.pack(values)


@pytest.mark.parametrize(
    ("codes", "n_bits", "error", "message"),
    [
        (
            np.zeros((2, 1), np.int64),
            8,
            TypeError,
            r"uint8, got int64, all 0 or 1: pass pack\(np.asarray\(codes, bool\)\)",
        ),
        (np.zeros((2, 2), np.uint8), 8, ValueError, r"codes of 2 bytes, but n_bits=8 needs 1"),
        (np.array([[1]], np.uint8), 7, ValueError, r"last 1 bits"),
        (np.zeros((2, 0), np.uint8), 1, ValueError, r"no columns"),
        (np.zeros(2, np.uint8), 8, ValueError, r"two dimensions"),
        (np.zeros((2, 1), np.uint8), 0, ValueError, r"n_bits must be at least 1, got 0"),
        (np.zeros((2, 1), np.uint8), 8.0, TypeError, r"n_bits must be an integer, got 8.0"),
        (np.zeros((2, 1), np.uint8), True, TypeError, r"n_bits must be an integer, got True"),
    ],
)
def test_what_unpack_refuses(codes, n_bits, error, message):
    with pytest.raises(error, match=message):
        fh.unpack(codes, n_bits)


def test_validation_does_not_copy_contiguous_codes():
    codes = np.zeros((5, 3), np.uint8)
    assert check_codes(codes, "codes") is codes
    assert check_codes(codes[::2], "codes").flags.c_contiguous
