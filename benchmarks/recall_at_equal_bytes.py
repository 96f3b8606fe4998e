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
from collections.abc import Callable

import faiss
import numpy as np
from numpy.typing import NDArray

import fasthash as fh
from fasthash.embeddings import nearest

K = 10
Search = Callable[[NDArray, NDArray, int, int], NDArray | None]


def itq(x: NDArray, q: NDArray, n_bytes: int, seed: int, weights: bool) -> NDArray:
    model = fh.ITQ(n_bits=8 * n_bytes, random_state=seed)
    return model.search(q, model.fit_transform(x), K, weights=weights)[1]


def hyperplanes(x: NDArray, q: NDArray, n_bytes: int, seed: int, weights: bool) -> NDArray:
    model = fh.RandomHyperplanes(n_bits=8 * n_bytes, random_state=seed)
    return model.search(q, model.fit_transform(x), K, weights=weights)[1]


def signs(x: NDArray, q: NDArray, n_bytes: int, seed: int) -> NDArray | None:
    """Weights and signs of the features themselves, where there is one for each bit."""
    if 8 * n_bytes != x.shape[1]:
        return None
    return fh.topk_weighted(q, fh.pack(x), K)[1]


def of_faiss(index: faiss.Index, x: NDArray, q: NDArray) -> NDArray:
    index.train(x)
    index.add(x)
    return index.search(q, K)[1]


def product_quantisation(x: NDArray, q: NDArray, n_bytes: int, seed: int) -> NDArray:
    index = faiss.IndexPQ(x.shape[1], n_bytes, 8)
    index.pq.cp.seed = seed + 1
    return of_faiss(index, x, q)


def fast_scan(x: NDArray, q: NDArray, n_bytes: int, seed: int) -> NDArray:
    index = faiss.IndexPQFastScan(x.shape[1], 2 * n_bytes, 4)
    index.pq.cp.seed = seed + 1
    return of_faiss(index, x, q)


def rabitq(x: NDArray, q: NDArray, n_bytes: int, seed: int) -> NDArray | None:
    n_bits = 8 * n_bytes - 64
    if n_bits <= 0:
        return None
    components = faiss.PCAMatrix(x.shape[1], n_bits, 0, True)
    return of_faiss(faiss.IndexPreTransform(components, faiss.IndexRaBitQ(n_bits)), x, q)


METHODS: dict[str, Search] = {
    "ITQ, codes": lambda *problem: itq(*problem, weights=False),
    "ITQ, codes with weights": lambda *problem: itq(*problem, weights=True),
    "hyperplanes, codes": lambda *problem: hyperplanes(*problem, weights=False),
    "hyperplanes, codes with weights": lambda *problem: hyperplanes(*problem, weights=True),
    "signs of features, with weights": signs,
    "faiss IndexPQ": product_quantisation,
    "faiss IndexPQFastScan": fast_scan,
    "faiss PCA, IndexRaBitQ": rabitq,
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
    for name in options.methods:
        cells = []
        for n_bytes in options.bytes:
            recalls = []
            for seed, (x, q, best) in enumerate(splits):
                found = METHODS[name](x, q, n_bytes, seed)
                if found is not None:
                    hits = [len(np.intersect1d(*pair)) for pair in zip(found, best, strict=True)]
                    recalls.append(np.mean(hits) / K)
            error = np.std(recalls, ddof=1) / np.sqrt(len(recalls)) if len(recalls) > 1 else 0
            cells.append(f"{np.mean(recalls):.3f} ± {error:.3f}" if recalls else "–")
        print("|", " | ".join([name, *cells]), "|", flush=True)


if __name__ == "__main__":
    main()
