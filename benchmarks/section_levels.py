"""The slower instruction-set levels, held one after the other: their share of their own limit."""

from __future__ import annotations

from collections.abc import Iterator

import fasthash as fh
from batched import measure
from fasthash.experiments._random_codes import KINDS, make_codes
from machine import faiss_level
from machine import level as held_level
from peers import faiss_or_none
from report import Context, Table, rate_cell, ratio_cell
from section_batched import AVX2, KS, WIDTHS

TITLE = "Other instruction-set levels"

# Least share of the level's own limit.
SHARES = {"avx2": 0.7, "avx512bw": 0.7}
K = 10

HEADER = (
    "level", "bits", "1e9 distances/s", "limit", "share of limit", "target", "faiss ÷ fasthash"
)  # fmt: skip


AVX2_HEADER = ("bits", "codes", "k", "1e9 distances/s", "faiss ÷ fasthash", "target")


def run(context: Context) -> Iterator[Table]:
    yield _shares_of_limits(context)
    with faiss_level("avx2") as is_held:
        # Where AVX2 is the level in use, the section on batches has these figures.
        if is_held and "avx2" in fh.simd_levels() and fh.simd_level() != "avx2":
            yield _avx2_over_faiss(context)


def _avx2_over_faiss(context: Context) -> Table:
    n, n_queries = (20_000, 200) if context.quick else (1_000_000, 1000)
    rows = []
    for n_bits, targets in AVX2.ratios.items():
        for kind in KINDS:
            database, queries = make_codes(kind, n, n_queries, n_bits)
            faiss = faiss_or_none(database)
            for k, target in zip(KS, targets, strict=True):
                context.progress(f"avx2 and faiss at AVX2: {n_bits} bits, {kind}, k = {k}")
                with held_level("avx2"):
                    result = measure(database, queries, k, "avx2", None, faiss, context.repeats)
                ratio = result.over_faiss
                rows.append(
                    (
                        str(n_bits),
                        kind,
                        str(k),
                        rate_cell(result.distances_per_second),
                        ratio_cell(ratio),
                        context.target(ratio and ratio.median, target, unit="×"),
                    )
                )
    return Table(
        AVX2_HEADER,
        rows,
        f"Both held at AVX2: n = {n:,}, {n_queries:,} queries, one thread. The targets are those "
        "of RESULTS.md, an AMD EPYC without AVX-512. In the table above, the limit of AVX2 is the "
        "ratio to faiss divided by the share of the limit: a target above it cannot be met.",
    )


def _shares_of_limits(context: Context) -> Table:
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
    return Table(
        HEADER,
        sorted(rows, key=lambda row: others.index(row[0]), reverse=True),
        f"Batched top-k as above: n = {n:,} uniform codes, k = {K}, 256 queries (64 for the "
        "portable level). The limit of the portable level uses the processor's popcount "
        "instruction, which a portable build may not. faiss keeps the level it chose itself.",
    )
