"""Read arrays of the user's own files: `list_arrays` lists them, and `read_array` reads one.

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
    "read_as_written",
    "read_labels",
    "read_numbers",
    "read_texts",
    "split_source",
]

# An error message names at most this many arrays.
_MOST_NAMED = 20

# Number of arrays that an error message suggests to read.
_MOST_SUGGESTED = 3


def list_arrays(path: str | os.PathLike[str]) -> dict[str, tuple[tuple[int, ...], str]]:
    """
    List the arrays of a file with their shapes and dtypes.

    Parameters
    ----------
    path : path
        A .npy, .npz, .mat, HDF5, Parquet, Arrow (Feather), .csv, .tsv or .txt file. It may come
        from an untrusted source, because no code in it is run.

    Returns
    -------
    dict of str to (tuple of int, str)
        Shape and dtype of every array by name, including arrays that `read_array` refuses. If a
        file holds a single array without a name, its name is "".

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If its format is unknown, or it is damaged or holds no arrays.
    ImportError
        If its format needs a package that is not installed.

    See Also
    --------
    read_array : Read one of the arrays.

    Notes
    -----
    Only headers are read, except for text files and Arrow streams, which are read whole. A column
    of a text file counts as numbers if every cell is the usual spelling of its number, and as text
    otherwise, so that a name such as 007 is not changed. "text of numbers" is a column whose cells
    are numbers in other spellings; it can be read as features too.

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
    Read an array of a file, or memory-map it.

    Parameters
    ----------
    source : str or path
        ``path`` or ``path:name``. The name may be omitted if the file holds one array. It may also
        be omitted for a table whose columns are all numbers, in any spelling: the table is then
        read as a matrix.

    Returns
    -------
    array_like
        An ndarray, which is memory-mapped for .npy and uncompressed .npz files; a scipy sparse
        matrix for sparse variables of .mat files; or, for HDF5, a matrix object whose rows are read
        when it is sliced. Models accept all of them as features.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file has no such array, its format is unknown, it is damaged, or the array holds
        Python objects.
    ImportError
        If its format needs a package that is not installed.

    See Also
    --------
    list_arrays : List the arrays of a file.
    read_layout : Read features and labels by the usual names of their arrays.

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
    Split a source into a path and a name. The name is None if the source has none.

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
    # The colon of a Windows drive, C:\..., does not separate a name.
    if not path or name.startswith(("\\", "/")):
        return text, None
    return path, name


def read_numbers(source: str | os.PathLike[str]) -> Any:
    """
    Read a matrix of numbers, in any of the forms that `read_array` returns.

    The cells of a text file may have any spelling of a number: 1, 1.0 and 1e0.

    Raises
    ------
    OSError, ValueError, ImportError
        In the cases of `read_array`, and if the array is not a matrix of numbers.
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
        remedy = ""
        if is_text(array):
            remedy = (
                ": write the numbers to a .npy file, or to a .csv file with a column for each "
                "feature and the names of the columns in its first line"
            )
        raise ValueError(
            f"{os.fspath(source)} holds {kind} of shape {tuple(array.shape)}, and a matrix of "
            f"numbers is needed{remedy}"
        )
    return array


def read_labels(source: str | os.PathLike[str]) -> Any:
    """
    Read labels: class names or numbers in one dimension, or 0/1 columns, dense or sparse.

    A matrix of one column or one row, as MATLAB writes class numbers, becomes one-dimensional.
    Floating-point numbers become integers if all of them are whole. Labels of a text file stay
    text, unless every label is the usual spelling of a number.

    Raises
    ------
    OSError, ValueError, ImportError
        In the cases of `read_array`, and if the label of a row is blank.
    """
    labels = as_labels(read_array(source))
    if is_text(labels) and labels.ndim == 1:
        blank = np.flatnonzero(np.char.strip(labels) == "")
        if len(blank):
            raise ValueError(
                f"{os.fspath(source)} has no label in row {blank[0]}, counted from 0: fill it in, "
                "or use 0/1 columns, where a row without a label holds only zeros"
            )
    return labels


def as_labels(array: Any) -> Any:
    """Convert an array of a file to labels in the form that models accept."""
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


def read_as_written(source: str | os.PathLike[str]) -> Any:
    """
    Read an array as `read_array` does, but the cells of a text file stay text.

    Raises
    ------
    OSError, ValueError, ImportError
        In the cases of `read_array`, and if no array is named and the file holds several.
    """
    path, name, found = _find(source)
    if name is None:
        raise ValueError(_several_arrays(path, found))
    one = found[name]
    return (one.read_texts or one.read)()


def read_texts(source: str | os.PathLike[str]) -> NDArray[np.str_]:
    """
    Read one text per row, such as captions, exactly as it is written in a text file.

    Integers of other files become text.

    Raises
    ------
    OSError, ValueError, ImportError
        In the cases of `read_array`, and if the array is not one-dimensional or holds values that
        are neither text nor integers.
    """
    array = np.asarray(read_as_written(source))
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
    """Describe arrays for an error message, by name, shape and dtype."""
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
    Return the path, the name that the source asks for, and the arrays of the file.

    The name is None if all columns of a table are needed as one matrix. With `numbers`, a table is
    accepted even if some columns are text; the error for these columns is raised later.
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
        raise ValueError(_several_arrays(path, found))
    return path, None, found


def _is_of_numbers(column: FoundArray) -> bool:
    return not column.refusal and column.dtype != "text"


def _matrix(path: str, found: dict[str, FoundArray]) -> NDArray[Any]:
    """Join the columns of a table to a matrix."""
    for name, column in found.items():
        if column.index:
            raise ValueError(
                f"{path}:{name} is the index of a pandas table and not a feature: write the table "
                "with index=False, or name the column to read"
            )
        if column.read_numbers is None and not _is_of_numbers(column):
            raise ValueError(
                f"{path}:{name} holds {column.dtype}, and a matrix needs numbers in all columns: "
                "drop the column, or name the one to read"
            )
    return np.column_stack([(column.read_numbers or column.read)() for column in found.values()])


def _several_arrays(path: str, found: dict[str, FoundArray]) -> str:
    if found.keys() >= {"data", "indices", "indptr", "format", "shape"}:
        return (
            f"{path} holds a sparse matrix of scipy, which is not read: load it with "
            "scipy.sparse.load_npz in Python, where models take it as it is, or save its "
            "toarray() with numpy.save"
        )
    readable = [name for name, one in found.items() if not (one.refusal or one.index)] or [*found]
    some = [f"{path}:{name}" for name in readable[:_MOST_SUGGESTED]]
    return (
        f"{path} holds several arrays, {describe_arrays(found)}: name one, as in "
        f"{' or '.join([', '.join(some[:-1]), some[-1]] if some[1:] else some)}"
    )
