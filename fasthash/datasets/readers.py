"""Arrays of a person's own files: `read_array` takes one, `list_arrays` says which there are.

A source is a path, or a path and the name of an array in it: ``feats.mat:I_tr``.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.arrays import is_sparse
from .._core.files import identify
from ._file_formats import TABLES, find_arrays
from ._found_arrays import FoundArray, is_text

__all__ = [
    "describe_arrays",
    "list_arrays",
    "read_array",
    "read_labels",
    "read_numbers",
    "read_texts",
    "split_source",
]

# Arrays named in an error, at most.
_MOST_NAMED = 20


def list_arrays(path: str | os.PathLike[str]) -> dict[str, tuple[tuple[int, ...], str]]:
    """
    Tell which arrays a file holds.

    Parameters
    ----------
    path : path
        Of a .npy, .npz, .mat, HDF5, Parquet, Arrow (Feather), .csv, .tsv or .txt file. It may come
        from anybody: nothing in it is run.

    Returns
    -------
    dict of str to (tuple of int, str)
        Shape and dtype by name, of every array that is there, also of those that `read_array`
        refuses; the name is "" in a file of a single array without one.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is of no known format, is damaged, or holds no arrays.
    ImportError
        If its format takes a package that is not installed.

    Notes
    -----
    Reads headers; text files and Arrow streams are read whole. A column of a text file is numbers
    where every cell is written as the number it becomes, and text otherwise, so that no name such
    as 007 is changed; "text of numbers" is text whose cells are numbers in other spellings, which
    are features all the same.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from fasthash.datasets import list_arrays
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "feats.npz")
    ...     np.savez(path, image=np.zeros((5, 3)), label=np.arange(5))
    ...     list_arrays(path)
    {'image': ((5, 3), 'float64'), 'label': ((5,), 'int64')}
    """
    return {name: (found.shape, found.dtype) for name, found in find_arrays(path).items()}


def read_array(source: str | os.PathLike[str]) -> Any:
    """
    Read an array of a file, or map it.

    Parameters
    ----------
    source : str or path
        ``path`` or ``path:name``. The name may be left out where the file holds one array. A table
        without a name, all of whose columns are numbers in any spelling, is a matrix.

    Returns
    -------
    array_like
        An ndarray, memory-mapped from .npy and uncompressed .npz; a scipy sparse matrix, from .mat;
        or what is read by slices of rows, from HDF5. Models take them all.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it has no such array, is of no known format, is damaged, or holds Python objects.
    ImportError
        If its format takes a package that is not installed.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from fasthash.datasets import read_array
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "feats.npz")
    ...     np.savez_compressed(path, image=np.eye(2), label=np.arange(2))
    ...     read_array(f"{path}:label")
    array([0, 1])
    """
    path, name, found = _find(source)
    return _matrix(path, found) if name is None else found[name].read()


def split_source(source: str | os.PathLike[str]) -> tuple[str, str | None]:
    """
    Cut a source into path and name; None without a name.

    Examples
    --------
    >>> split_source("folder/feats.mat:I_tr")
    ('folder/feats.mat', 'I_tr')
    >>> split_source("feats.npy")
    ('feats.npy', None)
    """
    text = os.fspath(source)
    if os.path.exists(text) or ":" not in text:
        return text, None
    path, _, name = text.rpartition(":")
    # The colon of a drive, C:\..., is none of ours.
    if not path or name.startswith(("\\", "/")):
        return text, None
    return path, name


def read_numbers(source: str | os.PathLike[str]) -> Any:
    """
    Read a matrix of numbers, of any of the kinds that `read_array` returns.

    Cells of a file of text may be written in any way that is a number: 1, 1.0 and 1e0.

    Raises
    ------
    OSError, ValueError, ImportError
        As `read_array`, and if it is no dense matrix.
    """
    path, name, found = _find(source, numbers=True)
    if name is None:
        return _matrix(path, found)
    one = found[name]
    array = one.read()
    if is_sparse(array):
        return array.toarray()
    if array.ndim != 2 or np.dtype(array.dtype).kind not in "biuf":
        kind = "text" if is_text(array) else array.dtype
        raise ValueError(
            f"{os.fspath(source)} holds {kind} of shape {tuple(array.shape)}, and a matrix of "
            "numbers is needed"
        )
    return array


def read_labels(source: str | os.PathLike[str]) -> Any:
    """
    Read labels: class names or numbers in one dimension, or 0/1 columns, dense or sparse.

    A column or a row of class numbers, as MATLAB writes them, becomes one dimension, and numbers
    without a fraction become integers. Labels of a text file are text, exactly as written, unless
    every one is written as the number it becomes.

    Raises
    ------
    OSError, ValueError, ImportError
        As `read_array`, and if the label of a row is blank.
    """
    labels = as_labels(read_array(source))
    if is_text(labels) and labels.ndim == 1:
        blank = np.flatnonzero(np.char.strip(labels) == "")
        if len(blank):
            raise ValueError(
                f"{os.fspath(source)} has no label in row {blank[0]}, counted from 0: fill it in, "
                "or use 0/1 columns, of which a row without a label has none"
            )
    return labels


def as_labels(array: Any) -> Any:
    """Labels as models take them, of an array as a file holds it."""
    if is_sparse(array):
        return array.tocsr()
    labels = np.asarray(array)
    if labels.ndim == 2 and 1 in labels.shape and labels.dtype != bool:
        labels = labels.reshape(-1)
    if labels.ndim == 1 and labels.dtype.kind in "fb":
        with np.errstate(invalid="ignore"):
            whole = labels.astype(np.int64)
        if (whole == labels).all():
            return whole
    return labels


def read_texts(source: str | os.PathLike[str]) -> NDArray[np.str_]:
    """
    Read one text per row, such as captions, exactly as a file of text has it.

    Integers of other files become text.

    Raises
    ------
    OSError, ValueError, ImportError
        As `read_array`, and if it is not in one dimension, or neither text nor integers.
    """
    path, name, found = _find(source)
    if name is None:
        raise ValueError(_several(path, found))
    one = found[name]
    array = np.asarray((one.read_texts or one.read)())
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1:
        raise ValueError(
            f"{os.fspath(source)} has shape {array.shape}, and one text per row is needed"
        )
    if array.dtype.kind not in "USTiu":
        raise ValueError(
            f"{os.fspath(source)} holds {array.dtype}, and texts are needed: save it as text"
        )
    return array.astype(np.str_)


def describe_arrays(found: dict[str, FoundArray]) -> str:
    """Name arrays with their shapes, for an error."""
    named = [
        f"{name or 'one without a name'} {array.shape} {array.dtype}"
        for name, array in list(found.items())[:_MOST_NAMED]
    ]
    if len(found) > _MOST_NAMED:
        named.append(f"{len(found) - _MOST_NAMED} more")
    return ", ".join(named)


def _find(
    source: str | os.PathLike[str], numbers: bool = False
) -> tuple[str, str | None, dict[str, FoundArray]]:
    """
    The arrays of a file, and the name of the one asked for; None for all columns of a table.

    With `numbers`, columns without a name are always a matrix: what is no number is named later.
    """
    path, name = split_source(source)
    found = find_arrays(path)
    if name is not None and name not in found:
        raise ValueError(f"{path} has no array {name!r}: it holds {describe_arrays(found)}")
    if name is None and len(found) == 1:
        name = next(iter(found))
    if name is not None:
        return path, name, found
    columns = [one for one in found.values() if not one.index]
    is_matrix = identify(path) in TABLES and all(len(one.shape) == 1 for one in columns)
    if not is_matrix or not (numbers or all(_is_of_numbers(one) for one in columns)):
        raise ValueError(_several(path, found))
    return path, None, found


def _is_of_numbers(column: FoundArray) -> bool:
    return not column.refusal and column.dtype != "text"


def _matrix(path: str, found: dict[str, FoundArray]) -> NDArray[Any]:
    """The columns of a table side by side."""
    for name, column in found.items():
        if column.index:
            raise ValueError(
                f"{path}:{name} is the index of a pandas table and no feature: write the table "
                "with index=False, or name a column of it"
            )
        if column.read_numbers is None and not _is_of_numbers(column):
            raise ValueError(
                f"{path}:{name} holds {column.dtype}, and a matrix needs numbers in all columns: "
                "drop the column, or name the one to read"
            )
    return np.column_stack([(column.read_numbers or column.read)() for column in found.values()])


def _several(path: str, found: dict[str, FoundArray]) -> str:
    return (
        f"{path} holds several arrays, {describe_arrays(found)}: name one, as in "
        f"{path}:{next(iter(found))}"
    )
