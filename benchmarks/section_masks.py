"""Masked top-k: the time relative to no mask when all, a tenth or a hundredth of the rows count."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

import fasthash as fh
from batched import N_FAISS_QUERIES
from fasthash.experiments._random_codes import make_codes
from fasthash.experiments._timing import interleave
from peers import check_same, faiss_or_none
from report import Context, Table, ratio_cell, time_cell

TITLE = "Masks"

WIDTHS = (64, 256)
SHARES = (1.0, 0.1, 0.01)
BATCHES = (1, 1000)
K = 10


def run(context: Context) -> Iterator[Table]:
    n = 50_000 if context.quick else 1_000_000
    rows = []
    for n_bits in WIDTHS:
        database, queries = make_codes("uniform", n, max(BATCHES), n_bits)
        chance = np.random.default_rng(0).random(n)
        masks = {share: chance < share for share in SHARES}
        for mask in masks.values():
            _check(database, queries[:N_FAISS_QUERIES], mask)
        for n_queries in BATCHES:
            context.progress(f"masks: {n_bits} bits, {n_queries} queries")
            few = queries[:n_queries]
            calls = {
                str(share): partial(fh.topk, few, database, K, n_threads=1, filter=mask)
                for share, mask in {"none": None, **masks}.items()
            }
            rounds = interleave(calls, context.repeats)
            ratios = [ratio_cell(rounds.ratio(str(share), "none")) for share in SHARES]
            rows.append((str(n_bits), str(n_queries), time_cell(rounds.median("none")), *ratios))
    yield Table(
        ("bits", "queries", "no mask", *(f"{share:.0%} allowed" for share in SHARES)),
        rows,
        f"Time over that without a mask: n = {n:,} uniform codes, k = {K}, one thread, boolean "
        "masks with rows allowed at random.",
    )


def _check(database: np.ndarray, queries: np.ndarray, mask: np.ndarray) -> None:
    """The peer searches a copy of the allowed rows."""
    rows = np.flatnonzero(mask)
    faiss = faiss_or_none(database[rows])
    if faiss is not None:
        distances, ids = faiss(queries, K)
        found = fh.topk(queries, database, K, n_threads=1, filter=mask)
        check_same(found, (distances, rows[ids]), "masked topk")
