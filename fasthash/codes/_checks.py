"""The one place that checks packed codes and ids; other errors about codes say what to pass."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.arrays import as_array
from .._core.pieces import blocks_of
from .._core.validation import check_count

__all__ = [
    "WORDS_TO_BYTES",
    "check_codes",
    "check_ids",
    "check_matrix",
    "check_same_width",
    "looks_unpacked",
    "no_numbers",
]

# numpy's number of the dtype.
_UINT8 = np.dtype(np.uint8).num

# A distance, 8 * n_bytes, must fit in int32.
_MAX_BYTES = (2**31 - 1) // 8


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
    if _are_packed(codes, n_bits):
        return codes
    x = as_array(codes, name)
    if x.dtype.kind not in "biuf":
        raise no_numbers(x, name)
    if x.ndim == 0:
        raise ValueError(f"{name} must have two dimensions, one packed code per row, got {x!r}")
    is_list = isinstance(codes, list | tuple) and x.dtype.kind in "iu"
    if is_list and x.size and x.min() >= 0 and x.max() <= 255:
        x = x.astype(np.uint8)
    if x.dtype not in (np.uint8, np.int8):
        raise TypeError(f"{name} must be packed codes of dtype uint8, got {_advice(x, name)}")
    check_matrix(x, codes, name, "one packed code per row")
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


def _are_packed(codes: object, n_bits: object) -> TypeGuard[NDArray[np.uint8]]:
    """
    Whether `check_codes` has nothing to check; a short search takes a few microseconds.

    If `n_bits` is given, codes must fill the rows, so that there is no padding.
    """
    if type(codes) is not np.ndarray or codes.dtype.num != _UINT8 or codes.ndim != 2:
        return False
    n_bytes = codes.shape[1]
    if n_bits is not None and (type(n_bits) is not int or 8 * n_bytes != n_bits):
        return False
    return 0 < n_bytes <= _MAX_BYTES and codes.flags.c_contiguous


def check_ids(ids: ArrayLike, name: str = "ids") -> NDArray[np.int64]:
    """
    Check ids that are to be looked up; `name` is that of the argument.

    Returns
    -------
    ndarray of int64, shape (n,)
        C-contiguous; without a copy if the given array is so already.

    Raises
    ------
    TypeError, ValueError
        If they are not integers in one dimension.
    """
    given = as_array(ids, name)
    if given.size == 0:
        given = given.astype(np.int64)
    if given.dtype.kind not in "iu":
        raise TypeError(
            f"{name} must be integers, got dtype {given.dtype}: pass {name}.astype(np.int64) if "
            "they are whole numbers"
        )
    if given.ndim != 1:
        hint = f" (for a single one pass [{given}])" if given.ndim == 0 else ""
        raise ValueError(f"{name} must have one dimension, got shape {given.shape}{hint}")
    if given.dtype == np.uint64 and given.size and given.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds {given.max()}, which does not fit in int64")
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
WORDS_TO_BYTES = "{0}.astype('>u{1}').view(np.uint8).reshape(len({0}), -1)"


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
    bits = 8 * x.dtype.itemsize
    if lowest >= 0 and x.ndim == 1:
        return (
            f"{x.dtype} up to {largest}: pass fasthash.codes.from_integers({name}, {bits}) if each "
            "is a whole hash"
        )
    if lowest >= 0:
        return (
            f"{x.dtype} up to {largest}: pass {WORDS_TO_BYTES.format(name, x.dtype.itemsize)} if "
            "each is a whole hash, or a word of one"
        )
    if x.ndim == 1 and (lowest < -128 or largest > 127):
        return (
            f"{x.dtype} from {lowest} on: pass fasthash.codes.from_integers({name}, {bits}, "
            "signed=True) if each is a whole hash, as databases store 64 bits"
        )
    return (
        f"{x.dtype} from {lowest} on: pass pack({name}), which makes bits of signs, or "
        f"np.asarray({name}, np.int8) if each is one byte of a code with a sign"
    )


def no_numbers(x: NDArray[Any], name: str) -> TypeError:
    """The error for text, bytes and objects, which says how to make codes of them."""
    column = f"[{name}]" if x.ndim == 0 else name
    if x.dtype.kind in "UT":
        return TypeError(
            f"{name} holds text, dtype {x.dtype}: if it is hexadecimal, pass "
            f"fasthash.codes.from_hex({column}); if it has one 0 or 1 per bit, pass "
            f"fasthash.codes.from_bit_strings({column})"
        )
    if x.dtype.kind == "S":
        n_rows = 1 if x.ndim == 0 else f"len({name})"
        whole = name if x.ndim == 0 else f'b"".join({name})'
        return TypeError(
            f"{name} holds bytes, dtype {x.dtype}: pass "
            f"np.frombuffer({whole}, np.uint8).reshape({n_rows}, -1)"
        )
    if x.dtype.kind == "O" and x.size:
        first = x.flat[0]
        if isinstance(getattr(first, "hash", None), np.ndarray):
            return TypeError(
                f"{name} holds {type(first).__name__} objects: pass "
                f"fasthash.codes.from_image_hashes({column})"
            )
        if isinstance(first, str):
            return TypeError(
                f"{name} holds text among Python objects: if it is hexadecimal, pass "
                f"fasthash.codes.from_hex({column})"
            )
        kinds = {type(value) for value in x.flat}
        if kinds == {int}:
            return TypeError(
                f"{name} holds Python integers: pass fasthash.codes.from_integers({column}, "
                "n_bits) if each is a whole hash"
            )
        return TypeError(
            f"{name} holds Python objects of type {', '.join(sorted(k.__name__ for k in kinds))}: "
            "pass an array of booleans or numbers, without missing values"
        )
    return TypeError(
        f"{name} must be booleans, floats or integers, got dtype {x.dtype}: convert them first"
    )


def check_matrix(x: NDArray[Any], given: Any, name: str, layout: str) -> None:
    if x.ndim != 2:
        single = f"[{name}]" if isinstance(given, list | tuple) else f"{name}[None, :]"
        hint = f" (for a single one pass {single})" if x.ndim == 1 else ""
        raise ValueError(f"{name} must have two dimensions, {layout}, got shape {x.shape}{hint}")
