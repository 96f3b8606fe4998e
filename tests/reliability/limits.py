"""Limits: how soon Ctrl-C is answered, indexes past 2^31, changes of ten million codes.

python tests/reliability/limits.py interrupts     seconds from SIGINT to KeyboardInterrupt
python tests/reliability/limits.py large          2^31 codes and more, in a file with holes
python tests/reliability/limits.py changes        beside a search of the same index
python tests/reliability/limits.py forks          seconds to an answer of a forked child
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

import fasthash as fh
from fasthash.index import index_file

# Each takes minutes; x are 400,000 codes of 256 bits.
LONG_SEARCHES = {
    "topk": "fh.topk(x, x, 10)",
    "topk, k = n / 4": "[fh.topk(x[:300], x, 100_000) for _ in range(99)]",
    "within": "fh.within(x, x, 100)",
    "rank": "fh.rank(x[:5000], x)",
    "distances": "[fh.distances(x[:8000], x[:100_000]) for _ in range(99)]",
    "index, scanning": "plain.search(x, 10)",
    "index, filtered": "plain.search(x, 10, filter=lambda ids: ids % 2 == 0)",
    "index, probing": "always.within(x, 60)",
    "tables being built": "[build() for _ in range(999)]",
}

CHILD = """
import time
import numpy as np, fasthash as fh
x = np.random.default_rng(0).integers(0, 256, (400_000, 32), np.uint8)
plain, always = fh.HammingIndex(256), fh.HammingIndex(256, multi_index="always")
plain.add(x), always.add(x)
always.within(x[:1], 1)
def build():
    index = fh.MultiIndexHash(256)
    index.add(x)
    index.search(x[:1], 1)
print("ready", flush=True)
try:
    {search}
except KeyboardInterrupt:
    print("interrupted at", time.monotonic(), flush=True)
"""


def seconds_to_answer(search, wait=1.0):
    """From SIGINT, so long after the search began, to KeyboardInterrupt."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(search=search)], stdout=subprocess.PIPE, text=True
    )
    try:
        if child.stdout.readline() != "ready\n":
            raise AssertionError("the child did not begin")
        time.sleep(wait)
        sent = time.monotonic()
        child.send_signal(signal.SIGINT)
        output, _ = child.communicate(timeout=60)
    finally:
        child.kill()
    if not output.startswith("interrupted at "):
        raise AssertionError(f"the search ended before it was interrupted: {output!r}")
    return float(output.split()[-1]) - sent


def measure_interrupts(rounds=5):
    for name, search in LONG_SEARCHES.items():
        seconds = [seconds_to_answer(search, 0.7 + 0.3 * i) for i in range(rounds)]
        print(f"{name:24} median {np.median(seconds):.2f} s, longest {max(seconds):.2f} s")


def measure_large(n=2**31 + 1000):
    """An index of one-byte codes whose file has holes: zeros that take no room on the disk."""
    planted = {2**31 + 7: 0xFF, 2**31 - 3: 0xFE, 5: 0x7F, n - 1: 0xF0}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "large.index")
        sections = index_file._sections(n, 1)
        end = sections["ids"]["offset"] + sections["ids"]["bytes"]
        for section in sections.values():
            section["crc32"] = 0
        description = {
            "index": "HammingIndex",
            "parameters": {"n_bits": 8, "multi_index": "never"},
            "n": n,
            "next_id": n,
            "sections": sections,
        }
        with open(path, "wb") as file:
            file.write(index_file._header(json.dumps(description).encode(), end))
            for row, code in planted.items():
                file.seek(sections["codes"]["offset"] + row)
                file.write(bytes([code]))
                file.seek(sections["ids"]["offset"] + 8 * row)
                file.write(row.to_bytes(8, "little"))
            file.truncate(end)
        began = time.perf_counter()
        index = fh.load(path, mmap=True)
        opened = time.perf_counter() - began
        print(f"{len(index):,} codes, {end / 1e9:.1f} GB: opened in {1e3 * opened:.2f} ms")
        began = time.perf_counter()
        distances, ids = index.search(np.array([[0xFF]], np.uint8), 4)
        print(f"nearest in {time.perf_counter() - began:.1f} s: {ids[0]} at {distances[0]}")
        assert ids[0].tolist() == [2**31 + 7, 5, 2**31 - 3, n - 1]
        assert distances[0].tolist() == [0, 1, 1, 4]
        limits, distances, ids = index.within(np.array([[0xFF]], np.uint8), 1)
        assert ids.tolist() == [2**31 + 7, 5, 2**31 - 3] and limits.tolist() == [0, 3]
        print("within 1 bit: the same three")


def measure_changes(n=10_000_000, rounds=9):
    """Milliseconds of changes of an index of 64-bit codes, and how many searches these are."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (n, 8), np.uint8)
    index = fh.HammingIndex(64, multi_index="never")
    index.add(codes)
    # Those that are changed are not among those that are removed.
    changed = n // 2 + np.arange(1000)
    calls = {
        "search of one query, one thread": lambda: index.search(codes[:1], 10, 1),
        "remove 1,000": lambda: index.remove(rng.integers(0, n // 2, 1000), missing="ignore"),
        "update 1,000": lambda: index.update(changed, codes[:1000]),
        "add 1,000 behind the others": lambda: index.add(codes[:1000]),
    }
    seconds = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    search = np.median(seconds["search of one query, one thread"])
    for name, measured in seconds.items():
        median = np.median(measured)
        print(f"{name:32} {1e3 * median:8.2f} ms, {median / search:.2f} searches")
    began = time.perf_counter()
    index.compact()
    print(f"{'compact':32} {1e3 * (time.perf_counter() - began):8.0f} ms")


def measure_forks(rounds=100):
    """Fork a process that has searched on several threads; search in the child."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (1_000_000, 8), np.uint8)
    indexes = [fh.HammingIndex(64, multi_index=choice) for choice in ("never", "always")]
    for index in indexes:
        index.add(codes)
        index.search(codes[:1000], 10, n_threads=2)
    seconds = []
    for i in range(rounds):
        receive, send = os.pipe()
        began = time.perf_counter()
        child = os.fork()
        if child == 0:
            ids = indexes[i % 2].search(codes[:10], 1, n_threads=2)[1]
            os.write(send, b"right" if len(ids) == 10 else b"wrong")
            os._exit(0)
        assert os.read(receive, 5) == b"right"
        seconds.append(time.perf_counter() - began)
        os.waitpid(child, 0)
        os.close(receive)
        os.close(send)
    print(f"{rounds} forks: median {np.median(seconds):.3f} s, longest {max(seconds):.3f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    measures = {
        "interrupts": measure_interrupts,
        "large": measure_large,
        "changes": measure_changes,
        "forks": measure_forks,
    }
    parser.add_argument("what", choices=sorted(measures))
    measures[parser.parse_args().what]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
