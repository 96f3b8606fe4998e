"""Packing and unpacking, bit by bit."""

import numpy as np


def pack(values):
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


def unpack(codes, n_bits):
    """One boolean per bit."""
    values = np.zeros((len(codes), n_bits), bool)
    for i in range(len(codes)):
        for bit in range(n_bits):
            values[i, bit] = codes[i, bit // 8] & (0x80 >> bit % 8) != 0
    return values
