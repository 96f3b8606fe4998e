"""Top-k search with a weight for each bit. The order is always (distance, position).

The distance is the sum of the weights of the bits in which a code differs from the query, an
integer. So selection.h keeps the k nearest, as in search.pyx. A query becomes tables, from which
simd/ adds up distances; simd.h explains them. tasks.pyx explains the words task, part, slot, round
and step. Call `WeightedTopk.advance` until it returns 0; between two calls the caller can handle an
interrupt.
"""

from cython.parallel cimport prange
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t

from fasthash._kernels.estimates cimport (
    EstimateScan,
    carve_estimate_scan,
    estimate_bytes,
    estimate_codes,
    estimates_for,
    find_near,
    lay_out_estimates,
    start_estimates,
)
from fasthash._kernels.sampling cimport (
    SELECTIVE,
    choose_sample,
    keep_sampled,
    sample_size,
    wanted_in_sample,
)
from fasthash._kernels.selection cimport (
    fh_selection,
    fh_selection_append,
    fh_selection_bound,
    fh_selection_count,
    fh_selection_finish,
    fh_selection_is_short,
    fh_selection_start,
    fh_selection_start_below,
    next_block,
)
from fasthash._kernels.tasks cimport (
    count_parts,
    keep_allowed,
    part_rows,
    part_start,
    queries_per_task,
    rows_of_step,
    searched,
)
from fasthash._kernels.tiles cimport (
    FH_WEIGHTED_LANES_MAX,
    TILE_STEP,
    Arena,
    Database,
    active_level,
    carve,
    cut_into_tiles,
    fh_estimated,
    fh_weights,
    make_arena,
    threads_for,
    words_compared,
)

import numpy as np

cdef extern from "gather.h" nogil:
    void fh_gather_codes(const uint8_t *codes, const int64_t *rows, int32_t n, Py_ssize_t n_bytes,
                         Py_ssize_t stride, uint8_t *out)

cdef extern from "weights.h" nogil:
    int fh_round_weights(const double *weights, int64_t n_bits, int64_t n_bytes, int16_t *rounded,
                         double *largest, double *step)
    int32_t fh_weighted_max(const int16_t *weights, int32_t n_bytes)
    void fh_weighted_tables(const int16_t *weights, int32_t n_bytes, uint8_t *tables)
    int32_t fh_list_near(const fh_estimated *query, const uint8_t *tables, const uint8_t *codes,
                         int32_t n, int32_t n_bytes, int32_t bound, int32_t *positions,
                         int32_t *distances)

cdef extern from *:
    const Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    # Bytes of a tile as it is laid out; it stays in the first-level cache.
    TILE_BYTES = 1 << 15
    # With at most this many queries, small tiles keep the memory busy while the queries scan.
    FEW_QUERIES = 4
    FEW_TILE_BYTES = 1 << 13
    # The weights of a byte add up to at most this.
    BYTE_SUM_MAX = 255
    # Bytes of the tables of a byte: two tables of 16 entries.
    TABLE_BYTES = 32
    # Largest size of the selections of a thread, in bytes; with a large k or long codes, a task has
    # fewer queries.
    TASK_BYTES = 48 << 20
    # Before estimates are used, so many codes are scanned without them, to lower the bounds.
    FIRST_CODES = 1024
    FIRST_CODES_PER_K = 64
    # If estimates find codes more often than once in so many, distances are computed at once.
    FOUND_CODES = 128

# Memory of one task in addition to its selections.
cdef struct Workspace:
    int64_t *kept_positions
    int32_t *kept_distances
    int64_t *counts
    int32_t *hit_positions
    int32_t *hit_distances
    int64_t *sample
    uint8_t *tables
    uint8_t *tile
    uint8_t *gathered
    EstimateScan estimates


cdef WeightedPlan plan_weighted(const Database *database, const int16_t *weights,
                                Py_ssize_t n_queries, int64_t k, int n_threads) noexcept nogil:
    """Plan a search for at least one query, with 1 <= k <= number of allowed rows."""
    cdef WeightedPlan plan
    # PY_SSIZE_T_MAX tasks, because the number of tasks follows from the number of threads.
    n_threads = threads_for(n_threads, PY_SSIZE_T_MAX, words_compared(database, n_queries))
    plan.database = database[0]
    cut_into_tiles(&plan.database, (FEW_TILE_BYTES if n_queries <= FEW_QUERIES else TILE_BYTES)
                   // active_level().weights.spread)
    database = &plan.database
    plan.weights = weights
    plan.n_queries = n_queries
    plan.k = k
    plan.n_parts = count_parts(database, n_queries, n_threads)
    plan.n_sample = sample_size(database, n_queries, plan.n_parts, k)
    plan.estimates = NULL
    if k <= database.n // SELECTIVE:
        plan.estimates = estimates_for(database, 1 if plan.n_parts > 1 else
                                       queries_per_task(n_queries, n_threads))
    plan.capacity = min(<int64_t>database.n, 2 * k) + block_codes(&plan)
    cdef Py_ssize_t per_query = (12 * plan.capacity + 8 * n_counts(database)
                                 + TABLE_BYTES * database.n_bytes)
    if plan.estimates != NULL:
        per_query += estimate_bytes(plan.estimates, database)
    plan.n_task = 1
    if plan.n_parts == 1:
        plan.n_task = max(<Py_ssize_t>1, min(queries_per_task(n_queries, n_threads),
                                             TASK_BYTES // per_query))
    plan.n_threads = <int>min(<Py_ssize_t>n_threads, max(n_tasks(&plan), plan.n_parts))
    plan.n_slots = plan.n_threads if plan.n_parts == 1 else plan.n_parts
    return plan


cdef void lay_out_weighted(WeightedPlan *plan, void *memory) noexcept nogil:
    """Divide the plan's memory among its buffers; with NULL, only compute its size."""
    cdef Arena arena = make_arena(memory)
    cdef Arena slot = make_arena(NULL)
    carve_workspace(plan, &slot)
    plan.slot_bytes = slot.used
    plan.selections = <fh_selection *>carve(
        &arena, plan.n_slots * plan.n_task * <Py_ssize_t>sizeof(fh_selection))
    plan.slots = <uint8_t *>carve(&arena, plan.n_slots * plan.slot_bytes)
    plan.memory_bytes = arena.used


cdef int32_t block_codes(const WeightedPlan *plan) noexcept nogil:
    """The largest number of codes that are scanned at once."""
    if plan.estimates == NULL:
        return plan.database.tile
    return max(plan.database.tile, estimate_codes(plan.estimates, &plan.database))


cdef Workspace carve_workspace(const WeightedPlan *plan, Arena *arena) noexcept nogil:
    cdef Workspace work
    cdef const Database *database = &plan.database
    cdef Py_ssize_t n_kept = plan.n_task * plan.capacity
    cdef const fh_weights *weights = active_level().weights
    cdef Py_ssize_t tile_bytes = (database.tile + FH_WEIGHTED_LANES_MAX) * database.n_bytes
    cdef Py_ssize_t n_block = block_codes(plan)
    work.kept_positions = <int64_t *>carve(arena, 8 * n_kept)
    work.kept_distances = <int32_t *>carve(arena, 4 * n_kept)
    work.counts = <int64_t *>carve(arena, 8 * plan.n_task * n_counts(database))
    work.hit_positions = <int32_t *>carve(arena, 4 * n_block)
    work.hit_distances = <int32_t *>carve(arena, 4 * n_block)
    work.sample = <int64_t *>carve(arena, 8 * plan.n_sample)
    work.tables = <uint8_t *>carve(arena, plan.n_task * TABLE_BYTES * database.n_bytes)
    work.tile = <uint8_t *>carve(arena, weights.spread * tile_bytes)
    work.gathered = <uint8_t *>carve(
        arena, n_block * database.n_bytes if database.rows != NULL or plan.n_sample > 0 else 0)
    work.estimates = carve_estimate_scan(plan.estimates, database, plan.n_task, arena)
    return work


cdef Py_ssize_t n_counts(const Database *database) noexcept nogil:
    """The number of different distances."""
    return BYTE_SUM_MAX * database.n_bytes + 1


cdef Py_ssize_t n_tasks(const WeightedPlan *plan) noexcept nogil:
    return (plan.n_queries + plan.n_task - 1) // plan.n_task


cdef Py_ssize_t n_weighted_rounds(const WeightedPlan *plan) noexcept nogil:
    """The number of rounds: a round is one task for each slot, or all parts for one query."""
    if plan.n_parts > 1:
        return plan.n_queries
    return (n_tasks(plan) + plan.n_slots - 1) // plan.n_slots


cdef void weighted_step(const WeightedPlan *plan, Py_ssize_t round, Py_ssize_t row,
                        Py_ssize_t n_rows, int32_t *out_distances,
                        int64_t *out_positions) noexcept nogil:
    """Compare n_rows rows, from `row` on, in every part of the round."""
    cdef const Database *database = &plan.database
    cdef Py_ssize_t n_parts = plan.n_parts, first = round * plan.n_slots, slot, n_here
    if n_parts == 1:
        n_here = min(plan.n_slots, n_tasks(plan) - first)
        for slot in prange(n_here, schedule="static", num_threads=plan.n_threads):
            answer_task(plan, slot, first + slot, row, n_rows, out_distances, out_positions)
        return
    for slot in prange(n_parts, schedule="static", num_threads=plan.n_threads):
        select_part(plan, slot, round, part_start(database, slot, n_parts),
                    part_start(database, slot + 1, n_parts), row, n_rows)
    if row + n_rows >= part_rows(database, n_parts):
        fh_selection_finish(plan.selections, n_parts, 1, out_distances + round * plan.k,
                            out_positions + round * plan.k)


cdef void answer_task(const WeightedPlan *plan, Py_ssize_t slot, Py_ssize_t task, Py_ssize_t row,
                      Py_ssize_t n_rows, int32_t *out_distances,
                      int64_t *out_positions) noexcept nogil:
    cdef Py_ssize_t first = task * plan.n_task, n = plan.database.n, q
    cdef Py_ssize_t n_queries = min(plan.n_task, plan.n_queries - first)
    cdef fh_selection *selection
    select(plan, slot, 0, first, n_queries, 0, row, min(n, row + n_rows), plan.n_sample > 0)
    if row + n_rows < n:
        return
    for q in range(n_queries):
        selection = plan.selections + slot * plan.n_task + q
        if plan.n_sample > 0 and fh_selection_is_short(selection):
            # The bound from the sample was too small: search again without it.
            select(plan, slot, q, first + q, 1, 0, 0, n, False)
        fh_selection_finish(selection, 1, 1, out_distances + (first + q) * plan.k,
                            out_positions + (first + q) * plan.k)


cdef void select_part(const WeightedPlan *plan, Py_ssize_t slot, Py_ssize_t query,
                      Py_ssize_t start, Py_ssize_t end, Py_ssize_t row,
                      Py_ssize_t n_rows) noexcept nogil:
    """Select for one query among n_rows codes of [start, end), from `row` of them on."""
    select(plan, slot, 0, query, 1, start, row, min(end - start, row + n_rows), False)


cdef void select(const WeightedPlan *plan, Py_ssize_t slot, Py_ssize_t slot_query, Py_ssize_t first,
                 Py_ssize_t n_queries, Py_ssize_t start, Py_ssize_t row, Py_ssize_t end,
                 bint is_sampled) noexcept nogil:
    """Select for n_queries queries, from `first` on, among rows [row, end).

    Rows count from `start`. The selections are those of the slot, from number `slot_query` on. At
    row 0 the selections are empty; later calls continue them.
    """
    cdef const Database *database = &plan.database
    cdef Arena arena = make_arena(plan.slots + slot * plan.slot_bytes)
    cdef Workspace work = carve_workspace(plan, &arena)
    cdef fh_selection *selections = plan.selections + slot * plan.n_task + slot_query
    cdef const uint8_t *tables = work.tables + slot_query * TABLE_BYTES * database.n_bytes
    cdef Py_ssize_t q, n_found
    cdef bint has_estimates = plan.estimates != NULL
    # Up to this row, there are so many hits that distances are computed at once. Without a sample,
    # this is so at first.
    cdef Py_ssize_t dense = first_codes(plan) if row == 0 and not is_sampled else 0
    cdef const uint8_t *codes
    cdef int32_t n
    if row == 0:
        for q in range(n_queries):
            start_query(plan, first + q, slot_query + q, &selections[q], &work)
        if is_sampled:
            bound_by_sample(plan, n_queries, selections, &work)
    while row < end:
        if has_estimates and row >= dense:
            n = <int32_t>min(<Py_ssize_t>estimate_codes(plan.estimates, database), end - row)
            n_found = scan_estimates(database, slot_query, n_queries, start + row, n, selections,
                                     &work)
            if n_found > n * n_queries // FOUND_CODES:
                dense = row + n + max(row // 4, 4 * n)
        else:
            n = <int32_t>min(<Py_ssize_t>database.tile, end - row)
            if has_estimates:
                n = <int32_t>min(<Py_ssize_t>n, dense - row)
            codes = load_tile(database, start + row, n, &work)
            for q in range(n_queries):
                scan_tile(database, tables + q * TABLE_BYTES * database.n_bytes, codes,
                          start + row, n, row, &selections[q], &work)
        row = row + n


cdef Py_ssize_t first_codes(const WeightedPlan *plan) noexcept nogil:
    """The number of codes before the first estimates."""
    cdef int64_t n = max(<int64_t>FIRST_CODES, plan.k * FIRST_CODES_PER_K)
    return <Py_ssize_t>min(n, <int64_t>1 << 20) // TILE_STEP * TILE_STEP


cdef void start_query(const WeightedPlan *plan, Py_ssize_t query, Py_ssize_t q,
                      fh_selection *selection, Workspace *work) noexcept nogil:
    """Write the tables of a query, query q of its task, and start its selection."""
    cdef int32_t n_bytes = <int32_t>plan.database.n_bytes
    cdef const int16_t *weights = plan.weights + 8 * query * n_bytes
    fh_weighted_tables(weights, n_bytes, work.tables + q * TABLE_BYTES * n_bytes)
    if plan.estimates != NULL:
        start_estimates(&work.estimates, q, weights)
    fh_selection_start(selection, plan.k, plan.capacity, fh_weighted_max(weights, n_bytes),
                       work.kept_distances + q * plan.capacity,
                       work.kept_positions + q * plan.capacity,
                       work.counts + q * n_counts(&plan.database), plan.database.order)


cdef const uint8_t *load(const Database *database, Py_ssize_t start, int32_t n,
                         const Workspace *work) noexcept nogil:
    """Return codes [start, start + n), gathered if they are listed rows."""
    if database.rows == NULL:
        return database.codes + start * database.n_bytes
    fh_gather_codes(database.codes, database.rows + start, n, database.n_bytes, database.n_bytes,
                    work.gathered)
    return work.gathered


cdef const uint8_t *load_tile(const Database *database, Py_ssize_t start, int32_t n,
                              const Workspace *work) noexcept nogil:
    """Lay codes [start, start + n) out as a tile, if the level in use has tiles."""
    cdef const uint8_t *codes = load(database, start, n, work)
    if active_level().weights.prepare == NULL:
        return codes
    active_level().weights.prepare(codes, n, <int32_t>database.n_bytes, work.tile)
    return work.tile


cdef void bound_by_sample(const WeightedPlan *plan, Py_ssize_t n_queries, fh_selection *selections,
                          const Workspace *work) noexcept nogil:
    """Start every selection of a task with a bound from a sample."""
    cdef Database sample = plan.database
    cdef int64_t wanted = wanted_in_sample(&plan.database, plan.n_sample, plan.k)
    cdef Py_ssize_t n_bytes = sample.n_bytes, q
    cdef int32_t start = 0, n, n_counted
    cdef const uint8_t *codes
    choose_sample(&plan.database, plan.n_sample, work.sample)
    sample.rows = work.sample
    while start < plan.n_sample:
        n = min(sample.tile, plan.n_sample - start)
        codes = load_tile(&sample, start, n, work)
        for q in range(n_queries):
            # All codes are below this bound.
            n_counted = active_level().weights.scan(
                work.tables + q * TABLE_BYTES * n_bytes, codes, n, <int32_t>n_bytes,
                fh_selection_bound(&selections[q]), work.hit_positions, work.hit_distances)
            if sample.allowed != NULL:
                n_counted = keep_sampled(&sample, start, n, work.hit_distances)
            fh_selection_count(&selections[q], n_counted, work.hit_distances)
        start = start + n
    for q in range(n_queries):
        fh_selection_start_below(&selections[q], wanted)


cdef Py_ssize_t scan_estimates(const Database *database, Py_ssize_t slot_query,
                               Py_ssize_t n_queries, Py_ssize_t first, int32_t n,
                               fh_selection *selections, Workspace *work) noexcept nogil:
    """Scan n codes by estimates, two queries at a time; return about how many may be near.

    The queries are those of the slot, from number `slot_query` on; so are the selections.
    """
    cdef const uint8_t *codes = load(database, first, n, work)
    cdef fh_estimated found[2]
    cdef int32_t bounds[2]
    cdef Py_ssize_t q = 0, n_found = 0
    cdef int32_t n_hits
    cdef int i, n_pair
    lay_out_estimates(&work.estimates, codes, n)
    while q < n_queries:
        n_pair = <int>min(<Py_ssize_t>2, n_queries - q)
        for i in range(n_pair):
            bounds[i] = fh_selection_bound(&selections[q + i])
        find_near(&work.estimates, slot_query + q, n_pair, bounds, n, found)
        for i in range(n_pair):
            if found[i].n_found > 0:
                n_found += found[i].n_found
                n_hits = fh_list_near(
                    &found[i],
                    work.tables + (slot_query + q + i) * TABLE_BYTES * database.n_bytes, codes, n,
                    <int32_t>database.n_bytes, bounds[i], work.hit_positions, work.hit_distances)
                append_hits(database, first, n_hits, &selections[q + i], work)
        q = q + n_pair
    return n_found


cdef void scan_tile(const Database *database, const uint8_t *tables, const uint8_t *codes,
                    Py_ssize_t first, int32_t n, Py_ssize_t n_seen, fh_selection *selection,
                    const Workspace *work) noexcept nogil:
    """Scan one tile for one query; blocks are short at first, while the bound falls fast."""
    cdef const fh_weights *weights = active_level().weights
    cdef Py_ssize_t code_bytes = weights.spread * database.n_bytes
    cdef int32_t block = 0, n_block, n_hits
    while block < n:
        n_block = next_block(n_seen + block, n - block)
        n_hits = weights.scan(tables, codes + block * code_bytes, n_block,
                              <int32_t>database.n_bytes, fh_selection_bound(selection),
                              work.hit_positions, work.hit_distances)
        append_hits(database, first + block, n_hits, selection, work)
        block = block + n_block


cdef inline void append_hits(const Database *database, Py_ssize_t first, int32_t n_hits,
                             fh_selection *selection, const Workspace *work) noexcept nogil:
    """Append the hits that are allowed; positions of hits count from row `first`."""
    if n_hits > 0 and database.allowed != NULL:
        n_hits = keep_allowed(database, first, n_hits, work.hit_positions,
                              work.hit_distances)
    if n_hits > 0:
        fh_selection_append(selection, first, n_hits, work.hit_positions, work.hit_distances)


def round_weights(const double[:, ::1] weights, int16_t[:, ::1] rounded, double[:, ::1] largest,
                  double[:, ::1] steps):
    """Round the weights of every query, 8 values for each byte of a code.

    Returns the first query with a weight that is not finite, or with weights whose sum may
    overflow; -1 if there is none. What is written after that query is of no use.
    """
    cdef Py_ssize_t q
    for q in range(weights.shape[0]):
        if fh_round_weights(&weights[q, 0], weights.shape[1], rounded.shape[1] // 8, &rounded[q, 0],
                            &largest[q, 0], &steps[q, 0]) != 0:
            return q
    return -1


cdef class WeightedTopk:
    """Find the k nearest codes of every query, as positions among the searched rows.

    ``weights`` has 8 * n_bytes integers for each query, at most 255 in total for each byte;
    a query wants bit 1 where its weight is positive, and 0 where it is negative. `search.Topk`
    explains ``rows``, ``allowed``, ``order`` and ``k``.
    """

    cdef WeightedPlan plan
    cdef const int16_t[:, ::1] weights
    cdef const uint8_t[:, ::1] codes
    cdef const int64_t[::1] rows
    cdef const uint8_t[::1] allowed
    cdef const uint32_t[::1] order
    cdef int32_t[:, ::1] out_distances
    cdef int64_t[:, ::1] out_positions
    cdef uint8_t[::1] memory
    cdef Py_ssize_t round, row

    def __cinit__(self, const int16_t[:, ::1] weights, const uint8_t[:, ::1] codes,
                  const int64_t[::1] rows, const uint8_t[::1] allowed, const uint32_t[::1] order,
                  int64_t k, int32_t[:, ::1] out_distances, int64_t[:, ::1] out_positions,
                  int n_threads):
        cdef Database database = searched(weights.shape[0], codes, rows, allowed, order)
        self.weights, self.codes, self.rows = weights, codes, rows
        self.allowed, self.order = allowed, order
        self.out_distances, self.out_positions = out_distances, out_positions
        self.plan = plan_weighted(&database, &weights[0, 0], weights.shape[0], k, n_threads)
        lay_out_weighted(&self.plan, NULL)
        self.memory = np.empty(self.plan.memory_bytes, np.uint8)
        lay_out_weighted(&self.plan, &self.memory[0])

    def advance(self, Py_ssize_t n_words):
        """Compare about n_words 64-bit words per thread; return how many, 0 at the end."""
        cdef const WeightedPlan *plan = &self.plan
        cdef const Database *database = &plan.database
        cdef int32_t *out_distances = &self.out_distances[0, 0]
        cdef int64_t *out_positions = &self.out_positions[0, 0]
        cdef Py_ssize_t n_left, n_rows, n_done = 0
        with nogil:
            while n_done < n_words and self.round < n_weighted_rounds(plan):
                n_left = part_rows(database, plan.n_parts) - self.row
                n_rows = min(n_left, rows_of_step(database, plan.n_task, n_words - n_done,
                                                  database.n_words))
                weighted_step(plan, self.round, self.row, n_rows, out_distances, out_positions)
                self.row += n_rows
                n_done += n_rows * plan.n_task * database.n_words
                if n_rows == n_left:
                    self.row, self.round = 0, self.round + 1
        return n_done
