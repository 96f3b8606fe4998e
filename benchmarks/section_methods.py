"""Methods with their defaults on every set: accuracy, the own partner, and processor time."""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

import fasthash as fh
from fasthash import models
from fasthash.experiments import learns_from
from report import Context, Table
from semi_paired import load_paired

TITLE = "All methods on all sets"

BITS = 64
N_SEEDS = 3

SETS = {
    "emoji": (None, None),
    "Wiki": ("wiki.npz", ["image", "text"]),
    "UCI digits": ("uci_digits.npz", ["fourier", "karhunen"]),
    "Open Clip Art": ("openclipart.npz", ["image", "text"]),
}

METHODS: dict[str, Any] = {
    "AMSH": lambda **p: fh.AMSH(BITS, **p),
    "DCH": lambda **p: models.DCH(BITS, **p),
    "SCM": lambda **p: models.SCM(BITS, **p),
    "RREH": lambda **p: fh.RREH(BITS, **p),
    "CCAITQ": lambda **p: fh.CCAITQ(BITS, **p),
    "CCAITQ, rbf": lambda **p: fh.CCAITQ(BITS, kernel="rbf", **p),
    "CMFH": lambda **p: models.CMFH(BITS, **p),
    "CVH": lambda **p: models.CVH(BITS, **p),
    "CLSR": lambda **p: fh.CLSR(BITS, **p),
}


def run(context: Context) -> Iterator[Table]:
    n_seeds = 1 if context.quick else N_SEEDS
    for name, (file, modalities) in SETS.items():
        path = None if file is None else context.file(file)
        if file is not None and path is None:
            yield Table((name,), [(f"skipped: needs {file} in the folder given by `--data`",)])
            continue
        data = _read(path, modalities)
        rows = []
        for method, make in METHODS.items():
            if method == "CLSR" and importlib.util.find_spec("torch") is None:
                rows.append((method, "pairs", *["needs PyTorch, the extra `clsr`"] * 4))
                continue
            context.progress(f"methods: {method} on {name}")
            found = [_measure(make, data, seed) for seed in range(n_seeds)]
            mean, spread = np.mean(found, axis=0), np.std(found, axis=0)
            learns = "labels" if learns_from(make(), "labels") else "pairs"
            cells = [
                f"{m:.3f} ± {s:.3f}".replace("0.", ".") for m, s in zip(mean, spread, strict=True)
            ]
            rows.append((method, learns, *cells[:3], f"{mean[3]:.2f} s"))
        first, second = data[0]
        yield Table(
            (
                f"{name}: method",
                "learns from",
                f"{first} → {second}",
                f"{second} → {first}",
                "own partner among 10",
                "fit",
            ),
            rows,
            f"{name}: {len(data[1])} training samples, {len(data[3])} queries, {BITS} bits (CVH: "
            "at most one for each feature), every method with its defaults, all pairs known. Mean "
            "average precision of queries by `encode` against `codes_`, ties in expectation; "
            "recall at 10 of the partner among the queries of the other kind, mean of both "
            "directions; processor time of a fit on one thread. Mean ± standard deviation over "
            f"{n_seeds} seeds. CLSR holds out a tenth of the pairs for validation, and its time is "
            "that of all epochs.",
        )


def _read(path: Any, modalities: Any) -> tuple[Any, ...]:
    """(train features, train classes, test features, test classes)."""
    train, labels, test, test_labels = load_paired(path, modalities)
    return train, labels.argmax(axis=1), test, test_labels.argmax(axis=1)


def _measure(make: Any, data: tuple[Any, ...], seed: int) -> tuple[float, ...]:
    train, classes, test, test_classes = data
    model = make(random_state=seed)
    if isinstance(model, models.CVH):
        model.set_params(n_bits=min(BITS, *(x.shape[1] for x in train.values())))
    arguments = (dict.fromkeys(train, classes),) if learns_from(model, "labels") else ()
    options: dict[str, Any] = {"validation": 0.1} if isinstance(model, fh.CLSR) else {}
    with warnings.catch_warnings():
        # Open Clip Art has columns that do not vary.
        warnings.simplefilter("ignore", UserWarning)
        began = time.process_time()
        model.fit(train, *arguments, n_threads=1, **options)
        seconds = time.process_time() - began
    codes = {name: model.encode(x, name) for name, x in test.items()}
    names = list(train)
    precision = [
        fh.mean_average_precision(codes[query], model.codes_[target], test_classes, classes)
        for query, target in (names, names[::-1])
    ]
    recall = [one.recall[10] for one in fh.retrieval_scores(codes, ranks=[10]).values()]
    return *precision, float(np.mean(recall)), seconds
