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
import importlib
import os
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import size_of

__all__ = ["FoundArray", "SlicedRows", "find_arrays", "is_text"]

_FORMATS = ".npy, .npz, .mat, .h5, .hdf5, .parquet, .arrow, .feather, .csv, .tsv, .txt"

# Where h5py finds the signature of a file: at the start, or behind the header that MATLAB writes.
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MATLAB_HEADER_BYTES = 512


class _Refused(ValueError):
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
    size_of(path)
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
        find = _in_parquet
    elif start.startswith(b"ARROW1"):
        find = _in_arrow
    elif start.startswith(b"MATLAB 5.0") or suffix == ".mat":
        find = _in_mat
    elif suffix in (".csv", ".tsv"):
        find = _in_csv
    elif suffix == ".txt":
        find = _in_txt
    else:
        raise ValueError(f"{path} is of no format that is read here: these are {_FORMATS}")
    kind = find.__name__.removeprefix("_in_")
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
    except (_Refused, ImportError, FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:
        what = " ".join(str(error).split())
        raise ValueError(f"{name} cannot be read as {kind}: {what}") from error


def is_text(array: Any) -> bool:
    """Tell whether an array holds strings."""
    return isinstance(array, np.ndarray) and array.dtype.kind in "UT"


def _name_of(dtype: np.dtype) -> str:
    if dtype.hasobject:
        return "Python objects"
    return "text" if dtype.kind in "UT" else dtype.name


def _refuse_objects(name: str) -> Any:
    raise _Refused(
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
        return lambda: loadmat(path, variable_names=[name])[name]

    # Cells, structures and functions are no arrays of numbers.
    kinds = ("cell", "struct", "object", "function", "opaque", "unknown")
    return {
        name: FoundArray(tuple(shape), "text" if kind == "char" else kind, reader(name))
        for name, shape, kind in whosmat(path)
        if kind not in kinds
    }


def _in_hdf5(path: str) -> dict[str, FoundArray]:
    h5py = _package("h5py", path)
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


# --- Parquet and Arrow ----------------------------------------------------------------------------


def _in_parquet(path: str) -> dict[str, FoundArray]:
    _package("pyarrow", path)
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    n = file.metadata.num_rows

    def column(name: str) -> Any:
        return parquet.read_table(path, columns=[name]).column(0)

    return _columns(path, file.schema_arrow, n, column)


def _in_arrow(path: str) -> dict[str, FoundArray]:
    _package("pyarrow", path)
    from pyarrow import feather

    # Uncompressed columns stay in the file.
    table = feather.read_table(path, memory_map=True)
    return _columns(path, table.schema, table.num_rows, table.column)


def _columns(path: str, schema: Any, n: int, column: Callable[[str], Any]) -> dict[str, FoundArray]:
    from pyarrow import types

    found = {}
    shape: tuple[int, ...]
    for field in schema:
        kind = field.type
        if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
            if not _is_number(kind.value_type):
                continue
            # How long the lists are is told by the first, where the type does not tell.
            width = kind.list_size if types.is_fixed_size_list(kind) else -1
            shape = (n, width) if width >= 0 else (n, _width_of(column(field.name)))
            dtype = str(kind.value_type)
        elif _is_number(kind):
            shape, dtype = (n,), str(kind)
        elif types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind):
            shape, dtype = (n,), "text"
        else:
            continue
        found[field.name] = FoundArray(shape, dtype, _column_reader(path, field.name, column))
    return found


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)


def _width_of(chunked: Any) -> int:
    return len(chunked[0]) if len(chunked) and chunked[0].is_valid else 0


def _column_reader(
    path: str, name: str, column: Callable[[str], Any]
) -> Callable[[], NDArray[Any]]:
    from pyarrow import types

    def read() -> NDArray[Any]:
        chunked = column(name)
        if chunked.null_count:
            raise _Refused(
                f"{path}:{name} lacks {chunked.null_count} of {len(chunked)} values: fill them in, "
                "or drop these rows"
            )
        # One chunk is not copied by this.
        array = chunked.combine_chunks()
        array = array.chunk(0) if hasattr(array, "chunk") and array.num_chunks == 1 else array
        if types.is_nested(array.type):
            return _list_matrix(path, name, array)
        values = array.to_numpy(zero_copy_only=False)
        return values.astype(np.str_) if values.dtype == object else values

    return read


def _list_matrix(path: str, name: str, array: Any) -> NDArray[Any]:
    flat = array.flatten()
    if flat.null_count:
        raise _Refused(f"{path}:{name} lacks {flat.null_count} of its numbers: fill them in")
    values = flat.to_numpy(zero_copy_only=False)
    n = len(array)
    width = len(values) // max(n, 1)
    lengths = array.value_lengths().to_numpy(zero_copy_only=False) if n else np.zeros(0)
    wrong = np.flatnonzero(lengths != width)
    if len(wrong):
        raise _Refused(
            f"{path}:{name} is no matrix: row {wrong[0]} has {lengths[wrong[0]]} numbers, and the "
            f"mean is {len(values) / n:g}"
        )
    return values.reshape(n, width)


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


def _package(name: str, path: str) -> Any:
    if find_spec(name) is None:
        raise ImportError(
            f"{path} is read with {name}, which is not installed: "
            "pip install 'fasthash-retrieval[files]'"
        )
    return importlib.import_module(name)
