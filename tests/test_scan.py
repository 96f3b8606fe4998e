"""A search cut into many calls answers as one call does, and an interrupt is answered between."""

import contextlib
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash import scan
from fasthash.reference import hamming as reference
from reliability import limits
from strategies import search_problems


@contextlib.contextmanager
def small_calls(cut):
    """Calls over a query or two, or over some rows of two queries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_ONE_CALL_WORDS", 1)
        patch.setattr(scan, "_ONE_CALL_QUERY_WORDS", 1)
        patch.setattr(scan, "_FIRST_WORDS", 40 if cut == "queries" else 1)
        patch.setattr(scan, "_CALL_SECONDS", 1e-9)
        patch.setattr(scan, "_FEWEST_ROWS", 7)
        patch.setattr(scan, "_MOST_QUERIES", 2)
        patch.setattr(scan, "_SHARING_QUERIES", 1 if cut == "queries" else 64)
        yield


@pytest.mark.parametrize("cut", ["queries", "rows"])
@given(
    problem=search_problems(),
    k=st.integers(1, 45),
    radius=st.integers(0, 1024),
    share=st.sampled_from([None, 0.1, 0.5, 0.9]),
    n_threads=st.integers(1, 2),
)
def test_cut_searches_match_the_reference(cut, problem, k, radius, share, n_threads):
    queries, database, _ = problem
    mask = None
    rows = np.arange(len(database))
    if share is not None:
        mask = np.random.default_rng(k).random(len(database)) < share
        rows = np.flatnonzero(mask)
    with small_calls(cut):
        found = (
            fh.topk(queries, database, k, n_threads, mask),
            fh.within(queries, database, radius, n_threads, mask),
            [fh.rank(queries, database, n_threads, mask)],
            [fh.distances(queries, database, n_threads)],
        )
    d, ids = reference.topk(queries, database[rows], k)
    limits, within_d, within_ids = reference.within(queries, database[rows], radius)
    expected = (
        (d, np.append(rows, -1)[ids]),
        (limits, within_d, rows[within_ids]),
        [rows[reference.rank(queries, database[rows])]],
        [reference.distances(queries, database)],
    )
    for ours, theirs in zip(found, expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


def test_a_pace_finds_what_fits():
    pace = scan.Pace(100)
    pace.timed(100, 1e-9)
    assert pace.amount == 800, "eight times as much at most"
    pace.timed(800, 1e9)
    assert pace.amount == 100
    assert [(p.start, p.stop) for p in scan.Pace(7).pieces(3)] == [(0, 3)]
    cut = list(scan.Pace(5).pieces(100))
    assert [p.start for p in cut[1:]] == [p.stop for p in cut[:-1]] and cut[-1].stop == 100


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a child, as Ctrl-C does")
@pytest.mark.parametrize("search", ["topk", "index, probing", "tables being built"])
def test_an_interrupt_is_answered(search):
    assert limits.seconds_to_answer(limits.LONG_SEARCHES[search]) < 60


@pytest.mark.slow
def test_more_codes_and_bytes_than_32_bits_count():
    limits.measure_large()
