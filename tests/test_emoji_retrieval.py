"""The main job on the real data: the figures the README promises, and words that find glyphs."""

import numpy as np
import pytest

import fasthash as fh
from fasthash._core.words import split_words
from fasthash.datasets import load_emoji
from fasthash.pages import demo


@pytest.fixture(scope="module")
def data():
    return load_emoji()


@pytest.fixture(scope="module")
def fitted(data):
    return demo.fit(data, "AMSH", 64, seed=0, callback=lambda *event: None)


def test_mean_average_precision_across_modalities(fitted):
    assert fitted.scores["image", "text"] >= 0.74
    assert fitted.scores["text", "image"] >= 0.87


def test_chance_is_that_of_a_random_ranking(data):
    share = np.bincount(data.groups[data.train]) / len(data.train)
    assert demo.chance(data) == pytest.approx(share[data.groups[data.test]].mean(), abs=0.01)


@pytest.mark.parametrize(
    ("words", "subgroup"),
    [("fruit", "food-fruit"), ("red heart", "heart"), ("dog", "animal-mammal")],
)
def test_words_find_glyphs_of_their_kind(data, fitted, words, subgroup):
    found = demo.answer(data, fitted.model, [words], k=10)[0]
    names = [data.subgroup_names[data.subgroups[row]] for row in found.rows]
    assert names.count(subgroup) >= 7, names
    gallery = fitted.model.encode(data.features["image"], "image")
    features = data.text_features([words])
    scores, rows = fitted.model.search(features, "text", gallery, k=len(data))
    assert (found.scores == scores[0, :10]).all()
    for row, score, ties in zip(found.rows, found.scores, found.ties, strict=True):
        equal = rows[0][scores[0] == score]
        assert row in equal and ties == len(equal)
    apart = fh.distances(fitted.model.encode(features, "text"), gallery[found.rows])
    assert (found.distances == apart[0]).all()


def test_emoji_that_are_asked_for_by_their_names_are_found(data, fitted):
    """By the codes of glyphs and of words, as they are served; docs/emoji.md has the figures."""
    texts = demo.texts(data)
    words = fh.words.WordCodes(texts)
    glyphs = fitted.model.encode(data.features["image"], "image")
    known = np.array(
        [set(split_words(name)) > set(data.unknown_words(name)) for name in data.names]
    )
    weights = np.zeros((len(data), 64))
    asked = [name for name, is_known in zip(data.names, known, strict=True) if is_known]
    weights[known] = fitted.model.project(data.text_features(asked), "text")
    _, ids = fh.topk_fused(
        None,
        {"glyphs": glyphs, "words": words.encode(texts)},
        10,
        weights={"glyphs": weights, "words": words.project(data.names)},
    )
    found = ids == np.arange(len(data))[:, None]
    for rows, first, within_ten in ((data.train, 0.95, 0.99), (data.test, 0.93, 0.98)):
        assert found[rows, 0].mean() >= first and found[rows].any(axis=1).mean() >= within_ten
