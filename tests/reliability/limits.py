"""Limits: how soon Ctrl-C is answered, indexes past 2^31, changes of ten million codes.

python tests/reliability/limits.py interrupts     seconds from SIGINT to KeyboardInterrupt
python tests/reliability/limits.py large          2^31 codes and more, in a file with holes
python tests/reliability/limits.py changes        beside a search of the same index
python tests/reliability/limits.py forks          seconds to an answer of a forked child
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import numpy as np

import fasthash as fh
from fasthash.index import _index_file as index_file

# Each takes minutes; x are 400,000 codes of 256 bits.
LONG_SEARCHES = {
    "topk": "fh.topk(x, x, 10)",
    "topk, k = n / 4": "[fh.topk(x[:300], x, 100_000) for _ in range(99)]",
    "within": "fh.within(x, x, 100)",
    "rank": "fh.rank(x[:5000], x)",
    "distances": "[fh.distances(x[:8000], x[:100_000]) for _ in range(99)]",
    "average precision": "fh.mean_average_precision(x, x, y, y, ties='database')",
    "expected average precision": "fh.mean_average_precision(x, x, y, y)",
    "index, scanning": "plain.search(x, 10)",
    "index, filtered": "plain.search(x, 10, filter=lambda ids: ids % 2 == 0)",
    "index, probing": "always.within(x, 60)",
    "tables being built": "[build() for _ in range(999)]",
}

CHILD = """
import time
import numpy as np, fasthash as fh
x = np.random.default_rng(0).integers(0, 256, (400_000, 32), np.uint8)
y = np.arange(len(x)) % 100
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


@dataclass(frozen=True)
class LongCall:
    """
    One call that takes long because n, its number of codes, is large.

    `check` holds before and after: what was interrupted has changed nothing.
    """

    call: str
    setup: str = ""
    check: str = "True"
    n: int = 40_000_000


_HOLDS_CODES = "index = fh.HammingIndex(8); index.add(x)"

LONG_CALLS = {
    "rank": LongCall("fh.rank(x[:2], x)"),
    "topk, k = n / 4": LongCall("fh.topk(x[:8], x, n // 4)"),
    "topk, k = n / 10": LongCall("fh.topk(x[:4], x, n // 10)"),
    "within, all": LongCall("fh.within(x[:2], x, 8)"),
    "distances": LongCall("fh.distances(x[:8], x)"),
    "average precision": LongCall(
        "fh.mean_average_precision(x[:9], x, labels[:9], labels, ties='database')",
        "labels = np.arange(n) % 9",
        n=10_000_000,
    ),
    "index, search among removed and recent codes": LongCall(
        "index.within(x[:2], 3)",
        f"{_HOLDS_CODES}; index.update(x[:len(range(0, n, 9))], ids=np.arange(0, n, 9))",
    ),
    "tables": LongCall(
        "tables = fh.MultiIndexHash(8 * 128); tables.add(x); tables.search(x[:1], 1)",
        "x = x.reshape(-1, 128); x = np.concatenate([x, x])",
    ),
    "add": LongCall("fh.HammingIndex(8).add(x)", n=300_000_000),
    "add, ids in any order": LongCall(
        "index.add(y, ids=order, replace=True)",
        f"{_HOLDS_CODES}; order = np.random.default_rng(1).permutation(n); y = x[order]",
        "len(index) == n and np.array_equal(index.codes[::9], x[::9])",
        5_000_000,
    ),
    "compact": LongCall(
        "other = fh.HammingIndex(8); other.add(x); other.remove(removed); other.compact()",
        "removed = np.arange(0, n, 3)",
    ),
    "save": LongCall(
        "index.save('x.index')",
        f"{_HOLDS_CODES}; import os; old = fh.HammingIndex(8); old.add(x[:5]); old.save('x.index')",
        "os.listdir() == ['x.index'] and len(fh.load('x.index', mmap=True)) in (5, n)",
        50_000_000,
    ),
    "load": LongCall("fh.load('x.index')", f"{_HOLDS_CODES}; index.save('x.index')", n=100_000_000),
    "verify": LongCall(
        "index.verify()",
        f"{_HOLDS_CODES}; index.save('x.index'); index = fh.load('x.index', mmap=True)",
        n=200_000_000,
    ),
    "pack": LongCall("fh.pack(values)", "values = np.broadcast_to(x[:512, 0] < 9, (n // 20, 512))"),
    "encode": LongCall(
        "model.transform(values)",
        "values = np.broadcast_to(x[:256, 0].astype(np.float32), (n // 20, 256));"
        "model = fh.RandomHyperplanes(n_bits=256, random_state=0)"
        ".fit(np.random.default_rng(0).standard_normal((999, 256)))",
    ),
}

CHILD_OF_A_CALL = """
import time
import numpy as np, fasthash as fh
n = {long.n}
x = np.random.default_rng(0).integers(0, 256, (n, 1), np.uint8)
{long.setup}
assert {long.check}
began = time.monotonic()
{long.call}
whole = time.monotonic() - began
print("ready", whole, flush=True)
try:
    # Again and again: on a busy machine one call may take a fraction of what the last one took.
    while True:
        {long.call}
except KeyboardInterrupt:
    print("interrupted at", time.monotonic(), flush=True)
assert {long.check}
print("unchanged", flush=True)
"""


def seconds_to_answer(search, wait=1.0):
    """From SIGINT, so long after the search began, to KeyboardInterrupt."""
    with _child(CHILD.format(search=search)) as child:
        if child.stdout.readline() != "ready\n":
            raise AssertionError("the child did not begin")
        return _interrupt(child, wait)[0]


def seconds_within_a_call(long, share=0.3):
    """(From SIGINT to KeyboardInterrupt, what the call takes); SIGINT after a share of that."""
    source = CHILD_OF_A_CALL.format(long=long)
    with tempfile.TemporaryDirectory() as folder, _child(source, folder) as child:
        ready, _, whole = child.stdout.readline().partition(" ")
        if ready != "ready":
            raise AssertionError("the child did not begin")
        seconds, output = _interrupt(child, share * float(whole))
        if not output.endswith("unchanged\n"):
            raise AssertionError(f"the interrupt has changed something: {output!r}")
        return seconds, float(whole)


@contextlib.contextmanager
def _child(source, folder=None):
    child = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, cwd=folder
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def _interrupt(child, wait):
    """(seconds to the KeyboardInterrupt, what the child printed)."""
    time.sleep(wait)
    sent = time.monotonic()
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=120)
    if not output.startswith("interrupted at "):
        raise AssertionError(f"what was to be interrupted ended before: {output!r}")
    return float(output.split()[2]) - sent, output


def measure_interrupts(rounds=3):
    print("searches of many queries")
    for name, search in LONG_SEARCHES.items():
        seconds = [seconds_to_answer(search, 0.7 + 0.3 * i) for i in range(rounds)]
        print(
            f"{name:46} median {np.median(seconds):.2f} s, longest {max(seconds):.2f} s", flush=True
        )
    print("one call over many codes, interrupted after a fifth and seven tenths of its time")
    for name, long in LONG_CALLS.items():
        shares = [0.2, 0.7]
        seconds, whole = np.transpose([seconds_within_a_call(long, share) for share in shares])
        print(
            f"{name:46} median {np.median(seconds):.2f} s, longest {max(seconds):.2f} s "
            f"of {np.median(whole):.1f} s",
            flush=True,
        )


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
            file.write(
                index_file._header(json.dumps(description).encode(), end, index_file.VERSION)
            )
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
        "search of one query, one thread": lambda: index.search(codes[:1], 10, n_threads=1),
        "remove 1,000": lambda: index.remove(rng.integers(0, n // 2, 1000), missing="ignore"),
        "update 1,000": lambda: index.update(codes[:1000], ids=changed),
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
