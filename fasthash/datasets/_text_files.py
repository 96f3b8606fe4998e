"""Read tables and lines of text as arrays: .csv, .tsv and .txt files.

A cell is text unless the caller needs numbers. A column counts as numbers only if every cell is the
usual spelling of its number: "10", but not "010" or "1_0". Then the conversion loses nothing, and
two different names never become equal.
"""

from __future__ import annotations

import csv
import os
import re
import threading
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ._found_arrays import FoundArray, RefusedArrayError, as_strings, in_memory

__all__ = ["in_csv", "in_txt"]

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_ANY_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")
_ANY_NUMBER = re.compile(
    r"\s*[+-]?([0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?|nan|inf)\s*",
    re.IGNORECASE,
)
# Encodings by byte order mark. Longer marks come first, because some begin with a shorter one.
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_MARKS_BY_NAME = {",": "commas", ";": "semicolons", "\t": "tabs"}
# The module csv has one global limit for the length of a field.
_LONG_FIELDS = threading.Lock()
_LONGEST_FIELD = 2**31 - 1


def in_txt(path: str) -> dict[str, FoundArray]:
    """Find the lines of a text file. A line ends with LF, CR LF or CR."""
    with _opened(path, newline=None) as file:
        lines = [line.removesuffix("\n") for line in _decoded(path, file)]
    return {"": in_memory(as_strings(lines, path))}


def in_csv(path: str) -> dict[str, FoundArray]:
    """Find the columns of a text table. Its first line names them."""
    with _LONG_FIELDS:
        limit = csv.field_size_limit(_LONGEST_FIELD)
        try:
            names, columns, lines = _read_table(path)
        finally:
            csv.field_size_limit(limit)
    return {
        name: _column(path, name, cells, lines) for name, cells in zip(names, columns, strict=True)
    }


def _read_table(path: str) -> tuple[list[str], list[list[str]], array[int]]:
    """Return the names, the cells of each column, and the line number at which each row begins."""
    delimiter = _delimiter(path)
    with _opened(path, newline="") as file:
        rows = _rows(csv.reader(_decoded(path, file), delimiter=delimiter, strict=True))
        _, names = next(rows, (1, []))
        _check_names(names)
        columns: list[list[str]] = [[] for _ in names]
        lines = array("q")
        blank = 0
        for line, row in rows:
            if not row:
                blank = blank or line
                continue
            if blank:
                break
            if len(row) != len(names):
                raise ValueError(
                    f"line {line} has {len(row)} columns, and the first line has {len(names)}, "
                    f"separated by {_MARKS_BY_NAME[delimiter]}"
                )
            lines.append(line)
            for column, cell in zip(columns, row, strict=True):
                column.append(cell)
        else:
            # Blank lines at the end are ignored, except in a table of one column, where a blank
            # line may be an empty cell.
            if not blank or len(names) > 1:
                return names, columns, lines
    raise ValueError(
        f'line {blank} is blank: write "" for an empty cell, or remove the line'
        if len(names) == 1
        else f"line {blank} is blank: remove it"
    )


def _rows(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows, each with the number of the line at which it begins."""
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"line {line} is not a valid row of a table: {error}") from None
        if row is None:
            return
        yield line, row


def _delimiter(path: str) -> str:
    """Return the delimiter: the first of comma, semicolon and tab that the first line holds."""
    if path.lower().endswith(".tsv"):
        return "\t"
    with _opened(path, newline="") as file:
        first = next(_decoded(path, file), "")
    unquoted = re.sub(r'"[^"]*"?', "", first)
    return next((mark for mark in ",;\t" if mark in unquoted), ",")


def _check_names(names: list[str]) -> None:
    if not names:
        raise ValueError("its first line must name the columns, and it is empty")
    twice = [name for name in names if names.count(name) > 1]
    if twice and "" not in twice:
        raise ValueError(f"its first line names a column twice: {', '.join(dict.fromkeys(twice))}")
    if "" in names:
        raise ValueError(
            f"its first line must name the columns, and column {names.index('') + 1} has no name: "
            "add a name (if pandas wrote its index there, write the table with index=False)"
        )
    counted = len(names) > 2 and names == [str(i) for i in range(len(names))]
    if all(map(_ANY_NUMBER.fullmatch, names)) and not counted:
        raise ValueError(
            "its first line must name the columns, and it holds only numbers, "
            f"{', '.join(names[:5])}: add a line of names at the beginning"
        )


def _column(path: str, name: str, cells: list[str], lines: array[int]) -> FoundArray:
    source = f"{path}:{name}"

    def read_texts() -> NDArray[np.str_]:
        return as_strings(cells, source)

    def read_numbers() -> NDArray[Any]:
        return _numbers(path, name, cells, lines)

    exact = _exact_numbers(cells)
    if exact is not None:
        return FoundArray(exact.shape, exact.dtype.name, lambda: exact, read_numbers, read_texts)
    described = "text"
    if cells and all(map(_ANY_NUMBER.fullmatch, filter(str.strip, cells))):
        is_blank = any(not cell.strip() for cell in cells)
        described = "text of numbers and blanks" if is_blank else "text of numbers"
    return FoundArray((len(cells),), described, read_texts, read_numbers, read_texts)


def _exact_numbers(cells: Sequence[str]) -> NDArray[Any] | None:
    """Convert cells to numbers; None if a cell is not the usual spelling of its number."""
    if not cells:
        return None
    if all(map(_INTEGER.fullmatch, cells)):
        try:
            return np.array([int(cell) for cell in cells], np.int64)
        except (OverflowError, ValueError):
            return None
    # "nan" and "inf" may be names.
    if all(_ANY_NUMBER.fullmatch(c) and c[-1].isdigit() and repr(float(c)) == c for c in cells):
        return np.array([float(cell) for cell in cells])
    return None


def _numbers(path: str, name: str, cells: Sequence[str], lines: array[int]) -> NDArray[Any]:
    """Convert cells to numbers, in any spelling that is unambiguous."""
    for row, cell in enumerate(cells):
        if not _ANY_NUMBER.fullmatch(cell):
            _refuse_cell(path, name, cell, lines[row])
    if cells and all(map(_ANY_INTEGER.fullmatch, cells)):
        try:
            return np.array([int(cell) for cell in cells], np.int64)
        except (OverflowError, ValueError):
            pass
    return np.array([float(cell) for cell in cells], np.float64)


def _refuse_cell(path: str, name: str, cell: str, line: int) -> NoReturn:
    shown = cell if len(cell) <= 40 else f"{cell[:40]}…"
    what = f"holds {shown!r}, which is not a number" if cell.strip() else "is blank"
    remedy = "write it with digits and a decimal point" if cell.strip() else "fill it in"
    raise RefusedArrayError(
        f"{path}: line {line}, column {name!r} {what}, and numbers are needed: {remedy}, or drop "
        "the row or the column"
    )


def _opened(path: str, newline: str | None) -> Any:
    with open(path, "rb") as file:
        start = file.read(4096)
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8-sig")
    if encoding == "utf-8-sig" and b"\0" in start:
        raise ValueError(
            "it holds NUL bytes, like UTF-16 without a byte order mark: save it as UTF-8"
        )
    return open(path, newline=newline, encoding=encoding)


def _decoded(path: str, file: Any) -> Iterator[str]:
    """Yield the lines of a file. The error names the first line that cannot be decoded."""
    try:
        yield from file
    except UnicodeDecodeError as error:
        if not error.encoding.startswith("utf-8"):
            raise ValueError(f"it is not {error.encoding.upper()}: save it as UTF-8") from None
        raise ValueError(
            f"line {_undecodable_line(path)} holds bytes that are not UTF-8: save it as UTF-8 "
            f"(for Latin-1: iconv -f LATIN1 -t UTF-8 {os.path.basename(path)})"
        ) from None


def _undecodable_line(path: str) -> int:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1
