"""Filters: ids in any order as rows, and prepared filters that follow their index."""

import copy
import itertools
import pickle
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash._core.allowed import Allowed, Directory, allow
from fasthash._core.pieces import smaller_pieces
from fasthash._kernels.filters import spread_flags
from fasthash.index._snapshot import SortedCodes
from strategies import random_codes

KINDS = {
    "scan": lambda n_bits: fh.HammingIndex(n_bits, multi_index="never"),
    "tables": lambda n_bits: fh.HammingIndex(n_bits, multi_index="always"),
    "multi-index": fh.MultiIndexHash,
}


@st.composite
def ids_and_wanted(draw):
    """Ids held, ascending, dense or far apart; and ids asked for, some twice, some not held."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.sampled_from([1, 2, 63, 64, 65, 700, 5000]))
    step = draw(st.sampled_from([1, 2, 7, 40, 2**40]))
    first = draw(st.sampled_from([0, 3, 2**62]))
    held = np.cumsum(rng.integers(1, step + 1, n)) - 1 + first
    share = draw(st.sampled_from([0, 0.001, 0.05, 0.5, 1]))
    wanted = rng.choice(held, int(share * n))
    near = held[rng.integers(0, n, 5)] + rng.integers(-3, 4, 5)
    outside = [-(2**63), -1, 2**63 - 1, first - 1, int(held[-1]) + 1]
    wanted = np.concatenate([wanted, near, outside, wanted[:3]])
    return held, np.sort(wanted) if draw(st.booleans()) else rng.permutation(wanted)


@given(ids_and_wanted(), st.sampled_from([1, 8, 10**9]))
def test_ids_become_rows(problem, most):
    """As numpy.isin says, by the directory and by the search, whole and in pieces."""
    held, wanted = problem
    expected = np.isin(held, wanted)
    codes = SortedCodes(random_codes(len(held), 8), held)
    found = []
    with smaller_pieces(most):
        # The first may be searched for, the later ones have a directory where there can be one.
        found += [codes.allowed(wanted) for _ in range(3)]
        if held[-1] - held[0] < 10**6:
            found.append(Directory(int(held[0]), int(held[-1] - held[0]) + 1, held).allowed(wanted))
        for allowed in found:
            assert allowed.n == expected.sum() and allowed.n_rows == len(held)
            np.testing.assert_array_equal(allowed.rows, np.flatnonzero(expected))
            np.testing.assert_array_equal(allowed.flags, expected)


@given(
    n=st.integers(1, 3000),
    share=st.sampled_from([0, 0.001, 0.02, 0.3, 0.9, 1]),
    seed=st.integers(0, 2**32),
)
def test_flags_and_rows_are_made_of_each_other(n, share, seed):
    rng = np.random.default_rng(seed)
    flags = rng.random(n) < share
    rows = np.flatnonzero(flags)
    for allowed in (allow(flags, n), allow(rng.permutation(np.append(rows, rows[:2])), n)):
        assert allowed.n == len(rows) and allowed.is_everything == flags.all()
        np.testing.assert_array_equal(allowed.rows, rows)
        np.testing.assert_array_equal(allowed.flags, flags)
    live = rng.random(n) < 0.7
    for allowed in (Allowed(len(rows), n, rows=rows), Allowed(len(rows), n, flags=flags)):
        both = allowed.only(live)
        assert both.n == (flags & live).sum()
        np.testing.assert_array_equal(both.rows, np.flatnonzero(flags & live))
    spread = np.zeros(n, bool)
    chosen = rng.random(live.sum()) < 0.5
    spread_flags(live.view(np.uint8), chosen.view(np.uint8), spread.view(np.uint8))
    expected = np.zeros(n, bool)
    expected[live] = chosen
    np.testing.assert_array_equal(spread, expected)


@pytest.mark.parametrize("n_words", [1, 4, 16])
@pytest.mark.parametrize("n_queries", [1, 16, 100, 1000])
def test_what_costs_less_changes_once_with_the_share(n_queries, n_words):
    """Few rows are gathered and all are scanned, and between them the choice changes once."""
    n = 100_000
    for form in ("rows", "flags"):
        given_as = (
            {"rows": np.zeros(0, np.int64)} if form == "rows" else {"flags": np.zeros(n, bool)}
        )
        chosen = [
            Allowed(m, n, **given_as).is_gathered(n_queries, n_words) for m in range(0, n + 1, 500)
        ]
        assert chosen[0] and not chosen[-1]
        assert sum(a != b for a, b in itertools.pairwise(chosen)) == 1


def filled(kind, n=4000, n_bits=64):
    rng = np.random.default_rng(3)
    index = KINDS[kind](n_bits)
    index.add(random_codes(n, n_bits), ids=np.cumsum(rng.integers(1, 4, n)))
    return index, rng


def assert_filter_is(index, prepared, ids):
    """Searches with the prepared filter answer as those with these ids."""
    queries = random_codes(20, index.n_bits, 9)
    for search, near in ((index.search, 7), (index.within, 24)):
        for n in (1, 20):
            ours = search(queries[:n], near, filter=prepared)
            theirs = search(queries[:n], near, filter=ids)
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("share", [0.002, 0.1, 0.6])
def test_a_prepared_filter_follows_every_change(kind, share):
    index, rng = filled(kind)
    queries = random_codes(20, 64, 9)
    ids = rng.permutation(np.concatenate([rng.choice(12_000, int(share * 4000)), [-1, 2**62]]))
    kept = ids.copy()
    prepared = index.prepare_filter(ids)
    by_function = index.prepare_filter(lambda held: held % 3 == 0)
    held = index.ids
    # The caller may write over the array.
    ids[:] = 0

    def check():
        assert_filter_is(index, prepared, kept)
        assert_filter_is(index, by_function, index.ids[index.ids % 3 == 0])

    check()
    index.remove(held[::5])
    check()
    index.add(random_codes(5, 64, 4), ids=held[:25:5])
    check()
    index.add(random_codes(3000, 64, 5))
    check()
    index.update(random_codes(3, 64, 6), ids=index.ids[:3])
    check()
    index.compact()
    check()
    index.remove(index.ids)
    assert len(index) == 0 and (index.search(queries, 2, filter=prepared)[1] == -1).all()
    index.add(random_codes(100, 64, 7), ids=range(100))
    check()


def test_a_prepared_filter_is_looked_up_once(monkeypatch):
    index, rng = filled("scan")
    prepared = index.prepare_filter(rng.choice(index.ids, 500))
    looked_up = []
    allowed = SortedCodes.allowed
    monkeypatch.setattr(
        SortedCodes,
        "allowed",
        lambda self, ids: (looked_up.append(len(self)), allowed(self, ids))[1],
    )
    queries = random_codes(2, 64)
    for _ in range(3):
        index.search(queries, 3, filter=prepared)
        index.within(queries, 3, filter=prepared)
    assert looked_up == []
    index.remove(index.ids[:1])
    index.search(queries, 3, filter=prepared)
    # What was found in the base stays; of the recent codes there are none.
    assert looked_up == [0]


def test_a_prepared_filter_belongs_to_one_index():
    index, _ = filled("scan")
    other, _ = filled("scan")
    prepared = index.prepare_filter(index.ids[:40])
    assert repr(prepared) == "PreparedFilter of 40 codes of 4000"
    for search in (other.search, other.within):
        with pytest.raises(ValueError, match="prepared by another index: call prepare_filter"):
            search(random_codes(1, 64), 1, filter=prepared)
    assert_filter_is(other, other.prepare_filter(prepared), index.ids[:40])
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="belongs to one index"):
            copied(prepared)
    with pytest.raises(TypeError, match="filter holds booleans"):
        index.prepare_filter(np.ones(4000, bool))


def test_a_prepared_filter_keeps_no_old_codes_alive():
    index, rng = filled("scan")
    prepared = index.prepare_filter(rng.choice(index.ids, 500))
    before = weakref.ref(index._storage.state.base)
    index.remove(index.ids[:10])
    index.compact()
    assert before() is None
    assert_filter_is(index, prepared, prepared._given)


def test_threads_share_a_prepared_filter_while_the_index_changes():
    index, _ = filled("scan")
    even = index.ids[index.ids % 2 == 0]
    prepared = index.prepare_filter(even)
    queries = random_codes(4, 64)
    wrong, stop = [], threading.Event()

    def search():
        while not stop.is_set():
            found = index.search(queries, 50, filter=prepared)[1]
            wrong.extend(found[(found >= 0) & ~np.isin(found, even)].tolist())

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for step in range(60):
        index.remove(index.ids[step : step + 1])
        index.add(random_codes(1, 64, step), ids=[20_001 + 2 * step])
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_first_padding_bit_of_a_packed_filter_is_refused():
    codes = np.zeros((13, 2), np.uint8)
    last = np.packbits(np.arange(16) == 12)
    assert fh.topk(codes[:1], codes, 1, filter=last)[1].tolist() == [[12]]
    with pytest.raises(ValueError, match="bits set after the last of the 13 rows"):
        fh.topk(codes[:1], codes, 1, filter=np.packbits(np.arange(16) == 13))
