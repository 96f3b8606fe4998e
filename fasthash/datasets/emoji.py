"""The emoji data set of the package: two modalities, rendered glyphs and English descriptions.

`load_emoji` returns an `EmojiDataset`. `TextEncoder` computes text features, both for the stored
rows and for free text. `read_archive` reads ``emoji.npz``, which has these entries:

=================  =================  ================================================
entry              shape, dtype       meaning
=================  =================  ================================================
image              (n, d_i) int8      image features divided by ``image_scale``
image_scale        () float32
text               (n, d_t) float16   text features, rows of unit length
group, subgroup    (n,) uint8         class numbers
test               (n,) bool          the fixed split
idf                (v,) float32       weight of each vocabulary word
word_vectors       (v, d_t) int8      direction of each word in feature space
word_scale         (v,) float32       factor by which a row of ``word_vectors`` is multiplied
thumbnails         (bytes,) uint8     PNG files, one after another
thumbnail_offsets  (n + 1,) uint32    where each file begins; where the last one ends
strings            (bytes,) uint8     UTF-8 JSON: names, keywords, vocabulary and more
=================  =================  ================================================
"""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._core.words import Vocabulary, check_texts

__all__ = ["EmojiDataset", "TextEncoder", "load_emoji"]

_ARCHIVE = Path(__file__).with_name("emoji.npz")
_ELSE_TRY = "use more common English words, such as 'dog', 'rain' or 'happy face'"


class TextEncoder:
    """
    Compute text features: a sum of word vectors, weighted by rarity, scaled to unit length.

    If the vocabulary lacks a word, common English endings are removed or added: "dogs" counts as
    "dog". If the result is unknown too, the word is ignored.

    Parameters
    ----------
    vocabulary : sequence of str
        The known words, in the form of `fasthash._core.words.split_words`.
    idf : ndarray of float32, shape (v,)
        Weight of each word, which is higher for rare words.
    word_vectors : ndarray of float32, shape (v, d)
        Vector of each word in feature space.

    Examples
    --------
    >>> encoder = TextEncoder(["cat", "dog"], np.ones(2), np.eye(2))
    >>> encoder(["A dog!", "cats"])
    array([[0., 1.],
           [1., 0.]], dtype=float32)
    """

    def __init__(self, vocabulary: Sequence[str], idf: np.ndarray, word_vectors: np.ndarray):
        self.vocabulary = Vocabulary(vocabulary)
        self._idf = idf
        self._word_vectors = word_vectors

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """
        Compute the features of texts.

        Parameters
        ----------
        texts : sequence of str, length m
            English words, in any order.

        Returns
        -------
        ndarray of float32, shape (m, d)
            Rows of unit length.

        Raises
        ------
        TypeError
            If `texts` is one string, or holds an object that is not a string.
        ValueError
            If a text has no known word. The message names the text and similar words that are
            known.

        Examples
        --------
        >>> encoder = TextEncoder(["cat", "dog"], np.ones(2), np.eye(2))
        >>> encoder(["dog"])
        array([[0., 1.]], dtype=float32)
        """
        check_texts(texts)
        features = np.empty((len(texts), self._word_vectors.shape[1]), dtype=np.float32)
        for row, text in enumerate(texts):
            counts = self.vocabulary.count(text)
            if not counts:
                raise self.vocabulary.refusal(text, _ELSE_TRY)
            # The numbers are sorted, so that the order of the words does not change the rounding.
            numbers = np.array(sorted(counts))
            weights = np.array([counts[number] for number in numbers], dtype=np.float64)
            weights = (1.0 + np.log(weights)) * self._idf[numbers]
            vector = weights @ self._word_vectors[numbers]
            length = np.linalg.norm(vector)
            features[row] = vector / length if length > 0 else 0.0
        return features


@dataclass(frozen=True, eq=False, repr=False)
class EmojiDataset:
    """
    Emoji as aligned modalities: row ``i`` of each array and tuple belongs to the same emoji.

    All arrays are read-only. The dict ``features`` belongs to the caller and may be changed.

    Attributes
    ----------
    features : dict of str to ndarray
        ``"image"``: (n, d_i) float32, shape and colour of the glyph; ``"text"``: (n, d_t) float32,
        name and keywords. The feature extraction was fitted to the training rows only.
    groups : ndarray of int64, shape (n,)
        Unicode group of each emoji, as a position in `group_names`.
    subgroups : ndarray of int64, shape (n,)
        Unicode subgroup of each emoji, as a position in `subgroup_names`.
    group_names, subgroup_names : tuple of str
        Names of the groups and subgroups.
    names : tuple of str, length n
        English short names.
    keywords : tuple of tuple of str, length n
        English keywords.
    characters : tuple of str, length n
        The emoji themselves.
    train, test : ndarray of int64
        Row numbers of the fixed split, ascending; about three quarters and one quarter of every
        group.

    See Also
    --------
    load_emoji : Load it.

    Examples
    --------
    >>> from fasthash.datasets import load_emoji
    >>> emoji = load_emoji()
    >>> i = emoji.names.index("dog face")
    >>> emoji.group_names[emoji.groups[i]], emoji.subgroup_names[emoji.subgroups[i]]
    ('animals-nature', 'animal-mammal')
    """

    features: dict[str, np.ndarray]
    groups: np.ndarray
    subgroups: np.ndarray
    group_names: tuple[str, ...]
    subgroup_names: tuple[str, ...]
    names: tuple[str, ...]
    keywords: tuple[tuple[str, ...], ...]
    characters: tuple[str, ...]
    train: np.ndarray
    test: np.ndarray
    _encoder: TextEncoder
    _thumbnails: bytes
    _thumbnail_offsets: tuple[int, ...]

    @property
    def thumbnail_media_type(self) -> str:
        """Media type of the file that `thumbnail` returns: ``"image/png"``."""
        return "image/png"

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        widths = ", ".join(f"{name}: {x.shape[1]}" for name, x in self.features.items())
        return (
            f"EmojiDataset({len(self)} emoji, features {{{widths}}}, "
            f"{len(self.group_names)} groups, {len(self.train)} train / {len(self.test)} test)"
        )

    def text_features(self, texts: Sequence[str]) -> np.ndarray:
        """
        Compute the features of free text in the text modality.

        Parameters
        ----------
        texts : sequence of str, length m
            English words, in any order. If no training emoji has a word, common endings are removed
            or added; if the result is unknown too, the word is ignored.

        Returns
        -------
        ndarray of float32, shape (m, d_t)
            Rows of unit length. The name of an emoji followed by its keywords gives its row of
            ``features["text"]``.

        Raises
        ------
        TypeError
            If `texts` is one string, or holds an object that is not a string.
        ValueError
            If a text has no known word. The message names the text and similar words that are
            known.

        Examples
        --------
        >>> from fasthash.datasets import load_emoji
        >>> emoji = load_emoji()
        >>> query = emoji.text_features(["happy face"])
        >>> query.shape == (1, emoji.features["text"].shape[1])
        True
        """
        return self._encoder(texts)

    def unknown_words(self, text: str) -> dict[str, list[str]]:
        """
        List the words of a text that `text_features` leaves out.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        dict of str to list of str
            For each unknown word, in the order of the text, at most three known words that are
            spelt alike, the most similar first. They are looked up for the first eight words.

        See Also
        --------
        text_features : Compute features of the words that are known.

        Examples
        --------
        >>> from fasthash.datasets import load_emoji
        >>> load_emoji().unknown_words("a happy qwertzy lepard")
        {'qwertzy': [], 'lepard': ['leopard']}
        """
        return self._encoder.vocabulary.unknown(text)

    def thumbnail(self, i: int) -> bytes:
        """
        Return a small picture of an emoji, a PNG file with transparency.

        Parameters
        ----------
        i : int
            Row number, 0 to n - 1.

        Returns
        -------
        bytes
            Content of the file. Its media type is `thumbnail_media_type`.

        Raises
        ------
        IndexError
            If there is no such row.

        Examples
        --------
        >>> from fasthash.datasets import load_emoji
        >>> load_emoji().thumbnail(0)[1:4]
        b'PNG'
        """
        row = operator.index(i)
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} is outside 0 to {len(self) - 1}")
        return self._thumbnails[self._thumbnail_offsets[row] : self._thumbnail_offsets[row + 1]]


def load_emoji() -> EmojiDataset:
    """
    Load the emoji data set, which is part of the package.

    The file is read once per process, and all calls share its read-only arrays.

    Returns
    -------
    EmojiDataset
        1,906 emoji without skin-tone variants, in nine groups, as glyphs and texts, with a fixed
        split into training and test rows.

    See Also
    --------
    read_layout : Read a data set of your own.

    Examples
    --------
    >>> from fasthash.datasets import load_emoji
    >>> emoji = load_emoji()
    >>> len(emoji), sorted(emoji.features)
    (1906, ['image', 'text'])
    """
    features, rest = _parts()
    return EmojiDataset(features=dict(features), **rest)


def read_archive(path: Path = _ARCHIVE) -> dict[str, np.ndarray]:
    """
    Read the arrays of an emoji archive. The docstring of this module lists its entries.

    Parameters
    ----------
    path : Path, default the file of the package
        A file in the format of ``emoji.npz``.

    Returns
    -------
    dict of str to ndarray
        All entries, by name.

    Raises
    ------
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> sorted(read_archive())[:3]
    ['group', 'idf', 'image']
    """
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


@functools.cache
def _parts() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    entries = read_archive()
    strings = json.loads(entries["strings"].tobytes())
    word_vectors = entries["word_vectors"] * entries["word_scale"][:, None]
    features = {
        "image": _read_only(entries["image"] * entries["image_scale"]),
        "text": _read_only(entries["text"].astype(np.float32)),
    }
    rest = {
        "groups": _read_only(entries["group"].astype(np.int64)),
        "subgroups": _read_only(entries["subgroup"].astype(np.int64)),
        "group_names": tuple(strings["group_names"]),
        "subgroup_names": tuple(strings["subgroup_names"]),
        "names": tuple(strings["names"]),
        "keywords": tuple(tuple(words) for words in strings["keywords"]),
        "characters": tuple(strings["characters"]),
        "train": _read_only(np.flatnonzero(~entries["test"]).astype(np.int64)),
        "test": _read_only(np.flatnonzero(entries["test"]).astype(np.int64)),
        "_encoder": TextEncoder(strings["vocabulary"], entries["idf"], word_vectors),
        "_thumbnails": entries["thumbnails"].tobytes(),
        "_thumbnail_offsets": tuple(entries["thumbnail_offsets"].tolist()),
    }
    return features, rest


def _read_only(array: np.ndarray) -> np.ndarray:
    # The flags of an array can be set back to writable, but those of a view cannot.
    array.setflags(write=False)
    return array.view()
