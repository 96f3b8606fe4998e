"""Files of several arrays whose names say what they are, as the literature on hashing shares them.

A name is a kind, I or X for images, T or Y for texts, L for labels, and a part, in this order
(``I_tr``, ``XTrain``, ``LAll``) or, of a few files, in the other (``trainL``). Samples are rows or
columns, which the labels tell.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from .._core.arrays import is_sparse
from ._file_formats import find_arrays
from ._found_arrays import FoundArray
from .readers import as_labels, describe_arrays

__all__ = ["Part", "UnknownLayoutError", "read_layout"]

_KINDS = {"i": "image", "x": "image", "t": "text", "y": "text", "l": "labels"}
_PARTS = {
    "tr": "train",
    "train": "train",
    "training": "train",
    "te": "test",
    "test": "test",
    "query": "test",
    "db": "database",
    "database": "database",
    "retrieval": "database",
    "all": "all",
}
_PART = "|".join(sorted(_PARTS, key=len, reverse=True))
_KIND_FIRST = re.compile(rf"([ixtyl])_?({_PART})", re.IGNORECASE)
_PART_FIRST = re.compile(rf"({_PART})_?([ixtyl])", re.IGNORECASE)


class UnknownLayoutError(ValueError):
    """The arrays of a file do not have the names that `read_layout` knows."""


@dataclass(frozen=True, eq=False)
class Part:
    """
    Samples that belong together: row i of everything is the same one.

    Attributes
    ----------
    features : dict of str to array_like, each of shape (n_samples, n_features)
    labels : labels or None
        Class numbers of shape (n_samples,), or 0/1 columns, dense or sparse.
    """

    features: dict[str, Any]
    labels: Any

    def __len__(self) -> int:
        return next(iter(self.features.values())).shape[0]

    def __repr__(self) -> str:
        widths = ", ".join(f"{name}: {x.shape[1]}" for name, x in self.features.items())
        labels = "no labels" if self.labels is None else f"labels {self.labels.shape}"
        return f"Part({len(self)} samples, features {{{widths}}}, {labels})"


def read_layout(path: str | os.PathLike[str]) -> dict[str, Part]:
    """
    Read a file whose arrays have names that the literature uses.

    Parameters
    ----------
    path : path
        Of a file that `read_array` reads, with arrays such as ``I_tr``, ``T_tr``, ``L_tr``,
        ``I_te``, ``T_te``, ``L_te``; ``XAll``, ``YAll``, ``LAll``; ``XTrain``, ``YTrain``,
        ``LTrain``, ``XTest``, ….

    Returns
    -------
    dict of str to Part
        "train", "test", "database" or "all", whichever there are. Features stay in the file where
        `read_array` leaves them there.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If no arrays have such names, two have the same meaning, or their shapes do not fit.
    ImportError
        If its format takes a package that is not installed.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from fasthash.datasets import read_layout
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "wiki.npz")
    ...     np.savez_compressed(path, XAll=np.ones((3, 5)), YAll=np.ones((2, 5)), LAll=np.arange(5))
    ...     read_layout(path)
    {'all': Part(5 samples, features {image: 3, text: 2}, labels (5,))}
    """
    path = os.fspath(path)
    found = find_arrays(path)
    names: dict[str, dict[str, str]] = {}
    for name in found:
        meaning = _meaning(name)
        if meaning is None:
            continue
        part, kind = meaning
        if kind in names.setdefault(part, {}):
            raise ValueError(f"{path} names {names[part][kind]} and {name}, both {kind} of {part}")
        names[part][kind] = name
    names = {part: kinds for part, kinds in names.items() if set(kinds) - {"labels"}}
    if not names:
        raise UnknownLayoutError(
            f"{path} has no arrays named as I_tr, T_tr, L_tr or XAll, YAll, LAll are: it holds "
            f"{describe_arrays(found)}; read_array({path + ':NAME'!r}) reads one of them"
        )
    parts = {part: _read_part(path, part, kinds, found) for part, kinds in names.items()}
    _check_widths(path, parts)
    return parts


def _meaning(name: str) -> tuple[str, str] | None:
    """(part, kind) that a name says, or None."""
    match = _KIND_FIRST.fullmatch(name)
    if match:
        return _PARTS[match[2].lower()], _KINDS[match[1].lower()]
    match = _PART_FIRST.fullmatch(name)
    if match:
        return _PARTS[match[1].lower()], _KINDS[match[2].lower()]
    return None


def _read_part(path: str, part: str, kinds: dict[str, str], found: dict[str, FoundArray]) -> Part:
    described = describe_arrays({name: found[name] for name in kinds.values()})
    labels = as_labels(found[kinds["labels"]].read()) if "labels" in kinds else None
    arrays = {kind: found[name].read() for kind, name in kinds.items() if kind != "labels"}
    for kind, array in arrays.items():
        if is_sparse(array):
            arrays[kind] = array.toarray()
        elif array.ndim != 2:
            raise ValueError(f"{path}: features must be matrices, but it holds {described}")
    shapes = [array.shape for array in arrays.values()]
    if labels is not None:
        shapes.append(tuple(labels.shape))
    n = _n_samples(shapes)
    if n is None:
        raise ValueError(f"{path}: the arrays of {part} share no number of samples: {described}")
    features = {kind: x if x.shape[0] == n else x.T for kind, x in sorted(arrays.items())}
    if labels is not None and labels.shape[0] != n:
        labels = labels.T
    return Part(features, labels)


def _n_samples(shapes: list[tuple[int, ...]]) -> int | None:
    """The length that all have, preferably that of the first axis; None without one."""
    shared = set.intersection(*(set(shape) for shape in shapes))
    for axis in (0, -1):
        lengths = {shape[axis] for shape in shapes}
        if len(lengths) == 1 and lengths <= shared:
            return lengths.pop()
    return shared.pop() if len(shared) == 1 else None


def _check_widths(path: str, parts: dict[str, Part]) -> None:
    for kind in ("image", "text"):
        widths = {
            part: one.features[kind].shape[1] for part, one in parts.items() if kind in one.features
        }
        if len(set(widths.values())) > 1:
            raise ValueError(f"{path}: the numbers of {kind} features differ: {widths}")
