"""Limits of the native code: threads, widths, scratch memory, and what C callers may pass."""

import ctypes
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash._core import runtime
from fasthash._kernels import radius as radius_kernels
from fasthash._kernels import tiles as kernels
from reference import hamming as reference
from strategies import random_codes, simd

needs_openmp = pytest.mark.skipif(runtime.openmp_version() == 0, reason="built without OpenMP")

OK, NULL, COUNT, WIDTH, K, RADIUS, THREADS = 0, 2, 3, 4, 5, 6, 7


class Table(ctypes.Structure):
    """The functions of fasthash.h that the tests below call."""

    _fields_ = [
        (name, ctypes.c_void_p)
        for name in ("version", "message", "simd_level", "distances", "topk", "within", "release")
    ]


def c_function(name, *types):
    """A function of the table, whose arguments ctypes converts."""
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    from fasthash import c_api

    table = Table.from_address(address(c_api.TABLE, b"fasthash.c_api.TABLE"))
    return ctypes.CFUNCTYPE(ctypes.c_int, *types)(getattr(table, name))


I64, INT, POINTER = ctypes.c_int64, ctypes.c_int, ctypes.c_void_p
c_distances = c_function("distances", POINTER, I64, POINTER, I64, I64, POINTER, INT)
c_topk = c_function("topk", POINTER, I64, POINTER, I64, I64, I64, POINTER, POINTER, POINTER, INT)
c_within = c_function(
    "within", POINTER, I64, POINTER, I64, I64, I64, POINTER, POINTER, POINTER, POINTER, INT
)
c_release = ctypes.CFUNCTYPE(None, POINTER)(
    Table.from_address(
        ctypes.pythonapi.PyCapsule_GetPointer(
            __import__("fasthash.c_api").c_api.TABLE, b"fasthash.c_api.TABLE"
        )
    ).release
)


def data(array):
    return array.ctypes.data


# --- threads -----------------------------------------------------------------


@needs_openmp
@pytest.mark.parametrize("n_threads", [40_000, 100_000, 2**31 - 1])
def test_any_number_of_threads_is_answered(n_threads):
    most = max(64, 4 * runtime.n_cores())
    assert runtime.resolve_threads(n_threads) == most
    database, labels = random_codes(3000, 128), np.arange(3000) % 5
    queries, query_labels = database[:50], labels[:50]

    def answers(n):
        index = fh.MultiIndexHash(n_bits=128)
        index.add(database)
        return [
            *fh.topk(queries, database, 10, n_threads=n),
            *fh.topk(queries, database, 1000, n_threads=n),
            *fh.within(queries, database, 50, n_threads=n),
            fh.rank(queries, database, n_threads=n),
            fh.distances(queries, database, n_threads=n),
            fh.average_precision(queries, database, query_labels, labels, n_threads=n),
            *index.search(queries, 10, n_threads=n),
            *index.within(queries, 20, n_threads=n),
        ]

    for ours, theirs in zip(answers(n_threads), answers(1), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@needs_openmp
@pytest.mark.parametrize("n_threads", [0, 40_000, 2**31 - 1])
def test_any_number_of_threads_is_answered_from_c(n_threads):
    codes = random_codes(2000, 64)
    distances, ids = np.empty((2000, 3), np.int32), np.empty((2000, 3), np.int64)
    error = c_topk(
        data(codes), 2000, data(codes), 2000, 8, 3, None, data(distances), data(ids), n_threads
    )
    assert error == OK
    np.testing.assert_array_equal(ids, fh.topk(codes, codes, 3)[1])


@needs_openmp
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
def test_a_short_search_starts_no_thread():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, numpy as np, fasthash as fh\n"
            "codes = np.random.default_rng(0).integers(0, 256, (200_000, 8), np.uint8)\n"
            "labels = np.arange(10)\n"
            "def n_threads(): return len(os.listdir('/proc/self/task'))\n"
            "before = n_threads()\n"
            "few = codes[:10]\n"
            "fh.distances(few, few, n_threads=32); fh.topk(few, few, 3, n_threads=32)\n"
            "fh.within(few, few, 3, n_threads=32); fh.rank(few, few, n_threads=32)\n"
            "fh.average_precision(few, few, labels, labels, n_threads=32)\n"
            "print(n_threads() - before)\n"
            "fh.topk(codes[:1000], codes, 3, n_threads=3)\n"
            "print(n_threads() - before)\n",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["0", "2"], done.stderr


@given(n_threads=st.integers(1, 64), n_tasks=st.integers(0, 2**60), n_words=st.floats(0, 1e30))
def test_threads_are_for_tasks_and_for_work(n_threads, n_tasks, n_words):
    before = kernels.use_least_work(1 << 16)
    try:
        started = kernels.started_threads(n_threads, n_tasks, n_words)
    finally:
        kernels.use_least_work(before)
    assert started == max(1, min(n_threads, n_tasks, int(min(n_words / (1 << 16), 64))))


# --- wide codes --------------------------------------------------------------


def free_bytes():
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.parametrize("level", fh.simd_levels())
def test_codes_of_64_mebibytes(level):
    """2^29 bits: their number times 64 codes does not fit in 32 bits."""
    if free_bytes() < 12 << 30:
        pytest.skip("needs 12 GiB of memory: two codes, and a count for each of 2^29 distances")
    n_bytes = 2**26
    codes = np.zeros((2, n_bytes), np.uint8)
    codes[1] = 255
    codes[1, -1] = 127
    far = 8 * n_bytes - 1
    with simd(level):
        np.testing.assert_array_equal(fh.distances(codes, codes), [[0, far], [far, 0]])
        limits, d, ids = fh.within(codes[:1], codes, 8 * n_bytes)
        assert (limits.tolist(), d.tolist(), ids.tolist()) == ([0, 2], [0, far], [0, 1])
    found, nearest = np.empty(2, np.int32), np.empty(2, np.int64)
    with simd(level):
        error = c_topk(
            data(codes), 1, data(codes), 2, n_bytes, 2, None, data(found), data(nearest), 1
        )
    assert error == OK and found.tolist() == [0, far] and nearest.tolist() == [0, 1]


@pytest.mark.parametrize("level", fh.simd_levels())
@pytest.mark.parametrize("n_bytes", [511, 513, 4096, 2**16, 2**20 + 1])
def test_codes_wider_than_a_tile(level, n_bytes):
    codes = np.random.default_rng(n_bytes).integers(0, 256, (5, n_bytes), np.uint8)
    expected = np.bitwise_count(codes[:, None] ^ codes).sum(2, dtype=np.int32)
    with simd(level):
        np.testing.assert_array_equal(fh.distances(codes, codes), expected)
        d, ids = fh.topk(codes, codes, 2)
        np.testing.assert_array_equal(ids, np.argsort(expected, axis=1, kind="stable")[:, :2])
        np.testing.assert_array_equal(d, np.sort(expected, axis=1)[:, :2])


# --- scratch of a radius search ----------------------------------------------


def test_counts_of_a_radius_search_have_a_bound():
    """Queries times radius would be 781 MiB here; the answer has 12."""
    queries = random_codes(100_000, 1024)
    database = queries[:10].copy()
    tracemalloc.start()
    try:
        limits, d, ids = fh.within(queries, database, 1000, n_threads=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(ids) == 1_000_000
    # The scratch, and the answer once more while its blocks are joined.
    assert peak < (34 << 20) + 2 * (limits.nbytes + d.nbytes + ids.nbytes)
    some = [0, 1, 4093, 4094, 8191, 99_999]
    expected = reference.within(queries[some], database, 1000)
    for i, q in enumerate(some):
        ours, theirs = slice(*limits[q : q + 2]), slice(*expected[0][i : i + 2])
        np.testing.assert_array_equal(d[ours], expected[1][theirs])
        np.testing.assert_array_equal(ids[ours], expected[2][theirs])


@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_radius_search_in_blocks_of_queries_from_c(n_threads):
    """More queries than one block has: the last block is smaller than the others."""
    n_bytes, radius = 128, 1000
    n = 2 * radius_kernels.queries_at_once(radius) + 7
    queries = random_codes(n, 8 * n_bytes)
    database = queries[:3].copy()
    limits = np.empty(n + 1, np.int64)
    found, ids = POINTER(), POINTER()
    error = c_within(
        data(queries), n, data(database), 3, n_bytes, radius, None, data(limits),
        ctypes.byref(found), ctypes.byref(ids), n_threads,
    )  # fmt: skip
    assert error == OK
    expected = fh.within(queries, database, radius)
    np.testing.assert_array_equal(limits, expected[0])
    for address, type_, values in ((found, "int32", expected[1]), (ids, "int64", expected[2])):
        held = (getattr(ctypes, f"c_{type_}") * limits[-1]).from_address(address.value)
        np.testing.assert_array_equal(np.frombuffer(held, type_), values)
        c_release(address)


# --- the arguments of the C interface ----------------------------------------

SIZES = [-(2**63), -1, 0, 1, 2, 7, 2**28 - 1, 2**28, 2**31, 2**40, 2**62, 2**63 - 1]


def size_of(*factors):
    product = 1
    for factor in factors:
        product *= factor
    return product


@given(
    n_a=st.sampled_from(SIZES),
    n_b=st.sampled_from(SIZES),
    n_bytes=st.sampled_from(SIZES),
    k=st.sampled_from(SIZES),
    n_threads=st.sampled_from([-(2**31), -1, 0, 1, 2**31 - 1]),
    null=st.sets(st.sampled_from(["a", "b", "out", "ids"])),
    offset=st.integers(0, 7),
)
def test_sizes_that_cannot_be_are_refused(n_a, n_b, n_bytes, k, n_threads, null, offset):
    """Nothing is read or written that is not there: what fits in our memory is answered."""
    memory = np.zeros(4096 + 8, np.uint8)
    at = {name: None if name in null else data(memory) + offset for name in ("a", "b")}
    out, ids = np.zeros(64, np.int32), np.zeros(64, np.int64)
    d, i = (None if name in null else data(x) for name, x in (("out", out), ("ids", ids)))
    largest = 2**63 - 1
    possible = n_a >= 0 and n_b >= 0 and 1 <= n_bytes < 2**28 and n_threads >= 0
    possible = possible and max(n_a, n_b) * n_bytes <= largest
    small = possible and max(n_a, n_b) <= 2 and n_bytes <= 7
    there = possible and not (at["a"] is None and n_a) and not (at["b"] is None and n_b)
    if not there or small or 0 in (n_a, n_b) or size_of(4, n_a, n_b) > largest or d is None:
        error = c_distances(at["a"], n_a, at["b"], n_b, n_bytes, d, n_threads)
        written = there and n_a and n_b and d is not None
        assert (error == OK) == bool(there and (not (n_a and n_b) or (small and written)))
    if not there or k < 1 or n_a == 0 or size_of(8, n_a, k) > largest or None in (d, i):
        error = c_topk(at["a"], n_a, at["b"], n_b, n_bytes, k, None, d, i, n_threads)
        assert (error == OK) == (there and k >= 1 and n_a == 0)
    elif small and k <= 7:
        error = c_topk(at["a"], n_a, at["b"], n_b, n_bytes, k, None, d, i, n_threads)
        assert error == OK
        expected = [*range(min(n_b, k)), *[-1] * (k - min(n_b, k))] * n_a
        assert ids[: n_a * k].tolist() == expected


def test_each_refusal_has_its_number():
    code = np.zeros(8, np.uint8)
    out, ids = np.zeros(8, np.int32), np.zeros(8, np.int64)

    def topk(n_a=1, n_b=1, n_bytes=8, k=1, n_threads=1):
        return c_topk(
            data(code), n_a, data(code), n_b, n_bytes, k, None, data(out), data(ids), n_threads
        )

    assert topk() == OK
    assert topk(n_a=2**61) == topk(n_b=2**61) == topk(n_a=-1) == COUNT
    assert topk(n_bytes=0) == topk(n_bytes=2**28) == topk(n_bytes=-(2**63)) == WIDTH
    assert topk(k=0) == topk(k=2**61) == topk(n_a=2**30, k=2**31) == K
    assert topk(n_threads=-1) == THREADS
    assert c_distances(data(code), 2**31, data(code), 2**31, 1, data(out), 1) == COUNT
