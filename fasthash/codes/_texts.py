"""Codes as text: hexadecimal digits, and strings of 0 and 1."""

from __future__ import annotations

import string
from binascii import unhexlify
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.pieces import BLOCK_BYTES, cut
from .._core.validation import check_count
from ._checks import check_codes
from ._columns import as_column, is_missing, refusal

__all__ = [
    "codes_of_bit_strings",
    "codes_of_hex",
    "from_bit_strings",
    "from_hex",
    "to_bit_strings",
    "to_hex",
]

_KINDS = {"hexadecimal": frozenset(string.hexdigits), "binary": frozenset("01")}
_PREFIXES = {"hexadecimal": "0x", "binary": "0b"}


def from_hex(hashes: ArrayLike, n_bits: int | None = None) -> NDArray[np.uint8]:
    """
    Convert hexadecimal hashes to packed codes.

    Parameters
    ----------
    hashes : array_like of str or bytes, shape (n,)
        Hashes of equal length, in lower or upper case, without a prefix such as ``0x``: a list, an
        array, or a column of pandas, polars or pyarrow. Spaces and missing values are refused.
    n_bits : int, optional
        Length of the codes. Each hash must then have ``ceil(n_bits / 4)`` digits, and is a number
        of `n_bits` bits. By default each digit is four bits, and the number of digits must be even.

    Returns
    -------
    ndarray of uint8, shape (n, ceil(n_bits / 8))
        Packed codes. The first digit holds the first bits.

    Raises
    ------
    TypeError
        If a value is not text.
    ValueError
        If a value is missing, is not hexadecimal, differs in length from the others or from what
        `n_bits` needs, or is too large for `n_bits`. Also if there are no hashes and `n_bits` is
        not given.

    See Also
    --------
    to_hex : Convert packed codes to hexadecimal hashes.
    from_integers : Convert integers to packed codes.
    from_image_hashes : Convert the objects of the package imagehash.

    Notes
    -----
    The prefix ``0x`` is refused, because Python's ``hex`` writes it and omits leading zeros. Pass
    ``from_integers([int(x, 16) for x in hashes], n_bits)``, which needs no leading zeros.

    The digits of an `n_bits` that is not a multiple of four begin with bits that are always 0, as
    imagehash writes them; packed codes have such bits at the end.

    Examples
    --------
    >>> import fasthash as fh
    >>> codes = fh.codes.from_hex(["c3d1f00b5a9e7c24", "C3D1F00B5A9E7C20"])
    >>> codes.shape
    (2, 8)
    >>> fh.distances(codes[:1], codes[1:])
    array([[1]], dtype=int32)
    """
    return codes_of_hex(hashes, "hashes", n_bits)


def to_hex(codes: ArrayLike, n_bits: int | None = None) -> list[str]:
    """
    Convert packed codes to hexadecimal hashes.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, n_bytes)
        Packed codes.
    n_bits : int, optional
        Length of the codes. Each hash is then a number of `n_bits` bits with ``ceil(n_bits / 4)``
        digits. By default each byte is two digits.

    Returns
    -------
    list of str
        Hashes in lower case; leading zeros are written.

    Raises
    ------
    TypeError, ValueError
        If the codes have the wrong type or shape, or do not have `n_bits` bits.

    See Also
    --------
    from_hex : Convert hexadecimal hashes to packed codes.

    Examples
    --------
    >>> import fasthash as fh
    >>> fh.codes.to_hex(fh.pack([[False, False, True, True, True, True, True, True, True]]))
    ['3f80']
    >>> fh.codes.to_hex(fh.pack([[False, False, True, True, True, True, True, True, True]]), 9)
    ['07f']
    """
    codes = check_codes(codes, "codes", n_bits)
    n_bits = 8 * codes.shape[1] if n_bits is None else check_count(n_bits, "n_bits")
    width = 2 * codes.shape[1]
    unused = width - (n_bits + 3) // 4
    hashes: list[str] = []
    for some in cut(len(codes), width, BLOCK_BYTES):
        digits = _as_numbers(codes[some], n_bits).tobytes().hex()
        hashes += [digits[at + unused : at + width] for at in range(0, len(digits), width)]
    return hashes


def from_bit_strings(texts: ArrayLike, n_bits: int | None = None) -> NDArray[np.uint8]:
    """
    Convert strings of 0 and 1 to packed codes.

    Parameters
    ----------
    texts : array_like of str or bytes, shape (n,)
        One character per bit, without a prefix such as ``0b``: a list, an array, or a column of
        pandas, polars or pyarrow. All must have the same length. Missing values are refused.
    n_bits : int, optional
        Length of the codes, which each string must have. By default the length of the first string.

    Returns
    -------
    ndarray of uint8, shape (n, ceil(n_bits / 8))
        Packed codes, with the bits in the order of the characters.

    Raises
    ------
    TypeError
        If a value is not text.
    ValueError
        If a value is missing, holds another character, or has another length. Also if there are no
        strings and `n_bits` is not given.

    See Also
    --------
    to_bit_strings : Convert packed codes to strings of 0 and 1.
    pack : Pack booleans and signs.

    Examples
    --------
    >>> import fasthash as fh
    >>> fh.codes.from_bit_strings(["110000001", "000000010"])
    array([[192, 128],
           [  1,   0]], dtype=uint8)
    """
    return codes_of_bit_strings(texts, "texts", n_bits)


def to_bit_strings(codes: ArrayLike, n_bits: int | None = None) -> list[str]:
    """
    Convert packed codes to strings of 0 and 1.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, n_bytes)
        Packed codes.
    n_bits : int, optional
        Length of the codes. By default eight bits per byte.

    Returns
    -------
    list of str
        One character per bit.

    Raises
    ------
    TypeError, ValueError
        If the codes have the wrong type or shape, or do not have `n_bits` bits.

    See Also
    --------
    from_bit_strings : Convert strings of 0 and 1 to packed codes.
    unpack : The bits of packed codes as booleans.

    Examples
    --------
    >>> import fasthash as fh
    >>> fh.codes.to_bit_strings(fh.pack([[True, True, False]]), 3)
    ['110']
    """
    codes = check_codes(codes, "codes", n_bits)
    n_bits = 8 * codes.shape[1] if n_bits is None else check_count(n_bits, "n_bits")
    texts: list[str] = []
    for some in cut(len(codes), n_bits, BLOCK_BYTES):
        bits = np.unpackbits(codes[some], axis=1, count=n_bits)
        joined = (bits + np.uint8(ord("0"))).tobytes().decode("ascii")
        texts += [joined[at : at + n_bits] for at in range(0, len(joined), n_bits)]
    return texts


def codes_of_hex(hashes: Any, name: str, n_bits: int | None) -> NDArray[np.uint8]:
    """Do what `from_hex` does; errors call the hashes by `name`."""
    texts = _as_texts(hashes, name)
    if n_bits is None:
        n_digits = _first_length(texts, name, "hexadecimal")
        if n_digits % 2:
            raise ValueError(
                refusal(
                    name,
                    0,
                    texts[0],
                    f"it has {n_digits} digits, and two digits make a byte: pass n_bits (up to "
                    f"{4 * n_digits}) if no digit is missing",
                )
            )
        n_bits = 4 * n_digits
    n_bits = check_count(n_bits, "n_bits")
    n_digits = (n_bits + 3) // 4
    codes = np.empty((len(texts), (n_bits + 7) // 8), np.uint8)
    for some in cut(len(texts), n_digits, BLOCK_BYTES):
        block = texts[some]
        try:
            joined = unhexlify(_joined(block, n_digits, "0" * (n_digits % 2)))
        except (TypeError, ValueError):
            _refuse_first(block, name, some.start, n_digits, "hexadecimal")
        numbers = np.frombuffer(joined, np.uint8).reshape(codes[some].shape)
        # A row that uses the bits in front of a number of n_bits bits.
        too_large = np.flatnonzero(numbers[:, 0] >> (n_bits % 8 or 8))
        if len(too_large):
            row = int(too_large[0])
            reason = f"the number does not fit in n_bits={n_bits}: pass the length of the hashes"
            raise ValueError(refusal(name, some.start + row, block[row], reason))
        codes[some] = _as_codes(numbers, n_bits)
    return codes


def codes_of_bit_strings(texts: Any, name: str, n_bits: int | None) -> NDArray[np.uint8]:
    """Do what `from_bit_strings` does; errors call the strings by `name`."""
    texts = _as_texts(texts, name)
    if n_bits is None:
        n_bits = _first_length(texts, name, "binary")
    n_bits = check_count(n_bits, "n_bits")
    codes = np.empty((len(texts), (n_bits + 7) // 8), np.uint8)
    for some in cut(len(texts), n_bits, BLOCK_BYTES):
        block = texts[some]
        try:
            joined = _joined(block, n_bits).encode("ascii")
        except (TypeError, ValueError):
            _refuse_first(block, name, some.start, n_bits, "binary")
        bits = np.frombuffer(joined, np.uint8) - np.uint8(ord("0"))
        if bits.max() > 1:
            _refuse_first(block, name, some.start, n_bits, "binary")
        codes[some] = np.packbits(bits.reshape(-1, n_bits), axis=1)
    return codes


def _as_texts(values: Any, name: str) -> Sequence[Any]:
    """Return a column as a list or tuple, whose values are not checked."""
    texts = as_column(values, name)
    if not isinstance(texts, np.ndarray):
        return texts
    if texts.size and texts.dtype.kind not in "OSTU":
        hint = ": pass them to fasthash.codes.from_integers" * (texts.dtype.kind in "iu")
        raise TypeError(f"{name} must hold text, got dtype {texts.dtype}{hint}")
    return texts.tolist()


def _first_length(texts: Sequence[Any], name: str, kind: str) -> int:
    """Return the number of digits of the first row, whose digits are checked."""
    if not len(texts):
        raise ValueError(f"{name} is empty, so nothing says how long a code is: pass n_bits")
    n_digits = len(texts[0]) if isinstance(texts[0], str | bytes) else 0
    if not n_digits or not _KINDS[kind].issuperset(_text_of(texts[0])):
        _refuse_first(texts[:1], name, 0, max(1, n_digits), kind)
    return n_digits


def _joined(block: Sequence[Any], n_digits: int, before_each: str = "") -> str:
    """
    Join the texts of a block; `before_each` is put before every one.

    Raises
    ------
    TypeError, ValueError
        Without a message, if a value is not text of `n_digits` ASCII characters.
    """
    if set(map(len, block)) != {n_digits}:
        raise ValueError
    if isinstance(block[0], str):
        return before_each + before_each.join(block)
    mark = before_each.encode()
    return (mark + mark.join(block)).decode("ascii")


def _text_of(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _refuse_first(
    block: Sequence[Any], name: str, start: int, n_digits: int, kind: str
) -> NoReturn:
    """Raise the error for the first wrong row of a block that begins at the row `start`."""
    for row, value in enumerate(block, start):
        error: type[Exception] = ValueError
        reason = _why_no_text(value, type(block[0]))
        if reason:
            error = ValueError if is_missing(value) else TypeError
        else:
            reason = _why_no_digits(_text_of(value), n_digits, kind)
        if reason:
            raise error(refusal(name, row, value, reason))
    raise TypeError(f"{name} cannot be joined: pass a list of str")


def _why_no_text(value: Any, first: type) -> str:
    """Say why a value is not text like the first one; "" if it is."""
    if is_missing(value):
        return "missing"
    if isinstance(value, bytes | str):
        same = isinstance(value, str) == issubclass(first, str) or not issubclass(
            first, bytes | str
        )
        return "" if same else "some values are str and others bytes: pass one type"
    if isinstance(value, int | np.integer):
        return "it is an integer and not text: pass integers to fasthash.codes.from_integers"
    if hasattr(value, "hash"):
        return "it is not text: pass such objects to fasthash.codes.from_image_hashes"
    return f"it is of type {type(value).__name__}, and text is needed"


def _why_no_digits(text: str, n_digits: int, kind: str) -> str:
    """Say why a text is not `n_digits` digits; "" if it is."""
    prefix = _PREFIXES[kind]
    if text[:2].lower() == prefix and len(text) > 2:
        base = 16 if kind == "hexadecimal" else 2
        return (
            f"the prefix {prefix} is not accepted, because numbers that are written with it lack "
            f"leading zeros: pass int(x, {base}) of each to fasthash.codes.from_integers"
        )
    wrong = next((one for one in text if one not in _KINDS[kind]), None)
    if wrong is not None:
        what = "a hexadecimal digit" if kind == "hexadecimal" else "0 or 1"
        remedy = "remove spaces around hashes" if wrong.isspace() else "correct or drop the row"
        return f"{wrong!r} is not {what}: {remedy}"
    if not text:
        return "it has no digits: drop the row"
    if len(text) != n_digits:
        return (
            f"it has {len(text)} digits, and {n_digits} are needed, as many in every row: "
            f"x.zfill({max(n_digits, len(text))}) puts back leading zeros that were lost"
        )
    return ""


def _as_codes(numbers: NDArray[np.uint8], n_bits: int) -> NDArray[np.uint8]:
    """Move the bits of numbers to the front of their bytes, where codes have them."""
    by = -n_bits % 8
    if by == 0:
        return numbers
    codes = numbers << np.uint8(by)
    codes[:, :-1] |= numbers[:, 1:] >> np.uint8(8 - by)
    return codes


def _as_numbers(codes: NDArray[np.uint8], n_bits: int) -> NDArray[np.uint8]:
    """Move the bits of codes to the end of their bytes, where numbers have them."""
    by = -n_bits % 8
    if by == 0:
        return codes
    numbers = codes >> np.uint8(by)
    numbers[:, 1:] |= codes[:, :-1] << np.uint8(8 - by)
    return numbers
