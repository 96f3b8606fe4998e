"""Index files: a header, then the codes, the ids and the tables if any, each with a checksum.

    bytes        what
    0            b"\\x89FASTHX\\n", which a transfer as text would change
    8            format version, uint32: 1, 2 with tables, or 3 with lists and perhaps tables; all
                 numbers are little-endian
    12           checksum (CRC-32) of the header, computed with zeros here, uint32
    16           size of the file in bytes, uint64
    24           size of the description in bytes, uint32; zeros up to 32
    32           description, JSON: kind of index, its parameters, number of codes and of tables,
                 and per section its offset, size in bytes and checksum; zeros up to 4096
    4096         codes, uint8 (n, ceil(n_bits / 8)), in the order of the ids
    next × 64    ids, int64 (n,), ascending
    next × 64    if there are tables, those of multi-index hashing as they lie in memory, which
                 `fh_table` in multi_index.h describes: per table the bounds of its buckets, its
                 rows, and for codes of up to 64 bits the rests of codes
    next × 64    in version 3, the lists of searches with a recall, in four sections: the centres,
                 as the codes; where the rows of each list start, int64 (n_lists + 1,); the rows
                 list by list, uint32 (n,); and what has been calibrated, JSON

Before a reader allocates memory, it checks the header, and that all sections lie in the file. A
file cannot run code or refer to another file.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import zlib
from collections.abc import Iterable
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core.files import INDEX_SIGNATURE, replacing, size_of, sync
from .._core.interruptible import ascends
from .._core.pieces import BLOCK_BYTES, blocks_of, cut
from .._kernels.multi_index import SUBSTRING_BITS_MAX, table_bytes
from .._kernels.page_cache import map_cached
from ..codes import check_codes
from ._partitions import MAX_CHOSEN_LISTS, MAX_LISTS, MAX_ROWS
from ._snapshot import Content, Snapshot, StoredLists
from ._tables import MAX_CODES, CodeTables

__all__ = [
    "check_content",
    "check_list_rows",
    "check_lists",
    "map_large_pages",
    "read_index",
    "write_index",
]

Value = TypeVar("Value", bound=np.generic)

VERSION = 1
VERSION_WITH_TABLES = 2
VERSION_WITH_LISTS = 3
HEADER_BYTES = 4096
_PREAMBLE = struct.Struct("<8sIIQI4x")
_CHECKSUM_AT = 12
_ALIGNMENT = 64

# Bytes after which a file is synchronised with the disk.
_SYNCED_BYTES = 1 << 26

# Most bytes of a file that `load` maps at once: this takes some ten milliseconds at most.
_MOST_MAPPED = 1 << 32

# Tables are stored as they lie in the memory of little-endian machines. Others build their own.
_IS_LITTLE_ENDIAN = sys.byteorder == "little"

# A distance must fit in int32.
_MAX_BITS = 2**31 - 8


def write_index(
    path: str | os.PathLike[str],
    kind: str,
    parameters: dict[str, Any],
    state: Snapshot,
    tables: CodeTables | None,
    lists: StoredLists | None,
    model: str | None,
) -> None:
    """
    Write a state of an index without its removed codes, a block of rows at a time.

    `tables` and `lists` are those of all codes, which the base of the state then holds.
    """
    if not _IS_LITTLE_ENDIAN:
        tables = lists = None
    n_tables = 0 if tables is None else tables.n_tables
    n_lists = 0 if lists is None else len(lists.centres)
    calibrations = b"" if lists is None else lists.calibrations
    sections = _sections(len(state), parameters["n_bits"], n_tables, n_lists, len(calibrations))
    contents: dict[str, Iterable[NDArray[Any]]] = {
        "codes": state.code_blocks(),
        "ids": (ids.astype("<i8", copy=False) for ids in state.id_blocks()),
    }
    if tables is not None:
        contents["tables"] = (tables.memory,)
    if lists is not None:
        contents["centres"] = (lists.centres,)
        contents["list_starts"] = (lists.starts,)
        contents["list_rows"] = (lists.rows,)
        contents["calibrations"] = (np.frombuffer(calibrations, np.uint8),)
    with replacing(path) as file:
        for name, content in contents.items():
            file.seek(sections[name]["offset"])
            sections[name]["crc32"] = _write_blocks(file, content)
        end = _end_of(sections)
        file.truncate(end)
        description = {
            "index": kind,
            "parameters": parameters,
            "n": len(state),
            "next_id": state.next_id,
            "sections": sections,
        }
        if n_tables:
            description["n_tables"] = n_tables
        if lists is not None:
            description["n_lists"] = n_lists
            description["lists_learned_from"] = lists.n_learned
            description["lists_asked_for"] = lists.n_asked
        if model is not None:
            description["model"] = model
        file.seek(0)
        version = VERSION_WITH_TABLES if n_tables else VERSION
        version = VERSION_WITH_LISTS if n_lists else version
        file.write(_header(json.dumps(description).encode(), end, version))


def read_index(path: str | os.PathLike[str], use_mmap: bool) -> Content:
    """
    Read an index file.

    The header is always checked. Codes and ids are checked unless they are memory-mapped; of tables
    it is the checksum.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not an index file of a known version, or is damaged.
    """
    path = os.fspath(path)
    size = size_of(path)
    with open(path, "rb", buffering=0) as file:
        header = file.read(HEADER_BYTES)
        version, description = _read_header(path, header, size)
        kind, parameters, n, next_id, n_tables, sections = _read_description(
            path, description, size, version
        )
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
        n_tables,
        arrays.get("tables") if _IS_LITTLE_ENDIAN else None,
        description.get("model"),
        _lists_of(path, arrays, n_bytes, description),
    )
    if n and next_id <= content.ids[-1]:
        raise _damaged(path, f"id {content.ids[-1]} is not less than next_id {next_id}")
    if not use_mmap:
        check_content(path, content.codes, content.ids, parameters["n_bits"])
        if content.lists is not None:
            check_lists(path, content.lists, n, parameters["n_bits"])
    return content


def map_large_pages(content: Content) -> None:
    """
    Map what the system has of a file in large pages, before the first search reads it.

    A search by tables or lists reads a few bytes at many places; see ``_kernels/page_cache.pyx``.
    Without either, it reads the codes from end to end, and large pages make no difference.
    """
    arrays: list[NDArray[Any]] = [] if content.tables is None else [content.tables]
    if content.lists is not None:
        arrays += [content.lists.centres, content.lists.starts, content.lists.rows]
    if not arrays or not _may_ask_for_pages(content.path):
        return
    left = _MOST_MAPPED
    for array in (*arrays, content.ids, content.codes):
        some = array.reshape(-1).view(np.uint8)[:left]
        map_cached(some)
        left -= len(some)


def _may_ask_for_pages(path: str) -> bool:
    """Whether Linux tells this process which pages of the file are in memory."""
    if not hasattr(os, "geteuid"):
        return False
    is_effective = os.access in os.supports_effective_ids
    try:
        is_owner = os.stat(path).st_uid == os.geteuid()
        return is_owner or os.access(path, os.W_OK, effective_ids=is_effective)
    except OSError:
        return False


def check_lists(name: str, lists: StoredLists, n: int, n_bits: int) -> None:
    """
    Check that every row is in one list, and that the centres are codes.

    Raises
    ------
    ValueError
        If one of these checks fails.
    """
    check_list_rows(name, lists, n)
    is_listed = np.zeros(n, bool)
    is_listed[lists.rows] = True
    if not is_listed.all():
        raise _damaged(name, f"row {int(np.argmin(is_listed))} is in no list")
    try:
        check_codes(lists.centres, "centres", n_bits)
    except ValueError as error:
        raise _damaged(name, str(error)) from None


def check_list_rows(name: str, lists: StoredLists, n: int) -> None:
    """
    Check that lists hold rows of the codes, so that a search reads no other memory.

    Raises
    ------
    ValueError
        If one of these checks fails.
    """
    starts = lists.starts
    if starts[0] != 0 or starts[-1] != n or (starts[1:] <= starts[:-1]).any():
        raise _damaged(name, "its lists do not start one after the other")
    if max(int(lists.rows[some].max()) for some in blocks_of(lists.rows)) >= n:
        raise _damaged(name, f"its lists hold a row that is not below {n}")


def _lists_of(
    path: str, arrays: dict[str, NDArray[np.uint8]], n_bytes: int, description: dict[str, Any]
) -> StoredLists | None:
    if "centres" not in arrays or not _IS_LITTLE_ENDIAN:
        return None
    n_learned = description.get("lists_learned_from", description["n"])
    if type(n_learned) is not int or not 0 < n_learned <= MAX_ROWS:
        raise _damaged(path, f"its centres cannot have been learned from {n_learned} codes")
    n_asked = description.get("lists_asked_for")
    if n_asked is not None and (type(n_asked) is not int or not 0 < n_asked <= MAX_CHOSEN_LISTS):
        raise _damaged(path, f"{n_asked} lists cannot have been asked for")
    return StoredLists(
        arrays["centres"].reshape(-1, n_bytes),
        arrays["list_starts"].view(np.int64),
        arrays["list_rows"].view(np.uint32),
        arrays["calibrations"].tobytes(),
        n_learned,
        n_asked,
    )


def check_content(
    name: str,
    codes: NDArray[np.uint8],
    ids: NDArray[np.int64],
    n_bits: int,
    source: Content | None = None,
) -> None:
    """
    Check that ids are at least 0 and ascend, that padding bits are zero, and checksums of a file.

    Raises
    ------
    ValueError
        If one of these checks fails.
    """
    if source is not None:
        sections: dict[str, NDArray[Any] | None]
        sections = {"codes": codes, "ids": ids, "tables": source.tables}
        if source.lists is not None:
            sections["centres"] = source.lists.centres
            sections["list_starts"] = source.lists.starts
            sections["list_rows"] = source.lists.rows
            sections["calibrations"] = np.frombuffer(source.lists.calibrations, np.uint8)
        for section, checksum in source.checksums.items():
            array = sections.get(section)
            if array is None:
                continue
            found = 0
            for block in _blocks_of(array):
                little = block.astype(array.dtype.newbyteorder("<"), copy=False)
                found = zlib.crc32(little.data, found)
            if found != checksum:
                raise _wrong_checksum(name, section, found, checksum)
    if len(ids) and ids[0] < 0:
        raise _damaged(name, f"it holds the id {ids[0]}")
    if not ascends(ids):
        raise _damaged(name, "its ids do not ascend")
    for block in _blocks_of(codes):
        try:
            check_codes(block, "codes", n_bits)
        except ValueError as error:
            raise _damaged(name, str(error)) from None


def _sections(
    n: int, n_bits: int, n_tables: int, n_lists: int, calibration_bytes: int
) -> dict[str, dict[str, int]]:
    sizes = {"codes": n * ((n_bits + 7) // 8), "ids": 8 * n}
    if n_tables:
        sizes["tables"] = table_bytes(n, n_bits, n_tables)
    if n_lists:
        sizes["centres"] = n_lists * ((n_bits + 7) // 8)
        sizes["list_starts"] = 8 * (n_lists + 1)
        sizes["list_rows"] = 4 * n
        sizes["calibrations"] = calibration_bytes
    sections = {}
    offset = HEADER_BYTES
    for name, size in sizes.items():
        sections[name] = {"offset": offset, "bytes": size}
        offset = -(-(offset + size) // _ALIGNMENT) * _ALIGNMENT
    return sections


def _end_of(sections: dict[str, dict[str, int]]) -> int:
    return max(section["offset"] + section["bytes"] for section in sections.values())


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


def _header(description: bytes, file_bytes: int, version: int) -> bytes:
    if len(description) > HEADER_BYTES - _PREAMBLE.size:
        raise ValueError(f"the parameters of the index take {len(description)} bytes: too many")
    header = bytearray(HEADER_BYTES)
    header[: _PREAMBLE.size] = _PREAMBLE.pack(
        INDEX_SIGNATURE,
        version,
        0,
        file_bytes,
        len(description),
    )
    header[_PREAMBLE.size : _PREAMBLE.size + len(description)] = description
    header[_CHECKSUM_AT : _CHECKSUM_AT + 4] = struct.pack("<I", zlib.crc32(header))
    return bytes(header)


def _read_header(path: str, header: bytes, size: int) -> tuple[int, Any]:
    """(format version, description)."""
    if header[: len(INDEX_SIGNATURE)] != INDEX_SIGNATURE:
        raise ValueError(f"{path} is not an index file of fasthash")
    if len(header) < HEADER_BYTES:
        raise _damaged(path, f"it ends after {len(header)} bytes, within its header")
    _, version, checksum, file_bytes, n_description = _PREAMBLE.unpack_from(header)
    if not VERSION <= version <= VERSION_WITH_LISTS:
        raise ValueError(
            f"{path} is an index file of format {version}, and this version of fasthash reads "
            f"formats up to {VERSION_WITH_LISTS}: read it with the version that wrote it"
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
    return version, description


def _read_description(
    path: str, description: Any, size: int, version: int
) -> tuple[str, dict[str, Any], int, int, int, dict[str, dict[str, int]]]:
    """
    (kind, parameters, n, next_id, n_tables, sections), checked against each other and the file
    size.
    """
    try:
        kind, parameters = description["index"], dict(description["parameters"])
        n, next_id, n_bits = description["n"], description["next_id"], parameters["n_bits"]
        has_tables = "n_tables" in description if version == VERSION_WITH_LISTS else version > 1
        n_tables = description["n_tables"] if has_tables else 0
        n_lists = description["n_lists"] if version == VERSION_WITH_LISTS else 0
        sections = {
            name: {key: section[key] for key in ("offset", "bytes", "crc32")}
            for name, section in description["sections"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _damaged(path, "its description lacks something") from None
    numbers = [n, next_id, n_bits, n_tables, n_lists]
    numbers += [x for section in sections.values() for x in section.values()]
    is_named = isinstance(description.get("model"), str | None)
    if (
        not isinstance(kind, str)
        or not is_named
        or any(type(x) is not int or x < 0 for x in numbers)
    ):
        raise _damaged(path, "its description holds a value of a wrong type")
    if not 1 <= n_bits <= _MAX_BITS or next_id > 2**63:
        raise _damaged(path, f"its description says n_bits={n_bits}, next_id={next_id}")
    placed = {
        name: {key: section[key] for key in ("offset", "bytes")}
        for name, section in sections.items()
    }
    if HEADER_BYTES + n * ((n_bits + 7) // 8) > size:
        raise _damaged(path, f"{n} codes of {n_bits} bits do not fit in it")
    fewest = -(-n_bits // SUBSTRING_BITS_MAX)
    if has_tables and not (fewest <= n_tables <= n_bits and 0 < n <= MAX_CODES):
        raise _damaged(path, f"it cannot have {n_tables} tables of {n} codes of {n_bits} bits")
    if version == VERSION_WITH_LISTS and not 0 < n_lists <= min(n, MAX_LISTS):
        raise _damaged(path, f"it cannot have {n_lists} lists of {n} codes")
    calibration_bytes = sections.get("calibrations", {"bytes": 0})["bytes"]
    expected = _sections(n, n_bits, n_tables, n_lists, calibration_bytes)
    if placed != expected or _end_of(expected) != size:
        raise _damaged(path, f"{n} codes of {n_bits} bits do not fill it")
    return kind, parameters, n, next_id, n_tables, sections


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
