"""The paired bootstrap: its coverage, its pairing, and what it refuses."""

import numpy as np
import pytest

from fasthash.metrics import compare_paired


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        hard = rng.random(150)
        a, b = hard + rng.normal(0.02, 0.1, 150), hard + rng.normal(0, 0.1, 150)
        found = compare_paired(a, b, confidence=0.9, n_resamples=499, random_state=seed)
        held += found.low <= 0.02 <= found.high
    assert 165 <= held <= 192


def test_the_interval_is_that_of_the_normal_distribution_for_many_queries():
    rng = np.random.default_rng(1)
    a, b = rng.random(2000), rng.random(2000)
    found = compare_paired(a, b)
    width = 1.96 * (a - b).std() / np.sqrt(2000)
    assert found.difference == pytest.approx((a - b).mean())
    assert (found.low, found.high) == pytest.approx(
        (found.difference - width, found.difference + width), abs=0.1 * width
    )


def test_queries_are_paired_and_those_without_a_score_are_left_out():
    rng = np.random.default_rng(2)
    hard = rng.random(300)
    hard[::10] = np.nan
    found = compare_paired(hard + 0.001, hard)
    assert found.n_queries == 270 and found.is_clear
    assert (found.low, found.high) == pytest.approx((0.001, 0.001))
    swapped = compare_paired(hard, hard + 0.001)
    assert swapped.difference == -found.difference


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        ([0.1, 0.2], [0.1], {}, "a has 2 scores and b has 1"),
        ([0.1, np.nan, 0.3], [0.1, 0.2, 0.3], {}, "query 1 has a score in one ranking and NaN"),
        ([0.1, np.nan], [0.1, np.nan], {}, "1 queries have scores"),
        ([0.1, 0.2], [0.1, 0.3], {"confidence": 95}, "confidence must be"),
        ([0.1, 0.2], [0.1, 0.3], {"n_resamples": 1}, "n_resamples must be at least 2"),
        ([0.1, np.inf], [0.1, np.inf], {}, r"a\[1\] is infinite"),
        ([0.1, 0.2], [-np.inf, 0.2], {}, r"b\[0\] is infinite"),
    ],
)
def test_what_is_refused(a, b, options, message):
    with pytest.raises(ValueError, match=message):
        compare_paired(a, b, **options)
    with pytest.raises(TypeError, match="one score for each query"):
        compare_paired([[0.1]], [[0.1]])
