"""What C callers may pass: every size and pointer is answered, or refused with its number.

Arguments lie in fenced memory, so that reading or writing past them ends the test.
"""

import ctypes
import itertools

import numpy as np
import pytest
from c_calls import (
    COUNTS,
    FENCES,
    LARGEST,
    LIMITS,
    STRIDES,
    Call,
    Described,
    answered,
    arguments,
    is_small,
    wrong_codes,
)
from c_functions import (
    AT,
    COUNT,
    LABELS,
    NULL,
    OK,
    POINTER,
    RADIUS,
    ROOM,
    STRIDE,
    THREADS,
    WEIGHTS,
    WIDTH,
    Fence,
    K,
    Search,
    c_average_precision,
    c_distances,
    c_distances_of,
    c_message,
    c_rank,
    c_rank_of,
    c_release,
    c_topk,
    c_topk_of,
    c_within,
    c_within_of,
    data,
)
from hypothesis import given
from hypothesis import strategies as st

from reference import hamming as reference
from reference import ranking as ranking_reference
from strategies import simd


@given(arguments())
def test_distances(x):
    call = Call(x)
    errors = wrong_codes(x)
    n_out = x["n_a"] * x["n_b"]
    if not errors and n_out:
        errors |= {COUNT} if 4 * n_out > LARGEST else set()
        errors |= {NULL} if "out" in x["null"] else set()
    if not answered(x, errors, n_out) and n_out:
        return
    out = call.space("out", 4 * n_out if not errors and n_out else 64)
    with simd(x["level"]):
        error = c_distances(*call.codes, out, x["n_threads"])
    call.check(error, errors)
    if not errors and n_out:
        expected = reference.distances(call.a, call.b)
        np.testing.assert_array_equal(FENCES["out"].values(np.int32), expected.ravel())


@given(arguments())
def test_topk(x):
    call = Call(x)
    errors = wrong_codes(x)
    k, n_out = x["extent"], x["n_a"] * x["extent"]
    errors |= {K} if k < 1 else set()
    if not errors and n_out:
        errors |= {K} if 8 * n_out > LARGEST else set()
        errors |= {NULL} if {"out", "ids"} & x["null"] else set()
    if not answered(x, errors, n_out) and n_out:
        return
    is_written = not errors and n_out
    out = call.space("out", 4 * n_out if is_written else 64)
    ids = call.space("ids", 8 * n_out if is_written else 64)
    allowed = call.address("allowed")
    with simd(x["level"]):
        error = c_topk(*call.codes, k, allowed, out, ids, x["n_threads"])
    call.check(error, errors)
    if is_written:
        rows = np.flatnonzero(call.allowed) if allowed else np.arange(x["n_b"])
        expected, places = reference.topk(call.a, call.b[rows], k)
        np.testing.assert_array_equal(FENCES["out"].values(np.int32), expected.ravel())
        np.testing.assert_array_equal(
            FENCES["ids"].values(np.int64), np.append(rows, -1)[places].ravel()
        )


@given(arguments())
def test_rank(x):
    call = Call(x)
    errors = wrong_codes(x)
    n_out = x["n_a"] * x["n_b"]
    errors |= {COUNT} if x["n_b"] >= 2**31 else set()
    if not errors and n_out:
        errors |= {COUNT} if 8 * n_out > LARGEST else set()
        errors |= {NULL} if "ids" in x["null"] else set()
    if not answered(x, errors, n_out) and n_out:
        return
    is_written = not errors and n_out
    ids = call.space("ids", 8 * n_out if is_written else 64)
    with simd(x["level"]):
        error = c_rank(*call.codes, ids, x["n_threads"])
    call.check(error, errors)
    if is_written:
        expected = reference.topk(call.a, call.b, x["n_b"])[1]
        np.testing.assert_array_equal(FENCES["ids"].values(np.int64), expected.ravel())


@given(arguments(), st.sets(st.sampled_from(["limits", "distances", "ids"]), max_size=2))
def test_within(x, null):
    call = Call(x)
    errors = wrong_codes(x)
    radius, n_a = x["extent"], x["n_a"]
    errors |= {RADIUS} if radius < 0 else set()
    errors |= {NULL} if null else set()
    errors |= {COUNT} if 8 * (n_a + 1) > LARGEST else set()
    if not answered(x, errors, 0) and n_a:
        return
    limits = LIMITS.space(8 * (n_a + 1) if not errors else 64)
    found, ids = POINTER(1), POINTER(1)
    allowed = call.address("allowed")
    with simd(x["level"]):
        error = c_within(
            *call.codes,
            radius,
            allowed,
            None if "limits" in null else limits,
            None if "distances" in null else ctypes.byref(found),
            None if "ids" in null else ctypes.byref(ids),
            x["n_threads"],
        )
    call.check(error, errors)
    LIMITS.assert_whole()
    if errors:
        # What the caller may give to `release`.
        assert found.value is None or "distances" in null
        assert ids.value is None or "ids" in null
        return
    # Without queries, codes may be wider or more than those at hand.
    rows = np.flatnonzero(call.allowed) if allowed else np.arange(len(call.b))
    expected = reference.within(call.a[:n_a], call.b[rows], min(radius, 8 * x["n_bytes"]))
    np.testing.assert_array_equal(LIMITS.values(np.int64), expected[0])
    for address, type_, values in (
        (found, "int32", expected[1]),
        (ids, "int64", rows[expected[2]]),
    ):
        assert address.value is not None
        held = (getattr(ctypes, f"c_{type_}") * len(values)).from_address(address.value)
        np.testing.assert_array_equal(np.frombuffer(held, type_), values)
        c_release(address)
    c_release(None)


@given(arguments())
def test_average_precision(x):
    call = Call(x)
    errors = wrong_codes(x)
    n_a, n_b, n_words, at = x["n_a"], x["n_b"], x["n_words"], x["extent"]
    errors |= {COUNT} if n_b >= 2**31 or 8 * n_a > LARGEST else set()
    errors |= {AT} if at < 1 else set()
    errors |= {LABELS} if not 1 <= n_words < 2**31 else set()
    errors |= {LABELS} if 8 * max(n_a, n_b) * n_words > LARGEST else set()
    if n_a > 0:
        errors |= {NULL} if {"out", "query_labels"} & x["null"] else set()
        errors |= {NULL} if "labels" in x["null"] and n_b else set()
    if not (errors or (is_small(x) and n_words <= 3)) and n_a:
        return
    is_written = not errors and n_a
    out = call.space("out", 8 * n_a if is_written else 64)
    labels = call.address("query_labels"), call.address("labels")
    with simd(x["level"]):
        error = c_average_precision(*call.codes, *labels, n_words, at, out, x["n_threads"])
    call.check(error, errors)
    if is_written:
        bits = [
            np.unpackbits(side.view(np.uint8), axis=1)
            if len(side)
            else np.zeros((0, 64 * n_words), np.uint8)
            for side in (call.query_labels, call.labels)
        ]
        expected = [
            ranking_reference.average_precision(
                call.a[q], call.b, bits[0][q], bits[1], at=min(at, max(n_b, 1))
            )
            for q in range(n_a)
        ]
        expected = [np.nan if score is None else score for score in expected]
        np.testing.assert_allclose(FENCES["out"].values(np.float64), expected, rtol=1e-12)


@given(arguments(), st.tuples(STRIDES, STRIDES), st.booleans())
def test_searches_of_rows_with_gaps(x, strides, is_polled):
    call = Described(x, strides, is_polled)
    n_a, n_b, k = x["n_a"], x["n_b"], x["extent"]
    if not call.errors and not (is_small(x) and max(strides) <= 300):
        return
    for name, call_function, n_out in [
        ("distances", lambda out, ids: c_distances_of(call.search, out), n_a * n_b),
        ("topk", lambda out, ids: c_topk_of(call.search, k, out, ids), n_a * k),
        ("rank", lambda out, ids: c_rank_of(call.search, ids), n_a * n_b),
    ]:
        errors = set(call.errors)
        errors |= {K} if name == "topk" and k < 1 else set()
        errors |= {COUNT} if name == "rank" and n_b >= 2**31 else set()
        errors |= {K} if name == "topk" and not errors and 8 * n_out > LARGEST else set()
        if not errors and n_out:
            outputs = {"distances": {"out"}, "topk": {"out", "ids"}, "rank": {"ids"}}[name]
            errors |= {NULL} if outputs & x["null"] else set()
        if not errors and n_out > 9 * 170:
            continue
        is_written = not errors and n_out
        out = call.space("out", 4 * n_out if is_written else 64)
        ids = call.space("ids", 8 * n_out if is_written else 64)
        with simd(x["level"]):
            error = call_function(out, ids)
        call.check(error, errors)
        if not is_written:
            continue
        if name == "distances":
            expected = reference.distances(call.a_rows, call.b_rows)
            np.testing.assert_array_equal(FENCES["out"].values(np.int32), expected.ravel())
            continue
        rows = call.rows if name == "topk" else np.arange(n_b)
        places = reference.topk(call.a_rows, call.b_rows[rows], k if name == "topk" else n_b)[1]
        np.testing.assert_array_equal(
            FENCES["ids"].values(np.int64), np.append(rows, -1)[places].ravel()
        )


@given(
    arguments(),
    st.tuples(STRIDES, STRIDES),
    st.booleans(),
    COUNTS | st.integers(-3, 3),
    st.booleans(),
)
def test_within_rows_with_gaps(x, strides, is_polled, room, is_near):
    """`room` is that of the caller, or what it has more than is found."""
    call = Described(x, strides, is_polled)
    n_a, radius = x["n_a"], x["extent"]
    errors = set(call.errors)
    errors |= {RADIUS} if radius < 0 else set()
    errors |= {COUNT} if 8 * (n_a + 1) > LARGEST else set()
    if not errors and not (is_small(x) and max(strides) <= 300):
        return
    expected = None
    if not errors:
        rows = call.rows
        expected = reference.within(call.a_rows, call.b_rows[rows], min(radius, 8 * x["n_bytes"]))
        room += len(expected[1]) if is_near else 0
    errors |= {ROOM} if not 0 <= room <= LARGEST // 8 else set()
    errors |= {NULL} if room > 0 and {"out", "ids"} & x["null"] else set()
    if not errors and room > 9 * 170:
        return
    is_short = not errors and len(expected[1]) > room
    errors |= {ROOM} if is_short else set()
    limits = LIMITS.space(8 * (n_a + 1) if expected is not None else 64)
    out = call.space("out", 4 * room if 0 <= room <= 9 * 170 else 64)
    ids = call.space("ids", 8 * room if 0 <= room <= 9 * 170 else 64)
    with simd(x["level"]):
        error = c_within_of(call.search, radius, limits, out, ids, room)
    call.check(error, errors)
    LIMITS.assert_whole()
    if is_short or not errors:
        np.testing.assert_array_equal(LIMITS.values(np.int64), expected[0])
    if not errors:
        n = len(expected[1])
        np.testing.assert_array_equal(FENCES["out"].values(np.int32)[:n], expected[1])
        np.testing.assert_array_equal(FENCES["ids"].values(np.int64)[:n], rows[expected[2]])


def test_a_search_that_is_not_described_is_refused():
    out, ids = np.zeros(8, np.int32), np.zeros(8, np.int64)
    assert c_distances_of(None, data(out)) == NULL
    assert c_topk_of(None, 1, data(out), data(ids)) == NULL
    assert c_rank_of(None, data(ids)) == NULL
    assert c_within_of(None, 1, data(ids), data(out), data(ids), 1) == NULL
    search = Search(data(ids), 1, 0, data(ids), 1, 0, 8)
    assert c_within_of(search, 1, None, data(out), data(ids), 1) == NULL
    assert c_within_of(search, 1, data(ids), None, None, 0) == ROOM
    for stride, query_stride in itertools.product([-(2**63), -8, -1, 1, 7], [0, 8]):
        assert c_rank_of(Search(data(ids), 1, query_stride, data(ids), 1, stride, 8), 0) == STRIDE
        assert c_rank_of(Search(data(ids), 1, stride, data(ids), 1, query_stride, 8), 0) == STRIDE


def test_each_refusal_has_its_number_and_a_sentence():
    code = np.zeros(8, np.uint8)
    out, ids = np.zeros(8, np.int32), np.zeros(8, np.int64)
    scores, words = np.zeros(8), np.ones(8, np.uint64)

    def topk(n_a=1, n_b=1, n_bytes=8, k=1, n_threads=1):
        return c_topk(
            data(code), n_a, data(code), n_b, n_bytes, k, None, data(out), data(ids), n_threads
        )

    def within(n_a=1, radius=0):
        found = POINTER(), POINTER()
        error = c_within(
            data(code), n_a, data(code), 1, 1, radius, None, data(ids),
            *map(ctypes.byref, found), 1,
        )  # fmt: skip
        for memory in found:
            c_release(memory)
        return error

    def score(n_a=1, n_b=1, n_words=1, at=1):
        return c_average_precision(
            data(code), n_a, data(code), n_b, 1, data(words), data(words), n_words, at,
            data(scores), 1,
        )  # fmt: skip

    assert topk() == within() == within(n_a=0) == score() == score(n_a=0) == OK
    assert topk(n_a=2**61) == topk(n_b=2**61) == topk(n_a=-1) == COUNT
    assert topk(n_bytes=0) == topk(n_bytes=2**28) == topk(n_bytes=-(2**63)) == WIDTH
    assert topk(k=0) == topk(k=2**61) == topk(n_a=2**30, k=2**31) == K
    assert topk(n_threads=-1) == THREADS
    assert c_distances(data(code), 2**31, data(code), 2**31, 1, data(out), 1) == COUNT
    assert c_rank(data(code), 1, data(code), 2**31, 1, data(ids), 1) == COUNT
    assert c_rank(data(code), 2**31, data(code), 2**31 - 1, 1, data(ids), 1) == COUNT
    # One byte a code, so that only the results are too many.
    assert within(n_a=2**60) == within(n_a=LARGEST) == COUNT
    assert within(radius=-1) == within(radius=-(2**63)) == RADIUS
    assert score(n_a=2**60) == score(n_a=LARGEST) == score(n_b=2**31) == COUNT
    assert score(n_words=0) == score(n_words=2**31) == score(n_b=2**30, n_words=2**30) == LABELS
    assert score(at=0) == score(at=-(2**63)) == AT
    sentences = {c_message(error) for error in range(WEIGHTS + 1)}
    assert len(sentences) == WEIGHTS + 1
    assert c_message(-1) == c_message(WEIGHTS + 1) == c_message(2**31 - 1) not in sentences


@pytest.mark.parametrize("nbytes", [0, 1, 4096])
def test_a_fence_notices(nbytes):
    fence = Fence()
    address = fence.space(nbytes)
    fence.assert_whole()
    ctypes.memset(address - 1, 0, 1)
    with pytest.raises(AssertionError):
        fence.assert_whole()
