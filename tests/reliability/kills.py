"""Kill a process that saves an index, at random moments, and look at what is left.

    python tests/reliability/kills.py --kills 200

A child adds codes to an index and saves it, over and over, and tells before and after each save.
It is killed by SIGKILL at a random moment. The file must then hold one whole state, not older than
the last one that was told to be saved and not newer than the last one begun.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import random
import signal
import sys
import tempfile
import time
from collections import Counter

import numpy as np

import fasthash as fh

N_BITS = 100
N_FIRST = 20_000
N_MORE = 500


def codes_of(state):
    """The codes that are added to make a state of the one before."""
    n = N_FIRST if state == 0 else N_MORE
    rng = np.random.default_rng(state)
    return np.packbits(rng.random((n, N_BITS)) < 0.5, axis=1)


def run_child(path, tell):
    """Add and save until killed; every third time also remove, so that codes move in the file."""
    index = fh.load(path)
    state = 0
    while True:
        state += 1
        index.add(codes_of(state))
        if state % 3 == 0:
            index.remove(removed_at(state))
        os.write(tell, b"b")
        index.save(path)
        os.write(tell, b"s")


def removed_at(state):
    return np.arange(N_MORE // 2) + N_FIRST + (state - 1) * N_MORE


def expected(state):
    """Ids and codes of a state, made without an index."""
    codes = np.concatenate([codes_of(i) for i in range(state + 1)])
    ids = np.arange(len(codes))
    gone = [removed_at(i) for i in range(3, state + 1, 3)]
    kept = ~np.isin(ids, np.concatenate(gone)) if gone else np.ones(len(ids), bool)
    return ids[kept], codes[kept]


def kill_once(path, seconds):
    """(saves begun, saves told done) of a child that was killed so late."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        try:
            run_child(path, tell)
        finally:
            os._exit(1)
    os.close(tell)
    first = os.read(told, 1)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise AssertionError("the child ended by itself")
    messages = first
    while part := os.read(told, 1 << 16):
        messages += part
    os.close(told)
    return messages.count(b"b"), messages.count(b"s")


def run(n_kills, seed=0, longest=0.15):
    """Kill so many times; how many met a save on its way, and how many files were left beside."""
    rng = random.Random(seed)
    figures = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "some.index")
        for _ in range(n_kills):
            first = fh.HammingIndex(N_BITS)
            first.add(codes_of(0))
            first.save(path)
            n_begun, n_saved = kill_once(path, rng.uniform(0, longest))
            index = fh.load(path)
            for state in range(n_saved, n_begun + 1):
                ids, codes = expected(state)
                if np.array_equal(index.ids, ids) and np.array_equal(index.codes, codes):
                    break
            else:
                raise AssertionError(f"{path} holds none of the states {n_saved} to {n_begun}")
            mapped = fh.load(path, mmap=True)
            mapped.verify()
            left = set(os.listdir(folder)) - {path.name}
            figures["kills"] += 1
            figures["during a save"] += n_begun > n_saved
            figures["new state found"] += state > n_saved
            figures["saves told done"] += n_saved
            figures["temporary files left"] += len(left)
            for name in left:
                os.remove(os.path.join(folder, name))
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    figures = run(options.kills, options.seed)
    print("no lost and no torn index:", ", ".join(f"{n} {what}" for what, n in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
