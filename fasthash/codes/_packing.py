"""Pack bits and signs into bytes, and unpack them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.arrays import as_array
from .._core.pieces import BLOCK_BYTES, blocks_of, cut
from .._core.validation import check_count
from ._checks import WORDS_TO_BYTES, check_codes, check_matrix, no_numbers

__all__ = ["check_signs", "pack", "pack_signs", "unpack", "unpack_signs"]

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
        raise no_numbers(x, "values")
    check_matrix(x, values, "values", "one code per row")
    if x.shape[1] == 0:
        raise ValueError("values has no columns: a code needs at least one bit")
    if x.dtype.kind == "u" and x.size and x.max() > 1:
        words = WORDS_TO_BYTES.format("values", x.dtype.itemsize)
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
        if x.dtype.kind == "f" and (is_nan := np.isnan(block)).any():
            row, column = np.argwhere(is_nan)[0]
            raise ValueError(
                f"values[{some.start + row}, {column}] is NaN, which has no sign: replace such "
                "values or drop their rows before packing"
            )
        bits = block.astype(bool, copy=False) if x.dtype.kind in "bu" else block >= 0
        codes[some] = np.packbits(bits, axis=1)
    return codes


def check_signs(matrix: Iterable[NDArray[Any]], name: str, remedy: str = "") -> None:
    """
    Refuse a matrix without a number below 0, because every bit of its codes would be 1.

    Parameters
    ----------
    matrix : iterable of ndarray
        Blocks of rows, all of one dtype. Blocks after the first number below 0 are not read.
    name : str
        Name of the matrix in the error message.
    remedy : str
        What else the caller may do, if not "".

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
        + (f", or {remedy}" if remedy else "")
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


def unpack_signs(codes: ArrayLike, n_bits: int) -> NDArray[np.int8]:
    """Unpack codes into 1 where a bit is 1, and -1 elsewhere, as weights of a query."""
    return 2 * unpack(codes, n_bits).astype(np.int8) - 1
