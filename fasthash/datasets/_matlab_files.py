"""Read the variables of .mat files up to version 7 with scipy, and convert cells and texts.

A cell of texts becomes an array of strings. A cell of vectors of equal length becomes a matrix with
one row for each vector. A cell of numbers becomes an array of numbers. Version 7.3 is HDF5, and
``_hdf5_files`` follows the same rules.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.arrays import is_sparse
from ._found_arrays import FoundArray, RefusedArrayError, as_strings, refused, why_refused

__all__ = ["WHY_REFUSED", "array_of_cell", "in_mat", "strip_blanks"]

# Why variables of a MATLAB class are not read, as the end of a sentence that begins with a name.
WHY_REFUSED = {
    "struct": "is a MATLAB struct: save its fields as arrays with save('FILE', '-struct', 'NAME')",
    "function": "is a MATLAB function, which is never run: save arrays or cells",
    "function_handle": "is a MATLAB function, which is never run: save arrays or cells",
    "object": "is a MATLAB object: save its content as arrays or cells",
    "opaque": (
        "is a MATLAB table, string array or object: save cellstr(NAME) or table2array(NAME)"
    ),
    "unknown": "is of a MATLAB class that is not read: save arrays or cells",
}


def in_mat(path: str) -> dict[str, FoundArray]:
    """Find the variables of a .mat file. The content of a cell is checked when it is read."""
    from scipy.io import loadmat, whosmat

    def reader(name: str, kind: str) -> Callable[[], Any]:
        def read() -> Any:
            with warnings.catch_warnings():
                # scipy 1.18 warns that the class of sparse matrices will change. Both classes work
                # here, and older versions of scipy lack the argument that selects one.
                warnings.filterwarnings("ignore", "The default value for `spmatrix`")
                array = loadmat(path, variable_names=[name])[name]
            source = f"{path}:{name}"
            if is_sparse(array):
                # scipy believes the places that a file names, and writes there.
                array.check_format(full_check=True)
            if kind == "cell":
                values = [_element(element) for element in array.ravel(order="F")]
                return array_of_cell(source, array.shape, values)
            if kind == "char":
                return strip_blanks(source, array.tolist())
            why = why_refused(array.dtype)
            if why:
                raise RefusedArrayError(f"{source} {why}")
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


def strip_blanks(name: str, rows: Sequence[str]) -> NDArray[np.str_]:
    """
    Remove the blanks with which MATLAB fills the shorter rows of a character matrix.

    Examples
    --------
    >>> strip_blanks("x", ["cat  ", "mouse"]).tolist()
    ['cat', 'mouse']
    """
    return as_strings([row.rstrip(" ") for row in rows] if len(rows) > 1 else rows, name)


def array_of_cell(name: str, shape: tuple[int, ...], values: Sequence[Any]) -> NDArray[Any]:
    """
    Make an array of the values of a cell, which are strings or numeric arrays of equal shapes.

    Raises
    ------
    RefusedArrayError
        If the values are of several kinds or shapes, or of a kind that is not read.

    Examples
    --------
    >>> array_of_cell("x", (2, 1), [np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])]).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    if all(isinstance(value, str) for value in values):
        return as_strings(values, name).reshape(shape, order="F")
    kinds = [_kind_of(value) for value in values]
    number = next((i for i, kind in enumerate(kinds) if kind != kinds[0]), 0)
    if number or kinds[0] == _OTHER:
        raise RefusedArrayError(
            f"{name} is a cell whose element {number + 1} is {kinds[number]}, and whose first "
            f"element is {kinds[0]}: use a cell of texts, or of numeric arrays of equal shapes"
        )
    if values[0].size == 1:
        return np.array([value.item() for value in values]).reshape(shape, order="F")
    if max(values[0].shape) < values[0].size or max(shape) < len(values):
        raise RefusedArrayError(
            f"{name} is a cell of shape {shape} of arrays of shape {values[0].shape}: use a "
            "one-dimensional cell of vectors, which is read as a matrix"
        )
    return np.stack([value.ravel() for value in values])


def _element(element: Any) -> Any:
    """Convert a text of one row to str; scipy returns it as an array."""
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
