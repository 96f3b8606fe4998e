"""Fitting and encoding with AMSH at web scale, against the published algorithm in numpy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from threadpoolctl import threadpool_limits

import fasthash as fh
import web_scale
from fasthash.experiments._model_peers import multiply_like_encode
from fasthash.experiments._timing import interleave
from report import Context, Table, ratio_cell, time_cell

TITLE = "AMSH at web scale"

N_THREADS = 2
# NUS-WIDE's number of samples with one of its 24 most frequent labels or so.
N_SAMPLES = 186_577
N_LITERAL = 20_000
ROUNDS = 3
MOST_SECONDS, MOST_GIGABYTES = 30, 1.2


@dataclass(frozen=True)
class Round:
    """What ran in turn: results of `web_scale.py`, and seconds of bare matrix products."""

    ours: dict
    literal: dict
    small: dict
    literal_codes: dict
    products: float


def run(context: Context) -> Iterator[Table]:
    n, n_literal, n_million = N_SAMPLES, N_LITERAL, 1_000_000
    if context.quick:
        n, n_literal, n_million = 4000, 2000, 6000
    rounds = []
    for i in range(1 if context.quick else ROUNDS):
        context.progress(f"amsh: fit of {n:,} samples and the literal one, round {i + 1}")
        rounds.append(
            Round(
                fit("ours", n),
                fit("literal", n_literal),
                fit("ours", n_literal),
                fit("literal-codes", n),
                _seconds_of_products(n),
            )
        )
    yield _speed(context, n, n_literal, rounds)
    context.progress("amsh: all published sweeps, a million samples, four lengths")
    yield _variants(context, n, n_literal, n_million, rounds[-1])
    context.progress("amsh: encode")
    yield _encode(context, n_literal)


def fit(what: str, n: int, *options: str) -> dict:
    """In a process of its own, so that its peak memory is its own."""
    script = Path(__file__).with_name("web_scale.py")
    command = [sys.executable, str(script), what, str(n), "--threads", str(N_THREADS), *options]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _seconds_of_products(n: int) -> float:
    """Of mapping all features once, and of their Gram matrices, by numpy in float32."""
    rng, rows, seconds = np.random.default_rng(0), 4096, 0.0
    mapped = rng.random((rows, web_scale.N_ANCHORS), dtype=np.float32)
    for width in web_scale.WIDTHS.values():
        x = rng.random((rows, width), dtype=np.float32)
        anchors = rng.random((width, web_scale.N_ANCHORS), dtype=np.float32)
        calls = {
            "map": partial(np.matmul, x, anchors, out=mapped),
            "gram": partial(np.matmul, mapped.T, mapped),
        }
        with threadpool_limits(N_THREADS, "blas"):
            measured = interleave(calls, 5)
        seconds += (measured.median("map") + measured.median("gram")) * n / rows
    return seconds


def total(result: dict, stage: str = "") -> float:
    return sum(s for name, s in result["seconds"].items() if name.startswith(stage))


def _speed(context: Context, n: int, n_literal: int, rounds: list[Round]) -> Table:
    seconds = median(total(r.ours) for r in rounds)
    products = median(r.products for r in rounds)
    ratio = median(total(r.literal) * n / n_literal / total(r.ours) for r in rounds)
    small = median(total(r.literal) / total(r.small) for r in rounds)
    codes = median(total(r.literal_codes) / total(r.ours, "codes") for r in rounds)
    scaled = median(
        total(r.literal, "codes") * n / n_literal / total(r.ours, "codes") for r in rounds
    )
    rows = [
        (
            "whole fit",
            time_cell(seconds),
            context.target(seconds, at_most=MOST_SECONDS, unit=" s"),
        ),
        (
            f"literal at n = {n_literal:,}, scaled, over ours",
            f"{ratio:.1f}× (both at n = {n_literal:,}: {small:.1f}×)",
            context.target(
                ratio,
                at_least=15,
                unit="×",
                why=f"mapping features once and their Gram matrix alone are {time_cell(products)} "
                "of matrix products, and a sweep maps again what was not kept",
            ),
        ),
        (
            "codes: literal over ours",
            f"{codes:.1f}× (literal at n = {n_literal:,}, scaled: {scaled:.1f}×)",
            context.target(
                codes,
                at_least=6,
                unit="×",
                why="the matrix products of latents with 24 labels or 64 bits are about half of a "
                "sweep, and literal numpy has the same",
            ),
        ),
    ]
    peaks = [r.ours["peak_bytes"] for r in rounds]
    if None in peaks:
        rows.append(("peak memory beyond inputs", "skipped: needs /proc/self/clear_refs", ""))
    else:
        peak = max(peaks) / 1e9
        target = context.target(peak, at_most=MOST_GIGABYTES, unit=" GB")
        rows.append(("peak memory beyond inputs", f"{peak:.2f} GB", target))
    stages = ", ".join(
        f"{stage} {time_cell(median(total(r.ours, stage) for r in rounds))}"
        for stage in ("features", "codes", "hash functions")
    )
    literal_stages = ", ".join(
        f"{stage} {time_cell(median(total(r.literal, stage) for r in rounds))}"
        for stage in ("features", "codes", "hash functions")
    )
    return Table(
        (f"n = {n:,}", "", "target"),
        rows,
        "Synthetic, of NUS-WIDE's shape: 500 and 1,000 float32 features, 24 labels at about 2.5 a "
        f"sample, 1,500 anchors, 64 bits, at most 15 sweeps, {N_THREADS} threads. Ours: {stages}. "
        "The literal algorithm is `amsh_literal.py`, float64, the same threads, always 15 sweeps; "
        f"at n = {n_literal:,} {literal_stages}. The whole of it is scaled, since at {n:,} it "
        "holds several gigabytes; its codes are measured at full size as well. Median of "
        f"{len(rounds)} rounds, in turn, a process each.",
    )


def _variants(context: Context, n: int, n_literal: int, n_million: int, last: Round) -> Table:
    whole, literal, small = last.ours, last.literal, last.small
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
    constant = context.target(
        spread,
        at_most=1.2,
        why=f"at n = {n_literal:,} what does not grow with n, such as factoring and the estimates "
        "from a sample, is shared by few",
    )
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
                f"slowest over fastest n: {spread:.2f}; {constant}",
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
        anchors = np.ascontiguousarray(model.feature_maps_[name].anchors.T)
        projection = model.projections_[name].astype(np.float32)
        calls = {
            "encode": partial(model.encode, x, name, N_THREADS),
            "products": partial(multiply_like_encode, x, anchors, projection, N_THREADS),
        }
        ratio = interleave(calls, context.repeats).ratio("products", "encode")
        target = context.target(ratio.median, at_least=0.8, unit="%")
        rows.append((name, str(x.shape[1]), ratio_cell(ratio, "%"), target))
    return Table(
        ("modality", "features", "speed of the products", "target"),
        rows,
        f"`encode` of {n:,} samples to packed 64-bit codes, as a share of the speed of the two "
        "matrix products it contains, by numpy, block by block. These have the same "
        f"{N_THREADS} threads: those of the linear algebra spin when they are done, which would "
        "fall on `encode`.",
    )
