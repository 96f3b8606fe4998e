"""Codes whose width is no multiple of 64 bits, over the same codes padded with zero bytes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

import fasthash as fh
from fasthash.experiments._random_codes import make_codes
from fasthash.experiments._timing import interleave
from peers import check_same
from report import Context, Table, ratio_cell, time_cell

TITLE = "Odd widths"

WIDTHS = ((72, 128), (1000, 1024))
K = 10
# "About one": laying out rows that do not end on a word may cost a little.
MOST = 1.1

HEADER = ("bits", "padded to", "time per query", "time ÷ padded", "target")


def run(context: Context) -> Iterator[Table]:
    n, n_queries = (20_000, 100) if context.quick else (500_000, 500)
    rows = []
    for n_bits, n_padded in WIDTHS:
        context.progress(f"odd widths: {n_bits} bits")
        database, queries = make_codes("uniform", n, n_queries, n_bits)
        missing = ((0, 0), (0, (n_padded - n_bits) // 8))
        padded = tuple(np.pad(codes, missing) for codes in (queries, database))
        calls = {
            "odd": partial(fh.topk, queries, database, K, n_threads=1),
            "padded": partial(fh.topk, *padded, K, n_threads=1),
        }
        check_same(calls["odd"](), calls["padded"](), f"{n_bits} bits")
        rounds = interleave(calls, context.repeats)
        ratio = rounds.ratio("odd", "padded")
        rows.append(
            (
                str(n_bits),
                str(n_padded),
                time_cell(rounds.median("odd") / n_queries),
                ratio_cell(ratio),
                context.target(ratio.median, at_most=MOST, unit="×"),
            )
        )
    yield Table(HEADER, rows, f"Top-k: n = {n:,}, {n_queries} queries, k = {K}, one thread.")
