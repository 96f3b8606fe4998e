"""Multi-index hashing gives the answers of a scan: tables, budgets, the plan of HammingIndex."""

import concurrent.futures
import copy
import itertools
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fasthash as fh
from fasthash._kernels.multi_index import Tables, best_n_tables
from fasthash.index import _plan as plan_module
from fasthash.index._plan import Plan
from fasthash.index._storage import CodeStorage
from fasthash.index._tables import MAX_CODES, CodeTables, expected_costs
from reference import hamming as reference
from reference import multi_index as twin
from strategies import random_codes, simd

WIDTHS = [1, 7, 8, 9, 63, 64, 65, 128, 129, 256, 512]
UNLIMITED = 2**62

# The reference counts bit by bit: on a busy machine an example may take a while.
patient = settings(deadline=None, max_examples=60)


def clustered(n, n_bits, n_centres, flip, seed=0):
    """n codes, each a centre with every bit flipped with probability `flip`."""
    rng = np.random.default_rng(seed)
    centres = rng.random((n_centres, n_bits)) < 0.5
    bits = centres[rng.integers(0, n_centres, n)] ^ (rng.random((n, n_bits)) < flip)
    return np.packbits(bits, axis=1)


@st.composite
def problems(draw, widths=tuple(WIDTHS), max_codes=30):
    """(queries, codes, n_bits): uniform, clustered, or with many duplicates."""
    n_bits = draw(st.sampled_from(widths))
    flip = draw(st.sampled_from([0.0, 0.02, 0.1, 0.5]))
    n = draw(st.integers(0, max_codes))
    seed = draw(st.integers(0, 2**32 - 1))
    codes = clustered(n + 3, n_bits, draw(st.integers(1, 3)), flip, seed)
    return codes[:3], codes[3:], n_bits


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@patient
@given(problem=problems(), data=st.data(), n_threads=st.integers(1, 3))
def test_search_matches_the_reference(problem, data, n_threads):
    queries, codes, n_bits = problem
    fewest = -(-n_bits // 16)
    n_tables = data.draw(st.none() | st.integers(fewest, min(n_bits, fewest + 20)))
    index = fh.MultiIndexHash(n_bits, n_tables=n_tables)
    index.add(codes)
    k = data.draw(st.integers(1, 50))
    radius = data.draw(st.integers(0, n_bits))
    assert_same(index.search(queries, k, n_threads=n_threads), reference.topk(queries, codes, k))
    assert_same(
        index.within(queries, radius, n_threads=n_threads), reference.within(queries, codes, radius)
    )


@patient
@given(problem=problems(), data=st.data())
def test_probing_alone_matches_the_reference(problem, data):
    queries, codes, n_bits = problem
    # Short substrings, so that every bucket of every table can be probed.
    n_tables = data.draw(st.integers(-(-n_bits // 9), min(n_bits, 80)))
    tables = Tables(codes, n_bits, n_tables, 1)
    k = min(data.draw(st.integers(1, 50)), len(codes))
    costs, done = np.zeros(3, np.int64), np.zeros(3, np.uint8)
    if k:
        d, rows = np.zeros((3, k), np.int32), np.zeros((3, k), np.int64)
        tables.topk(queries, k, UNLIMITED, None, d, rows, costs, done, 1)
        assert done.all() and (costs > 0).all()
        assert_same((d, rows), reference.topk(queries, codes, k))
    radius = data.draw(st.integers(0, n_bits))
    counts, d, rows = tables.within(queries, radius, UNLIMITED, costs, done, 1)
    assert done.all()
    limits, *expected = reference.within(queries, codes, radius)
    assert_same((counts, d, rows), (np.diff(limits), *expected))


@patient
@given(problem=problems(max_codes=25), data=st.data())
def test_any_budget_gives_the_same_answer(problem, data):
    queries, codes, n_bits = problem
    tables = CodeTables(codes, n_bits, best_n_tables(n_bits, len(codes)), 1)
    budget = data.draw(st.integers(0, 3000))
    k, radius = data.draw(st.integers(1, 30)), data.draw(st.integers(0, n_bits))
    assert_same(tables.topk(queries, k, budget, 1), reference.topk(queries, codes, k))
    found = tables.within(queries, radius, budget, 1)
    assert_same(found, reference.within(queries, codes, radius))


@patient
@given(problem=problems(widths=(1, 7, 9, 16, 24), max_codes=15), data=st.data())
def test_the_twin_agrees_with_the_reference(problem, data):
    queries, codes, n_bits = problem
    n_tables = data.draw(st.integers(-(-n_bits // 8), n_bits))
    k, radius = data.draw(st.integers(1, 20)), data.draw(st.integers(0, 6))
    assert_same(twin.topk(queries, codes, k, n_bits, n_tables), reference.topk(queries, codes, k))
    found = twin.within(queries, codes, radius, n_bits, n_tables)
    assert_same(found, reference.within(queries, codes, radius))


@patient
@given(
    n_bits=st.sampled_from(WIDTHS),
    choice=st.sampled_from(["auto", "always", "never"]),
    sizes=st.lists(st.integers(0, 8), min_size=1, max_size=3),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_choice_follows_what_is_added(n_bits, choice, sizes, seed):
    n = sum(sizes)
    codes = clustered(n + 2, n_bits, 2, 0.1, seed)
    queries, codes = codes[:2], codes[2:]
    ids = np.random.default_rng(seed).permutation(10 * n)[:n]
    index = fh.HammingIndex(n_bits, multi_index=choice)
    first = 0
    for size in sizes:
        index.add(codes[first : first + size], ids=ids[first : first + size])
        first += size
        order = np.argsort(ids[:first])
        d, rows = reference.topk(queries, codes[order], 5)
        expected = np.where(rows >= 0, ids[order][rows], -1) if first else rows
        assert_same(index.search(queries, 5), (d, expected))
        limits, d, rows = reference.within(queries, codes[order], n_bits // 4)
        assert_same(index.within(queries, n_bits // 4), (limits, d, ids[order][rows]))


@pytest.mark.parametrize("n_bits", [64, 100, 128])
@pytest.mark.parametrize("spread", ["uniform", "clustered"])
def test_many_codes(n_bits, spread):
    flip = 0.5 if spread == "uniform" else 0.05
    codes = clustered(100_050, n_bits, 500, flip)
    queries, codes = codes[:50], codes[50:]
    index = fh.MultiIndexHash(n_bits)
    index.add(codes)
    for k in (1, 10, 100):
        assert_same(index.search(queries, k), fh.topk(queries, codes, k))
    for radius in (0, 3, 10, n_bits // 5):
        assert_same(index.within(queries, radius), fh.within(queries, codes, radius))


def test_a_plan_that_knows_both_methods_gives_the_same_answers(monkeypatch):
    codes = clustered(40_100, 64, 100, 0.05)
    queries, codes = codes[:100], codes[100:]
    index = fh.HammingIndex(64)
    index.add(codes)
    monkeypatch.setattr(plan_module, "_SECONDS_PER_ENTRY", 1e-12)
    monkeypatch.setattr(plan_module, "_RETRY_AFTER", 1)
    monkeypatch.setattr(plan_module, "_CLEAR", 1e9)
    for _, k, n in itertools.product(range(40), (1, 10), (1, 100)):
        found = index.search(queries[:n], k, n_threads=1)
        assert_same(found, fh.topk(queries[:n], codes, k))
        found = index.within(queries[:n], 6, n_threads=1)
        assert_same(found, fh.within(queries[:n], codes, 6))
    plan = index._storage.state.base.searcher
    assert plan.tables is not None
    assert all(timing.n_trials for pair in plan._timings.values() for timing in pair)


def test_tables_are_built_where_they_pay_and_only_there(monkeypatch):
    monkeypatch.setattr(plan_module, "_SECONDS_PER_ENTRY", 1e-12)
    far = random_codes(40_000, 512)
    far_plan = Plan(far, 512, "auto")
    near = clustered(40_000, 64, 100, 0.05)
    near_plan = Plan(near, 64, "auto")
    few_plan = Plan(near[:10_000], 64, "auto")
    for _ in range(3):
        far_plan.topk(random_codes(10, 512, seed=1), 10, 1)
        near_plan.topk(near[:10], 1, 1)
        few_plan.topk(near[:10], 1, 1)
    assert far_plan.tables is None
    assert near_plan.tables is not None
    assert few_plan.tables is None


def test_other_threads_search_while_one_builds(monkeypatch):
    monkeypatch.setattr(plan_module, "_SECONDS_PER_ENTRY", 1e-12)
    codes = clustered(40_000, 64, 100, 0.05)
    plan = Plan(codes, 64, "auto")
    is_building, may_go_on = threading.Event(), threading.Event()

    def build_when_asked(*args):
        is_building.set()
        assert may_go_on.wait(60)
        return CodeTables(*args)

    monkeypatch.setattr(plan_module, "CodeTables", build_when_asked)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        plan.topk(codes[:10], 1, 1)
        builds = pool.submit(plan.topk, codes[:10], 1, 1)
        assert is_building.wait(60)
        scans = pool.submit(plan.topk, codes[10:20], 1, 1)
        try:
            assert_same(scans.result(60), fh.topk(codes[10:20], codes, 1))
            assert plan.tables is None
        finally:
            may_go_on.set()
        assert_same(builds.result(60), fh.topk(codes[:10], codes, 1))
    assert plan.tables is not None


def test_scans_go_on_without_memory_for_tables(monkeypatch):
    calls = []

    def fail(*args):
        calls.append(args)
        raise MemoryError

    monkeypatch.setattr(plan_module, "_SECONDS_PER_ENTRY", 1e-12)
    monkeypatch.setattr(plan_module, "CodeTables", fail)
    codes = clustered(40_000, 64, 100, 0.05)
    plan = Plan(codes, 64, "auto")
    for _ in range(4):
        assert_same(plan.topk(codes[:10], 1, 1), fh.topk(codes[:10], codes, 1))
    assert len(calls) == 1 and plan.tables is None
    with pytest.raises(MemoryError):
        Plan(codes, 64, "always").topk(codes[:10], 1, 1)


def timing_of(seconds, is_steady=False):
    timing = plan_module._Timing(is_steady)
    timing.note(seconds)
    timing.note(seconds)
    return timing


def test_the_faster_method_answers_and_the_slower_is_tried_again_in_time():
    plan = Plan(random_codes(40_000, 64), 64, "auto")
    scanning, probing = timing_of(3e-3), timing_of(1e-3)
    assert plan._choose(scanning, probing, 10)[0], "without tables only a scan is left"
    plan.tables = object()
    assert plan._choose(scanning, probing, 10) == (False, 10)
    scanning.waited = 33 * 10 * 3e-3
    assert plan._choose(scanning, probing, 10) == (True, 10)
    scanning.note(3e-3)
    assert plan._choose(scanning, probing, 10) == (False, 10)
    probing.note(1.0)
    assert plan._choose(scanning, probing, 10) == (False, 10), "one stretched measurement"


def test_a_trial_with_one_query_is_several_calls_so_that_a_cold_cache_does_not_count():
    plan = Plan(random_codes(40_000, 64), 64, "auto")
    scanning, probing = plan_module._Timing(True, n_calls=8), plan_module._Timing(False, n_calls=8)
    for _ in range(8):
        assert plan._choose(scanning, probing, 1) == (True, 1)
        scanning.note(3e-5)
    plan.tables = object()
    for seconds in (9e-5, 8e-5, 4e-5, *5 * (2e-5,)):
        assert plan._choose(scanning, probing, 1) == (False, 1)
        probing.note(seconds)
    assert probing.seconds == 2e-5
    scanning.waited = 33 * 8 * 3e-5
    for seconds in (9e-5, *7 * (1e-5,)):
        assert plan._choose(scanning, probing, 1) == (True, 1)
        scanning.note(seconds)
    assert plan._choose(scanning, probing, 1) == (True, 1), "the scan is faster now"


def test_parts_of_a_batch_are_as_large_as_what_shares_a_tile():
    plan = Plan(random_codes(40_000, 64), 64, "auto")
    scanning, probing = plan_module._Timing(True), plan_module._Timing(False)
    assert plan._choose(scanning, probing, 1000) == (True, 256)
    scanning.note(1e-5)
    plan.tables = object()
    assert plan._choose(scanning, probing, 1000) == (False, 32), "nobody knows how slow they are"
    probing.note(2e-5)
    assert plan._choose(scanning, probing, 968) == (False, 256)
    probing.note(5e-6)
    scanning.note(1e-5)
    assert plan._choose(scanning, probing, 4097) == (False, 4097)
    assert plan._choose(scanning, probing, 10_000) == (False, 4096)


def test_quick_searches_for_one_query_are_measured_now_and_then(monkeypatch):
    codes = clustered(40_000, 64, 100, 0.05)
    plan = Plan(codes, 64, "auto")
    monkeypatch.setattr(plan_module, "_QUICK_SECONDS", 1.0)
    monkeypatch.setattr(plan_module, "_SECONDS_PER_ENTRY", 1.0)
    chosen = []
    choose = plan._choose
    monkeypatch.setattr(plan, "_choose", lambda *args: chosen.append(args) or choose(*args))
    for k in (1, 10):
        chosen.clear()
        for row in range(8 + 7 * 3):
            query = codes[row : row + 1]
            assert_same(plan.topk(query, k, 1), fh.topk(query, codes, k))
        assert len(chosen) == 8 + 3
    chosen.clear()
    for _ in range(7):
        plan.topk(codes[:1], 1, 1)
        plan.topk(codes[:1], 10, 1)
    assert len(chosen) == 14, "searches that take turns are all measured"


def test_a_stretched_measurement_of_a_scan_is_forgotten_at_the_next():
    scanning, probing = timing_of(9e-3, is_steady=True), timing_of(9e-3)
    for timing in (scanning, probing):
        timing.note(1e-3)
    assert scanning.seconds == 1e-3
    assert probing.seconds == pytest.approx(7e-3)


def test_probing_is_tried_again_however_slow_it_was_and_a_scan_is_not():
    plan = Plan(random_codes(40_000, 64), 64, "auto")
    plan.tables = object()
    for scan_seconds, probe_seconds, retried in ((1e-3, 9e-3, True), (9e-3, 1e-3, False)):
        scanning, probing = timing_of(scan_seconds), timing_of(probe_seconds)
        scanning.waited = probing.waited = 10.0
        by_scan = plan._choose(scanning, probing, 10)[0]
        assert by_scan == (scan_seconds < probe_seconds) ^ retried


@pytest.mark.parametrize("n_bits", [64, 128])
def test_identical_codes_are_scanned_not_probed(n_bits):
    codes = np.tile(random_codes(1, n_bits), (200_000, 1))
    index = fh.MultiIndexHash(n_bits)
    index.add(codes)
    assert_same(index.search(codes[:4], 3), fh.topk(codes[:4], codes, 3))
    limits, d, ids = index.within(codes[:2], 0)
    assert limits.tolist() == [0, 200_000, 400_000]
    assert not d.any()
    np.testing.assert_array_equal(ids, np.tile(np.arange(200_000), 2))
    tables = Tables(codes, n_bits, 4 * n_bits // 64, 1)
    costs, done = np.zeros(4, np.int64), np.zeros(4, np.uint8)
    d, rows = np.zeros((4, 3), np.int32), np.zeros((4, 3), np.int64)
    tables.topk(codes[:4], 3, 50_000, None, d, rows, costs, done, 1)
    assert not done.any()


def test_threads_do_not_matter():
    codes = clustered(5_000, 64, 20, 0.05)
    index = fh.MultiIndexHash(64)
    index.add(codes)
    one = index.search(codes[:40], 7, n_threads=1), index.within(codes[:40], 5, n_threads=1)
    for n_threads in (2, 5, -1):
        assert_same(index.search(codes[:40], 7, n_threads=n_threads), one[0])
        assert_same(index.within(codes[:40], 5, n_threads=n_threads), one[1])


def test_inputs_are_not_changed_and_may_be_read_only():
    codes, queries = random_codes(300, 64), random_codes(3, 64, seed=1)
    kept = codes.copy(), queries.copy()
    codes.flags.writeable = queries.flags.writeable = False
    for index in (fh.MultiIndexHash(64), fh.HammingIndex(64, multi_index="always")):
        index.add(codes)
        index.search(queries, 3)
        index.within(queries, 20)
    np.testing.assert_array_equal(codes, kept[0])
    np.testing.assert_array_equal(queries, kept[1])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_an_index_search_on(copied):
    codes = random_codes(200, 64)
    for index in (fh.MultiIndexHash(64), fh.HammingIndex(64, multi_index="always")):
        index.add(codes, ids=np.arange(200) * 2)
        expected = index.search(codes[:5], 4)
        assert_same(copied(index).search(codes[:5], 4), expected)


def test_an_empty_index_answers_missing():
    for index in (fh.MultiIndexHash(70), fh.HammingIndex(70, multi_index="always")):
        d, ids = index.search(random_codes(2, 70), 3)
        assert (d == -1).all() and (ids == -1).all()
        limits, d, ids = index.within(random_codes(2, 70), 70)
        assert limits.tolist() == [0, 0, 0] and len(d) == len(ids) == 0
        index.add(random_codes(4, 70))
        assert len(index) == 4
        d, ids = index.search(np.empty((0, 9), np.uint8), 3)
        assert d.shape == ids.shape == (0, 3)
        assert index.within(np.empty((0, 9), np.uint8), 3)[0].tolist() == [0]


def test_tables_stay_small():
    codes = random_codes(200_000, 64)
    tables = CodeTables(codes, 64, best_n_tables(64, len(codes)), 1)
    assert tables.n_tables == 4
    assert tables.nbytes <= 48 * len(codes)


def test_the_expected_cost_is_the_cost_where_codes_are_spread_evenly():
    codes, queries = random_codes(50_000, 64), random_codes(20, 64, seed=1)
    tables = Tables(codes, 64, best_n_tables(64, len(codes)), 1)
    expected = expected_costs(64, len(codes), np.inf)
    assert len(expected) == 65
    for radius in (0, 5, 12):
        costs, done = np.zeros(20, np.int64), np.zeros(20, np.uint8)
        tables.within(queries, radius, UNLIMITED, costs, done, 1)
        assert costs.mean() == pytest.approx(expected[radius], rel=0.1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fh.MultiIndexHash(0), ValueError, "n_bits must be at least 1"),
        (lambda: fh.MultiIndexHash(64, n_tables=2), ValueError, "n_tables must be from 3 to 64"),
        (lambda: fh.MultiIndexHash(8, n_tables=9), ValueError, "n_tables must be from 1 to 8"),
        (lambda: fh.MultiIndexHash(8, n_tables=1.5), TypeError, "n_tables must be an integer"),
        (lambda: fh.HammingIndex(8, multi_index=True), ValueError, "multi_index must be one of"),
        (lambda: small().search(random_codes(1, 32), 1), ValueError, "n_bits=12 needs 2"),
        (lambda: small().search(random_codes(1, 12), 0), ValueError, "k must be at least 1"),
        (lambda: small().search(random_codes(1, 12), 1, n_threads=0), ValueError, "n_threads=0"),
        (lambda: small().within(random_codes(1, 12), -1), ValueError, "radius must be at least 0"),
        (lambda: small().within(random_codes(1, 12), 0.5), TypeError, "radius must be an integer"),
        (lambda: small().add(random_codes(1, 12), ids=[5]), ValueError, "5, which the index has"),
        (lambda: small().add(random_codes(1, 12).astype(int)), TypeError, "dtype uint8"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_more_codes_than_rows_can_name_are_refused():
    storage = CodeStorage(12, most=3)
    storage.add(random_codes(2, 12))
    with pytest.raises(ValueError, match="holds 2 codes and can hold 3, got 2 more"):
        storage.add(random_codes(2, 12))
    assert len(storage) == 2
    assert fh.MultiIndexHash(12)._storage.most == MAX_CODES


def small():
    index = fh.MultiIndexHash(12)
    index.add(random_codes(1, 12), ids=[5])
    return index


def how_bits_were_counted(index, queries):
    """What the kernels of the tables say of every query: 1 portably, 2 by an instruction."""
    tables = index._storage.state.base.searcher.tables._tables
    n, budget = len(queries), 1 << 40
    costs = np.zeros(n, np.int64)
    done = np.zeros((2, n), np.uint8)
    distances, rows = np.empty((n, 7), np.int32), np.empty((n, 7), np.int64)
    tables.topk(queries, 7, budget, None, distances, rows, costs, done[0], 2)
    tables.within(queries, 3, budget, costs, done[1], 2)
    return set(done.ravel().tolist())


@pytest.mark.parametrize("level", fh.simd_levels())
@pytest.mark.parametrize("n_bits", [20, 64, 100])
def test_probing_at_every_level(level, n_bits):
    """Narrow and wide codes, with the bits counted as the level counts them."""
    database = random_codes(3000, n_bits)
    queries = database[:20] ^ np.uint8(128)
    index = fh.MultiIndexHash(n_bits=n_bits)
    index.add(database)
    with simd(level):
        found = index.search(queries, 7), index.within(queries, 3)
        probed = how_bits_were_counted(index, queries)
    # Equal answers alone would not tell whether the level's own way was taken.
    assert probed == ({1} if level == "scalar" else {2})
    for ours, theirs in zip(
        found,
        (reference.topk(queries, database, 7), reference.within(queries, database, 3)),
        strict=True,
    ):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
