"""Damage files in every way that comes to mind, and read them.

    python tests/reliability/damage.py --files 10000

Indexes, models and files of faiss are cut short, have bits turned, bytes overwritten, put in, taken
out or exchanged between files, or get a header of nonsense with the right checksum. Reading may end
in ValueError, or give exactly what was saved; nothing else. Memory is limited, so that a reader
which believes a length from the file would be found out.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import sys
import tempfile
import warnings
from collections import Counter
from functools import partial
from unittest import mock

import numpy as np

import fasthash as fh
from fasthash._core.files import INDEX_SIGNATURE
from fasthash.index import _index_file as index_file
from fasthash.index import _list_search as list_search
from fasthash.interchange import read_faiss, write_faiss

# What a process may take beyond what it has when the reading begins.
MEMORY = 1 << 29

RECALL = {"k": 2, "recall": 0.9}


def make_files(folder):
    """(path, reader, what the reader gives), for each kind of file."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((60, 12))
    labels = rng.integers(0, 3, 60)
    names = np.array(["cat", "dog", "ibis"])[labels]
    both = {"image": features, "text": features[:, :9].astype(np.float32)}
    codes = np.packbits(rng.random((40, 20)) < 0.5, axis=1)
    files = []

    def add(name, save, *readers):
        save(folder / name)
        for read in readers:
            files.append((folder / name, read, read(folder / name)))

    for name, index in (
        ("scan.index", fh.HammingIndex(20)),
        ("tables.index", fh.MultiIndexHash(20, n_tables=2)),
        ("empty.index", fh.HammingIndex(9)),
    ):
        if name != "empty.index":
            index.add(codes, ids=np.arange(40) * 5)
        add(name, index.save, read_index, map_index)
    for n_bits in (20, 70):
        index = fh.MultiIndexHash(n_bits)
        index.add(np.packbits(rng.random((40, n_bits)) < 0.5, axis=1))
        add(
            f"stored tables {n_bits}.index", partial(index.save, tables=True), read_index, map_index
        )
    index = fh.HammingIndex(20)
    index.add(np.packbits(rng.random((400, 20)) < 0.5, axis=1))
    # Lists answer, also where the exact search is as fast.
    with mock.patch.object(list_search, "_is_faster", return_value=True):
        index.partition(n_lists=9)
        assert index.calibrate(**RECALL).uses_lists(2)
    add("lists.index", partial(index.save, partitions=True), read_index, map_index)
    models = [
        fh.AMSH(8, n_anchors=10, random_state=0).fit(both, {"image": names, "text": names}),
        fh.CCAITQ(8, random_state=0).fit(both),
        fh.ITQ(8, random_state=0).fit(features),
        fh.RandomHyperplanes(8, random_state=0).fit(features),
    ]
    for model in models:
        add(f"{type(model).__name__}.model", model.save, read_model)
    add("flat.faiss", lambda path: write_faiss(path, codes), read_codes)
    add("map.faiss", lambda path: write_faiss(path, codes, ids=np.arange(40)), read_codes)
    return files


def contents(index):
    found = index.search(index.codes[:2], 3) if len(index) else ()
    if isinstance(index, fh.HammingIndex):
        found += index.search(index.codes[:2], **RECALL) if len(index) else ()
    options = [getattr(index, name) for name in ("n_bits", *index._options)]
    return [type(index).__name__, options, index.ids, index.codes, *found]


def read_index(path):
    return contents(fh.load(path))


def map_index(path):
    index = fh.load(path, mmap=True)
    # Whatever it holds: no crash.
    queries = np.zeros((2, (index.n_bits + 7) // 8), np.uint8)
    index.search(queries, 3)
    index.within(queries, 4)
    if isinstance(index, fh.HammingIndex):
        index.search(queries, **RECALL)
    index.reconstruct(index.ids[:0])
    index.verify()
    return contents(index)


def read_model(path):
    model = fh.load(path)
    x = {"image": np.linspace(-1, 1, 24).reshape(2, 12)}
    x["text"] = x["image"][:, :9]
    tree = [type(model).__name__, sorted(map(repr, model.get_params().items()))]
    tree += [repr(item) for item in model._learned_state().items()]
    if hasattr(model, "modalities_"):
        tree += [model.encode(x[name], name) for name in model.modalities_]
    else:
        tree.append(model.transform(x["image"]))
    if isinstance(model, fh.AMSH):
        model.partial_fit({"text": x["text"]}, {"text": ["cat", "dog"]})
        tree.append(model.codes_["text"])
    return tree


def read_codes(path):
    codes, ids = read_faiss(path)
    return [np.array(codes), ids]


def is_same(a, b):
    return len(a) == len(b) and all(
        np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y
        for x, y in zip(a, b, strict=True)
    )


# --- damage ---------------------------------------------------------------------------------------


def cut(rng, data, others):
    return data[: rng.randrange(len(data))]


def turn_bits(rng, data, others):
    for _ in range(rng.choice([1, 1, 2, 8])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def overwrite(rng, data, others):
    n = rng.choice([1, 4, 8, 64, 1000])
    start = rng.randrange(len(data))
    byte = rng.choice([None, 0, 255])
    data[start : start + n] = rng.randbytes(n) if byte is None else bytes([byte]) * n
    return data


def put_in(rng, data, others):
    start = rng.randrange(len(data) + 1)
    data[start:start] = rng.randbytes(rng.choice([1, 8, 100, 5000]))
    return data


def take_out(rng, data, others):
    start = rng.randrange(len(data))
    del data[start : start + rng.choice([1, 8, 100, 5000])]
    return data


def exchange(rng, data, others):
    other = rng.choice(others)
    start = rng.randrange(min(len(data), len(other)))
    return data[:start] + other[start:]


def turn_bits_at_the_start(rng, data, others):
    for _ in range(rng.choice([1, 2, 4])):
        data[rng.randrange(min(64, len(data)))] = rng.randrange(256)
    return data


def change_description(rng, data, others):
    """Nonsense with the right checksum: what an attacker would write."""
    if not data.startswith(INDEX_SIGNATURE):
        return turn_bits_at_the_start(rng, data, others)
    n = int.from_bytes(data[24:28], "little")
    try:
        description = json.loads(data[32 : 32 + n])
    except ValueError:
        return data
    numbers = [-1, 0, 1, 7, 8, 64, 4096, 2**31, 2**32, 2**40, 2**62, 2**63, 2**64, 10**30]
    anything = [*numbers, None, True, 1.5, float("inf"), "auto", "always", "x" * 99, [], {}, [[]]]
    for _ in range(rng.choice([1, 1, 2, 5])):
        node, path = description, []
        while isinstance(node, dict) and node and rng.random() < 0.9:
            parent, key = node, rng.choice(sorted(node))
            node = node[key]
            path.append(key)
        if path:
            change = rng.choice([*anything, "delete", "double"])
            if change == "delete":
                del parent[key]
            elif change == "double" and isinstance(node, int):
                parent[key] = node * 2
            else:
                parent[key] = change
    size = rng.choice([len(data), len(data), len(data) + 1, 2**60])
    text = json.dumps(description).encode()
    if len(text) > 4000:
        return data
    return bytearray(index_file._header(text, size, data[8])) + data[4096:]


DAMAGE = [
    cut,
    turn_bits,
    overwrite,
    put_in,
    take_out,
    exchange,
    turn_bits_at_the_start,
    change_description,
]


def run(n_files, seed=0, limit_memory=True):
    """Read so many damaged files; how many were refused and how many read as they were saved."""
    rng = random.Random(seed)
    figures = Counter()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = pathlib.Path(folder)
        files = make_files(folder)
        whole = {path: path.read_bytes() for path, _, _ in files}
        if limit_memory:
            _limit_memory()
        target = folder / "damaged"
        for _ in range(n_files):
            path, read, _ = rng.choice(files)
            how = rng.choice(DAMAGE)
            data = bytes(how(rng, bytearray(whole[path]), list(whole.values())))
            target.write_bytes(data)
            figures["files"] += 1
            if data == whole[path]:
                figures["not changed"] += 1
                continue
            try:
                found = read(target)
            except ValueError as error:
                if str(target) not in str(error):
                    raise AssertionError(f"the error names no file: {error}") from error
                figures["refused"] += 1
                continue
            except Exception as error:
                kept = pathlib.Path(f"damaged-{seed}-{figures['files']}").absolute()
                kept.write_bytes(data)
                raise AssertionError(f"{how.__name__} of {path.name}; see {kept}") from error
            # Another whole file is no damage.
            if any(is_same(found, other) for _, _, other in files):
                figures["read as saved"] += 1
                continue
            # A file of faiss has no checksum, and what was made on purpose may be an index.
            if read is read_codes or how is change_description:
                figures["without a wrong checksum, read"] += 1
                continue
            kept = pathlib.Path(f"damaged-{seed}-{figures['files']}").absolute()
            kept.write_bytes(data)
            raise AssertionError(f"{how.__name__} of {path.name} was not noticed; see {kept}")
    return figures


def _limit_memory():
    try:
        import resource
    except ImportError:
        return
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    figures = run(options.files, options.seed)
    print("no crash, nothing wrong read:", ", ".join(f"{n} {what}" for what, n in figures.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
