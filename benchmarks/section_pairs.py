"""All pairs within a radius: against radius searches of all codes, ours and faiss's, and memory.

python benchmarks/section_pairs.py KIND N N_BITS RADIUS     what one such process prints: seconds,
                                                            bytes beyond codes and answer, pairs
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

import fasthash as fh
from fasthash.experiments._random_codes import make_codes
from fasthash.experiments._timing import interleave
from memory import reset_peak, status
from peers import MissingPeerError, import_peer
from report import Context, Table, ratio_cell, time_cell

TITLE = "All pairs within a radius"

N_BITS = 64
# Codes that the peers search for; all codes would take them minutes. faiss flat takes one after the
# other, the others look at a part of the codes.
N_FLAT, N_TABLES = 64, 10_000
# The smallest ratio of the time of `MultiIndexHash.within`, of faiss flat and of its multi-hash.
TARGETS = {4: (1 / 0.47, 200, 10), 6: (1 / 0.35, 200, 10), 8: (1 / 0.36, 200, 10)}
# (kind, n, bits, radius, most seconds, most MiB beyond codes and answer)
LARGE = (
    ("uniform", 10_000_000, 64, 3, 60, 1500),
    ("clustered", 1_000_000, 64, 8, None, None),
    ("clustered", 1_000_000, 256, 16, None, None),
)


def run(context: Context) -> Iterator[Table]:
    n = 50_000 if context.quick else 1_000_000
    rows = []
    for kind in ("uniform", "clustered"):
        codes = planted(kind, n, N_BITS)
        for radius in TARGETS:
            context.progress(f"pairs: {kind}, radius {radius}")
            rows.append(_row(context, kind, codes, radius))
    yield Table(
        (
            *("codes", "radius", "pairs", "time", "`MultiIndexHash.within` ÷ `pairs_within`"),
            *("target", "faiss flat ÷", "target", "faiss multi-hash ÷", "target"),
        ),
        rows,
        f"n = {n:,} codes of {N_BITS} bits, one thread; a tenth of the codes are copies of others "
        f"with two bits flipped on average. The peers search for {N_TABLES:,} of the codes, faiss "
        f"flat (`range_search`) for {N_FLAT}, and their times are those for all codes in "
        "proportion. faiss's `IndexBinaryMultiHash` has 3 tables of 21 bits, and flips as many "
        "bits as an exact search needs. The peers find each pair twice, and each code itself.",
    )
    large = []
    for kind, n_large, n_bits, radius, most_seconds, most_mebibytes in LARGE:
        n = n_large // 20 if context.quick else n_large
        context.progress(f"pairs: {kind}, {n:,} codes of {n_bits} bits, radius {radius}")
        command = [sys.executable, __file__, kind, *map(str, (n, n_bits, radius))]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds, scratch, n_pairs = output.split()
        mebibytes = None if scratch == "unknown" else int(scratch) / 2**20
        large.append(
            (
                *(kind, f"{n:,}", str(n_bits), str(radius), f"{int(n_pairs):,}"),
                time_cell(float(seconds)),
                context.target(float(seconds), at_most=most_seconds, unit=" s"),
                "–" if mebibytes is None else f"{mebibytes:.0f} MiB",
                context.target(mebibytes, at_most=most_mebibytes, unit=" MiB"),
            )
        )
    yield Table(
        (
            *("codes", "n", "bits", "radius", "pairs", "time", "target"),
            *("peak beyond codes and answer", "target"),
        ),
        large,
        "`pairs_within` in a process of its own, on one thread, once.",
    )


def planted(kind: str, n: int, n_bits: int) -> NDArray[np.uint8]:
    """Random codes, a tenth of which are others with two bits flipped on average."""
    codes, _ = make_codes(kind, n, 0, n_bits)
    rng = np.random.default_rng(n)
    rows = rng.permutation(n)[: n // 5]
    copies, originals = np.split(rows, 2)
    flipped = np.packbits(rng.random((len(copies), n_bits), np.float32) < 2 / n_bits, axis=1)
    codes[copies] = codes[originals] ^ flipped
    return codes


def _row(context: Context, kind: str, codes: NDArray[np.uint8], radius: int) -> tuple[str, ...]:
    index = fh.MultiIndexHash(N_BITS)
    index.add(codes)
    calls: dict[str, Callable[[], object]] = {
        "pairs": partial(fh.pairs_within, codes, radius, n_threads=1),
        "index": partial(index.within, codes[:N_TABLES], radius, n_threads=1),
    }
    flat, multi_hash = _faiss(codes, radius)
    found = fh.pairs_within(codes, radius, n_threads=1)
    if flat is not None and multi_hash is not None:
        calls |= {"flat": partial(flat, N_FLAT), "multi-hash": partial(multi_hash, N_TABLES)}
        for search in (flat, multi_hash):
            _check(found, search(N_FLAT))
    rounds = interleave(calls, min(context.repeats, 3))
    ratios = [
        rounds.ratio(name, "pairs").times(len(codes) / n) if name in calls else None
        for name, n in (("index", N_TABLES), ("flat", N_FLAT), ("multi-hash", N_TABLES))
    ]
    cells = []
    for ratio, target in zip(ratios, TARGETS[radius], strict=True):
        cells += [
            ratio_cell(ratio),
            context.target(
                ratio and ratio.median,
                at_least=round(target, 1),
                unit="×",
                why="most of the time goes into pairs, not into comparisons" * (radius == 8),
            ),
        ]
    n_pairs, seconds = f"{len(found.first):,}", time_cell(rounds.median("pairs"))
    return kind, str(radius), n_pairs, seconds, *cells


def _faiss(codes, radius):
    """Radius searches for the first codes by faiss; (None, None) without it."""
    try:
        faiss = import_peer("faiss")
    except MissingPeerError:
        return None, None
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexBinaryFlat(N_BITS)
    multi_hash = faiss.IndexBinaryMultiHash(N_BITS, 3, 21)
    multi_hash.nflip = radius // 3
    for index in (flat, multi_hash):
        index.add(codes)

    # faiss's radius is exclusive.
    return tuple(
        lambda n, index=index: index.range_search(codes[:n], radius + 1)
        for index in (flat, multi_hash)
    )


def _check(found, answer) -> None:
    """Check the pairs of the first codes against those that faiss finds."""
    limits, _, rows = answer
    for row, (start, end) in enumerate(pairwise(limits)):
        ours = found.second[slice(*np.searchsorted(found.first, [row, row + 1]))]
        theirs = np.sort(rows[start:end])
        np.testing.assert_array_equal(ours, theirs[theirs > row])


def measured(kind: str, n: int, n_bits: int, radius: int) -> tuple[float, int | None, int]:
    """Seconds, peak memory beyond codes and answer (None: unknown), and the number of pairs."""
    codes = planted(kind, n, n_bits)
    # Whatever is loaded or set up once is not counted.
    fh.pairs_within(codes[:100], radius, n_threads=1)
    before = reset_peak()
    start = time.perf_counter()
    pairs = fh.pairs_within(codes, radius, n_threads=1)
    seconds = time.perf_counter() - start
    answer = sum(array.nbytes for array in pairs)
    scratch = None if before is None else max(0, status("VmHWM") - before - answer)
    return seconds, scratch, len(pairs.first)


if __name__ == "__main__":
    kind, *numbers = sys.argv[1:]
    seconds, scratch, n_pairs = measured(kind, *map(int, numbers))
    print(seconds, "unknown" if scratch is None else scratch, n_pairs)
