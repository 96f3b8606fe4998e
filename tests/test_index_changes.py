"""Ids and changes: an index against a dictionary, whatever is added, removed and filtered."""

import copy
import pickle
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import fasthash as fh
from fasthash.index import _plan as plan_module
from fasthash.index import _storage as storage_module
from reference.index import Index as Twin
from strategies import random_codes

KINDS = {
    "scan": lambda n_bits: fh.HammingIndex(n_bits, multi_index="never"),
    "auto": fh.HammingIndex,
    "tables": lambda n_bits: fh.HammingIndex(n_bits, multi_index="always"),
    "multi-index": fh.MultiIndexHash,
}


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


class Changes(RuleBasedStateMachine):
    """Every change and every search, in any order, on small ids so that they meet."""

    small_ids = st.lists(st.integers(0, 40), max_size=12, unique=True)

    @initialize(
        kind=st.sampled_from(sorted(KINDS)),
        n_bits=st.sampled_from([3, 8, 20, 64, 70]),
        most_recent=st.sampled_from([0, 5, 4096]),
    )
    def start(self, kind, n_bits, most_recent):
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(storage_module, "_MOST_RECENT", most_recent)
        # Few codes are enough for a plan, and tables are earned at once.
        self.patch.setattr(plan_module, "_FEWEST_CODES", 3)
        self.patch.setattr(plan_module, "_SECONDS_PER_ENTRY", 1e-12)
        self.n_bits = n_bits
        self.prepared = []
        self.folder = Path(tempfile.mkdtemp())
        self.index, self.twin = KINDS[kind](n_bits), Twin(n_bits)

    def teardown(self):
        if hasattr(self, "patch"):
            self.patch.undo()
            # Windows deletes no file that is mapped.
            del self.index
            shutil.rmtree(self.folder)

    def codes(self, n, seed):
        # Few different codes, so that distances tie.
        return random_codes(8, self.n_bits, seed % 3)[
            np.random.default_rng(seed).integers(8, size=n)
        ]

    def weights(self, seed):
        # Few different weights, so that scores tie; and a large one, so that small ones are 0.
        values = [-1.0, -1.0, 0.0, 0.001, 1.0, 60.0]
        return np.random.default_rng(seed).choice(values, size=(3, self.n_bits))

    @rule(n=st.integers(0, 6), seed=st.integers(0, 99))
    def add_numbered(self, n, seed):
        self.index.add(self.codes(n, seed))
        assert self.twin.add(self.codes(n, seed))

    @rule(ids=small_ids, seed=st.integers(0, 99), replace=st.booleans())
    def add(self, ids, seed, replace):
        codes = self.codes(len(ids), seed)
        if self.twin.add(codes, ids, replace):
            self.index.add(codes, ids=ids, replace=replace)
        else:
            with pytest.raises(ValueError, match="which the index has already"):
                self.index.add(codes, ids=ids, replace=replace)

    @rule(ids=small_ids, seed=st.integers(0, 99))
    def update(self, ids, seed):
        codes = self.codes(len(ids), seed)
        if self.twin.update(ids, codes):
            self.index.update(codes, ids=ids)
        else:
            with pytest.raises(ValueError, match="does not hold"):
                self.index.update(codes, ids=ids)

    @rule(ids=small_ids)
    def remove(self, ids):
        if all(i in self.twin.held for i in ids):
            assert self.index.remove(ids) == self.twin.remove(ids)
        else:
            with pytest.raises(ValueError, match="does not hold"):
                self.index.remove(ids)
            assert self.index.remove(ids, missing="ignore") == self.twin.remove(ids)

    @rule()
    def compact(self):
        self.index.compact()
        assert self.index._storage.state.is_compact

    @rule(copied=st.sampled_from([copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]))
    def copy(self, copied):
        self.index = copied(self.index)
        self.prepared = []

    @rule(n_lists=st.integers(1, 5))
    def store_list_by_list(self, n_lists):
        if self.twin.held and isinstance(self.index, fh.HammingIndex):
            self.index.partition(n_lists=n_lists)

    @rule(mmap=st.booleans(), tables=st.booleans(), partitions=st.booleans())
    def save_and_load(self, mmap, tables, partitions):
        partitions &= isinstance(self.index, fh.HammingIndex) and len(self.twin.held) > 0
        path = self.folder / f"{len(list(self.folder.iterdir()))}.index"
        self.index.save(path, tables=tables, partitions=partitions)
        self.index = fh.load(path, mmap=mmap)
        self.index.verify()
        self.prepared = []

    @rule(k=st.integers(1, 50), seed=st.integers(0, 99))
    def search_with_what_was_prepared(self, k, seed):
        queries = self.codes(3, seed)
        for allowed, prepared in self.prepared:
            found = self.index.search(queries, k, filter=prepared)
            assert_same(found, self.twin.search(queries, k, allowed))

    @rule(
        k=st.integers(1, 50),
        radius=st.integers(0, 70),
        seed=st.integers(0, 99),
        kind=st.sampled_from(["none", "ids", "set", "callable", "prepared", "prepared callable"]),
        allowed=st.sets(st.integers(0, 45)),
        n_threads=st.integers(1, 2),
    )
    def search(self, k, radius, seed, kind, allowed, n_threads):
        queries = self.codes(3, seed)
        chosen = {
            "none": None,
            "ids": np.array([*allowed, *allowed], np.int64),
            "set": allowed,
            "callable": lambda ids: np.isin(ids, list(allowed)),
        }[kind.split()[-1].replace("prepared", "ids")]
        if kind.startswith("prepared"):
            # Made now, and kept for the searches after the next changes.
            prepared = self.index.prepare_filter(chosen)
            self.prepared = [(allowed, prepared), *self.prepared[:2]]
            chosen = prepared
        allowed = None if kind == "none" else allowed
        found = self.index.search(queries, k, n_threads=n_threads, filter=chosen)
        assert_same(found, self.twin.search(queries, k, allowed))
        found = self.index.within(queries, radius, n_threads=n_threads, filter=chosen)
        assert_same(found, self.twin.within(queries, radius, allowed))
        weights = self.weights(seed)
        for candidates in (None, radius + 1):
            options = {"candidates": candidates, "n_threads": n_threads, "filter": chosen}
            found = self.index.search(weights=weights, k=k, **options)
            expected = self.twin.search_weighted(weights.tolist(), k, allowed, candidates)
            assert_same(found, expected)

    @invariant()
    def holds_the_same(self):
        if not hasattr(self, "index"):
            return
        ids = sorted(self.twin.held)
        assert len(self.index) == len(ids)
        np.testing.assert_array_equal(self.index.ids, ids)
        assert [bytes(code) for code in self.index.codes] == [self.twin.held[i] for i in ids]
        assert [i for i in range(-1, 60) if i in self.index] == [i for i in ids if i < 60]
        some = ids[::-2]
        assert [bytes(code) for code in self.index.reconstruct(some)] == [
            self.twin.held[i] for i in some
        ]


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def clustered_index(kind, n=50_000, seed=0):
    rng = np.random.default_rng(seed)
    centres = random_codes(200, 64, seed)
    codes = centres[rng.integers(0, 200, n)] ^ np.packbits(rng.random((n, 64)) < 0.04, axis=1)
    index = KINDS[kind](64)
    index.add(codes, ids=np.arange(n) * 2)
    return index, codes


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_many_codes_removed_added_and_filtered(kind, seed):
    rng = np.random.default_rng(seed)
    index, codes = clustered_index(kind, seed=seed % 3)
    queries = codes[rng.integers(0, len(codes), 40)]
    weights = rng.normal(size=(40, 64))
    index.search(queries, 3)
    searcher = index._storage.state.base.searcher
    gone = rng.choice(len(codes), 20_000, replace=False)
    assert index.remove(gone * 2) == len(gone)
    more = codes[rng.integers(0, len(codes), 3_000)]
    index.add(more, ids=rng.permutation(100_000)[:3_000] * 2 + 1)
    index.update(codes[: len(index.ids[::100])], ids=index.ids[::100])
    assert index._storage.state.base.searcher is searcher, "what was built was thrown away"
    held_codes, held_ids = index.codes, index.ids
    chosen_ids = held_ids[::-400], held_ids[held_ids % 7 > 0]
    for chosen in (None, lambda ids: ids % 3 == 0, *chosen_ids):
        allowed = np.ones(len(held_ids), bool)
        if callable(chosen):
            allowed = chosen(held_ids)
        elif chosen is not None:
            allowed = np.isin(held_ids, chosen)
        rows = np.flatnonzero(allowed)
        for n in (1, 40):
            d, found = fh.topk(queries[:n], held_codes[rows], 12)
            assert_same(index.search(queries[:n], 12, filter=chosen), (d, held_ids[rows][found]))
            scores, found = fh.topk_weighted(weights[:n], held_codes[rows], 12)
            assert_same(
                index.search(weights=weights[:n], k=12, filter=chosen),
                (scores, held_ids[rows][found]),
            )
            limits, d, found = fh.within(queries[:n], held_codes[rows], 6)
            assert_same(
                index.within(queries[:n], 6, filter=chosen), (limits, d, held_ids[rows][found])
            )


def test_a_plan_follows_changes_by_both_methods(monkeypatch):
    monkeypatch.setattr(plan_module, "_SECONDS_PER_ENTRY", 1e-12)
    index, codes = clustered_index("auto")
    for step in range(12):
        queries = codes[step * 10 : step * 10 + 10]
        index.remove([2 * step, 40_000 + 2 * step])
        index.add(codes[step : step + 1])
        held_codes, held_ids = index.codes, index.ids
        d, rows = fh.topk(queries, held_codes, 5)
        assert_same(index.search(queries, 5), (d, held_ids[rows]))
        limits, d, rows = fh.within(queries, held_codes, 5)
        assert_same(index.within(queries, 5), (limits, d, held_ids[rows]))
    plan = index._storage.state.base.searcher
    assert plan.tables is not None
    assert all(timing.n_trials for pair in plan._timings.values() for timing in pair)


def test_many_recent_codes_get_tables_of_their_own(monkeypatch):
    monkeypatch.setattr(plan_module, "_SECONDS_PER_ENTRY", 1e-12)
    monkeypatch.setattr(plan_module, "_FEWEST_CODES", 1000)
    index, codes = clustered_index("auto")
    index.search(codes[:40], 1)
    index.add(codes[:5000])
    d, rows = fh.topk(codes[:40], index.codes, 2)
    for _ in range(4):
        assert_same(index.search(codes[:40], 2), (d, index.ids[rows]))
    state = index._storage.state
    assert state.base.searcher.tables is not None and state.recent.searcher.tables is not None


def test_ids_of_removed_codes_are_not_given_again():
    index = fh.HammingIndex(16)
    index.add(random_codes(3, 16))
    index.remove([2])
    index.compact()
    index.add(random_codes(1, 16))
    assert index.ids.tolist() == [0, 1, 3]
    assert 2 not in index and 3 in index and np.int64(3) in index
    assert "3" not in index and 3.0 not in index and 2**70 not in index


def test_compact_gives_memory_back():
    index = fh.HammingIndex(64)
    index.add(random_codes(10_000, 64))
    index.remove(np.arange(9_000))
    assert len(index._storage.state.base) == 10_000
    index.compact()
    state = index._storage.state
    assert len(state.base) == len(index) == 1_000
    assert state.base.codes.base is None or state.base.codes.base.nbytes == 8_000


def test_views_handed_out_stay_what_they_were():
    index = fh.HammingIndex(16)
    index.add(random_codes(100, 16))
    ids, codes = index.ids, index.codes
    kept = ids.copy(), codes.copy()
    index.add(random_codes(500, 16, 1))
    index.update(random_codes(2, 16, 2), ids=[3, 4])
    index.remove(np.arange(50))
    index.compact()
    np.testing.assert_array_equal(ids, kept[0])
    np.testing.assert_array_equal(codes, kept[1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda i, q: i.remove([1, 99]), ValueError, "ids holds 99, which the index does not"),
        (lambda i, q: i.remove(1), ValueError, r"one dimension.*pass \[1\]"),
        (lambda i, q: i.remove([1.5]), TypeError, "ids must be integers, got dtype float64"),
        (lambda i, q: i.remove([1], missing="warn"), ValueError, "missing must be one of"),
        (
            lambda i, q: i.update(q[:2], ids=[1, 99]),
            ValueError,
            "99, which the index does not hold",
        ),
        (lambda i, q: i.update(q[:2], ids=[1, 1]), ValueError, "1 more than once"),
        (lambda i, q: i.update(q[:2], ids=[1]), ValueError, r"shape \(2,\)"),
        (lambda i, q: i.reconstruct([99]), ValueError, "99, which the index does not hold"),
        (
            lambda i, q: i.add(q[:1], ids=[1]),
            ValueError,
            "already: leave it out, or pass replace=True",
        ),
        (lambda i, q: i.add(q[:2], ids=[1, 1], replace=True), ValueError, "1 more than once"),
        (
            lambda i, q: i.search(q, 1, filter=[True] * 5),
            TypeError,
            r"filter holds booleans, and an index takes ids: pass index.ids\[filter\]",
        ),
        (
            lambda i, q: i.within(q, 1, filter=np.zeros(0, bool)),
            TypeError,
            "filter holds booleans",
        ),
        (
            lambda i, q: i.search(q, 1, filter=np.array([31], np.uint8)),
            TypeError,
            r"filter has dtype uint8.*pass filter.astype\(np.int64\)",
        ),
        (lambda i, q: i.search(q, 1, filter=3), TypeError, r"one dimension.*shape \(\)"),
        (lambda i, q: i.search(q, 1, filter=["a"]), TypeError, "filter must be ids"),
        (lambda i, q: i.search(q, 1, filter=[0.5]), TypeError, "filter must be ids"),
        (lambda i, q: i.search(q, 1, filter=np.sum), TypeError, "filter must return a boolean"),
        (lambda i, q: i.search(q, 1, filter=lambda ids: None), TypeError, "got None from <lambda>"),
        (lambda i, q: i.within(q, 1, filter=lambda ids: ids[1:] > 0), ValueError, "got \\(4,\\)"),
    ],
)
def test_refused_changes_and_filters(call, error, message):
    index = fh.HammingIndex(16)
    index.add(random_codes(5, 16))
    before = index._storage.state
    with pytest.raises(error, match=message):
        call(index, random_codes(5, 16, 1))
    assert index._storage.state is before


@pytest.mark.parametrize("stage", ["delete", "insert", "ones"])
def test_a_change_that_runs_out_of_memory_has_not_happened(monkeypatch, stage):
    index = fh.HammingIndex(16)
    index.add(random_codes(50, 16), ids=np.arange(50) * 2)
    index.search(random_codes(1, 16), 1)
    index.add(random_codes(5, 16), ids=[31, 33, 35, 37, 39])
    index.remove([35])
    before, ids, codes = index._storage.state, index.ids, index.codes

    def no_memory(*arguments, **keywords):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(np, stage, no_memory)
        with pytest.raises(MemoryError):
            index.add(random_codes(3, 16), ids=[0, 33, 41], replace=True)
    assert index._storage.state is before
    np.testing.assert_array_equal(index.ids, ids)
    np.testing.assert_array_equal(index.codes, codes)


@pytest.mark.parametrize("name", ["scan", "multi-index"])
def test_a_copy_changes_apart(name):
    """`copy.copy` shares the memory of the codes; either index may then change, and grow."""
    codes = random_codes(30, 64)
    index = KINDS[name](64)
    index.add(codes[:10])
    other = copy.copy(index)
    index.add(codes[10:20])
    other.add(codes[20:])
    other.remove([0])
    np.testing.assert_array_equal(index.codes, codes[:20])
    np.testing.assert_array_equal(other.codes, np.concatenate([codes[1:10], codes[20:]]))
    assert index.search(codes[:1], 1)[1] == 0 and other.search(codes[:1], 1)[1] != 0


def test_codes_added_to_an_empty_index_that_was_searched_are_stored_together(tmp_path):
    """Also to an empty file that is mapped: there is nothing apart from which to keep them."""
    fh.HammingIndex(20).save(tmp_path / "empty.index")
    searched = fh.HammingIndex(20, multi_index="always")
    for index in (searched, fh.load(tmp_path / "empty.index", mmap=True)):
        index.search(random_codes(1, 20), 1)
        index.add(random_codes(100, 20))
        assert len(index._storage.state.recent) == 0
        assert index.calibrate(recall=0.9, k=1).queries == "held"
