"""RREH with many samples and few pairs: time, memory, growth.

python benchmarks/section_rreh_scale.py N      one fit of N unpaired and N / 10 paired rows: JSON
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median

import numpy as np
from numpy.typing import NDArray

import fasthash as fh
from memory import reset_peak, status
from report import Context, Table, time_cell

TITLE = "RREH with many samples"

N_THREADS = 2
WIDTHS = {"image": 128, "text": 300}
N_BITS, N_ANCHORS = 64, 500
MOST_SECONDS, MOST_GIGABYTES = 60, 1
# Of the time per sample, where growth counts as linear.
MOST_SPREAD = 1.2


def run(context: Context) -> Iterator[Table]:
    yield _fits(context)


def _fits(context: Context) -> Table:
    n = 4000 if context.quick else 200_000
    sizes = (n // 4, n, 2 * n)
    rounds = {size: [] for size in sizes}
    for i in range(1 if context.quick else 3):
        for size in sizes:
            context.progress(f"rreh: fit of {size:,} unpaired samples, round {i + 1}")
            command = [sys.executable, __file__, str(size)]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            rounds[size].append(json.loads(output))
    seconds = {size: median(r["seconds"] for r in rounds[size]) for size in sizes}
    rows = []
    for size in sizes:
        peaks = [r["peak_bytes"] for r in rounds[size]]
        memory = "needs /proc/self/clear_refs" if None in peaks else f"{max(peaks) / 1e9:.2f} GB"
        target = ""
        if size == n:
            target = context.target(seconds[size], at_most=MOST_SECONDS, unit=" s")
            if None not in peaks:
                target += (
                    f"; {context.target(max(peaks) / 1e9, at_most=MOST_GIGABYTES, unit=' GB')}"
                )
        each = f"{1e6 * seconds[size] / (1.1 * size):.0f} µs"
        rows.append((f"{size:,}", time_cell(seconds[size]), each, memory, target))
    growth = max(seconds[2 * n] / seconds[n] / 2, 2 * seconds[n] / seconds[2 * n])
    judged = context.target(growth, at_most=MOST_SPREAD)
    rows.append((f"{n:,} and {2 * n:,}, per sample", f"{growth:.2f} apart", "", "", judged))
    return Table(
        (
            "unpaired samples of each modality",
            "whole fit",
            "per sample",
            "peak beyond inputs",
            "target",
        ),
        rows,
        f"A tenth as many pairs besides; {WIDTHS['image']} and {WIDTHS['text']} "
        f"features of float32, {N_ANCHORS} anchors, {N_BITS} bits, {N_THREADS} threads, each fit "
        "in a process of its own; per sample is per row of either modality.",
    )


def make(n: int) -> tuple[dict[str, NDArray], NDArray]:
    """Modalities with a common part of 16 dimensions; n rows without a partner, n / 10 with one."""
    rng = np.random.default_rng(0)
    n_pairs = n // 10
    common = rng.standard_normal((n + n_pairs, 16), dtype=np.float32)
    x = {}
    for name, width in WIDTHS.items():
        x[name] = common @ rng.standard_normal((16, width), dtype=np.float32)
        for first in range(0, len(common), 10_000):
            block = x[name][first : first + 10_000]
            block += rng.standard_normal(block.shape, dtype=np.float32)
    pairs = rng.permutation(len(common))[:n_pairs]
    return x, np.stack([pairs, pairs], axis=1)


def main() -> None:
    """Fit once, in this process; print seconds and the peak of memory beyond the inputs."""
    n = int(sys.argv[1])
    warm, warm_pairs = make(1000)
    fh.RREH(N_BITS, random_state=0).fit(warm, warm_pairs, n_threads=N_THREADS)
    x, pairs = make(n)
    before = reset_peak()
    began = time.perf_counter()
    fh.RREH(N_BITS, n_anchors=N_ANCHORS, random_state=0).fit(x, pairs, n_threads=N_THREADS)
    seconds = time.perf_counter() - began
    peak = None if before is None else status("VmHWM") - before
    print(json.dumps({"seconds": seconds, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
