"""Codes as integers: those of Python, of numpy, and the signed ones of databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.pieces import BLOCK_BYTES, cut
from .._core.validation import check_choice, check_count
from ._checks import check_codes
from ._columns import as_column, is_missing, refusal

__all__ = ["codes_of_integers", "from_integers", "to_integers"]


def from_integers(
    values: ArrayLike,
    n_bits: int,
    *,
    signed: bool = False,
    byteorder: str = "big",
) -> NDArray[np.uint8]:
    """
    Convert integers to packed codes.

    Parameters
    ----------
    values : array_like of int, shape (n,)
        One integer per code: Python integers of any size in a list, an array of integers, or a
        column of pandas, polars or pyarrow. Booleans, floats and missing values are refused.
    n_bits : int
        Length of the codes. Its most significant bit becomes the first bit of the code.
    signed : bool, default False
        Whether the integers are signed numbers of `n_bits` bits in two's complement. Databases
        store hashes of 64 bits like this, because they have no unsigned integers.
    byteorder : {"big", "little"}, default "big"
        "little" if the first byte of the code is the least significant one, as in integers that
        ``codes.view(np.uint64)`` makes on most computers. Then `n_bits` must be a multiple of 8.

    Returns
    -------
    ndarray of uint8, shape (n, ceil(n_bits / 8))
        Packed codes.

    Raises
    ------
    TypeError
        If a value is not an integer.
    ValueError
        If a value is missing, is negative although `signed` is false, or does not fit in `n_bits`.

    See Also
    --------
    to_integers : Convert packed codes to integers.
    from_hex : Convert hexadecimal hashes to packed codes.

    Examples
    --------
    >>> import fasthash as fh
    >>> fh.codes.from_integers([1, 2**63], 64)
    array([[  0,   0,   0,   0,   0,   0,   0,   1],
           [128,   0,   0,   0,   0,   0,   0,   0]], dtype=uint8)
    >>> fh.codes.from_integers(np.array([-1, 5]), 64, signed=True)[0]
    array([255, 255, 255, 255, 255, 255, 255, 255], dtype=uint8)
    """
    return codes_of_integers(values, "values", n_bits, signed, byteorder)


def to_integers(
    codes: ArrayLike,
    n_bits: int | None = None,
    *,
    signed: bool = False,
    byteorder: str = "big",
) -> NDArray[Any]:
    """
    Convert packed codes to integers.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, n_bytes)
        Packed codes.
    n_bits : int, optional
        Length of the codes. By default eight bits per byte.
    signed : bool, default False
        Whether to return signed numbers of `n_bits` bits in two's complement, as databases store.
    byteorder : {"big", "little"}, default "big"
        "little" makes the first byte of a code the least significant one. Then `n_bits` must be a
        multiple of 8.

    Returns
    -------
    ndarray of uint64, int64 or object, shape (n,)
        Up to 64 bits, uint64, or int64 if `signed`. Longer codes are Python integers.

    Raises
    ------
    TypeError, ValueError
        If the codes have the wrong type or shape, or do not have `n_bits` bits.

    See Also
    --------
    from_integers : Convert integers to packed codes.

    Examples
    --------
    >>> import fasthash as fh
    >>> codes = fh.codes.from_hex(["000000000000000a", "ffffffffffffffff"])
    >>> fh.codes.to_integers(codes).tolist()
    [10, 18446744073709551615]
    >>> fh.codes.to_integers(codes, signed=True).tolist()
    [10, -1]
    """
    codes = check_codes(codes, "codes", n_bits)
    n, n_bytes = codes.shape
    n_bits = 8 * n_bytes if n_bits is None else check_count(n_bits, "n_bits")
    _check_byteorder(byteorder, n_bits)
    is_wide = n_bits > 64
    values = np.empty(n, object if is_wide else np.int64 if signed else np.uint64)
    for some in cut(n, max(8, n_bytes), BLOCK_BYTES):
        block = codes[some] if byteorder == "big" else codes[some, ::-1]
        if is_wide:
            values[some] = _wide_integers(block, n_bits, signed)
        else:
            # The code fills the highest bits of the word, so that a shift extends its sign.
            words = np.zeros((len(block), 8), np.uint8)
            words[:, :n_bytes] = block
            values[some] = words.view(">i8" if signed else ">u8")[:, 0].astype(values.dtype)
            values[some] >>= values.dtype.type(64 - n_bits)
    return values


def codes_of_integers(
    values: Any,
    name: str,
    n_bits: int,
    signed: bool = False,
    byteorder: str = "big",
) -> NDArray[np.uint8]:
    """Do what `from_integers` does; errors call the integers by `name`."""
    n_bits = check_count(n_bits, "n_bits")
    _check_byteorder(byteorder, n_bits)
    column = as_column(values, name)
    if isinstance(column, np.ndarray):
        if column.size and column.dtype.kind not in "iuO":
            _refuse_dtype(column, name)
        if column.dtype.kind == "O" or n_bits > 64 or not column.size:
            column = column.tolist()
    codes = np.empty((len(column), (n_bits + 7) // 8), np.uint8)
    for some in cut(len(column), max(64, codes.shape[1]), BLOCK_BYTES):
        block = column[some]
        if isinstance(block, np.ndarray):
            smallest, largest = int(block.min()), int(block.max())
        else:
            block = _checked_integers(block, name, some.start)
            smallest, largest = min(block), max(block)
        lowest, highest = _range_of(n_bits, signed)
        if smallest < lowest or largest > highest:
            _refuse_first_outside(block, name, some.start, n_bits, signed)
        if n_bits > 64:
            codes[some] = _codes_of_wide(block, n_bits, signed)
        else:
            words = np.asarray(block, np.int64 if signed else np.uint64).astype(np.uint64)
            words <<= np.uint64(-n_bits % 8)
            as_bytes = words.astype(">u8")[:, None].view(np.uint8)
            codes[some] = as_bytes[:, 8 - codes.shape[1] :]
        if byteorder == "little":
            codes[some] = codes[some, ::-1].copy()
    return codes


def _check_byteorder(byteorder: Any, n_bits: int) -> None:
    check_choice(byteorder, "byteorder", ("big", "little"))
    if byteorder == "little" and n_bits % 8:
        raise ValueError(
            f'byteorder="little" needs codes of whole bytes, and n_bits={n_bits} is not a multiple '
            'of 8: use byteorder="big"'
        )


def _refuse_dtype(column: NDArray[Any], name: str) -> NoReturn:
    kind = column.dtype.kind
    if kind == "f" and np.isnan(column).any():
        row = int(np.isnan(column).argmax())
        raise ValueError(refusal(name, row, column[row], ""))
    remedy = {
        "f": "floats hold only the first 53 bits of a hash, so read the column as integers",
        "b": "pass booleans, one column per bit, to fasthash.pack",
        "U": "pass text to fasthash.codes.from_hex, or int(x) of each if the digits are decimal",
    }.get("U" if kind in "UST" else kind, "convert them to integers first")
    raise TypeError(f"{name} must be integers, got dtype {column.dtype}: {remedy}")


def _checked_integers(block: Sequence[Any], name: str, start: int) -> list[int]:
    """Return Python objects as integers of Python."""
    if set(map(type, block)) == {int}:
        return list(block)
    for row, value in enumerate(block, start):
        if is_missing(value):
            raise ValueError(refusal(name, row, value, ""))
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
            reason = f"it is of type {type(value).__name__}, and an integer is needed"
            if isinstance(value, float | np.floating):
                reason += ": floats hold only the first 53 bits of a hash"
            elif isinstance(value, str | bytes):
                reason += ": fasthash.codes.from_hex reads hexadecimal text"
            elif hasattr(value, "__int__"):
                reason += ": pass int(x) of each if all are whole numbers"
            raise TypeError(refusal(name, row, value, reason))
    return [int(value) for value in block]


def _range_of(n_bits: int, signed: bool) -> tuple[int, int]:
    """Return the smallest and the largest integer of `n_bits` bits."""
    return (-(1 << n_bits - 1), (1 << n_bits - 1) - 1) if signed else (0, (1 << n_bits) - 1)


def _refuse_first_outside(block: Any, name: str, start: int, n_bits: int, signed: bool) -> NoReturn:
    lowest, highest = _range_of(n_bits, signed)
    for row, value in enumerate(map(int, block), start):
        if value < 0 and not signed:
            reason = (
                "a negative number is a hash only in two's complement, as databases store 64 bits: "
                "pass signed=True if it is one"
            )
        elif value < lowest or (value > highest and not signed):
            bits = value.bit_length() if value > 0 else (-value - 1).bit_length() + 1
            reason = f"it needs {bits} bits, more than n_bits={n_bits}: pass the right n_bits"
        elif value > highest:
            reason = (
                f"signed numbers of n_bits={n_bits} end at {highest}: pass signed=False if no "
                "number is negative, or the right n_bits"
            )
        else:
            continue
        raise ValueError(refusal(name, row, value, reason))
    raise AssertionError("all integers are in range")


def _codes_of_wide(block: Any, n_bits: int, signed: bool) -> NDArray[np.uint8]:
    by, n_bytes = -n_bits % 8, (n_bits + 7) // 8
    joined = b"".join([(value << by).to_bytes(n_bytes, "big", signed=signed) for value in block])
    return np.frombuffer(joined, np.uint8).reshape(len(block), n_bytes)


def _wide_integers(codes: NDArray[np.uint8], n_bits: int, signed: bool) -> NDArray[np.object_]:
    by, n_bytes = -n_bits % 8, codes.shape[1]
    joined = codes.tobytes()
    values = np.empty(len(codes), object)
    values[:] = [
        int.from_bytes(joined[at : at + n_bytes], "big", signed=signed) >> by
        for at in range(0, len(joined), n_bytes)
    ]
    return values
