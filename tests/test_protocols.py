"""Splits of experiments: every row in its place, an order that tells nothing, seeds that hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasthash._core.validation import check_pairs
from fasthash.datasets import semi_paired_split, validation_split

NAMES = ("image", "text", "audio", "video")


@st.composite
def splits(draw):
    """(n, number of pairs, kind, split)."""
    n = draw(st.integers(2, 60))
    n_pairs = draw(st.integers(2, n))
    kind = draw(st.sampled_from(["keep", "missing"]))
    modalities = NAMES[: draw(st.integers(2, 4)) if kind == "keep" else 2]
    seed = draw(st.integers(0, 2**32 - 1))
    split = semi_paired_split(n, n_pairs / n, kind=kind, modalities=modalities, random_state=seed)
    return n, n_pairs, kind, split


@given(splits())
def test_pairs_are_the_same_row_of_every_modality(case):
    n, n_pairs, _, split = case
    assert split.pairs.shape == (n_pairs, len(split.rows))
    check_pairs(split.pairs, {name: len(rows) for name, rows in split.rows.items()})
    for column, rows in zip(split.pairs.T, split.rows.values(), strict=True):
        assert rows.dtype == split.pairs.dtype == np.int64
        assert rows.min() >= 0 and rows.max() < n
        np.testing.assert_array_equal(rows[column], split.paired)


@given(splits())
def test_every_row_is_where_it_should_be(case):
    n, _, kind, split = case
    unpaired = list(split.unpaired.values())
    for alone, rows in zip(unpaired, split.rows.values(), strict=True):
        np.testing.assert_array_equal(np.sort(np.concatenate([alone, split.paired])), np.sort(rows))
    if kind == "keep":
        for rows in split.rows.values():
            np.testing.assert_array_equal(np.sort(rows), np.arange(n))
    else:
        everything = np.concatenate([split.paired, *unpaired])
        np.testing.assert_array_equal(np.sort(everything), np.arange(n))
        assert 0 <= len(unpaired[0]) - len(unpaired[1]) <= 1


@pytest.mark.parametrize("kind", ["keep", "missing"])
def test_the_order_tells_nothing(kind):
    n, n_splits = 40, 400
    places, coincidences = [], []
    for seed in range(n_splits):
        split = semi_paired_split(n, 0.5, kind=kind, random_state=seed)
        image, text = split.rows.values()
        both = min(len(image), len(text))
        # Two independent orders agree in one place by expectation, or in fewer.
        coincidences.append(np.sum(image[:both] == text[:both]))
        places.append(split.pairs / [len(image), len(text)])
        # The unpaired rows among themselves, and the pairs, are in no order either.
        alone = split.unpaired
        assert (np.diff(alone["image"]) < 0).any() and (np.diff(split.paired) < 0).any()
        assert kind == "missing" or (alone["image"] != alone["text"]).any()
    assert np.mean(coincidences) < 1.3
    # Pairs stand anywhere, and where the one half stands does not say where the other does.
    places = np.concatenate(places)
    assert np.abs(places.mean(axis=0) - 0.5).max() < 0.05
    assert abs(np.corrcoef(places.T)[0, 1]) < 0.06


@pytest.mark.parametrize("kind", ["keep", "missing"])
def test_which_rows_are_paired_or_dropped_is_uniform(kind):
    paired, image_only = np.zeros(20), np.zeros(20)
    for seed in range(1000):
        split = semi_paired_split(20, 0.5, kind=kind, random_state=seed)
        paired[split.paired] += 1
        image_only[split.unpaired["image"]] += 1
    # Six standard deviations of a thousand draws.
    assert np.abs(paired / 1000 - 0.5).max() < 0.1
    assert np.abs(image_only / 1000 - (0.5 if kind == "keep" else 0.25)).max() < 0.1


@given(st.integers(2, 50), st.sampled_from(["keep", "missing"]), st.integers(0, 2**32 - 1))
def test_same_seed_same_split(n, kind, seed):
    one, again = (semi_paired_split(n, 1.0, kind=kind, random_state=seed) for _ in range(2))
    np.testing.assert_array_equal(one.pairs, again.pairs)
    for name, rows in one.rows.items():
        np.testing.assert_array_equal(rows, again.rows[name])
    for first, second in zip(
        *(validation_split(n, 0.3, random_state=seed) for _ in range(2)), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_another_seed_another_split():
    one, other = (semi_paired_split(50, 0.5, random_state=seed) for seed in (0, 1))
    assert set(one.paired) != set(other.paired)
    assert list(validation_split(50, 0.5, random_state=0)[0]) != list(
        validation_split(50, 0.5, random_state=1)[0]
    )


def test_all_rows_may_be_pairs():
    split = semi_paired_split(7, 1, modalities=["a", "b"], random_state=0)
    assert sorted(split.paired) == list(range(7))
    assert all(len(alone) == 0 for alone in split.unpaired.values())
    assert repr(split) == "SemiPairedSplit(7 pairs, rows kept {a: 7, b: 7})"


@given(st.integers(2, 60), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_validation_rows_are_apart_and_ascending(n, share):
    kept, held_out = validation_split(n, share, random_state=0)
    assert kept.dtype == held_out.dtype == np.int64
    assert len(kept) >= 1 and abs(len(held_out) - share * n) <= 1
    assert (np.diff(kept) > 0).all() and (np.diff(held_out) > 0).all()
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held_out])), np.arange(n))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 1}, ValueError, "n must be at least 2"),
        ({"n": 10.0}, TypeError, "n must be an integer"),
        ({"ratio": 0}, ValueError, "ratio must be finite and greater than 0"),
        ({"ratio": 1.1}, ValueError, "ratio must be at most 1.*got 1.1"),
        ({"ratio": "half"}, TypeError, "ratio must be a real number"),
        ({"ratio": 0.1}, ValueError, "ratio=0.1 of n=10 rows leaves 1 pairs.*ratio of 0.2 or more"),
        ({"kind": "drop"}, ValueError, "kind must be one of 'keep', 'missing', got 'drop'"),
        ({"kind": "missing", "modalities": "abc"}, TypeError, "sequence of names, got 'abc'"),
        ({"kind": "missing", "modalities": list("abc")}, ValueError, 'use kind="keep" for more'),
        ({"modalities": ["a"]}, ValueError, "two or more different names"),
        ({"modalities": ["a", "a"]}, ValueError, "two or more different names"),
        ({"modalities": ["a", 1]}, TypeError, "sequence of names"),
    ],
)
def test_what_a_split_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        semi_paired_split(**{"n": 10, "ratio": 0.5, **arguments})


@pytest.mark.parametrize(
    ("n", "share", "error", "message"),
    [
        (1, 0.5, ValueError, "n must be at least 2"),
        (10, 0.0, ValueError, "share must be finite and greater than 0"),
        (10, 1, ValueError, "share must be less than 1"),
        (10, None, TypeError, "share must be a real number"),
    ],
)
def test_what_a_validation_split_refuses(n, share, error, message):
    with pytest.raises(error, match=message):
        validation_split(n, share)
