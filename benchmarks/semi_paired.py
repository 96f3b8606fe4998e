"""mAP of RREH and its baselines on semi-paired sets, settings chosen without labels.

    python benchmarks/semi_paired.py             the embedded emoji
    python benchmarks/semi_paired.py wiki.npz    any paired set in the layout of accuracy.py
    ... --modalities fourier karhunen            two of its modalities
    ... --ablation                               what each part of RREH is worth instead

Protocol: a share of the training rows stay pairs; the others keep both halves without
correspondence ("keep") or lose one of them ("missing"). Queries are test rows, the database is the
training rows of the other modality, kept or not; both are coded by the hash functions. Relevant
means the same class, ties count in expectation. RREH, with and without its unpaired half, has its
defaults throughout. CCA-ITQ chooses features, ridge and number of directions per set, share and
kind by `fasthash.models.select_by_pairs`, on one split of the pairs of every seed, at 32 bits; once
among radial basis functions too, once among linear features alone, its usual form.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fasthash as fh
from accuracy import load
from fasthash._core.features import rbf_map
from fasthash._core.rows import Rows
from fasthash._core.workers import Workers
from fasthash.datasets import SemiPairedSplit, semi_paired_split
from fasthash.models import select_by_pairs

RATIOS = (0.1, 0.3, 0.5, 1.0)
KINDS = ("keep", "missing")
SELECTION_BITS = 32

LINEAR_GRID = tuple(
    {"ridge": ridge, "n_components": n_components}
    for ridge in (0.3, 1.0, 3.0, 10.0)
    for n_components in (16, None)
)
CCAITQ_GRID = tuple(
    {"kernel": kernel, **settings} for kernel in ("linear", "rbf") for settings in LINEAR_GRID
)

# The parts of the method, one by one, and what else was tried.
ABLATION: dict[str, dict[str, Any]] = {
    "RREH, defaults": {},
    "no relation term (μ = 0)": {"mu": 0.0},
    "no reliability weight (ω = 1)": {"reliability": 1.0},
    "unpaired without weight (ω = 0)": {"reliability": 0.0},
    "paired only": {"unpaired": False},
    "dense relations": {"reconstruction": "dense"},
    "k = 3": {"k": 3},
    "k = 5": {"k": 5},
    "k = 20": {"k": 20},
    "k = 50": {"k": 50},
    "linear features": {"kernel": "linear"},
    "plain RBF features": {"whitening": 0.0, "shrinkage": 0.3},
    "fully whitened": {"whitening": 1.0, "width": 1.0, "shrinkage": 6.0},
    "32 components": {"n_components": 32},
    "600 anchors": {"n_anchors": 600},
    "1 sweep": {"n_sweeps": 1},
    "20 sweeps": {"n_sweeps": 20},
    "θ = 3": {"theta": 3.0},
    "ridge 0.1": {"ridge": 0.1},
}


class KernelCCAITQ(fh.CCAITQ):
    """CCA-ITQ on features, or on the radial basis functions that RREH starts from."""

    def __init__(
        self, n_bits=64, *, kernel="linear", n_components=None, ridge=1.0, random_state=None
    ):
        super().__init__(n_bits, n_components=n_components, ridge=ridge, random_state=random_state)
        self.kernel = kernel

    def fit(self, features, pairs=None, **options):
        self._maps = {}
        if self.kernel == "rbf":
            rng = np.random.RandomState(self.random_state)
            with Workers(1) as workers:
                for column, (name, x) in enumerate(features.items()):
                    paired = x if pairs is None else x[pairs[:, column]]
                    anchors = paired[rng.permutation(len(paired))[:300]]
                    self._maps[name] = rbf_map(Rows(paired, paired.dtype), anchors, 0.7, workers)
        mapped = {name: self._mapped(x, name) for name, x in features.items()}
        return super().fit(mapped, pairs, **options)

    def encode(self, X, modality, **options):
        return super().encode(self._mapped(X, modality), modality, **options)

    def _mapped(self, x: NDArray, name: str) -> NDArray:
        return self._maps[name].transform(x) if self._maps else x


@dataclass(frozen=True)
class Method:
    """A method and the settings it may choose from."""

    name: str
    make: Callable[..., Any]
    grid: tuple[dict[str, Any], ...]
    fixed: dict[str, Any]


METHODS = (
    Method("RREH", fh.RREH, ({},), {}),
    Method("paired only", fh.RREH, ({},), {"unpaired": False}),
    Method("CCA-ITQ", KernelCCAITQ, CCAITQ_GRID, {}),
    Method("CCA-ITQ, linear", fh.CCAITQ, LINEAR_GRID, {}),
)


@dataclass(frozen=True)
class Cell:
    """Scores of one method at one share of pairs, kind and length."""

    method: str
    ratio: float
    kind: str
    n_bits: int
    settings: dict[str, Any]
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
    x, y, x_test, y_test = load(path, False, 0, modalities)
    return x, y, x_test, y_test


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
        for kind in KINDS if ratio < 1 else KINDS[:1]:
            splits = [split_of(data, ratio, kind, seed) for seed in range(n_seeds)]
            for method in METHODS:
                settings = select(method, data, splits)
                progress(f"{ratio:.0%} {kind} {method.name}: {settings}")
                for bits in n_bits:
                    scores = [
                        score(
                            method.make(bits, random_state=seed, **method.fixed, **settings),
                            data,
                            split,
                        )
                        for seed, split in enumerate(splits)
                    ]
                    yield Cell(method.name, ratio, kind, bits, settings, np.array(scores))


def select(method: Method, data: Paired, splits: list[SemiPairedSplit]) -> dict[str, Any]:
    """Settings with the best score on held-out pairs, one split of them for every seed."""
    if len(method.grid) == 1:
        return method.grid[0]
    scores = []
    for seed, split in enumerate(splits):
        models = [
            method.make(SELECTION_BITS, random_state=seed, **method.fixed, **settings)
            for settings in method.grid
        ]
        found = select_by_pairs(
            models, _kept(data, split), split.pairs, n_splits=1, random_state=seed
        )
        scores.append(found.scores[:, 0])
    return method.grid[int(np.argmax(np.mean(scores, axis=0)))]


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
            yield Cell(name, ratio, "keep", n_bits, settings, np.array(scores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", help="an .npz in the layout of accuracy.py")
    parser.add_argument("--modalities", nargs=2, help="two of the file's; default: the first two")
    parser.add_argument("--bits", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ablation", action="store_true", help="at the first of --bits")
    options = parser.parse_args()
    data = load_paired(options.file, options.modalities)
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
