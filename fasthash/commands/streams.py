"""Queries that arrive on standard input, one a line. A line that is no query is reported.

The other lines are answered: a program that keeps a search open does not lose it by one bad line.
"""

from __future__ import annotations

import json
import os
import sys
from binascii import unhexlify
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Queries", "StandardInput", "code_of_line", "features_of_line"]

# Largest number of bytes that one call reads from standard input.
_READ_BYTES = 1 << 20


class Queries(NamedTuple):
    """
    A block of queries.

    Attributes
    ----------
    numbers : sequence of int
        Counted from 0; a line that is no query has a number too.
    x : array_like
        Features, or codes, by row.
    codes : ndarray of uint8, or of floats
        Codes, or the weights of their bits.
    """

    numbers: Sequence[int]
    x: Any
    codes: NDArray[Any]


class _Line(NamedTuple):
    """A line that is not blank; its place in the input counts from 1, and blank lines too."""

    query: int
    place: int
    text: bytes


class StandardInput:
    """
    The lines of standard input as queries.

    Parameters
    ----------
    parse : callable
        Turns the bytes of a line into a row of numbers, or raises a ValueError that says what the
        line is not.
    encode : callable
        Turns rows into codes, or into weights of their bits, or raises a ValueError.
    rows : slice
        Which queries are wanted.

    Attributes
    ----------
    n_refused : int
        The number of lines so far that were no queries.
    """

    def __init__(
        self,
        parse: Callable[[bytes], NDArray[Any]],
        encode: Callable[[Any], NDArray[Any]],
        rows: slice,
    ) -> None:
        self._parse, self._encode, self._rows = parse, encode, rows
        self.n_refused = 0

    def __iter__(self) -> Iterator[Queries]:
        for lines in _lines_of_input(self._rows):
            parsed = []
            refused: list[tuple[_Line, ValueError]] = []
            for line in lines:
                try:
                    parsed.append((line, self._parse(line.text)))
                except ValueError as error:
                    refused.append((line, error))
            if parsed:
                yield from self._encoded(parsed, refused)
            for line, why in sorted(refused, key=lambda one: one[0].place):
                _report(line, why)
            self.n_refused += len(refused)

    def _encoded(
        self,
        parsed: list[tuple[_Line, NDArray[Any]]],
        refused: list[tuple[_Line, ValueError]],
    ) -> Iterator[Queries]:
        """Encode rows together; one by one if that fails, to add those that fail to `refused`."""
        try:
            # Rows of different lengths are no matrix, and raise a ValueError too.
            x = np.array([row for _, row in parsed])
            codes = self._encode(x)
        except ValueError as error:
            if len(parsed) == 1:
                refused.append((parsed[0][0], error))
            else:
                for one in parsed:
                    yield from self._encoded([one], refused)
            return
        yield Queries([line.query for line, _ in parsed], x, codes)


def features_of_line(text: bytes) -> NDArray[np.float64]:
    """
    Parse a JSON list of numbers.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        values = json.loads(text)
        if isinstance(values, list) and values and {type(v) for v in values} <= {int, float}:
            return np.array(values, np.float64)
    except (ValueError, OverflowError, RecursionError):
        pass
    raise ValueError("no list of features")


def code_of_line(text: bytes, n_bits: int) -> NDArray[np.uint8]:
    """
    Parse a code in hexadecimal, as text or as a JSON string.

    Raises
    ------
    ValueError
        If it is none.
    """
    n_bytes = (n_bits + 7) // 8
    try:
        code = unhexlify(text.strip().strip(b'"'))
    except ValueError:
        code = b""
    if len(code) != n_bytes:
        raise ValueError(f"no code of {n_bits} bits, {2 * n_bytes} hexadecimal digits")
    n_padding = 8 * n_bytes - n_bits
    if code[-1] & ((1 << n_padding) - 1):
        raise ValueError(f"no code of {n_bits} bits: its last {n_padding} bits must be zero")
    return np.frombuffer(code, np.uint8)


def _lines_of_input(rows: slice) -> Iterator[list[_Line]]:
    """Yield the complete lines that have arrived, without blank ones."""
    query, place = 0, 0
    unfinished: list[bytes] = []
    while True:
        # The call returns the available bytes: a single line is answered at once, and many lines
        # are answered together.
        arrived = os.read(sys.stdin.fileno(), _READ_BYTES)
        unfinished.append(arrived)
        if arrived and b"\n" not in arrived:
            continue
        texts = b"".join(unfinished).split(b"\n")
        unfinished = [texts.pop()] if arrived else []
        lines = []
        for text in texts:
            place += 1
            if not text.strip():
                continue
            if query >= rows.start and (rows.stop is None or query < rows.stop):
                lines.append(_Line(query, place, text))
            query += 1
        if lines:
            yield lines
        if not arrived or (rows.stop is not None and query >= rows.stop):
            return


def _report(line: _Line, error: ValueError) -> None:
    what = " ".join(str(error).split())
    print(
        f"fasthash: line {line.place} of standard input: {what}: {_shortened(line.text)}",
        file=sys.stderr,
        flush=True,
    )


def _shortened(line: bytes) -> str:
    text = line.decode(errors="replace").strip()
    return repr(text if len(text) <= 40 else text[:40] + "…")
