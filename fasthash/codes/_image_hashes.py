"""Codes of the objects of the package imagehash, which is not imported."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .._core.pieces import BLOCK_BYTES, cut
from .._core.validation import check_count
from ._columns import as_column, is_missing, refusal

__all__ = ["from_image_hashes"]


def from_image_hashes(hashes: Any, n_bits: int | None = None) -> NDArray[np.uint8]:
    """
    Convert objects of the package imagehash to packed codes.

    Parameters
    ----------
    hashes : sequence of objects, shape (n,)
        ``imagehash.ImageHash``, or other objects whose attribute ``hash`` is an array of booleans:
        a list, an array of objects, or a column of pandas. All must have the same number of bits.
    n_bits : int, optional
        Number of bits that each hash must have. By default that of the first.

    Returns
    -------
    ndarray of uint8, shape (n, ceil(n_bits / 8))
        Packed codes, the bits row by row. ``from_hex([str(x) for x in hashes], n_bits)`` gives the
        same codes.

    Raises
    ------
    TypeError
        If an object has no such attribute.
    ValueError
        If an object is missing, or has another number of bits. Also if there are no objects and
        `n_bits` is not given.

    See Also
    --------
    from_hex : Convert hexadecimal hashes to packed codes.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import fasthash as fh
    >>> image_hash = SimpleNamespace(hash=np.array([[True, False], [True, True]]))
    >>> fh.codes.from_image_hashes([image_hash])
    array([[176]], dtype=uint8)
    """
    column = as_column(hashes, "hashes")
    if n_bits is None:
        if not len(column):
            raise ValueError("hashes is empty, so nothing says how long a code is: pass n_bits")
        n_bits = _size(column[0])
        if not n_bits:
            _refuse_first(column[:1], 0, 1)
    n_bits = check_count(n_bits, "n_bits")
    codes = np.empty((len(column), (n_bits + 7) // 8), np.uint8)
    for some in cut(len(column), n_bits, BLOCK_BYTES):
        block = column[some]
        if set(map(_size, block)) != {n_bits}:
            _refuse_first(block, some.start, n_bits)
        bits = np.frombuffer(b"".join([one.hash.tobytes() for one in block]), bool)
        codes[some] = np.packbits(bits.reshape(-1, n_bits), axis=1)
    return codes


def _size(value: Any) -> int:
    """Return the number of bits of an image hash; 0 if the value is none."""
    bits = getattr(value, "hash", None)
    return bits.size if isinstance(bits, np.ndarray) and bits.dtype == bool else 0


def _refuse_first(block: Any, start: int, n_bits: int) -> NoReturn:
    """Raise the error for the first wrong row of a block that begins at the row `start`."""
    row = next(row for row, value in enumerate(block) if _size(value) != n_bits)
    value, size = block[row], _size(block[row])
    if size:
        reason = (
            f"it has {size} bits, and {n_bits} are needed, as many in every row: hash all images "
            "with the same function and the same size"
        )
        raise ValueError(refusal("hashes", start + row, value, reason))
    hint = ": pass text to fasthash.codes.from_hex" if isinstance(value, str | bytes) else ""
    reason = f"it has no attribute 'hash' that is an array of booleans{hint}"
    error = ValueError if is_missing(value) else TypeError
    raise error(refusal("hashes", start + row, value, reason))
