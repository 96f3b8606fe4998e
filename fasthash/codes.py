"""Packed binary codes: `pack`, `unpack`, and the one place that checks codes.

A code is a row of a C-contiguous uint8 array. The bit order is that of `numpy.packbits` (most
significant bit first). A bit is 1 where the value was >= 0, and padding bits are zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core.arrays import as_array
from ._core.pieces import BLOCK_BYTES, blocks_of, cut
from ._core.validation import check_count

__all__ = [
    "check_codes",
    "check_ids",
    "check_same_width",
    "check_signs",
    "looks_unpacked",
    "pack",
    "pack_signs",
    "unpack",
]

# numpy's number of the dtype.
_UINT8 = np.dtype(np.uint8).num

# A distance, 8 * n_bytes, must fit in int32.
_MAX_BYTES = (2**31 - 1) // 8

# 64 values of random sign are all positive once in 2**64 times.
_SURE_VALUES = 64


def pack(values: ArrayLike) -> NDArray[np.uint8]:
    """
    Pack one bit per value into bytes.

    Parameters
    ----------
    values : array_like, shape (n, n_bits)
        Booleans are the bits themselves. Floats and signed integers give bit 1 where they are >= 0.
        Unsigned integers must be 0 or 1, and are the bits themselves.

    Returns
    -------
    ndarray of uint8, shape (n, ceil(n_bits / 8))
        Packed codes, most significant bit first. The padding bits of the last byte are zero.

    Raises
    ------
    TypeError
        If the values are not numbers or booleans.
    ValueError
        If the array is not two-dimensional or has no columns, if a value is NaN, or if an unsigned
        value is above 1. Also if no number is below 0 (counts, histograms, zeros and ones, the
        output of a ReLU), because every bit would be 1.

    See Also
    --------
    unpack : The bits of packed codes.
    fasthash.embeddings.codes_of_signs : Pack the signs of embeddings, read block by block.

    Notes
    -----
    There are two exceptions to the rule that some number must be below 0: fewer than 64 floats that
    are all above 0, because a short row of projections may look like that, and numbers that are all
    1. Booleans are always accepted, so ``pack(values >= 0)`` packs any signs.

    Examples
    --------
    >>> import fasthash as fh
    >>> fh.pack([[0.5, -1.0, 0.0, -0.1, -2.0, -3.0, -1.0, 4.0, 1.0]])
    array([[161, 128]], dtype=uint8)
    >>> counts = np.array([[3, 0, 1], [0, 0, 2]])
    >>> fh.pack(counts > 0)
    array([[160],
           [ 32]], dtype=uint8)
    """
    x = as_array(values, "values")
    if x.dtype.kind not in "bfiu":
        raise _no_numbers(x, "values")
    _check_matrix(x, values, "values", "one code per row")
    if x.shape[1] == 0:
        raise ValueError("values has no columns: a code needs at least one bit")
    if x.dtype.kind == "u" and x.size and x.max() > 1:
        words = _WORDS_TO_BYTES.format("values", x.dtype.itemsize)
        packed = "as they are" if x.dtype == np.uint8 else f"as {words}"
        raise ValueError(
            f"values has dtype {x.dtype} and holds {x.max()}: unsigned values are taken as bits "
            "and must be 0 or 1; pass values > 0 if anything above 0 is bit 1; codes that are "
            f"packed already need no pack(), use them {packed}"
        )
    check_signs((x[some] for some in blocks_of(x)), "values")
    return pack_signs(x)


def pack_signs(x: NDArray[Any]) -> NDArray[np.uint8]:
    """
    Pack values that are known to be signs, such as projections, or booleans; bit 1 where ``>= 0``.

    Raises
    ------
    ValueError
        If a value is NaN.
    """
    n, n_bits = x.shape
    codes = np.empty((n, (n_bits + 7) // 8), np.uint8)
    # The booleans between input and output stay small.
    for some in cut(n, n_bits):
        block = x[some]
        if x.dtype.kind == "f" and np.isnan(block).any():
            raise ValueError(
                "values holds NaN, which has no sign: replace or drop it before packing"
            )
        bits = block.astype(bool, copy=False) if x.dtype.kind in "bu" else block >= 0
        codes[some] = np.packbits(bits, axis=1)
    return codes


def check_signs(matrix: Iterable[NDArray[Any]], name: str) -> None:
    """
    Refuse a matrix without a number below 0, because every bit of its codes would be 1.

    Parameters
    ----------
    matrix : iterable of ndarray
        Blocks of rows, all of one dtype. Blocks after the first number below 0 are not read.
    name : str
        Name of the matrix in the error message.

    Raises
    ------
    ValueError
        If the numbers are signed integers or floats and none is below 0. Numbers that are all 1,
        and fewer than 64 floats that are all above 0, are accepted.
    """
    n, has_zero, only_bits, largest = 0, False, True, 0.0
    dtype = np.dtype(bool)
    for block in matrix:
        dtype = block.dtype
        if dtype.kind not in "fi" or (block < 0).any():
            return
        n += block.size
        is_zero = block == 0
        has_zero = has_zero or bool(is_zero.any())
        only_bits = only_bits and bool((is_zero | (block == 1)).all())
        largest = max(largest, block.max(initial=0))
    if not has_zero and (only_bits or (dtype.kind == "f" and n < _SURE_VALUES)):
        return
    if only_bits:
        raise ValueError(
            f"{name} has the signed dtype {dtype} and holds only 0 and 1, which by sign would all "
            f"be bit 1: pass np.asarray({name}, bool), if they are bits"
        )
    is_packed = dtype.kind == "i" and bool(largest <= 255)
    raise ValueError(
        f"{name} has dtype {dtype} and holds nothing below 0, so every bit would be 1: take the "
        f"bits from {name} > 0 (is there anything), or from {name} - {name}.mean(axis=0) (is it "
        "more than the mean)"
        + (f", or use np.asarray({name}, np.uint8) if these are packed codes already" * is_packed)
    )


def unpack(codes: ArrayLike, n_bits: int) -> NDArray[np.bool_]:
    """
    Unpack codes into one boolean per bit.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, ceil(n_bits / 8))
        Packed codes, as made by `pack`.
    n_bits : int
        Number of bits in a code.

    Returns
    -------
    ndarray of bool, shape (n, n_bits)
        The bits, in the order of the values that `pack` was given.

    Raises
    ------
    ValueError
        If the codes are not ``ceil(n_bits / 8)`` bytes wide, or a padding bit is set.
    TypeError
        If the codes are not uint8.

    See Also
    --------
    pack : Make packed codes.

    Examples
    --------
    >>> import fasthash as fh
    >>> fh.unpack(fh.pack([[True, False, True]]), 3)
    array([[ True, False,  True]])
    """
    n_bits = check_count(n_bits, "n_bits")
    codes = check_codes(codes, "codes", n_bits)
    bits = np.empty((len(codes), n_bits), bool)
    for some in cut(len(codes), n_bits, BLOCK_BYTES):
        bits[some] = np.unpackbits(codes[some], axis=1, count=n_bits)
    return bits


def check_codes(codes: ArrayLike, name: str, n_bits: int | None = None) -> NDArray[np.uint8]:
    """
    Check packed codes and return them C-contiguous, without a copy where they already are.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, n_bytes)
        Or int8, where 128 has been subtracted from each byte, as some embedding services do; these
        are copied. Or a list of lists of Python integers from 0 to 255.
    name : str
        Name of the argument in error messages.
    n_bits : int, optional
        If given, the codes must have exactly this width, and their padding bits must be zero.

    Returns
    -------
    ndarray of uint8, shape (n, n_bytes)

    Raises
    ------
    TypeError
        If the dtype is neither uint8 nor int8.
    ValueError
        If the shape or the padding is wrong, or if int8 rows or lists seem to hold one value per
        bit (-1 and 1, or 0 and 1). If `n_bits` is given and fits the width, they are accepted as
        codes.
    """
    if n_bits is None and _are_packed(codes):
        return codes
    x = as_array(codes, name)
    if x.dtype.kind not in "biuf":
        raise _no_numbers(x, name)
    if x.ndim == 0:
        raise ValueError(f"{name} must have two dimensions, one packed code per row, got {x!r}")
    is_list = isinstance(codes, list | tuple) and x.dtype.kind in "iu"
    if is_list and x.size and x.min() >= 0 and x.max() <= 255:
        x = x.astype(np.uint8)
    if x.dtype not in (np.uint8, np.int8):
        raise TypeError(f"{name} must be packed codes of dtype uint8, got {_advice(x, name)}")
    _check_matrix(x, codes, name, "one packed code per row")
    if x.shape[1] == 0:
        raise ValueError(f"{name} has no columns: a packed code is at least one byte")
    if x.shape[1] > _MAX_BYTES:
        raise ValueError(f"{name} has codes of {x.shape[1]} bytes; the limit is {_MAX_BYTES}")
    n_bytes = None
    if n_bits is not None:
        n_bits = check_count(n_bits, "n_bits")
        n_bytes = (n_bits + 7) // 8
        if x.shape[1] != n_bytes:
            hint = f": pack() makes codes of one value per bit, pass pack({name})"
            raise ValueError(
                f"{name} has codes of {x.shape[1]} bytes, but n_bits={n_bits} needs {n_bytes}"
                + hint * (x.shape[1] == n_bits)
            )
    elif is_list and looks_unpacked(x):
        raise ValueError(
            f"{name} is a list of 0 and 1 alone, one value per bit: pass "
            f"pack(np.array({name}, bool)), or np.array({name}, np.uint8) if they are packed codes"
        )
    if x.dtype == np.int8:
        if n_bits is None and looks_unpacked(x):
            raise ValueError(
                f"{name} has dtype int8 and holds only {', '.join(map(str, np.unique(x)))}, one "
                f"value per bit: pass pack({name}), of 0 and 1 pack({name}.astype(bool)), or "
                f"{name}.view(np.uint8) ^ 128 if they are packed codes with a sign"
            )
        # In two's complement, subtracting 128 flips the highest bit.
        signed, x = x.view(np.uint8), np.empty(x.shape, np.uint8)
        for some in blocks_of(x):
            np.bitwise_xor(signed[some], np.uint8(0x80), out=x[some])
    if n_bits is not None and n_bits % 8:
        padding = 0xFF >> n_bits % 8
        if any((x[some, -1] & padding).any() for some in blocks_of(x)):
            raise ValueError(
                f"{name} has padding bits set: the last {8 - n_bits % 8} bits of every code of "
                f"n_bits={n_bits} must be zero (is n_bits right?)"
            )
    return np.ascontiguousarray(x)


def _are_packed(codes: object) -> TypeGuard[NDArray[np.uint8]]:
    """Whether `check_codes` has nothing to check; a short search takes a few microseconds."""
    return (
        type(codes) is np.ndarray
        and codes.dtype.num == _UINT8
        and codes.ndim == 2
        and 0 < codes.shape[1] <= _MAX_BYTES
        and codes.flags.c_contiguous
    )


def check_ids(ids: ArrayLike) -> NDArray[np.int64]:
    """
    Check ids that are to be looked up.

    Returns
    -------
    ndarray of int64, shape (n,)
        C-contiguous; without a copy if the given array is so already.

    Raises
    ------
    TypeError, ValueError
        If they are not integers in one dimension.
    """
    given = as_array(ids, "ids")
    if given.size == 0:
        given = given.astype(np.int64)
    if given.dtype.kind not in "iu":
        raise TypeError(
            f"ids must be integers, got dtype {given.dtype}: pass ids.astype(np.int64) if they are "
            "whole numbers"
        )
    if given.ndim != 1:
        hint = f" (for a single one pass [{given}])" if given.ndim == 0 else ""
        raise ValueError(f"ids must have one dimension, got shape {given.shape}{hint}")
    if given.dtype == np.uint64 and given.size and given.max() > np.iinfo(np.int64).max:
        raise ValueError(f"ids holds {given.max()}, which does not fit in int64")
    return np.ascontiguousarray(given, np.int64)


def looks_unpacked(x: NDArray[Any]) -> bool:
    """Whether 8-bit rows seem to hold one value per bit: only 0 and 1, and in int8 also -1."""
    lowest, largest = 0, -1
    for some in blocks_of(x):
        lowest, largest = min(lowest, int(x[some].min())), max(largest, int(x[some].max()))
        if lowest < -1 or largest > 1:
            return False
    # Packed codes may be all 0.
    return largest == 1 or (x.dtype == np.int8 and x.size > 0)


def check_same_width(a: NDArray[Any], a_name: str, b: NDArray[Any], b_name: str) -> None:
    """
    Refuse two sets of checked codes whose widths differ.

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


# The advice for integers of several bytes, of any shape: their bytes in the order of their bits.
_WORDS_TO_BYTES = "{0}.astype('>u{1}').view(np.uint8).reshape(len({0}), -1)"


def _advice(x: NDArray[Any], name: str) -> str:
    """The dtype of an array that holds no packed codes, and how to make codes of it."""
    if x.dtype.kind == "b":
        return f"bool: pass pack({name})"
    as_bytes = f"np.asarray({name}, np.uint8) if each is one byte of a packed code"
    if x.dtype.kind == "f":
        return f"{x.dtype}: pass pack({name}), which makes bits of signs, or {as_bytes}"
    lowest, largest = (int(x.min()), int(x.max())) if x.size else (0, 0)
    if lowest >= 0 and largest <= 1:
        as_bits = f"pack(np.asarray({name}, bool)) if they are bits"
        return f"{x.dtype}, all 0 or 1: pass {as_bits}, or {as_bytes}"
    if lowest >= 0 and largest <= 255:
        return f"{x.dtype}: pass {as_bytes}"
    if lowest >= 0:
        return (
            f"{x.dtype} up to {largest}: pass {_WORDS_TO_BYTES.format(name, x.dtype.itemsize)} if "
            "each is a whole hash, or a word of one"
        )
    return (
        f"{x.dtype} from {lowest} on: pass pack({name}), which makes bits of signs, or "
        f"np.asarray({name}, np.int8) if each is one byte of a code with a sign"
    )


def _no_numbers(x: NDArray[Any], name: str) -> TypeError:
    """The error for text, bytes and objects, which says how to make codes of them."""
    n_rows = 1 if x.ndim == 0 else f"len({name})"
    if x.dtype.kind in "UT":
        return TypeError(
            f"{name} holds text, dtype {x.dtype}: if it is hexadecimal, pass "
            f'np.frombuffer(bytes.fromhex("".join({name})), np.uint8).reshape({n_rows}, -1)'
        )
    if x.dtype.kind == "S":
        whole = name if x.ndim == 0 else f'b"".join({name})'
        return TypeError(
            f"{name} holds bytes, dtype {x.dtype}: pass "
            f"np.frombuffer({whole}, np.uint8).reshape({n_rows}, -1)"
        )
    if x.dtype.kind == "O" and x.size:
        first = x.flat[0]
        if isinstance(getattr(first, "hash", None), np.ndarray):
            each = f"[{name}.hash.ravel()]" if x.ndim == 0 else f"[x.hash.ravel() for x in {name}]"
            return TypeError(f"{name} holds {type(first).__name__} objects: pass pack({each})")
        return TypeError(
            f"{name} holds Python objects, the first of type {type(first).__name__}: pass an array "
            "of booleans or numbers"
        )
    return TypeError(
        f"{name} must be booleans, floats or integers, got dtype {x.dtype}: convert them first"
    )


def _check_matrix(x: NDArray[Any], given: Any, name: str, layout: str) -> None:
    if x.ndim != 2:
        single = f"[{name}]" if isinstance(given, list | tuple) else f"{name}[None, :]"
        hint = f" (for a single one pass {single})" if x.ndim == 1 else ""
        raise ValueError(f"{name} must have two dimensions, {layout}, got shape {x.shape}{hint}")
