"""Coverage-guided fuzzing, by atheris, of the file readers and of the index's entry points.

    python tests/reliability/fuzz.py index --seconds 60

Targets: "index", "model" and "faiss" read files, "changes" runs what it makes of the input on an
index and on the dictionary that is its twin. Input for a reader is a file, or what is in a file
behind checksums, which are then made right, so that fuzzing gets past them. ValueError is the only
error that a reader may raise.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import tempfile
import zlib

# The slow twins lie beside this folder.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))

N_BITS = 20


def read_index(data, folder):
    """An index file, or a description in front of codes."""
    import fasthash as fh
    from fasthash.index import _index_file as index_file

    path = folder / "fuzzed"
    if data[:1] == b"\0":
        text, _, body = data[1:].partition(b"\n")
        text = text[:4000]
        size = index_file.HEADER_BYTES + len(body)
        version = 3 if b"n_lists" in text else 2 if b"n_tables" in text else 1
        data = index_file._header(text, size, version) + body
    path.write_bytes(data)
    for mmap in (False, True):
        try:
            index = fh.load(path, mmap=mmap)
            if not isinstance(index, fh.HammingIndex | fh.MultiIndexHash):
                return
            if index.n_bits < 1000:
                import numpy as np

                index.search(np.zeros((1, (index.n_bits + 7) // 8), np.uint8), 3)
            index.verify()
        except ValueError:
            continue


def read_model(data, folder):
    """A model file, or the tree of one, with the arrays of a fitted model."""
    from safetensors.numpy import save

    import fasthash as fh

    path = folder / "fuzzed"
    if data[:1] == b"\0":
        text = data[1:].decode("utf-8", "replace")
        metadata, arrays = model_parts(folder)
        checksum = f"{zlib.crc32(text.encode()):08x}"
        data = save(arrays, {**metadata, "content": text, "crc32": checksum})
    path.write_bytes(data)
    try:
        model = fh.load(path)
        if hasattr(model, "modalities_"):
            for name in model.modalities_:
                model.encode([[0.5] * model.n_features_in_[name]], name)
    except ValueError:
        pass


def model_parts(folder):
    """Metadata and arrays of a small fitted model, written once."""
    from safetensors import safe_open

    with safe_open(folder / "seed.model", framework="np") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}


def read_faiss(data, folder):
    """A file of faiss."""
    from fasthash import interchange

    (folder / "fuzzed").write_bytes(data)
    try:
        codes, _ = interchange.read_faiss(folder / "fuzzed")
    except ValueError:
        return
    int(codes[:100].sum())


def change_and_search(data, folder):
    """A program of changes and searches, on an index and on its twin."""
    import atheris
    import numpy as np

    import fasthash as fh
    from fasthash.index import _storage as storage
    from reference.index import Index as Twin

    take = atheris.FuzzedDataProvider(data)
    storage._MOST_RECENT = take.ConsumeIntInRange(0, 8)
    n_bits = take.ConsumeIntInRange(1, 70)
    n_bytes = (n_bits + 7) // 8
    kind = take.ConsumeIntInRange(0, 2)
    index = (
        fh.MultiIndexHash(n_bits, n_tables=take.ConsumeIntInRange(-(-n_bits // 24), n_bits))
        if kind == 2
        else fh.HammingIndex(n_bits, multi_index=["never", "always"][kind])
    )
    twin = Twin(n_bits)

    def codes(n):
        given = take.ConsumeBytes(n * n_bytes).ljust(n * n_bytes, b"\0")
        array = np.frombuffer(given, np.uint8).reshape(n, n_bytes).copy()
        array[:, -1] &= 0xFF << (-n_bits % 8) & 0xFF
        return array

    def some_ids():
        return [take.ConsumeIntInRange(0, 30) for _ in range(take.ConsumeIntInRange(0, 6))]

    for _ in range(20):
        if take.remaining_bytes() == 0:
            break
        step = take.ConsumeIntInRange(0, 6)
        if step == 0:
            more = codes(take.ConsumeIntInRange(0, 6))
            index.add(more)
            twin.add(more)
        elif step in (1, 2):
            ids, replace = some_ids(), take.ConsumeBool()
            more = codes(len(ids))
            done = twin.add(more, ids, replace) if step == 1 else False
            if step == 2:
                done = len(set(ids)) == len(ids) and twin.update(ids, more)
            try:
                if step == 1:
                    index.add(more, ids=ids, replace=replace)
                else:
                    index.update(more, ids=ids)
            except ValueError:
                assert not done
            else:
                assert done
        elif step == 3:
            ids = some_ids()
            assert index.remove(ids, missing="ignore") == twin.remove(ids)
        elif step == 4:
            index.compact()
        else:
            queries, chosen = codes(2), None
            if take.ConsumeBool():
                chosen = some_ids()
            k, radius = take.ConsumeIntInRange(1, 40), take.ConsumeIntInRange(0, 80)
            found = index.search(queries, k, n_threads=1, filter=chosen)
            expected = twin.search(queries, k, chosen)
            found += index.within(queries, radius, n_threads=1, filter=chosen)
            expected += twin.within(queries, radius, chosen)
            assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
        assert index.ids.tolist() == sorted(twin.held)


TARGETS = {
    "index": read_index,
    "model": read_model,
    "faiss": read_faiss,
    "changes": change_and_search,
}


def make_seeds(target, folder, corpus):
    """Whole files to begin with, and the files behind checksums."""
    import numpy as np

    import fasthash as fh
    from fasthash.interchange import write_faiss

    codes = fh.pack(np.random.default_rng(0).standard_normal((5, N_BITS)))
    features = np.random.default_rng(0).standard_normal((20, 6))
    model = fh.CCAITQ(4, random_state=0).fit({"image": features, "text": features[:, :5]})
    model.save(folder / "seed.model")
    if target == "index":
        for kind, tables in ((fh.HammingIndex, False), *((fh.MultiIndexHash, x) for x in (0, 1))):
            index = kind(N_BITS)
            index.add(codes)
            seed = corpus / f"{kind.__name__}-{int(tables)}"
            index.save(seed, tables=bool(tables))
            data = seed.read_bytes()
            text = data[32 : 32 + int.from_bytes(data[24:28], "little")]
            (corpus / f"{seed.name}-inside").write_bytes(b"\0" + text + b"\n" + data[4096:])
    elif target == "model":
        (corpus / "model").write_bytes((folder / "seed.model").read_bytes())
        text = model_parts(folder)[0]["content"]
        assert json.loads(text)["model"] == "CCAITQ"
        (corpus / "inside").write_bytes(b"\0" + text.encode())
    elif target == "faiss":
        write_faiss(corpus / "flat", codes)
        write_faiss(corpus / "map", codes, ids=np.arange(5))
    else:
        (corpus / "some").write_bytes(np.random.default_rng(0).bytes(200))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        import atheris
    except ImportError:
        print("fuzzing needs atheris, which is not installed: pip install atheris", file=sys.stderr)
        return 1
    with atheris.instrument_imports(include=["fasthash"]):
        import fasthash
        import fasthash.index
        import fasthash.interchange
        import fasthash.loading
        import fasthash.models  # noqa: F401

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        corpus = folder / "corpus"
        corpus.mkdir()
        make_seeds(options.target, folder, corpus)
        target = TARGETS[options.target]
        arguments = [
            sys.argv[0],
            f"-max_total_time={options.seconds}",
            f"-seed={options.seed}",
            "-max_len=20000",
            "-rss_limit_mb=2000",
            f"-artifact_prefix={os.getcwd()}/",
            str(corpus),
        ]
        atheris.Setup(arguments, lambda data: target(data, folder))
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
