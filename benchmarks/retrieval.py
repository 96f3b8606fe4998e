"""Retrieval by CLSR over seeds: recalls of latents and of codes, mean average precision by label.

    python benchmarks/retrieval.py emoji temperature=.07 n_epochs=80      validation scores
    python benchmarks/retrieval.py philharmonia --test --seeds 10 11 12   test scores, fresh seeds

Sets: the embedded emoji (image, text); `openclipart`, the file that the variable
FASTHASH_OPENCLIPART names, with `image`, `text`, `labels` and `test` by picture; `philharmonia` and
`philharmonia-10`, every clip of a file that the variable FASTHASH_PHILHARMONIA names, or a tenth of
the training clips. The latter file holds
`audio` and `text` as `<name>_q` of uint8 with `<name>_s` and `<name>_lo`, x = q s + lo; the clip of
each caption, `clip_of_text`; per clip `split`, 0 to train, 1 to validate, 2 to test, and `label`.
Parameters of CLSR are given as name=value; parts are switched off by a weight of 0.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
import itertools
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

import fasthash as fh
from fasthash._core.features import unit_rows
from fasthash.datasets import load_emoji
from fasthash.metrics.pairs import RetrievalScores, expected_recall
from fasthash.models._canonical import canonical_directions, pair_covariances
from fasthash.models.clsr._refinement import fit_refinement
from fasthash.models.clsr._settings import settings_for

SETS = ("emoji", "openclipart", "philharmonia-10", "philharmonia")
NO_PARTS = {"consistency": 0.0, "semantic": 0.0, "reconstruction": 0.0, "variates_in_latents": 0.0}
# What validation chose, for all methods alike.
PREPROCESSING = {"emoji": "centre"}
VARIABLES = {
    "openclipart": "FASTHASH_OPENCLIPART",
    "philharmonia-10": "FASTHASH_PHILHARMONIA",
    "philharmonia": "FASTHASH_PHILHARMONIA",
}

# What validation chooses among, for canonical correlation analysis alone.
RIDGES = (0.01, 0.1, 1.0, 10.0, 100.0)
POWERS = (0.5, 1.0, 2.0, 3.0)
DIMENSIONS = (32, 64, 128, 256)


@dataclass(frozen=True)
class Part:
    """Features per modality, which rows belong together, and class labels per modality."""

    features: dict[str, NDArray]
    pairs: NDArray[np.int64]
    labels: dict[str, NDArray]


@dataclass(frozen=True)
class Score:
    """
    One fit, scored; NaN where something was not measured.

    Attributes
    ----------
    validation, latents, codes : float
        Sums of R@1, R@5 and R@10 over both directions, in percent: of validation latents at the
        best epoch, of test latents, of test codes.
    weighted : float
        The same, of codes compared with the projections of the queries.
    label_map : float
        Cross-modal mean average precision of latents by label, mean over directions, percent.
    recall : dict of (str, str) to tuple of float
        R@1, R@5, R@10 of test latents per direction, percent.
    code_recall, weighted_recall, short_recall, reranked_recall : float
        R@10 over R@10 of latents, both means over directions: of codes, of codes and projected
        queries, of 128-bit codes, and of a search for 50 candidates by 128-bit codes that latents
        put in order.
    seconds : float
        Of the fit.
    without_choice : float
        Sum of recalls of test latents without canonical variates, and with the weight of the
        reconstruction that is used in training.
    """

    validation: float
    latents: float
    label_map: float
    recall: dict[tuple[str, str], tuple[float, ...]]
    codes: float = np.nan
    weighted: float = np.nan
    code_recall: float = np.nan
    weighted_recall: float = np.nan
    short_recall: float = np.nan
    reranked_recall: float = np.nan
    seconds: float = np.nan
    without_choice: float = np.nan


def is_there(name: str) -> bool:
    return name == "emoji" or Path(os.environ.get(VARIABLES[name], "")).is_file()


def load(name: str, seed: int) -> tuple[Part, Part, Part]:
    """What to train on, to validate on, and to test on."""
    if name == "emoji":
        emoji = load_emoji()
        return _single_pairs(emoji.features, emoji.groups, emoji.train, emoji.test, seed)
    path = os.environ[VARIABLES[name]]
    if name == "openclipart":
        with np.load(path) as file:
            features = {view: file[view].astype(np.float32) for view in ("image", "text")}
            labels, is_test = file["labels"], file["test"].astype(bool)
        return _single_pairs(
            features, labels, np.flatnonzero(~is_test), np.flatnonzero(is_test), seed
        )
    features, clip_of_text, split, label = _philharmonia(path)
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


def _single_pairs(
    features: Mapping[str, NDArray],
    labels: NDArray,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    seed: int,
) -> tuple[Part, Part, Part]:
    """Row i belongs to row i. A fifth of the training samples, drawn by the seed, validates."""
    order = np.random.default_rng(seed).permutation(train)
    held_out, kept = np.split(order, [len(order) // 5])
    return tuple(
        Part(
            {name: x[rows] for name, x in features.items()},
            np.repeat(np.arange(len(rows))[:, None], 2, axis=1),
            {name: labels[rows] for name in features},
        )
        for rows in (kept, held_out, test)
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
    weighted, weighted_at_10 = _by_projections(model, test)
    short = _short_codes(model, train, latents, seed)
    at_10 = _recall_at_10(of_latents)
    return Score(
        model.history_[model.best_epoch_ - 1].recall_sum,
        recall_sum(of_latents),
        _label_map(latents, test),
        {d: tuple(100 * r for r in s.recall.values()) for d, s in of_latents.items()},
        recall_sum(of_codes),
        weighted,
        _recall_at_10(of_codes) / at_10,
        weighted_at_10 / at_10,
        _recall_at_10(fh.retrieval_scores(short, test.pairs, ties="middle")) / at_10,
        _reranked_recall(short, latents, test.pairs) / at_10,
        seconds,
        _without_choice(model, train, test),
    )


def ridge_cca(name: str, seed: int) -> Score:
    """Score canonical correlation analysis; validation chooses ridge, power and dimensions."""
    train, validation, test = load(name, seed)
    kind = PREPROCESSING.get(name, "whiten")
    model = fh.CLSR(n_bits=8, n_latent=8, n_epochs=1, preprocessing=kind, random_state=seed)
    maps = model.fit(train.features, train.pairs, n_threads=1).feature_maps_
    x = [
        {view: maps[view].preprocessing.transform(v) for view, v in part.features.items()}
        for part in (train, validation, test)
    ]
    paired = [v[rows] for v, rows in zip(x[0].values(), train.pairs.T, strict=True)]
    means = [v.mean(axis=0, dtype=np.float64) for v in paired]
    covariances = pair_covariances([[v - mean for v, mean in zip(paired, means, strict=True)]])
    sizes = [len(mean) for mean in means]

    def variates(part: dict[str, NDArray], scaled: list[NDArray]) -> dict[str, NDArray]:
        return {
            view: unit_rows((v - mean) @ d)
            for (view, v), mean, d in zip(part.items(), means, scaled, strict=True)
        }

    best, scaled_best = -1.0, []
    for ridge in RIDGES:
        ridges = [ridge * np.trace(covariances[i][i]) / sizes[i] for i in (0, 1)]
        n_most = min(DIMENSIONS[-1], *sizes)
        directions, correlations = canonical_directions(covariances, ridges, n_most)
        for power, n in itertools.product(POWERS, DIMENSIONS):
            scaled = [d[:, :n] * correlations[:n] ** power for d in directions]
            found = variates(x[1], scaled)
            score = _sum_of(*found.values(), validation.pairs)[0]
            if score > best:
                best, scaled_best = score, scaled
    latents = variates(x[2], scaled_best)
    scores = fh.retrieval_scores(latents, test.pairs)
    return Score(
        best,
        recall_sum(scores),
        _label_map(latents, test),
        {d: tuple(100 * r for r in s.recall.values()) for d, s in scores.items()},
    )


def _sum_of(first: NDArray, second: NDArray, pairs: NDArray[np.int64]) -> tuple[float, float]:
    """Sum of recalls in percent, and mean R@10, of rows that are compared by their products."""
    return _sum_of_directions(((first, second, pairs), (second, first, pairs[:, ::-1])))


def _sum_of_directions(directions: Any) -> tuple[float, float]:
    recalls = [expected_recall(q, target, order, (1, 5, 10)) for q, target, order in directions]
    return (
        100 * sum(sum(one.values()) for one in recalls),
        float(np.mean([one[10] for one in recalls])),
    )


def _by_projections(model: fh.CLSR, test: Part) -> tuple[float, float]:
    """Sum of recalls and mean R@10 of codes that are compared with projections of the queries."""
    first, second = (model.project(x, name).astype(np.float32) for name, x in test.features.items())
    signs = [np.where(x >= 0, np.float32(1), np.float32(-1)) for x in (first, second)]
    return _sum_of_directions(
        ((first, signs[1], test.pairs), (second, signs[0], test.pairs[:, ::-1]))
    )


def _without_choice(model: fh.CLSR, train: Part, test: Part) -> float:
    """Sum of recalls of latents with the reconstruction as in training, and no variates."""
    n_items = len(np.unique(train.pairs[:, 0]))
    latents = []
    for name, x in test.features.items():
        one = model.feature_maps_[name]
        if one.reconstruction is None:
            return np.nan
        usual = settings_for(model, n_items).reconstruction_in_latents
        reconstruction = dataclasses.replace(one.reconstruction, weight=usual)
        plain = dataclasses.replace(one, reconstruction=reconstruction, variates=None)
        latents.append(plain.latents(x))
    return _sum_of(*latents, test.pairs)[0]


def _label_map(latents: Mapping[str, NDArray], test: Part) -> float:
    by_label = fh.retrieval_scores(latents, labels=test.labels, at=None)
    return 100 * float(np.mean([s.mean_average_precision for s in by_label.values()]))


def recall_sum(scores: dict[tuple[str, str], RetrievalScores]) -> float:
    return 100 * sum(sum(s.recall.values()) for s in scores.values())


def _recall_at_10(scores: dict[tuple[str, str], RetrievalScores]) -> float:
    return float(np.mean([s.recall[10] for s in scores.values()]))


def _short_codes(
    model: fh.CLSR, train: Part, latents: dict[str, NDArray], seed: int
) -> dict[str, NDArray]:
    """Codes of 128 bits as a fit without validation data makes them, without another fit."""
    means = {name: feature_map.mean for name, feature_map in model.feature_maps_.items()}
    firsts = train.pairs[np.unique(train.pairs[:, 0], return_index=True)[1]]
    centred = [
        model.transform(x[rows], name) - means[name]
        for (name, x), rows in zip(train.features.items(), firsts.T, strict=True)
    ]
    refinement = fit_refinement(
        np.vstack(centred).astype(np.float32), 128, check_random_state(seed)
    )
    return {
        name: fh.pack(refinement.project((x - means[name]).astype(np.float32)))
        for name, x in latents.items()
    }


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
