"""Packing and unpacking, bit by bit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Bit 1 where a boolean is true or a number is >= 0, most significant bit first."""
    n, n_bits = values.shape
    codes = np.zeros((n, (n_bits + 7) // 8), np.uint8)
    for i in range(n):
        for bit in range(n_bits):
            value = values[i, bit]
            is_set = bool(value) if values.dtype == bool else value >= 0
            if is_set:
                codes[i, bit // 8] |= 0x80 >> bit % 8
    return codes


def unpack(codes: NDArray[np.uint8], n_bits: int) -> NDArray[np.bool_]:
    """One boolean per bit."""
    values = np.zeros((len(codes), n_bits), bool)
    for i in range(len(codes)):
        for bit in range(n_bits):
            values[i, bit] = codes[i, bit // 8] & (0x80 >> bit % 8) != 0
    return values
