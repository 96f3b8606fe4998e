"""Precision of the first six answers to words, ranked by Hamming distance and by weights.

    python benchmarks/demo_precision.py             method, length and seed as `fasthash demo` shows
    ... --methods AMSH CCA-ITQ --bits 32 --seeds 3  others; mean over seeds 0, 1, ...

Queries are words, the database is the codes of all glyphs, as in `fasthash demo`. `RIGHT` was
written before any ranking was looked at: a glyph is right if its name or a keyword has one of these
words, or its plural. Equal distances, and equal scores, count in expectation.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

import fasthash as fh
from fasthash._core.words import split_words
from fasthash.commands.demo import DEFAULT_QUERIES
from fasthash.commands.printing import format_table
from fasthash.datasets import EmojiDataset, load_emoji
from fasthash.pages import demo

RANK = 6

RIGHT = {
    "dog": "dog puppy poodle",
    "rain": "rain rainy umbrella droplet storm",
    "happy face": "happy smile smiling grin grinning laugh laughing joy",
    "fruit": "fruit berry apple banana grape lemon melon peach pear",
    "red heart": "heart",
    "birthday": "birthday cake party",
    "sad": "sad cry crying tear disappointed frown frowning unhappy",
    "fast car": "car automobile racing vehicle",
    "heart": "heart",
    "ball": "ball football basketball baseball volleyball softball",
    "snow": "snow snowman snowflake snowboard snowboarder ski skier",
    "music": "music musical song melody instrument singer",
    "ship": "ship boat sailboat ferry canoe vessel",
    # Two more, because "dog", "rain" and "fruit" are among the queries of the demo already.
    "flower": "flower blossom bouquet rose tulip sunflower",
    "bird": "bird chick chicken duck eagle owl parrot penguin rooster",
}


def right(data: EmojiDataset) -> NDArray[np.bool_]:
    """Whether each emoji, a row, is a right answer to each query, a column."""
    wanted = [set(words.split()) for words in RIGHT.values()]
    texts = [
        set(split_words(" ".join((name, *keywords))))
        for name, keywords in zip(data.names, data.keywords, strict=True)
    ]
    texts = [words | {word.removesuffix("s") for word in words} for words in texts]
    return np.array([[not one.isdisjoint(words) for one in wanted] for words in texts])


def precisions(
    data: EmojiDataset, model: fh.models.CrossModalHasher, relevant: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Precision of each query, a row, by Hamming distance and by weights."""
    gallery = model.encode(data.features["image"], "image")
    weights = model.project(data.text_features(list(RIGHT)), "text")
    table = []
    for query in range(len(RIGHT)):
        one = slice(query, query + 1)
        labels = np.eye(len(RIGHT), dtype=bool)[one], relevant
        by_distance = fh.precision_at(fh.pack(weights[one]), gallery, *labels, ranks=RANK)
        by_weights = fh.precision_at(None, gallery, *labels, weights=weights[one], ranks=RANK)
        table.append([by_distance[0], by_weights[0]])
    return np.array(table)


def standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=demo.METHODS, default=["AMSH"])
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    data = load_emoji()
    relevant = right(data)
    for method in options.methods:
        runs = [
            precisions(
                data,
                demo.fit(data, method, options.bits, seed, lambda *event: None).model,
                relevant,
            )
            for seed in range(options.seeds)
        ]
        found = np.mean(runs, axis=0)
        rows = [
            [query, str(n), f"{before:.2f}", f"{after:.2f}"]
            for query, n, (before, after) in zip(RIGHT, relevant.sum(axis=0), found, strict=True)
        ]
        n_shown = len(DEFAULT_QUERIES)
        for name, part in (
            (f"mean of the demo's {n_shown}", found[:n_shown]),
            (f"mean of the other {len(found) - n_shown}", found[n_shown:]),
            (f"mean of all {len(found)}", found),
        ):
            before, after = part.mean(axis=0)
            rows.append([name, "", f"{before:.3f}", f"{after:.3f}"])
        print(f"{method}, {options.bits} bits, seeds 0 to {options.seeds - 1}: precision@{RANK}\n")
        print(format_table([["query", "right", "Hamming distance", "weights"], *rows]) + "\n")
        gains = np.diff(runs, axis=2)[:, :, 0]
        print(f"weights add {gains.mean():+.3f}; standard error over queries", end=" ")
        print(f"{standard_error(gains.mean(axis=0)):.3f}", end="")
        if options.seeds > 1:
            print(f", over seeds {standard_error(gains.mean(axis=1)):.3f}", end="")
        print("\n")


if __name__ == "__main__":
    main()
