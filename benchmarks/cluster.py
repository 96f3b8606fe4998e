"""Measure what a Dask cluster costs: a process of one thread against workers of one thread.

    python benchmarks/cluster.py [search] [query] [fit] [pairs] [--workers 1 2 4] [--rounds 5]

Both sides run in turn. It prints wall time, and the processor time of all processes of a side,
which other programs on the machine disturb less. The processor time of the busiest worker plus that
of the client and scheduler is a bound of the wall time on idle cores. `--scale` divides the sizes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from unittest import mock

# Before a runtime of OpenMP is loaded.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# ruff: noqa: E402
import dask.array as da
import numpy as np
import psutil
from distributed import Client, LocalCluster

import fasthash as fh
from fasthash.distributed import sharded_index
from fasthash.distributed._merging import merge_nearest


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


class Meter:
    """Wall time and processor times of a call."""

    def __init__(self, client: Client | None) -> None:
        self.pids = [] if client is None else list(client.run(os.getpid).values())

    def __enter__(self) -> Meter:
        self._own, self._wall = cpu_seconds(os.getpid()), time.perf_counter()
        self._before = [cpu_seconds(pid) for pid in self.pids]
        return self

    def __exit__(self, *error: object) -> None:
        self.wall = time.perf_counter() - self._wall
        self.own = cpu_seconds(os.getpid()) - self._own
        self.workers = [
            cpu_seconds(pid) - before for pid, before in zip(self.pids, self._before, strict=True)
        ]
        self.bound = self.own + max(self.workers, default=0.0)


def compare(name, one, sharded, client, rounds):
    """Run both sides in turn; print medians of the ratios."""
    walls, bounds, rows = [], [], []
    for _ in range(rounds):
        with Meter(None) as alone:
            one()
        with Meter(client) as together:
            sharded()
        walls.append(alone.wall / together.wall)
        bounds.append(alone.own / together.bound)
        rows.append((alone, together))
    a, b = rows[len(rows) // 2]
    print(
        f"{name}: {len(b.workers)} workers; one process {a.own:.2f} s of processor; client and "
        f"scheduler {b.own:.2f} s, workers {', '.join(f'{w:.2f}' for w in b.workers)} s; "
        f"ratio by processor time {statistics.median(bounds):.2f} "
        f"({min(bounds):.2f} to {max(bounds):.2f}), of wall time {statistics.median(walls):.2f} "
        f"({min(walls):.2f} to {max(walls):.2f}); load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def _random_block(block_info=None):
    place, shape = (block_info[None][key] for key in ("chunk-location", "chunk-shape"))
    return np.random.default_rng(place[0]).integers(0, 256, shape, dtype=np.uint8)


def parts_of_codes(n, n_parts):
    """Random codes of 64 bits, made where they are needed."""
    rows = -(-n // n_parts)
    return da.map_blocks(
        _random_block,
        chunks=((rows,) * n_parts, (8,)),
        dtype=np.uint8,
    )


def index_of(client, codes):
    index = fh.distributed.ShardedIndex(64, multi_index="never", client=client)
    index.add(codes)
    return index


def search(client, n_workers, arguments):
    codes = parts_of_codes(20_000_000 // arguments.scale, max(2, n_workers))
    index = index_of(client, codes)
    one = fh.HammingIndex(64, multi_index="never")
    for place in range(codes.numblocks[0]):
        one.add(codes.blocks[place].compute(scheduler="synchronous"))
    queries = codes[:5000].compute(scheduler="synchronous") ^ 1
    compare(
        f"search of {len(one):,} codes, 5,000 queries, k=10",
        lambda: one.search(queries, 10, n_threads=1),
        lambda: index.search(queries, 10, n_threads=1),
        client,
        arguments.rounds,
    )


def _timed_search(shard, request):
    from fasthash.distributed._shards import nearest

    began = time.perf_counter()
    answer = nearest(shard, request, k=10, is_weighted=False, n_threads=1)
    return 1e3 * (time.perf_counter() - began), answer


def query(client, n_workers, arguments):
    """One query: what the cluster adds to the search of the slower shard, also with tasks."""
    codes = parts_of_codes(20_000_000 // arguments.scale, 2)
    index = index_of(client, codes)
    one = fh.HammingIndex(64, multi_index="never")
    one.add(codes.blocks[0].compute(scheduler="synchronous"))
    asked = one.codes[:1]
    slower = []

    def merge(answers):
        slower.append(max(ms for ms, _ in answers))
        return merge_nearest([answer for _, answer in answers], 10)

    def ask():
        index._empty.search(asked, 10)
        return index._ask(index._state.shards, _timed_search, [asked, None, None, None], merge)

    def measured(call):
        began = time.perf_counter()
        call()
        return 1e3 * (time.perf_counter() - began)

    rows = []
    for _ in range(20 * arguments.rounds):
        alone, direct = measured(lambda: one.search(asked, 10, n_threads=1)), measured(ask)
        with mock.patch.object(sharded_index, "direct_answers", return_value=None):
            tasks = measured(ask)
        rows.append((alone, direct, slower[-2], tasks, slower[-1]))
    alone, direct, direct_shard, tasks, tasks_shard = np.transpose(rows)
    print(
        f"one query over two shards of {len(one):,} codes, {len(rows)} rounds, load "
        f"{os.getloadavg()[0]:.1f}; ms, 10th, 50th and 90th percentile:"
    )
    for name, values in (
        ("one shard in this process", alone),
        ("cluster", direct),
        ("slower shard on its worker", direct_shard),
        ("what the cluster adds to it", direct - direct_shard),
        ("cluster with tasks", tasks),
        ("slower shard on its worker", tasks_shard),
        ("what the cluster adds to it", tasks - tasks_shard),
    ):
        print(f"  {name}: {np.percentile(values, [10, 50, 90]).round(1)}", flush=True)


def _noisy_labels(labels, centres):
    rng = np.random.default_rng(len(labels) + centres.shape[1])
    noise = rng.standard_normal((len(labels), centres.shape[1]))
    return (labels @ centres + noise).astype(np.float32)


def nus_wide(client, n_workers, arguments):
    """Features of the shape of NUS-WIDE, which workers make where they are needed, and labels."""
    n = 186_577 // arguments.scale
    rng = np.random.default_rng(0)
    labels = rng.random((n, 10)) < 0.15
    lazy_labels = da.from_array(labels, chunks=(-(-n // max(2, n_workers)), 10))
    lazy = {
        name: da.map_blocks(
            _noisy_labels,
            lazy_labels,
            rng.standard_normal((10, d)),
            chunks=(lazy_labels.chunks[0], (d,)),
            dtype=np.float32,
        )
        for name, d in (("image", 500), ("text", 1000))
    }
    features = {name: x.compute(scheduler="synchronous") for name, x in lazy.items()}
    with client.as_current():
        lazy = {name: x.persist() for name, x in lazy.items()}
    return features, lazy, dict.fromkeys(features, labels)


def compare_fits(method, client, arguments, features, lazy, *labels):
    """Fit a method of 64 bits on both sides."""
    n = len(features["image"])

    def on_cluster():
        with client.as_current():
            method(64, random_state=0).fit(lazy, *labels)

    compare(
        f"fit of {method.__name__}, {n:,} samples, 500 + 1,000 features, 64 bits",
        lambda: method(64, random_state=0).fit(features, *labels, n_threads=1),
        on_cluster,
        client,
        arguments.rounds,
    )


def fit(client, n_workers, arguments):
    """AMSH, which learns from labels."""
    compare_fits(fh.AMSH, client, arguments, *nus_wide(client, n_workers, arguments))


def pairs(client, n_workers, arguments):
    """CCAITQ, which learns from pairs: here those of equal rows, in equal partitions."""
    features, lazy, _ = nus_wide(client, n_workers, arguments)
    compare_fits(fh.CCAITQ, client, arguments, features, lazy)


PARTS = {"search": search, "query": query, "fit": fit, "pairs": pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS))
    parser.add_argument("--workers", type=int, nargs="+", default=[2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=int, default=1)
    arguments = parser.parse_args()
    for n_workers in arguments.workers:
        with (
            LocalCluster(
                processes=True,
                n_workers=n_workers,
                threads_per_worker=1,
                dashboard_address=":0",
                memory_limit="6GB",
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            for part in arguments.parts:
                PARTS[part](client, n_workers, arguments)


if __name__ == "__main__":
    main()
