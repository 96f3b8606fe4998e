"""Let workers of Dask be hosts of a network of their own, and cut their links. Needs root.

    python tests/reliability/hosts.py

Each host is a network namespace: the scheduler, and two workers. A bridge joins them with this
process, which is the client. It goes the whole way from features to answers, and compares every
result with that of one process, also while links are cut. All hosts see the same files. At the end
the hosts are removed.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

import fasthash as fh

BRIDGE = "fhbridge"
ADDRESSES = {"scheduler": "10.77.0.2", "one": "10.77.0.3", "two": "10.77.0.4"}
SCHEDULER = f"tcp://{ADDRESSES['scheduler']}:8786"
N_BITS = 32
# So many rows of features are in a file.
ROWS = 400


class Hosts(contextlib.AbstractContextManager):
    """Network namespaces with a scheduler and two workers, whose output goes to files."""

    def __init__(self, folder):
        self._folder = folder
        self._processes = {}

    def __enter__(self):
        try:
            ip("link add", BRIDGE, "type bridge")
            ip("address add 10.77.0.1/24 dev", BRIDGE)
            ip("link set", BRIDGE, "up")
            for name, address in ADDRESSES.items():
                ip("netns add", host(name))
                ip("link add", host(name), "type veth peer name eth0 netns", host(name))
                ip("link set", host(name), "master", BRIDGE, "up")
                ip("-n", host(name), "address add", f"{address}/24", "dev eth0")
                for device in ("lo", "eth0"):
                    ip("-n", host(name), "link set", device, "up")
            self._start("scheduler", "scheduler --port 8786 --no-dashboard")
            for name in ("one", "two"):
                self._start_worker(name)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start_worker(self, name):
        options = f"--name {name} --nthreads 1 --memory-limit 1GB --no-dashboard"
        self._start(name, f"worker {SCHEDULER} {options}")

    def _start(self, name, command):
        words = f"-m dask {command} --host {ADDRESSES[name]}".split()
        with open(self._folder / f"{name}.log", "a") as log:
            self._processes[name] = subprocess.Popen(
                ["ip", "netns", "exec", host(name), sys.executable, *words],
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )

    def cut(self, name):
        """Take a worker off the network, as when its cable is pulled."""
        ip("link set", host(name), "down")

    def join(self, client):
        """Let all hosts be on the network again; start workers that have ended, and wait."""
        for name in ADDRESSES:
            ip("link set", host(name), "up")
        while len(client.scheduler_info()["workers"]) < 2:
            for name in ("one", "two"):
                # A worker ends if it has lost its scheduler.
                if self._processes[name].poll() is not None:
                    self._start_worker(name)
            time.sleep(1)

    @contextlib.contextmanager
    def disturbed(self, rng):
        """Cut the link of one host or another for up to a second, again and again."""
        stop = threading.Event()

        def disturb():
            while not stop.wait(rng.uniform(0.5, 2)):
                name = rng.choice(list(ADDRESSES))
                self.cut(name)
                stop.wait(rng.uniform(0.1, 1))
                ip("link set", host(name), "up")

        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(disturb)
            try:
                yield
            finally:
                stop.set()
                done.result()

    def __exit__(self, *error):
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        for name in ADDRESSES:
            run("ip netns delete", host(name), check=False)
        run("ip link delete", BRIDGE, check=False)


def host(name):
    """The namespace of a host, and its link at the bridge."""
    return f"fh-{name}"


def run(*words, check=True):
    subprocess.run(" ".join(words).split(), check=check, capture_output=not check)


ip = partial(run, "ip")


class Problem:
    """Files of features, and what one process makes of them."""

    def __init__(self, folder):
        from distributed import Client

        emoji = fh.datasets.load_emoji()
        self.labels, self.folder = emoji.groups, folder
        self.features = {name: emoji.features[name] for name in ("image", "text")}
        self.files = {name: [] for name in self.features}
        for name, x in self.features.items():
            for start in range(0, len(x), ROWS):
                path = folder / f"{name}-{start}.npy"
                np.save(path, x[start : start + ROWS])
                self.files[name].append(path)
        with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None):
            self.model = self.fit()
        self.codes = {name: self.model.encode(x, name) for name, x in self.features.items()}
        self.index = fh.HammingIndex(N_BITS)
        self.index.add(self.codes["image"])
        self.queries = self.codes["text"][:200]

    def lazy(self):
        return {name: fh.distributed.read_arrays(own) for name, own in self.files.items()}

    def fit(self, callback=None):
        labels = dict.fromkeys(self.features, self.labels)
        model = fh.AMSH(N_BITS, n_anchors=100, n_sweeps=4, random_state=0)
        return model.fit(self.lazy(), labels, callback=callback)

    def check_fit(self, model):
        for name in self.features:
            same(model.codes_[name], self.model.codes_[name])
            same(model.projections_[name], self.model.projections_[name])

    def sharded(self):
        index = fh.distributed.ShardedIndex(N_BITS)
        index.add(self.model.encode(self.lazy()["image"], "image"))
        return index

    def check_search(self, index, queries=None):
        queries = self.queries if queries is None else queries
        for found, expected in (
            (index.search(queries, 9), self.index.search(queries, 9)),
            (index.search(queries, 9, recall=0.9), self.index.search(queries, 9)),
            (index.within(queries, 6), self.index.within(queries, 6)),
            (
                index.search(queries, 5, filter=np.arange(0, 1900, 3)),
                self.index.search(queries, 5, filter=np.arange(0, 1900, 3)),
            ),
        ):
            for a, b in zip(found, expected, strict=True):
                same(a, b)


def same(found, expected):
    np.testing.assert_array_equal(found, expected)


def whole_way(client, hosts, problem, folder):
    """From features to answers."""
    import zarr

    problem.check_fit(problem.fit())
    lazy = problem.model.encode(problem.lazy()["text"], "text")
    lazy.to_zarr(str(folder / "codes.zarr"))
    same(zarr.open(str(folder / "codes.zarr"))[:], problem.codes["text"])
    index = problem.sharded()
    problem.check_search(index)
    index.save(folder / "index")
    mapped = fh.distributed.ShardedIndex.load(folder / "index")
    problem.check_search(mapped)
    problem.check_search(mapped, problem.queries[:1])
    found = fh.distributed.mean_average_precision(
        problem.codes["text"],
        problem.model.encode(problem.lazy()["image"], "image"),
        problem.labels,
        problem.labels,
    )
    assert found == fh.mean_average_precision(
        problem.codes["text"], problem.codes["image"], problem.labels, problem.labels
    )


def cut_during_a_fit(client, hosts, problem, folder):
    """The link of a worker is cut in the second sweep."""
    cut = []

    def callback(stage, done, total):
        if stage == "codes" and done == 2 and not cut:
            cut.append("one")
            hosts.cut("one")

    problem.check_fit(problem.fit(callback))
    assert cut


def cut_during_a_search(client, hosts, problem, folder):
    """The link of the worker is cut that is the first to search."""
    index = problem.sharded()
    call = waits_once(folder / "who", lambda ids: ids >= 0)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(index.search, problem.queries, 9, filter=call)
        hosts.cut(who(folder / "who"))
        for a, b in zip(answer.result(), problem.index.search(problem.queries, 9), strict=True):
            same(a, b)
    problem.check_search(index)


def cut_before_few_queries(client, hosts, problem, folder):
    """The link of a worker with shards is cut before a search that needs no task."""
    index = problem.sharded()
    problem.check_search(index, problem.queries[:1])
    hosts.cut("two")
    problem.check_search(index, problem.queries[:1])


@contextlib.contextmanager
def save_that_waits(client, problem, folder):
    """
    Save an index; the first worker that has written a shard waits before it renames the file.

    The yield is the folder of the index, the host of this worker, and the future of the save.
    """
    index = problem.sharded()
    target, marker = folder / "index", folder / "who"
    client.run(wait_before_a_rename, str(target), str(marker))
    with ThreadPoolExecutor(1) as pool:
        saved = pool.submit(index.save, target)
        yield target, who(marker), saved


def cut_during_a_save(client, hosts, problem, folder):
    """The link of the worker is cut that is the first to have written a shard, but not renamed."""
    with save_that_waits(client, problem, folder) as (target, worker, saved):
        hosts.cut(worker)
        saved.result()
    problem.check_search(fh.distributed.ShardedIndex.load(target, mmap=False))
    return f"files: {', '.join(sorted(path.name for path in target.iterdir()))}"


def waits_once(marker, function):
    """The function, but the first worker that calls it says who it is, and waits."""
    marker = str(marker)

    def call(*arguments):
        from distributed import get_worker

        with contextlib.suppress(FileExistsError):
            with open(marker, "x") as file:
                file.write(get_worker().name)
            time.sleep(90)
        return function(*arguments)

    return call


def wait_before_a_rename(folder, marker, dask_worker):
    """Let the first worker that has written a file in a folder wait before it renames the file."""
    import os

    rename = os.replace

    def replace(old, new):
        if str(new).startswith(folder):
            with contextlib.suppress(FileExistsError):
                with open(marker, "x") as file:
                    file.write(dask_worker.name)
                time.sleep(90)
        rename(old, new)

    os.replace = replace


def who(marker):
    """The worker that has written its name into a file."""
    while not marker.exists() or not marker.read_text():
        time.sleep(0.01)
    return marker.read_text()


def disturbed_links(client, hosts, problem, folder):
    """Links are cut for moments all the time, so that packets are late or lost."""
    with hosts.disturbed(random.Random(0)):
        whole_way(client, hosts, problem, folder)


def cut_of_the_scheduler(client, hosts, problem, folder):
    """The client loses the scheduler while workers save an index: there is one error."""
    with save_that_waits(client, problem, folder) as (target, _, saved):
        hosts.cut("scheduler")
        error = saved.exception()
    assert error is not None and not (target / "manifest.json").exists()
    return f"{type(error).__name__}: {str(error).splitlines()[0]}"


CASES = [
    whole_way,
    disturbed_links,
    cut_during_a_fit,
    cut_during_a_search,
    cut_before_few_queries,
    cut_during_a_save,
    # The last one, because the client has no cluster afterwards.
    cut_of_the_scheduler,
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=[case.__name__ for case in CASES])
    options = parser.parse_args()
    from distributed import Client

    with tempfile.TemporaryDirectory() as folder:
        problem = Problem(pathlib.Path(folder))
        with Hosts(pathlib.Path(folder)) as hosts, Client(SCHEDULER, timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            for name in options.cases:
                own = pathlib.Path(folder, name)
                own.mkdir()
                began = time.perf_counter()
                told = globals()[name](client, hosts, problem, own)
                answered = time.perf_counter() - began
                print(f"{name}: right, {answered:.1f} s", told or "", flush=True)
                if name != CASES[-1].__name__:
                    hosts.join(client)
    return 0


if __name__ == "__main__":
    sys.exit(main())
