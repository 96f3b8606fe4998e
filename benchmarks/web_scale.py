"""One fit of AMSH on a synthetic problem of NUS-WIDE's shape, in a process of its own.

    python benchmarks/web_scale.py ours N [--bits 64 ...] [--tol 0.01] [--threads 2]
    python benchmarks/web_scale.py literal N            the published algorithm in numpy
    python benchmarks/web_scale.py literal-codes N      its first step alone, which fits any memory

500 and 1,000 features, 24 labels of uneven frequency, 2.5 per sample. Prints JSON: seconds per
stage, peak memory beyond the inputs, sweeps, and mean average precision of held-out queries.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

import fasthash as fh
from amsh_literal import learn_codes, literal_fit
from memory import reset_peak, status

N_CLASSES, N_ANCHORS, N_SWEEPS, N_QUERIES = 24, 1500, 15, 1000
WIDTHS = {"image": 500, "text": 1000}
WEIGHTS = (1e-2, 1e-2, 1.0)


def make(
    n: int, seed: int = 0, widths: dict[str, int] = WIDTHS
) -> tuple[dict[str, NDArray], NDArray]:
    """Features in float32, paired only in that both modalities have the same labels."""
    rng = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, N_CLASSES + 1) ** 0.7
    labels = rng.random((n, N_CLASSES)) < 2.5 * frequency / frequency.sum()
    without = ~labels.any(axis=1)
    labels[without, rng.integers(0, N_CLASSES, without.sum())] = True
    features = {}
    for name, d in widths.items():
        prototypes = rng.standard_normal((N_CLASSES, d), dtype=np.float32)
        # Noise of which a part lies in 64 directions, as real features have it.
        mixing = rng.standard_normal((64, d), dtype=np.float32)
        x = features[name] = np.empty((n, d), np.float32)
        for first in range(0, n, 10_000):
            block = x[first : first + 10_000]
            shared = rng.standard_normal((len(block), 64), dtype=np.float32) @ mixing
            own = rng.standard_normal(block.shape, dtype=np.float32)
            block[:] = labels[first : first + 10_000].astype(np.float32) @ prototypes
            block += shared + 2 * own
    return features, labels


class Clock:
    """Seconds by stage; stages that come back are added up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, stage: str, *progress: int) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def ours(n: int, bits: list[int], tol: float, n_threads: int) -> dict[str, object]:
    features, labels = make(n + N_QUERIES)
    train = {name: x[:n] for name, x in features.items()}
    rows = sparse.csr_array(labels[:n])
    y = {name: rows for name in train}
    hasher = fh.AMSH(n_sweeps=N_SWEEPS, tol=tol, random_state=0)
    # What is loaded and set up once is not the fit's.
    small = {name: x[:300] for name, x in train.items()}
    hasher.fit_lengths(small, {name: labels[:300] for name in small}, [8])
    before, clock = reset_peak(), Clock()
    models = hasher.fit_lengths(train, y, bits, callback=clock, n_threads=n_threads)
    peak = None if before is None else status("VmHWM") - before
    model = models[bits[-1]]
    encoders = {m: lambda x, m=m: model.encode(x, m) for m in train}
    return {
        "seconds": clock.seconds,
        "peak_bytes": peak,
        "n_iter": model.n_iter_,
        "scores": scores(encoders, model.codes_, features, labels, n),
    }


def literal(n: int, n_threads: int) -> dict[str, object]:
    features, labels = make(n + N_QUERIES)
    clock = Clock()
    with threadpool_limits(n_threads, "blas"):
        b, encoders = literal_fit(
            [x[:n] for x in features.values()],
            [labels[:n]] * 2,
            64,
            N_ANCHORS,
            N_SWEEPS,
            WEIGHTS,
            0,
            clock,
        )
    codes = {m: fh.pack(bits) for m, bits in zip(features, b, strict=True)}
    packing = {
        m: lambda x, e=encoder: fh.pack(e(x)) for m, encoder in zip(features, encoders, strict=True)
    }
    return {"seconds": clock.seconds, "scores": scores(packing, codes, features, labels, n)}


def literal_codes(n: int, n_threads: int) -> dict[str, object]:
    _, labels = make(n, widths={})
    clock = Clock()
    with threadpool_limits(n_threads, "blas"):
        learn_codes([labels.astype(float)] * 2, 64, N_SWEEPS, WEIGHTS, np.random.default_rng(0))
    clock("codes")
    return {"seconds": clock.seconds}


def scores(encoders, codes, features, labels, n: int) -> list[float]:
    """Mean average precision of both directions over at most 20,000 training samples."""
    a, b = features
    part = slice(0, min(n, 20_000))
    return [
        fh.mean_average_precision(
            encoders[query](features[query][n:]),
            codes[target][part],
            labels[n:],
            labels[part],
            ties="expected",
        )
        for query, target in ((a, b), (b, a))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["ours", "literal", "literal-codes"])
    parser.add_argument("n", type=int)
    parser.add_argument("--bits", type=int, nargs="+", default=[64])
    parser.add_argument("--tol", type=float, default=1e-2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.what == "ours":
        print(json.dumps(ours(options.n, options.bits, options.tol, options.threads)))
    elif options.what == "literal":
        print(json.dumps(literal(options.n, options.threads)))
    else:
        print(json.dumps(literal_codes(options.n, options.threads)))


if __name__ == "__main__":
    main()
