"""Codes of words: equal words, rare words, unknown words, on the names of the emoji."""

import difflib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fasthash as fh
from fasthash._core.words import Vocabulary, split_words
from fasthash.datasets import load_emoji
from fasthash.words import WordCodes

TEXTS = st.lists(st.sampled_from("red green apple apples dog Dogs cat faces".split()), max_size=6)


@pytest.fixture(scope="module")
def names():
    return list(load_emoji().names)


def test_almost_every_name_finds_its_emoji_first(names):
    words = WordCodes(names)
    _, ids = fh.topk_weighted(words.project(names), words.encode(names), 10)
    rows = np.arange(len(names))
    assert np.mean(ids[:, 0] == rows) > 0.99
    assert (ids == rows[:, None]).any(axis=1).all()


@given(texts=st.lists(TEXTS, min_size=1, max_size=5), n_bits=st.sampled_from([1, 7, 64, 65, 256]))
def test_projections_are_sums_over_words(texts, n_bits):
    joined = [" ".join(["word", *text]) for text in texts]
    words = WordCodes(joined, n_bits=n_bits)
    counts = {word: sum(word in split_words(text) for text in joined) for word in
              {word for text in joined for word in split_words(text)}}  # fmt: skip
    projections = words.project(joined)
    assert projections.dtype == np.float32 and projections.shape == (len(texts), n_bits)
    np.testing.assert_array_equal(words.encode(joined), fh.pack(projections >= 0))
    for row, text in zip(projections, joined, strict=True):
        # In the sum, each word has its own signs, and the weight of its own text alone.
        total = np.zeros(n_bits)
        for word in set(split_words(text)):
            alone = WordCodes([word], n_bits=n_bits).project([word])[0]
            weight = 1 + np.log(split_words(text).count(word))
            rarity = 1 + np.log((1 + len(joined)) / (1 + counts[word]))
            total += weight * rarity * alone
        np.testing.assert_allclose(row, total, rtol=1e-4, atol=1e-3)


def test_order_case_accents_and_endings_do_not_matter():
    words = WordCodes(["red apple", "dog face"])
    same = words.project(["red apple", "Apples; RED", "réd äpple!", "red zebra apple"])
    np.testing.assert_array_equal(same, np.repeat(same[:1], 4, axis=0))


def test_unknown_words_are_named():
    words = WordCodes(["electric plug", "musical keyboard", "guitar"])
    assert words.unknown_words("electric gitar") == {"gitar": ["guitar"]}
    assert words.unknown_words("Guitars") == {}
    with pytest.raises(ValueError, match="no word of the text 'gitar' is known: did you mean 'gu"):
        words.project(["guitar", "gitar"])
    with pytest.raises(ValueError, match="no word of the text '' is known: use words of the texts"):
        words.project([""])


def test_a_text_without_words_is_near_to_no_other(names):
    words = WordCodes(names)
    codes = words.encode([*names, "", "!?"])
    distances = fh.distances(codes[-2:-1], codes)[0]
    assert distances[-1] == 0 and distances[:-2].min() > 80


@pytest.mark.parametrize(
    ("texts", "options", "error", "message"),
    [
        ("dog", {}, TypeError, r"use \['dog'\]"),
        (["dog", None], {}, TypeError, r"texts\[1\] must be a string, not NoneType"),
        (["dog"], {"n_bits": 0}, ValueError, "n_bits"),
    ],
)
def test_what_is_refused(texts, options, error, message):
    with pytest.raises(error, match=message):
        WordCodes(texts, **options)
    if not options:
        with pytest.raises(error, match=message):
            WordCodes(["dog"]).project(texts)


def test_an_empty_collection():
    words = WordCodes([], n_bits=8)
    assert words.encode([]).shape == (0, 1) and words.project([]).shape == (0, 8)
    with pytest.raises(ValueError, match="no word"):
        words.project(["dog"])


def test_other_texts_and_processes_change_nothing(names):
    words = WordCodes(names)
    together = words.project(names)
    for row in (0, 7, 1500):
        np.testing.assert_array_equal(words.project(names[row : row + 1])[0], together[row])
    script = (
        "import sys, numpy as np, fasthash as fh; names = fh.datasets.load_emoji().names; "
        "words = fh.words.WordCodes(names); "
        "sys.stdout.buffer.write(words.project(names).tobytes())"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        assert done.stdout == together.tobytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\u0939\u093f\u0928\u094d\u0926\u0940", ["\u0939\u093f\u0928\u0926\u0940"]),  # Hindi
        ("\u0e01\u0e34\u0e19\u0e02\u0e49\u0e32\u0e27", ["\u0e01\u0e19\u0e02\u0e32\u0e27"]),  # Thai
        ("\u2764\ufe0f 1\ufe0f\u20e3", ["1"]),  # emoji with selectors of their form
        ("\U0001d400pple \u2121", ["apple", "tel"]),  # capitals that a decomposition makes
        ("\u0130stanbul", ["istanbul"]),
        ("E\u0301cole \u00c9COLE", ["ecole", "ecole"]),
    ],
)
def test_marks_do_not_split_words(text, words):
    assert split_words(text) == words


@given(
    known=st.lists(st.text("abc\u00e5\u4e2d", min_size=1, max_size=9), max_size=30, unique=True),
    word=st.text("abc\u4e2d", min_size=1, max_size=9),
)
def test_similar_words_are_those_of_difflib(known, word):
    expected = difflib.get_close_matches(word, known, 3, 0.75)
    assert Vocabulary(known)._similar(word) == expected


def test_long_words_are_similar_too():
    long = 300 * "ab"
    assert Vocabulary([long, "ab"]).unknown(long + "c") == {long + "c": [long]}
    assert Vocabulary([long[:256]]).unknown(long[:250]) == {long[:250]: [long[:256]]}


def test_suggestions_of_two_words_are_two_lists():
    text = " ".join(f"x{i}" for i in range(20))
    lists = Vocabulary(["dog"]).unknown(text).values()
    assert len({id(one) for one in lists}) == 20


@pytest.mark.parametrize("texts", [None, 5, {"a"}, (text for text in ["a"])])
@pytest.mark.parametrize(
    "function",
    [WordCodes, WordCodes(["a"]).project, WordCodes(["a"]).encode, load_emoji().text_features],
)
def test_what_is_no_sequence_is_refused(function, texts):
    with pytest.raises(TypeError, match=r"texts must be a sequence of strings, not .*pass a list"):
        function(texts)
