"""Searches of many queries: bit planes, tiles and the first bound from a sample change no answer.

The expected answers come from numpy, whose sorts are fast enough for thousands of codes.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fasthash as fh
from strategies import all_distances, random_codes, simd

# Codes of whole words and others, one word to more than bit planes serve.
N_BYTES = [1, 7, 8, 9, 16, 24, 32, 40, 64, 128, 504, 512]
# The portable level has no bit planes, and one example of it takes as long as ten of another.
LEVELS = [level for level in fh.simd_levels() if level != "scalar"] or ["scalar"]


@st.composite
def large_problems(draw):
    """(queries, database): uniform, in clusters, sorted towards or away from the queries."""
    n_bytes = draw(st.sampled_from(N_BYTES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_queries = draw(st.integers(1, 130))
    # Around the first tiles, and around one, two and more blocks of bit planes behind them.
    n = draw(st.sampled_from([2048, 2304, 3072, 4096])) + draw(st.integers(-1, 1025))
    database = rng.integers(0, 256, (n, n_bytes), np.uint8)
    kind = draw(
        st.sampled_from(["uniform", "clusters", "nearer and nearer", "farther and farther"])
    )
    queries = database[rng.integers(0, n, n_queries)]
    if kind == "clusters":
        flips = np.packbits(rng.random((n, 8 * n_bytes)) < 0.05, axis=1)
        database = database[rng.integers(0, 5, n)] ^ flips
    elif kind != "uniform":
        order = np.argsort(all_distances(queries[:1], database)[0], kind="stable")
        database = database[order if kind == "farther and farther" else order[::-1]]
    return queries, np.ascontiguousarray(database)


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=min(60, settings.default.max_examples))
@given(
    problem=large_problems(),
    k=st.sampled_from([1, 2, 10, 60, 100]),
    share=st.sampled_from([None, 0.5, 0.05]),
    n_threads=st.integers(1, 2),
)
def test_topk(level, problem, k, share, n_threads):
    queries, database = problem
    distances = all_distances(queries, database)
    filter = None
    if share is not None:
        filter = np.random.default_rng(k).random(len(database)) < share
        distances[:, ~filter] = 10**6
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(distances, order, axis=1)
    is_found = found < 10**6
    with simd(level):
        got_distances, got_ids = fh.topk(queries, database, k, filter=filter, n_threads=n_threads)
    np.testing.assert_array_equal(got_ids, np.where(is_found, order, -1))
    np.testing.assert_array_equal(got_distances, np.where(is_found, found, -1))


@pytest.mark.parametrize("level", LEVELS)
@settings(max_examples=min(60, settings.default.max_examples))
@given(
    problem=large_problems(),
    share=st.sampled_from([0.0, 0.001, 0.01, 0.1, 0.5]),
    is_filtered=st.booleans(),
    n_threads=st.integers(1, 2),
)
def test_within(level, problem, share, is_filtered, n_threads):
    queries, database = problem
    distances = all_distances(queries, database)
    radius = int(np.quantile(distances, share))
    is_hit = distances <= radius
    filter = None
    if is_filtered:
        filter = np.random.default_rng(radius).random(len(database)) < 0.5
        is_hit &= filter
    with simd(level):
        limits, got_distances, got_ids = fh.within(
            queries, database, radius, filter=filter, n_threads=n_threads
        )
    expected = [
        np.flatnonzero(hits)[np.argsort(of_query[hits], kind="stable")]
        for hits, of_query in zip(is_hit, distances, strict=True)
    ]
    np.testing.assert_array_equal(np.diff(limits), [len(ids) for ids in expected])
    np.testing.assert_array_equal(got_ids, np.concatenate(expected))
    np.testing.assert_array_equal(
        got_distances,
        np.concatenate([d[ids] for d, ids in zip(distances, expected, strict=True)]),
    )


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("n_bytes", [8, 11, 32])
def test_a_sample_that_misleads(level, n_bytes):
    """Few codes are near, and many of them are in the sample: its bound leaves too few answers."""
    n, k = 65536, 100
    database = random_codes(n, 8 * n_bytes)
    queries = random_codes(70, 8 * n_bytes, seed=1)
    queries[1::2] = ~queries[::2]
    # As the kernel draws its sample: one code of each 64 neighbours.
    i = np.arange(1024, dtype=np.uint64)
    sample = i * 64 + (i * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)) % 64
    database[sample[::40]] = queries[0]
    expected = np.argsort(all_distances(queries, database), axis=1, kind="stable")[:, :k]
    with simd(level):
        distances, ids = fh.topk(queries, database, k)
    np.testing.assert_array_equal(ids, expected)
    assert (distances[0, :26] == 0).all() and (distances[0, 26:] > 0).all()
