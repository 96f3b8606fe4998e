"""Searches with a recall keep it on queries they have not seen, and follow every change."""

import copy
import dataclasses
import gc
import pickle
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fasthash as fh
from fasthash.index import _list_search, _partitioning
from fasthash.index._calibration import highest_bound, lower_bound
from fasthash.index._filtered_lists import FilteredLists
from strategies import random_codes

pytestmark = pytest.mark.usefixtures("lists_answer")

N_BITS = 128


def near_codes(n, n_groups, flip, seed):
    """n codes near one of n_groups codes each."""
    groups = np.random.default_rng(7).random((n_groups, N_BITS)) < 0.5
    rng = np.random.default_rng(seed)
    bits = groups[rng.integers(0, n_groups, n)] ^ (rng.random((n, N_BITS)) < flip)
    return np.packbits(bits, axis=1)


@pytest.fixture(scope="module")
def codes():
    return near_codes(20000, 300, 0.12, 1)


@pytest.fixture(scope="module")
def queries():
    return near_codes(1500, 300, 0.12, 2)


def index_of(codes, n_lists=400):
    index = fh.HammingIndex(N_BITS)
    index.add(codes)
    index.partition(n_lists=n_lists)
    return index


def recall_of(index, queries, k, **options):
    exact = index.search(queries, k, **{**options, "recall": None})[1]
    found = index.search(queries, k, **options)[1]
    return np.mean([np.isin(a, b).mean() for a, b in zip(exact, found, strict=True)])


@pytest.mark.parametrize("k", [1, 10, 100])
@pytest.mark.parametrize("recall", [0.8, 0.95, 0.99])
def test_a_recall_is_kept_on_unseen_queries(codes, queries, k, recall):
    index = index_of(codes)
    assert recall_of(index, queries, k, recall=recall) >= recall - 0.01
    calibration = index.calibration_[k, recall]
    assert calibration.lower >= recall and calibration.achieved >= calibration.lower
    assert calibration.n_queries >= 1024 and calibration.queries == "held"
    assert calibration.share < 0.5


def test_the_answer_has_the_true_distances_in_order(codes, queries):
    index = index_of(codes)
    distances, ids = index.search(queries, 10, recall=0.9)
    for q in range(50):
        expected = fh.distances(queries[q : q + 1], index.reconstruct(ids[q]))[0]
        np.testing.assert_array_equal(distances[q], expected)
        assert (np.lexsort((ids[q], distances[q])) == np.arange(10)).all()


def test_results_do_not_depend_on_threads_or_on_the_batch(codes, queries):
    index = index_of(codes)
    one = index.search(queries, 10, recall=0.95, n_threads=1)
    three = index.search(queries, 10, recall=0.95, n_threads=3)
    alone = [index.search(queries[q : q + 1], 10, recall=0.95) for q in range(20)]
    for a, b, c in zip(one, three, zip(*alone, strict=True), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a[:20], np.concatenate(c))


def test_recall_1_and_none_are_exact(codes, queries):
    index = index_of(codes)
    expected = fh.HammingIndex(N_BITS)
    expected.add(codes)
    for recall in (None, 1, 1.0):
        for a, b in zip(
            index.search(queries, 10, recall=recall), expected.search(queries, 10), strict=True
        ):
            np.testing.assert_array_equal(a, b)
    assert index.calibration_ == {}


def test_a_recall_that_no_calibration_can_confirm_is_exact(codes, queries):
    index = index_of(codes)
    assert recall_of(index, queries[:100], 5, recall=0.99999) == 1
    assert highest_bound(4096) < 0.99999
    assert not index.calibration_[5, 0.99999].batched
    assert not index.calibrate(k=5, recall=1).batched


def test_many_answers_are_exact_without_a_calibration(codes, queries):
    index = index_of(codes)
    assert recall_of(index, queries[:5], 700, recall=0.5) == 1
    assert index.calibration_[700, 0.5].n_queries == 0


def test_codes_without_structure_are_searched_exactly_or_keep_the_recall():
    index = index_of(random_codes(5000, N_BITS, 1), 100)
    assert recall_of(index, random_codes(300, N_BITS, 2), 10, recall=0.95) >= 0.94


def test_given_queries_decide(codes, queries):
    index = index_of(codes)
    strange = random_codes(1000, N_BITS, 5)
    before = index.calibrate(k=5, recall=0.9)
    given = index.calibrate(queries=strange, k=5, recall=0.9)
    assert given.queries == "given" and given.n_queries == 1000
    assert given.share > 2 * before.share
    assert recall_of(index, random_codes(500, N_BITS, 6), 5, recall=0.9) >= 0.89
    # They are kept for calibrations to come, also after the lists have been made again.
    index.partition(n_lists=300)
    assert index.calibration_ == {}
    assert index.calibrate(k=5, recall=0.8).queries == "given"


def test_changes_are_followed(codes, queries):
    index = index_of(codes[:15000])
    index.search(queries, 10, recall=0.95)
    # Recent codes are compared with every query.
    index.add(codes[15000:17000])
    assert len(index._storage.state.recent) == 2000
    assert recall_of(index, queries, 10, recall=0.95) >= 0.94
    own = index.search(codes[15000:15100], 1, recall=0.5)[0]
    assert (own == 0).all()
    # Removed codes are not found.
    index.remove(np.arange(0, 15000, 2))
    _, ids = index.search(queries, 10, recall=0.95)
    assert not np.isin(ids, np.arange(0, 15000, 2)).any()
    assert recall_of(index, queries, 10, recall=0.95) >= 0.94
    # A new base has lists around the same centres.
    old = index._storage.state.base.lists.centres
    index.add(codes[17000:])
    index.compact()
    assert index._storage.state.base.lists is None
    assert recall_of(index, queries, 10, recall=0.95) >= 0.94
    made = index._storage.state.base.lists
    assert len(made.rows) == len(index) == 12500
    assert np.isin(made.centres.view("V16"), old.view("V16")).mean() > 0.9


def test_filter_exclude_and_candidates(codes, queries):
    index = index_of(codes)
    some = np.arange(0, 20000, 3)
    assert recall_of(index, queries[:200], 10, recall=0.5, filter=some) == 1
    own = np.arange(1000)
    distances, ids = index.search(codes[own], 10, recall=0.95, exclude=own)
    assert not (ids == own[:, None]).any() and (ids >= 0).all() and distances.shape == (1000, 10)
    assert recall_of(index, codes[own], 10, recall=0.95, exclude=own) >= 0.94
    weights = np.where(np.unpackbits(queries[:300], axis=1), 1.0, -1.0)
    exact = index.search(weights=weights, k=5, candidates=20)[1]
    found = index.search(weights=weights, k=5, candidates=20, recall=0.95)[1]
    assert np.mean([np.isin(a, b).mean() for a, b in zip(exact, found, strict=True)]) >= 0.94


@pytest.fixture(scope="module")
def one_side(codes):
    """A filter that depends on the codes: those nearer to one code than to another one."""
    distances = fh.distances(codes[:2], codes)
    return np.flatnonzero(distances[0] < distances[1])


@pytest.mark.parametrize("recall", [0.8, 0.95])
def test_a_recall_is_kept_with_a_filter_inside_and_outside_of_it(codes, queries, one_side, recall):
    index = index_of(codes)
    prepared = index.prepare_filter(one_side)
    calibration = index.calibrate(k=5, recall=recall, filter=prepared)
    assert prepared.calibration_ == {(5, recall): calibration} and index.calibration_ == {}
    assert calibration.batched and calibration.lower >= recall and calibration.share < 0.5
    assert calibration.n_queries == 4096
    distances = fh.distances(codes[:2], queries)
    for some in (distances[0] < distances[1], distances[0] >= distances[1]):
        found = recall_of(index, queries[some], 5, recall=recall, filter=prepared)
        assert recall - 0.01 <= found < 1
    # The answers are allowed, and have their true distances.
    distances, ids = index.search(queries, 5, recall=recall, filter=prepared)
    assert np.isin(ids, one_side).all()
    expected = fh.distances(queries[:1], index.reconstruct(ids[0]))[0]
    np.testing.assert_array_equal(distances[0], expected)


def test_a_filter_is_calibrated_when_its_searches_have_paid_for_it(codes, queries, one_side):
    index = index_of(codes)
    prepared = index.prepare_filter(one_side)
    assert recall_of(index, queries, 5, recall=0.8, filter=prepared) == 1
    assert prepared.calibration_ == {} and prepared._lists._spent > 0
    prepared._lists._spent = 1e9
    assert 0.79 <= recall_of(index, queries, 5, recall=0.8, filter=prepared) < 1
    assert list(prepared.calibration_) == [(5, 0.8)]
    # What one calibration has cost does not pay for the next one.
    assert recall_of(index, queries, 6, recall=0.8, filter=prepared) == 1


def test_filters_of_few_codes_are_exact(codes, queries):
    index = index_of(codes)
    for some in (index.ids[::100], index.ids[:0]):
        prepared = index.prepare_filter(some)
        assert not index.calibrate(k=2, recall=0.5, filter=prepared).batched
        assert recall_of(index, queries[:100], 2, recall=0.5, filter=prepared) in (1, 0)
        exact = index.search(queries[:100], 2, filter=prepared)
        found = index.search(queries[:100], 2, recall=0.5, filter=prepared)
        np.testing.assert_array_equal(exact[1], found[1])


@pytest.mark.parametrize("is_function", [False, True])
def test_a_filter_follows_changes(codes, queries, one_side, is_function):
    index = index_of(codes[:15000])
    given = (lambda ids: np.isin(ids, one_side)) if is_function else one_side
    prepared = index.prepare_filter(given)
    index.calibrate(k=5, recall=0.8, filter=prepared)
    index.add(codes[15000:17000])
    index.remove(np.arange(0, 15000, 2))
    # A function may allow other codes after a change, so that its rules are chosen again.
    assert (prepared.calibration_ == {}) == is_function
    index.calibrate(k=5, recall=0.8, filter=prepared)
    assert recall_of(index, queries, 5, recall=0.8, filter=prepared) >= 0.79
    _, ids = index.search(queries, 5, recall=0.8, filter=prepared)
    assert np.isin(ids, np.intersect1d(one_side, index.ids)).all() and (ids >= 15000).any()
    old = weakref.ref(index._storage.state.base.lists)
    index.compact()
    assert prepared.calibration_ == {}
    gc.collect()
    assert old() is None
    assert recall_of(index, queries, 5, recall=0.8, filter=prepared) == 1
    index.calibrate(k=5, recall=0.8, filter=prepared)
    index.partition(n_lists=100)
    assert prepared.calibration_ == {}


def test_given_queries_calibrate_filters_too(codes, queries, one_side):
    index = index_of(codes)
    prepared = index.prepare_filter(one_side)
    index.calibrate(k=5, recall=0.8, filter=prepared)
    index.calibrate(queries=random_codes(700, N_BITS, 5), k=5, recall=0.8)
    assert prepared.calibration_ == {}
    given = index.calibrate(k=5, recall=0.8, filter=prepared)
    assert (given.queries, given.n_queries) == ("given", 700)


def test_filters_that_cannot_be_calibrated(codes, one_side):
    index, other = index_of(codes[:5000], 50), index_of(codes[:5000], 50)
    with pytest.raises(TypeError, match="prepare_filter"):
        index.calibrate(recall=0.9, filter=one_side)
    with pytest.raises(ValueError, match="prepared by another index"):
        index.calibrate(recall=0.9, filter=other.prepare_filter([1]))


def test_the_share_counts_what_is_searched_twice(codes, monkeypatch):
    index = index_of(codes)
    centres = len(index._storage.state.base.lists) / len(codes)
    before = index.calibrate(k=5, recall=0.9).share - centres
    choose = _list_search.choose_rule
    monkeypatch.setattr(
        _list_search,
        "choose_rule",
        lambda *arguments: dataclasses.replace(choose(*arguments), bound=0),
    )
    index.partition(n_lists=400)
    assert index.calibrate(k=5, recall=0.9).share - centres > 1.5 * before


def test_more_answers_than_codes():
    codes = random_codes(50, N_BITS, 1)
    index = index_of(codes, 5)
    distances, ids = index.search(codes[:3], 60, recall=0.9)
    expected = index.search(codes[:3], 60)
    np.testing.assert_array_equal(ids, expected[1])
    np.testing.assert_array_equal(distances, expected[0])


@pytest.mark.parametrize("recall", [0, -0.5, 1.01, np.nan, np.inf])
def test_recalls_out_of_range_are_refused(codes, recall):
    index = fh.HammingIndex(N_BITS)
    with pytest.raises(ValueError, match="recall must be"):
        index.search(codes[:1], 1, recall=recall)
    with pytest.raises(ValueError, match="recall must be"):
        index.calibrate(recall=recall)


def test_other_refusals(codes):
    index = fh.HammingIndex(N_BITS)
    with pytest.raises(TypeError, match="recall must be a real number"):
        index.search(codes[:1], 1, recall="high")
    with pytest.raises(TypeError, match="MultiIndexHash searches exactly"):
        fh.MultiIndexHash(N_BITS).search(codes[:1], 1, recall=0.9)
    assert fh.MultiIndexHash(N_BITS).search(codes[:1], 1, recall=1)[1].tolist() == [[-1]]
    for call in (index.partition, lambda: index.calibrate(recall=0.9)):
        with pytest.raises(ValueError, match="add codes"):
            call()
    with pytest.raises(ValueError, match="n_lists must be at most 32767"):
        index.partition(n_lists=40000)
    with pytest.raises(ValueError, match="queries has no rows"):
        index.calibrate(queries=codes[:0], recall=0.9)
    # An empty index answers as it does without a recall.
    assert (index.search(codes[:2], 3, recall=0.9)[1] == -1).all()


def test_lists_are_made_when_searches_have_paid_for_them(codes, queries, monkeypatch):
    monkeypatch.setattr(_partitioning, "_FEWEST_CODES", 1000)
    index = fh.HammingIndex(N_BITS)
    index.add(codes)
    index.search(queries[:1], 10, recall=0.9)
    assert index._storage.state.base.lists is None
    # So many queries wait that lists pay for themselves.
    assert recall_of(index, np.repeat(queries, 8, axis=0), 10, recall=0.9) >= 0.89
    assert index._storage.state.base.lists is not None
    slow = fh.HammingIndex(N_BITS)
    slow.add(codes)
    slow._partitioning._spent = 1e9
    slow.search(queries[:1], 10, recall=0.9)
    assert slow._storage.state.base.lists is not None


def test_a_copy_makes_its_own_lists(codes, queries):
    index = index_of(codes)
    expected = index.search(queries, 10, recall=0.95)
    again = pickle.loads(pickle.dumps(index))
    for a, b in zip(again.search(queries, 10, recall=0.95), expected, strict=True):
        assert a.shape == b.shape
    assert recall_of(again, queries, 10, recall=0.95) >= 0.94


def test_a_fork_calibrates_for_itself(codes, queries):
    index = index_of(codes)
    expected = index.calibrate(k=5, recall=0.9)
    other = copy.copy(index)
    assert other.calibrate(queries=random_codes(500, N_BITS, 3), k=5, recall=0.9) != expected
    assert index.calibration_ == {(5, 0.9): expected}
    assert other._storage.state.base.lists is index._storage.state.base.lists


def test_threads_that_ask_first_calibrate_once(codes, queries, monkeypatch):
    index = index_of(codes, 200)
    calls = []
    choose = _list_search.ListSearch._choose

    def slow(*arguments):
        calls.append(arguments)
        time.sleep(0.1)
        return choose(*arguments)

    monkeypatch.setattr(_list_search.ListSearch, "_choose", slow)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: index.search(queries, 5, recall=0.9)[1], range(4)))
    assert len(calls) == 1
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_calibrations_of_a_filter_are_read_while_others_are_added():
    class Lists:
        partitions, calibrations = object(), {(1, 0.5): "known"}
        has_weights = False

        def with_rules_of_its_own(self):
            return self

    filtered, kept, is_done = FilteredLists(), [Lists() for _ in range(6000)], threading.Event()
    filtered.search(kept[0], "codes")

    def read():
        while not is_done.is_set():
            assert filtered.calibrations(Lists.partitions, "others", False) == {}

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(1) as pool:
            reader = pool.submit(read)
            for lists in kept:
                filtered.search(lists, "codes")
                if reader.done():
                    break
            is_done.set()
            reader.result()
    finally:
        is_done.set()
        sys.setswitchinterval(interval)
    assert filtered.calibrations(Lists.partitions, "codes", False) == Lists.calibrations


def test_replaced_codes_and_their_lists_are_freed(codes, queries):
    index = index_of(codes[:10000], 200)
    index.search(queries, 5, recall=0.9)
    old = weakref.ref(index._storage.state.base.lists)
    index.add(codes[10000:])
    index.compact()
    gc.collect()
    assert old() is None


def test_the_bound_is_below_the_mean_and_rises_with_queries():
    rng = np.random.default_rng(0)
    recalls = rng.binomial(10, 0.95, 2000) / 10
    assert lower_bound(recalls[:200]) < lower_bound(recalls) < recalls.mean()
    # In 95 of 100 samples or so it is below the true mean.
    bounds = [lower_bound(rng.binomial(10, 0.95, 500) / 10) for _ in range(400)]
    assert 0.93 <= np.mean(np.array(bounds) < 0.95)


def test_nothing_to_search(codes, queries):
    index = index_of(codes[:3000], 60)
    assert index.search(queries[:0], 3, recall=0.9)[1].shape == (0, 3)
    index.remove(index.ids)
    assert (index.search(queries[:2], 3, recall=0.8)[1] == -1).all()
    index.add(codes[:5])
    assert (index.search(queries[:2], 3, recall=0.8)[1] >= 3000).all()
