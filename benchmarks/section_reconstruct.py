"""Samples reconstructed from their nearest anchors, against the same in vectorised numpy.

python benchmarks/section_reconstruct.py N N_THREADS      peak memory of one run, bytes
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fasthash._core.workers import Workers
from fasthash.experiments._model_peers import of_differences, reconstruct_in_numpy
from fasthash.experiments._timing import interleave
from fasthash.models.rreh._anchor_reconstruction import reconstruct
from memory import reset_peak, status
from report import Context, Table, ratio_cell, time_cell

TITLE = "Reconstruction from anchors"

N_FEATURES, N_ANCHORS, K, REGULARISATION = 128, 300, 10, 0.1
N_CLUSTERS = 50
THREADS = (1, 2)
N_CHECKED = 2000
MOST_MIB = 8

in_numpy = partial(reconstruct_in_numpy, k=K, regularisation=REGULARISATION)


def run(context: Context) -> Iterator[Table]:
    n = 8000 if context.quick else 200_000
    yield _speed(context, n)
    yield _growth(context, n)
    yield _memory(context, n)


def make(n: int, dtype: type, offset: float = 0) -> tuple[NDArray, NDArray]:
    """Samples around centres, and anchors drawn from them."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((N_CLUSTERS, N_FEATURES)) + offset
    x = np.empty((n, N_FEATURES), dtype)
    for first in range(0, n, 10_000):
        block = x[first : first + 10_000]
        block[:] = centres[rng.integers(0, N_CLUSTERS, len(block))]
        block += rng.standard_normal(block.shape)
    return x, x[rng.choice(n, N_ANCHORS, replace=False)]


def ours(x: NDArray, anchors: NDArray, n_threads: int) -> tuple[NDArray, NDArray]:
    with Workers(n_threads) as workers:
        s = reconstruct(x, anchors, workers, K, REGULARISATION)
    return s.indices.reshape(-1, K), s.data.reshape(-1, K)


def of_products(
    x: NDArray, anchors: NDArray, gram: NDArray, products: NDArray, nearest: NDArray
) -> NDArray:
    """Compute local Gram matrices from given products: less work, but subject to cancellation."""
    own = np.take_along_axis(products, nearest, axis=1) - np.sum(x**2, axis=1)[:, None] / 2
    return gram[nearest[:, :, None], nearest[:, None]] - own[:, :, None] - own[:, None]


def _speed(context: Context, n: int) -> Table:
    rows = []
    for dtype in (np.float32, np.float64):
        x, anchors = make(n, dtype)
        _check(x[:N_CHECKED], anchors)
        for n_threads in THREADS:
            context.progress(f"reconstruct: {np.dtype(dtype)}, {n_threads} threads")
            calls = {
                "ours": partial(ours, x, anchors, n_threads),
                "differences": partial(in_numpy, of_differences, x, anchors, n_threads),
                "products": partial(in_numpy, of_products, x, anchors, n_threads),
            }
            rounds = interleave(calls, min(context.repeats, 5))
            ratio = rounds.ratio("differences", "ours")
            rows.append(
                (
                    str(np.dtype(dtype)),
                    str(n_threads),
                    time_cell(rounds.median("ours")),
                    ratio_cell(ratio),
                    ratio_cell(rounds.ratio("products", "ours")),
                    context.target(ratio.median, at_least=10, unit="×"),
                )
            )
    return Table(
        ("type", "threads", "time", "numpy by differences", "numpy by products", "target"),
        rows,
        f"n = {n:,} samples of {N_FEATURES} features around {N_CLUSTERS} centres, {N_ANCHORS} "
        f"anchors, k = {K}. numpy: a product, `argpartition`, a batched `solve`, with as many "
        "threads; local Gram matrices once from gathered differences, as ours where products would "
        "cancel, once from gathered products, which then are not exact. The target is for the "
        "first.",
    )


def _growth(context: Context, n: int) -> Table:
    context.progress("reconstruct: growth, and features far from the origin")
    x, anchors = make(2 * n, np.float32)
    tight = anchors[0] + 0.01 * x[:n]
    sizes = (n // 4, n, 2 * n)
    calls = {str(size): partial(ours, x[:size], anchors, 1) for size in sizes}
    # Two clusters, each so tight that its products cancel.
    halves = np.concatenate([tight[: n // 2], -tight[: n // 2]])
    far = np.concatenate([halves[:150], halves[-150:]])
    calls["tight"] = partial(ours, halves, far, 1)
    rounds = interleave(calls, min(context.repeats, 5))
    each = {size: rounds.median(str(size)) / size for size in sizes}
    spread = max(each.values()) / min(each.values())
    judged = context.target(spread, at_most=1.2)
    rows = [(f"n = {size:,}", f"{1e6 * each[size]:.2f} µs", "") for size in sizes]
    rows[-1] = (*rows[-1][:2], f"slowest over fastest: {spread:.2f}; {judged}")
    slower = ratio_cell(rounds.ratio("tight", str(n)))
    rows.append(
        (f"n = {n:,}, all by differences", f"{1e6 * rounds.median('tight') / n:.2f} µs", "")
    )
    rows[-1] = (*rows[-1][:2], f"over the same n by products: {slower}")
    return Table(("", "per sample", ""), rows, "float32, one thread; otherwise as above.")


def _memory(context: Context, n: int) -> Table:
    rows = []
    for size in (n, 4 * n):
        for n_threads in THREADS:
            context.progress(f"reconstruct: memory, n = {size:,}, {n_threads} threads")
            command = [sys.executable, __file__, str(size), str(n_threads)]
            # Large arrays that are freed go back to the system, so that none hides in free memory.
            environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 16)}
            output = subprocess.run(
                command, capture_output=True, text=True, check=True, env=environment
            ).stdout
            if output.strip() == "unknown":
                rows.append((f"{size:,}", str(n_threads), "–", "needs /proc/self/clear_refs"))
                continue
            mebibytes = int(output) / 2**20 / n_threads
            target = context.target(mebibytes, at_most=MOST_MIB, unit=" MiB")
            rows.append((f"{size:,}", str(n_threads), f"{mebibytes:.1f} MiB", target))
    return Table(
        ("n", "threads", "peak beyond arguments and answer, per thread", "target"),
        rows,
        "float32, in a process of its own. The peak resident size is reset right before.",
    )


def _check(x: NDArray, anchors: NDArray) -> None:
    """The same anchors as numpy in float64, and nearly the same weights."""
    precise = x.astype(np.float64), anchors.astype(np.float64)
    expected = in_numpy(of_differences, *precise, 1)
    found = ours(x, anchors, 1)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], atol=1e-5)


def scratch_bytes(n: int, n_threads: int) -> int | None:
    """None where the operating system cannot say."""
    x, anchors = make(n, np.float32)
    # What is loaded and set up once is not scratch.
    ours(x[:1000], anchors, n_threads)
    before = reset_peak()
    if before is None:
        return None
    with Workers(n_threads) as workers:
        s = reconstruct(x, anchors, workers, K, REGULARISATION)
    answer = s.data.nbytes + s.indices.nbytes + s.indptr.nbytes
    return status("VmHWM") - before - answer


if __name__ == "__main__":
    measured = scratch_bytes(*map(int, sys.argv[1:]))
    print("unknown" if measured is None else measured)
