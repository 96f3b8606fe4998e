"""Top-k with a weight for each bit: against numpy's matrix product, and against Hamming search."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

import fasthash as fh
from fasthash.experiments._random_codes import make_codes
from fasthash.experiments._timing import interleave
from report import Context, Table, ratio_cell, time_cell

TITLE = "Weighted bits"

WIDTHS = (64, 128, 256, 512, 1024)
BATCHES = (1, 64)
K = 10
# numpy holds a float32 for every bit, so it multiplies this many codes, again and again.
N_UNPACKED = 20_000


def run(context: Context) -> Iterator[Table]:
    n = 5 * N_UNPACKED if context.quick else 50 * N_UNPACKED
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
            rows.append(
                (
                    str(n_bits),
                    str(n_queries),
                    time_cell(rounds.median("weighted")),
                    ratio_cell(over_numpy),
                    context.target(over_numpy.median, at_least=1),
                    ratio_cell(rounds.ratio("weighted", "topk")),
                )
            )
    yield Table(
        ("bits", "queries", "time", "faster than numpy", "target", "time over topk"),
        rows,
        f"`topk_weighted`, n = {n:,} uniform codes, k = {K}, one thread. numpy only multiplies the "
        f"weights by codes that are unpacked to float32 before, {N_UNPACKED:,} at a time; it "
        "neither unpacks nor selects while it is timed. `topk` searches the same codes by Hamming "
        "distance.",
    )


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
