"""A search cut into many calls answers as one call does, and an interrupt is answered between."""

import contextlib
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash._core import scan
from reference import hamming as reference
from reliability import limits
from strategies import search_problems


@contextlib.contextmanager
def small_calls(cut):
    """Calls over a query or two, or over as few rows of two queries as a kernel does at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_CALL_SECONDS", 1e-9)
        patch.setattr(scan, "_FIRST_WORDS", 40 if cut == "queries" else 1)
        patch.setattr(scan, "_ONE_CALL_WORDS", 1)
        patch.setattr(scan, "_SHARING_QUERIES", 2)
        patch.setattr(scan, "_SHARED_WORDS", 1 << 25 if cut == "queries" else 1)
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


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(
    ("n_bits", "n"), [(8, 150_000), (64, 150_000), (200, 90_000), (1024, 9000)]
)
def test_steps_of_a_kernel_answer_as_one_call(monkeypatch, n_bits, n, n_threads):
    """Some rows of all queries at a time, several tasks one after the other."""
    rng = np.random.default_rng(n_bits)
    database = rng.integers(0, 256, (n, n_bits // 8), np.uint8)
    queries = np.concatenate([database[:5], ~database[:2]])
    labels = rng.integers(0, 5, n)
    mask = rng.random(n) < 0.9
    near = n_bits // 2

    def answers():
        calls = [
            fh.topk(queries, database, 10, n_threads),
            fh.topk(queries, database, n // 10, n_threads),
            fh.topk(queries, database, n // 4, n_threads),
            fh.topk(queries, database, 10, n_threads, mask),
            fh.topk(queries[:1], database, n // 10, n_threads, mask),
            fh.within(queries, database, near, n_threads),
            fh.within(queries[:2], database, near, n_threads, mask),
            [fh.rank(queries, database, n_threads)],
            [fh.rank(queries[:1], database, n_threads, mask)],
            [fh.distances(queries, database, n_threads)],
        ]
        for ties in ("database", "expected"):
            score = fh.mean_average_precision(
                queries, database, labels[: len(queries)], labels, ties=ties, n_threads=n_threads
            )
            calls.append([np.array(score)])
        return [part for call in calls for part in call]

    expected = answers()
    steps = []
    timed = scan.Pace.timed
    monkeypatch.setattr(scan, "_CALL_SECONDS", 1e-5)
    monkeypatch.setattr(scan, "_FIRST_WORDS", 1000)
    monkeypatch.setattr(scan, "_ONE_CALL_WORDS", 1)
    monkeypatch.setattr(scan, "_SHARED_WORDS", 1)
    monkeypatch.setattr(scan, "_SHARING_QUERIES", 3)
    monkeypatch.setattr(scan.Pace, "timed", lambda *call: (steps.append(call), timed(*call)))
    for ours, theirs in zip(answers(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(steps) > 60


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a child, as Ctrl-C does")
@pytest.mark.parametrize("search", ["topk", "index, probing", "tables being built"])
def test_an_interrupt_is_answered(search):
    assert limits.seconds_to_answer(limits.LONG_SEARCHES[search]) < 60


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a child, as Ctrl-C does")
@pytest.mark.parametrize(
    "call", ["rank", "within, all", "average precision", "add, ids in any order", "save"]
)
def test_an_interrupt_is_answered_within_a_call(call):
    """A share of the time that the same call has just taken, and nothing is changed."""
    seconds, whole = limits.seconds_within_a_call(limits.LONG_CALLS[call])
    assert seconds < whole / 2


@pytest.mark.slow
def test_more_codes_and_bytes_than_32_bits_count():
    limits.measure_large()
