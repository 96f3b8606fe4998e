"""One process with other libraries, and many processes: searches answer, and soon."""

import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import fasthash as fh
from fasthash._core import runtime
from fasthash._core.scan import scan_topk
from fasthash.index import _plan as plan
from fasthash.index import _storage as storage
from strategies import random_codes

posix_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

# A child that hangs never answers; how soon one does is measured by reliability/limits.py.
ANSWER_WITHIN = 60


def big_index(multi_index="never"):
    index = fh.HammingIndex(64, multi_index=multi_index)
    index.add(random_codes(50_000, 64), ids=np.arange(50_000) * 2)
    return index


def answer_of_fork(function):
    """What a forked child returns, or an error if it has not after some seconds."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(send, str(function()).encode())
        finally:
            os._exit(0)
    os.close(send)
    end = time.monotonic() + ANSWER_WITHIN
    try:
        os.set_blocking(receive, False)
        while time.monotonic() < end:
            try:
                return os.read(receive, 1000).decode()
            except BlockingIOError:
                time.sleep(0.005)
        raise AssertionError(f"the child did not answer within {ANSWER_WITHIN} s")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(receive)


@posix_fork
@pytest.mark.parametrize("multi_index", ["never", "always", "auto"])
def test_fork_then_search(multi_index):
    index = big_index(multi_index)
    queries = index.codes[:100]
    expected = str(index.search(queries, 3, n_threads=2)[1].sum())
    assert answer_of_fork(lambda: index.search(queries, 3, n_threads=2)[1].sum()) == expected
    # As a server does that forks its workers beforehand: several, each of a child as well.
    for _ in range(3):
        nested = lambda: answer_of_fork(lambda: index.search(queries, 3)[1].sum())  # noqa: E731
        assert answer_of_fork(nested) == expected


@posix_fork
def test_fork_while_threads_hold_the_locks(monkeypatch):
    index = big_index("always")
    in_change, go_on = threading.Event(), threading.Event()
    unwatched = storage.CodeStorage._with

    def slow(self, *arguments):
        in_change.set()
        go_on.wait()
        return unwatched(self, *arguments)

    monkeypatch.setattr(storage.CodeStorage, "_with", slow)
    writer = threading.Thread(target=index.add, args=(random_codes(1, 64),))
    writer.start()
    in_change.wait()
    monkeypatch.undo()

    def change_and_search():
        index.remove([4])
        index.add(random_codes(2, 64, 1))
        return len(index), index.search(random_codes(1, 64), 2)[1].shape

    try:
        assert answer_of_fork(change_and_search) == "(50001, (1, 2))"
    finally:
        go_on.set()
        writer.join()
    assert len(index) == 50_001


def test_an_index_is_dropped_without_running_python():
    """An interrupt that met Python code there, after an array was freed for long, would be lost."""
    index = big_index("always")
    index.search(random_codes(1, 64), 1)
    called = []

    def note(frame, event, argument):
        if event == "call":
            called.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        del index
    finally:
        sys.setprofile(None)
    assert called == []


def _search(index_or_path):
    index = index_or_path
    if isinstance(index, str):
        index = fh.load(index, mmap=True)
    return index.search(random_codes(20, 64, 5), 3)[1]


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_multiprocessing(method, tmp_path, monkeypatch):
    # What this test module is called there, for processes that import it anew.
    monkeypatch.syspath_prepend(pathlib.Path(__file__).parent)
    monkeypatch.setattr(_search, "__module__", "test_neighbours")
    monkeypatch.setitem(sys.modules, "test_neighbours", sys.modules[__name__])
    index = big_index()
    index.save(tmp_path / "x")
    expected = _search(index)
    with multiprocessing.get_context(method).Pool(2) as pool:
        for answer in pool.map_async(_search, [index, str(tmp_path / "x")] * 2).get(timeout=60):
            np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_joblib(backend):
    from joblib import Parallel, delayed

    index = big_index()
    queries = random_codes(40, 64, 5)
    expected = index.search(queries, 3)[1]
    answers = Parallel(n_jobs=2, backend=backend)(
        delayed(index.search)(queries[i : i + 10], 3) for i in range(0, 40, 10)
    )
    np.testing.assert_array_equal(np.concatenate([ids for _, ids in answers]), expected)


OTHERS = {
    "torch": "x = torch.rand(300, 300); (x @ x).sum().item(); torch.set_num_threads(2)",
    "faiss": "i = faiss.IndexBinaryFlat(64); i.add(codes); i.search(codes[:50], 5)",
    "sklearn.neighbors": "sklearn.neighbors.NearestNeighbors().fit(codes).kneighbors(codes[:500])",
}


@pytest.mark.parametrize("first", ["fasthash", "the other"])
@pytest.mark.parametrize("other", sorted(OTHERS))
def test_one_process_with(other, first):
    pytest.importorskip(other.split(".")[0], reason=f"{other} is not installed")
    imports = ["import fasthash as fh", f"import {other}"]
    code = f"""
{chr(10).join(imports if first == "fasthash" else imports[::-1])}
import os, threading, numpy as np
codes = np.random.default_rng(0).integers(0, 256, (20_000, 8), np.uint8)
index = fh.HammingIndex(64); index.add(codes)
expected = fh.topk(codes[:200], codes, 5, n_threads=1)[1]
for _ in range(3):
    {OTHERS[other]}
    assert (index.search(codes[:200], 5, n_threads=2)[1] == expected).all()
answers = []
threads = [threading.Thread(target=lambda: answers.append(index.search(codes[:200], 5)[1]))
           for _ in range(4)]
[t.start() for t in threads]
{OTHERS[other]}
[t.join() for t in threads]
assert len(answers) == 4 and all((a == expected).all() for a in answers)
if hasattr(os, "fork"):
    child = os.fork()
    if child == 0:
        os._exit(int(not (index.search(codes[:200], 5, n_threads=2)[1] == expected).all()))
    assert os.waitpid(child, 0)[1] == 0
print("right")
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "right\n", done.stderr


@pytest.mark.skipif(runtime.openmp_version() == 0, reason="built without OpenMP")
def test_threadpoolctl_sees_and_limits_a_search(monkeypatch):
    from threadpoolctl import threadpool_info, threadpool_limits

    assert any(entry["user_api"] == "openmp" for entry in threadpool_info())
    used = []

    def noting(queries, codes, k, n_threads, allowed):
        used.append(n_threads)
        return scan_topk(queries, codes, k, n_threads, allowed)

    monkeypatch.setattr(plan, "scan_topk", noting)
    index = big_index()
    with threadpool_limits(limits=1, user_api="openmp"):
        index.search(random_codes(2, 64), 1)
    index.search(random_codes(2, 64), 1, n_threads=2)
    assert used == [1, 2]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_an_add_for_which_there_is_no_memory_changes_nothing():
    code = """
import resource, numpy as np, fasthash as fh
index = fh.HammingIndex(64)
index.add(np.random.default_rng(0).integers(0, 256, (1_000_000, 8), np.uint8))
before = index._storage.state
more = np.broadcast_to(np.uint8(0), (30_000_000, 8))
more = np.ascontiguousarray(more)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20), resource.RLIM_INFINITY))
for change in (lambda: index.add(more), lambda: index.within(index.codes, 64)):
    try:
        change()
    except MemoryError:
        print("MemoryError", index._storage.state is before)
assert index.search(index.codes[7:8], 1)[0][0, 0] == 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["MemoryError True"] * 2, done.stderr
