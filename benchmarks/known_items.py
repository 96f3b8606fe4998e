"""How often an emoji that is asked for by its name comes first, and within the first ten.

    python benchmarks/known_items.py              64 bits, seed 0, as `fasthash serve` shows
    ... --bits 16 32 64 128 --seeds 3             others; mean and standard deviation over seeds

Queries are the names of all emoji. They are compared with the codes of the glyphs alone, which is
cross-modal search, and with the codes of glyphs and of the words of names and keywords together,
which is what `fasthash serve` does. In the second case, the item that is asked for has the words of
the query in its own text: this measures whether known items are found, and not what was learned.
Equal scores count in expectation.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

import fasthash as fh
from fasthash.commands.printing import format_table
from fasthash.datasets import EmojiDataset, load_emoji
from fasthash.pages import demo


def known_features(data: EmojiDataset) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Features of the names, and whether the model knows a word of each; zero where it does not."""
    features = np.zeros((len(data), data.features["text"].shape[1]), np.float32)
    for row, name in enumerate(data.names):
        try:
            features[row] = data.text_features([name])
        except ValueError:
            continue
    return features, features.any(axis=1)


def shares(scores: NDArray[np.float64], is_answered: NDArray[np.bool_]) -> NDArray[np.float64]:
    """For each query, the chance that its item is first, and within ten."""
    own = np.diagonal(scores)[:, None]
    better, equal = (scores > own).sum(axis=1), (scores == own).sum(axis=1)
    within = [np.clip((rank - better) / equal, 0, 1) for rank in (1, 10)]
    return np.stack(within, axis=1) * is_answered[:, None]


def measure(data: EmojiDataset, n_bits: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """Shares of all emoji, by what their names are compared with."""
    model = demo.fit_lengths(data, [n_bits], seed)[n_bits]
    features, is_known = known_features(data)
    codes = {"model": model.encode(data.features["image"], "image")}
    weights = {"model": np.zeros((len(data), n_bits))}
    weights["model"][is_known] = model.project(features[is_known], "text")
    found = {
        "glyphs, by Hamming distance": -fh.distances(
            fh.pack(weights["model"] >= 0), codes["model"]
        ),
        "glyphs, by weights": all_scores(weights, codes),
    }
    words = fh.words.WordCodes(demo.texts(data))
    codes["words"], weights["words"] = words.encode(demo.texts(data)), words.project(data.names)
    found["glyphs and words, as served"] = all_scores(weights, codes)
    return {
        name: shares(scores, np.ones(len(data), bool) if "words" in name else is_known)
        for name, scores in found.items()
    }


def all_scores(
    weights: dict[str, NDArray[np.floating]], codes: dict[str, NDArray[np.uint8]]
) -> NDArray[np.float64]:
    """The score of every item, a column, for every query, a row."""
    n = len(next(iter(codes.values())))
    scores, ids = fh.topk_fused(None, codes, n, weights=weights)
    table = np.empty_like(scores)
    np.put_along_axis(table, ids, scores, axis=1)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bits", type=int, nargs="+", default=[64])
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    data = load_emoji()
    rows = [["bits", "compared with", "training: first", "in ten", "held out: first", "in ten"]]
    for n_bits in options.bits:
        runs = [measure(data, n_bits, seed) for seed in range(options.seeds)]
        for name in runs[0]:
            cells = []
            for part in (data.train, data.test):
                means = np.array([run[name][part].mean(axis=0) for run in runs])
                cells += [
                    f"{mean:.1%}" + (f" ± {spread:.1%}" if options.seeds > 1 else "")
                    for mean, spread in zip(means.mean(axis=0), means.std(axis=0), strict=True)
                ]
            rows.append([str(n_bits), name, *cells])
    print(format_table(rows))


if __name__ == "__main__":
    main()
