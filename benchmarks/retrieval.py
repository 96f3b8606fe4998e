"""Retrieval by CLSR over seeds: recalls of latents and of codes, mean average precision by label.

    python benchmarks/retrieval.py emoji temperature=.07 n_epochs=80      validation scores
    python benchmarks/retrieval.py philharmonia --test --seeds 10 11 12   test scores, fresh seeds

Sets: the embedded emoji (image, text), `philharmonia` and `philharmonia-10`, every clip of a file
that the variable FASTHASH_PHILHARMONIA names, or a tenth of the training clips. The file holds
`audio` and `text` as `<name>_q` of uint8 with `<name>_s` and `<name>_lo`, x = q s + lo; the clip of
each caption, `clip_of_text`; per clip `split`, 0 to train, 1 to validate, 2 to test, and `label`.
Parameters of CLSR are given as name=value; parts are switched off by a weight of 0.
"""

from __future__ import annotations

import argparse
import ast
import functools
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fasthash as fh
from fasthash.datasets import load_emoji
from fasthash.metrics.pairs import RetrievalScores

SETS = ("philharmonia", "philharmonia-10", "emoji")
NO_PARTS = {"consistency": 0.0, "semantic": 0.0, "reconstruction": 0.0}
# What validation chose, for all methods alike.
PREPROCESSING = {"emoji": "centre"}
VARIABLE = "FASTHASH_PHILHARMONIA"


@dataclass(frozen=True)
class Part:
    """Features per modality, which rows belong together, and class labels per modality."""

    features: dict[str, NDArray]
    pairs: NDArray[np.int64]
    labels: dict[str, NDArray]


@dataclass(frozen=True)
class Score:
    """
    One fit, scored.

    Attributes
    ----------
    validation, latents, codes : float
        Sums of R@1, R@5 and R@10 over both directions, in percent: of validation latents at the
        best epoch, of test latents, of test codes.
    label_map : float
        Cross-modal mean average precision of latents by label, mean over directions, percent.
    recall : dict of (str, str) to tuple of float
        R@1, R@5, R@10 of test latents per direction, percent.
    code_recall, short_recall, reranked_recall : float
        R@10 over R@10 of latents, both means over directions: of codes, of 128-bit codes, and of a
        search for 50 candidates by 128-bit codes that latents put in order.
    seconds : float
        Of the fit.
    """

    validation: float
    latents: float
    codes: float
    label_map: float
    recall: dict[tuple[str, str], tuple[float, ...]]
    code_recall: float
    short_recall: float
    reranked_recall: float
    seconds: float


def is_there(name: str) -> bool:
    return name == "emoji" or Path(os.environ.get(VARIABLE, "")).is_file()


def load(name: str, seed: int) -> tuple[Part, Part, Part]:
    """What to train on, to validate on, and to test on."""
    if name == "emoji":
        return _emoji(seed)
    features, clip_of_text, split, label = _philharmonia(os.environ[VARIABLE])
    parts = []
    for number in range(3):
        clips = np.flatnonzero(split == number)
        if name == "philharmonia-10" and number == 0:
            order = np.random.default_rng(seed).permutation(clips)
            clips = np.sort(order[: len(clips) // 10])
        texts = np.flatnonzero(np.isin(clip_of_text, clips))
        own = clip_of_text[texts]
        parts.append(
            Part(
                {"audio": features["audio"][clips], "text": features["text"][texts]},
                np.column_stack([np.searchsorted(clips, own), np.arange(len(texts))]),
                {"audio": label[clips], "text": label[own]},
            )
        )
    return tuple(parts)


def _emoji(seed: int) -> tuple[Part, Part, Part]:
    """A fifth of the training samples, drawn by the seed, is for validation."""
    emoji = load_emoji()
    order = np.random.default_rng(seed).permutation(emoji.train)
    held_out, kept = np.split(order, [len(order) // 5])
    return tuple(
        Part(
            {name: x[rows] for name, x in emoji.features.items()},
            np.repeat(np.arange(len(rows))[:, None], 2, axis=1),
            {name: emoji.groups[rows] for name in emoji.features},
        )
        for rows in (kept, held_out, emoji.test)
    )


@functools.lru_cache(maxsize=1)
def _philharmonia(path: str) -> tuple[dict[str, NDArray], NDArray, NDArray, NDArray]:
    with np.load(path) as file:
        features = {
            name: (file[f"{name}_q"] * file[f"{name}_s"] + file[f"{name}_lo"]).astype(np.float32)
            for name in ("audio", "text")
        }
        return features, file["clip_of_text"], file["split"], file["label"]


def score(name: str, seed: int, n_threads: int = 1, **parameters: Any) -> Score:
    """Fit with these parameters, and score latents and codes on the test samples."""
    train, validation, test = load(name, seed)
    parameters = {"preprocessing": PREPROCESSING.get(name, "whiten"), **parameters}
    start = time.perf_counter()
    model = fh.CLSR(random_state=seed, device="cpu", **parameters).fit(
        train.features,
        train.pairs,
        validation=(validation.features, validation.pairs),
        n_threads=n_threads,
    )
    seconds = time.perf_counter() - start
    latents = {name: model.transform(x, name) for name, x in test.features.items()}
    codes = {name: model.encode(x, name, n_threads=n_threads) for name, x in test.features.items()}
    of_latents = fh.retrieval_scores(latents, test.pairs)
    # The figures of the pages on CLSR place half of a tie before the relevant item.
    of_codes = fh.retrieval_scores(codes, test.pairs, ties="middle")
    short = _short_codes(model, train, latents, seed)
    by_label = fh.retrieval_scores(latents, labels=test.labels, at=None)
    at_10 = _recall_at_10(of_latents)
    return Score(
        model.history_[model.best_epoch_ - 1].recall_sum,
        recall_sum(of_latents),
        recall_sum(of_codes),
        100 * float(np.mean([s.mean_average_precision for s in by_label.values()])),
        {d: tuple(100 * r for r in s.recall.values()) for d, s in of_latents.items()},
        _recall_at_10(of_codes) / at_10,
        _recall_at_10(fh.retrieval_scores(short, test.pairs, ties="middle")) / at_10,
        _reranked_recall(short, latents, test.pairs) / at_10,
        seconds,
    )


def recall_sum(scores: dict[tuple[str, str], RetrievalScores]) -> float:
    return 100 * sum(sum(s.recall.values()) for s in scores.values())


def _recall_at_10(scores: dict[tuple[str, str], RetrievalScores]) -> float:
    return float(np.mean([s.recall[10] for s in scores.values()]))


def _short_codes(
    model: fh.CLSR, train: Part, latents: dict[str, NDArray], seed: int
) -> dict[str, NDArray]:
    """Codes of 128 bits as a fit with n_bits=128 makes them, without another one."""
    means = {name: feature_map.mean for name, feature_map in model.feature_maps_.items()}
    firsts = train.pairs[np.unique(train.pairs[:, 0], return_index=True)[1]]
    centred = [
        model.transform(x[rows], name) - means[name]
        for (name, x), rows in zip(train.features.items(), firsts.T, strict=True)
    ]
    itq = fh.ITQ(128, random_state=seed).fit(np.vstack(centred))
    return {name: fh.pack((x - means[name]) @ itq.projection_) for name, x in latents.items()}


def _reranked_recall(
    codes: dict[str, NDArray], latents: dict[str, NDArray], pairs: NDArray[np.int64]
) -> float:
    """R@10, mean over directions."""
    names, recalls = list(codes), []
    belongs = np.zeros([len(codes[name]) for name in names], bool)
    belongs[tuple(pairs.T)] = True
    for (query, target), relevant in zip((names, names[::-1]), (belongs, belongs.T), strict=True):
        _, candidates = fh.topk(codes[query], codes[target], 50)
        _, ids = fh.rerank(latents[query], latents[target], candidates, 10, metric="inner")
        recalls.append(np.take_along_axis(relevant, ids, axis=1).any(axis=1).mean())
    return float(np.mean(recalls))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", choices=SETS)
    parser.add_argument("parameters", nargs="*", metavar="name=value")
    parser.add_argument("--test", action="store_true", help="show test scores as well")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    pairs = [text.split("=", 1) for text in options.parameters]
    parameters = {name: ast.literal_eval(value) for name, value in pairs}
    scores = [score(options.set, seed, **parameters) for seed in options.seeds]
    shown = ["validation", "seconds"]
    if options.test:
        shown += ["latents", "codes", "label_map", "code_recall", "short_recall", "reranked_recall"]
    for name in shown:
        values = [getattr(s, name) for s in scores]
        print(f"{name:16} {np.mean(values):8.3f} ± {np.std(values, ddof=len(values) > 1):.3f}")


if __name__ == "__main__":
    main()
