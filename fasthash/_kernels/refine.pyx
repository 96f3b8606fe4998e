"""Refine the bits of samples one after the other, until no bit alone makes them better.

fasthash/models/clsr/_refinement.py says what is minimised, and computes the products. This kernel
needs no GIL and starts no threads: a thread of the caller calls it for a block of samples.

Arguments are trusted: shapes agree, and lengths and `norm` are greater than 0.
"""

import numpy as np


def refine(const double[:, ::1] products, const double[::1] lengths, const double[:, ::1] gram,
           double along, double even, double norm, int n_sweeps, double[:, ::1] bits):
    """
    Change `bits`, each 1 or -1, in at most `n_sweeps` sweeps over the bits of a sample.

    `products` are those of a sample with the directions of the bits, and `gram` those of the
    directions with each other. `norm` is the usual squared length of a sum of directions.
    """
    cdef Py_ssize_t i, j, k, n = bits.shape[0], n_bits = bits.shape[1]
    cdef int _sweep, n_changed
    cdef double own, others, without, square, part, length, change, bit, value
    # Products of each direction with the sum of all directions, each times its bit.
    cdef double[::1] sums = np.empty(n_bits)
    with nogil:
        for i in range(n):
            length = lengths[i]
            part = square = 0.0
            for j in range(n_bits):
                sums[j] = 0.0
            for j in range(n_bits):
                bit = bits[i, j]
                part += bit * products[i, j] / length
                for k in range(n_bits):
                    sums[k] += bit * gram[j, k]
            for j in range(n_bits):
                square += bits[i, j] * sums[j]
            for _sweep in range(n_sweeps):
                n_changed = 0
                for j in range(n_bits):
                    bit = bits[i, j]
                    own = products[i, j] / length
                    others = sums[j] - gram[j, j] * bit
                    # The part along the sample, and the squared length, without this bit.
                    without = square - 2 * bit * others
                    value = products[i, j] - others
                    value += along * own * (length - (part - bit * own))
                    value -= 2 * even * others * (without - norm) / norm
                    change = (1.0 if value >= 0 else -1.0) - bit
                    if change == 0:
                        continue
                    n_changed += 1
                    bits[i, j] = bit + change
                    square = without + 2 * (bit + change) * others
                    part += change * own
                    for k in range(n_bits):
                        sums[k] += change * gram[j, k]
                if n_changed == 0:
                    break
