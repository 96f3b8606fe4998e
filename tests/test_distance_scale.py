"""The scale of distances: what is close, how near a distance is, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash.metrics import DistanceScale
from strategies import random_codes

COUNTS = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        *[st.lists(st.integers(0, 50), min_size=n, max_size=n).map(np.array) for _ in range(2)]
    )
)


@given(COUNTS)
def test_close_and_nearness_are_those_of_listed_pairs(counts):
    relevant, other = (np.asarray(one, np.int64) for one in counts)
    other[-1] += 1
    scale = DistanceScale(relevant, other)
    near = np.repeat(np.arange(len(relevant)), relevant)
    far = np.repeat(np.arange(len(other)), other)
    assert scale.n_bits == len(other) - 1
    for distance in range(len(other)):
        expected = (np.mean(far > distance) + np.mean(far >= distance)) / 2
        assert scale.nearness(distance) == pytest.approx(expected)
    shares = [np.mean(far <= distance) for distance in range(len(other))]
    if len(near):
        gains = [np.mean(near <= d) - shares[d] for d in range(len(other))]
        best = max(gains)
        if best <= 0:
            assert scale.close == -1
        else:
            assert gains[scale.close] == pytest.approx(best)
    else:
        assert scale.close == sum(share <= 0.01 for share in shares) - 1
    bands = [scale.band(distance) for distance in range(len(other))]
    assert bands[0] == "same"
    assert bands[1:] == ["close" if d <= scale.close else "far" for d in range(1, len(other))]
    for distance, band in enumerate(bands):
        assert scale.is_weak([len(other) - 1, distance]) == (band == bands[-1] == "far")
    assert scale.is_weak([])


@pytest.mark.parametrize(
    ("relevant", "other", "message"),
    [
        ([1, 0], [1, 0, 1], "one length, got 2 relevant and 3 other"),
        ([1, -1], [1, 1], "int64"),
        ([1.0, 2.0], [1, 1], "int64"),
        ([[1, 2]], [[1, 1]], "one dimension"),
        ([1, 2], [0, 0], "pairs that are not relevant"),
    ],
)
def test_other_counts_are_refused(relevant, other, message):
    with pytest.raises(ValueError, match=message):
        DistanceScale(np.array(relevant), np.array(other))


def test_the_scale_among_codes_counts_each_pair_once():
    codes = random_codes(200, 64)
    codes[:20] = codes[0]
    scale = DistanceScale.of_codes(codes, 64)
    far = fh.distances(codes, codes)[np.triu_indices(200, 1)]
    np.testing.assert_array_equal(scale.other, np.bincount(far, minlength=65))
    assert not scale.relevant.any() and scale.other[0] == 20 * 19 / 2
    assert scale.close == np.flatnonzero(np.cumsum(scale.other) <= 0.01 * len(far))[-1]
    many = DistanceScale.of_codes(random_codes(3000, 16), 16)
    assert many.other.sum() == 1000 * 999 / 2
    with pytest.raises(ValueError, match="1 rows: two or more are needed"):
        DistanceScale.of_codes(codes[:1], 64)


@pytest.mark.parametrize("distance", [-1, 4, 1.5, True, None])
def test_a_distance_that_codes_cannot_have_is_refused(distance):
    scale = DistanceScale(np.array([5, 3, 1, 0]), np.array([0, 1, 4, 5]))
    for name in (scale.band, scale.nearness):
        with pytest.raises((TypeError, ValueError), match="distance must be"):
            name(distance)


def test_scales_of_different_lengths_are_not_added():
    scale = DistanceScale(np.array([5, 3, 1, 0]), np.array([0, 1, 4, 5]))
    with pytest.raises(ValueError, match="scales of 3 and 0 bits cannot be added"):
        scale + DistanceScale(np.array([5]), np.array([3]))
