"""What a file holds, before it is read: an array's shape, dtype and how to get it.

`FoundArray` is one array, `SlicedRows` a matrix that stays in its file. `RefusedArrayError` is for
what is never read; `import_package` gets what reads a format.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FoundArray", "RefusedArrayError", "SlicedRows", "import_package", "is_text"]


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
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Any]


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
