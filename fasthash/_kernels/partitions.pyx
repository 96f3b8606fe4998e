"""Top-k search in the lists of a partition: an approximate search, unless all lists are probed.

Every code is in the list of its nearest centre. A query is compared with the centres first, and the
smallest distance in each block of centres is kept. The lists of the nearest `least` centres are
probed. Then a `Rule` says, by the distance of the k-th candidate so far, how near the other centres
must be whose lists are probed. They are found by a scan of the blocks that have so near a centre,
which are mostly few. This is faster than to sort the centres. For queries with weights, all blocks
are scanned twice.
A query is a code, or has a weight for each bit; weighted.pyx says what its distance is then, also
from a centre.

Queries are answered in blocks, one after the other by each thread. The queries of a block that
probe the same list are compared with it together, so that its codes are read once. Results
depend neither on the blocks nor on the order of the lists: partitions.h says why.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from fasthash._kernels.list_search cimport (
    PADDED_LANES,
    PartitionPlan,
    answer_block,
    lay_out_codes,
    plan_partitions,
)
from fasthash._kernels.selection cimport next_block
from fasthash._kernels.tasks cimport memory_of
from fasthash._kernels.tiles cimport (
    Arena,
    Database,
    active_level,
    carve,
    cut_into_tiles,
    fh_level,
    make_arena,
    make_database,
    threads_for,
    use_rows_for_few,
    write_words,
)

import numpy as np

cdef object empty = np.empty, INT32 = np.dtype(np.int32), INT64 = np.dtype(np.int64)

cdef extern from "bits.h" nogil:
    int64_t fh_count_bits(uint64_t x)

cdef extern from "partitions.h" nogil:
    ctypedef struct fh_candidates:
        int64_t n_seen
        int32_t bound
    void fh_candidates_start(fh_candidates *c, int64_t k, int32_t bound, uint64_t *keys)
    void fh_candidates_append(fh_candidates *c, const uint32_t *rows, const uint8_t *allowed,
                              int32_t n, const int32_t *positions, const int32_t *distances)
    void fh_candidates_finish(fh_candidates *c, uint64_t *scratch, int32_t *distances,
                              int64_t *rows)
    void fh_majority(const uint8_t *codes, const uint32_t *rows, int64_t n, Py_ssize_t n_bytes,
                     const uint8_t *before, uint8_t *out)

cdef enum:
    # Bytes of a tile for queries with weights.
    WEIGHTED_TILE_BYTES = 1 << 14
    # Codes whose nearest centres are found together, and the most centres of each.
    ASSIGNED_CODES = 256
    NEAREST_MAX = 2


cdef class Lists:
    """Codes in lists: ``rows[starts[i]:starts[i + 1]]`` are the rows of list i, ascending.

    No list is empty. If `in_order`, row i of ``codes`` is the code of row ``rows[i]``; otherwise
    it is that of row i. The arrays are kept, and must not change.
    """

    cdef const uint8_t[:, ::1] codes, centres
    cdef const int64_t[::1] starts
    cdef const uint32_t[::1] rows, numbers
    cdef uint8_t[::1] memory
    # The centres laid out, for queries that are codes and for those with weights.
    cdef const uint8_t *laid_out
    cdef const uint8_t *for_weights
    cdef const fh_level *level
    cdef bint in_order

    def __cinit__(self, const uint8_t[:, ::1] codes, const uint8_t[:, ::1] centres,
                  const int64_t[::1] starts, const uint32_t[::1] rows, bint in_order):
        self.codes, self.centres, self.starts, self.rows = codes, centres, starts, rows
        self.in_order = in_order
        self.numbers = np.arange(centres.shape[0], dtype=np.uint32)
        self.lay_out()

    cdef int lay_out(self) except -1:
        """Lay the centres out for the level in use; no other level can scan them."""
        cdef Py_ssize_t n = self.centres.shape[0], n_bytes = self.centres.shape[1]
        cdef Py_ssize_t n_words = (n_bytes + 7) // 8
        cdef PartitionPlan plan
        cdef Arena arena
        cdef uint8_t *tile
        plan.n_bytes = n_bytes
        self.level = active_level()
        self.memory = np.empty(
            (n + PADDED_LANES) * (8 * n_words + self.level.weights.spread * n_bytes) + 192,
            np.uint8)
        arena = make_arena(&self.memory[0])
        tile = <uint8_t *>carve(&arena, 8 * (n + PADDED_LANES) * n_words)
        self.level.prepare(&self.centres[0, 0], <int32_t>n, n_bytes, <uint64_t *>tile)
        self.laid_out = tile
        plan.has_weights = True
        tile = <uint8_t *>carve(&arena, 0)
        self.for_weights = lay_out_codes(&plan, &self.centres[0, 0], <int32_t>n, tile)
        return 0

    def search(self, queries, bint has_weights, int64_t[::1] out_compared,
               const uint8_t[::1] allowed, int64_t k, int32_t least, int32_t most,
               bint from_nearest, int32_t slope, int32_t threshold, int32_t bound, int n_threads):
        """Find the k nearest codes in the lists that each query probes, by (distance, row).

        Queries are codes, or have 8 * n_bytes weights each. out_compared[q] is the number of codes
        with which query q was compared; out_compared may be None. ``allowed`` has a flag for every
        row, None for all. At least one query, and 1 <= least <= most <= number of lists; `Rule`
        explains the other arguments. Returns distances and rows, of which missing ones are -1, and
        the number of queries that have fewer than k answers.
        """
        cdef PartitionPlan plan
        cdef Py_ssize_t block, n_blocks, first
        cdef int64_t *compared = &out_compared[0] if out_compared is not None else NULL
        cdef uint8_t *memory
        cdef Database database
        cdef Py_ssize_t[2] shape
        cdef const uint8_t *some = <const uint8_t *>memory_of(queries, shape)
        cdef Py_ssize_t one = 16 * self.codes.shape[1] if has_weights else self.codes.shape[1]
        plan.codes, plan.n_bytes = &self.codes[0, 0], self.codes.shape[1]
        plan.in_order = self.in_order
        plan.n_words = <int32_t>((plan.n_bytes + 7) // 8)
        plan.allowed = &allowed[0] if allowed is not None else NULL
        if self.level != active_level():
            self.lay_out()
        plan.n_lists = self.centres.shape[0]
        plan.has_weights, plan.n_queries = has_weights, shape[0]
        # Of all codes, because there may be few centres.
        database = make_database(plan.codes, self.codes.shape[0], plan.n_bytes, plan.n_queries)
        plan.centres, plan.laid_out_bytes = self.laid_out, 8 * plan.n_words
        if plan.has_weights:
            plan.centres = self.for_weights
            plan.laid_out_bytes = self.level.weights.spread * plan.n_bytes
            cut_into_tiles(&database, WEIGHTED_TILE_BYTES)
        elif plan.in_order:
            use_rows_for_few(&database, plan.n_queries)
        plan.tile = database.tile
        plan.starts, plan.rows, plan.numbers = &self.starts[0], &self.rows[0], &self.numbers[0]
        plan.k = k
        plan.rule.least, plan.rule.most, plan.rule.from_nearest = least, most, from_nearest
        plan.rule.slope, plan.rule.threshold, plan.rule.bound = slope, threshold, bound
        plan_partitions(&plan, n_threads)
        answers = plan.n_queries, k
        distances, found = empty(answers, INT32), empty(answers, INT64)
        cdef int32_t *out_distances = <int32_t *>memory_of(distances, shape)
        cdef int64_t *out_rows = <int64_t *>memory_of(found, shape)
        memory = <uint8_t *>malloc(plan.memory_bytes)
        if memory == NULL:
            raise MemoryError
        plan.slots = make_arena(memory).memory
        n_blocks = (plan.n_queries + plan.n_block - 1) // plan.n_block
        if n_blocks == 1:
            # Without OpenMP, because it takes longer than a search in few lists.
            with nogil:
                answer_block(&plan, 0, some, plan.n_queries, out_distances, out_rows,
                             compared)
        else:
            for block in prange(n_blocks, nogil=True, schedule="dynamic",
                                num_threads=plan.n_threads):
                first = block * plan.n_block
                answer_block(&plan, threadid(), some + first * one,
                             min(plan.n_block, plan.n_queries - first),
                             out_distances + first * k, out_rows + first * k,
                             NULL if compared == NULL else compared + first)
        free(memory)
        cdef Py_ssize_t n_short = 0
        for first in range(plan.n_queries):
            n_short += out_rows[first * k + k - 1] < 0
        return distances, found, n_short


def find_majority(const uint8_t[:, ::1] codes, const int64_t[::1] starts,
                  const uint32_t[::1] rows, const uint8_t[:, ::1] before, uint8_t[:, ::1] out,
                  int n_threads):
    """Write the majority of the bits of each list; where both are equally frequent, as before."""
    cdef Py_ssize_t n_lists = before.shape[0], n_bytes = codes.shape[1], list
    n_threads = threads_for(n_threads, n_lists, <double>rows.shape[0] * n_bytes)
    for list in prange(n_lists, nogil=True, schedule="dynamic", num_threads=n_threads):
        fh_majority(&codes[0, 0], &rows[0] + starts[list], starts[list + 1] - starts[list],
                    n_bytes, &before[list, 0], &out[list, 0])


cdef struct Assignment:
    const uint64_t *centres    # laid out
    const uint64_t *words      # centres in whole words
    const uint32_t *numbers    # of all centres: 0, 1, …
    Py_ssize_t n_centres, n_bytes
    int32_t n_words, tile
    int64_t k
    bint has_guesses


def find_nearest(const uint8_t[:, ::1] codes, const uint8_t[:, ::1] centres,
                 int32_t[:, ::1] distances, int64_t[:, ::1] nearest, bint has_guesses,
                 int n_threads):
    """Find the nearest centre of each code, or the nearest two, by (distance, number).

    There are as many columns in `distances` and `nearest` as centres are found. If `has_guesses`,
    `nearest` has centres that are probably near, different ones for each code; the search is then
    several times as fast. At least one code.
    """
    cdef Py_ssize_t n = codes.shape[0], n_bytes = codes.shape[1], block, first
    cdef Py_ssize_t n_blocks = (n + ASSIGNED_CODES - 1) // ASSIGNED_CODES, slot_bytes
    cdef const uint32_t[::1] numbers = np.arange(centres.shape[0], dtype=np.uint32)
    cdef Database database = make_database(&centres[0, 0], centres.shape[0], n_bytes, n)
    cdef Assignment task
    cdef Arena arena = make_arena(NULL), slot = make_arena(NULL)
    cdef uint8_t[::1] memory
    cdef uint64_t *tile
    cdef uint64_t *words
    cdef uint8_t *slots
    task.n_centres, task.n_bytes, task.n_words = centres.shape[0], n_bytes, database.n_words
    task.tile, task.numbers = database.tile, &numbers[0]
    task.k, task.has_guesses = nearest.shape[1], has_guesses
    n_threads = threads_for(n_threads, n_blocks,
                            <double>n * task.n_centres * database.n_words)
    find_nearest_of(&task, &codes[0, 0], 0, &slot, NULL, NULL)
    slot_bytes = slot.used
    memory = np.empty(8 * (2 * task.n_centres + PADDED_LANES) * task.n_words + 192
                      + n_threads * slot_bytes, np.uint8)
    arena = make_arena(&memory[0])
    tile = <uint64_t *>carve(&arena, 8 * (task.n_centres + PADDED_LANES) * task.n_words)
    words = <uint64_t *>carve(&arena, 8 * task.n_centres * task.n_words)
    slots = <uint8_t *>carve(&arena, 0)
    active_level().prepare(&centres[0, 0], <int32_t>task.n_centres, n_bytes, tile)
    write_words(&centres[0, 0], task.n_centres, n_bytes, words)
    task.centres, task.words = tile, words
    for block in prange(n_blocks, nogil=True, schedule="dynamic", num_threads=n_threads):
        first = block * ASSIGNED_CODES
        find_nearest_in_slot(&task, &codes[first, 0],
                             min(<Py_ssize_t>ASSIGNED_CODES, n - first),
                             slots + threadid() * slot_bytes, &distances[first, 0],
                             &nearest[first, 0])


cdef void find_nearest_in_slot(const Assignment *task, const uint8_t *codes, Py_ssize_t n,
                               uint8_t *memory, int32_t *distances,
                               int64_t *nearest) noexcept nogil:
    cdef Arena arena = make_arena(memory)
    find_nearest_of(task, codes, n, &arena, distances, nearest)


cdef void find_nearest_of(const Assignment *task, const uint8_t *codes, Py_ssize_t n,
                          Arena *arena, int32_t *distances, int64_t *nearest) noexcept nogil:
    """Find the nearest centres of at most ASSIGNED_CODES codes; of none, only count memory."""
    cdef uint64_t *words = <uint64_t *>carve(arena, 8 * ASSIGNED_CODES * task.n_words)
    cdef fh_candidates *found = <fh_candidates *>carve(
        arena, ASSIGNED_CODES * <Py_ssize_t>sizeof(fh_candidates))
    cdef uint64_t *keys = <uint64_t *>carve(arena, 8 * ASSIGNED_CODES * NEAREST_MAX)
    cdef int32_t *positions = <int32_t *>carve(arena, 4 * (task.tile + PADDED_LANES))
    cdef int32_t *hits = <int32_t *>carve(arena, 4 * (task.tile + PADDED_LANES))
    cdef uint64_t[NEAREST_MAX] scratch
    cdef Py_ssize_t first = 0, q
    cdef int32_t n_tile, block, n_block, n_hits, bound
    if n == 0:
        return
    write_words(codes, n, task.n_bytes, words)
    for q in range(n):
        bound = 8 * <int32_t>task.n_bytes + 1
        if task.has_guesses:
            bound = farthest(task, words + q * task.n_words, nearest + q * task.k) + 1
        fh_candidates_start(&found[q], task.k, bound, keys + q * task.k)
    # A tile of centres stays in the cache while all codes are compared with it.
    while first < task.n_centres:
        n_tile = <int32_t>min(<Py_ssize_t>task.tile, task.n_centres - first)
        for q in range(n):
            block = 0
            while block < n_tile:
                n_block = n_tile
                if not task.has_guesses:
                    n_block = next_block(found[q].n_seen, n_tile - block)
                n_hits = active_level().scan(
                    words + q * task.n_words, task.centres + (first + block) * task.n_words,
                    n_block, task.n_words, found[q].bound, positions, hits)
                if n_hits > 0:
                    fh_candidates_append(&found[q], task.numbers + first + block, NULL, n_hits,
                                         positions, hits)
                found[q].n_seen += n_block
                block = block + n_block
        first = first + n_tile
    for q in range(n):
        fh_candidates_finish(&found[q], scratch, distances + q * task.k, nearest + q * task.k)


cdef int32_t farthest(const Assignment *task, const uint64_t *code,
                      const int64_t *guesses) noexcept nogil:
    """The largest distance of a code to the centres that are guessed."""
    cdef int64_t distance, largest = 0, i
    cdef int32_t word
    for i in range(task.k):
        distance = 0
        for word in range(task.n_words):
            distance = distance + fh_count_bits(
                code[word] ^ task.words[guesses[i] * task.n_words + word])
        largest = max(largest, distance)
    return <int32_t>largest
