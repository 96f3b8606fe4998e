"""Tables and lines of text as arrays: .csv, .tsv and .txt.

A cell is text until numbers are asked for. A column is called numbers where every cell is written
as the number it becomes, "10" and not "010" or "1_0": then nothing is lost, and no two names become
one.
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
# Encodings that say so in the first bytes of a file; the longer ones stand first.
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
# The module csv has one limit for all of its readers.
_LONG_FIELDS = threading.Lock()
_LONGEST_FIELD = 2**31 - 1


def in_txt(path: str) -> dict[str, FoundArray]:
    """Find the lines of a file of text; a line ends with a line feed, or as Windows writes it."""
    with _opened(path, newline=None) as file:
        lines = [line.removesuffix("\n") for line in _decoded(path, file)]
    return {"": in_memory(as_strings(lines, path))}


def in_csv(path: str) -> dict[str, FoundArray]:
    """Find the columns of a table of text, whose first line names them."""
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
    """Names, cells of each column, and the line in which each row begins."""
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
                    f"line {line} has {len(row)} columns, and the first one {len(names)}"
                )
            lines.append(line)
            for column, cell in zip(columns, row, strict=True):
                column.append(cell)
        else:
            # Blank lines behind the last row of several columns are none of them.
            if not blank or len(names) > 1:
                return names, columns, lines
    raise ValueError(
        f'line {blank} is blank: write "" for an empty cell, or take the line out'
        if len(names) == 1
        else f"line {blank} is blank: take it out"
    )


def _rows(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Rows and the lines in which they begin."""
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"line {line} is no row of a table: {error}") from None
        if row is None:
            return
        yield line, row


def _delimiter(path: str) -> str:
    """What parts the columns: a comma, or where the first line has none, a semicolon or a tab."""
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
            f"its first line must name the columns, and column {names.index('') + 1} has no name "
            "(pandas writes the index so, unless it is told index=False)"
        )
    counted = len(names) > 2 and names == [str(i) for i in range(len(names))]
    if all(map(_ANY_NUMBER.fullmatch, names)) and not counted:
        raise ValueError(
            f"its first line must name the columns, and it holds numbers, {', '.join(names[:5])}: "
            "put a line of names in front"
        )


def _column(path: str, name: str, cells: list[str], lines: array[int]) -> FoundArray:
    called = f"{path}:{name}"

    def read_texts() -> NDArray[np.str_]:
        return as_strings(cells, called)

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
    """The numbers that cells are, or None where one is not written as the number it becomes."""
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
    """Cells as numbers, in any spelling that has one meaning."""
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
    what = f"holds {shown!r}, which is no number" if cell.strip() else "is blank"
    remedy = "write it as text of digits, with a point" if cell.strip() else "fill it in"
    raise RefusedArrayError(
        f"{path}: line {line}, column {name!r} {what}, and numbers are needed: {remedy}, or drop "
        "the row or the column"
    )


def _opened(path: str, newline: str | None) -> Any:
    with open(path, "rb") as file:
        start = file.read(4096)
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8-sig")
    if encoding == "utf-8-sig" and b"\0" in start:
        raise ValueError("it holds NUL bytes, as UTF-16 without its mark does: save it as UTF-8")
    return open(path, newline=newline, encoding=encoding)


def _decoded(path: str, file: Any) -> Iterator[str]:
    """The lines of a file, or the number of the first that cannot be decoded."""
    try:
        yield from file
    except UnicodeDecodeError as error:
        if not error.encoding.startswith("utf-8"):
            raise ValueError(f"it is no {error.encoding.upper()}: save it as UTF-8") from None
        raise ValueError(
            f"line {_undecodable_line(path)} holds bytes that are no UTF-8: save it as UTF-8 "
            f"(iconv -f LATIN1 -t UTF-8 {os.path.basename(path)} does so, if it is Latin-1)"
        ) from None


def _undecodable_line(path: str) -> int:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1
