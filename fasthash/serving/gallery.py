"""Names, labels, pictures and sounds of items."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..pages.pictures import media_type

__all__ = [
    "Gallery",
    "Labels",
    "Pictures",
    "files_of_folder",
    "sound_type",
]

_SUFFIXES = {
    "pictures": {".png", ".jpg", ".jpeg", ".gif", ".webp"},
    "sounds": {".wav", ".ogg", ".flac", ".mp3"},
}


class Labels:
    """
    Labels of items, with a lookup by item and by label.

    Parameters
    ----------
    labels : array_like of shape (n,), or of shape (n, n_labels), dense or sparse
        The class of each item, as a text or a number; or 0/1 columns. Row i belongs to item i. An
        empty text means that the item has no label.
    names : sequence of str, optional
        Names of the classes, by number or column. By default the texts or numbers are the names.

    Raises
    ------
    ValueError
        If the names do not fit the labels, or two labels have the same name.
    """

    def __init__(self, labels: Any, names: Sequence[str] | None = None) -> None:
        if getattr(labels, "ndim", 1) == 2:
            self._of_item, self._names = _of_columns(labels, names)
        else:
            self._of_item, self._names = _of_classes(np.asarray(labels), names)
        counts = Counter(self._names)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise ValueError(f"two labels are called {twice[0]!r}")
        by_label = self._of_item.tocsc()
        columns = np.split(by_label.indices.astype(np.int64), by_label.indptr[1:-1])
        self._ids = {name: ids for name, ids in zip(self._names, columns, strict=True) if len(ids)}

    def __len__(self) -> int:
        return int(self._of_item.shape[0])

    def __contains__(self, name: str) -> bool:
        """Tell whether any item has the label."""
        return name in self._ids

    @property
    def names(self) -> list[str]:
        """Labels of at least one item, in their order."""
        return list(self._ids)

    def ids(self, name: str) -> NDArray[np.int64]:
        """Return the items with a label, ascending. An unknown label raises KeyError."""
        return self._ids[name]

    def of(self, item: int) -> list[str]:
        """Return the labels of an item."""
        if item >= len(self):
            return []
        start, stop = self._of_item.indptr[item : item + 2]
        return [self._names[i] for i in self._of_item.indices[start:stop]]


def _of_columns(labels: Any, names: Sequence[str] | None) -> tuple[Any, list[str]]:
    of_item = csr_array(labels).astype(bool)
    of_item.eliminate_zeros()
    of_item.sort_indices()
    n_labels = of_item.shape[1]
    if names is not None and len(names) != n_labels:
        raise ValueError(f"there are {n_labels} labels and {len(names)} names of labels")
    return of_item, list(map(str, range(n_labels)) if names is None else names)


def _of_classes(labels: NDArray[Any], names: Sequence[str] | None) -> tuple[Any, list[str]]:
    classes, numbers = np.unique(labels, return_inverse=True)
    called = [str(one) for one in classes]
    if names is not None:
        if labels.dtype.kind not in "iu":
            raise ValueError("labels must be integers from 0 if names of labels are given")
        if len(classes) and not 0 <= int(classes[0]) <= int(classes[-1]) < len(names):
            raise ValueError(
                f"labels go from {classes[0]} to {classes[-1]}, and there are {len(names)} names "
                "of labels"
            )
        called = [names[int(one)] for one in classes]
    rows = np.flatnonzero(np.array([bool(name) for name in called], bool)[numbers])
    shape = (len(numbers), len(called))
    return csr_array((np.ones(len(rows), bool), (rows, numbers[rows])), shape=shape), called


class Pictures(Protocol):
    """Pictures by item."""

    def __contains__(self, item: int, /) -> bool:
        """Tell whether an item should have a picture."""
        ...

    def read(self, item: int, /) -> bytes | None:
        """Read the picture of an item; return None if it cannot be read."""
        ...


def files_of_folder(folder: Path, kind: str = "pictures") -> list[str]:
    """
    List the names of the pictures in a folder, sorted; with kind="sounds", of the sounds.

    Raises
    ------
    OSError
        If the folder cannot be read.
    ValueError
        If the folder holds none.
    """
    suffixes = _SUFFIXES[kind]
    names = sorted(
        entry.name for entry in os.scandir(folder) if Path(entry.name).suffix.lower() in suffixes
    )
    if not names:
        raise ValueError(
            f"{folder} holds no {kind}: their names must end in {', '.join(sorted(suffixes))}"
        )
    return names


class Gallery:
    """
    Names, labels and pictures of items. Each of them may be missing.

    Parameters
    ----------
    names : sequence of str
        Name i belongs to item i. The sequence may be shorter than the number of items.
    labels : Labels, optional
        Labels of the items.
    pictures : Pictures, optional
        Pictures of the items.
    sounds : Pictures, optional
        Sounds of the items, which are read in the same way.

    Attributes
    ----------
    names : list of str
        Names, as given.
    labels : Labels or None
        Labels of the items.
    """

    def __init__(
        self,
        names: Sequence[str] = (),
        labels: Labels | None = None,
        pictures: Pictures | None = None,
        sounds: Pictures | None = None,
    ) -> None:
        self.names = list(names)
        self._folded = [name.casefold() for name in self.names]
        self.labels = labels
        self._pictures = pictures
        self._sounds = sounds

    def name(self, item: int) -> str:
        """Return the name of an item, or "item" and its number if it has no name."""
        return self.names[item] if item < len(self.names) else f"item {item}"

    def called(self, words: str) -> NDArray[np.int64]:
        """Return the items whose names contain all words, ascending. The cost is O(n) per word."""
        rows: Iterable[int] = range(len(self._folded))
        folded = self._folded
        for word in words.casefold().split():
            rows = [row for row in rows if word in folded[row]]
        return np.array(rows, np.int64)

    def has_picture(self, item: int) -> bool:
        return self._pictures is not None and item in self._pictures

    def picture(self, item: int) -> tuple[bytes, str] | None:
        """Return the content and media type of an item's picture, or None without a picture."""
        return _read(self._pictures, item, media_type)

    @property
    def has_sounds(self) -> bool:
        return self._sounds is not None

    def has_sound(self, item: int) -> bool:
        return self._sounds is not None and item in self._sounds

    def sound(self, item: int) -> tuple[bytes, str] | None:
        """Return the content and media type of an item's sound, or None without a sound."""
        return _read(self._sounds, item, sound_type)


def _read(
    files: Pictures | None, item: int, type_of: Callable[[bytes], str | None]
) -> tuple[bytes, str] | None:
    content = None if files is None else files.read(item)
    kind = None if content is None else type_of(content)
    return None if content is None or kind is None else (content, kind)


def sound_type(content: bytes) -> str | None:
    """
    Return the media type of a sound that browsers can play, or None for other content.

    Examples
    --------
    >>> sound_type(b"fLaC...")
    'audio/flac'
    >>> sound_type(b"<html>") is None
    True
    """
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        return "audio/wav"
    if content.startswith(b"OggS"):
        return "audio/ogg"
    if content.startswith(b"fLaC"):
        return "audio/flac"
    if content.startswith(b"ID3") or content[:2] in (b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"):
        return "audio/mpeg"
    return None
