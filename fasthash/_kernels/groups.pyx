"""Groups of near-duplicates that are no wider than a diameter, code by code.

A code joins the first group that has an earlier code within the radius of it, and no code farther
away than the diameter. Which groups there are depends on all codes before it, so a single thread
does the work. The codes of a group are a linked list: `following` leads from each to the next one.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

import numpy as np

cdef extern from "bits.h" nogil:
    int64_t fh_count_bits(uint64_t x)


cdef class NarrowGroups:
    """The group of each code, called by its first row.

    The earlier codes within the radius of row i are ``earlier[starts[i]:starts[i + 1]]``, in any
    order. Call `advance` until it returns 0; then `groups` is complete.
    """

    cdef const uint8_t[:, ::1] codes
    cdef const int64_t[::1] starts, earlier
    cdef int64_t[::1] of_row, following, last, seen, candidates
    cdef int64_t max_diameter, row
    cdef readonly object groups

    def __cinit__(self, const uint8_t[:, ::1] codes, const int64_t[::1] starts,
                  const int64_t[::1] earlier, int64_t max_diameter):
        cdef Py_ssize_t n = codes.shape[0]
        self.codes, self.starts, self.earlier = codes, starts, earlier
        self.max_diameter, self.row = max_diameter, 0
        self.groups = np.arange(n)
        self.of_row, self.last = self.groups, np.arange(n)
        self.following, self.seen = np.full(n, -1), np.full(n, -1)
        self.candidates = np.empty(int(np.diff(starts).max(initial=0)), np.int64)

    def advance(self, int64_t amount):
        """Place codes until about so many have been compared; how many were, 0 at the end."""
        cdef int64_t n_done = 0
        with nogil:
            while n_done < amount and self.row < self.codes.shape[0]:
                n_done = n_done + 1 + self.place(self.row)
                self.row = self.row + 1
        return n_done

    cdef int64_t place(self, int64_t row) noexcept nogil:
        """Put a row into its group; return how many codes and groups have been looked at."""
        cdef int64_t n_looked_at = self.starts[row + 1] - self.starts[row]
        cdef int64_t n = 0, i, least, group, member
        for i in range(self.starts[row], self.starts[row + 1]):
            group = self.of_row[self.earlier[i]]
            if self.seen[group] != row:
                self.seen[group] = row
                self.candidates[n] = group
                n = n + 1
        while n > 0:
            # A group is called by its first row, so the first group has the smallest number.
            least = 0
            for i in range(1, n):
                if self.candidates[i] < self.candidates[least]:
                    least = i
            group = self.candidates[least]
            n_looked_at = n_looked_at + n
            n = n - 1
            self.candidates[least] = self.candidates[n]
            member = group
            while member >= 0 and self.distance(row, member) <= self.max_diameter:
                member = self.following[member]
                n_looked_at = n_looked_at + 1
            if member < 0:
                self.following[self.last[group]] = row
                self.last[group] = row
                self.of_row[row] = group
                break
        return n_looked_at

    cdef int64_t distance(self, int64_t row, int64_t other) noexcept nogil:
        cdef Py_ssize_t n_bytes = self.codes.shape[1], i = 0
        cdef const uint8_t *a = &self.codes[row, 0]
        cdef const uint8_t *b = &self.codes[other, 0]
        cdef uint64_t x = 0, y = 0
        cdef int64_t n = 0
        while i + 8 <= n_bytes:
            memcpy(&x, a + i, 8)
            memcpy(&y, b + i, 8)
            n = n + fh_count_bits(x ^ y)
            i = i + 8
        if i < n_bytes:
            x = y = 0
            memcpy(&x, a + i, n_bytes - i)
            memcpy(&y, b + i, n_bytes - i)
            n = n + fh_count_bits(x ^ y)
        return n
