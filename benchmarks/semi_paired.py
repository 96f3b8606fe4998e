"""mAP of RREH and its baselines on semi-paired sets.

    python benchmarks/semi_paired.py             the embedded emoji
    python benchmarks/semi_paired.py wiki.npz    any paired set in the layout of accuracy.py
    ... --modalities fourier karhunen            two of its modalities
    ... --ablation                               what each part of RREH is worth instead
    ... --few                                    5 to 50 pairs, and pairs of which some are wrong

Protocol: a share of the training rows stay pairs; the others keep both halves without
correspondence ("keep") or lose one of them ("missing"). Queries are test rows, the database is the
training rows of the other modality, kept or not; both are coded by the hash functions. Relevant
means the same class, ties count in expectation. All methods have their defaults throughout: they
choose features, ridges and weights themselves, without labels.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fasthash as fh
from accuracy import load
from fasthash.datasets import SemiPairedSplit, semi_paired_split

RATIOS = (0.1, 0.3, 0.5, 1.0)
KINDS = ("keep", "missing")
# Numbers of pairs of `--few`, and the share of 30 % of the rows whose pairs get a wrong partner.
FEW = (5, 20, 50)
WRONG = 0.2

# The parts of the method, one by one, and what else was tried.
ABLATION: dict[str, dict[str, Any]] = {
    "RREH, defaults": {},
    "no relation term (μ = 0)": {"mu": 0.0},
    "no reliability weight (ω = 1)": {"reliability": 1.0},
    "unpaired without weight (ω = 0)": {"reliability": 0.0},
    "dense relations": {"reconstruction": "dense"},
    "linear features": {"kernel": "linear"},
    "RBF features": {"kernel": "rbf"},
    "RBF features, fixed ridge, weights not chosen": {"kernel": "rbf", "shrinkage": 0.5},
    "16 components": {"n_components": 16},
    "32 components": {"n_components": 32},
    "300 anchors": {"n_anchors": 300},
    "1 sweep": {"n_sweeps": 1},
    "ridge 0.001": {"ridge": 0.001},
    "ridge 0.1": {"ridge": 0.1},
}


@dataclass(frozen=True)
class Method:
    """A method, and whether it learns from pairs alone."""

    name: str
    make: Callable[..., Any]
    pairs_alone: bool


METHODS = (
    Method("RREH", fh.RREH, False),
    Method("paired only", partial(fh.RREH, unpaired=False), True),
    Method("CCA-ITQ, linear", fh.CCAITQ, True),
    Method("CCA-ITQ, RBF", partial(fh.CCAITQ, kernel="rbf"), True),
)


@dataclass(frozen=True)
class Cell:
    """Scores of one method at one share of pairs, kind and length."""

    method: str
    ratio: float
    kind: str
    n_bits: int
    # Of shape (n_seeds, 2): first modality to second, and back.
    scores: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        return self.scores.mean(axis=0)

    @property
    def standard_error(self) -> NDArray[np.float64]:
        return self.scores.std(axis=0, ddof=1) / np.sqrt(len(self.scores))


Paired = tuple[dict[str, NDArray], NDArray, dict[str, NDArray], NDArray]


def load_paired(path: str | Path | None, modalities: list[str] | None) -> Paired:
    if path is not None:
        with np.load(path) as file:
            if "test" in file.files:
                return _load_marked(file, modalities or ["image", "text"])
    x, y, x_test, y_test = load(path, False, 0, modalities)
    return x, y, x_test, y_test


def _load_marked(file: Any, modalities: list[str]) -> Paired:
    """Read a file with one array for each modality, of which `test` marks the test rows."""
    test = file["test"]
    labels = np.eye(file["labels"].max() + 1, dtype=np.uint8)[file["labels"]]
    x = {name: file[name].astype(np.float32) for name in modalities}
    train_x, test_x = ({m: v[rows] for m, v in x.items()} for rows in (~test, test))
    return train_x, labels[~test], test_x, labels[test]


def split_of(data: Paired, ratio: float, kind: str, seed: int) -> SemiPairedSplit:
    return semi_paired_split(
        len(data[1]), ratio, kind=kind, modalities=tuple(data[0]), random_state=seed
    )


def cells(
    data: Paired,
    n_bits: list[int],
    n_seeds: int,
    progress: Callable[[str], None],
    ratios: Sequence[float] = RATIOS,
) -> Iterator[Cell]:
    """All methods, in all cells."""
    for ratio in ratios:
        known: dict[tuple[str, int], Cell] = {}
        for kind in KINDS if ratio < 1 else KINDS[:1]:
            splits = [split_of(data, ratio, kind, seed) for seed in range(n_seeds)]
            for method, bits in itertools.product(METHODS, n_bits):
                # Both kinds have the same pairs.
                cell = known.get((method.name, bits))
                if cell is None:
                    progress(f"{ratio:.0%} {kind} {bits} bits, {method.name}")
                    scores = [
                        score(method.make(bits, random_state=seed), data, split)
                        for seed, split in enumerate(splits)
                    ]
                    cell = Cell(method.name, ratio, kind, bits, np.array(scores))
                if method.pairs_alone:
                    known[method.name, bits] = cell
                yield replace(cell, kind=kind)


def score(model: Any, data: Paired, split: SemiPairedSplit) -> list[float]:
    """mAP of both directions."""
    x, y, x_test, y_test = data
    model.fit(_kept(data, split), pairs=split.pairs)
    a, b = x
    return [
        fh.mean_average_precision(
            model.encode(x_test[query], query),
            model.encode(x[target], target),
            y_test,
            y,
            ties="expected",
        )
        for query, target in ((a, b), (b, a))
    ]


def _kept(data: Paired, split: SemiPairedSplit) -> dict[str, NDArray]:
    return {name: x[split.rows[name]] for name, x in data[0].items()}


def ablation(data: Paired, n_bits: int, n_seeds: int, ratios: tuple[float, ...]) -> Iterator[Cell]:
    """RREH with one part changed at a time, both halves kept."""
    for name, settings in ABLATION.items():
        for ratio in ratios:
            splits = [split_of(data, ratio, "keep", seed) for seed in range(n_seeds)]
            scores = [
                score(fh.RREH(n_bits, random_state=seed, **settings), data, split)
                for seed, split in enumerate(splits)
            ]
            yield Cell(name, ratio, "keep", n_bits, np.array(scores))


def few(data: Paired, n_bits: int, n_seeds: int) -> Iterator[tuple[str, Cell]]:
    """All methods with few pairs, and with wrong ones; both halves of all other rows are kept."""
    n = len(data[1])
    cases = [(f"{n_pairs} pairs", n_pairs / n, 0.0) for n_pairs in FEW]
    for name, ratio, wrong in (*cases, (f"30 %, {WRONG:.0%} of them wrong", 0.3, WRONG)):
        splits = [split_of(data, ratio, "keep", seed) for seed in range(n_seeds)]
        splits = [with_wrong_pairs(split, wrong, seed) for seed, split in enumerate(splits)]
        for method in METHODS:
            scores = [
                score(method.make(n_bits, random_state=seed), data, split)
                for seed, split in enumerate(splits)
            ]
            yield name, Cell(method.name, ratio, "keep", n_bits, np.array(scores))


def with_wrong_pairs(split: SemiPairedSplit, share: float, seed: int) -> SemiPairedSplit:
    """The split with a share of the pairs that have the partner of another of them."""
    pairs = split.pairs.copy()
    rows = np.random.default_rng(seed).permutation(len(pairs))[: int(share * len(pairs))]
    pairs[rows, 1] = pairs[np.roll(rows, 1), 1]
    return replace(split, pairs=pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", help="an .npz in the layout of accuracy.py")
    parser.add_argument("--modalities", nargs=2, help="two of the file's; default: the first two")
    parser.add_argument("--bits", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ablation", action="store_true", help="at the first of --bits")
    parser.add_argument("--few", action="store_true", help="at the first of --bits")
    options = parser.parse_args()
    data = load_paired(options.file, options.modalities)
    if options.few:
        for name, cell in few(data, options.bits[0], options.seeds):
            both = cell.scores.mean(axis=1)
            error = both.std(ddof=1) / np.sqrt(len(both))
            print(f"{name}, {cell.method}: {both.mean():.3f}±{error:.3f}", flush=True)
        return
    if options.ablation:
        found = ablation(data, options.bits[0], options.seeds, (0.1, 0.5))
    else:
        found = cells(data, options.bits, options.seeds, lambda text: print("#", text, flush=True))
    for cell in found:
        figures = " ".join(
            f"{m:.3f}±{e:.3f}" for m, e in zip(cell.mean, cell.standard_error, strict=True)
        )
        print(
            f"{cell.ratio:.0%} {cell.kind} {cell.n_bits} bits, {cell.method}: {figures}", flush=True
        )


if __name__ == "__main__":
    main()
