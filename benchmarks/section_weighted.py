"""Top-k with a weight for each bit: against numpy, Hamming search, and faiss's fast scans."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

import fasthash as fh
import peers
from fasthash.experiments._random_codes import make_codes
from fasthash.experiments._timing import interleave
from report import Context, Table, ratio_cell, time_cell

TITLE = "Weighted bits"

WIDTHS = (64, 128, 256, 512, 1024)
BATCHES = (1, 64, 256)
K = 10
# Most time over `topk` in the largest batch at AVX2. There, `topk` without bit planes took 2.5
# times as long at 64 bits, and 2.1 times at 256: this is 1.2 and .8 times the speed of that scan.
MOST_OVER_TOPK = {64: 2.5 / 1.2, 256: 2.1 / 0.8}
# numpy holds a float32 for every bit, so it multiplies this many codes, again and again.
N_UNPACKED = 20_000

FAISS_WIDTHS = (64, 256)
N_FAISS_QUERIES = 1000
# faiss learns from so many vectors; what it learns does not change the time of a search.
N_TRAINING = 20_000


def run(context: Context) -> Iterator[Table]:
    n = 5 * N_UNPACKED if context.quick else 50 * N_UNPACKED
    yield _beside_numpy(context, n)
    yield _beside_faiss(context, n)


def _beside_numpy(context: Context, n: int) -> Table:
    rows = []
    for n_bits in WIDTHS:
        database, queries = make_codes("uniform", n, max(BATCHES), n_bits)
        weights = np.random.default_rng(0).normal(size=(max(BATCHES), n_bits)).astype(np.float32)
        unpacked = 2 * fh.unpack(database[:N_UNPACKED], n_bits).astype(np.float32) - 1
        _check(weights, database[:N_UNPACKED], unpacked)
        for n_queries in BATCHES:
            context.progress(f"weighted: {n_bits} bits, {n_queries} queries")
            few = weights[:n_queries]
            calls = {
                "weighted": partial(fh.topk_weighted, few, database, K, n_threads=1),
                "topk": partial(fh.topk, queries[:n_queries], database, K, n_threads=1),
                "numpy": partial(_multiply, few, unpacked, n // N_UNPACKED),
            }
            rounds = interleave(calls, context.repeats)
            over_numpy = rounds.ratio("numpy", "weighted")
            over_topk = rounds.ratio("weighted", "topk")
            is_judged = n_queries == BATCHES[-1] and fh.simd_level() == "avx2"
            most = MOST_OVER_TOPK.get(n_bits) if is_judged else None
            rows.append(
                (
                    str(n_bits),
                    str(n_queries),
                    time_cell(rounds.median("weighted")),
                    ratio_cell(over_numpy),
                    context.target(over_numpy.median, at_least=1),
                    ratio_cell(over_topk),
                    context.target(over_topk.median, at_most=most),
                )
            )
    return Table(
        ("bits", "queries", "time", "faster than numpy", "target", "time over topk", "target"),
        rows,
        f"`topk_weighted`, n = {n:,} uniform codes, k = {K}, one thread. numpy only multiplies the "
        f"weights by codes that are unpacked to float32 before, {N_UNPACKED:,} at a time; it "
        "neither unpacks nor selects while it is timed. `topk` searches the same codes by Hamming "
        "distance; in the largest batch at AVX2, the target is 1.2 times the speed of its scan "
        "without bit planes at 64 bits, and .8 times at 256.",
    )


def _beside_faiss(context: Context, n: int) -> Table:
    rows = []
    for n_bits in FAISS_WIDTHS:
        database = make_codes("uniform", n, 1, n_bits)[0]
        rng = np.random.default_rng(0)
        weights = rng.standard_normal((N_FAISS_QUERIES, n_bits), np.float32)
        search = partial(fh.topk_weighted, weights, database, K, n_threads=1)
        for name, make in {"PQFastScan": _product, "RaBitQFastScan": _rabitq}.items():
            context.progress(f"weighted: {n_bits} bits, faiss {name}")
            try:
                index = make(n_bits)
            except (peers.MissingPeerError, AttributeError) as error:
                rows.append((str(n_bits), name, "–", "–", f"skipped: {error}"))
                continue
            index.train(rng.standard_normal((N_TRAINING, n_bits), np.float32))
            for _ in range(n // N_UNPACKED):
                index.add(rng.standard_normal((N_UNPACKED, n_bits), np.float32))
            # Few queries of the peer: it takes seconds where ours takes tenths of one.
            n_few = N_FAISS_QUERIES // 5
            calls = {"peer": partial(index.search, weights[:n_few], K), "fasthash": search}
            rounds = interleave(calls, context.repeats)
            ratio = rounds.ratio("peer", "fasthash").times(N_FAISS_QUERIES / n_few)
            rows.append(
                (
                    str(n_bits),
                    f"`Index{name}`",
                    str(index.code_size),
                    ratio_cell(ratio),
                    context.target(ratio.median, at_least=2),
                )
            )
    return Table(
        ("bits", "peer", "its bytes per code", "peer ÷ fasthash", "target"),
        rows,
        f"n = {n:,}, k = {K}, one thread each, time per query; fasthash on a batch of "
        f"{N_FAISS_QUERIES:,}. Both answer float queries from packed codes. `IndexPQFastScan` "
        "stores 4 bits for 4 dimensions, so its codes are as long; those of `IndexRaBitQFastScan` "
        "have 8 bytes more.",
    )


def _product(n_bits: int) -> Any:
    return _faiss().IndexPQFastScan(n_bits, n_bits // 4, 4)


def _rabitq(n_bits: int) -> Any:
    return _faiss().IndexRaBitQFastScan(n_bits)


def _faiss() -> Any:
    faiss = peers.import_peer("faiss")
    faiss.omp_set_num_threads(1)
    return faiss


def _multiply(weights: np.ndarray, unpacked: np.ndarray, times: int) -> None:
    for _ in range(times):
        weights @ unpacked.T


def _check(weights: np.ndarray, database: np.ndarray, unpacked: np.ndarray) -> None:
    """Scores must be those of numpy, except for the error that rounded weights have."""
    scores, ids = fh.topk_weighted(weights, database, K, n_threads=1)
    exact = np.take_along_axis(weights @ unpacked.T, ids, axis=1)
    error = np.abs(scores - exact).max(axis=1)
    largest = weights.shape[1] * np.abs(weights).max(axis=1) / 62
    if (error > largest).any():
        raise AssertionError("topk_weighted is further from numpy's scores than it may be")
