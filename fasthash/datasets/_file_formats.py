"""Which arrays a file holds, one module per format; nothing is read before it is asked for.

A format's function takes a path and returns `FoundArray` by name, of every array that is there: one
that is not read says why. A file of a single array without a name calls it "". No format here runs
what is in a file: arrays of Python objects are refused.

==========================  ====================================================================
.npy, .npz                  numpy; mapped, in .npz where they are not compressed
.mat                        up to version 7 by scipy, version 7.3 by h5py, whose rows are columns
.h5, .hdf5                  h5py; read by rows
.parquet, .arrow, .feather  pyarrow; a column is an array, of lists or bytes a matrix
.csv, .tsv, .txt            columns by their headers; lines of text
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

# Kinds of files whose arrays are the columns of one table.
TABLES = ("parquet", "arrow", "arrow stream", "csv")

_FORMATS = ".npy, .npz, .mat, .h5, .hdf5, .parquet, .arrow, .feather, .csv, .tsv, .txt"

# What to do with a file of a kind that holds no arrays.
_REMEDIES = {
    "index": "load it with fasthash.load, and use its codes and ids",
    "safetensors": "fasthash.load reads a model; save other tensors with numpy.savez",
    "faiss": "read it with fasthash.interchange.read_faiss",
    "zip": (
        "it holds no .npy files; of a PyTorch file save the tensors with numpy.savez, of a "
        "spreadsheet the table as .csv, and of others take the files out"
    ),
    "compressed": "take the file out of it first",
    "pickle": "pickles can run programs and are never read; save arrays with numpy.savez",
}


def find_arrays(path: str | os.PathLike[str]) -> dict[str, FoundArray]:
    """
    Tell which arrays a file holds.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict of str to FoundArray
        At least one.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is of no known format, is damaged, or holds no arrays.
    ImportError
        If its format takes a package that is not installed.
    """
    path = os.fspath(path)
    kind = identify(path)
    if kind not in _FINDERS:
        remedy = _REMEDIES.get(kind, "" if kind == "empty" else f"these are read: {_FORMATS}")
        raise ValueError(f"{path} is {KINDS[kind]}{remedy and f': {remedy}'}")
    found = _calling_damage_by_its_name(path, kind, lambda: _FINDERS[kind](path))
    if not found:
        raise ValueError(f"{path} is {KINDS[kind]} and holds no arrays")
    return {name: _named(path, kind, name, array) for name, array in found.items()}


def _named(path: str, kind: str, name: str, array: FoundArray) -> FoundArray:
    """The array, whose readers name it in their errors."""

    def named(read: Callable[[], Any]) -> Callable[[], Any]:
        called = f"{path}:{name}" if name else path
        return lambda: _calling_damage_by_its_name(called, kind, read)

    return dataclasses.replace(
        array,
        read=named(array.read),
        read_numbers=array.read_numbers and named(array.read_numbers),
        read_texts=array.read_texts and named(array.read_texts),
    )


def _calling_damage_by_its_name(name: str, kind: str, read: Callable[[], Any]) -> Any:
    """Call a reader; those of damaged files raise whatever they stumble over."""
    try:
        return read()
    except (RefusedArrayError, ImportError, FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:
        what = " ".join(str(error).split())
        raise ValueError(f"{name} cannot be read as {kind}: {what}") from error
