"""Codes that a command reads: packed codes, or a column of hashes as other programs write them."""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..codes import (
    check_codes,
    codes_of_bit_strings,
    codes_of_hex,
    codes_of_integers,
    looks_unpacked,
)
from ..datasets.readers import read_as_written
from .arguments import Options

__all__ = ["add_codes", "add_read_as", "read_codes"]

# What --read-as can say, and how an error calls it.
_FORMS = {"hex": "hexadecimal text", "integers": "integers", "bits": "text of 0 and 1"}

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")


def add_codes(options: Options, of: str) -> None:
    """Add the options --codes and --read-as."""
    options.add_argument(
        "--codes",
        metavar="SOURCE",
        help=f"{of}: packed codes, uint8, or a column of hashes, hexadecimal text or integers",
    )
    add_read_as(options)


def add_read_as(options: Options) -> None:
    """Add the option --read-as."""
    options.add_argument(
        "--read-as",
        choices=tuple(_FORMS),
        help="how the column of hashes is written, if it can be read in two ways; integers may be "
        "negative, as databases store 64 bits, and bits are text of 0 and 1",
    )


def read_codes(
    source: str, n_bits: int | None = None, read_as: str | None = None
) -> tuple[NDArray[np.uint8], int]:
    """
    Read packed codes, or make them of a column of hashes. Codes of int8 become uint8.

    Parameters
    ----------
    source : str
    n_bits : int, optional
        Length of the codes, if it is known. Integers need it.
    read_as : {"hex", "integers", "bits"}, optional
        How hashes are written; by default, what the values say.

    Returns
    -------
    codes : ndarray of uint8, shape (n, n_bytes)
    n_bits : int
        Length of the codes.

    Raises
    ------
    OSError, ValueError, ImportError
        In the cases of `read_array`; if the array holds neither packed codes nor hashes of one
        length; or if hashes can be read in two ways.
    """
    array = read_as_written(source)
    dtype = np.dtype(array.dtype)
    if read_as is not None or dtype.kind in "STU" or (dtype.kind in "iu" and dtype.itemsize > 1):
        column = _as_column(array)
        if column is not None:
            return _codes_of_hashes(column, source, n_bits, read_as)
    if read_as is not None:
        raise ValueError(
            f"--read-as is for a column of hashes, and {source} holds {dtype} of shape "
            f"{tuple(array.shape)}"
        )
    if dtype not in (np.uint8, np.int8) or array.ndim != 2:
        raise ValueError(
            f"{source} holds {dtype} of shape {tuple(array.shape)}, and packed codes are "
            "uint8 of shape (n, bytes): 'fasthash encode' makes them of features"
        )
    codes = check_codes(array if isinstance(array, np.ndarray) else np.asarray(array), source)
    if n_bits is None and looks_unpacked(codes):
        raise ValueError(
            f"{source} holds only 0 and 1, {codes.shape[1]} in a row: if each is a bit, "
            "pack them with fasthash.pack; if these are packed codes, say how long they are by "
            f"--bits {8 * codes.shape[1]}"
        )
    if n_bits is not None and codes.shape[1] != (n_bits + 7) // 8:
        raise ValueError(
            f"{source} holds codes of {8 * codes.shape[1]} bits, and codes of {n_bits} bits are "
            "needed"
        )
    return codes, 8 * codes.shape[1]


def _as_column(array: Any) -> NDArray[Any] | None:
    """Return text or integers in one dimension; None if the array is anything else."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "STUiu":
        return None
    if array.ndim == 2 and 1 in array.shape:
        # MATLAB knows matrices only.
        array = array.reshape(-1)
    return array if array.ndim == 1 else None


def _codes_of_hashes(
    column: NDArray[Any], source: str, n_bits: int | None, read_as: str | None
) -> tuple[NDArray[np.uint8], int]:
    if not len(column):
        raise ValueError(f"{source} has no rows, and one hash per row is needed")
    values: Any = column if column.dtype.kind in "iu" else column.astype(np.str_).tolist()
    read_as = read_as or _form_of(values, source, n_bits)
    if read_as == "integers":
        if n_bits is None:
            raise ValueError(
                f"{source} holds integers, which do not say how long a hash is: say it by --bits, "
                "which is --bits 64 for most perceptual hashes"
            )
        values = _integers(values, source)
        return codes_of_integers(values, source, n_bits, signed=min(values) < 0), n_bits
    if not isinstance(values, list):
        raise ValueError(f"--read-as {read_as} is for text, and {source} holds {column.dtype}")
    # The length that most hashes have, so that an error names a row that differs from it.
    n_digits = Counter(map(len, values)).most_common(1)[0][0]
    if read_as == "bits":
        codes = codes_of_bit_strings(values, source, n_bits or max(1, n_digits))
        return codes, n_bits or n_digits
    length = _length_of_hex(values, source, n_bits, n_digits)
    return codes_of_hex(values, source, length), n_bits or length


def _form_of(values: Any, source: str, n_bits: int | None) -> str:
    """Return the only form in which the values can be read, or refuse them."""
    if not isinstance(values, list):
        return "integers"
    characters, lengths = set("".join(values)), set(map(len, values))
    forms = []
    if (
        len(lengths) == 1
        and characters <= set(string.hexdigits)
        and (n_bits is None or not lengths.isdisjoint(_lengths_of_hex(n_bits)))
    ):
        forms.append("hex")
    if characters <= set("-0123456789") and all(map(_INTEGER.fullmatch, values)):
        forms.append("integers")
    if len(lengths) == 1 and characters <= set("01") and n_bits in (None, *lengths):
        forms.append("bits")
    if len(forms) > 1:
        what = "only 0 and 1" if characters <= set("01") else "only decimal digits"
        raise ValueError(
            f"{source} holds {what}, as in {values[0][:40]}, which can be "
            f"{' or '.join(_FORMS[form] for form in forms)}: say what it is by "
            f"{' or '.join(f'--read-as {form}' for form in forms)}"
        )
    # Values of no form are refused by what reads hexadecimal text, with the row.
    return forms[0] if forms else "hex"


def _integers(values: Any, source: str) -> Any:
    """Convert text to integers; leading zeros change nothing."""
    if not isinstance(values, list):
        return values
    for row, text in enumerate(values):
        if not re.fullmatch(r"-?[0-9]+", text):
            _refuse_integer(source, row, text)
    return [int(text) for text in values]


def _refuse_integer(source: str, row: int, text: str) -> NoReturn:
    raise ValueError(
        f"{source}[{row}] is {text[:40]!r}, which is not an integer: correct or drop the row, or "
        "pass --read-as hex if it is hexadecimal"
    )


def _length_of_hex(values: list[str], source: str, n_bits: int | None, n_digits: int) -> int:
    """Return the number of bits as which hexadecimal hashes of `n_digits` are read."""
    if not n_digits or not set(string.hexdigits).issuperset("".join(values)):
        # The caller reads the hashes with this length, and the first bad digit is refused.
        return 4 * max(1, n_digits)
    if n_bits is None:
        if n_digits % 2:
            raise ValueError(
                f"{source} holds hashes of {n_digits} hexadecimal digits, an odd number: say how "
                f"long they are by --bits, at most --bits {4 * n_digits}"
            )
        return 4 * n_digits
    lengths = _lengths_of_hex(n_bits)
    if n_digits not in lengths:
        raise ValueError(
            f"{source} holds hashes of {n_digits} hexadecimal digits, and codes of {n_bits} bits "
            f"have {min(lengths)}"
        )
    return lengths[n_digits]


def _lengths_of_hex(n_bits: int) -> dict[int, int]:
    """Return the numbers of digits that codes of `n_bits` have; as how many bits each is read."""
    whole_bytes = (n_bits + 7) // 8
    # Whole bytes, with unused bits at the end, are what `search` takes from standard input.
    return {(n_bits + 3) // 4: n_bits, 2 * whole_bytes: 8 * whole_bytes}
