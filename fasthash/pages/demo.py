"""The demonstration: AMSH and CCA-ITQ on the embedded emoji, scored and searched.

Protocol: AMSH learns from labels, the Unicode group and subgroup. It knows no pairs, because the
training samples of the two modalities are shuffled independently. CCA-ITQ learns from the pairs,
without labels. Queries are held-out glyphs or texts. The database is the codes learned for the
training samples of the other modality. An item is relevant if it has the same Unicode group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..asymmetric import topk_weighted
from ..codes import pack
from ..datasets import EmojiDataset
from ..hamming import distances
from ..metrics import DistanceScale, mean_average_precision, precision_recall_curve
from ..models import AMSH, CCAITQ, CrossModalHasher
from ..words import WordCodes

__all__ = [
    "DIRECTIONS",
    "METHODS",
    "RANKED_BY",
    "Answer",
    "Fitted",
    "answer",
    "chance",
    "fit",
    "fit_lengths",
    "labels",
    "texts",
]

DIRECTIONS = (("image", "text"), ("text", "image"))
METHODS = ("AMSH", "CCA-ITQ")

# How `answer` ranks glyphs.
RANKED_BY = (
    "Glyphs are ranked by weights: the words keep the size of each projection, not only its sign. "
    "Equal scores are in the order of the words that a glyph's name and keywords share with the "
    "query."
)

# How often the words of a name count, compared with those of a keyword.
_NAMES_COUNT = 3

# Chosen on validation splits of the training samples, see docs/research/emoji.md.
AMSH_SETTINGS: dict[str, Any] = {"n_anchors": 1000, "width": 0.7}
CCAITQ_SETTINGS: dict[str, Any] = {"ridge": 1.0, "n_components": 16}


@dataclass(frozen=True)
class Fitted:
    """
    A fitted model and its scores.

    Attributes
    ----------
    method : str
        One of `METHODS`.
    n_bits, seed : int
    model : CrossModalHasher
    scores : dict of (str, str) to float
        Mean average precision for each direction, with ties in expectation.
    curves : dict of (str, str) to (precision, recall)
        Precision and recall at each Hamming radius, for each direction. The precision at a radius
        ignores queries that find nothing.
    """

    method: str
    n_bits: int
    seed: int
    model: CrossModalHasher
    scores: dict[tuple[str, str], float]
    curves: dict[tuple[str, str], tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True)
class Answer:
    """
    The answers to a text query.

    Attributes
    ----------
    query : str
    rows : ndarray of int64
        Rows of the dataset, the largest score first.
    scores : ndarray of float64
        Scores by the weights of the query.
    distances : ndarray of int32
        Hamming distances.
    ties : list of int
        For each answer, how many glyphs have its score.
    unknown : dict of str to list of str
        Words of the query that are not known, with similar words that are.
    scale : DistanceScale
        What the distances mean.
    """

    query: str
    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    distances: NDArray[np.int32]
    ties: list[int]
    unknown: dict[str, list[str]]
    scale: DistanceScale


def fit(
    data: EmojiDataset,
    method: str,
    n_bits: int,
    seed: int,
    callback: Callable[[str, int, int], None],
) -> Fitted:
    """
    Fit one method and score it on the test samples.

    Parameters
    ----------
    data : EmojiDataset
    method : str
        One of `METHODS`.
    n_bits : int
    seed : int
        Seed of the model and of the shuffling.
    callback : callable
        Called as ``callback(stage, done, total)`` after every piece of work.

    Returns
    -------
    Fitted
    """
    if method == "AMSH":
        model, groups = _fit_amsh(data, n_bits, seed, callback)
    else:
        train = {name: x[data.train] for name, x in data.features.items()}
        model = CCAITQ(n_bits, random_state=seed, **CCAITQ_SETTINGS).fit(train)
        groups = {name: data.groups[data.train] for name in train}
        callback("pairs", 1, 1)
    scores, curves = {}, {}
    for query, target in DIRECTIONS:
        codes = model.encode(data.features[query][data.test], query)
        problem = (codes, model.codes_[target], data.groups[data.test], groups[target])
        scores[query, target] = mean_average_precision(*problem, ties="expected")
        curves[query, target] = precision_recall_curve(
            *problem, n_bits=n_bits, nothing_retrieved="skip"
        )[:2]
    return Fitted(method, n_bits, seed, model, scores, curves)


def fit_lengths(
    data: EmojiDataset,
    lengths: Sequence[int],
    seed: int,
    callback: Callable[[str, int, int], None] | None = None,
) -> dict[int, AMSH]:
    """
    Fit AMSH for several code lengths.

    Parameters
    ----------
    data : EmojiDataset
    lengths : sequence of int
    seed : int
        Seed of the model and of the shuffling.
    callback : callable, optional
        Called as ``callback(stage, done, total)`` after every piece of work.

    Returns
    -------
    dict of int to AMSH
    """
    y = labels(data)
    order = _shuffled(data, seed)
    return AMSH(random_state=seed, **AMSH_SETTINGS).fit_lengths(
        {name: data.features[name][rows] for name, rows in order.items()},
        labels={name: y[rows] for name, rows in order.items()},
        n_bits=lengths,
        callback=callback,
    )


def _fit_amsh(
    data: EmojiDataset, n_bits: int, seed: int, callback: Callable[[str, int, int], None]
) -> tuple[AMSH, dict[str, NDArray[Any]]]:
    model = fit_lengths(data, [n_bits], seed, callback)[n_bits]
    return model, {name: data.groups[rows] for name, rows in _shuffled(data, seed).items()}


def _shuffled(data: EmojiDataset, seed: int) -> dict[str, NDArray[Any]]:
    """Shuffle the training rows of each modality independently."""
    rng = np.random.default_rng(seed)
    return {name: rng.permutation(data.train) for name in data.features}


def labels(data: EmojiDataset) -> NDArray[np.bool_]:
    """
    Return groups and subgroups as 0/1 columns. Keywords are not used: they would reveal the pairs.

    Parameters
    ----------
    data : EmojiDataset

    Returns
    -------
    ndarray of bool, shape (n, n_groups + n_subgroups)
        Two emoji share a label if they have the same group.
    """
    return np.hstack(
        [
            np.eye(len(data.group_names), dtype=bool)[data.groups],
            np.eye(len(data.subgroup_names), dtype=bool)[data.subgroups],
        ]
    )


def chance(data: EmojiDataset) -> float:
    """Compute the mean average precision of a random ranking: all codes are equal."""
    queries = np.zeros((len(data.test), 1), np.uint8)
    database = np.zeros((len(data.train), 1), np.uint8)
    labels = data.groups[data.test], data.groups[data.train]
    return mean_average_precision(queries, database, *labels, ties="expected")


def answer(
    data: EmojiDataset, model: CrossModalHasher, queries: Sequence[str], k: int
) -> list[Answer]:
    """
    Search all glyphs, both training and test samples, by free text, with weights.

    Parameters
    ----------
    data : EmojiDataset
    model : CrossModalHasher
        A model that is fitted to images and texts.
    queries : sequence of str
    k : int
        Number of glyphs to find for each query.

    Returns
    -------
    list of Answer

    Raises
    ------
    ValueError
        If no word of a query is known.
    """
    gallery = model.encode(data.features["image"], "image")
    weights = model.project(data.text_features(queries), "text")
    words = WordCodes(texts(data))
    shared = topk_weighted(words.project(queries), words.encode(texts(data)), len(data))
    ranked = topk_weighted(weights, gallery, len(data))
    apart = distances(pack(weights), gallery)
    answers = []
    for i, query in enumerate(queries):
        scores, by_words = (_by_row(*(one[i] for one in found)) for found in (ranked, shared))
        rows = np.lexsort((-by_words, -scores))[:k]
        ties = [int((scores == scores[row]).sum()) for row in rows]
        unknown = data.unknown_words(query)
        scale = model.distance_scales_["text"]["image"]
        answers.append(Answer(query, rows, scores[rows], apart[i, rows], ties, unknown, scale))
    return answers


def texts(data: EmojiDataset) -> list[str]:
    """
    Return the texts whose words are compared: names, and keywords, which count less.

    Parameters
    ----------
    data : EmojiDataset

    Returns
    -------
    list of str
    """
    return [
        " ".join((*_NAMES_COUNT * (name,), *keywords))
        for name, keywords in zip(data.names, data.keywords, strict=True)
    ]


def _by_row(scores: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Bring the scores of all rows into the order of the rows."""
    found = np.empty_like(scores)
    found[rows] = scores
    return found
