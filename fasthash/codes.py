"""Packed binary codes: how bits become bytes, and the one place that validates codes.

A code is a row of a C-contiguous uint8 array, bit order of `numpy.packbits` (most significant bit
first), bit 1 where the value was >= 0, padding bits zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core.pieces import BLOCK_BYTES, blocks_of, cut
from ._core.validation import check_count

__all__ = ["check_codes", "check_ids", "check_same_width", "pack", "unpack"]

# A distance, 8 * n_bytes, must fit in int32.
_MAX_BYTES = (2**31 - 1) // 8


def pack(values: ArrayLike) -> NDArray[np.uint8]:
    """
    Pack one bit per value into bytes.

    Parameters
    ----------
    values : array_like, shape (n, n_bits)
        Booleans are taken as they are, floats and signed integers by ``>= 0`` (so 0 gives bit 1),
        unsigned integers must be 0 or 1 and are taken by value.

    Returns
    -------
    ndarray of uint8, shape (n, ceil(n_bits / 8))
        Most significant bit first; the padding bits of the last byte are zero.

    Raises
    ------
    TypeError
        If the values are not numbers or booleans.
    ValueError
        If the array is not two-dimensional or has no columns, and where the sign does not say the
        bit: NaN, unsigned values above 1, or signed integers that are all 0 or 1 (they look like
        bits, but as signs they would all be 1).

    Examples
    --------
    >>> import fasthash as fh
    >>> fh.pack([[0.5, -1.0, 0.0, -0.1, -2.0, -3.0, -1.0, 4.0, 1.0]])
    array([[161, 128]], dtype=uint8)
    """
    x = np.asarray(values)
    if x.dtype.kind not in "bfiu":
        raise TypeError(
            f"values must be booleans, floats or integers, got dtype {x.dtype}: convert them first"
        )
    _check_matrix(x, "values", "one code per row")
    if x.shape[1] == 0:
        raise ValueError("values has no columns: a code needs at least one bit")
    if x.dtype.kind == "i":
        _refuse_ambiguous_integers(x)
    n, n_bits = x.shape
    codes = np.empty((n, (n_bits + 7) // 8), np.uint8)
    for block in cut(n, n_bits):
        codes[block] = np.packbits(_bits(x[block]), axis=1)
    return codes


def _bits(x: NDArray[Any]) -> NDArray[np.bool_]:
    if x.dtype.kind == "b":
        return x
    if x.dtype.kind == "u":
        if x.size and x.max() > 1:
            raise ValueError(
                f"values has dtype {x.dtype} and holds {x.max()}: unsigned values are taken as "
                "bits and must be 0 or 1 (if these are packed codes already, use them as they are)"
            )
        return x.astype(bool)
    if x.dtype.kind == "f" and np.isnan(x).any():
        raise ValueError("values holds NaN, which has no sign: replace or drop it before packing")
    return x >= 0


def _refuse_ambiguous_integers(x: NDArray[Any]) -> None:
    has_zero = False
    for some in blocks_of(x):
        lowest = x[some].min()
        if lowest < 0 or x[some].max() > 1:
            return
        has_zero = has_zero or lowest == 0
    if has_zero:
        raise ValueError(
            f"values has the signed dtype {x.dtype} and holds only 0 and 1, which by sign would "
            "all be bit 1: pass values.astype(bool) if they are bits, 2 * values - 1 if signs"
        )


def unpack(codes: ArrayLike, n_bits: int) -> NDArray[np.bool_]:
    """
    Unpack codes into one boolean per bit.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, ceil(n_bits / 8))
        Packed codes as made by `pack`.
    n_bits : int
        Number of bits in a code.

    Returns
    -------
    ndarray of bool, shape (n, n_bits)

    Raises
    ------
    ValueError
        If the codes are not ``ceil(n_bits / 8)`` bytes wide, or a padding bit is set.
    TypeError
        If the codes are not uint8.

    Examples
    --------
    >>> import fasthash as fh
    >>> fh.unpack(fh.pack([[True, False, True]]), 3)
    array([[ True, False,  True]])
    """
    codes = check_codes(codes, "codes", n_bits)
    bits = np.empty((len(codes), n_bits), bool)
    for some in cut(len(codes), n_bits, BLOCK_BYTES):
        bits[some] = np.unpackbits(codes[some], axis=1, count=n_bits)
    return bits


def check_codes(codes: ArrayLike, name: str, n_bits: int | None = None) -> NDArray[np.uint8]:
    """
    Validate packed codes and return them C-contiguous, without a copy where they already are.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, n_bytes)
        Or of int8, each byte less 128, as embedding services give binary embeddings with a sign;
        these are copied.
    name : str
        What the argument is called, for the error.
    n_bits : int, optional
        If given, the codes must be exactly that wide, with their padding bits zero.

    Returns
    -------
    ndarray of uint8, shape (n, n_bytes)

    Raises
    ------
    TypeError
        If the dtype is neither uint8 nor int8.
    ValueError
        If the shape or the padding is wrong.
    """
    x = np.asarray(codes)
    if x.dtype == np.int8:
        # 128 less, in two's complement, is the highest bit turned.
        signed, x = x.view(np.uint8), np.empty(x.shape, np.uint8)
        for some in blocks_of(x):
            np.bitwise_xor(signed[some], np.uint8(0x80), out=x[some])
    if x.dtype != np.uint8:
        raise TypeError(
            f"{name} must be packed codes of dtype uint8, got {x.dtype}: use pack() first"
        )
    _check_matrix(x, name, "one packed code per row")
    if x.shape[1] == 0:
        raise ValueError(f"{name} has no columns: a packed code is at least one byte")
    if x.shape[1] > _MAX_BYTES:
        raise ValueError(f"{name} has codes of {x.shape[1]} bytes; the limit is {_MAX_BYTES}")
    if n_bits is not None:
        n_bits = check_count(n_bits, "n_bits")
        n_bytes = (n_bits + 7) // 8
        if x.shape[1] != n_bytes:
            raise ValueError(
                f"{name} has codes of {x.shape[1]} bytes, but n_bits={n_bits} needs {n_bytes}"
            )
        if n_bits % 8 and any((x[some, -1] & (0xFF >> n_bits % 8)).any() for some in blocks_of(x)):
            raise ValueError(
                f"{name} has padding bits set: the last {8 * n_bytes - n_bits} bits of every code "
                f"of n_bits={n_bits} must be zero (is n_bits right?)"
            )
    return np.ascontiguousarray(x)


def check_ids(ids: ArrayLike) -> NDArray[np.int64]:
    """
    Validate ids to look up.

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    TypeError, ValueError
        If they are not integers in one dimension.
    """
    given = np.asarray(ids)
    if given.size == 0:
        given = given.astype(np.int64)
    if given.dtype.kind not in "iu":
        raise TypeError(f"ids must be integers, got dtype {given.dtype}")
    if given.ndim != 1:
        hint = f" (for a single one pass [{given}])" if given.ndim == 0 else ""
        raise ValueError(f"ids must have one dimension, got shape {given.shape}{hint}")
    if given.dtype == np.uint64 and given.size and given.max() > np.iinfo(np.int64).max:
        raise ValueError(f"ids holds {given.max()}, which does not fit in int64")
    return given.astype(np.int64)


def check_same_width(a: NDArray[Any], a_name: str, b: NDArray[Any], b_name: str) -> None:
    """
    Refuse two sets of validated codes whose widths differ.

    Raises
    ------
    ValueError
        If the number of bytes per code differs.
    """
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{a_name} has codes of {a.shape[1]} bytes, {b_name} of {b.shape[1]}: "
            "both must be packed from the same number of bits"
        )


def _check_matrix(x: NDArray[Any], name: str, layout: str) -> None:
    if x.ndim != 2:
        hint = f" (for a single one pass {name}[None, :])" if x.ndim == 1 else ""
        raise ValueError(f"{name} must have two dimensions, {layout}, got shape {x.shape}{hint}")
