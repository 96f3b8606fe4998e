"""Recall of the float search by codes of equal bytes: fasthash by codes and by weights, and faiss.

    python benchmarks/recall_at_equal_bytes.py vectors.npy
    ... --bytes 8 16 32 48 --queries 1000 --seeds 3

The file has a vector in each row. Queries are drawn by the seed; the others are the database, from
which every method learns. A line has the share of the 10 nearest vectors by cosine that are among
the 10 answers, with its standard error over seeds; nothing but the codes is kept. faiss compares
float queries with codes too. Product quantisation has a byte for each part of the vector in
IndexPQ, and half a byte in IndexPQFastScan. RaBitQ codes the principal components, and adds 8 bytes
to the bits of each code, so there are 64 bits fewer in equal bytes.
"""

from __future__ import annotations

import argparse
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

import fasthash as fh
from fasthash.embeddings import nearest

K = 10

# Rows of the answers by name of the search; empty where there is no code of this size.
Answers = dict[str, NDArray]


def by_model(name: str, model: Any, x: NDArray, q: NDArray) -> Answers:
    codes, weights = model.fit_transform(x), model.project(q)
    return {
        f"{name}, codes": fh.topk(fh.pack(weights), codes, K)[1],
        f"{name}, codes with weights": fh.topk_weighted(weights, codes, K)[1],
    }


def itq(x: NDArray, q: NDArray, n_bytes: int, seed: int) -> Answers:
    return by_model("ITQ", fh.ITQ(n_bits=8 * n_bytes, random_state=seed), x, q)


def hyperplanes(x: NDArray, q: NDArray, n_bytes: int, seed: int) -> Answers:
    model = fh.RandomHyperplanes(n_bits=8 * n_bytes, random_state=seed)
    return by_model("hyperplanes", model, x, q)


def of_faiss(index: faiss.Index, x: NDArray, q: NDArray) -> NDArray:
    index.train(x)
    index.add(x)
    return index.search(q, K)[1]


def product_quantisation(x: NDArray, q: NDArray, n_bytes: int, seed: int) -> Answers:
    index = faiss.IndexPQ(x.shape[1], n_bytes, 8)
    index.pq.cp.seed = seed + 1
    return {"faiss IndexPQ": of_faiss(index, x, q)}


def fast_scan(x: NDArray, q: NDArray, n_bytes: int, seed: int) -> Answers:
    index = faiss.IndexPQFastScan(x.shape[1], 2 * n_bytes, 4)
    index.pq.cp.seed = seed + 1
    return {"faiss IndexPQFastScan": of_faiss(index, x, q)}


def rabitq(x: NDArray, q: NDArray, n_bytes: int, seed: int) -> Answers:
    n_bits = 8 * n_bytes - 64
    if n_bits <= 0:
        return {}
    components = faiss.PCAMatrix(x.shape[1], n_bits, 0, True)
    index = faiss.IndexPreTransform(components, faiss.IndexRaBitQ(n_bits))
    return {"faiss PCA, IndexRaBitQ": of_faiss(index, x, q)}


METHODS = {
    "itq": itq,
    "hyperplanes": hyperplanes,
    "pq": product_quantisation,
    "fastscan": fast_scan,
    "rabitq": rabitq,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help=".npy file with a vector in each row")
    parser.add_argument("--bytes", type=int, nargs="+", default=[8, 16, 32, 48])
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    options = parser.parse_args()
    vectors = np.load(options.file).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    print("| recall@10 |", *(f"{n} bytes |" for n in options.bytes))
    print("|---|" + "---|" * len(options.bytes))
    splits = []
    for seed in range(options.seeds):
        rows = np.random.default_rng(seed).permutation(len(vectors))
        q, x = vectors[rows[: options.queries]], vectors[rows[options.queries :]]
        splits.append((x, q, nearest(q, x, K)))
    for method in options.methods:
        recalls: dict[str, dict[int, list[float]]] = {}
        for n_bytes in options.bytes:
            for seed, (x, q, best) in enumerate(splits):
                for name, found in METHODS[method](x, q, n_bytes, seed).items():
                    hits = [len(np.intersect1d(*pair)) for pair in zip(found, best, strict=True)]
                    row = recalls.setdefault(name, {})
                    row.setdefault(n_bytes, []).append(float(np.mean(hits)) / K)
        for name, row in recalls.items():
            cells = (described(row.get(n_bytes, [])) for n_bytes in options.bytes)
            print("|", " | ".join([name, *cells]), "|", flush=True)


def described(recalls: list[float]) -> str:
    """Mean and standard error."""
    if not recalls:
        return "–"
    error = np.std(recalls, ddof=1) / np.sqrt(len(recalls)) if len(recalls) > 1 else 0
    return f"{np.mean(recalls):.3f} ± {error:.3f}"


if __name__ == "__main__":
    main()
