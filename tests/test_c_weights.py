"""Searches with weights from C: memory behind fences, many steps, and what is refused."""

import ctypes

import numpy as np
import pytest
from c_functions import BITS, NULL, OK, POLL, STOPPED, WEIGHTS, WIDTH, Fence, K, Search, data
from c_functions import c_topk_weighted_of as c_topk

import fasthash as fh
from strategies import random_codes, simd


def described(database, n_queries, *, gap=0, poll=None, n_threads=1):
    """A search, and the array that its database lies in."""
    wide = np.full((len(database), database.shape[1] + gap), 255, np.uint8)
    wide[:, : database.shape[1]] = database
    n, n_bytes = database.shape
    search = Search(
        None, n_queries, 0, data(wide), n, wide.shape[1], n_bytes, None, poll or POLL(), None,
        n_threads,
    )  # fmt: skip
    return search, wide


def found(search, weights, k):
    scores, ids = np.empty((len(weights), k)), np.empty((len(weights), k), np.int64)
    n_bits = weights.shape[1]
    return c_topk(search, data(weights), n_bits, k, data(scores), data(ids)), scores, ids


@pytest.mark.parametrize("level", fh.simd_levels())
def test_steps_gaps_and_threads_change_nothing(level):
    database = random_codes(200_000, 100)
    weights = np.random.default_rng(0).normal(size=(20, 100))
    calls = []
    poll = POLL(lambda _: calls.append(1) or 0)
    with simd(level):
        for k in (10, 100):
            expected = fh.topk_weighted(weights, database, k)
            for gap, given, n_threads in [(0, None, 3), (3, None, 3), (0, poll, 1), (3, poll, 2)]:
                search, _kept = described(database, 20, gap=gap, poll=given, n_threads=n_threads)
                error, *answer = found(search, weights, k)
                assert error == OK
                for ours, theirs in zip(answer, expected, strict=True):
                    np.testing.assert_array_equal(ours, theirs)
        assert calls
        search, _kept = described(database, 20, poll=POLL(lambda _: 1))
        assert found(search, weights, 10)[0] == STOPPED


@pytest.mark.parametrize("level", fh.simd_levels())
@pytest.mark.parametrize("n_bits", [1, 8, 63, 64, 100, 264])
def test_nothing_is_touched_behind_arguments(level, n_bits):
    fences = [Fence() for _ in range(4)]
    weights = np.random.default_rng(n_bits).normal(size=(6, n_bits))
    database, k = random_codes(1500 if n_bits < 200 else 1100, n_bits), 7
    search, _kept = described(database, 6)
    search.database, search.stride = fences[0].put(database), 0
    places = [fences[1].put(weights), fences[2].space(48 * k), fences[3].space(48 * k)]
    with simd(level):
        assert c_topk(search, places[0], n_bits, k, *places[1:]) == OK
        expected = fh.topk_weighted(weights, database, k)
    for fence, dtype, values in zip(fences[2:], (np.float64, np.int64), expected, strict=True):
        fence.assert_whole()
        np.testing.assert_array_equal(fence.values(dtype).reshape(6, k), values)


def test_arguments_that_are_refused():
    search, _kept = described(random_codes(5, 64), 1)
    ones, out = np.ones((1, 64)), np.empty(1)
    places = data(out), data(np.empty(1, np.int64))
    for wrong in (np.nan, np.inf, -np.inf, 1e308):
        weights = np.ones((1, 64))
        weights[0, 40] = wrong
        assert found(search, weights, 1)[0] == WEIGHTS
    for n_bits in (-1, 1, 56, 65):
        assert c_topk(search, data(ones), n_bits, 1, *places) == BITS
    assert c_topk(search, data(ones), 0, 1, *places) == OK
    assert c_topk(search, data(ones), 64, 0, *places) == K
    assert c_topk(search, data(ones), 64, 2**60, *places) == K
    assert c_topk(search, None, 64, 1, *places) == NULL
    assert c_topk(search, data(ones), 64, 1, None, places[1]) == NULL
    assert c_topk(ctypes.POINTER(Search)(), data(ones), 64, 1, *places) == NULL
    search.n_bytes, search.stride = (2**31 - 1) // 255, 0
    assert c_topk(search, data(ones), 0, 1, *places) == WIDTH
    search.n_queries, search.n_bytes = 0, 8
    assert c_topk(search, None, 64, 1, None, None) == OK
