"""What a file holds, before it is read: an array's shape, dtype and how to get it.

`FoundArray` is one array, `SlicedRows` a matrix that stays in its file. `RefusedArrayError` is for
what is never read, and `refused` finds such an array, so that no array of a file goes unnamed;
`import_package` gets what reads a format.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FoundArray",
    "RefusedArrayError",
    "SlicedRows",
    "as_strings",
    "import_package",
    "in_memory",
    "is_text",
    "name_of",
    "refused",
    "why_refused",
]


class RefusedArrayError(ValueError):
    """An array is not of a kind that is read; the message says so by itself."""


@dataclass(frozen=True)
class FoundArray:
    """
    An array that a file holds.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
        What its values are; "text" where they are strings.
    read : callable
        Returns it: an ndarray, mapped where the format allows it, a scipy sparse matrix, or a
        `SlicedRows`.
    read_numbers, read_texts : callable, optional
        Return it as numbers, and as the texts that were written, where a file of text holds it.
    refusal : str
        Why it is not read, to follow its name; "" where it is.
    index : bool
        Whether it is the index of a pandas table, which is no part of the matrix of its columns.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Any]
    read_numbers: Callable[[], NDArray[Any]] | None = None
    read_texts: Callable[[], NDArray[np.str_]] | None = None
    refusal: str = ""
    index: bool = False


def refused(name: str, shape: tuple[int, ...], dtype: str, why: str) -> FoundArray:
    """Find an array that is there and is not read."""

    def read() -> NoReturn:
        raise RefusedArrayError(f"{name} {why}")

    return FoundArray(shape, dtype, read, refusal=why)


def why_refused(dtype: np.dtype) -> str:
    """
    Say why values of a dtype are not read, to follow the name of an array; "" where they are.

    Examples
    --------
    >>> why_refused(np.dtype(np.complex128))
    'holds complex numbers: save their real and imaginary parts, as numbers'
    >>> why_refused(np.dtype(np.float16))
    ''
    """
    if dtype.hasobject:
        return (
            "holds Python objects, which are stored as pickles and never read: save numbers or "
            "strings instead"
        )
    if dtype.names is not None:
        return f"holds records of the fields {', '.join(dtype.names)}: save each as an array"
    if dtype.kind == "V":
        return (
            f"holds items of {dtype.itemsize} bytes of no known meaning, as numpy writes bfloat16 "
            "and other types that it does not know: save x.astype(numpy.float32)"
        )
    if dtype.kind == "c":
        return "holds complex numbers: save their real and imaginary parts, as numbers"
    if dtype.kind in "mM":
        return "holds dates or times: save them as numbers or as text"
    return ""


def name_of(dtype: np.dtype) -> str:
    """What the values of an array are called."""
    if dtype.hasobject:
        return "Python objects"
    return "text" if dtype.kind in "SUT" else dtype.name


def as_strings(texts: Sequence[str], name: str) -> NDArray[np.str_]:
    """
    Make an array of strings, and lose nothing.

    Raises
    ------
    RefusedArrayError
        If one ends with NUL, which numpy would cut off.
    """
    for row, text in enumerate(texts):
        if text.endswith("\0"):
            raise RefusedArrayError(f"{name} holds, in row {row}, a text that ends with NUL")
    return np.array(texts, np.str_)


def in_memory(array: NDArray[Any]) -> FoundArray:
    """Find an array that has been read."""
    return FoundArray(array.shape, name_of(array.dtype), lambda: array)


class SlicedRows:
    """
    A matrix in a file of which blocks of rows are read, as models read features.

    Parameters
    ----------
    source : anything with ``shape`` and ``dtype`` that can be sliced
    transposed : bool
        Whether the rows are the columns of `source`.

    Examples
    --------
    >>> import numpy as np
    >>> rows = SlicedRows(np.arange(6).reshape(2, 3), transposed=True)
    >>> rows.shape, rows[:1]
    ((3, 2), array([[0, 3]]))
    """

    def __init__(self, source: Any, transposed: bool = False) -> None:
        self._source = source
        self._transposed = transposed
        shape = tuple(int(length) for length in source.shape)
        self.shape = shape[::-1] if transposed else shape
        self.dtype = np.dtype(source.dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def T(self) -> SlicedRows:
        return SlicedRows(self._source, not self._transposed)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        block = self._source[:, rows].T if self._transposed else self._source[rows]
        # What lies at any place of a file may not lie at a multiple of its size.
        return np.require(block, requirements=["C", "A"])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


def is_text(array: Any) -> bool:
    """Tell whether an array holds strings."""
    return isinstance(array, np.ndarray) and array.dtype.kind in "UT"


def import_package(name: str, path: str) -> Any:
    """
    Import a package that reads a format.

    Raises
    ------
    ImportError
        If it is not installed; the message names the file and the extra.
    """
    if find_spec(name) is None:
        raise ImportError(
            f"{path} is read with {name}, which is not installed: "
            "pip install 'fasthash-retrieval[files]'"
        )
    return importlib.import_module(name)
