"""Arrays of a file before they are read: shape, dtype, and the function that reads them.

`FoundArray` describes one array, and `SlicedRows` is a matrix that stays in its file.
`RefusedArrayError` is raised for an array that is never read; `refused` describes such an array, so
that every array of a file is listed. `import_package` imports the package that reads a format.
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
    """An array is of a kind that is not read. The message is complete and needs no prefix."""


@dataclass(frozen=True)
class FoundArray:
    """
    An array that a file holds.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
        Name of the dtype of its values; "text" for strings.
    read : callable
        Returns the array: an ndarray, memory-mapped if the format allows it, a scipy sparse matrix,
        or a `SlicedRows`.
    read_numbers, read_texts : callable, optional
        For a column of a text file: return the cells as numbers, and as the texts in the file.
    refusal : str
        Why the array is not read, as the end of a sentence that begins with its name; "" if it can
        be read.
    index : bool
        Whether it is the index of a pandas table. The matrix of the table's columns leaves it out.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Any]
    read_numbers: Callable[[], NDArray[Any]] | None = None
    read_texts: Callable[[], NDArray[np.str_]] | None = None
    refusal: str = ""
    index: bool = False


def refused(name: str, shape: tuple[int, ...], dtype: str, why: str) -> FoundArray:
    """Describe an array that the file holds and that is not read."""

    def read() -> NoReturn:
        raise RefusedArrayError(f"{name} {why}")

    return FoundArray(shape, dtype, read, refusal=why)


def why_refused(dtype: np.dtype) -> str:
    """
    Say why values of a dtype are not read, after the name of an array; "" if they are read.

    Examples
    --------
    >>> why_refused(np.dtype(np.complex128))
    'holds complex numbers: save their real and imaginary parts as numbers'
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
            f"holds items of {dtype.itemsize} bytes of unknown meaning; numpy writes bfloat16 and "
            "other types that it does not know in this way: save x.astype(numpy.float32)"
        )
    if dtype.kind == "c":
        return "holds complex numbers: save their real and imaginary parts as numbers"
    if dtype.kind in "mM":
        return "holds dates or times: save them as numbers or as text"
    return ""


def name_of(dtype: np.dtype) -> str:
    """Return the name of a dtype for messages and listings."""
    if dtype.hasobject:
        return "Python objects"
    return "text" if dtype.kind in "SUT" else dtype.name


def as_strings(texts: Sequence[str], name: str) -> NDArray[np.str_]:
    """
    Make an array of strings without changing any of them.

    Raises
    ------
    RefusedArrayError
        If a text ends with NUL, because numpy would cut the NUL off.
    """
    for row, text in enumerate(texts):
        if text.endswith("\0"):
            raise RefusedArrayError(f"{name} holds a text that ends with NUL, in row {row}")
    return np.array(texts, np.str_)


def in_memory(array: NDArray[Any]) -> FoundArray:
    """Describe an array that is in memory already."""
    return FoundArray(array.shape, name_of(array.dtype), lambda: array)


class SlicedRows:
    """
    A matrix that stays in its file; models read blocks of its rows.

    Parameters
    ----------
    source : object with ``shape`` and ``dtype`` that can be sliced
        The matrix in the file.
    transposed : bool, default False
        Whether the rows of this object are the columns of `source`.

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
        # The values in a file may not be aligned in memory.
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
        If it is not installed. The message names the file and the extra to install.
    """
    if find_spec(name) is None:
        raise ImportError(
            f"to read {path}, fasthash needs {name}, which is not installed: "
            "pip install 'fasthash-retrieval[files]'"
        )
    return importlib.import_module(name)
