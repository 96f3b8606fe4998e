"""mAP of queries by weights and by Hamming distance, for every method, on validation splits.

    python benchmarks/weighted_queries.py               the embedded emoji
    python benchmarks/weighted_queries.py a.npz b.npz   files in the layout of accuracy.py
    ... --methods AMSH ITQ --bits 32                    some methods and lengths
    ... --scales                                        transformed weights as well

A fifth of the training samples, drawn by the seed, are the queries; the rest is the database, coded
by the hash functions. Relevant means a shared label; ties count in expectation. AMSH learns from
labels, the other methods of two modalities from all pairs, with their defaults. ITQ and random
hyperplanes search the second modality by itself. A line has the mean over seeds and directions of
mAP by Hamming distance, and of the gain by weights with its standard error over seeds. "scales"
shows what `project` returns, "raw", and the same divided by the standard deviation of the bit,
clipped at two of them, passed through tanh, and replaced by the roots of the sizes. `project` of
RREH and CCAITQ returns roots already; PlainRREH and PlainCCAITQ return projections.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fasthash as fh
from accuracy import load


class PlainRREH(fh.RREH):
    """RREH whose weights are its projections, and not their roots."""

    def _as_weights(self, projections: NDArray) -> NDArray:
        return projections


class PlainCCAITQ(fh.CCAITQ):
    """CCAITQ whose weights are its projections, and not their roots."""

    _as_weights = PlainRREH._as_weights


METHODS: dict[str, Callable[..., Any]] = {
    "AMSH": fh.AMSH,
    "RREH": fh.RREH,
    "PlainRREH": PlainRREH,
    "CCAITQ": fh.CCAITQ,
    "PlainCCAITQ": PlainCCAITQ,
    "CLSR": fh.CLSR,
    "ITQ": fh.ITQ,
    "RandomHyperplanes": fh.RandomHyperplanes,
}

# From weights and the standard deviations of their bits in the database.
SCALES: dict[str, Callable[[NDArray, NDArray], NDArray]] = {
    "raw": lambda w, deviation: w,
    "deviation": lambda w, deviation: w / deviation,
    "clip": lambda w, deviation: np.clip(w, -2 * deviation, 2 * deviation),
    "tanh": lambda w, deviation: np.tanh(w / deviation),
    "root": lambda w, deviation: np.sign(w) * np.sqrt(np.abs(w)),
}


def projections(
    method: str, n_bits: int, data: tuple, seed: int
) -> Iterator[tuple[NDArray, NDArray]]:
    """(of queries, of the database) for each direction of a fitted model."""
    x, y, x_query, _ = data
    model = METHODS[method](n_bits=n_bits, random_state=seed)
    if method in ("ITQ", "RandomHyperplanes"):
        _, name = x
        # Wiki's texts have 10 features: the published table has no more bits than features.
        if method == "ITQ" and n_bits > x[name].shape[1]:
            return
        model.fit(x[name])
        yield model.project(x_query[name]), model.project(x[name])
        return
    if method == "AMSH":
        model.fit(x, dict.fromkeys(x, y))
    else:
        model.fit(x)
    a, b = x
    for query, target in ((a, b), (b, a)):
        yield model.project(x_query[query], query), model.project(x[target], target)


def scores(
    method: str, n_bits: int, path: str | None, seed: int, scales: list[str]
) -> NDArray[np.float64] | None:
    """Mean average precision by Hamming distance, then with each scale; mean over directions."""
    data = load(path, True, seed)
    _, y, _, y_query = data
    found = []
    for of_queries, of_database in projections(method, n_bits, data, seed):
        codes, deviation = fh.pack(of_database), np.maximum(of_database.std(axis=0), 1e-12)
        line = [fh.mean_average_precision(fh.pack(of_queries), codes, y_query, y)]
        for scale in scales:
            weights = SCALES[scale](of_queries, deviation)
            line.append(fh.mean_average_precision(None, codes, y_query, y, weights=weights))
        found.append(line)
    return np.mean(found, axis=0) if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="in the layout of accuracy.py; default: emoji")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scales", action="store_true", help="compare transformed weights too")
    options = parser.parse_args()
    scales = list(SCALES) if options.scales else ["raw"]
    print("| set | method | bits | mAP by Hamming distance |", *(f"{s} |" for s in scales))
    print("|---|---|---|---|" + "---|" * len(scales))
    for path in options.files or [None]:
        for method in options.methods:
            for n_bits in options.bits:
                of_seeds = [
                    scores(method, n_bits, path, seed, scales) for seed in range(options.seeds)
                ]
                if of_seeds[0] is None:
                    continue
                table = np.array(of_seeds)
                gains = table[:, 1:] - table[:, :1]
                errors = gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
                name = "emoji" if path is None else Path(path).stem
                cells = (
                    f"{gain:+.3f} ± {error:.3f}"
                    for gain, error in zip(gains.mean(axis=0), errors, strict=True)
                )
                mean = f"{table[:, 0].mean():.3f}"
                print("|", " | ".join([name, method, str(n_bits), mean, *cells]), "|", flush=True)


if __name__ == "__main__":
    main()
