"""Read the arrays of .npy and .npz files, and memory-map the uncompressed ones."""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._found_arrays import FoundArray, SlicedRows, as_strings, name_of, refused, why_refused

__all__ = ["in_npy", "in_npz"]


def in_npy(path: str) -> dict[str, FoundArray]:
    """Find the array of a .npy file."""
    with open(path, "rb") as file:
        shape, fortran, dtype = _header(file)
        offset = file.tell()
    why = why_refused(dtype)
    if why:
        return {"": refused(path, shape, name_of(dtype), why)}
    return {"": _mapped(path, path, offset, shape, fortran, dtype)}


def in_npz(path: str) -> dict[str, FoundArray]:
    """Find the arrays of a .npz file, and list its other members as refused."""
    found: dict[str, FoundArray] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name in found:
                raise ValueError(f"it holds {name!r} twice")
            source = f"{path}:{name}"
            if name == member.filename:
                found[name] = refused(source, (), "no array", "is not a .npy file")
                continue
            with archive.open(member) as file:
                shape, fortran, dtype = _header(file)
                n_header = file.tell()
            why = why_refused(dtype)
            if why:
                found[name] = refused(source, shape, name_of(dtype), why)
            elif member.compress_type == zipfile.ZIP_STORED:
                offset = _content_offset(path, member) + n_header
                found[name] = _mapped(path, source, offset, shape, fortran, dtype)
            else:
                _check_length(shape, dtype, member.file_size - n_header)
                read = _reader(path, source, member)
                found[name] = FoundArray(shape, name_of(dtype), read)
    return found


def _header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    # Versions 2 and 3 differ only in the encoding of field names, which plain arrays do not have.
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = read(file)
    if any(length < 0 for length in shape):
        raise ValueError(f"its header gives the shape {shape}, which has a negative length")
    return shape, fortran, dtype


def _content_offset(path: str, member: zipfile.ZipInfo) -> int:
    """Return the offset of a member's content, which follows a header of variable length."""
    with open(path, "rb") as file:
        file.seek(member.header_offset + 26)
        n_name, n_extra = struct.unpack("<HH", file.read(4))
    return member.header_offset + 30 + n_name + n_extra


def _check_length(shape: tuple[int, ...], dtype: np.dtype, available: int) -> int:
    """Return the number of bytes of an array, and check that the file has as many."""
    n_bytes = dtype.itemsize * math.prod(shape)
    if n_bytes > available:
        raise ValueError(f"it ends before the {n_bytes} bytes of an array of shape {shape}")
    return n_bytes


def _mapped(
    path: str, name: str, offset: int, shape: tuple[int, ...], fortran: bool, dtype: np.dtype
) -> FoundArray:
    n_bytes = _check_length(shape, dtype, os.path.getsize(path) - offset)

    def read() -> Any:
        if n_bytes == 0:
            return np.empty(shape, dtype)
        array = np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")
        if dtype.kind == "S":
            return _decoded(array, name)
        if array.flags.aligned:
            return array
        if array.ndim == 2 and not fortran:
            return SlicedRows(array)
        return np.require(np.asarray(array), requirements="A")

    return FoundArray(shape, name_of(dtype), read)


def _reader(path: str, name: str, member: zipfile.ZipInfo) -> Callable[[], NDArray[Any]]:
    def read() -> NDArray[Any]:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return _decoded(array, name) if array.dtype.kind == "S" else array

    return read


def _decoded(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Decode byte strings, which must be UTF-8."""
    texts = as_strings([text.decode() for text in array.ravel().tolist()], name)
    return texts.reshape(array.shape)
