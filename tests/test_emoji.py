"""The embedded emoji set: what is in it, that its parts belong together, free text, thumbnails."""

from __future__ import annotations

import dataclasses
import struct
import subprocess
import sys
import threading
import zipfile
import zlib
from importlib.resources import files

import numpy as np
import pytest

from fasthash.datasets import EmojiDataset, load_emoji

ARCHIVE = files("fasthash.datasets") / "emoji.npz"


@pytest.fixture(scope="module")
def emoji() -> EmojiDataset:
    return load_emoji()


def stored_texts(emoji):
    pairs = zip(emoji.names, emoji.keywords, strict=True)
    return [" ".join((name, *keywords)) for name, keywords in pairs]


def png_chunks(content):
    """Cut a PNG into (type, data), checking the signature and every checksum."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    position, chunks = 8, []
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        kind = content[position + 4 : position + 8]
        data = content[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", content, position + 8 + length)
        assert checksum == zlib.crc32(kind + data)
        chunks.append((kind, data))
        position += length + 12
    return chunks


def test_counts_shapes_and_types(emoji):
    n = len(emoji)
    assert n == 1906
    assert set(emoji.features) == {"image", "text"}
    for features in emoji.features.values():
        assert features.dtype == np.float32 and len(features) == n
        assert np.isfinite(features).all()
        assert (features.std(axis=0) > 0).all()
    for names in (emoji.names, emoji.keywords, emoji.characters):
        assert len(names) == n
    assert len(set(emoji.characters)) == n
    assert all(emoji.names) and all(emoji.keywords)


def test_classes(emoji):
    assert len(emoji.group_names) == 9 and "component" not in emoji.group_names
    assert len(emoji.subgroup_names) == 98
    for numbers, names in (
        (emoji.groups, emoji.group_names),
        (emoji.subgroups, emoji.subgroup_names),
    ):
        assert numbers.dtype == np.int64 and numbers.shape == (len(emoji),)
        assert np.array_equal(np.unique(numbers), np.arange(len(names)))
    # Every subgroup lies in one group.
    assert len(set(zip(emoji.groups.tolist(), emoji.subgroups.tolist(), strict=True))) == 98


@pytest.mark.parametrize(
    ("name", "character", "keyword", "group", "subgroup"),
    [
        ("dog face", "🐶", "puppy", "animals-nature", "animal-mammal"),
        ("red apple", "🍎", "fruit", "food-drink", "food-fruit"),
        ("flag: Germany", "🇩🇪", "DE", "flags", "country-flag"),
        ("grinning face", "😀", "happy", "smileys-emotion", "face-smiling"),
        ("thumbs up", "👍", "yes", "people-body", "hand-fingers-closed"),
    ],
)
def test_names_characters_and_classes_are_aligned(emoji, name, character, keyword, group, subgroup):
    i = emoji.names.index(name)
    assert emoji.characters[i].rstrip("\ufe0f") == character
    assert keyword in emoji.keywords[i]
    assert emoji.group_names[emoji.groups[i]] == group
    assert emoji.subgroup_names[emoji.subgroups[i]] == subgroup


@pytest.mark.parametrize(
    ("name", "red", "green", "blue"),
    [
        ("red square", "high", "low", "low"),
        ("green square", "low", "high", "low"),
        ("blue square", "low", "low", "high"),
        ("black large square", "low", "low", "low"),
        ("white large square", "high", "high", "high"),
    ],
)
def test_glyphs_are_aligned_with_names(emoji, name, red, green, blue):
    chunks = dict(png_chunks(emoji.thumbnail(emoji.names.index(name))))
    width, height, depth, colour_type = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (width, height, depth, colour_type) == (48, 48, 8, 3)
    palette = np.frombuffer(chunks[b"PLTE"], dtype=np.uint8).reshape(-1, 3).astype(float)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), dtype=np.uint8).reshape(48, 49)
    assert not rows[:, 0].any(), "a row filter is in use: compare colours by decoding it first"
    colour = np.median(palette[rows[12:36, 13:37].ravel()], axis=0)
    for value, level in zip(colour, (red, green, blue), strict=True):
        assert value > 130 if level == "high" else value < 130


def test_similar_glyphs_have_similar_features(emoji):
    image = emoji.features["image"]

    def distance(a, b):
        a, b = emoji.names.index(a), emoji.names.index(b)
        return np.linalg.norm(image[a] - image[b])

    assert distance("grinning face", "smiling face with smiling eyes") < distance(
        "grinning face", "flag: Germany"
    )
    assert distance("red square", "blue square") < distance("red square", "dog face")


def test_classes_can_be_learned_from_either_modality(emoji):
    # Nearest class mean: far from the best method, but shuffled rows would give a ninth.
    for features in emoji.features.values():
        x = features[emoji.train]
        means = np.stack([x[emoji.groups[emoji.train] == g].mean(axis=0) for g in range(9)])
        squares = (means**2).sum(axis=1) - 2 * features[emoji.test] @ means.T
        assert (squares.argmin(axis=1) == emoji.groups[emoji.test]).mean() > 0.5


def test_the_split_is_disjoint_covering_and_stratified(emoji):
    for rows in (emoji.train, emoji.test):
        assert rows.dtype == np.int64 and (np.diff(rows) > 0).all()
    both = np.concatenate([emoji.train, emoji.test])
    assert np.array_equal(np.sort(both), np.arange(len(emoji)))
    share = np.bincount(emoji.groups[emoji.test]) / np.bincount(emoji.groups)
    assert (share > 0.22).all() and (share < 0.27).all()
    sizes = np.bincount(emoji.subgroups)
    n_test = np.bincount(emoji.subgroups[emoji.test], minlength=len(sizes))
    # A row or two of a subgroup may have moved to training for want of a known word.
    assert (np.abs(n_test - sizes / 4) < 3).all()
    assert (n_test < sizes).all()


def test_free_text_reproduces_the_stored_rows(emoji):
    computed = emoji.text_features(stored_texts(emoji))
    assert computed.dtype == np.float32
    np.testing.assert_allclose(computed, emoji.features["text"], rtol=0, atol=2**-11)
    np.testing.assert_allclose(np.linalg.norm(computed, axis=1), 1, rtol=1e-5)


def test_free_text_ignores_case_order_accents_and_punctuation(emoji):
    expected = emoji.text_features(["red apple"])
    same = emoji.text_features(["Apple, RED!", "réd äpple"])
    assert np.array_equal(same, np.repeat(expected, 2, axis=0))


@pytest.mark.parametrize(
    ("query", "name"),
    [("puppy", "dog face"), ("umbrella rain", "umbrella with rain drops"), ("violin", "violin")],
)
def test_free_text_lies_near_what_it_describes(emoji, query, name):
    similarity = emoji.features["text"] @ emoji.text_features([query])[0]
    rank = (similarity > similarity[emoji.names.index(name)]).sum()
    assert rank < 10


def test_free_text_tries_other_endings_and_leaves_unknown_words_out(emoji):
    for typed, known in (("violins", "violin"), ("qwertzy dragon", "dragon")):
        assert np.array_equal(emoji.text_features([typed]), emoji.text_features([known]))


@pytest.mark.parametrize("text", ["qwertzy", "", "!?"])
def test_a_text_without_known_words_is_refused_by_name(emoji, text):
    with pytest.raises(ValueError, match="is known") as caught:
        emoji.text_features(["dog", text])
    assert repr(text) in str(caught.value)


def test_a_misspelt_word_gets_suggestions(emoji):
    with pytest.raises(ValueError, match="'elephant'"):
        emoji.text_features(["elefant"])


def test_texts_of_the_wrong_type_are_refused(emoji):
    with pytest.raises(TypeError, match=r"use \['dog'\]"):
        emoji.text_features("dog")
    with pytest.raises(TypeError, match=r"texts\[1\]"):
        emoji.text_features(["dog", 3])


def test_no_texts_give_no_rows(emoji):
    assert emoji.text_features([]).shape == (0, emoji.features["text"].shape[1])


def test_free_text_leaves_its_input_alone(emoji):
    texts = ["dog", "rain"]
    emoji.text_features(texts)
    assert texts == ["dog", "rain"]


def test_thumbnails_are_small_transparent_pngs(emoji):
    assert emoji.thumbnail_media_type == "image/png"
    for i in range(len(emoji)):
        kinds = [kind for kind, _ in png_chunks(emoji.thumbnail(i))]
        assert kinds[0] == b"IHDR" and kinds[-1] == b"IEND"
        assert {b"PLTE", b"IDAT"} <= set(kinds)
    assert b"tRNS" in dict(png_chunks(emoji.thumbnail(emoji.names.index("dog face"))))


def test_thumbnail_row_numbers(emoji):
    assert emoji.thumbnail(np.int64(5)) == emoji.thumbnail(5)
    for i in (-1, len(emoji)):
        with pytest.raises(IndexError, match="outside 0 to 1905"):
            emoji.thumbnail(i)
    with pytest.raises(TypeError):
        emoji.thumbnail(1.5)


def test_callers_cannot_change_what_others_get(emoji):
    for array in (*emoji.features.values(), emoji.groups, emoji.subgroups, emoji.train, emoji.test):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        emoji.groups = np.zeros(1)
    mine = load_emoji()
    mine.features.clear()
    assert set(load_emoji().features) == {"image", "text"}


def test_threads_get_the_same_data():
    found = []
    threads = [threading.Thread(target=lambda: found.append(load_emoji())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for one in found:
        assert np.array_equal(one.features["text"], found[0].features["text"])


def test_the_archive_is_small_pickle_free_and_reproducible():
    content = ARCHIVE.read_bytes()
    assert len(content) < 4_000_000
    with ARCHIVE.open("rb") as file, zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        members = archive.infolist()
        assert [m.filename for m in members] == sorted(m.filename for m in members)
        assert {m.date_time for m in members} == {(1980, 1, 1, 0, 0, 0)}
    with ARCHIVE.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        assert all(not archive[name].dtype.hasobject for name in archive.files)


def test_loading_needs_no_scikit_learn(tmp_path):
    code = (
        "import sys; from fasthash.datasets import load_emoji; "
        "load_emoji().text_features(['dog']); "
        "sys.exit(any(m in sys.modules for m in ('sklearn', 'scipy', 'PIL', 'pickletools')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


def test_every_source_is_credited():
    notice = (files("fasthash.datasets") / "EMOJI_LICENSES.md").read_text(encoding="utf-8")
    for needed in (
        "UNICODE LICENSE V3",
        "Copyright (c) 2017-2019 Miles Johnson",
        "Copyright (c) 2013 Cal Henderson",
        "Version 2.0, January 2004",
        "END OF TERMS AND CONDITIONS",
    ):
        assert needed in notice
