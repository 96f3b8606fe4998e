"""Mean average precision of AMSH over seeds, on the embedded emoji or on feature files.

    python benchmarks/accuracy.py                       emoji, test set
    python benchmarks/accuracy.py wiki.npz              any paired set in the layout below
    python benchmarks/accuracy.py wiki.npz --validate   a fifth of the training samples instead

A file holds `<modality>_train`, `<modality>_test` for two modalities, and `labels_train`,
`labels_test` as 0/1 columns. The training halves are shuffled apart, so no pairs are used; queries
go through the hash functions, the database is the learned codes; ties count in expectation, or in
the shuffled order of the database.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import fasthash as fh
from fasthash.datasets import load_emoji


def load(
    path: str | Path | None, validate: bool, seed: int, modalities: Sequence[str] | None = None
):
    """(train features, train labels, test features, test labels), modalities still aligned."""
    if path is None:
        emoji = load_emoji()
        labels = np.eye(len(emoji.group_names))[emoji.groups]
        split = {
            part: ({m: x[rows] for m, x in emoji.features.items()}, labels[rows])
            for part, rows in (("train", emoji.train), ("test", emoji.test))
        }
    else:
        with np.load(path) as file:
            names = [key.removesuffix("_train") for key in file.files if key.endswith("_train")]
            names.remove("labels")
            split = {
                part: (
                    {m: file[f"{m}_{part}"] for m in modalities or names[:2]},
                    file[f"labels_{part}"],
                )
                for part in ("train", "test")
            }
    if validate:
        features, labels = split["train"]
        order = np.random.default_rng(seed).permutation(len(labels))
        held_out, kept = np.split(order, [len(order) // 5])
        for part, rows in (("train", kept), ("test", held_out)):
            split[part] = ({m: x[rows] for m, x in features.items()}, labels[rows])
    return *split["train"], *split["test"]


def score(
    path: str | None, validate: bool, seed: int, dtype: str, ties: str, **settings
) -> list[float]:
    """Both directions of one run."""
    x, y, x_test, y_test = load(path, validate, seed)
    x, x_test = ({m: rows.astype(dtype) for m, rows in part.items()} for part in (x, x_test))
    rng = np.random.default_rng(seed)
    order = {m: rng.permutation(len(y)) for m in x}
    model = fh.AMSH(random_state=seed, **settings).fit(
        {m: x[m][rows] for m, rows in order.items()}, {m: y[rows] for m, rows in order.items()}
    )
    a, b = x
    return [
        fh.mean_average_precision(
            model.encode(x_test[query], query),
            model.codes_[target],
            y_test,
            y[order[target]],
            ties=ties,
        )
        for query, target in ((a, b), (b, a))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", help="an .npz in the layout above; default: emoji")
    parser.add_argument("--validate", action="store_true", help="hold out a fifth of training")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--weights", type=float, nargs="+", default=[1e-2], help="λ = β")
    parser.add_argument("--width", type=float, nargs="+", default=[1.0])
    parser.add_argument("--anchors", type=int, nargs="+", default=[1000])
    parser.add_argument("--init", nargs="+", default=["random"], choices=["random", "pca"])
    parser.add_argument("--tol", type=float, nargs="+", default=[1e-2])
    parser.add_argument("--dtype", nargs="+", default=["float64"], choices=["float32", "float64"])
    parser.add_argument("--ties", default="expected", choices=["expected", "database"])
    options = parser.parse_args()
    grid = itertools.product(
        options.bits,
        options.weights,
        options.width,
        options.anchors,
        options.init,
        options.tol,
        options.dtype,
    )
    for n_bits, weight, width, n_anchors, init, tol, dtype in grid:
        settings = {"n_bits": n_bits, "lam": weight, "beta": weight, "width": width}
        settings |= {"n_anchors": n_anchors, "init": init, "tol": tol}
        runs = [
            score(options.file, options.validate, seed, dtype, options.ties, **settings)
            for seed in range(options.seeds)
        ]
        settings |= {"dtype": dtype, "ties": options.ties}
        mean, spread = np.mean(runs, axis=0), np.std(runs, axis=0)
        print(
            json.dumps(settings),
            " ".join(f"{m:.3f}±{s:.3f}" for m, s in zip(mean, spread, strict=True)),
            flush=True,
        )


if __name__ == "__main__":
    main()
