"""Find the arrays of a file, with one module for each format. An array is read only when needed.

The function of a format takes a path and returns a `FoundArray` for every array of the file, by
name. If an array cannot be read, its `FoundArray` says why. The name of a single array without a
name is "". Nothing in a file is ever run: arrays of Python objects are refused.

==========================  ====================================================================
.npy, .npz                  numpy; memory-mapped unless compressed
.mat                        scipy up to version 7; h5py for version 7.3, where rows are columns
.h5, .hdf5                  h5py; rows are read block by block
.parquet, .arrow, .feather  pyarrow; a column is an array, and a column of lists or bytes a matrix
.csv, .tsv, .txt            csv of Python: columns by their headers; .txt: lines of text
==========================  ====================================================================
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

from .._core.files import KINDS, identify
from ._arrow_columns import in_arrow, in_arrow_stream, in_parquet
from ._found_arrays import FoundArray, RefusedArrayError
from ._hdf5_files import in_hdf5
from ._matlab_files import in_mat
from ._numpy_files import in_npy, in_npz
from ._text_files import in_csv, in_txt

__all__ = ["TABLES", "find_arrays"]

_FINDERS: dict[str, Callable[[str], dict[str, FoundArray]]] = {
    "npy": in_npy,
    "npz": in_npz,
    "mat": in_mat,
    "hdf5": in_hdf5,
    "parquet": in_parquet,
    "arrow": in_arrow,
    "arrow stream": in_arrow_stream,
    "csv": in_csv,
    "txt": in_txt,
}

# Kinds of files that hold one table: each array is a column of it.
TABLES = ("parquet", "arrow", "arrow stream", "csv")

_FORMATS = ".npy, .npz, .mat, .h5, .hdf5, .parquet, .arrow, .feather, .csv, .tsv, .txt"

# What the user can do with a file of a kind that holds no arrays.
_REMEDIES = {
    "index": "load it with fasthash.load, and use its codes and ids",
    "safetensors": "fasthash.load reads a model; save other tensors with numpy.savez",
    "faiss": "read it with fasthash.interchange.read_faiss",
    "zip": (
        "it holds no .npy files; save the tensors of a PyTorch file with numpy.savez, save the "
        "table of a spreadsheet as .csv, and extract the files of other archives"
    ),
    "compressed": "decompress it first",
    "pickle": "pickles can run programs and are never read; save arrays with numpy.savez",
}


def find_arrays(path: str | os.PathLike[str]) -> dict[str, FoundArray]:
    """
    Find the arrays of a file.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    dict of str to FoundArray
        The arrays by name, at least one.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If its format is unknown, or it is damaged or holds no arrays.
    ImportError
        If its format needs a package that is not installed.
    """
    path = os.fspath(path)
    kind = identify(path)
    if kind not in _FINDERS:
        remedy = _REMEDIES.get(kind, "" if kind == "empty" else f"these are read: {_FORMATS}")
        raise ValueError(f"{path} is {KINDS[kind]}{remedy and f': {remedy}'}")
    found = _read_naming_errors(path, kind, lambda: _FINDERS[kind](path))
    if not found:
        raise ValueError(f"{path} is {KINDS[kind]} and holds no arrays")
    return {name: _naming_errors(path, kind, name, array) for name, array in found.items()}


def _naming_errors(path: str, kind: str, name: str, array: FoundArray) -> FoundArray:
    """Make the readers of an array name it in their error messages."""

    def naming_errors(read: Callable[[], Any]) -> Callable[[], Any]:
        source = f"{path}:{name}" if name else path
        return lambda: _read_naming_errors(source, kind, read)

    return dataclasses.replace(
        array,
        read=naming_errors(array.read),
        read_numbers=array.read_numbers and naming_errors(array.read_numbers),
        read_texts=array.read_texts and naming_errors(array.read_texts),
    )


def _read_naming_errors(name: str, kind: str, read: Callable[[], Any]) -> Any:
    """Call a reader, and turn the errors that a damaged file causes into a ValueError."""
    try:
        return read()
    except (RefusedArrayError, ImportError, FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:
        what = " ".join(str(error).split())
        raise ValueError(f"{name} cannot be read as {kind}: {what}") from error
