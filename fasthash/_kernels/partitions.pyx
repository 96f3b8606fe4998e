"""Top-k search in the lists of a partition: an approximate search, unless all lists are probed.

Every code is in the list of its nearest centre. A query is compared with the centres twice. First
it finds the nearest `least` ones, and probes their lists. Then a `Rule` says, by the distance of
the k-th candidate so far, how near the other centres must be whose lists are probed. To find these
in a second scan is faster than to sort the centres: it needs no order, and mostly few are found.

Queries are answered in blocks, one after the other by each thread. The queries of a block that
probe the same list are compared with it together, so that its codes are read once. Results
depend neither on the blocks nor on the order of the lists: partitions.h says why.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from fasthash._kernels.selection cimport next_block
from fasthash._kernels.tiles cimport (
    FH_LANES_MAX,
    Arena,
    active_level,
    carve,
    fh_level,
    make_arena,
    make_database,
    threads_for,
    write_words,
)

import numpy as np

cdef extern from "partitions.h" nogil:
    ctypedef struct fh_candidates:
        int64_t k
        int64_t n
        int64_t n_seen
        int32_t bound
        uint64_t *keys
    void fh_candidates_start(fh_candidates *c, int64_t k, int32_t bound, uint64_t *keys)
    int32_t fh_candidates_farthest(const fh_candidates *c)
    void fh_candidates_append(fh_candidates *c, const uint32_t *rows, const uint8_t *allowed,
                              int32_t n, const int32_t *positions, const int32_t *distances)
    void fh_candidates_sort(fh_candidates *c, uint64_t *scratch)
    void fh_candidates_finish(fh_candidates *c, uint64_t *scratch, int32_t *distances,
                              int64_t *rows)
    void fh_fetch(const uint8_t *codes, Py_ssize_t n_bytes, const uint32_t *rows, int64_t n)
    void fh_fetch_rows(const uint8_t *codes, const uint32_t *rows, int64_t n, Py_ssize_t n_bytes)
    void fh_gather(const uint8_t *codes, const uint32_t *rows, int32_t n, int32_t n_listed,
                   Py_ssize_t n_bytes, uint8_t *out)
    void fh_majority(const uint8_t *codes, const uint32_t *rows, int64_t n, Py_ssize_t n_bytes,
                     const uint8_t *before, int64_t *counts, uint8_t *out)

cdef enum:
    # Largest number of queries of a block, and largest size of the memory of a thread.
    BLOCK_QUERIES = 4096
    SLOT_BYTES = 1 << 26
    # A block of at most this many queries probes its lists one query after the other.
    ALONE_QUERIES = 4
    # With at most this many queries, a list is scanned as rows, without a layout.
    ROW_QUERIES = 2

# Which lists a query probes, of those with the nearest centres by (distance, list).
cdef struct Rule:
    int32_t least           # lists that are always probed, at least 1
    int32_t most            # lists that may be probed
    bint from_nearest       # whether distances of centres count from that of the nearest centre
    # The largest difference with which a list is probed, by the distance of the k-th candidate
    # after the first lists; the last entry is for queries that have fewer candidates.
    const int32_t *reach
    int32_t bound           # the first lists have k codes nearer than this, of nearly all queries

# The sizes of a search, and its memory.
cdef struct PartitionPlan:
    Py_ssize_t memory_bytes
    const uint8_t *codes
    bint in_order             # whether the codes lie in the order of `rows`, not of their numbers
    const uint8_t *allowed    # NULL for all
    const uint64_t *centres   # laid out for the scan
    Py_ssize_t n_lists
    const int64_t *starts     # of the lists in `rows`, and the number of all rows
    const uint32_t *rows
    const uint32_t *numbers   # of all lists: 0, 1, …
    Py_ssize_t n_bytes
    int32_t n_words
    int32_t tile              # codes or centres that are compared at once
    int64_t k
    Rule rule
    Py_ssize_t n_queries
    Py_ssize_t n_block        # queries of a block
    int n_threads
    uint8_t *slots            # one for each thread
    Py_ssize_t slot_bytes

# The memory of one block.
cdef struct Workspace:
    uint64_t *words           # queries in whole words
    fh_candidates *candidates
    uint64_t *keys
    fh_candidates *probed     # lists of each query; a key has the distance and number of a centre
    uint64_t *probed_keys
    int32_t *nearest          # distance of the nearest centre
    uint64_t *last            # key of the farthest one of the first lists
    uint64_t *scratch
    int32_t *places           # of each list in `pairs`
    int32_t *pairs            # queries, sorted by the list that they probe
    int32_t *hit_positions
    int32_t *hit_distances
    uint8_t *gathered
    uint64_t *laid_out


cdef Workspace carve_workspace(const PartitionPlan *plan, Arena *arena) noexcept nogil:
    cdef Workspace work
    cdef Py_ssize_t n = plan.n_block, most = plan.rule.most, n_codes = plan.tile + FH_LANES_MAX
    cdef Py_ssize_t candidates_bytes = n * <Py_ssize_t>sizeof(fh_candidates)
    work.words = <uint64_t *>carve(arena, 8 * n * plan.n_words)
    work.candidates = <fh_candidates *>carve(arena, candidates_bytes)
    work.keys = <uint64_t *>carve(arena, 8 * n * plan.k)
    work.probed = <fh_candidates *>carve(arena, candidates_bytes)
    work.probed_keys = <uint64_t *>carve(arena, 8 * n * most)
    work.nearest = <int32_t *>carve(arena, 4 * n)
    work.last = <uint64_t *>carve(arena, 8 * n)
    work.scratch = <uint64_t *>carve(arena, 8 * max(<Py_ssize_t>plan.k, most))
    work.places = <int32_t *>carve(arena, 4 * (plan.n_lists + 1))
    work.pairs = <int32_t *>carve(arena, 4 * n * most)
    work.hit_positions = <int32_t *>carve(arena, 4 * n_codes)
    work.hit_distances = <int32_t *>carve(arena, 4 * n_codes)
    work.gathered = <uint8_t *>carve(arena, n_codes * plan.n_bytes)
    work.laid_out = <uint64_t *>carve(arena, 8 * n_codes * plan.n_words)
    return work


cdef void plan_partitions(PartitionPlan *plan, int n_threads) noexcept nogil:
    """Choose blocks and threads, and compute the memory; all other sizes are set."""
    cdef Arena slot
    cdef Py_ssize_t n_mean = plan.starts[plan.n_lists] // plan.n_lists
    cdef double n_words = <double>plan.n_queries * plan.n_words
    cdef Py_ssize_t per_query = (8 * plan.k + 12 * plan.rule.most
                                 + 8 * plan.n_words + 128)
    n_words = n_words * (plan.n_lists + n_mean * plan.rule.least)
    plan.n_threads = threads_for(n_threads, plan.n_queries, n_words)
    plan.n_block = (plan.n_queries + plan.n_threads - 1) // plan.n_threads
    plan.n_block = min(plan.n_block, <Py_ssize_t>BLOCK_QUERIES,
                       max(<Py_ssize_t>1, SLOT_BYTES // per_query))
    slot = make_arena(NULL)
    carve_workspace(plan, &slot)
    plan.slot_bytes = slot.used
    plan.memory_bytes = plan.n_threads * plan.slot_bytes + 64


cdef void answer_block(const PartitionPlan *plan, Py_ssize_t slot, const uint8_t *queries,
                       Py_ssize_t n, int32_t *out_distances, int64_t *out_rows,
                       int64_t *out_compared) noexcept nogil:
    cdef Arena arena = make_arena(plan.slots + slot * plan.slot_bytes)
    cdef Workspace work = carve_workspace(plan, &arena)
    cdef int32_t largest = <int32_t>(8 * plan.n_bytes)
    cdef Py_ssize_t q
    write_words(queries, n, plan.n_bytes, work.words)
    choose_first_lists(plan, &work, n)
    for q in range(n):
        fh_candidates_start(&work.candidates[q], plan.k, min(plan.rule.bound, largest + 1),
                            work.keys + q * plan.k)
    probe(plan, &work, n)
    if plan.rule.bound <= largest:
        for q in range(n):
            if work.candidates[q].n < plan.k:
                # The bound was too small: search again without it.
                fh_candidates_start(&work.candidates[q], plan.k, largest + 1,
                                    work.keys + q * plan.k)
                probe_alone(plan, &work, q)
    if plan.rule.most > plan.rule.least:
        choose_other_lists(plan, &work, n)
        probe(plan, &work, n)
    for q in range(n):
        if out_compared != NULL:
            out_compared[q] = work.candidates[q].n_seen
        fh_candidates_finish(&work.candidates[q], work.scratch, out_distances + q * plan.k,
                             out_rows + q * plan.k)


cdef void choose_first_lists(const PartitionPlan *plan, Workspace *work,
                             Py_ssize_t n) noexcept nogil:
    """Find the lists that n queries always probe."""
    cdef Py_ssize_t q
    for q in range(n):
        fh_candidates_start(&work.probed[q], plan.rule.least, <int32_t>(8 * plan.n_bytes) + 1,
                            work.probed_keys + q * plan.rule.most)
    scan_centres(plan, work, n)
    for q in range(n):
        fh_candidates_sort(&work.probed[q], work.scratch)
        work.nearest[q] = <int32_t>(work.probed[q].keys[0] >> 32)
        work.last[q] = work.probed[q].keys[plan.rule.least - 1]


cdef void choose_other_lists(const PartitionPlan *plan, Workspace *work,
                             Py_ssize_t n) noexcept nogil:
    """Find the lists that n queries probe after the first ones."""
    cdef const Rule *rule = &plan.rule
    cdef fh_candidates *probed
    cdef Py_ssize_t q
    cdef int64_t far, i, n_others
    for q in range(n):
        far = rule.reach[fh_candidates_farthest(&work.candidates[q])]
        if rule.from_nearest:
            far = far + work.nearest[q]
        far = min(far, <int64_t>(8 * plan.n_bytes))
        # Without a scan if no other list can be so near.
        if far < <int64_t>(work.last[q] >> 32):
            far = -1
        fh_candidates_start(&work.probed[q], rule.most, <int32_t>far + 1,
                            work.probed_keys + q * rule.most)
    scan_centres(plan, work, n)
    for q in range(n):
        probed = &work.probed[q]
        n_others = 0
        for i in range(probed.n):
            if probed.keys[i] > work.last[q]:
                probed.keys[n_others] = probed.keys[i]
                n_others = n_others + 1
        probed.n = n_others


cdef void scan_centres(const PartitionPlan *plan, Workspace *work, Py_ssize_t n) noexcept nogil:
    """Compare n queries with all centres, tile by tile, so that a tile stays in the cache."""
    cdef Py_ssize_t first = 0, q
    cdef int32_t n_here
    while first < plan.n_lists:
        n_here = <int32_t>min(<Py_ssize_t>plan.tile, plan.n_lists - first)
        for q in range(n):
            if work.probed[q].bound > 0:
                scan_codes(plan, work, &work.probed[q], work.words + q * plan.n_words,
                           <const uint8_t *>(plan.centres + first * plan.n_words),
                           plan.numbers + first, NULL, n_here, False)
        first = first + n_here


cdef void probe(const PartitionPlan *plan, Workspace *work, Py_ssize_t n) noexcept nogil:
    """Compare n queries with the lists that have been chosen for them."""
    cdef Py_ssize_t n_lists = plan.n_lists, q, i, list, next
    cdef int32_t start, end
    cdef fh_candidates *probed
    if n <= ALONE_QUERIES:
        for q in range(n):
            probe_alone(plan, work, q)
        return
    # A counting sort of the pairs (list, query) by list.
    memset(work.places, 0, (n_lists + 1) * sizeof(int32_t))
    for q in range(n):
        probed = &work.probed[q]
        for i in range(probed.n):
            work.places[<uint32_t>probed.keys[i] + 1] += 1
    for list in range(n_lists):
        work.places[list + 1] += work.places[list]
    for q in range(n):
        probed = &work.probed[q]
        for i in range(probed.n):
            list = <uint32_t>probed.keys[i]
            work.pairs[work.places[list]] = <int32_t>q
            work.places[list] += 1
    # Now the place of a list is its end, which is the start of the next one.
    start, list = 0, next_list(work, 0, 0, n_lists)
    while list < n_lists:
        end = work.places[list]
        next = next_list(work, list + 1, end, n_lists)
        if next < n_lists:
            fetch_list(plan, next)
        scan_list(plan, work, list, work.pairs + start, end - start)
        start, list = end, next


cdef void probe_alone(const PartitionPlan *plan, Workspace *work, Py_ssize_t q) noexcept nogil:
    """Compare one query with its lists."""
    cdef const fh_candidates *probed = &work.probed[q]
    cdef int32_t number = <int32_t>q
    cdef int64_t i
    for i in range(probed.n):
        if i + 1 < probed.n:
            fetch_list(plan, <uint32_t>probed.keys[i + 1])
        scan_list(plan, work, <uint32_t>probed.keys[i], &number, 1)


cdef inline Py_ssize_t next_list(const Workspace *work, Py_ssize_t list, int32_t start,
                                 Py_ssize_t n_lists) noexcept nogil:
    """The first list, from this one on, that queries probe; their places begin at `start`."""
    while list < n_lists and work.places[list] == start:
        list = list + 1
    return list


cdef inline void fetch_list(const PartitionPlan *plan, Py_ssize_t list) noexcept nogil:
    cdef Py_ssize_t start = plan.starts[list], n = plan.starts[list + 1] - start
    if plan.in_order:
        fh_fetch(plan.codes + start * plan.n_bytes, n * plan.n_bytes, plan.rows + start, n)
    else:
        fh_fetch_rows(plan.codes, plan.rows + start, n, plan.n_bytes)


cdef void scan_list(const PartitionPlan *plan, Workspace *work, Py_ssize_t list,
                    const int32_t *queries, int32_t n_queries) noexcept nogil:
    """Compare queries with all codes of a list."""
    cdef const uint32_t *rows = plan.rows + plan.starts[list]
    cdef const uint8_t *codes = plan.codes + plan.starts[list] * plan.n_bytes
    cdef int64_t n_left = plan.starts[list + 1] - plan.starts[list]
    cdef Py_ssize_t n_bytes = plan.n_bytes, q
    cdef bint by_rows = (n_queries <= ROW_QUERIES and n_bytes > 8
                         and n_bytes % active_level().row_bytes == 0)
    cdef int32_t n, i
    while n_left > 0:
        n = <int32_t>min(<int64_t>plan.tile, n_left)
        if not plan.in_order:
            fh_gather(plan.codes, rows, n, <int32_t>min(n_left, <int64_t>2 * plan.tile), n_bytes,
                      work.gathered)
            codes = work.gathered
        if not by_rows and n_bytes != 8:
            active_level().prepare(codes, n, n_bytes, work.laid_out)
        for i in range(n_queries):
            q = queries[i]
            scan_codes(plan, work, &work.candidates[q], work.words + q * plan.n_words,
                       codes if by_rows or n_bytes == 8 else <const uint8_t *>work.laid_out,
                       rows, plan.allowed, n, by_rows)
        rows = rows + n
        codes = codes + n * n_bytes
        n_left = n_left - n


cdef void scan_codes(const PartitionPlan *plan, Workspace *work, fh_candidates *candidates,
                     const uint64_t *query, const uint8_t *codes, const uint32_t *rows,
                     const uint8_t *allowed, int32_t n, bint by_rows) noexcept nogil:
    """Compare one query with n codes, which are rows or laid out; blocks are short at first."""
    cdef Py_ssize_t bytes_of_code = plan.n_bytes if by_rows else 8 * plan.n_words
    cdef const uint8_t *some
    cdef int32_t block = 0, n_block, n_hits
    while block < n:
        n_block = next_block(candidates.n_seen, n - block)
        some = codes + block * bytes_of_code
        if by_rows:
            n_hits = active_level().scan_rows(query, some, n_block, plan.n_bytes, candidates.bound,
                                              work.hit_positions, work.hit_distances)
        else:
            n_hits = active_level().scan(query, <const uint64_t *>some, n_block, plan.n_words,
                                         candidates.bound, work.hit_positions,
                                         work.hit_distances)
        if n_hits > 0:
            fh_candidates_append(candidates, rows + block, allowed, n_hits, work.hit_positions,
                                 work.hit_distances)
        candidates.n_seen += n_block
        block = block + n_block


cdef class Lists:
    """Codes in lists: ``rows[starts[i]:starts[i + 1]]`` are the rows of list i, ascending.

    No list is empty. If `in_order`, row i of ``codes`` is the code of row ``rows[i]``; otherwise
    it is that of row i. The arrays are kept, and must not change.
    """

    cdef const uint8_t[:, ::1] codes, centres
    cdef const int64_t[::1] starts
    cdef const uint32_t[::1] rows, numbers
    cdef uint64_t[::1] memory
    cdef const uint64_t *laid_out
    cdef const fh_level *level
    cdef bint in_order

    def __cinit__(self, const uint8_t[:, ::1] codes, const uint8_t[:, ::1] centres,
                  const int64_t[::1] starts, const uint32_t[::1] rows, bint in_order):
        cdef Py_ssize_t n = centres.shape[0], n_words = (centres.shape[1] + 7) // 8
        self.codes, self.centres, self.starts, self.rows = codes, centres, starts, rows
        self.in_order = in_order
        self.numbers = np.arange(n, dtype=np.uint32)
        # A tile begins at a multiple of 64 bytes.
        self.memory = np.empty((n + FH_LANES_MAX) * n_words + 8, np.uint64)
        self.lay_out()

    cdef void lay_out(self) noexcept:
        """Lay the centres out for the level in use; no other level can scan them."""
        cdef Py_ssize_t n = self.centres.shape[0], n_bytes = self.centres.shape[1]
        cdef uint64_t *tile = <uint64_t *>make_arena(&self.memory[0]).memory
        self.level = active_level()
        self.level.prepare(&self.centres[0, 0], <int32_t>n, n_bytes, tile)
        self.laid_out = tile

    def search(self, const uint8_t[:, ::1] queries, int32_t[:, ::1] out_distances,
               int64_t[:, ::1] out_rows, int64_t[::1] out_compared, const uint8_t[::1] allowed,
               int64_t k, int32_t least, int32_t most, bint from_nearest,
               const int32_t[::1] reach, int32_t bound, int n_threads):
        """Find the k nearest codes in the lists that each query probes, by (distance, row).

        ``allowed`` has a flag for every row, None for all. Missing answers are -1. out_compared[q]
        is the number of codes with which query q was compared; out_compared may be None. At least
        one query, and 1 <= least <= most <= number of lists; `Rule` explains the other arguments.
        Returns the number of queries that have fewer than k answers.
        """
        cdef PartitionPlan plan
        cdef Py_ssize_t block, n_blocks, first
        cdef int64_t *compared = &out_compared[0] if out_compared is not None else NULL
        cdef uint8_t *memory
        plan.codes, plan.n_bytes = &self.codes[0, 0], self.codes.shape[1]
        plan.in_order = self.in_order
        plan.n_words = <int32_t>((plan.n_bytes + 7) // 8)
        plan.allowed = &allowed[0] if allowed is not None else NULL
        if self.level != active_level():
            self.lay_out()
        plan.centres, plan.n_lists = self.laid_out, self.centres.shape[0]
        # Of all codes, because there may be few centres.
        plan.tile = make_database(plan.codes, self.codes.shape[0], plan.n_bytes,
                                  queries.shape[0]).tile
        plan.starts, plan.rows, plan.numbers = &self.starts[0], &self.rows[0], &self.numbers[0]
        plan.k = k
        plan.rule.least, plan.rule.most, plan.rule.from_nearest = least, most, from_nearest
        plan.rule.reach, plan.rule.bound = &reach[0], bound
        plan.n_queries = queries.shape[0]
        plan_partitions(&plan, n_threads)
        memory = <uint8_t *>malloc(plan.memory_bytes)
        if memory == NULL:
            raise MemoryError
        plan.slots = make_arena(memory).memory
        n_blocks = (plan.n_queries + plan.n_block - 1) // plan.n_block
        if n_blocks == 1:
            # Without OpenMP, because it takes longer than a search in few lists.
            with nogil:
                answer_block(&plan, 0, &queries[0, 0], plan.n_queries, &out_distances[0, 0],
                             &out_rows[0, 0], compared)
        else:
            for block in prange(n_blocks, nogil=True, schedule="dynamic",
                                num_threads=plan.n_threads):
                first = block * plan.n_block
                answer_block(&plan, threadid(), &queries[first, 0],
                             min(plan.n_block, plan.n_queries - first), &out_distances[first, 0],
                             &out_rows[first, 0],
                             NULL if compared == NULL else compared + first)
        free(memory)
        cdef Py_ssize_t n_short = 0
        for first in range(plan.n_queries):
            n_short += out_rows[first, k - 1] < 0
        return n_short


def find_majority(const uint8_t[:, ::1] codes, const int64_t[::1] starts,
                  const uint32_t[::1] rows, const uint8_t[:, ::1] before, uint8_t[:, ::1] out,
                  int n_threads):
    """Write the majority of the bits of each list; where both are equally frequent, as before."""
    cdef Py_ssize_t n_lists = before.shape[0], n_bytes = codes.shape[1], list
    cdef int64_t[:, ::1] counts
    n_threads = threads_for(n_threads, n_lists, <double>rows.shape[0] * n_bytes)
    counts = np.empty((n_threads, 8 * n_bytes), np.int64)
    for list in prange(n_lists, nogil=True, schedule="dynamic", num_threads=n_threads):
        fh_majority(&codes[0, 0], &rows[0] + starts[list], starts[list + 1] - starts[list],
                    n_bytes, &before[list, 0], &counts[threadid(), 0], &out[list, 0])
