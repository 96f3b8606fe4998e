"""The answers to a block of queries in the lists of a partition; partitions.pyx says how.

Queries of a block that probe the same list are compared with it together.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from fasthash._kernels.selection cimport next_block
from fasthash._kernels.tiles cimport (
    FH_LONG_BLOCK,
    FH_SHORT_BLOCK,
    Arena,
    active_level,
    carve,
    make_arena,
    threads_for,
    write_words,
)

cdef extern from "partitions.h" nogil:
    ctypedef struct fh_candidates:
        int64_t k
        int64_t n
        int64_t n_seen
        int32_t bound
        uint64_t *keys
    void fh_candidates_start(fh_candidates *c, int64_t k, int32_t bound, uint64_t *keys)
    void fh_candidates_append(fh_candidates *c, const uint32_t *rows, const uint8_t *allowed,
                              int32_t n, const int32_t *positions, const int32_t *distances)
    void fh_candidates_sort(fh_candidates *c, uint64_t *scratch)
    void fh_candidates_order_by_row(fh_candidates *c, int64_t n_rows, uint64_t *bits)
    void fh_candidates_finish(fh_candidates *c, uint64_t *scratch, int32_t *distances,
                              int64_t *rows)
    int32_t fh_kth_smallest(const int32_t *values, int64_t n, int64_t k, int32_t most)
    void fh_fetch(const uint8_t *codes, Py_ssize_t n_bytes)
    void fh_fetch_numbers(const uint32_t *rows, int64_t n)
    void fh_fetch_rows(const uint8_t *codes, const uint32_t *rows, int64_t n, Py_ssize_t n_bytes)
    void fh_gather(const uint8_t *codes, const uint32_t *rows, int32_t n, int32_t n_listed,
                   Py_ssize_t n_bytes, uint8_t *out)

cdef extern from "weights.h" nogil:
    int32_t fh_weighted_max(const int16_t *weights, int32_t n_bytes)
    void fh_weighted_tables(const int16_t *weights, int32_t n_bytes, uint8_t *tables)

cdef enum:
    # Largest number of queries of a block, and largest size of the memory of a thread.
    BLOCK_QUERIES = 4096
    SLOT_BYTES = 1 << 26
    # A block of at most this many queries probes its lists one query after the other.
    ALONE_QUERIES = 4
    # With at most this many queries, a list is scanned as rows, without a layout.
    ROW_QUERIES = 2
    # Bytes of the tables of a byte of a code, for a query with weights.
    TABLE_BYTES = 32
    # Bytes that are fetched of a stretch; the processor fetches the rest by itself.
    FETCHED_BYTES = 1 << 15
    # Rules have shares of the largest distance of such a query, in units of this.
    WEIGHT_UNIT_BITS = 16

# Codes that lie one after the other.
cdef struct Stretch:
    Py_ssize_t start, n

# The memory of one block.
cdef struct Workspace:
    uint64_t *words           # queries in whole words, or their tables
    uint8_t *tables
    int32_t *largest          # the largest distance of each query
    fh_candidates *candidates
    uint64_t *keys
    fh_candidates *probed     # lists of each query; a key has the distance and number of a centre
    uint64_t *probed_keys
    int32_t *minima           # the smallest distance of each block of centres
    int32_t *nearest          # distance of the nearest centre
    uint64_t *last            # key of the farthest one of the first lists
    uint64_t *scratch
    int32_t *places           # of each list in `pairs`
    int32_t *pairs            # queries, sorted by the list that they probe
    int32_t *hit_positions
    int32_t *hit_distances
    uint8_t *gathered
    uint8_t *laid_out


cdef Workspace carve_workspace(const PartitionPlan *plan, Arena *arena) noexcept nogil:
    cdef Workspace work
    cdef Py_ssize_t n = plan.n_block, most = plan.rule.most, n_codes = plan.tile + PADDED_LANES
    cdef Py_ssize_t candidates_bytes = n * <Py_ssize_t>sizeof(fh_candidates)
    work.words = <uint64_t *>carve(arena, n * query_bytes(plan))
    work.tables = <uint8_t *>work.words
    work.largest = <int32_t *>carve(arena, 4 * n)
    work.candidates = <fh_candidates *>carve(arena, candidates_bytes)
    work.keys = <uint64_t *>carve(arena, 8 * n * plan.k)
    work.probed = <fh_candidates *>carve(arena, candidates_bytes)
    work.probed_keys = <uint64_t *>carve(arena, 8 * n * most)
    work.minima = <int32_t *>carve(arena, 4 * n * n_blocks_of(plan))
    work.nearest = <int32_t *>carve(arena, 4 * n)
    work.last = <uint64_t *>carve(arena, 8 * n)
    work.scratch = <uint64_t *>carve(arena, 8 * max(<Py_ssize_t>plan.k, most))
    work.places = <int32_t *>carve(arena, 4 * (plan.n_lists + 1))
    work.pairs = <int32_t *>carve(arena, 4 * n * most)
    work.hit_positions = <int32_t *>carve(arena, 4 * n_codes)
    work.hit_distances = <int32_t *>carve(arena, 4 * n_codes)
    work.gathered = <uint8_t *>carve(arena, n_codes * plan.n_bytes)
    work.laid_out = <uint8_t *>carve(arena, n_codes * plan.laid_out_bytes)
    return work


cdef inline Py_ssize_t n_blocks_of(const PartitionPlan *plan) noexcept nogil:
    """The number of blocks of centres."""
    return (plan.n_lists + FH_LONG_BLOCK - 1) // FH_LONG_BLOCK


cdef inline Py_ssize_t query_bytes(const PartitionPlan *plan) noexcept nogil:
    """The bytes of the words or tables of a query."""
    return TABLE_BYTES * plan.n_bytes if plan.has_weights else 8 * plan.n_words


cdef void plan_partitions(PartitionPlan *plan, int n_threads) noexcept nogil:
    """Choose blocks and threads, and compute the memory; all other sizes are set."""
    cdef Arena slot
    cdef Py_ssize_t n_mean = plan.starts[plan.n_lists] // plan.n_lists
    cdef double n_words = <double>plan.n_queries * plan.n_words
    cdef Py_ssize_t per_query = (8 * plan.k + 12 * plan.rule.most
                                 + 4 * n_blocks_of(plan) + query_bytes(plan) + 128)
    n_words = n_words * (plan.n_lists + n_mean * plan.rule.least)
    plan.n_threads = threads_for(n_threads, plan.n_queries, n_words)
    plan.n_block = (plan.n_queries + plan.n_threads - 1) // plan.n_threads
    plan.n_block = min(plan.n_block, <Py_ssize_t>BLOCK_QUERIES,
                       max(<Py_ssize_t>1, SLOT_BYTES // per_query))
    slot = make_arena(NULL)
    carve_workspace(plan, &slot)
    plan.slot_bytes = slot.used
    plan.memory_bytes = plan.n_threads * plan.slot_bytes + 64


cdef void answer_block(const PartitionPlan *plan, Py_ssize_t slot, const void *queries,
                       Py_ssize_t n, int32_t *out_distances, int64_t *out_rows,
                       int64_t *out_compared) noexcept nogil:
    cdef Arena arena = make_arena(plan.slots + slot * plan.slot_bytes)
    cdef Workspace work = carve_workspace(plan, &arena)
    cdef Py_ssize_t q
    start_queries(plan, queries, n, &work)
    choose_first_lists(plan, &work, n)
    for q in range(n):
        fh_candidates_start(&work.candidates[q], plan.k, first_bound(plan, work.largest[q]),
                            work.keys + q * plan.k)
    probe(plan, &work, n)
    for q in range(n):
        if (work.candidates[q].n < plan.k
                and first_bound(plan, work.largest[q]) <= work.largest[q]):
            # The bound was too small: search again without it.
            fh_candidates_start(&work.candidates[q], plan.k, work.largest[q] + 1,
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


cdef void start_queries(const PartitionPlan *plan, const void *queries, Py_ssize_t n,
                        const Workspace *work) noexcept nogil:
    """Write the words or the tables of n queries, and their largest distances."""
    cdef int32_t n_bytes = <int32_t>plan.n_bytes
    cdef const int16_t *weights = <const int16_t *>queries
    cdef Py_ssize_t q
    if not plan.has_weights:
        write_words(<const uint8_t *>queries, n, plan.n_bytes, work.words)
    for q in range(n):
        work.largest[q] = 8 * n_bytes
        if plan.has_weights:
            work.largest[q] = fh_weighted_max(weights + 8 * q * n_bytes, n_bytes)
            fh_weighted_tables(weights + 8 * q * n_bytes, n_bytes,
                               work.tables + q * TABLE_BYTES * n_bytes)


cdef inline int64_t scaled(const PartitionPlan *plan, int32_t largest,
                           int64_t value) noexcept nogil:
    """A number of the rule as a distance of a query."""
    return value * largest >> WEIGHT_UNIT_BITS if plan.has_weights else value


cdef inline int32_t first_bound(const PartitionPlan *plan, int32_t largest) noexcept nogil:
    cdef int64_t bound = scaled(plan, largest, <int64_t>plan.rule.bound - 1) + 1
    return <int32_t>min(max(bound, <int64_t>0), <int64_t>largest + 1)


cdef void choose_first_lists(const PartitionPlan *plan, Workspace *work,
                             Py_ssize_t n) noexcept nogil:
    """Find the lists that n queries always probe."""
    cdef Py_ssize_t q, n_blocks = n_blocks_of(plan)
    cdef int32_t bound
    measure_centres(plan, work, n)
    for q in range(n):
        bound = work.largest[q] + 1
        if plan.rule.least <= n_blocks and not plan.has_weights:
            bound = 1 + fh_kth_smallest(work.minima + q * n_blocks, n_blocks, plan.rule.least,
                                        work.largest[q])
        fh_candidates_start(&work.probed[q], plan.rule.least, bound,
                            work.probed_keys + q * plan.rule.most)
        scan_centres(plan, work, q)
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
    cdef bint is_heap
    for q in range(n):
        far = work.largest[q]
        if work.candidates[q].n == plan.k:
            far = scaled(plan, work.largest[q], rule.threshold)
            far = (far + <int64_t>rule.slope * (work.candidates[q].bound - 1)) >> 2
            if rule.from_nearest:
                far = far + work.nearest[q]
            far = min(far, <int64_t>work.largest[q])
        # Without a scan if no other list can be so near.
        if far < <int64_t>(work.last[q] >> 32):
            far = -1
        probed = &work.probed[q]
        fh_candidates_start(probed, rule.most, <int32_t>far + 1, work.probed_keys + q * rule.most)
        scan_centres(plan, work, q)
        n_others = 0
        for i in range(probed.n):
            if probed.keys[i] > work.last[q]:
                probed.keys[n_others] = probed.keys[i]
                n_others = n_others + 1
        is_heap = probed.n == probed.k
        probed.n = n_others
        if is_heap and n <= ALONE_QUERIES:
            # Centres were scanned in order, and lists that follow each other are scanned at once.
            fh_candidates_order_by_row(probed, plan.n_lists, <uint64_t *>work.places)


cdef void measure_centres(const PartitionPlan *plan, Workspace *work, Py_ssize_t n) noexcept nogil:
    """Write the smallest distances of n queries to the centres of each block.

    Tile by tile, so that a tile stays in the cache; a tile has whole blocks, as TILE_STEP is
    FH_LONG_BLOCK. Weighted distances have no minima; 0 lets `scan_centres` compare every block.
    """
    cdef Py_ssize_t first = 0, q, n_blocks = n_blocks_of(plan)
    cdef int32_t n_here
    if plan.has_weights:
        memset(work.minima, 0, 4 * n * n_blocks)
        return
    while first < plan.n_lists:
        n_here = <int32_t>min(<Py_ssize_t>plan.tile, plan.n_lists - first)
        for q in range(n):
            active_level().minima(work.words + q * plan.n_words,
                                  <const uint64_t *>(plan.centres + first * plan.laid_out_bytes),
                                  n_here, plan.n_words, FH_LONG_BLOCK,
                                  work.minima + q * n_blocks + first // FH_LONG_BLOCK)
        first = first + n_here


cdef void scan_centres(const PartitionPlan *plan, Workspace *work, Py_ssize_t q) noexcept nogil:
    """Compare query q with the centres of the blocks that have one within its bound."""
    cdef Py_ssize_t n_blocks = n_blocks_of(plan), block, first
    cdef const int32_t *minima = work.minima + q * n_blocks
    for block in range(n_blocks):
        if minima[block] < work.probed[q].bound:
            first = block * FH_LONG_BLOCK
            scan_codes(plan, work, &work.probed[q], q, plan.centres + first * plan.laid_out_bytes,
                       plan.numbers + first, NULL,
                       <int32_t>min(<Py_ssize_t>FH_LONG_BLOCK, plan.n_lists - first), False)


cdef void probe(const PartitionPlan *plan, Workspace *work, Py_ssize_t n) noexcept nogil:
    """Compare n queries with the lists that have been chosen for them."""
    cdef Py_ssize_t n_lists = plan.n_lists, q, i, list, next, n_next
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
            n_next = plan.starts[next + 1] - plan.starts[next]
            fetch(plan, plan.starts[next], n_next)
            fh_fetch_numbers(plan.rows + plan.starts[next], n_next)
        scan_stretch(plan, work, plan.starts[list], plan.starts[list + 1] - plan.starts[list],
                     work.pairs + start, end - start)
        start, list = end, next


cdef void probe_alone(const PartitionPlan *plan, Workspace *work, Py_ssize_t q) noexcept nogil:
    """Compare one query with its lists; those that lie one after the other are scanned at once.

    Rows are not fetched: few codes are among the nearest, and the rows of codes of 256 bits take an
    eighth of their memory.
    """
    cdef const fh_candidates *probed = &work.probed[q]
    cdef int32_t number = <int32_t>q
    cdef int64_t i = 0
    cdef Stretch here = next_stretch(plan, probed, &i), next
    while here.n > 0:
        next = next_stretch(plan, probed, &i)
        fetch(plan, next.start, min(next.n, FETCHED_BYTES // plan.n_bytes))
        scan_stretch(plan, work, here.start, here.n, &number, 1)
        here = next


cdef inline Stretch next_stretch(const PartitionPlan *plan, const fh_candidates *probed,
                                 int64_t *i) noexcept nogil:
    """The codes of list i of a query, and of the next ones as far as they follow; 0 at the end."""
    cdef Stretch stretch
    cdef Py_ssize_t list
    stretch.start = stretch.n = 0
    if i[0] < probed.n:
        list = <uint32_t>probed.keys[i[0]]
        stretch.start = plan.starts[list]
        while i[0] < probed.n and <uint32_t>probed.keys[i[0]] == list:
            list = list + 1
            i[0] += 1
        stretch.n = plan.starts[list] - stretch.start
    return stretch


cdef inline Py_ssize_t next_list(const Workspace *work, Py_ssize_t list, int32_t start,
                                 Py_ssize_t n_lists) noexcept nogil:
    """The first list, from this one on, that queries probe; their places begin at `start`."""
    while list < n_lists and work.places[list] == start:
        list = list + 1
    return list


cdef inline void fetch(const PartitionPlan *plan, Py_ssize_t start, Py_ssize_t n) noexcept nogil:
    """Fetch n codes that are scanned soon."""
    if plan.in_order:
        fh_fetch(plan.codes + start * plan.n_bytes, n * plan.n_bytes)
    else:
        fh_fetch_rows(plan.codes, plan.rows + start, n, plan.n_bytes)


cdef void scan_stretch(const PartitionPlan *plan, Workspace *work, Py_ssize_t start,
                       int64_t n_left, const int32_t *queries, int32_t n_queries) noexcept nogil:
    """Compare queries with n_left codes of one list, or of lists that lie one after the other."""
    cdef const uint32_t *rows = plan.rows + start
    cdef const uint8_t *codes = plan.codes + start * plan.n_bytes
    cdef Py_ssize_t n_bytes = plan.n_bytes
    cdef bint by_rows = (not plan.has_weights and n_queries <= ROW_QUERIES and n_bytes > 8
                         and n_bytes % active_level().row_bytes == 0)
    cdef const uint8_t *laid_out
    cdef int32_t n, i
    while n_left > 0:
        n = <int32_t>min(<int64_t>plan.tile, n_left)
        if not plan.in_order:
            fh_gather(plan.codes, rows, n, <int32_t>min(n_left, <int64_t>2 * plan.tile), n_bytes,
                      work.gathered)
            codes = work.gathered
        laid_out = codes if by_rows else lay_out_codes(plan, codes, n, work.laid_out)
        for i in range(n_queries):
            if not by_rows:
                bound_by_blocks(plan, work, queries[i], laid_out, n)
            scan_codes(plan, work, &work.candidates[queries[i]], queries[i], laid_out, rows,
                       plan.allowed, n, by_rows)
        rows = rows + n
        codes = codes + n * n_bytes
        n_left = n_left - n


cdef void bound_by_blocks(const PartitionPlan *plan, Workspace *work, Py_ssize_t q,
                          const uint8_t *laid_out, int32_t n) noexcept nogil:
    """Lower the bound of a query without candidates by the nearest codes of short blocks.

    Each block has a code as near as its minimum, so the k nearest of n codes are within the k-th of
    the minima. Without this, the first list appends several times as many codes as it keeps.
    """
    cdef fh_candidates *candidates = &work.candidates[q]
    cdef int32_t n_blocks = n // FH_SHORT_BLOCK
    if candidates.n > 0 or n_blocks < plan.k or plan.has_weights or plan.allowed != NULL:
        return
    active_level().minima(work.words + q * plan.n_words, <const uint64_t *>laid_out,
                          n_blocks * FH_SHORT_BLOCK, plan.n_words, FH_SHORT_BLOCK,
                          work.hit_distances)
    candidates.bound = min(candidates.bound, 1 + fh_kth_smallest(
        work.hit_distances, n_blocks, plan.k, 8 * <int32_t>plan.n_bytes))


cdef const uint8_t *lay_out_codes(const PartitionPlan *plan, const uint8_t *codes, int32_t n,
                                  uint8_t *memory) noexcept nogil:
    """Lay n codes out for a scan, unless it reads them as they lie."""
    if plan.has_weights:
        if active_level().weights.prepare == NULL:
            return codes
        active_level().weights.prepare(codes, n, <int32_t>plan.n_bytes, memory)
        return memory
    if plan.n_bytes == 8:
        return codes
    active_level().prepare(codes, n, plan.n_bytes, <uint64_t *>memory)
    return memory


cdef void scan_codes(const PartitionPlan *plan, Workspace *work, fh_candidates *candidates,
                     Py_ssize_t q, const uint8_t *codes, const uint32_t *rows,
                     const uint8_t *allowed, int32_t n, bint by_rows) noexcept nogil:
    """Compare query q with n codes, which are rows or laid out; blocks are short at first."""
    cdef Py_ssize_t bytes_of_code = plan.n_bytes if by_rows else plan.laid_out_bytes
    cdef const uint64_t *query = work.words + q * plan.n_words
    cdef const uint8_t *some
    cdef int32_t block = 0, n_block, n_hits
    while block < n:
        n_block = next_block(candidates.n_seen, n - block)
        some = codes + block * bytes_of_code
        if plan.has_weights:
            n_hits = active_level().weights.scan(
                work.tables + q * TABLE_BYTES * plan.n_bytes, some, n_block,
                <int32_t>plan.n_bytes, candidates.bound, work.hit_positions, work.hit_distances)
        elif by_rows:
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
