"""Multi-index hashing over ten million codes: against faiss flat and against our own scan."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import numpy as np

import fasthash as fh
from fasthash.experiments._random_codes import make_codes
from fasthash.experiments._timing import interleave
from peers import check_same, faiss_or_none
from report import Context, Table, ratio_cell, time_cell

TITLE = "Multi-index hashing"

N_BITS = 64
# Few for faiss, which takes them one after the other; many for what shares work among them, or does
# not look at every code.
N_FAISS, N_SCANNED, N_PROBED = 16, 256, 1000
# (kind of codes, radius or None, k, target against faiss flat)
CASES = (
    ("uniform", 7, None, 200),
    ("uniform", None, 10, None),
    ("clustered", 7, None, 200),
    ("clustered", None, 10, 150),
)
BYTES_PER_CODE = 48
# The time of faiss for a code where the targets were met, on the AMD EPYC of RESULTS.md.
FAISS_NS = "1.2 to 1.8"


def run(context: Context) -> Iterator[Table]:
    n = 200_000 if context.quick else 10_000_000
    rows, sizes = [], []
    for kind in ("uniform", "clustered"):
        context.progress(f"multi-index: {kind}, n = {n:,}")
        database, queries = make_codes(kind, n, N_PROBED, N_BITS)
        index = fh.MultiIndexHash(N_BITS)
        index.add(database)
        start = time.perf_counter()
        index.search(queries[:1], 1, n_threads=1)
        built = time.perf_counter() - start
        per_code = (index.nbytes - index.ids.nbytes) / n
        target = context.target(per_code, at_most=BYTES_PER_CODE)
        sizes.append((kind, time_cell(built), f"{per_code:.1f}", target))
        for case_kind, radius, k, faiss_target in CASES:
            if case_kind == kind:
                rows.append(_row(context, index, database, queries, kind, radius, k, faiss_target))
    yield Table(
        ("codes", "search", "time per query", "faiss ÷ fasthash", "target", "scan ÷ tables"),
        rows,
        f"n = {n:,} codes of {N_BITS} bits, one thread. The tables answer {N_PROBED:,} queries, "
        f"our scan {N_SCANNED} of them, faiss flat `search` (k = 10, which costs it the same as a "
        f"radius) {N_FAISS}.",
    )
    yield Table(
        ("codes", "time to build", "bytes per code", "target"),
        sizes,
        "Tables and codes, without the caller's ids (8 more); built at the first search, on one "
        "thread.",
    )


def _row(context, index, database, queries, kind, radius, k, faiss_target) -> tuple[str, ...]:
    few, some = queries[:N_FAISS], queries[:N_SCANNED]
    if radius is None:
        probe, scan = partial(index.search, k=k), partial(fh.topk, database=database, k=k)
    else:
        probe = partial(index.within, radius=radius)
        scan = partial(fh.within, database=database, radius=radius)
    for ours, theirs in zip(probe(few, n_threads=1), scan(few, n_threads=1), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    calls = {
        "probe": partial(probe, queries, n_threads=1),
        "scan": partial(scan, some, n_threads=1),
    }
    faiss = faiss_or_none(database)
    if faiss is not None:
        if radius is None:
            check_same(probe(few, n_threads=1), faiss(few, k), "multi-index")
        calls["faiss"] = partial(faiss, few, 10)
    rounds = interleave(calls, context.repeats)
    against_faiss, why = None, ""
    if faiss is not None:
        of_faiss = rounds.median("faiss") / N_FAISS / len(database)
        why = f"faiss compares a code in {1e9 * of_faiss:.2f} ns; where this was met, {FAISS_NS} ns"
        against_faiss = rounds.ratio("faiss", "probe").times(N_PROBED / N_FAISS)
    return (
        kind,
        f"k = {k}" if radius is None else f"radius {radius}",
        time_cell(rounds.median("probe") / N_PROBED),
        ratio_cell(against_faiss),
        context.target(against_faiss and against_faiss.median, faiss_target, unit="×", why=why),
        ratio_cell(rounds.ratio("scan", "probe").times(N_PROBED / N_SCANNED)),
    )
