"""A forked child and its parent both search on several threads, whoever ran them before the fork.

GNU OpenMP waits for threads that a fork did not copy, and all users of a libgomp in a process share
its threads. So every case is a process of its own, which a hang cannot outlive.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from fasthash._core import runtime

HERE = pathlib.Path(__file__).parent
KERNELS = HERE.parent / "fasthash" / "_kernels"

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
    pytest.mark.skipif(runtime.openmp_version() == 0, reason="built without OpenMP"),
]
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler called cc")
needs_linux = pytest.mark.skipif(
    not pathlib.Path("/proc/self/task").exists(), reason="counts threads in /proc, as Linux has it"
)

FOREIGN = """
int foreign_region(void)
{
    int n = 0;
    #pragma omp parallel num_threads(3) reduction(+ : n)
    n += 1;
    return n;
}
"""

# What each case begins with: a search of which the answer is known, and a fork that cannot hang.
PROLOGUE = """
import os, signal, sys, time, ctypes, threading, multiprocessing, warnings
import numpy as np
warnings.simplefilter("ignore", DeprecationWarning)
{first}
import fasthash as fh
{load}
codes = np.random.default_rng(0).integers(0, 256, (200_000, 8), np.uint8)

def search():
    assert (fh.topk(codes[:64], codes, 1, n_threads=2)[1][:, 0] == np.arange(64)).all()
    return len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 2

def in_child(function):
    "The exit status of a child that calls it, -9 where it hangs."
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -9

def search_on_two_threads():
    assert search() == 2, "the child did not start a thread"
"""


def run_case(case, *arguments, first="", load="fh.simd_level()  # loads the kernels"):
    program = PROLOGUE.format(first=first, load=load) + case
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Somebody else's library, linked with the OpenMP runtime of the system's compiler."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "foreign.c").write_text(FOREIGN)
    library = folder / "foreign.so"
    command = ["cc", "-shared", "-fPIC", "-fopenmp", folder / "foreign.c", "-o", library]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode != 0:
        pytest.skip(f"the compiler cc cannot build with OpenMP: {built.stderr.strip()[-200:]}")
    return library


@needs_compiler
@needs_linux
def test_another_user_of_the_runtime_ran_before_the_fork(foreign):
    run_case(
        """
foreign = ctypes.CDLL(sys.argv[1])
assert foreign.foreign_region() == 3
assert in_child(search_on_two_threads) == 0
assert foreign.foreign_region() == 3
search()
# In the child of a child too, and after ours and theirs.
assert in_child(lambda: [search(), in_child(search_on_two_threads) == 0 or 1 / 0]) == 0
""",
        foreign,
    )


@needs_compiler
@needs_linux
def test_a_child_that_loads_the_kernels_after_the_fork(foreign):
    """Nobody could end the threads of the other user; without one, nothing was lost."""
    case = """
foreign = ctypes.CDLL(sys.argv[1]) if sys.argv[2] == "foreign" else None
foreign and foreign.foreign_region()
def expect(n):
    assert search() == n, "threads"
assert in_child(lambda: expect(1 if foreign else 2)) == 0
"""
    run_case(case, foreign, "foreign", load="")
    run_case(case, foreign, "nobody", load="")


@needs_compiler
@needs_linux
def test_another_user_of_the_runtime_runs_in_the_child(foreign):
    run_case(
        """
foreign = ctypes.CDLL(sys.argv[1])
search()
assert in_child(lambda: foreign.foreign_region() == 3 or 1 / 0) == 0
search()
""",
        foreign,
    )


@needs_linux
@pytest.mark.parametrize("first", ["", "import fasthash; import torch", "import torch"])
def test_torch_ran_before_the_fork(first):
    if first:
        pytest.importorskip("torch")
        first += "; a = torch.rand(600, 600); torch.set_num_threads(2); (a @ a).exp().sum()"
    run_case("search()\nassert in_child(search_on_two_threads) == 0\nsearch()", first=first)


def test_processes_of_multiprocessing_search():
    run_case(
        """
def task(i):
    return (fh.topk(codes[i : i + 9], codes, 1, n_threads=2)[1][:, 0] == i + np.arange(9)).all()

search()
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all(pool.map_async(task, range(20)).get(timeout=60))
search()
"""
    )


def test_other_threads_search_while_one_forks():
    """Their threads are their own: a fork neither stops a search nor waits for it."""
    run_case(
        """
done = threading.Event()
searched = [0, 0, 0]
def keep_searching(i):
    while not done.is_set():
        search()
        searched[i] += 1
threads = [threading.Thread(target=keep_searching, args=(i,)) for i in range(3)]
for thread in threads:
    thread.start()
search()
statuses = [in_child(search) for _ in range(20)]
done.set()
for thread in threads:
    thread.join()
assert statuses == [0] * 20, statuses
assert all(searched), searched
"""
    )


def test_another_thread_lists_ids_while_one_forks():
    run_case(
        """
from fasthash.index._snapshot import Snapshot
def changed():
    index = fh.HammingIndex(64)
    index.add(codes[:9])
    index.remove([2])
    return index

first, second = changed(), changed()
begins, ends = threading.Event(), threading.Event()
id_blocks = Snapshot.id_blocks
def slow(self):
    if self is first._storage.state:
        begins.set()
        ends.wait()
    return id_blocks(self)
Snapshot.id_blocks = slow

thread = threading.Thread(target=lambda: first.ids)
thread.start()
begins.wait()
status = in_child(lambda: second.ids)
ends.set()
thread.join()
assert status == 0, status
assert len(first.ids) == 8
"""
    )


@needs_compiler
@needs_linux
@pytest.mark.parametrize(
    ("name", "ran_before", "expected"),
    [
        ("omp_pause_resource_all", True, "child on several threads"),
        ("omp_pause_resource_all", False, "child on several threads"),
        ("missing_before_openmp_5", True, "child on one thread"),
        ("missing_before_openmp_5", False, "child on several threads"),
    ],
)
def test_the_guard_where_the_runtime_cannot_be_asked(tmp_path, foreign, name, ran_before, expected):
    """fork.h in a program without Python, whose only OpenMP threads are another library's."""
    program = tmp_path / "program"
    command = [
        "cc",
        "-std=gnu11",
        "-fopenmp",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-I",
        KERNELS,
        "-D_GNU_SOURCE",
    ]
    command += [f'-DFH_PAUSE_NAME="{name}"', HERE / "c_interface" / "forks.c", foreign]
    built = subprocess.run(
        [*command, "-o", program, "-ldl", f"-Wl,-rpath,{foreign.parent}"],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    done = subprocess.run(
        [program, str(int(ran_before))], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == expected, done.stderr
