"""An index that C callers hold: what they may pass, and answers by tables, a scan, or both."""

import ctypes
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from c_calls import COUNTS, FENCES, LARGEST, LIMITS, STRIDES, Described, arguments, is_small
from c_functions import (
    BITS,
    COUNT,
    NULL,
    OK,
    POINTER,
    POLL,
    RADIUS,
    ROOM,
    STOPPED,
    WIDTH,
    K,
    Search,
    c_index_create,
    c_index_free,
    c_index_topk,
    c_index_within,
    data,
)
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from reference import hamming as reference
from strategies import random_codes, simd

MOST_OUT = 9 * 170


def has_padding(codes, n_padding):
    """Whether one of the last bits of a code is set."""
    return bool((codes[:, -1] & ((1 << n_padding) - 1)).any())


@given(
    x=arguments(),
    strides=st.tuples(STRIDES, STRIDES),
    is_polled=st.booleans(),
    n_bits=st.integers(-1, 8) | COUNTS,
    is_clean=st.booleans(),
    k=st.none() | st.just(1),
    room=COUNTS | st.integers(-3, 3),
)
def test_arguments(x, strides, is_polled, n_bits, is_clean, k, room):
    """`n_bits` may be how many bits less than n_bytes bytes have; `room`, more than is found."""
    n_bytes, is_padded = x["n_bytes"], -1 <= n_bits <= 8
    n_padding = n_bits % 8 if is_padded and is_clean else 0
    n_bits = 8 * n_bytes - n_bits if is_padded else n_bits
    if not -(2**63) <= n_bits <= LARGEST:
        return
    only_codes = {**x, "n_a": 0, "null": x["null"] - {"a"}}
    built = Described(only_codes, (0, strides[1]), is_polled, n_padding)
    errors = set(built.errors)
    errors |= {COUNT} if x["n_b"] >= 2**32 else set()
    n_unused = 8 * n_bytes - n_bits if n_bits else 0
    errors |= set() if 0 <= n_unused < 8 else {BITS}
    if not errors:
        if not is_small({**only_codes, "n_b": x["n_b"]}) or strides[1] > 300:
            return
        errors |= {BITS} if has_padding(built.b_rows, n_unused) else set()
    index = POINTER(1)
    with simd(x["level"]):
        error = c_index_create(built.search, n_bits, ctypes.byref(index))
    built.check(error, errors)
    if errors:
        assert index.value is None
        return
    try:
        call = Described({**x, "null": x["null"] - {"b"}}, (strides[0], 0), is_polled, n_padding)
        # The codes are those of the index.
        call.search.database, call.search.n, call.search.stride = None, -7, 1
        errors = set(call.errors)
        if not errors:
            if not is_small(x) or strides[0] > 300:
                return
            errors |= {BITS} if has_padding(call.a_rows, n_unused) else set()
        # A call that is refused may allow rows that the index lacks.
        codes = None if errors else built.b_rows[call.rows]
        with simd(x["level"]):
            check_topk(call, index, codes, k or x["extent"], errors)
            check_within(call, index, codes, room, errors)
    finally:
        c_index_free(index)


def check_topk(call, index, codes, k, errors):
    n_out = call.x["n_a"] * k
    errors = errors | ({K} if k < 1 else set())
    if not errors and n_out:
        errors = {K} if 8 * n_out > LARGEST else set()
        errors |= {NULL} if {"out", "ids"} & call.x["null"] else set()
    if not errors and n_out > MOST_OUT:
        return
    is_written = not errors and n_out
    out = call.space("out", 4 * n_out if is_written else 64)
    ids = call.space("ids", 8 * n_out if is_written else 64)
    call.check(c_index_topk(index, call.search, k, out, ids), errors)
    if is_written:
        distances, places = reference.topk(call.a_rows, codes, k)
        np.testing.assert_array_equal(FENCES["out"].values(np.int32), distances.ravel())
        expected = np.append(call.rows, -1)[places].ravel()
        np.testing.assert_array_equal(FENCES["ids"].values(np.int64), expected)


def check_within(call, index, codes, room, errors):
    n_a, radius = call.x["n_a"], call.x["extent"]
    errors = errors | ({RADIUS} if radius < 0 else set())
    errors |= {COUNT} if 8 * (n_a + 1) > LARGEST else set()
    expected = None
    if not errors:
        expected = reference.within(call.a_rows, codes, min(radius, 8 * call.x["n_bytes"]))
        room += len(expected[1]) if abs(room) <= 3 else 0
    errors |= {ROOM} if not 0 <= room <= LARGEST // 8 else set()
    errors |= {NULL} if room > 0 and {"out", "ids"} & call.x["null"] else set()
    if not errors and room > MOST_OUT:
        return
    is_short = not errors and len(expected[1]) > room
    errors |= {ROOM} if is_short else set()
    limits = LIMITS.space(8 * (n_a + 1) if expected is not None else 64)
    out = call.space("out", 4 * room if 0 <= room <= MOST_OUT else 64)
    ids = call.space("ids", 8 * room if 0 <= room <= MOST_OUT else 64)
    call.check(c_index_within(index, call.search, radius, limits, out, ids, room), errors)
    LIMITS.assert_whole()
    if is_short or not errors:
        np.testing.assert_array_equal(LIMITS.values(np.int64), expected[0])
    if not errors:
        n = len(expected[1])
        np.testing.assert_array_equal(FENCES["out"].values(np.int32)[:n], expected[1])
        np.testing.assert_array_equal(FENCES["ids"].values(np.int64)[:n], call.rows[expected[2]])


def described(queries, codes, n_threads=1, poll=None):
    return Search(
        data(queries), len(queries), 0, data(codes), len(codes), 0, codes.shape[1], None,
        POLL() if poll is None else poll, None, n_threads,
    )  # fmt: skip


@contextmanager
def indexed(search, n_bits=0):
    index = POINTER()
    assert c_index_create(search, n_bits, ctypes.byref(index)) == OK
    try:
        yield index
    finally:
        c_index_free(index)


def topk(index, search, k):
    distances = np.empty((search.n_queries, k), np.int32)
    ids = np.empty((search.n_queries, k), np.int64)
    assert c_index_topk(index, search, k, data(distances), data(ids)) == OK
    return distances, ids


def within(index, search, radius):
    """Limits, distances and ids; counted first, and then searched with room for one hit less."""
    limits = np.empty(search.n_queries + 1, np.int64)
    error = c_index_within(index, search, radius, data(limits), None, None, 0)
    n, counted = int(limits[-1]), limits.copy()
    assert error == (ROOM if n else OK)
    distances, ids = np.empty(n, np.int32), np.empty(n, np.int64)
    if n > 1:
        found = data(distances), data(ids), n - 1
        assert c_index_within(index, search, radius, data(limits), *found) == ROOM
        np.testing.assert_array_equal(limits, counted)
    assert c_index_within(index, search, radius, data(limits), data(distances), data(ids), n) == OK
    np.testing.assert_array_equal(limits, counted)
    return limits, distances, ids


def near_and_far(n, n_bytes, n_queries, far):
    """Queries of which a share is far from all codes, and codes in clusters."""
    rng = np.random.default_rng(n_bytes)
    centres = rng.integers(0, 256, (n // 50, n_bytes), np.uint8)

    def noisy(n):
        noise = np.packbits(rng.random((n, 8 * n_bytes)) < 0.03, axis=1)
        return centres[rng.integers(0, len(centres), n)] ^ noise

    queries = noisy(n_queries)
    is_far = rng.random(n_queries) < far
    queries[is_far] = rng.integers(0, 256, (is_far.sum(), n_bytes), np.uint8)
    return queries, noisy(n)


@pytest.mark.parametrize("is_polled", [False, True])
@pytest.mark.parametrize("far", [0, 0.3, 0.9])
@pytest.mark.parametrize("n_bytes", [3, 8, 16])
def test_queries_in_tables_and_queries_that_are_scanned(n_bytes, far, is_polled):
    n = 100_000
    queries, codes = near_and_far(n, n_bytes, 300, far)
    allowed = (np.arange(n) % 3 > 0).astype(np.uint8)
    few = (np.arange(n) % 300 == 0).astype(np.uint8)
    search = described(queries, codes, 2, POLL(lambda _: 0) if is_polled else None)
    with indexed(search) as index:
        for flags in (None, allowed, few):
            search.allowed = None if flags is None else data(flags)
            mask = None if flags is None else flags != 0
            for k in (1, 10, 400):
                found, expected = topk(index, search, k), fh.topk(queries, codes, k, filter=mask)
                for one, other in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(one, other)
            for radius in (0, n_bytes, 3 * n_bytes):
                found = within(index, search, radius)
                expected = fh.within(queries, codes, radius, filter=mask)
                for one, other in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(one, other)


def test_an_index_keeps_its_own_codes():
    codes = random_codes(1000, 61)
    search = described(codes[:3].copy(), codes)
    expected = fh.topk(codes[:3], codes, 5)
    with indexed(search, 61) as index:
        codes[:] = 255
        found = topk(index, search, 5)
    np.testing.assert_array_equal(found[1], expected[1])


def test_an_index_without_codes_finds_nothing():
    queries = random_codes(2, 64)
    search = described(queries, np.empty((0, 8), np.uint8))
    with indexed(search) as index:
        assert (topk(index, search, 3)[1] == -1).all()
        assert within(index, search, 64)[0].tolist() == [0, 0, 0]


def test_threads_may_search_at_once():
    queries, codes = near_and_far(50_000, 8, 200, 0.2)
    expected = fh.topk(queries, codes, 10)[1]
    wrong = []

    def ask(index, n_threads):
        search = described(queries, codes, n_threads)
        for _ in range(5):
            wrong.append((topk(index, search, 10)[1] != expected).any())

    with indexed(described(queries, codes)) as index:
        threads = [threading.Thread(target=ask, args=(index, n)) for n in (1, 2, 3, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == [False] * 20


@pytest.mark.parametrize("n_calls", [0, 1, 5])
def test_the_work_is_ended(n_calls):
    """By the answer after so many; nothing is written where an index would be."""
    queries, codes = near_and_far(300_000, 8, 1000, 0.4)
    asked = []

    def answer(_):
        asked.append(None)
        return len(asked) > n_calls

    ended = described(queries, codes, 1, POLL(answer))
    out = np.empty((1000, 10), np.int32), np.empty((1000, 10), np.int64)
    nothing = POINTER(1)
    assert c_index_create(ended, 0, ctypes.byref(nothing)) == STOPPED
    assert nothing.value is None and len(asked) == n_calls + 1
    with indexed(described(queries, codes)) as index:
        asked.clear()
        assert c_index_topk(index, ended, 10, *map(data, out)) == STOPPED
        assert len(asked) == n_calls + 1
        asked.clear()
        assert c_index_within(index, ended, 20, data(out[1]), None, None, 0) == STOPPED
        assert len(asked) == n_calls + 1


def test_what_is_missing_is_refused():
    codes = random_codes(9, 64)
    search, index = described(codes, codes), POINTER()
    out, limits = np.empty((9, 2), np.int64), np.empty(10, np.int64)
    assert c_index_create(None, 0, ctypes.byref(index)) == NULL
    assert c_index_create(search, 0, None) == NULL
    assert c_index_topk(None, search, 1, data(out), data(out)) == NULL
    assert c_index_within(None, search, 1, data(limits), None, None, 0) == NULL
    c_index_free(None)
    with indexed(search) as index:
        assert c_index_topk(index, None, 1, data(out), data(out)) == NULL
        assert c_index_within(index, None, 1, data(limits), None, None, 0) == NULL
        assert c_index_within(index, search, 1, None, None, None, 0) == NULL
        search.n_bytes = 4
        assert c_index_topk(index, search, 1, data(out), data(out)) == WIDTH
        assert c_index_within(index, search, 1, data(limits), None, None, 0) == WIDTH
