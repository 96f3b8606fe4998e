"""Joins: all pairs of codes within a radius, bucket by bucket; joins.h says how it works.

`Join` compares the codes of one side with each other, or with those of another side, or both. For
each table, `sort` lays the codes out in the order of their buckets, and `compare` goes through the
positions of the first side. Both are called until nothing is left: between two calls the caller can
answer an interrupt. The pairs are sorted at the end, so results do not depend on the number of
threads.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fasthash._kernels.tiles cimport FH_LANES_MAX, active_level, fh_level, threads_for

import numpy as np

cdef extern from "bits.h" nogil:
    int64_t fh_count_bits(uint64_t x)

cdef extern from "multi_index.h" nogil:
    ctypedef struct fh_table:
        int32_t start
        int32_t length
    fh_table fh_table_of(int32_t n_bits, int32_t n_tables, int32_t j)
    void fh_sort_keys(uint64_t *keys, int64_t n, uint64_t *scratch)

cdef extern from "multi_index_probe.h" nogil:
    uint32_t fh_next_mask(uint32_t mask)

cdef extern from "joins.h" nogil:
    ctypedef struct fh_side:
        const uint8_t *codes
        int64_t n
        int64_t first_row
        uint32_t *bounds
        uint32_t *rows
        uint64_t *words
    ctypedef struct fh_pair:
        pass
    ctypedef struct fh_pairs:
        fh_pair *pairs
        int64_t n
        int64_t capacity
        int32_t failed
    uint32_t fh_cut(const uint64_t *words, int32_t start, int32_t length)
    void fh_side_count(const fh_side *side, Py_ssize_t n_bytes, const fh_table *table,
                       int64_t first, int64_t end, uint32_t *counts)
    void fh_side_sum(const fh_side *side, int64_t n_buckets, int64_t n_parts, uint32_t *counts)
    void fh_side_place(const fh_side *side, Py_ssize_t n_bytes, int32_t n_words,
                       const fh_table *table, int64_t first, int64_t end, uint32_t *places)
    ctypedef int (*fh_met)(const fh_table *tables, int32_t n_tables, const uint64_t *x,
                           const uint64_t *y, int32_t n_words, int32_t j,
                           int32_t a) noexcept nogil
    fh_met fh_met_of(int counts_words)
    void fh_pairs_add(fh_pairs *found, uint32_t first, uint32_t second, int32_t distance)
    void fh_pairs_count(const fh_pairs *found, int64_t base, int64_t first, int64_t end,
                        int64_t *places)
    void fh_pairs_place(const fh_pairs *found, int64_t base, int64_t first, int64_t end,
                        int64_t *places, uint64_t *keys)

cdef enum:
    # Positions that a thread takes at a time: few, so that a call ends soon even if each of them is
    # compared with all codes.
    CHUNK = 32
    # Codes that are compared with one code in one call of a level.
    BLOCK = 4096
    # What it takes to sort a code into a table, in words compared.
    ENTRY_WORDS = 32

# What a thread needs to compare a code with a block of others, and what it has found.
cdef struct Slot:
    fh_pairs found
    int32_t positions[BLOCK + FH_LANES_MAX]
    int32_t distances[BLOCK + FH_LANES_MAX]

# A join at one table.
cdef struct Step:
    const fh_level *level
    fh_met met
    const fh_table *tables
    int32_t n_tables
    int32_t n_words
    int32_t radius
    int32_t j
    const fh_side *sides
    bint joins_itself       # whether the first side is joined with itself
    bint has_other          # whether it is joined with the second side
    const uint32_t *masks   # in the order of the number of bits set
    Py_ssize_t n_masks
    int64_t most            # a thread that has found more pairs ends its work


cdef void compare_one(const Step *step, Slot *slot, const fh_side *other, uint32_t position,
                      uint32_t first, uint32_t end, int32_t a) noexcept nogil:
    """Add the pairs of the first side's code at a position and the other's at [first, end)."""
    cdef const fh_side *side = &step.sides[0]
    cdef Py_ssize_t n_words = step.n_words
    cdef const uint64_t *code = side.words + position * n_words
    cdef const uint64_t *words
    cdef int64_t row = side.first_row + side.rows[position], other_row
    cdef int32_t n, n_hits, i
    while first < end and slot.found.n <= step.most:
        n = <int32_t>min(end - first, <uint32_t>BLOCK)
        words = other.words + first * n_words
        if n_words == 1:
            n_hits = step.level.scan(code, words, n, 1, step.radius + 1, slot.positions,
                                     slot.distances)
        else:
            n_hits = step.level.scan_rows(code, <const uint8_t *>words, n, 8 * n_words,
                                          step.radius + 1, slot.positions, slot.distances)
        for i in range(n_hits):
            if step.met(step.tables, step.n_tables, code, words + slot.positions[i] * n_words,
                        step.n_words, step.j, a):
                continue
            other_row = other.first_row + other.rows[first + slot.positions[i]]
            if other == side and other_row < row:
                fh_pairs_add(&slot.found, <uint32_t>other_row, <uint32_t>row, slot.distances[i])
            else:
                fh_pairs_add(&slot.found, <uint32_t>row, <uint32_t>other_row, slot.distances[i])
        first = first + n


cdef void compare_positions(const Step *step, Slot *slot, uint32_t first,
                            uint32_t end) noexcept nogil:
    """Compare the first side's codes at the positions [first, end) with all that may be near."""
    cdef const fh_side *side = &step.sides[0]
    cdef const fh_side *other = &step.sides[1]
    cdef const fh_table *table = &step.tables[step.j]
    cdef uint32_t run_end, bucket, partner, position
    cdef int32_t a
    cdef Py_ssize_t m
    while first < end:
        bucket = fh_cut(side.words + <Py_ssize_t>first * step.n_words, table.start, table.length)
        run_end = min(end, side.bounds[bucket + 1])
        for m in range(step.n_masks):
            partner = bucket ^ step.masks[m]
            a = <int32_t>fh_count_bits(step.masks[m])
            # Each pair of buckets once.
            if step.joins_itself and partner >= bucket:
                for position in range(first, run_end):
                    compare_one(step, slot, side, position,
                                position + 1 if m == 0 else side.bounds[partner],
                                side.bounds[partner + 1], a)
            if step.has_other:
                for position in range(first, run_end):
                    compare_one(step, slot, other, position, other.bounds[partner],
                                other.bounds[partner + 1], a)
        first = run_end


cdef class Join:
    """All pairs within the radius of rows of `codes`, and of these with rows of `others`.

    Row i of codes is called first_row + i, row i of others (None: there are none) other_row + i;
    these numbers are below 2^32. With ``joins_itself`` the rows of codes are paired with each other
    too. If there are more than about `most` pairs, and more than a row may have,
    ``has_overflowed`` is set, the work ends, and there is no answer.

    Call ``start(j)`` for each of the ``n_steps`` tables that the radius needs, then `sort` and
    `compare` until they return 0, and `pairs` after the last table.
    """

    cdef fh_side sides[2]
    cdef fh_table *tables
    cdef Slot *slots
    cdef Step step
    cdef Py_ssize_t n_bytes
    cdef int64_t n_sorted
    cdef int n_sides, n_threads, n_parts
    cdef uint32_t[::1] masks
    cdef uint32_t[:, :, ::1] counts
    cdef object arrays
    cdef bint is_counted
    cdef readonly int64_t n_compared
    cdef readonly bint has_overflowed
    cdef readonly int n_steps

    def __cinit__(self, const uint8_t[:, ::1] codes, int64_t first_row,
                  const uint8_t[:, ::1] others, int64_t other_row, bint joins_itself,
                  int32_t radius, int n_tables, int64_t most, int n_threads):
        cdef Step *step = &self.step
        cdef int32_t n_bits = <int32_t>(8 * codes.shape[1]), j
        cdef int64_t n_longest = codes.shape[0]
        cdef int64_t n_buckets = <int64_t>1 << (n_bits // n_tables + (n_bits % n_tables != 0))
        n_threads = threads_for(n_threads, codes.shape[0], <double>codes.shape[0] * ENTRY_WORDS)
        self.n_bytes, self.n_threads = codes.shape[1], n_threads
        self.n_sides = 1 if others is None else 2
        # A thread may find all pairs of a single row.
        if others is not None:
            n_longest = max(n_longest, others.shape[0])
        step.most = max(most // n_threads, n_longest)
        self.n_steps = min(n_tables, radius + 1)
        self.tables = <fh_table *>calloc(n_tables, sizeof(fh_table))
        self.slots = <Slot *>calloc(n_threads, sizeof(Slot))
        if self.tables == NULL or self.slots == NULL:
            raise MemoryError
        for j in range(n_tables):
            self.tables[j] = fh_table_of(n_bits, n_tables, j)
        step.level = active_level()
        step.met = fh_met_of(step.level.counts_words)
        step.tables, step.n_tables = self.tables, n_tables
        step.n_words, step.radius = (n_bits + 63) // 64, radius
        step.sides = self.sides
        step.joins_itself, step.has_other = joins_itself, self.n_sides == 2
        self.arrays = []
        lay_out_side(&self.sides[0], codes, first_row, n_buckets, step.n_words, self.arrays)
        if others is not None:
            lay_out_side(&self.sides[1], others, other_row, n_buckets, step.n_words, self.arrays)
        # Every part has counts of its own, together at most 4 bytes for each code, or one part.
        self.n_parts = <int>min(<int64_t>n_threads, max(<int64_t>1, n_longest // n_buckets))
        self.counts = np.empty((self.n_sides, self.n_parts, n_buckets), np.uint32)

    def __dealloc__(self):
        cdef int thread
        if self.slots != NULL:
            for thread in range(self.n_threads):
                free(self.slots[thread].found.pairs)
        free(self.slots)
        free(self.tables)

    def start(self, int j):
        """Begin with table j."""
        cdef fh_table *table = &self.tables[j]
        cdef uint32_t mask
        # Steps a * n_tables + j up to the radius.
        cdef int32_t most_flips = (self.step.radius - j) // self.step.n_tables, flips
        found = []
        for flips in range(min(most_flips, table.length) + 1):
            mask = (<uint32_t>1 << flips) - 1
            while mask >> table.length == 0:
                found.append(mask)
                mask = fh_next_mask(mask)
        self.masks = np.array(found, np.uint32)
        self.step.masks, self.step.n_masks = &self.masks[0], len(found)
        self.step.j = j
        self.counts[:] = 0
        self.is_counted = False
        self.n_sorted = self.n_compared = 0

    def sort(self, int64_t amount):
        """Sort about so many rows of each side, in two passes; how many, 0 at the end."""
        cdef int64_t n_longest = max(self.sides[0].n, self.sides[1].n), n_rows
        cdef int side
        cdef int64_t n_part = (n_longest + self.n_parts - 1) // self.n_parts
        n_rows = min(n_part - self.n_sorted, max(<int64_t>1, amount // self.n_parts))
        if n_rows == 0:
            if self.is_counted:
                return 0
            with nogil:
                for side in range(self.n_sides):
                    fh_side_sum(&self.sides[side], <int64_t>1 << self.tables[self.step.j].length,
                                self.n_parts, &self.counts[side, 0, 0])
            self.is_counted, self.n_sorted = True, 0
            return 1
        with nogil:
            self.sort_rows(n_rows)
        self.n_sorted += n_rows
        return n_rows * self.n_parts

    cdef void sort_rows(self, int64_t n_rows) noexcept nogil:
        """Count or place n_rows rows of every part, from the current one on; a thread per part."""
        cdef int64_t n_part, first, end
        cdef int task, n_parts = self.n_parts
        cdef int side, part
        cdef int64_t n_buckets = <int64_t>1 << self.tables[self.step.j].length
        for task in prange(self.n_sides * n_parts, schedule="dynamic", num_threads=n_parts):
            side, part = task // n_parts, task % n_parts
            n_part = (self.sides[side].n + n_parts - 1) // n_parts
            first = min(part * n_part + self.n_sorted, self.sides[side].n)
            end = min(self.sides[side].n, min(part * n_part + n_part, first + n_rows))
            if self.is_counted:
                fh_side_place(&self.sides[side], self.n_bytes, self.step.n_words,
                              &self.tables[self.step.j], first, end,
                              &self.counts[side, 0, 0] + part * n_buckets)
            else:
                fh_side_count(&self.sides[side], self.n_bytes, &self.tables[self.step.j], first,
                              end, &self.counts[side, 0, 0] + part * n_buckets)

    def compare(self, int64_t amount):
        """Compare about so many codes of the first side; how many, 0 at the end."""
        cdef int64_t n_positions = min(amount, self.sides[0].n - self.n_compared), first, chunk
        cdef int64_t n_chunks = (n_positions + CHUNK - 1) // CHUNK
        cdef int thread
        if self.has_overflowed or n_positions == 0:
            return 0
        with nogil:
            for chunk in prange(n_chunks, schedule="dynamic", num_threads=self.n_threads):
                thread = threadid()
                if self.slots[thread].found.n <= self.step.most:
                    first = self.n_compared + chunk * CHUNK
                    compare_positions(&self.step, &self.slots[thread], <uint32_t>first,
                                      <uint32_t>min(first + CHUNK, self.n_compared + n_positions))
        for thread in range(self.n_threads):
            self.has_overflowed |= self.slots[thread].found.n > self.step.most
            if self.slots[thread].found.failed:
                raise MemoryError("the pairs do not fit in memory: ask for smaller blocks")
        self.n_compared += n_positions
        return n_positions

    def pairs(self):
        """(first, second, distances) in the order of (first, second)."""
        cdef int64_t n = self.sides[0].n, base = self.sides[0].first_row, n_pairs = 0, row
        cdef int n_threads = self.n_threads, thread, part
        cdef int64_t most
        for thread in range(n_threads):
            n_pairs += self.slots[thread].found.n
        places_array = np.zeros(n + 1, np.int64)
        cdef int64_t[::1] places = places_array
        # One value more than there are, so that an empty array has an address too.
        cdef uint64_t[::1] keys = np.empty(n_pairs + 1, np.uint64)
        for part in prange(n_threads, nogil=True, num_threads=n_threads):
            for thread in range(n_threads):
                fh_pairs_count(&self.slots[thread].found, base, part * n // n_threads,
                               (part + 1) * n // n_threads, &places[1])
        most = int(places_array.max())
        np.cumsum(places_array, out=places_array)
        for part in prange(n_threads, nogil=True, num_threads=n_threads):
            for thread in range(n_threads):
                fh_pairs_place(&self.slots[thread].found, base, part * n // n_threads,
                               (part + 1) * n // n_threads, &places[0], &keys[0])
        for thread in range(n_threads):
            free(self.slots[thread].found.pairs)
            self.slots[thread].found.pairs = NULL
            self.slots[thread].found.n = self.slots[thread].found.capacity = 0
        # Every place has moved on to the end of its row.
        first_array, second_array = np.empty(n_pairs + 1, np.int64), np.empty(n_pairs + 1, np.int64)
        distances_array = np.empty(n_pairs + 1, np.int32)
        cdef int64_t[::1] first = first_array, second = second_array
        cdef int32_t[::1] distances = distances_array
        cdef uint64_t[:, ::1] scratch = np.empty((n_threads, most + 1), np.uint64)
        for row in prange(n, nogil=True, schedule="guided", num_threads=n_threads):
            write_row(base + row, &keys[0], places[row - 1] if row > 0 else 0, places[row],
                      &scratch[threadid(), 0], &first[0], &second[0], &distances[0])
        return first_array[:n_pairs], second_array[:n_pairs], distances_array[:n_pairs]


cdef void lay_out_side(fh_side *side, const uint8_t[:, ::1] codes, int64_t first_row,
                       int64_t n_buckets, Py_ssize_t n_words, list arrays) except *:
    """Give a side its memory; `arrays` keeps it alive."""
    cdef Py_ssize_t n = codes.shape[0]
    cdef uint32_t[::1] bounds = np.empty(n_buckets + 1, np.uint32)
    cdef uint32_t[::1] rows = np.empty(n + 1, np.uint32)
    cdef uint64_t[::1] words = np.empty(n * n_words + 1, np.uint64)
    arrays += [codes, bounds, rows, words]
    side.codes = &codes[0, 0] if n > 0 else NULL
    side.n, side.first_row = n, first_row
    side.bounds, side.rows, side.words = &bounds[0], &rows[0], &words[0]


cdef void write_row(int64_t row, uint64_t *keys, int64_t start, int64_t end, uint64_t *scratch,
                    int64_t *first, int64_t *second, int32_t *distances) noexcept nogil:
    """Sort the keys of one row, and write its pairs."""
    cdef int64_t i
    fh_sort_keys(keys + start, end - start, scratch)
    for i in range(start, end):
        first[i] = row
        second[i] = <int64_t>(keys[i] >> 32)
        distances[i] = <int32_t><uint32_t>keys[i]
