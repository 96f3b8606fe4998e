"""How long a fit of CLSR takes, to trained weights and codes of all samples."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from statistics import median

import numpy as np

import fasthash as fh
from report import Context, Table
from retrieval import NO_PARTS

TITLE = "CLSR: time of a fit"

N_THREADS = 2
N_CLIPS, N_CAPTIONS = 8000, 5
N_FEATURES = {"audio": 1280, "text": 384}
N_HIDDEN = 60
MOST_SECONDS = 60


def run(context: Context) -> Iterator[Table]:
    if importlib.util.find_spec("torch") is None:
        yield Table(("",), [("not measured: needs PyTorch, the extra `clsr`",)])
        return
    n, options = (200, {"n_epochs": 1}) if context.quick else (N_CLIPS, {})
    train, held_out = make(n, 0), make(n // 10, 1)
    rows = []
    for what, parameters in (("CLSR", {}), ("InfoNCE", NO_PARTS)):
        context.progress(f"clsr: a fit of {n:,} clips, {what}")
        seconds = [
            _seconds(train, held_out, {**parameters, **options})
            for _ in range(min(context.repeats, 2))
        ]
        target = context.target(median(seconds), at_most=MOST_SECONDS, unit=" s")
        rows.append((what, f"{median(seconds):.1f} s", target if what == "CLSR" else ""))
    yield Table(
        ("", f"{N_THREADS} threads", "target"),
        rows,
        f"{n:,} made-up clips of {N_FEATURES['audio']:,} features with {N_CAPTIONS} captions of "
        f"{N_FEATURES['text']:,} each, default settings, all epochs, on the processor: "
        "preprocessing, training with validation after every epoch, codes of all samples.",
    )


def make(n: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Clips and captions: noisy views of common hidden directions."""
    rng, mix = np.random.default_rng(seed), np.random.default_rng(99)
    hidden = rng.standard_normal((n, N_HIDDEN))
    clip = np.repeat(np.arange(n), N_CAPTIONS)
    views = {}
    for name, rows in (("audio", np.arange(n)), ("text", clip)):
        x = hidden[rows] @ mix.standard_normal((N_HIDDEN, N_FEATURES[name]))
        views[name] = (x + 4 * rng.standard_normal(x.shape)).astype(np.float32)
    return views, np.column_stack([clip, np.arange(len(clip))])


def _seconds(train: tuple, held_out: tuple, parameters: dict) -> float:
    model = fh.CLSR(random_state=0, device="cpu", patience=None, **parameters)
    start = time.perf_counter()
    model.fit(*train, validation=held_out, n_threads=N_THREADS)
    return time.perf_counter() - start
