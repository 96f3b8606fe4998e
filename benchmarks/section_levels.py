"""The slower instruction-set levels, held one after the other: their share of their own limit."""

from __future__ import annotations

from collections.abc import Iterator

import fasthash as fh
from batched import faiss_or_none, measure
from fasthash.experiments._random_codes import make_codes
from machine import level as held_level
from report import Context, Table, rate_cell, ratio_cell

TITLE = "Other instruction-set levels"

# Least share of the level's own limit.
SHARES = {"avx2": 0.85}
WIDTHS = (64, 128, 256, 512, 1024)
K = 10

HEADER = (
    "level", "bits", "1e9 distances/s", "limit", "share of limit", "target", "faiss ÷ fasthash"
)  # fmt: skip


def run(context: Context) -> Iterator[Table]:
    n = 20_000 if context.quick else 1_000_000
    others = [name for name in fh.simd_levels() if name != fh.simd_level()]
    rows = []
    for n_bits in WIDTHS:
        database, queries = make_codes("uniform", n, 256, n_bits)
        faiss = faiss_or_none(database)
        for name in others:
            # The portable level is slow, and a quarter of the queries says as much.
            few = queries[:64] if name == "scalar" else queries
            context.progress(f"levels: {name}, {n_bits} bits")
            with held_level(name):
                result = measure(database, few, K, name, context.limits, faiss, context.repeats)
            share = result.share_of_limit
            rows.append(
                (
                    name,
                    str(n_bits),
                    rate_cell(result.distances_per_second),
                    "–" if result.limit_per_second is None else rate_cell(result.limit_per_second),
                    ratio_cell(share, "%"),
                    context.target(share and share.median, SHARES.get(name), unit="%"),
                    ratio_cell(result.over_faiss),
                )
            )
    yield Table(
        HEADER,
        sorted(rows, key=lambda row: others.index(row[0]), reverse=True),
        f"Batched top-k as above: n = {n:,} uniform codes, k = {K}, 256 queries (64 for the "
        "portable level). The limit of the portable level uses the processor's popcount "
        "instruction, which a portable build may not. faiss keeps the level it chose itself.",
    )
