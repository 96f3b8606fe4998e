"""Batched top-k on one thread: the ratio to faiss-cpu and the share of the machine's limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import fasthash as fh
from batched import N_FAISS_QUERIES, Batched, measure
from fasthash.experiments._random_codes import KINDS, make_codes
from peers import faiss_or_none
from report import Context, Table, rate_cell, ratio_cell

TITLE = "Batched top-k, one thread"

KS = (10, 100, 1000)
WIDTHS = (64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Targets:
    """
    What a level should reach, and what keeps it from there, from profiles.

    Attributes
    ----------
    ratios : dict of int to tuple of float
        Least ratio to faiss by number of bits, for each of `KS`.
    shares : dict of int to float
        Least share of the limit at the first of `KS`.
    why, why_small : tuple of str
        Why a ratio is not met, for each of `KS`, in the large and in the small database.
    """

    ratios: dict[int, tuple[float, ...]]
    shares: dict[int, float]
    why: tuple[str, ...]
    why_small: tuple[str, ...]


_NOT_PROFILED = "not profiled at this size and k"
_HITS = "finding and keeping some two thousand hits per query is up to half of the time"
_LAYOUT = "laying out bit planes for 250 queries is a sixth of the time"
AVX512 = Targets(
    {
        64: (20.0, 12.0, 10.0),
        128: (12.0, 10.0, 8.0),
        256: (7.5, 7.0, 6.0),
        512: (5.5, 5.0, 4.5),
        1024: (6.3, 6.0, 5.5),
    },
    {64: 0.70, 256: 0.70, 1024: 0.70},
    (_LAYOUT, _LAYOUT, _HITS),
    (
        # Profiles of uniform codes of 64 and 128 bits.
        "comparing takes half of the time, finding and keeping hits 14 to 22 %, laying out bit "
        "planes 9 to 10 %",
        "comparing takes half of the time, finding and keeping hits 20 to 35 %, laying out bit "
        "planes 5 to 6 %",
        _NOT_PROFILED,
    ),
)
AVX2 = Targets(
    {
        64: (14.0, 12.0, 10.0),
        128: (5.5, 5.0, 5.0),
        256: (5.0, 4.5, 4.5),
        512: (4.0, 3.7, 3.7),
        1024: (8.0, 7.5, 7.0),
    },
    {64: 0.70, 256: 0.70, 1024: 0.70},
    (
        "comparing bit planes takes 87 to 89 % of the time, laying them out 7 to 9 %",
        "comparing bit planes and listing hits takes 82 to 87 % of the time",
        "listing and keeping hits takes a third of the time",
    ),
    (
        "comparing takes 71 % of the time, finding and keeping hits 14 %, laying out bit planes "
        "6 %, at this level of an Intel processor",
        _NOT_PROFILED,
        _NOT_PROFILED,
    ),
)
# Database sizes, and the part of the targets that holds for them.
SIZES = ((1_000_000, 1.0), (100_000, 0.75))

HEADER = (
    "bits", "codes", "k", "1e9 distances/s", "limit", "share of limit", "target",
    "faiss ÷ fasthash", "target",
)  # fmt: skip


def run(context: Context) -> Iterator[Table]:
    sizes = ((20_000, 1.0),) if context.quick else SIZES
    n_queries = 200 if context.quick else 1000
    for n, part in sizes:
        rows = [row for n_bits in WIDTHS for row in _rows(context, n, n_queries, n_bits, part)]
        text = (
            f"n = {n:,}, {n_queries:,} queries; faiss-cpu `IndexBinaryFlat` on the first "
            f"{N_FAISS_QUERIES} of them, time per query. The limit is popcount and compare without "
            "selection, from the first-level cache, in the same rounds. "
        )
        if part != 1:
            text += f"Targets are {part:.0%} of those for the large database."
        yield Table(HEADER, rows, text.strip())


def _rows(
    context: Context, n: int, n_queries: int, n_bits: int, part: float
) -> Iterator[tuple[str, ...]]:
    level = fh.simd_level()
    targets = AVX512 if level.startswith("avx512") else AVX2
    for kind in KINDS:
        database, queries = make_codes(kind, n, n_queries, n_bits)
        faiss = faiss_or_none(database)
        reasons = targets.why if part == 1 else targets.why_small
        for k, ratio_target, why in zip(KS, targets.ratios[n_bits], reasons, strict=True):
            context.progress(f"batched: {n_bits} bits, {kind}, n = {n:,}, k = {k}")
            result = measure(database, queries, k, level, context.limits, faiss, context.repeats)
            share, ratio = result.share_of_limit, result.over_faiss
            share_target = targets.shares.get(n_bits) if k == KS[0] else None
            yield (
                str(n_bits),
                kind,
                str(k),
                rate_cell(result.distances_per_second),
                "–" if result.limit_per_second is None else rate_cell(result.limit_per_second),
                ratio_cell(share, "%"),
                context.target(
                    share and share.median,
                    share_target and part * share_target,
                    unit="%",
                    why=why,
                ),
                ratio_cell(ratio),
                context.target(
                    ratio and ratio.median,
                    part * ratio_target,
                    unit="×",
                    why=_why_ratio(result, part * ratio_target, why),
                ),
            )


def _why_ratio(result: Batched, target: float, otherwise: str) -> str:
    """What stands between this ratio to faiss and its target: often the limit of the machine."""
    ratio, share = result.over_faiss, result.share_of_limit
    if ratio is None or share is None:
        return otherwise
    limit = ratio.median / share.median
    of_limit = f"the limit itself is {limit:.1f}×"
    if limit < target:
        return of_limit
    return f"{of_limit}, and {otherwise}" if limit < 1.25 * target else otherwise
