"""Limits of the native code: threads, widths, and scratch memory."""

import ctypes
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from c_functions import OK, POINTER, c_release, c_topk, c_within, data
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash._core import runtime
from fasthash._kernels import radius as radius_kernels
from fasthash._kernels import tiles as kernels
from reference import hamming as reference
from strategies import all_distances, random_codes, simd

needs_openmp = pytest.mark.skipif(runtime.openmp_version() == 0, reason="built without OpenMP")

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
            "import os\n"
            "os.environ['OPENBLAS_NUM_THREADS'] = '1'  # numpy's own threads are not counted\n"
            "import numpy as np, fasthash as fh\n"
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
    expected = all_distances(codes, codes)
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
