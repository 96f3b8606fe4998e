"""Variables of .mat files up to version 7, by scipy, and what MATLAB's cells and texts become.

A cell of texts is an array of strings; a cell of vectors, all of one length, is a matrix with a row
for each; a cell of numbers is an array of numbers. Version 7.3 is HDF5 and shares these rules.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._found_arrays import FoundArray, RefusedArrayError, as_strings, refused, why_refused

__all__ = ["WHY_REFUSED", "in_mat", "of_cell", "of_characters"]

# Why variables of a class of MATLAB are not read, to follow their name.
WHY_REFUSED = {
    "struct": "is a struct of MATLAB: save its fields as arrays, save('FILE', '-struct', 'NAME')",
    "function": "is a function of MATLAB, which is never run",
    "function_handle": "is a function of MATLAB, which is never run",
    "object": "is an object of MATLAB: save what it holds as arrays or cells",
    "opaque": (
        "is a table, a string array or an object of MATLAB: save cellstr(NAME) or table2array(NAME)"
    ),
    "unknown": "is of a class of MATLAB that is not read: save arrays or cells",
}


def in_mat(path: str) -> dict[str, FoundArray]:
    """Find the variables of a .mat file; what a cell holds is seen when it is read."""
    from scipy.io import loadmat, whosmat

    def reader(name: str, kind: str) -> Callable[[], Any]:
        def read() -> Any:
            with warnings.catch_warnings():
                # scipy 1.18 announces another class for sparse matrices, which serves as well, and
                # older ones do not know the argument that chooses it.
                warnings.filterwarnings("ignore", "The default value for `spmatrix`")
                array = loadmat(path, variable_names=[name])[name]
            called = f"{path}:{name}"
            if kind == "cell":
                values = [_of_element(element) for element in array.ravel(order="F")]
                return of_cell(called, array.shape, values)
            if kind == "char":
                return of_characters(called, array.tolist())
            why = why_refused(array.dtype)
            if why:
                raise RefusedArrayError(f"{called} {why}")
            return array

        return read

    found: dict[str, FoundArray] = {}
    for name, shape, kind in whosmat(path):
        if name in found:
            raise ValueError(f"it holds {name} twice")
        if kind in WHY_REFUSED:
            found[name] = refused(f"{path}:{name}", tuple(shape), kind, WHY_REFUSED[kind])
        elif kind == "char":
            found[name] = FoundArray(tuple(shape[:-1]), "text", reader(name, kind))
        else:
            found[name] = FoundArray(tuple(shape), kind, reader(name, kind))
    return found


def of_characters(name: str, rows: Sequence[str]) -> NDArray[np.str_]:
    """
    Text of a matrix of characters, a row each; MATLAB fills shorter rows with blanks.

    Examples
    --------
    >>> of_characters("x", ["cat  ", "mouse"]).tolist()
    ['cat', 'mouse']
    """
    return as_strings([row.rstrip(" ") for row in rows] if len(rows) > 1 else rows, name)


def of_cell(name: str, shape: tuple[int, ...], values: Sequence[Any]) -> NDArray[Any]:
    """
    Make an array of what a cell holds, in MATLAB's order: strings, or numbers of equal shapes.

    Raises
    ------
    RefusedArrayError
        If the values are of several kinds or shapes, or of a kind that is not read.

    Examples
    --------
    >>> of_cell("x", (2, 1), [np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])]).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    if all(isinstance(value, str) for value in values):
        return as_strings(values, name).reshape(shape, order="F")
    kinds = [_kind_of(value) for value in values]
    number = next((i for i, kind in enumerate(kinds) if kind != kinds[0]), 0)
    if number or kinds[0] == _OTHER:
        raise RefusedArrayError(
            f"{name} is a cell whose element {number + 1} is {kinds[number]}, and the first one "
            f"{kinds[0]}: cells of texts, or of numbers of one shape, are read"
        )
    if values[0].size == 1:
        return np.array([value.item() for value in values]).reshape(shape, order="F")
    if max(values[0].shape) < values[0].size or max(shape) < len(values):
        raise RefusedArrayError(
            f"{name} is a cell of shape {shape} of arrays of shape {values[0].shape}: cells in one "
            "dimension of vectors are read, as a matrix"
        )
    return np.stack([value.ravel() for value in values])


def _of_element(element: Any) -> Any:
    """A text of one row as str; scipy gives an array of it."""
    if isinstance(element, np.ndarray) and element.dtype.kind == "U" and element.size < 2:
        return str(element.item()) if element.size else ""
    return element


_OTHER = "neither a text nor numbers"


def _kind_of(value: Any) -> str:
    if isinstance(value, str):
        return "a text"
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return f"{value.dtype} of shape {value.shape}"
    return _OTHER
