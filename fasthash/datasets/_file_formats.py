"""Which arrays a file holds, one function per format; nothing is read before it is asked for.

A format's function takes a path and returns `FoundArray` by name; a file of a single array without
a name calls it "". No format here runs what is in a file: arrays of Python objects are refused.

==========================  ====================================================================
.npy, .npz                  numpy; mapped, in .npz where they are not compressed
.mat                        up to version 7 by scipy, version 7.3 by h5py, whose rows are columns
.h5, .hdf5                  h5py; read by rows
.parquet, .arrow, .feather  pyarrow; a column is an array, a list column a matrix
.csv, .tsv, .txt            columns by their headers; lines of text
==========================  ====================================================================
"""

from __future__ import annotations

import csv
import os
import struct
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.files import size_of
from ._arrow_columns import in_arrow, in_parquet
from ._found_arrays import FoundArray, RefusedArrayError, SlicedRows, import_package

__all__ = ["find_arrays"]

_FORMATS = ".npy, .npz, .mat, .h5, .hdf5, .parquet, .arrow, .feather, .csv, .tsv, .txt"

# Where h5py finds the signature of a file: at the start, or behind the header that MATLAB writes.
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MATLAB_HEADER_BYTES = 512


def find_arrays(path: str | os.PathLike[str]) -> dict[str, FoundArray]:
    """
    Tell which arrays a file holds.

    What format it has is told by its first bytes, or by its name where the format has no signature.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict of str to FoundArray

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is of no known format, or damaged.
    ImportError
        If its format takes a package that is not installed.
    """
    path = os.fspath(path)
    if size_of(path) == 0:
        raise ValueError(f"{path} is empty: it has no bytes")
    with open(path, "rb") as file:
        start = file.read(_MATLAB_HEADER_BYTES + len(_HDF5))
    suffix = Path(path).suffix.lower()
    if start.startswith(b"\x93NUMPY"):
        find = _in_npy
    elif start.startswith(b"PK"):
        find = _in_npz
    elif start.startswith(_HDF5) or start[_MATLAB_HEADER_BYTES:].startswith(_HDF5):
        find = _in_hdf5
    elif start.startswith(b"PAR1"):
        find = in_parquet
    elif start.startswith(b"ARROW1"):
        find = in_arrow
    elif start.startswith(b"MATLAB 5.0") or suffix == ".mat":
        find = _in_mat
    elif suffix in (".csv", ".tsv"):
        find = _in_csv
    elif suffix == ".txt":
        find = _in_txt
    else:
        raise ValueError(f"{path} is of no format that is read here: these are {_FORMATS}")
    kind = find.__name__.removeprefix("_").removeprefix("in_")
    found = _calling_damage_by_its_name(path, kind, lambda: find(path))
    return {
        name: FoundArray(
            array.shape,
            array.dtype,
            partial(
                _calling_damage_by_its_name, f"{path}:{name}" if name else path, kind, array.read
            ),
        )
        for name, array in found.items()
    }


def _calling_damage_by_its_name(name: str, kind: str, read: Callable[[], Any]) -> Any:
    """Call a reader; those of damaged files raise whatever they stumble over."""
    try:
        return read()
    except (RefusedArrayError, ImportError, FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:
        what = " ".join(str(error).split())
        raise ValueError(f"{name} cannot be read as {kind}: {what}") from error


def _name_of(dtype: np.dtype) -> str:
    if dtype.hasobject:
        return "Python objects"
    return "text" if dtype.kind in "UT" else dtype.name


def _refuse_objects(name: str) -> Any:
    raise RefusedArrayError(
        f"{name} holds Python objects, which are stored as pickles and never read: save numbers or "
        "strings instead"
    )


# --- numpy ----------------------------------------------------------------------------------------


def _in_npy(path: str) -> dict[str, FoundArray]:
    with open(path, "rb") as file:
        shape, fortran, dtype = _npy_header(file)
        offset = file.tell()
    return {"": _mapped(path, path, offset, shape, fortran, dtype)}


def _in_npz(path: str) -> dict[str, FoundArray]:
    found = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as file:
                shape, fortran, dtype = _npy_header(file)
                n_header = file.tell()
            if member.compress_type == zipfile.ZIP_STORED:
                offset = _content_offset(path, member) + n_header
                found[name] = _mapped(path, f"{path}:{name}", offset, shape, fortran, dtype)
            else:
                found[name] = FoundArray(shape, _name_of(dtype), _npz_reader(path, name, dtype))
    return found


def _npy_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    # Versions 2 and 3 differ in the encoding of names that no plain array has.
    return np.lib.format.read_array_header_2_0(file)


def _content_offset(path: str, member: zipfile.ZipInfo) -> int:
    """Where the content of a member begins: behind its own header, whose lengths differ."""
    with open(path, "rb") as file:
        file.seek(member.header_offset + 26)
        n_name, n_extra = struct.unpack("<HH", file.read(4))
    return member.header_offset + 30 + n_name + n_extra


def _mapped(
    path: str, name: str, offset: int, shape: tuple[int, ...], fortran: bool, dtype: np.dtype
) -> FoundArray:
    if dtype.hasobject:
        return FoundArray(shape, _name_of(dtype), lambda: _refuse_objects(name))
    n_bytes = dtype.itemsize * int(np.prod(shape, dtype=object))
    if offset + n_bytes > os.path.getsize(path):
        raise ValueError(f"it ends before the {n_bytes} bytes of an array of shape {shape}")

    def read() -> Any:
        if n_bytes == 0:
            return np.empty(shape, dtype)
        array = np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")
        if array.flags.aligned:
            return array
        if array.ndim == 2 and not fortran:
            return SlicedRows(array)
        return np.require(np.asarray(array), requirements="A")

    return FoundArray(shape, _name_of(dtype), read)


def _npz_reader(path: str, name: str, dtype: np.dtype) -> Callable[[], NDArray[Any]]:
    def read() -> NDArray[Any]:
        if dtype.hasobject:
            _refuse_objects(f"{path}:{name}")
        with np.load(path, allow_pickle=False) as archive:
            return archive[name]

    return read


# --- MATLAB and HDF5 ------------------------------------------------------------------------------


def _in_mat(path: str) -> dict[str, FoundArray]:
    from scipy.io import loadmat, whosmat

    def reader(name: str) -> Callable[[], Any]:
        def read() -> Any:
            with warnings.catch_warnings():
                # scipy 1.18 announces another class for sparse matrices, which serves as well, and
                # older ones do not know the argument that chooses it.
                warnings.filterwarnings("ignore", "The default value for `spmatrix`")
                return loadmat(path, variable_names=[name])[name]

        return read

    # Cells, structures and functions are no arrays of numbers.
    kinds = ("cell", "struct", "object", "function", "opaque", "unknown")
    return {
        name: FoundArray(tuple(shape), "text" if kind == "char" else kind, reader(name))
        for name, shape, kind in whosmat(path)
        if kind not in kinds
    }


def _in_hdf5(path: str) -> dict[str, FoundArray]:
    h5py = import_package("h5py", path)
    file = h5py.File(path, "r")
    found: dict[str, FoundArray] = {}

    def visit(name: str, item: Any) -> None:
        if name.startswith(("#refs#", "#subsystem#")):
            return
        if "MATLAB_sparse" in item.attrs:
            found[name] = _matlab_sparse(item)
        elif isinstance(item, h5py.Dataset) and not _is_part_of_sparse(item):
            array = _hdf5_dataset(h5py, item)
            if array is not None:
                found[name] = array

    file.visititems(visit)
    return found


def _is_part_of_sparse(item: Any) -> bool:
    return "MATLAB_sparse" in item.parent.attrs


def _hdf5_dataset(h5py: Any, dataset: Any) -> FoundArray | None:
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return FoundArray(
            dataset.shape, "text", lambda: np.asarray(dataset.asstr()[()]).astype(np.str_)
        )
    if dataset.dtype.kind not in "biuf":
        return None
    kind = dataset.attrs.get("MATLAB_class")
    if kind is None:
        read = (lambda: SlicedRows(dataset)) if dataset.ndim == 2 else (lambda: dataset[()])
        return FoundArray(dataset.shape, dataset.dtype.name, read)
    if bytes(kind) in (b"cell", b"struct", b"char", b"function_handle"):
        return None
    if dataset.attrs.get("MATLAB_empty"):
        shape = tuple(int(length) for length in dataset[()])
        return FoundArray(shape, dataset.dtype.name, lambda: np.empty(shape))
    # MATLAB's first axis is the last of the file.
    if dataset.ndim == 2:
        rows = SlicedRows(dataset, transposed=True)
        return FoundArray(rows.shape, dataset.dtype.name, lambda: rows)
    return FoundArray(dataset.shape[::-1], dataset.dtype.name, lambda: dataset[()].T)


def _matlab_sparse(group: Any) -> FoundArray:
    shape = (int(group.attrs["MATLAB_sparse"]), len(group["jc"]) - 1)

    def read() -> Any:
        from scipy.sparse import csc_array

        if "data" not in group:
            return csc_array(shape)
        return csc_array((group["data"][()], group["ir"][()], group["jc"][()]), shape)

    return FoundArray(shape, "sparse", read)


# --- text -----------------------------------------------------------------------------------------


def _in_csv(path: str) -> dict[str, FoundArray]:
    delimiter = "\t" if path.lower().endswith(".tsv") else ","
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        header = next(rows, None)
        if not header:
            raise ValueError("its first line must name the columns, and it is empty")
        if len(set(header)) < len(header):
            raise ValueError(f"its first line names a column twice: {', '.join(header)}")
        columns: list[list[str]] = [[] for _ in header]
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise ValueError(
                    f"line {rows.line_num} has {len(row)} columns, and the first one {len(header)}"
                )
            for column, cell in zip(columns, row, strict=True):
                column.append(cell)
    arrays = {name: _numbers_or_text(cells) for name, cells in zip(header, columns, strict=True)}
    return {name: _in_memory(array) for name, array in arrays.items()}


def _in_txt(path: str) -> dict[str, FoundArray]:
    with open(path, encoding="utf-8-sig") as file:
        return {"": _in_memory(np.array(file.read().splitlines(), np.str_))}


def _numbers_or_text(cells: list[str]) -> NDArray[Any]:
    text = np.array(cells, np.str_)
    for kind in (np.int64, np.float64):
        try:
            return text.astype(kind)
        except (ValueError, OverflowError):
            continue
    return text


def _in_memory(array: NDArray[Any]) -> FoundArray:
    return FoundArray(array.shape, _name_of(array.dtype), lambda: array)
