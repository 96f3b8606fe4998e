"""Index files: a header, then the codes and the ids, each with a checksum.

    bytes        what
    0            b"\\x89FASTHX\\n", which a transfer as text would change
    8            format version, uint32; all numbers are little-endian
    12           checksum (CRC-32) of the header, computed with zeros here, uint32
    16           size of the file in bytes, uint64
    24           size of the description in bytes, uint32; zeros up to 32
    32           description, JSON: kind of index, its parameters, number of codes, and per section
                 its offset, size in bytes and checksum; zeros up to 4096
    4096         codes, uint8 (n, ceil(n_bits / 8)), in the order of the ids
    next × 64    ids, int64 (n,), ascending

Before a reader allocates memory, it checks the header, and that all sections lie in the file. A
file cannot run code or refer to another file.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterable
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core.files import INDEX_SIGNATURE, replacing, size_of, sync
from .._core.interruptible import ascends
from .._core.pieces import BLOCK_BYTES, blocks_of, cut
from ..codes import check_codes
from ._snapshot import Content, Snapshot

__all__ = ["check_content", "read_index", "write_index"]

Value = TypeVar("Value", bound=np.generic)

VERSION = 1
HEADER_BYTES = 4096
_PREAMBLE = struct.Struct("<8sIIQI4x")
_CHECKSUM_AT = 12
_ALIGNMENT = 64

# Bytes after which a file is synchronised with the disk.
_SYNCED_BYTES = 1 << 26

# A distance must fit in int32.
_MAX_BITS = 2**31 - 8


def write_index(
    path: str | os.PathLike[str], kind: str, parameters: dict[str, Any], state: Snapshot
) -> None:
    """Write a state of an index without its removed codes, a block of rows at a time."""
    n, n_bytes = len(state), state.base.codes.shape[1]
    sections = _sections(n, n_bytes)
    with replacing(path) as file:
        for name, content in (
            ("codes", (codes for codes, _ in state.blocks())),
            ("ids", (ids.astype("<i8", copy=False) for _, ids in state.blocks())),
        ):
            file.seek(sections[name]["offset"])
            sections[name]["crc32"] = _write_blocks(file, content)
        end = sections["ids"]["offset"] + sections["ids"]["bytes"]
        file.truncate(end)
        description = {
            "index": kind,
            "parameters": parameters,
            "n": n,
            "next_id": state.next_id,
            "sections": sections,
        }
        file.seek(0)
        file.write(_header(json.dumps(description).encode(), end))


def read_index(path: str | os.PathLike[str], use_mmap: bool) -> Content:
    """
    Read an index file.

    The header is always checked. Codes and ids are checked unless they are memory-mapped.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not an index file of this version, or is damaged.
    """
    path = os.fspath(path)
    size = size_of(path)
    with open(path, "rb", buffering=0) as file:
        header = file.read(HEADER_BYTES)
        description = _read_header(path, header, size)
        kind, parameters, n, next_id, sections = _read_description(path, description, size)
        n_bytes = (parameters["n_bits"] + 7) // 8
        if use_mmap:
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            arrays = {
                name: np.frombuffer(memory, np.uint8, section["bytes"], section["offset"])
                for name, section in sections.items()
            }
        else:
            arrays = {
                name: _read_section(path, file, name, section) for name, section in sections.items()
            }
    content = Content(
        path,
        kind,
        parameters,
        next_id,
        arrays["codes"].reshape(n, n_bytes),
        arrays["ids"].view("<i8").astype(np.int64, copy=False),
        {name: section["crc32"] for name, section in sections.items()},
    )
    if n and next_id <= content.ids[-1]:
        raise _damaged(path, f"id {content.ids[-1]} is not less than next_id {next_id}")
    if not use_mmap:
        check_content(path, content.codes, content.ids, parameters["n_bits"])
    return content


def check_content(
    name: str,
    codes: NDArray[np.uint8],
    ids: NDArray[np.int64],
    n_bits: int,
    checksums: dict[str, int] | None = None,
) -> None:
    """
    Check that ids are at least 0 and ascend, that padding bits are zero, and given checksums.

    Raises
    ------
    ValueError
        If one of these checks fails.
    """
    for section, array in (("codes", codes), ("ids", ids)):
        if checksums is not None:
            found = 0
            for block in _blocks_of(array):
                little = block.astype(array.dtype.newbyteorder("<"), copy=False)
                found = zlib.crc32(little.data, found)
            if found != checksums[section]:
                raise _wrong_checksum(name, section, found, checksums[section])
    if len(ids) and ids[0] < 0:
        raise _damaged(name, f"it holds the id {ids[0]}")
    if not ascends(ids):
        raise _damaged(name, "its ids do not ascend")
    for block in _blocks_of(codes):
        try:
            check_codes(block, "codes", n_bits)
        except ValueError as error:
            raise _damaged(name, str(error)) from None


def _sections(n: int, n_bytes: int) -> dict[str, dict[str, int]]:
    ids_at = -(-(HEADER_BYTES + n * n_bytes) // _ALIGNMENT) * _ALIGNMENT
    return {
        "codes": {"offset": HEADER_BYTES, "bytes": n * n_bytes},
        "ids": {"offset": ids_at, "bytes": 8 * n},
    }


def _write_blocks(file: BinaryIO, content: Iterable[NDArray[Any]]) -> int:
    checksum = n_unsynced = 0
    for block in content:
        data = np.ascontiguousarray(block).data.cast("B") if block.size else b""
        for some in cut(len(data), most=BLOCK_BYTES):
            part = data[some]
            checksum = zlib.crc32(part, checksum)
            file.write(part)
            n_unsynced += len(part)
            if n_unsynced >= _SYNCED_BYTES:
                # A single call at the end would take long and could not be interrupted.
                sync(file)
                n_unsynced = 0
    return checksum


def _header(description: bytes, file_bytes: int) -> bytes:
    if len(description) > HEADER_BYTES - _PREAMBLE.size:
        raise ValueError(f"the parameters of the index take {len(description)} bytes: too many")
    header = bytearray(HEADER_BYTES)
    header[: _PREAMBLE.size] = _PREAMBLE.pack(
        INDEX_SIGNATURE, VERSION, 0, file_bytes, len(description)
    )
    header[_PREAMBLE.size : _PREAMBLE.size + len(description)] = description
    header[_CHECKSUM_AT : _CHECKSUM_AT + 4] = struct.pack("<I", zlib.crc32(header))
    return bytes(header)


def _read_header(path: str, header: bytes, size: int) -> dict[str, Any]:
    if header[: len(INDEX_SIGNATURE)] != INDEX_SIGNATURE:
        raise ValueError(f"{path} is not an index file of fasthash")
    if len(header) < HEADER_BYTES:
        raise _damaged(path, f"it ends after {len(header)} bytes, within its header")
    _, version, checksum, file_bytes, n_description = _PREAMBLE.unpack_from(header)
    if version != VERSION:
        raise ValueError(
            f"{path} is an index file of format {version}, and this version of fasthash reads "
            f"format {VERSION}: read it with the version that wrote it"
        )
    blank = bytearray(header)
    blank[_CHECKSUM_AT : _CHECKSUM_AT + 4] = bytes(4)
    if zlib.crc32(blank) != checksum:
        raise _wrong_checksum(path, "header", zlib.crc32(blank), checksum)
    if file_bytes != size:
        raise _damaged(path, f"it has {size} bytes and should have {file_bytes}")
    if n_description > HEADER_BYTES - _PREAMBLE.size:
        raise _damaged(path, f"its description should have {n_description} bytes")
    try:
        description = json.loads(header[_PREAMBLE.size : _PREAMBLE.size + n_description])
    except (ValueError, RecursionError):
        raise _damaged(path, "its description is not JSON") from None
    return description


def _read_description(
    path: str, description: Any, size: int
) -> tuple[str, dict[str, Any], int, int, dict[str, dict[str, int]]]:
    """(kind, parameters, n, next_id, sections), checked against each other and the file size."""
    try:
        kind, parameters = description["index"], dict(description["parameters"])
        n, next_id, n_bits = description["n"], description["next_id"], parameters["n_bits"]
        sections = {
            name: {key: section[key] for key in ("offset", "bytes", "crc32")}
            for name, section in description["sections"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _damaged(path, "its description lacks something") from None
    numbers = [n, next_id, n_bits, *(x for section in sections.values() for x in section.values())]
    if not isinstance(kind, str) or any(type(x) is not int or x < 0 for x in numbers):
        raise _damaged(path, "its description holds a value of a wrong type")
    if not 1 <= n_bits <= _MAX_BITS or next_id > 2**63:
        raise _damaged(path, f"its description says n_bits={n_bits}, next_id={next_id}")
    placed = {
        name: {key: section[key] for key in ("offset", "bytes")}
        for name, section in sections.items()
    }
    expected = _sections(n, (n_bits + 7) // 8)
    if placed != expected or expected["ids"]["offset"] + expected["ids"]["bytes"] != size:
        raise _damaged(path, f"{n} codes of {n_bits} bits do not fill it")
    return kind, parameters, n, next_id, sections


def _read_section(path: str, file: Any, name: str, section: dict[str, int]) -> NDArray[np.uint8]:
    array = np.empty(section["bytes"], np.uint8)
    file.seek(section["offset"])
    checksum = done = 0
    while done < len(array):
        part = array.data[done : done + BLOCK_BYTES]
        n_read = file.readinto(part)
        if not n_read:
            raise _damaged(path, f"it ends within its {name}")
        checksum = zlib.crc32(part[:n_read], checksum)
        done += n_read
    if checksum != section["crc32"]:
        raise _wrong_checksum(path, name, checksum, section["crc32"])
    return array


def _blocks_of(array: NDArray[Value]) -> Iterable[NDArray[Value]]:
    return (array[some] for some in blocks_of(array))


def _wrong_checksum(path: str, section: str, found: int, expected: int) -> ValueError:
    return _damaged(
        path, f"the checksum of its {section} is {found:08x} and should be {expected:08x}"
    )


def _damaged(path: str, what: str) -> ValueError:
    return ValueError(f"{path} is damaged: {what}")
