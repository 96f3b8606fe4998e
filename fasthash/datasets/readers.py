"""Arrays of a person's own files: `read_array` takes one, `list_arrays` says which there are.

A source is a path, or a path and the name of an array in it: ``feats.mat:I_tr``.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.validation import is_sparse
from ._file_formats import find_arrays
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
        Shape and dtype by name; the name is "" in a file of a single array without one.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is of no known format, or damaged.
    ImportError
        If its format takes a package that is not installed.

    Notes
    -----
    Reads headers; text files are read whole.

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
        without a name, all of whose columns are numbers, is a matrix.

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
    path, name = split_source(source)
    found = find_arrays(path)
    if not found:
        raise ValueError(f"{path} holds no arrays of numbers or strings")
    if name is None:
        name = _only_name(path, found)
        if name is None:
            return np.column_stack([array.read() for array in found.values()])
    elif name not in found:
        raise ValueError(f"{path} has no array {name!r}: it holds {describe_arrays(found)}")
    return found[name].read()


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

    Raises
    ------
    OSError, ValueError, ImportError
        As `read_array`, and if it is no dense matrix.
    """
    array = read_array(source)
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
    without a fraction become integers.

    Raises
    ------
    OSError, ValueError, ImportError
        As `read_array`.
    """
    return as_labels(read_array(source))


def as_labels(array: Any) -> Any:
    """Labels as models take them, of an array as a file holds it."""
    if is_sparse(array):
        return array.tocsr()
    labels = np.asarray(array)
    if labels.ndim == 2 and 1 in labels.shape:
        labels = labels.reshape(-1)
    if labels.ndim == 1 and labels.dtype.kind in "fb":
        with np.errstate(invalid="ignore"):
            whole = labels.astype(np.int64)
        if (whole == labels).all():
            return whole
    return labels


def read_texts(source: str | os.PathLike[str]) -> NDArray[np.str_]:
    """
    Read one text per row, such as captions; numbers become text.

    Raises
    ------
    OSError, ValueError, ImportError
        As `read_array`, and if it is not in one dimension.
    """
    array = np.asarray(read_array(source))
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1:
        raise ValueError(
            f"{os.fspath(source)} has shape {array.shape}, and one text per row is needed"
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


def _only_name(path: str, found: dict[str, FoundArray]) -> str | None:
    """The name that can be left out; None where the columns make a matrix."""
    if len(found) == 1:
        return next(iter(found))
    is_table = path.lower().endswith((".csv", ".tsv", ".parquet", ".arrow", ".feather"))
    if is_table and all(
        len(array.shape) == 1 and array.dtype != "text" for array in found.values()
    ):
        return None
    raise ValueError(
        f"{path} holds several arrays, {describe_arrays(found)}: name one, as in "
        f"{path}:{next(iter(found))}"
    )
