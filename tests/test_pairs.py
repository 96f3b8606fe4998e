"""Which samples belong together: what is accepted as pairs, and refusals that say what to do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasthash._core.validation import check_pairs

SIZES = {"image": 5, "text": 3}


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint64])
def test_any_integers_become_int64(dtype):
    pairs = np.array([[4, 0], [0, 2]], dtype, order="F")
    checked = check_pairs(pairs, SIZES)
    assert checked.dtype == np.int64 and checked.flags.c_contiguous
    np.testing.assert_array_equal(checked, pairs)


def test_lists_and_read_only_arrays_are_taken():
    np.testing.assert_array_equal(check_pairs([[4, 0], [0, 2]], SIZES), [[4, 0], [0, 2]])
    pairs = np.array([[4, 0], [0, 2]])
    pairs.flags.writeable = False
    np.testing.assert_array_equal(check_pairs(pairs, SIZES), pairs)


@given(st.integers(2, 4), st.integers(2, 30), st.data())
def test_distinct_rows_of_several_modalities(n_modalities, n_pairs, data):
    sizes = {str(i): n_pairs + data.draw(st.integers(0, 5)) for i in range(n_modalities)}
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    pairs = np.column_stack([rng.permutation(n)[:n_pairs] for n in sizes.values()])
    np.testing.assert_array_equal(check_pairs(pairs, sizes), pairs)
    # One row twice in a column is one too many.
    column = data.draw(st.integers(0, n_modalities - 1))
    pairs[0, column] = pairs[1, column]
    with pytest.raises(ValueError, match=f"row {pairs[0, column]} of '{column}' 2 times"):
        check_pairs(pairs, sizes)


def test_none_pairs_row_by_row():
    assert check_pairs(None, {"image": 3, "text": 3}) is None


@pytest.mark.parametrize(
    ("pairs", "error", "message"),
    [
        (None, ValueError, r"pairs is None.*'image': 5, 'text': 3.*shape \(n_pairs, 2\)"),
        ([0, 1], ValueError, r"pairs must have shape \(n_pairs, 2\).*image, text, got \(2,\)"),
        ([[0, 1, 2]], ValueError, r"got \(1, 3\)"),
        ([[0.0, 1.0]] * 2, TypeError, "integer row numbers, got dtype float64"),
        ([[True, False]] * 2, TypeError, "dtype bool .*np.argwhere"),
        (np.empty((0, 2), int), ValueError, "pairs must be at least 2, got 0"),
        ([[1, 1]], ValueError, "at least 2, got 1"),
        ([[0, 1], [1, 3]], ValueError, "row 3 of 'text', which has 3 rows.*from 0 to 2"),
        ([[0, 1], [-1, 2]], ValueError, "row -1 of 'image'"),
        (np.array([[2**64 - 1, 0], [0, 1]], np.uint64), ValueError, "row 18446744073709551615"),
        ([[0, 1], [2, 1]], ValueError, "row 1 of 'text' 2 times: a row may be in one pair only"),
    ],
)
def test_what_it_refuses(pairs, error, message):
    with pytest.raises(error, match=message):
        check_pairs(pairs, SIZES)


def test_too_few_rows_to_pair():
    with pytest.raises(ValueError, match="at least 2 rows to pair, got 1"):
        check_pairs(None, {"image": 1, "text": 1})
