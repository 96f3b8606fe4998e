"""What a process sees around the kernels: import cost, forced levels, threads, fork."""

import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fasthash as fh
from fasthash._core import runtime
from fasthash._kernels import tiles
from strategies import random_codes


def run_python(code, **environment):
    """Run code in a new process, away from the source tree."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=pathlib.Path(sys.executable).parent,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def test_import_and_search_need_only_numpy():
    done = run_python(
        "import sys, fasthash as fh\n"
        "fh.topk(fh.pack([[1.0]]), fh.pack([[1.0]]), 1)\n"
        "fh.HammingIndex(8)\n"
        "heavy = {'scipy', 'sklearn', 'matplotlib', 'tqdm', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert done.returncode == 0, done.stderr


def test_a_search_imports_no_module():
    """A child that is forked during an import of another thread could not import it any more."""
    done = run_python(
        "import sys, fasthash as fh\n"
        "index = fh.HammingIndex(8)\n"
        "before = set(sys.modules)\n"
        "index.add([[1], [2]], ids=range(2))\n"
        "index.search([[1]], 1, filter=range(2))\n"
        "index.search([[1]], 1, filter=index.prepare_filter([1]), exclude=[0])\n"
        "index.within([[1]], 1, filter=lambda ids: ids > 0)\n"
        "index.search(weights=[[0.5] * 8], k=1)\n"
        "index.remove([0])\n"
        "index.compact()\n"
        "new = set(sys.modules) - before\n"
        "assert not new, new"
    )
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_handed_out():
    for name in fh.__all__:
        assert getattr(fh, name) is not None
    assert set(fh.__all__) <= set(dir(fh))
    with pytest.raises(AttributeError, match="no attribute 'topq'"):
        fh.topq  # noqa: B018


def test_an_unbuilt_source_tree_says_so_in_one_sentence(tmp_path):
    package = pathlib.Path(fh.__file__).parent
    shutil.copytree(
        package, tmp_path / "fasthash", ignore=shutil.ignore_patterns("*.so", "*.pyd", "*.npz")
    )
    done = subprocess.run(
        [sys.executable, "-c", "import fasthash"],
        cwd=tmp_path,
        # Python looks in the folder it is started in, unless told not to.
        env={name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: fasthash is being imported from a source tree")


@pytest.mark.parametrize("level", fh.simd_levels())
def test_the_environment_forces_a_level(level):
    done = run_python("import fasthash as fh; print(fh.simd_level())", FASTHASH_SIMD=level)
    assert done.stdout.strip() == level, done.stderr


def test_a_level_the_machine_lacks_raises():
    done = run_python("import fasthash as fh; fh.simd_level()", FASTHASH_SIMD="abacus")
    assert done.returncode != 0
    assert "instruction-set level 'abacus' is not available" in done.stderr


def test_threads_of_the_argument(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if runtime.openmp_version() == 0:
        assert runtime.resolve_threads(4) == 1
        return
    # A library that an earlier test of this process used may have limited OpenMP.
    monkeypatch.setattr(runtime, "_unlimited", runtime._kernels.openmp_max_threads())
    assert runtime.resolve_threads(3) == 3
    assert runtime.resolve_threads(None) == runtime.n_cores()
    assert runtime.resolve_threads(-1) == runtime.n_cores()
    assert runtime.resolve_threads(-1000) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "5,2")
    assert runtime.resolve_threads(None) == 5
    # A short search gets the one thread that the kernels would start, unless a number is given.
    for_tests = tiles.use_least_work(tiles.LEAST_WORK)
    two = next(n for n in range(10**6) if tiles.started_threads(5, 5, n) == 2)
    tiles.use_least_work(for_tests)
    assert runtime.resolve_threads(None, two - 1) == 1
    assert runtime.resolve_threads(None, two) == 5
    assert runtime.resolve_threads(3, 0) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert runtime.resolve_threads(None) == runtime.n_cores()


@pytest.mark.skipif(runtime.openmp_version() == 0, reason="built without OpenMP")
def test_threadpoolctl_limits_us():
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="openmp"):
        assert runtime.resolve_threads(None) == 1
        assert runtime.resolve_threads(3) == 3


@pytest.mark.skipif(runtime.n_cores() < 2, reason="needs two cores to share")
def test_workers_of_joblib_share_the_cores(monkeypatch):
    from joblib import Parallel, delayed

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    n_jobs = runtime.n_cores()
    used = Parallel(n_jobs=n_jobs)(
        delayed(runtime.resolve_threads)(None) for _ in range(2 * n_jobs)
    )
    assert set(used) == {1}


def test_other_python_threads_run_during_a_search():
    """The kernels hold no lock: another thread is never kept waiting for most of a search."""
    database = random_codes(400_000, 512)
    gaps, done = [0.0], threading.Event()

    def look_at_the_clock():
        last = time.perf_counter()
        while not done.is_set():
            now = time.perf_counter()
            gaps[0], last = max(gaps[0], now - last), now

    watcher = threading.Thread(target=look_at_the_clock)
    watcher.start()
    began = time.perf_counter()
    fh.topk(database[:500], database, 10, n_threads=1)
    elapsed = time.perf_counter() - began
    done.set()
    watcher.join()
    assert gaps[0] < elapsed / 2


def test_python_threads_search_at_once():
    """Without a lock between them, on Pythons that have none."""
    database, labels = random_codes(20_000, 128), np.arange(20_000) % 7
    queries, query_labels = database[:40], labels[:40]
    index = fh.MultiIndexHash(n_bits=128)
    index.add(database)
    searches = [
        lambda: fh.topk(queries, database, 10, n_threads=2)[1],
        lambda: fh.within(queries, database, 45, n_threads=2)[2],
        lambda: fh.rank(queries, database, n_threads=2),
        lambda: fh.distances(queries, database, n_threads=2),
        lambda: fh.average_precision(
            queries, database, query_labels, labels, ties="database", n_threads=2
        ),
        lambda: index.search(queries, 3, n_threads=2)[1],
    ]
    expected = [search() for search in searches]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: searches[i % len(searches)](), range(48)))
    for i, answer in enumerate(answers):
        np.testing.assert_array_equal(answer, expected[i % len(searches)])


def test_an_interrupt_at_any_step_of_a_lock_leaves_it_free():
    """Each step of Python code is interrupted once, until a change has no step left."""
    codes = random_codes(2, 64)
    for n_steps in range(100):
        index = fh.HammingIndex(64)
        to_come = iter(range(n_steps, -1, -1))

        def interrupt(frame, event, argument, to_come=to_come):
            if frame.f_code.co_filename == runtime.__file__:
                if next(to_come, None) == 0:
                    raise KeyboardInterrupt
                return interrupt
            return None

        earlier = sys.gettrace()
        sys.settrace(interrupt)
        try:
            index.add(codes)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(earlier)
        assert not index._storage._lock.is_held, n_steps
        if next(to_come, None) is not None:
            assert n_steps > 0, "no step was traced"
            return
    pytest.fail("every attempt was interrupted")
