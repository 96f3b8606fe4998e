"""Threads that search while another changes the index: every answer is that of a state there was.

    python tests/reliability/threads.py --seconds 60

The writer notes every state before it makes it. A searcher notes which state was complete before
its search and which had begun after it, and compares the answer with those between, by brute force
over a plain array. Small limits make the index move its codes and build its tables all the time.
An answer to a search with a recall has codes of such a state, with their distances.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from unittest import mock

import numpy as np

import fasthash as fh
from fasthash.index import _list_search as list_search
from fasthash.index import _storage as storage

N_BITS = 64
N_CODES = 3000
QUERIES = 3
# States that are kept for comparing; a search spans fewer.
KEPT = 4096

KINDS = {
    "scan": lambda: fh.HammingIndex(N_BITS, multi_index="never"),
    "auto": lambda: fh.HammingIndex(N_BITS),
    "tables": lambda: fh.HammingIndex(N_BITS, multi_index="always"),
    "multi-index": lambda: fh.MultiIndexHash(N_BITS),
}


class States:
    """The states there were: ids and codes in order of id."""

    def __init__(self, ids, codes):
        self.states = [(ids, codes)]
        self.n_done = 1

    def begin(self, ids, codes):
        self.states.append((ids, codes))
        if len(self.states) > KEPT:
            self.states[len(self.states) - KEPT] = None

    def end(self):
        self.n_done = len(self.states)


def write(index, states, rng, stop, figures):
    """Change the index at random until told to stop."""
    ids, codes = states.states[0]
    next_id = int(ids[-1]) + 1
    while not stop.is_set():
        kinds = ["add", "add between", "remove", "update", "compact", "replace"]
        kind = rng.choice([*kinds, "partition"] if isinstance(index, fh.HammingIndex) else kinds)
        new = np.packbits(rng.random((int(rng.integers(1, 40)), N_BITS)) < 0.5, axis=1)
        some = np.sort(rng.choice(ids, len(new), replace=False))
        if kind == "add between":
            free = np.setdiff1d(np.arange(next_id), ids)
            kind = kind if len(free) >= len(new) else "add"
        if kind == "add":
            new_ids = np.arange(next_id, next_id + len(new))
            states.begin(np.append(ids, new_ids), np.concatenate([codes, new]))
            index.add(new)
            next_id += len(new)
        elif kind == "add between":
            new_ids = rng.choice(free, len(new), replace=False)
            order = np.argsort(np.append(ids, new_ids))
            states.begin(np.append(ids, new_ids)[order], np.concatenate([codes, new])[order])
            index.add(new, ids=new_ids)
        elif kind == "remove":
            some = rng.choice(ids, min(len(ids) - N_CODES // 2, 2 * len(new)), replace=False)
            kept = ~np.isin(ids, some)
            states.begin(ids[kept], codes[kept])
            index.remove(some)
        elif kind in ("update", "replace"):
            changed = codes.copy()
            changed[np.searchsorted(ids, some)] = new
            states.begin(ids, changed)
            if kind == "update":
                index.update(new, ids=some)
            else:
                index.add(new, ids=some, replace=True)
        else:
            states.begin(ids, codes)
            index.compact() if kind == "compact" else index.partition(n_lists=20, n_threads=1)
        ids, codes = states.states[-1]
        states.end()
        figures["changes"] += 1
        stop.wait(rng.exponential(0.003))


def search(index, states, rng, stop, figures, wrong):
    """Search at random and compare, until told to stop."""
    while not stop.is_set() and not wrong:
        queries = np.packbits(rng.random((QUERIES, N_BITS)) < 0.5, axis=1)
        k, radius = int(rng.integers(1, 30)), int(rng.integers(0, 24))
        kinds = ["nearest", "within", "filtered", "held"]
        kind = rng.choice([*kinds, "recall"] if isinstance(index, fh.HammingIndex) else kinds)
        first = states.n_done - 1
        if kind == "nearest":
            found = index.search(queries, k, n_threads=int(rng.integers(1, 3)))
        elif kind == "within":
            found = index.within(queries, radius, n_threads=1)
        elif kind == "filtered":
            found = index.search(queries, k, n_threads=1, filter=lambda ids: ids % 3 == 0)
        elif kind == "recall":
            found = index.search(queries, k, recall=0.9, n_threads=1)
        else:
            found = [index.ids]
        last = len(states.states)
        between = [state for state in states.states[first:last] if state is not None]
        figures["answers"] += 1
        figures["states compared"] += len(between)
        if len(between) < last - first:
            figures["too slow to compare"] += 1
            continue
        if not any(is_answer(found, state, kind, queries, k, radius) for state in between):
            wrong.append((kind, first, last))


def is_answer(found, state, kind, queries, k, radius):
    ids, codes = state
    if kind == "held":
        return np.array_equal(found[0], ids)
    if kind == "filtered":
        ids, codes = ids[ids % 3 == 0], codes[ids % 3 == 0]
    # Bits as ±1: their products count those that agree less those that differ.
    a, b = (2.0 * np.unpackbits(x, axis=1) - 1 for x in (queries, codes))
    distances = ((N_BITS - a @ b.T) / 2).astype(np.int32)
    if kind == "recall":
        return all(
            is_some_of(ids, *row)
            for row in zip(distances, *(x.tolist() for x in found), strict=True)
        )
    orders = [np.lexsort((ids, row)) for row in distances]
    if kind == "within":
        parts = [order[row[order] <= radius] for order, row in zip(orders, distances, strict=True)]
        limits = np.cumsum([0, *map(len, parts)])
        expected_d = np.concatenate([row[p] for row, p in zip(distances, parts, strict=True)])
        expected = limits, expected_d, np.concatenate([ids[p] for p in parts])
    else:
        tops = np.stack([order[:k] for order in orders])
        expected = np.take_along_axis(distances, tops, 1), ids[tops]
    return all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def is_some_of(ids, row, found, found_ids):
    """Whether an answer has ids that are held, each once, in order, and their distances."""
    places = np.minimum(np.searchsorted(ids, found_ids), len(ids) - 1)
    return (
        np.array_equal(ids[places], found_ids)
        and np.array_equal(row[places], found)
        and len(set(found_ids)) == len(found_ids)
        and sorted(zip(found, found_ids, strict=True)) == list(zip(found, found_ids, strict=True))
    )


def run(seconds, n_searchers=8, seed=0, kinds=tuple(KINDS)):
    """Search and change for so long, an equal share for each kind of index."""
    figures = Counter()
    with (
        mock.patch.object(storage, "_MOST_RECENT", 100),
        mock.patch.object(list_search, "_is_faster", return_value=True),
    ):
        for number, kind in enumerate(kinds):
            _run_one(KINDS[kind](), seconds / len(kinds), n_searchers, [seed, number], figures)
    return figures


def _run_one(index, seconds, n_searchers, seed, figures):
    rngs = [np.random.default_rng([*seed, i]) for i in range(n_searchers + 1)]
    codes = np.packbits(rngs[0].random((N_CODES, N_BITS)) < 0.5, axis=1)
    index.add(codes)
    states = States(np.arange(N_CODES), codes)
    stop, wrong, failed = threading.Event(), [], []
    counts = [Counter() for _ in rngs]

    def guarded(function, *arguments):
        try:
            function(*arguments)
        except BaseException as error:
            failed.append(error)
            stop.set()

    threads = [
        threading.Thread(target=guarded, args=(write, index, states, rngs[0], stop, counts[0]))
    ] + [
        threading.Thread(
            target=guarded, args=(search, index, states, rng, stop, count, wrong), daemon=True
        )
        for rng, count in zip(rngs[1:], counts[1:], strict=True)
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end and not wrong and not failed:
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    if wrong:
        raise AssertionError(f"an answer of no state there was: {wrong[0]}")
    for count in counts:
        figures.update(count)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    figures = run(options.seconds, options.threads, options.seed)
    print("every answer of a state there was:", ", ".join(f"{n} {w}" for w, n in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
