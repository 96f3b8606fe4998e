"""Nothing is allocated while a kernel runs: a call brings its memory at once, whatever its size.

The allocator itself is counted, in a process of its own; see `c_interface/allocations.c`.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fasthash as fh

SOURCE = Path(__file__).parent / "c_interface" / "allocations.c"

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or platform.libc_ver()[0] != "glibc",
        reason="the allocator is counted through names of GNU's C library",
    ),
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler called cc"),
]

# What each call allocates on one thread: its scratch, and results that it hands over.
EXPECTED = {"distances": 1, "topk": 1, "rank": 1, "within": 3, "average_precision": 2}

PROGRAM = """
import ctypes, sys
import numpy as np
import fasthash.c_api

shim = ctypes.CDLL(sys.argv[1])
address = ctypes.pythonapi.PyCapsule_GetPointer
address.restype, address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
table = ctypes.c_void_p(address(fasthash.c_api.TABLE, b"fasthash.c_api.TABLE"))

def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)

def count(name, *arguments):
    call = getattr(shim, f"of_{name}")
    call.restype = ctypes.c_long
    numbers = [ctypes.c_int64(x) if isinstance(x, int) else x for x in arguments]
    call(table, *numbers)
    print(name, call(table, *numbers))
"""

SIZES = """
for n_queries, n in [(1, 1), (3, 1000), (100, 20_000), (600, 100_000)]:
    codes = np.random.default_rng(0).integers(0, 256, (n, 8), dtype=np.uint8)
    n_queries = min(n_queries, n)
    distances, ids = np.empty(n_queries * n, np.int32), np.empty(n_queries * 10, np.int64)
    limits, scores = np.empty(n_queries + 1, np.int64), np.empty(n_queries)
    few, ranking = codes & 1, np.empty(n_queries * n if n < 100_000 else 0, np.int64)
    count("distances", pointer(codes), n_queries, n, 8, pointer(distances))
    count("topk", pointer(codes), n_queries, n, 8, 10, pointer(distances), pointer(ids))
    if n < 100_000:
        count("rank", pointer(codes), n_queries, n, 8, pointer(ranking))
    count("within", pointer(codes), n_queries, n, 8, 20, pointer(limits))
    count("average_precision", pointer(few), min(n_queries, 20), n, pointer(scores))
"""


ENDED = """
codes = np.random.default_rng(0).integers(0, 256, (3_000_000, 12), dtype=np.uint8)
n = len(codes)
distances, ids = np.empty(2 * n, np.int32), np.empty(2 * n, np.int64)
count("ended", pointer(codes), 50, n, pointer(distances), pointer(ids))
"""


INDEX = """
codes = np.random.default_rng(0).integers(0, 256, (300_000, 8), dtype=np.uint8)
distances, ids = np.empty(10_000, np.int32), np.empty(10_000, np.int64)
count("index", pointer(codes), 1000, len(codes), pointer(distances), pointer(ids))
"""


def run(tmp_path, program):
    """What a program prints that counts with the shim."""
    shim = tmp_path / "allocations.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    built = subprocess.run(
        [*command, "-I", fh.get_include(), SOURCE, "-o", shim], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    done = subprocess.run(
        [sys.executable, "-c", program, shim],
        cwd=tmp_path,
        env={**os.environ, "LD_PRELOAD": str(shim)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_search_that_is_ended_holds_no_memory(tmp_path):
    assert run(tmp_path, PROGRAM + ENDED) == "ended 0\n"


def test_an_index_gives_its_memory_back(tmp_path):
    assert run(tmp_path, PROGRAM + INDEX) == "index 0\n"


def test_a_call_allocates_as_often_however_large_it_is(tmp_path):
    printed = run(tmp_path, PROGRAM + SIZES)
    counts = [line.split() for line in printed.splitlines()]
    assert len(counts) == 19
    for name, n_allocations in counts:
        assert int(n_allocations) == EXPECTED[name], printed
