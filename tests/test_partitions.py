"""Lists of codes: their search matches a slow twin, and with all lists probed the exact search."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasthash._core.allowed import allow
from fasthash._core.weights import round_weights, weighted_distances
from fasthash._kernels import tiles as kernels
from fasthash._kernels.partitions import find_majority, find_nearest
from fasthash.index import _partitions as module
from fasthash.index._partitions import WEIGHT_UNIT, Partitions, Rule
from fasthash.index._snapshot import SortedCodes
from reference import partitions as reference
from strategies import WIDTHS, all_distances, random_codes, search_problems, simd


def lists_of(partitions):
    starts, rows = partitions.starts, partitions.rows
    return [some.tolist() for some in np.split(rows, starts[1:-1])]


def held(codes, is_mapped=False):
    """Codes of an index; those of a mapped file are not stored list by list."""
    return SortedCodes(codes, np.arange(len(codes)), source=object() if is_mapped else None)


def with_lists(codes, centres, lists, is_mapped):
    """Partitions of these lists, whatever centres they have."""
    starts = np.cumsum([0, *map(len, lists)])
    rows = np.concatenate(lists).astype(np.uint32)
    return Partitions(held(codes, is_mapped), centres, starts, rows)


def topk_of_all(queries, codes, k):
    """Distances and rows of the k nearest codes, by (distance, row)."""
    far = all_distances(queries, codes)
    order = np.argsort(far, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(far, order, axis=1).astype(np.int32), order


@st.composite
def partition_problems(draw):
    """(queries, codes, centres, lists): rows in any lists."""
    queries, codes, _ = draw(search_problems(max_queries=12, max_codes=150))
    codes = np.concatenate([codes, queries[:1], random_codes(1, 8 * codes.shape[1])])
    n_lists = draw(st.integers(1, min(len(codes), 9)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    number = rng.permutation(np.arange(len(codes)) % n_lists)
    lists = [np.flatnonzero(number == j) for j in range(n_lists)]
    centres = codes[rng.integers(0, len(codes), n_lists)]
    return queries, codes, centres, lists


@pytest.mark.parametrize("level", kernels.supported_levels())
@given(problem=partition_problems(), data=st.data(), n_threads=st.integers(1, 3))
def test_search_in_lists_matches_the_reference(level, problem, data, n_threads):
    queries, codes, centres, lists = problem
    n_lists = len(lists)
    least = data.draw(st.integers(1, n_lists))
    most = data.draw(st.integers(least, n_lists))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    unit = 8 * codes.shape[1]
    has_weights = data.draw(st.booleans())
    if has_weights:
        # Small ones, of which many sums are equal, and the largest that eight bits may have.
        largest = data.draw(st.sampled_from([1, 31]))
        queries = rng.integers(-largest, largest + 1, (len(queries), unit), np.int16)
        unit = WEIGHT_UNIT
    slope = data.draw(st.integers(-1, 5))
    threshold = data.draw(st.integers(-unit // 2 - 5, 4 * unit))
    bound = data.draw(st.integers(0, unit + 1))
    rule = Rule(least, most, data.draw(st.booleans()), slope, threshold, bound)
    k = data.draw(st.integers(1, 30))
    mask = rng.random(len(codes)) < data.draw(st.sampled_from([0.2, 0.9, 2]))
    # The level that searches is not always the one that has laid out the centres.
    with simd(level if data.draw(st.booleans()) else kernels.supported_levels()[0]):
        partitions = with_lists(codes, centres, lists, data.draw(st.booleans()))
    with simd(level):
        compared = np.empty(len(queries), np.int64)
        allowed = allow(mask, len(codes))
        distances, rows, n_short = partitions.topk(queries, k, rule, n_threads, allowed, compared)
    assert n_short == (rows[:, -1] < 0).sum()
    expected = reference.topk(
        queries,
        codes,
        centres,
        [some.tolist() for some in lists],
        k,
        least,
        most,
        rule.from_nearest,
        slope,
        threshold,
        mask,
    )
    for a, b in zip((distances, rows, compared), expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("level", kernels.supported_levels())
@pytest.mark.parametrize("most", [2, 150, 299, 300])
def test_one_query_finds_what_a_batch_finds(level, most):
    """It scans lists that lie one after the other at once, where a batch takes each by itself."""
    codes, queries = random_codes(3000, 128, 1), random_codes(20, 128, 2)
    lists = [np.arange(i, 3000, 300) for i in range(300)]
    rules = Rule(1, most, False, 0, 10**6), Rule(1, most, True, 2, 100)
    for rule, is_mapped in itertools.product(rules, (False, True)):
        with simd(level):
            partitions = with_lists(codes, codes[:300], lists, is_mapped)
            together, apart = np.empty((2, 20), np.int64)
            expected = partitions.topk(queries, 10, rule, 1, n_compared=together)
            for q in range(20):
                some = slice(q, q + 1)
                found = partitions.topk(queries[some], 10, rule, 1, n_compared=apart[some])
                np.testing.assert_array_equal(found[0], expected[0][some])
                np.testing.assert_array_equal(found[1], expected[1][some])
        np.testing.assert_array_equal(apart, together)


@pytest.mark.parametrize("level", kernels.supported_levels())
@pytest.mark.parametrize("n_bits", WIDTHS)
def test_all_lists_give_the_exact_answer(level, n_bits):
    """With so many codes that lists have several tiles, and queries several blocks."""
    rng = np.random.default_rng(n_bits)
    codes, queries = random_codes(3000, n_bits, 1), random_codes(40, n_bits, 2)
    codes[1000:2000] = codes[7]
    order = rng.permutation(3000)
    lists = [np.sort(order[:1700]), np.sort(order[1700:1703]), np.sort(order[1703:])]
    hamming = all_distances(queries, codes)
    rule = Rule(1, 3, False, 0, 10**6)
    weights = round_weights(np.random.default_rng(3).standard_normal((40, n_bits))).values
    weighted = weighted_distances(weights, codes)
    with simd(level):
        partitions = with_lists(codes, codes[:3], lists, n_bits % 2 == 0)
        for given, far in ((queries, hamming), (weights, weighted)):
            nearest = np.argsort(far, axis=1, kind="stable")
            for k, n_queries in itertools.product((1, 10, 1200), (1, 3, 40)):
                compared = np.empty(n_queries, np.int64)
                distances, rows, _ = partitions.topk(
                    given[:n_queries], k, rule, 2, n_compared=compared
                )
                expected = nearest[:n_queries, :k]
                np.testing.assert_array_equal(rows, expected)
                np.testing.assert_array_equal(
                    distances, np.take_along_axis(far[:n_queries], expected, axis=1)
                )
                assert (compared == 3000).all()


@given(problem=search_problems(max_codes=60), n_threads=st.integers(1, 3))
def test_majority_matches_the_reference(problem, n_threads):
    _, codes, n_bits = problem
    codes = np.concatenate([codes, random_codes(2, n_bits)])
    number = np.arange(len(codes)) * 7 % 3
    lists = [np.flatnonzero(number == j) for j in range(3)]
    before = codes[[0, 1, -1]]
    starts = np.cumsum([0, *map(len, lists)])
    out = np.empty_like(before)
    rows = np.concatenate(lists).astype(np.uint32)
    find_majority(codes, starts, rows, before, out, n_threads)
    for j, some in enumerate(lists):
        np.testing.assert_array_equal(out[j], reference.majority(codes, list(some), before[j]))


@pytest.mark.parametrize("level", kernels.supported_levels())
@given(
    problem=search_problems(max_codes=400),
    n_nearest=st.integers(1, 2),
    n_threads=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_nearest_centres_match_the_exact_search(level, problem, n_nearest, n_threads, seed):
    """Whatever centres are guessed."""
    queries, centres, n_bits = problem
    codes = np.concatenate([queries, random_codes(300, n_bits)])
    centres = np.concatenate([centres, random_codes(2, n_bits)])
    expected, order = topk_of_all(codes, centres, n_nearest)
    distances, nearest = np.empty_like(expected), np.empty_like(order)
    with simd(level):
        find_nearest(codes, centres, distances, nearest, False, n_threads)
        np.testing.assert_array_equal(distances, expected)
        np.testing.assert_array_equal(nearest, order)
        rng = np.random.default_rng(seed)
        nearest[:] = [rng.choice(len(centres), n_nearest, replace=False) for _ in codes]
        find_nearest(codes, centres, distances, nearest, True, n_threads)
    np.testing.assert_array_equal(distances, expected)
    np.testing.assert_array_equal(nearest, order)


@given(problem=search_problems(max_codes=80), n_lists=st.integers(1, 12))
def test_learned_lists_hold_every_code_at_its_nearest_centre(problem, n_lists):
    _, codes, n_bits = problem
    codes = np.concatenate([codes, random_codes(1, n_bits)])
    partitions = Partitions.learn(held(codes), n_lists, 1)
    lists = lists_of(partitions)
    assert sorted(row for rows in lists for row in rows) == list(range(len(codes)))
    for rows in lists:
        assert rows and rows == sorted(rows)
        # Lists that were too long are cut by centres of their own.
        assert len(rows) <= max(1, module._LONGEST * len(codes) // min(n_lists, len(codes)))


def test_codes_are_in_the_list_of_the_nearest_centre():
    codes = random_codes(4000, 128, 3)
    partitions = Partitions.learn(held(codes), 40, 2)
    lists = partitions.lists_of_rows()
    for row in range(0, 4000, 37):
        assert lists[row] == reference.nearest_centre(codes[row], partitions.centres)


def test_lists_depend_on_codes_alone():
    codes = random_codes(20000, 64, 4)
    one, two = (Partitions.learn(held(codes), 100, n_threads) for n_threads in (1, 3))
    for name in ("centres", "starts", "rows"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_codes_far_from_their_centres_get_more_lists(monkeypatch):
    """Near codes of clear groups keep the usual number; so do codes without neighbours."""
    monkeypatch.setattr(module, "_FEWEST_TRIED", 20_000)
    rng = np.random.default_rng(0)
    groups = np.repeat(random_codes(200, 256, 1), 100, axis=0)
    flipped = np.packbits(rng.random((20_000, 256)) < 0.05, axis=1)
    smooth = rng.standard_normal((20_000, 24)) @ rng.standard_normal((24, 256))
    unlike = random_codes(20_000, 256, 2)
    usual = module.default_n_lists(20_000)
    found = [
        len(Partitions.learn(held(codes), None, 1))
        for codes in (groups ^ flipped, np.packbits(smooth > 0, axis=1), unlike)
    ]
    assert found[0] < 1.5 * usual and found[2] < 1.5 * usual
    assert found[1] > 2 * usual
    # The caller's number is kept.
    assert len(Partitions.learn(held(np.packbits(smooth > 0, axis=1)), usual, 1)) < 1.5 * usual


def test_a_long_list_is_cut_by_a_sample_of_its_codes(monkeypatch):
    """The majority cannot be interrupted, so it is taken of a bounded number of codes."""
    sizes = []

    def majority(codes, *others):
        sizes.append(len(codes))
        find_majority(codes, *others)

    monkeypatch.setattr(module, "find_majority", majority)
    monkeypatch.setattr(module, "_ASSIGNED_ROWS", 1000)
    codes = np.concatenate([np.zeros((9000, 8), np.uint8), random_codes(3000, 64, 1)])
    partitions = Partitions.around(held(codes), random_codes(20, 64, 2), 1)
    assert sizes and max(sizes) == 1000
    assert sorted(partitions.rows) == list(range(12000))
    assert np.diff(partitions.starts).max() <= module._LONGEST * 12000 // 20
    assert all((np.diff(rows) > 0).all() for rows in lists_of(partitions))


def test_lists_of_equal_codes_are_cut():
    codes = np.repeat(random_codes(3, 64, 5), [5000, 20, 1], axis=0)
    partitions = Partitions.learn(held(codes), 50, 1)
    longest = module._LONGEST * len(codes) // 50
    assert np.diff(partitions.starts).max() <= longest
    rule = Rule(1, len(partitions), False, 0, 4 * 64)
    distances, rows, _ = partitions.topk(codes[:1], 5021, rule, 1)
    np.testing.assert_array_equal(rows[0, :5000], np.arange(5000))
    assert (distances[0, :5000] == 0).all() and distances[0, 5020] > 0
