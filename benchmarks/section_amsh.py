"""Fitting and encoding with AMSH at web scale, against the published algorithm in numpy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
from threadpoolctl import threadpool_limits

import fasthash as fh
import web_scale
from fasthash.rows import cut
from report import Context, Table, ratio_cell, time_cell
from timing import interleave

TITLE = "AMSH at web scale"

N_THREADS = 2
# NUS-WIDE's number of samples with one of its 24 most frequent labels or so.
N_SAMPLES = 186_577
N_LITERAL = 20_000
ROUNDS = 3
MOST_SECONDS, MOST_GIGABYTES = 30, 1.2


def run(context: Context) -> Iterator[Table]:
    n, n_literal, n_million = N_SAMPLES, N_LITERAL, 1_000_000
    if context.quick:
        n, n_literal, n_million = 4000, 2000, 6000
    rounds = []
    for i in range(1 if context.quick else ROUNDS):
        context.progress(f"amsh: fit of {n:,} samples and the literal one, round {i + 1}")
        rounds.append((fit("ours", n), fit("literal", n_literal), fit("ours", n_literal)))
    yield _speed(context, n, n_literal, rounds)
    context.progress("amsh: all published sweeps, a million samples, four lengths")
    yield _variants(context, n, n_literal, n_million, rounds)
    context.progress("amsh: encode")
    yield _encode(context, n_literal)


def fit(what: str, n: int, *options: str) -> dict:
    """In a process of its own, so that its peak memory is its own."""
    script = Path(__file__).with_name("web_scale.py")
    command = [sys.executable, str(script), what, str(n), "--threads", str(N_THREADS), *options]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def total(result: dict, stage: str = "") -> float:
    return sum(s for name, s in result["seconds"].items() if name.startswith(stage))


def _speed(context: Context, n: int, n_literal: int, rounds: list) -> Table:
    seconds = median(total(ours) for ours, _, _ in rounds)
    rows = [
        (
            f"whole fit, n = {n:,}",
            time_cell(seconds),
            context.target(seconds, at_most=MOST_SECONDS, unit=" s"),
        )
    ]
    for name, stage, at_least in (("whole fit", "", 15), ("codes alone", "codes", 6)):
        ratio = median(
            total(literal, stage) * n / n_literal / total(ours, stage)
            for ours, literal, _ in rounds
        )
        same_n = median(total(literal, stage) / total(small, stage) for _, literal, small in rounds)
        rows.append(
            (
                f"{name}: literal at n = {n_literal:,}, scaled to {n:,}, over ours",
                f"{ratio:.1f}× (both at n = {n_literal:,}: {same_n:.1f}×)",
                context.target(ratio, at_least=at_least, unit="×"),
            )
        )
    peaks = [ours["peak_bytes"] for ours, _, _ in rounds]
    if None in peaks:
        rows.append(("peak memory beyond inputs", "skipped: needs /proc/self/clear_refs", ""))
    else:
        peak = max(peaks) / 1e9
        target = context.target(peak, at_most=MOST_GIGABYTES, unit=" GB")
        rows.append(("peak memory beyond inputs", f"{peak:.2f} GB", target))
    literal = rounds[0][1]
    stages = ", ".join(f"{name} {time_cell(s)}" for name, s in literal["seconds"].items())
    return Table(
        ("", "", "target"),
        rows,
        "Synthetic, of NUS-WIDE's shape: 500 and 1,000 float32 features, 24 labels at about 2.5 a "
        f"sample, 1,500 anchors, 64 bits, at most 15 sweeps, {N_THREADS} threads. The literal "
        "algorithm is `amsh_literal.py`, in float64 with the same threads, 15 sweeps "
        f"({stages}); it is measured at n = {n_literal:,} and scaled, since at {n:,} it would hold "
        f"several gigabytes. Median of {len(rounds)} rounds, in turn, a process each.",
    )


def _variants(context: Context, n: int, n_literal: int, n_million: int, rounds: list) -> Table:
    whole, literal, small = rounds[-1]
    published = fit("ours", n, "--tol", "0")
    million = fit("ours", n_million)
    longest = fit("ours", n, "--bits", "128")
    lengths = fit("ours", n, "--bits", "16", "32", "64", "128")

    def row(name: str, result: dict, n: int, target: str = "") -> tuple[str, ...]:
        scores = " / ".join(f"{score:.3f}" for score in result["scores"])
        sweeps = result.get("n_iter", {"": web_scale.N_SWEEPS})
        each = 1e6 * total(result) / n
        cells = (f"{each:.0f} µs", ", ".join(map(str, sweeps.values())), scores, target)
        return (name, time_cell(total(result)), *cells)

    each = [total(r) / size for r, size in ((small, n_literal), (whole, n), (million, n_million))]
    spread = max(each) / min(each)
    ratio = total(lengths) / total(longest)
    return Table(
        ("", "time", "per sample", "sweeps: codes, image, text", "mAP", "target"),
        [
            row(f"n = {n_literal:,}, literal", literal, n_literal),
            row(f"n = {n_literal:,}", small, n_literal),
            row(f"n = {n:,}", whole, n),
            row(
                f"n = {n_million:,}",
                million,
                n_million,
                f"slowest over fastest n: {spread:.2f}; {context.target(spread, at_most=1.2)}",
            ),
            row(f"n = {n:,}, tol=0: all sweeps, as published", published, n),
            row(f"n = {n:,}, 128 bits", longest, n),
            row(
                f"n = {n:,}, 16, 32, 64 and 128 bits",
                lengths,
                n,
                f"over 128 bits alone: {ratio:.2f}; {context.target(ratio, at_most=2)}",
            ),
        ],
        "mAP: 1,000 held-out queries over 20,000 training samples, image→text / text→image, of the "
        "longest codes. Single runs.",
    )


def _encode(context: Context, n: int) -> Table:
    features, labels = web_scale.make(n)
    part = {name: x[:2000] for name, x in features.items()}
    model = fh.AMSH(random_state=0).fit(part, {name: labels[:2000] for name in part})
    rows = []
    for name, x in features.items():
        feature_map = model.feature_maps_[name]
        anchors = np.ascontiguousarray(feature_map.anchors.T)
        projection = model.projections_[name].astype(np.float32)
        blocks = cut(len(x), anchors.shape[1])
        mapped = np.empty((blocks[0].stop, anchors.shape[1]), np.float32)

        def products(x=x, anchors=anchors, projection=projection, blocks=blocks, mapped=mapped):
            with threadpool_limits(N_THREADS, "blas"):
                for rows in blocks:
                    block = mapped[: rows.stop - rows.start]
                    np.matmul(x[rows], anchors, out=block)
                    block @ projection

        calls = {
            "encode": lambda x=x, name=name: model.encode(x, name, N_THREADS),
            "products": products,
        }
        ratio = interleave(calls, context.repeats).ratio("products", "encode")
        target = context.target(ratio.median, at_least=0.8, unit="%")
        rows.append((name, str(x.shape[1]), ratio_cell(ratio, "%"), target))
    return Table(
        ("modality", "features", "speed of the products", "target"),
        rows,
        f"`encode` of {n:,} samples to packed 64-bit codes, as a share of the speed of the two "
        f"matrix products it contains, by numpy on {N_THREADS} threads, block by block.",
    )
