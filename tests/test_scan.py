"""A search cut into many calls answers as one call does, and an interrupt is answered between."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash._core import scan
from fasthash._core.allowed import allow
from fasthash._core.pieces import Pace, smaller_pieces
from reference import hamming as reference
from reliability import limits
from strategies import random_codes, search_problems

# Calls over a query or two, or over as few rows of two queries as a kernel does at a time.
SMALL_CALLS = {
    "queries": scan.CallSizes(1e-9, first_words=40, one_call_words=1, sharing_queries=2),
    "rows": scan.CallSizes(1e-9, 1, one_call_words=1, sharing_queries=2, shared_words=1),
}


def ranked(queries, database, n_threads, mask, sizes):
    """As `fh.rank`, in calls of these sizes."""
    rows = None if mask is None else np.flatnonzero(mask)
    n = len(database) if rows is None else len(rows)
    out = np.empty((len(queries), n), np.int64)
    scan.scan_rank(queries, database, rows, out, n_threads, sizes)
    return out


def distances(queries, database, n_threads, sizes):
    """As `fh.distances`, in calls of these sizes."""
    out = np.empty((len(queries), len(database)), np.int32)
    scan.scan_distances(queries, database, out, n_threads, sizes)
    return out


@pytest.mark.parametrize("cut", ["queries", "rows", None])
@pytest.mark.parametrize(("most", "n_answered"), [(1, 1), (59, 2), (60, 3), (599, 29), (600, 30)])
def test_a_search_within_a_radius_ends_before_too_many_answers(cut, most, n_answered):
    queries, database = np.zeros((30, 8), np.uint8), np.ones((20, 8), np.uint8)
    sizes = SMALL_CALLS[cut] if cut else scan.CallSizes()
    limits, d, rows = scan.scan_within(queries, database, 8, 1, None, sizes, most)
    np.testing.assert_array_equal(limits, np.arange(n_answered + 1) * 20)
    np.testing.assert_array_equal(d, np.full(20 * n_answered, 8))
    np.testing.assert_array_equal(rows, np.tile(np.arange(20), n_answered))


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
    sizes, allowed = SMALL_CALLS[cut], allow(mask, len(database))
    found = (
        scan.scan_topk(queries, database, k, n_threads, allowed, sizes),
        scan.scan_within(
            queries, database, min(radius, 8 * database.shape[1]), n_threads, allowed, sizes
        ),
        [ranked(queries, database, n_threads, mask, sizes)],
        [distances(queries, database, n_threads, sizes)],
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
    pace = Pace(100)
    pace.timed(100, 1e-9)
    assert pace.amount == 800, "eight times as much at most"
    pace.timed(800, 1e9)
    assert pace.amount == 100
    assert [(p.start, p.stop) for p in Pace(7).cut(3)] == [(0, 3)]
    cut = list(Pace(5).cut(100))
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

    def answers(sizes):
        allowed = allow(mask, len(database))
        topk, within = scan.scan_topk, scan.scan_within
        calls = [
            topk(queries, database, 10, n_threads, None, sizes),
            topk(queries, database, n // 10, n_threads, None, sizes),
            topk(queries, database, n // 4, n_threads, None, sizes),
            topk(queries, database, 10, n_threads, allowed, sizes),
            topk(queries[:1], database, n // 10, n_threads, allowed, sizes),
            within(queries, database, near, n_threads, None, sizes),
            within(queries[:2], database, near, n_threads, allowed, sizes),
            [ranked(queries, database, n_threads, None, sizes)],
            [ranked(queries[:1], database, n_threads, mask, sizes)],
            [distances(queries, database, n_threads, sizes)],
        ]
        for ties in ("database", "expected"):
            score = fh.mean_average_precision(
                queries, database, labels[: len(queries)], labels, ties=ties, n_threads=n_threads
            )
            calls.append([np.array(score)])
        return [part for call in calls for part in call]

    expected = answers(scan.CallSizes())
    steps = []
    timed = Pace.timed
    monkeypatch.setattr(Pace, "timed", lambda *call: (steps.append(call), timed(*call)))
    with smaller_pieces(1000):
        found = answers(scan.CallSizes(1e-5, 1000, 1, sharing_queries=3, shared_words=1))
    for ours, theirs in zip(found, expected, strict=True):
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


@pytest.mark.parametrize("kind", ["Topk", "WeightedTopk"])
def test_a_call_frees_its_scratch_before_the_next_one_allocates(monkeypatch, kind):
    """Two at a time would make the system hand out, and clear, new memory for each."""
    module = scan._search if kind == "Topk" else scan._weighted
    kernel, alive, most = getattr(module, kind), [], []

    class Search:
        def __init__(self, *arguments):
            self.advance = kernel(*arguments).advance
            alive.append(1)
            most.append(len(alive))

        def __del__(self):
            alive.pop()

    monkeypatch.setattr(
        scan,
        "_search" if kind == "Topk" else "_weighted",
        SimpleNamespace(**{kind: Search, "look_up": scan._search.look_up}),
    )
    sizes = SMALL_CALLS["rows"]
    codes = random_codes(100, 64)
    if kind == "Topk":
        found = scan.scan_topk(codes[:9], codes, 3, 1, sizes=sizes)[1]
    else:
        weights = 2 * np.unpackbits(codes[:9], axis=1).astype(np.int16) - 1
        found = scan.scan_weighted(weights, codes, 3, 1, sizes=sizes)[1]
    np.testing.assert_array_equal(found[:, 0], np.arange(9))
    assert len(most) > 1 and max(most) == 1
