"""One query over a large database: the share of the memory's read bandwidth, and two threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

import fasthash as fh
from fasthash._core.runtime import n_cores
from fasthash.experiments._random_codes import make_codes
from fasthash.experiments._timing import Ratio, interleave
from limits import large_buffer
from peers import check_same, faiss_or_none
from report import Context, Table, rate_cell, ratio_cell, time_cell

TITLE = "One query over ten million codes"

WIDTHS = (64, 256)
K = 10
SHARE = 0.90
TWO_THREADS = 1.7
WHY_SHARE = "the cause is not known; rows are prefetched on processors of Intel and on Zen 5 only"

HEADER = (
    "bits", "time", "1e9 bytes/s", "read", "share of read", "target", "two threads over one",
    "target", "two threads reading", "faiss ÷ fasthash",
)  # fmt: skip


def run(context: Context) -> Iterator[Table]:
    n = 200_000 if context.quick else 10_000_000
    yield Table(
        HEADER,
        [_row(context, n, n_bits) for n_bits in WIDTHS],
        f"n = {n:,}, k = {K}. Read: the same codes from end to end with the widest loads, in the "
        "same rounds; the ratios of two threads to one are of speed. Where the cores share a "
        "memory bus that one of them fills, two threads cannot gain what the target asks; the "
        "column on reading shows that; a run with a single core has none. "
        f"{_large_buffer_text(context)}".strip(),
    )


def _row(context: Context, n: int, n_bits: int) -> tuple[str, ...]:
    context.progress(f"one query: {n_bits} bits, n = {n:,}")
    database, queries = make_codes("uniform", n, 1, n_bits)
    faiss = faiss_or_none(database)
    has_two = n_cores() >= 2
    threads = (1, 2) if has_two else (1,)
    # OpenMP's threads keep a core busy for a while after their work is done, so what needs both
    # cores does not follow it.
    calls: dict[str, Callable[[], object]] = {
        f"topk {t}": partial(fh.topk, queries, database, K, n_threads=t) for t in reversed(threads)
    }
    if faiss is not None:
        calls["faiss"] = partial(faiss, queries, K)
        for t in threads:
            check_same(calls[f"topk {t}"](), calls["faiss"](), f"one query, {t} threads")
    if context.limits is not None:
        calls |= {f"read {t}": partial(context.limits.read, database, t) for t in threads}
    # Tens of milliseconds a call: more rounds cost little and steady the ratios.
    rounds = interleave(calls, 3 * context.repeats)
    seconds = rounds.median("topk 1")
    share = two_reading = read = None
    if context.limits is not None:
        read = rate_cell(database.nbytes / rounds.median("read 1"))
        share = rounds.ratio("read 1", "topk 1")
        two_reading = rounds.ratio("read 1", "read 2") if has_two else None
    two = rounds.ratio("topk 1", "topk 2") if has_two else None
    return (
        str(n_bits),
        time_cell(seconds),
        rate_cell(database.nbytes / seconds),
        read or "–",
        ratio_cell(share, "%"),
        context.target(share and share.median, SHARE, unit="%", why=WHY_SHARE),
        ratio_cell(two),
        context.target(two and two.median, TWO_THREADS, unit="×", why=_why_two(two_reading)),
        ratio_cell(two_reading),
        ratio_cell(rounds.ratio("faiss", "topk 1") if faiss else None),
    )


def _why_two(two_reading: Ratio | None) -> str:
    if two_reading is not None and two_reading.median < TWO_THREADS:
        return f"two threads read {two_reading.median:.2f}× as fast as one"
    return "the cause is not known"


def _large_buffer_text(context: Context) -> str:
    """How fast memory is far beyond the last-level cache, which the codes may fit."""
    if context.limits is None or context.quick:
        return ""
    context.progress("one query: reading a large buffer")
    buffer: NDArray[np.uint64] = large_buffer()
    threads = range(1, n_cores() + 1)
    calls = {str(t): partial(context.limits.read, buffer, t) for t in threads}
    rounds = interleave(calls, context.repeats)
    rates = ", ".join(
        f"{rate_cell(buffer.nbytes / rounds.median(str(t)))} with {t}" for t in threads
    )
    return (
        f"Reading {buffer.nbytes / 2**30:.2g} GiB, beyond every cache: {rates} "
        "thread(s), in 1e9 bytes/s."
    )
