"""Read files whose arrays have names that are usual in the literature on cross-modal hashing.

A name consists of a kind and a part of the data. The kind is I or X for images, T or Y for texts,
and L for labels. It usually comes first (``I_tr``, ``XTrain``, ``LAll``); in a few files it comes
last (``trainL``). Samples are rows or columns: the number of labels tells which.
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
    Features and labels of samples: row i of every array belongs to sample i.

    Attributes
    ----------
    features : dict of str to array_like, each of shape (n_samples, n_features)
        Features by modality.
    labels : array_like or None
        Class numbers of shape (n_samples,), or 0/1 columns, dense or sparse.

    See Also
    --------
    read_layout : Read the parts of a data set from a file.
    fasthash.experiments.compare : Compare models on parts.

    Examples
    --------
    >>> import numpy as np
    >>> from fasthash.datasets import Part
    >>> Part({"image": np.ones((5, 3)), "text": np.ones((5, 2))}, np.arange(5))
    Part(5 samples, features {image: 3, text: 2}, labels (5,))
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
    Read a file whose arrays have names that are usual in the literature.

    Parameters
    ----------
    path : path
        A file that `read_array` reads, with arrays such as ``I_tr``, ``T_tr``, ``L_tr``, ``I_te``,
        ``T_te``, ``L_te``; or ``XAll``, ``YAll``, ``LAll``; or ``XTrain``, ``YTrain``, ``LTrain``,
        ``XTest``, ….

    Returns
    -------
    dict of str to Part
        The parts that the file has, among "train", "test", "database" and "all". Features are
        memory-mapped if `read_array` maps them.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If no arrays have such names, two arrays have the same meaning, or their shapes do not fit.
    ImportError
        If its format needs a package that is not installed.

    See Also
    --------
    read_array : Read one array of a file.
    list_arrays : List the arrays of a file.

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
            raise ValueError(
                f"{path} has two arrays for {kind} of {part}, {names[part][kind]} and {name}: "
                "remove one of them"
            )
        names[part][kind] = name
    names = {part: kinds for part, kinds in names.items() if set(kinds) - {"labels"}}
    if not names:
        raise UnknownLayoutError(
            f"{path} has no arrays with names such as I_tr, T_tr, L_tr or XAll, YAll, LAll: it "
            f"holds {describe_arrays(found)}; read_array({path + ':NAME'!r}) reads one of them"
        )
    parts = {part: _read_part(path, part, kinds, found) for part, kinds in names.items()}
    _check_widths(path, parts)
    return parts


def _meaning(name: str) -> tuple[str, str] | None:
    """Return the (part, kind) that a name stands for, or None."""
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
            raise ValueError(f"{path}: features must be matrices, and it holds {described}")
    shapes = [array.shape for array in arrays.values()]
    if labels is not None:
        shapes.append(tuple(labels.shape))
    n = _n_samples(shapes)
    if n is None:
        raise ValueError(
            f"{path}: the arrays of {part} have no common number of samples: {described}"
        )
    features = {kind: x if x.shape[0] == n else x.T for kind, x in sorted(arrays.items())}
    if labels is not None and labels.shape[0] != n:
        labels = labels.T
    return Part(features, labels)


def _n_samples(shapes: list[tuple[int, ...]]) -> int | None:
    """Return the length that all shapes share, preferably of the first axis, or else None."""
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
