"""An index with lists holds its codes once, list by list, and answers as one without lists."""

import copy
import gc
import pickle
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_recall import near_codes

import fasthash as fh
from fasthash._core.stored_codes import StoredCodes
from fasthash.index import _list_search, _partitioning, _plan
from fasthash.index._tables import CodeTables
from strategies import WIDTHS, random_codes


def pair_of(codes, ids=None, n_lists=20, **options):
    """(an index, the same with lists)."""
    pair = []
    for _ in range(2):
        index = fh.HammingIndex(8 * codes.shape[1], **options)
        index.add(codes, ids=ids)
        pair.append(index)
    pair[1].partition(n_lists=n_lists)
    return pair


def stored(index):
    return index._storage.state.base.stored


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("n_bits", WIDTHS)
@given(
    seed=st.integers(0, 99),
    n=st.integers(1, 300),
    k=st.integers(1, 320),
    n_lists=st.integers(1, 30),
    has_ties=st.booleans(),
    is_excluding=st.booleans(),
    multi_index=st.sampled_from(["never", "always"]),
    n_threads=st.integers(1, 3),
)
@settings(max_examples=15)
def test_answers_are_those_without_lists(
    n_bits, seed, n, k, n_lists, has_ties, is_excluding, multi_index, n_threads
):
    rng = np.random.default_rng(seed)
    codes = random_codes(n, n_bits, seed)
    if has_ties:
        codes = codes[rng.integers(0, min(5, n), n)]
    ids = np.sort(rng.choice(3 * n, n, replace=False))
    plain, laid = fh.HammingIndex(n_bits), fh.HammingIndex(n_bits, multi_index=multi_index)
    for index in (plain, laid):
        index.add(codes, ids=ids)
    laid.partition(n_lists=n_lists)
    assert stored(laid).layout.order is not None
    chosen = rng.integers(0, n, 9)
    queries = np.concatenate([codes[chosen], random_codes(3, n_bits, seed + 1)])
    own = np.append(ids[chosen], [0, 1, 2]) if is_excluding else None
    weights = rng.integers(-3, 4, (12, n_bits)).astype(float)
    filters = (None, ids[rng.random(n) < 0.5], ids[:2], lambda held: held % 3 > 0)
    for has_changed in (False, True):
        for index in (plain, laid) if has_changed else ():
            index.remove(ids[::3])
            index.add(codes[::3], ids=ids[::3] + 3 * n)
        for some in filters:
            options = {"filter": some, "exclude": own, "n_threads": n_threads}
            for extent in ({"k": k}, {"k": 3}):
                assert_same(
                    laid.search(queries, **extent, **options),
                    plain.search(queries, **extent, **options),
                )
                for candidates in (None, k + 2):
                    asked = {"weights": weights, "candidates": candidates, **extent, **options}
                    assert_same(laid.search(**asked), plain.search(**asked))
            radius = int(rng.integers(0, n_bits + 1))
            assert_same(
                laid.within(queries, radius, **options), plain.within(queries, radius, **options)
            )
        assert_same([laid.codes, laid.ids], [plain.codes, plain.ids])
        some = rng.choice(plain.ids, 5)
        assert_same([laid.reconstruct(some)], [plain.reconstruct(some)])


@pytest.mark.parametrize("way", ["copy", "deepcopy", "pickle", "file", "mapped"])
def test_copies_and_files(way, tmp_path):
    codes = near_codes(3000, 40, 0.1, 1)
    plain, laid = pair_of(codes, ids=np.arange(3000) * 2)
    if way in ("file", "mapped"):
        plain.save(tmp_path / "plain")
        laid.save(tmp_path / "laid")
        assert (tmp_path / "laid").read_bytes() == (tmp_path / "plain").read_bytes()
        laid.save(tmp_path / "laid", partitions=True, tables=True)
        again = fh.load(tmp_path / "laid", mmap=way == "mapped")
        again.verify()
        again.search(codes[:2000], 3, recall=0.9)
        assert (stored(again).layout.order is None) == (way == "mapped")
        again.verify()
    elif way == "pickle":
        again = pickle.loads(pickle.dumps(laid))
    else:
        again = getattr(copy, way)(laid)
    for index in (laid, again):
        assert_same([index.codes, index.ids], [plain.codes, plain.ids])
        assert_same(index.search(codes[:50], 7), plain.search(codes[:50], 7))
        assert_same(index.within(codes[:50], 20), plain.within(codes[:50], 20))


@pytest.mark.parametrize("n_bits", [256, 1024])
@pytest.mark.parametrize("before", ["added", "added in parts", "searched", "tables", "loaded"])
def test_codes_are_held_once(n_bits, before, tmp_path):
    codes = near_codes(30000, 300, 0.1, 1)
    codes = np.tile(codes, (1, 10))[:, : n_bits // 8].copy()
    index = fh.HammingIndex(n_bits, multi_index="always" if before == "tables" else "auto")
    for some in np.array_split(codes, 5) if before == "added in parts" else [codes]:
        index.add(some)
    if before == "loaded":
        index.save(tmp_path / "x", partitions=True)
        index = fh.load(tmp_path / "x")
    elif before in ("searched", "tables"):
        index.search(codes[:5], 10)
    base = index._storage.state.base
    old = weakref.ref(base.stored.layout.codes.base)
    if before != "loaded":
        index.partition()
    index.search(codes[:300], 10, recall=0.9)
    index.calibrate(recall=0.9)
    index.search(codes[:300], 10)
    gc.collect()
    assert old() is None, "something keeps the codes as they lay"
    # Lists and codes share the rows.
    assert base.lists.rows is base.stored.layout.order.rows
    lists = base.lists.nbytes - base.lists.rows.nbytes
    assert base.nbytes + lists <= 1.25 * (codes.nbytes + index.ids.nbytes)


def test_reading_codes_keeps_no_copy():
    codes = random_codes(20000, 256, 1)
    index = pair_of(codes)[1]
    queries = codes[:20]
    index.search(queries, 5, recall=0.9)
    gc.collect()
    tracemalloc.start()
    try:
        index.codes.sum()
        index.search(queries, 5)
        index.search(queries, 5000)
        index.within(queries, 100)
        index.search(weights=np.ones((3, 256)), k=5, candidates=9)
        pickle.dumps(index)
        assert tracemalloc.get_traced_memory()[0] < codes.nbytes / 4
    finally:
        tracemalloc.stop()


def test_lists_that_make_themselves_hold_codes_once(monkeypatch):
    monkeypatch.setattr(_partitioning, "_FEWEST_CODES", 1000)
    codes = near_codes(20000, 300, 0.12, 1)
    index = fh.HammingIndex(8 * codes.shape[1])
    index.add(codes)
    index._partitioning._spent = 1e9
    index.search(codes[:20], 5, recall=0.9)
    assert stored(index).layout.order is not None


def test_changes_after_lists_are_made_again(monkeypatch):
    monkeypatch.setattr(_list_search, "_is_faster", lambda seconds, exact: True)
    codes = near_codes(20000, 300, 0.12, 1)
    plain, laid = pair_of(codes[:15000], n_lists=200)
    for index in (plain, laid):
        index.remove(np.arange(0, 9000, 7))
        index.add(codes[15000:])
        index.compact()
    assert stored(laid).layout.order is None
    found = laid.search(codes[:100], 5, recall=0.9)[1]
    assert stored(laid).layout.order is not None
    exact = plain.search(codes[:100], 5)
    assert_same(laid.search(codes[:100], 5), exact)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(exact[1], found, strict=True)]) > 0.89
    laid.add(codes[:100])
    plain.add(codes[:100])
    assert_same(laid.search(codes[:100], 5), plain.search(codes[:100], 5))


def test_threads_search_while_codes_are_laid_out_again():
    codes = near_codes(20000, 300, 0.12, 1)
    codes = np.concatenate([codes, codes[:5000]])
    plain, laid = pair_of(codes, multi_index="always")
    fork = copy.copy(laid)
    queries = codes[::500]
    expected = plain.search(queries, 9), plain.within(queries, 25), plain.reconstruct([5, 70])

    def search(number):
        index = (laid, fork)[number % 2]
        if number % 10 == 0:
            index.partition(n_lists=10 + number)
            return
        assert_same(index.search(queries, 9), expected[0])
        assert_same(index.within(queries, 25), expected[1])
        assert_same([index.reconstruct([5, 70])], expected[2:])
        assert (index.search(queries, 1, recall=0.9)[0] == 0).mean() > 0.8

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(search, range(100)))


def test_lists_that_replace_others_hold_codes_once():
    codes = near_codes(20000, 300, 0.12, 1)
    _, index = pair_of(codes, n_lists=50)
    index.search(codes[:20], 5, recall=0.9)
    before = weakref.ref(stored(index).layout.codes)
    index.partition(n_lists=60)
    gc.collect()
    assert before() is None


@pytest.mark.parametrize("way", ["copy", "original", "copy of a copy"])
def test_lists_that_a_copy_replaces_are_freed(way):
    """An index and its copies have the same lists, and each has searches in them."""
    codes = near_codes(20000, 300, 0.12, 1)
    _, index = pair_of(codes, n_lists=50)
    twin = copy.copy(index)
    third = copy.copy(twin)
    for one in (index, twin, third):
        one.search(codes[:20], 5, recall=0.9)
    before = weakref.ref(stored(index).layout.codes)
    {"copy": twin, "original": index, "copy of a copy": third}[way].partition(n_lists=60)
    gc.collect()
    assert before() is None
    for one in (index, twin, third):
        assert one.search(codes[:20], 1, recall=1.0)[1].tolist() == [[i] for i in range(20)]


@pytest.mark.parametrize("is_removed", [False, True])
def test_ids_are_listed_without_codes(is_removed, monkeypatch):
    codes = near_codes(3000, 300, 0.12, 1)
    _, index = pair_of(codes, ids=2 * np.arange(len(codes)))
    if is_removed:
        index.remove([4])
    index.add(codes[:2], ids=[1, 9000])
    monkeypatch.setattr(StoredCodes, "block", None)
    expected = np.union1d(2 * np.arange(len(codes)), [1, 9000])
    np.testing.assert_array_equal(index.ids, expected[expected != 4] if is_removed else expected)
    assert index.search(codes[:1], 2, filter=lambda ids: ids == 1)[1].tolist() == [[1, -1]]


def test_tables_that_another_thread_builds_follow_the_codes(monkeypatch):
    codes = near_codes(20000, 300, 0.12, 1)
    index = fh.HammingIndex(8 * codes.shape[1], multi_index="always")
    index.add(codes)
    before = weakref.ref(stored(index).layout.codes)

    def build(*arguments):
        tables = CodeTables(*arguments)
        index.partition(n_lists=20)
        return tables

    monkeypatch.setattr(_plan, "CodeTables", build)
    assert index.search(codes[:1], 1)[0] == 0
    gc.collect()
    assert before() is None
