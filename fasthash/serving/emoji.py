"""The emoji data set as a collection: glyphs, found by text or by another glyph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..codes import pack_signs
from ..datasets import EmojiDataset, load_emoji
from ..index import HammingIndex
from ..pages import demo
from .collection import Collection, Length, Words
from .gallery import Gallery, Labels

__all__ = ["emoji_collection"]

# Texts to search by that the page offers.
EXAMPLES = ("dog", "rain", "happy face", "red fruit", "music", "birthday")


class _Thumbnails:
    def __init__(self, data: EmojiDataset) -> None:
        self._data = data

    def __contains__(self, item: int, /) -> bool:
        return item < len(self._data)

    def read(self, item: int, /) -> bytes | None:
        return self._data.thumbnail(item) if item in self else None


def emoji_collection(
    callback: Callable[[str, int, int], None] | None = None,
    lengths: tuple[int, ...] = (16, 32, 64, 128),
) -> Collection:
    """
    Learn codes of all glyphs, with one model for each length and the settings of the demo.

    Parameters
    ----------
    callback : callable, optional
        Called as ``callback(stage, done, total)`` after every piece of work.
    lengths : tuple of int, default (16, 32, 64, 128)
        Code lengths.

    Returns
    -------
    Collection
        All glyphs, searched by text, item, features or code. Texts are compared with the codes of
        the glyphs, and with the words of their names and keywords.
    """
    data = load_emoji()
    models = demo.fit_lengths(data, lengths, seed=0, callback=callback)
    groups = Labels(np.array(data.group_names)[data.groups])
    gallery = Gallery(data.names, groups, _Thumbnails(data))
    n_features = {name: x.shape[1] for name, x in data.features.items()}
    found = []
    for n_bits, model in models.items():
        weights = model.project(data.features["image"], "image")
        index = HammingIndex(n_bits)
        index.add(pack_signs(weights))

        def project(x: NDArray[Any], modality: str, model: Any = model) -> NDArray[np.floating]:
            return model.project(x, modality, n_threads=1)

        scales = {name: of_name["image"] for name, of_name in model.distance_scales_.items()}
        scales[""] = scales["image"]
        found.append(Length(index, project, n_features, weights, scales))
    words = Words(data.text_features, "text", data.unknown_words)
    return Collection("emoji", gallery, found, words, demo.texts(data), examples=EXAMPLES)
