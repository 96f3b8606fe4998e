"""`fasthash.neighbors`: pairs, groups and graphs are those of a comparison of all codes."""

import contextlib
import itertools
import os
import signal
import threading
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import fasthash as fh
from fasthash._core.pieces import smaller_pieces
from fasthash._kernels.groups import NarrowGroups
from fasthash.neighbors import _blocks, _plan
from reference import neighbors as reference
from strategies import WIDTHS, all_distances, random_codes, simd

patient = settings(deadline=None, max_examples=60)


@st.composite
def problems(draw, max_codes=40):
    """Codes with near and equal ones among them."""
    n_bits = draw(st.sampled_from([w for w in WIDTHS if w <= 130]))
    n = draw(st.integers(0, max_codes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    centres = rng.random((draw(st.integers(1, 3)), n_bits)) < 0.5
    flip = draw(st.sampled_from([0.0, 0.02, 0.1, 0.5]))
    bits = centres[rng.integers(0, len(centres), n)] ^ (rng.random((n, n_bits)) < flip)
    return np.packbits(bits, axis=1)


@contextlib.contextmanager
def tables(n_tables):
    """Find pairs by a join with so many tables, or a scan (None)."""
    with pytest.MonkeyPatch.context() as patch:
        plan = _plan.PairPlan(n_tables, share=0.001)
        patch.setattr(_blocks, "plan_pairs", lambda codes, others, radius: plan)
        yield


def some_tables(codes):
    """With substrings of at most 14 bits: more buckets take long to clear."""
    n_bits = 8 * codes.shape[1]
    fewest = -(-n_bits // 14)
    return st.none() | st.integers(fewest, min(n_bits, fewest + 12))


def as_tuples(pairs):
    first, second, distances = pairs
    assert (first.dtype, second.dtype, distances.dtype) == (np.int64, np.int64, np.int32)
    return list(zip(first.tolist(), second.tolist(), distances.tolist(), strict=True))


@patient
@given(
    codes=problems(),
    other=st.none() | st.integers(0, 40),
    radius=st.integers(0, 20) | st.integers(0, 140),
    n_threads=st.integers(1, 3),
    level=st.sampled_from(fh.simd_levels()),
    most=st.sampled_from([1, 7, 1 << 20]),
    data=st.data(),
)
def test_pairs_match_the_reference(codes, other, radius, n_threads, level, most, data):
    n_tables = data.draw(some_tables(codes))
    given_other = None if other is None else codes[other:]
    expected = reference.pairs_within(codes, radius, given_other)
    with tables(n_tables), simd(level):
        found = fh.pairs_within(codes, radius, other=given_other, n_threads=n_threads)
        with smaller_pieces(data.draw(st.sampled_from([1, 5, 1 << 62]))):
            blocks = list(
                fh.neighbors.iter_pairs(
                    codes, radius, other=given_other, block_pairs=most, n_threads=n_threads
                )
            )
    assert as_tuples(found) == expected
    assert [pair for block in blocks for pair in as_tuples(block)] == expected
    check_blocks(blocks, most)


def check_blocks(blocks, most):
    """Every block has as many whole rows as fit."""
    for block in blocks:
        assert 0 < len(block.first) <= most or block.first[0] == block.first[-1]
    for block, following in itertools.pairwise(blocks):
        next_row = np.count_nonzero(following.first == following.first[0])
        assert block.first[-1] < following.first[0]
        assert len(block.first) + next_row > most


@pytest.mark.parametrize("n_tables", [None, 4, 5, 9])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_many_codes_in_small_blocks(n_tables, n_threads):
    codes = random_codes(2000, 64)
    codes[1000:] = codes[:1000]
    codes[1500:] ^= np.packbits(np.random.default_rng(1).random((500, 64)) < 0.05, axis=1)
    codes[:150] = codes[0]
    distances = all_distances(codes, codes)
    first, second = np.nonzero(np.triu(distances <= 8, 1))
    # Equal codes give more pairs than fit, so that work is begun again with fewer rows.
    with tables(n_tables):
        blocks = list(fh.neighbors.iter_pairs(codes, 8, block_pairs=30, n_threads=n_threads))
    found = [np.concatenate(arrays) for arrays in zip(*blocks, strict=True)]
    np.testing.assert_array_equal(found[0], first)
    np.testing.assert_array_equal(found[1], second)
    np.testing.assert_array_equal(found[2], distances[first, second])
    check_blocks(blocks, 30)


def test_a_scan_finds_no_more_pairs_at_a_time_than_a_block_holds():
    # Among the first codes few pairs lie within the radius; all of the last ones are equal.
    codes = random_codes(4000, 64)
    codes[2000:] = 0
    for found in _blocks.found_blocks(codes, None, 12, 10_000, 1):
        assert len(found.first) <= 10_000


def test_many_wide_codes():
    # The numbers of ways to choose some of 2048 bits do not fit in a float.
    codes = random_codes(6000, 2048)
    codes[3000:3004] = codes[:4]
    codes[3000:3004, 100] ^= np.array([0, 1, 255, 255], np.uint8)
    codes[3003, 101] ^= 31
    assert as_tuples(fh.pairs_within(codes, 12)) == [(0, 3000, 0), (1, 3001, 1), (2, 3002, 8)]


def test_max_pairs_is_the_largest_number():
    codes = np.zeros((5, 8), np.uint8)
    assert len(fh.pairs_within(codes, 0, max_pairs=10).first) == 10
    with pytest.raises(ValueError, match=r"more than max_pairs=9 pairs lie within radius=0: .* 10"):
        fh.pairs_within(codes, 0, max_pairs=9)


@pytest.mark.parametrize("n_tables", [None, 4])
def test_a_block_may_hold_any_number_of_pairs(n_tables):
    codes = np.zeros((5, 8), np.uint8)
    with tables(n_tables):
        (block,) = fh.neighbors.iter_pairs(codes, 0, block_pairs=10**30)
    assert len(block.first) == 10


@pytest.mark.parametrize("n_tables", [None, 4])
def test_accept_chooses_pairs(n_tables):
    codes = random_codes(60, 16, seed=3)
    source = np.arange(60) % 3
    expected = [p for p in reference.pairs_within(codes, 4) if source[p[0]] != source[p[1]]]
    with tables(n_tables):
        found = fh.pairs_within(codes, 4, accept=lambda i, j: source[i] != source[j])
    assert as_tuples(found) == expected
    with pytest.raises(ValueError, match="one for each of the"):
        fh.pairs_within(codes, 16, accept=lambda i, j: i)
    with pytest.raises(ValueError, match="read-only"):
        fh.pairs_within(codes, 16, accept=lambda i, j: i.fill(0))
    with pytest.raises(TypeError, match="accept must be a function"):
        fh.pairs_within(codes, 1, accept=[True])


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to itself, as Ctrl-C does")
@pytest.mark.parametrize("n_tables", [None, 4])
def test_an_interrupt_ends_the_work(n_tables):
    # The buckets of each table are few, so the whole work would take many seconds.
    codes = random_codes(3_000_000, 64)
    codes[:, ::2] = 0
    began = time.monotonic()
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with tables(n_tables), pytest.raises(KeyboardInterrupt):
        fh.pairs_within(codes, 4)
    assert time.monotonic() - began < 20


def test_arguments_are_checked_before_the_first_block():
    with pytest.raises(TypeError, match="codes must be packed"):
        fh.neighbors.iter_pairs(np.zeros((2, 2)), 1)
    with pytest.raises(ValueError, match="both must be packed from the same number of bits"):
        fh.pairs_within(np.zeros((2, 2), np.uint8), 1, other=np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match="max_diameter=1 is less than radius=2"):
        fh.duplicate_groups(np.zeros((2, 2), np.uint8), 2, max_diameter=1)


@pytest.mark.parametrize("kind", ["uniform", "dead bits", "equal"])
@pytest.mark.parametrize("radius", [0, 3, 8, 64])
def test_the_plan_never_compares_much_more_than_a_scan(kind, radius):
    codes = random_codes(1 << 14, 64)
    if kind == "dead bits":
        codes[:, :3] = 0
    if kind == "equal":
        codes[:] = 7
    n_tables, share = _plan.plan_pairs(codes, None, radius)
    assert 0 <= share <= 1
    assert n_tables is None or 3 <= n_tables <= 11
    if kind == "equal" or radius == 64:
        assert n_tables is None
    if kind == "uniform" and radius <= 3:
        assert n_tables is not None


@patient
@given(
    codes=problems(max_codes=25),
    radius=st.integers(0, 12),
    wider=st.none() | st.integers(0, 12),
    is_accepted=st.booleans(),
)
# The last code equals the second one, but is near the third one, which is in the first group.
@example(np.array([[0], [3], [1], [3]], np.uint8), 1, 1, False)
@example(np.array([[0], [3], [1], [3]], np.uint8), 1, 1, True)
def test_groups_match_the_reference(codes, radius, wider, is_accepted):
    max_diameter = None if wider is None else radius + wider
    # With `accept`, equal codes are not taken together first.
    accept = (lambda first, second: first < second) if is_accepted else None
    expected = reference.duplicate_groups(codes, radius, max_diameter, not is_accepted)
    for representative in ("first", "medoid"):
        with smaller_pieces(400):
            labels, representatives = fh.duplicate_groups(
                codes,
                radius,
                max_diameter=max_diameter,
                representative=representative,
                accept=accept,
            )
        assert labels.dtype == representatives.dtype == np.int64
        assert [np.flatnonzero(labels == g).tolist() for g in range(len(expected))] == expected
        chosen = [
            group[0] if representative == "first" else reference.medoid(codes, group)
            for group in expected
        ]
        assert representatives.tolist() == chosen


@patient
@given(
    codes=problems(max_codes=25),
    radius=st.integers(0, 12),
    wider=st.integers(0, 12),
    amount=st.integers(1, 60),
    random=st.randoms(),
)
def test_the_kernel_of_narrow_groups_matches_the_reference(codes, radius, wider, amount, random):
    """In pieces of any size, and with the earlier codes of each code in any order."""
    earlier = [[] for _ in codes]
    for first, second, _ in reference.pairs_within(codes, radius):
        earlier[second].append(first)
    for rows in earlier:
        random.shuffle(rows)
    starts = np.cumsum([0, *map(len, earlier)])
    rows = np.array([row for some in earlier for row in some], np.int64)
    narrow = NarrowGroups(codes, starts, rows, radius + wider)
    n_calls = 0
    while narrow.advance(amount):
        n_calls += 1
    assert n_calls <= len(codes)
    expected = reference.duplicate_groups(codes, radius, radius + wider, takes_equal_as_one=False)
    found = [np.flatnonzero(narrow.groups == group[0]).tolist() for group in expected]
    assert found == expected and narrow.advance(amount) == 0


def test_groups_are_joined_over_blocks(monkeypatch):
    codes = random_codes(300, 16, seed=5)
    expected = fh.duplicate_groups(codes, 3)
    blocks = fh.neighbors.iter_pairs
    monkeypatch.setattr(
        "fasthash.neighbors._groups.iter_pairs", lambda *a, **k: blocks(*a, block_pairs=5, **k)
    )
    found = fh.duplicate_groups(codes, 3)
    np.testing.assert_array_equal(found.labels, expected.labels)


@patient
@given(codes=problems(max_codes=25), k=st.integers(1, 30), radius=st.integers(0, 30))
def test_graphs_match_the_reference(codes, k, radius):
    graph = fh.knn_graph(codes, k)
    assert graph.shape == (len(codes), len(codes))
    assert graph.data.dtype == np.int32
    rows = [
        list(zip(graph.indices[a:b].tolist(), graph.data[a:b].tolist(), strict=True))
        for a, b in itertools.pairwise(graph.indptr)
    ]
    assert rows == reference.knn_graph(codes, k)
    graph = fh.radius_graph(codes, radius)
    expected = reference.pairs_within(codes, radius)
    coo = graph.tocoo()
    found = list(zip(coo.row.tolist(), coo.col.tolist(), coo.data.tolist(), strict=True))
    assert found == sorted(expected + [(j, i, d) for i, j, d in expected])


def test_graphs_of_a_single_code_check_their_arguments():
    for make in (fh.knn_graph, fh.radius_graph):
        with pytest.raises(ValueError, match="n_threads=0"):
            make(np.zeros((1, 8), np.uint8), 1, n_threads=0)


# The diagonal, which scikit-learn 1.6 adds itself, is not in the order that it wants.
@pytest.mark.filterwarnings("ignore:Precomputed sparse input was not sorted")
def test_dbscan_takes_the_graph():
    from sklearn.cluster import DBSCAN

    codes = random_codes(200, 16, seed=2)
    codes[50:] = codes[:150]
    graph = fh.radius_graph(codes, 2)
    labels = DBSCAN(eps=2, min_samples=1, metric="precomputed").fit_predict(graph)
    np.testing.assert_array_equal(labels, fh.duplicate_groups(codes, 2).labels)
