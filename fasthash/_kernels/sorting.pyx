"""Full ranking over packed codes: a stable sort by distance, for all rows or a k near their number.

sorting.h explains the sort. The order is always (distance, position). The database is read in
tiles. Call `Ranking.advance`, or `advance_ranking`, until it returns 0; between two calls the
caller can handle an interrupt.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport INT32_MAX, INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memset

from fasthash._kernels.tasks cimport searched
from fasthash._kernels.tiles cimport (
    FH_LANES_MAX,
    Arena,
    Database,
    TileBuffer,
    active_level,
    carve,
    fh_level,
    load_tile,
    make_arena,
    make_tile_buffer,
    threads_for,
    tile_buffer_words,
    write_words,
)

import numpy as np

cdef extern from "sorting.h" nogil:
    enum:
        FH_BLOCK
    Py_ssize_t fh_buffer_stride(Py_ssize_t n)
    void fh_sort_block(const int32_t *distances, int32_t n, Py_ssize_t n_distances,
                       int64_t *counts, int32_t *places, uint16_t *runs, uint16_t *offsets)
    ctypedef struct fh_cursor:
        int32_t distance
        int64_t block
        int64_t n_written
    int fh_write_runs(const uint16_t *runs, const uint16_t *offsets, int64_t n_blocks,
                      int64_t block, Py_ssize_t n_distances, int64_t *starts, int64_t k,
                      int32_t *out_distances, int64_t *out, fh_cursor *cursor, int64_t most)

cdef enum:
    # Queries that share a tile; their sorted blocks stay in the second-level cache.
    TASK_QUERIES = 2
    # Work to sort or to write one position, in words compared.
    SORTED_WORDS = 8
    WRITTEN_WORDS = 16
    # Number of ids in a cache line; and if there are at most this many ids for each wanted one, ids
    # are read in order, see `find_ascending`.
    LINE_IDS = 8
    ROWS_READ_ON = 1024
    # If k is at least 1 / 8 of the rows, sorting all rows costs less than selecting.
    SORT_SHARE = 8
    # With a larger k, all rows are sorted: the end of a selection is a single call, which would
    # take more than a second.
    MOST_SELECTED = 1 << 24

# Memory of one task.
cdef struct Workspace:
    uint64_t *tile_memory
    int32_t *distances     # per query, of one block
    int32_t *places        # of one block
    int64_t *counts        # per distance
    int64_t *starts        # per query and block
    fh_cursor *cursors     # per query
    uint16_t *runs         # per query, block and distance
    uint16_t *offsets      # per query and row


cdef bint sorts_all(int64_t k, int64_t n) noexcept nogil:
    """Whether to find the k nearest of n rows by sorting all rows; 1 <= k <= n."""
    return n <= INT32_MAX and (k >= n // SORT_SHARE + (n % SORT_SHARE != 0) or k > MOST_SELECTED)


def sorts_all_rows(int64_t k, int64_t n):
    """`sorts_all`, for Python."""
    return sorts_all(k, n)


cdef RankingPlan plan_ranking(const Database *database, Py_ssize_t n_queries, int64_t k,
                              int n_threads) noexcept nogil:
    """Plan a ranking of at least one query, with 1 <= k <= n and n below 2^31."""
    cdef RankingPlan plan
    plan.database = database[0]
    plan.n_queries = n_queries
    plan.k = k
    plan.block = FH_BLOCK // database.tile * database.tile
    plan.n_blocks = (database.n + plan.block - 1) // plan.block
    n_threads = threads_for(n_threads, n_queries, <double>n_queries * <double>database.n
                            * (database.n_words + SORTED_WORDS + WRITTEN_WORDS))
    plan.n_task = max(<Py_ssize_t>1, min(<Py_ssize_t>TASK_QUERIES, n_queries // n_threads))
    plan.n_tasks = (n_queries + plan.n_task - 1) // plan.n_task
    plan.n_threads = <int>min(<Py_ssize_t>n_threads, plan.n_tasks)
    plan.buffer_stride = fh_buffer_stride(plan.block + FH_LANES_MAX)
    plan.first_task = plan.n_sorted = 0
    lay_out_ranking(&plan, NULL)
    return plan


cdef void lay_out_ranking(RankingPlan *plan, void *memory) noexcept nogil:
    """Divide the plan's memory among its buffers; with NULL, only compute its size."""
    cdef Arena arena = make_arena(memory)
    cdef Arena slot = make_arena(NULL)
    carve_workspace(plan, &slot)
    plan.slot_bytes = slot.used
    plan.queries = <uint64_t *>carve(&arena, 8 * plan.n_queries * plan.database.n_words)
    plan.slots = <uint8_t *>carve(&arena, plan.n_threads * plan.slot_bytes)
    plan.memory_bytes = arena.used


cdef Workspace carve_workspace(const RankingPlan *plan, Arena *arena) noexcept nogil:
    cdef Workspace work
    cdef const Database *database = &plan.database
    cdef Py_ssize_t n_distances = 8 * database.n_bytes + 1, n_task = plan.n_task
    cdef Py_ssize_t n_runs = n_task * plan.n_blocks
    work.tile_memory = <uint64_t *>carve(arena, 8 * tile_buffer_words(database, database.tile))
    work.distances = <int32_t *>carve(arena, 4 * n_task * plan.buffer_stride)
    work.places = <int32_t *>carve(arena, 4 * plan.buffer_stride)
    work.counts = <int64_t *>carve(arena, 8 * n_distances)
    work.starts = <int64_t *>carve(arena, 8 * n_runs)
    work.cursors = <fh_cursor *>carve(arena, n_task * <Py_ssize_t>sizeof(fh_cursor))
    work.runs = <uint16_t *>carve(arena, 2 * n_runs * n_distances)
    work.offsets = <uint16_t *>carve(arena, 2 * n_task * database.n)
    return work


cdef Workspace workspace(const RankingPlan *plan, Py_ssize_t slot) noexcept nogil:
    cdef Arena arena = make_arena(plan.slots + slot * plan.slot_bytes)
    return carve_workspace(plan, &arena)


cdef Py_ssize_t n_queries_of(const RankingPlan *plan, Py_ssize_t task) noexcept nogil:
    return min(plan.n_task, plan.n_queries - task * plan.n_task)


cdef void sort_of_task(const RankingPlan *plan, Py_ssize_t task, Py_ssize_t slot,
                       Py_ssize_t first_block, Py_ssize_t end_block) noexcept nogil:
    """Sort blocks by their distances to each query of the task."""
    cdef const fh_level *level = active_level()
    cdef const Database *database = &plan.database
    cdef Workspace work = workspace(plan, slot)
    cdef TileBuffer buffer = make_tile_buffer(database, database.tile, work.tile_memory)
    cdef const uint64_t *queries = plan.queries + task * plan.n_task * database.n_words
    cdef Py_ssize_t n_distances = 8 * database.n_bytes + 1, n_queries = n_queries_of(plan, task)
    cdef Py_ssize_t block, start, q
    cdef int32_t n_block, n, tile
    cdef const uint64_t *codes
    if first_block == 0:
        memset(work.cursors, 0, plan.n_task * sizeof(fh_cursor))
    for block in range(first_block, end_block):
        start = block * plan.block
        n_block = <int32_t>min(<Py_ssize_t>plan.block, database.n - start)
        tile = 0
        while tile < n_block:
            n = min(database.tile, n_block - tile)
            codes = load_tile(database, start + tile, n, &buffer)
            for q in range(n_queries):
                level.distances(queries + q * database.n_words, codes, n, database.n_words,
                                work.distances + q * plan.buffer_stride + tile)
            tile = tile + n
        for q in range(n_queries):
            fh_sort_block(work.distances + q * plan.buffer_stride, n_block, n_distances,
                          work.counts, work.places,
                          work.runs + (q * plan.n_blocks + block) * n_distances,
                          work.offsets + q * database.n + start)


cdef int write_of_task(const RankingPlan *plan, Py_ssize_t task, Py_ssize_t slot,
                       int32_t *out_distances, int64_t *out_positions, Py_ssize_t stride,
                       int64_t most) noexcept nogil:
    """Write about `most` more positions of the answers to a task's queries; return 0 at the end."""
    cdef const Database *database = &plan.database
    cdef Workspace work = workspace(plan, slot)
    cdef Py_ssize_t n_distances = 8 * database.n_bytes + 1, n_blocks = plan.n_blocks, q, block, at
    cdef int64_t n_before
    cdef fh_cursor *cursor
    for q in range(n_queries_of(plan, task)):
        cursor = work.cursors + q
        if cursor.n_written == plan.k:
            continue
        if most <= 0:
            return 1
        n_before = cursor.n_written
        if n_before == 0 and cursor.block == 0 and cursor.distance == 0:
            for block in range(n_blocks):
                work.starts[q * n_blocks + block] = block * plan.block
        at = (task * plan.n_task + q) * stride
        if fh_write_runs(work.runs + q * n_blocks * n_distances, work.offsets + q * database.n,
                         n_blocks, plan.block, n_distances, work.starts + q * n_blocks, plan.k,
                         out_distances + at if out_distances != NULL else NULL,
                         out_positions + at, cursor, most):
            return 1
        most -= cursor.n_written - n_before
    return 0


cdef Py_ssize_t advance_ranking(RankingPlan *plan, const uint8_t *queries, Py_ssize_t n_words,
                                int32_t *out_distances, int64_t *out_positions,
                                Py_ssize_t stride) noexcept nogil:
    """Do work worth about n_words compared words per thread; return how much, 0 at the end.

    The answer of each query begins `stride` values after that of the query before. `out_distances`
    may be NULL.
    """
    cdef const Database *database = &plan.database
    cdef Py_ssize_t per_row = plan.n_task * (database.n_words + SORTED_WORDS), task
    cdef Py_ssize_t n_here = min(<Py_ssize_t>plan.n_threads, plan.n_tasks - plan.first_task)
    cdef Py_ssize_t first_block = plan.n_sorted, first_task = plan.first_task
    cdef double n_all = <double>plan.n_tasks * per_row * database.n
    cdef int left = 0
    if n_here == 0:
        return 0
    if first_task == 0 and first_block == 0:
        write_words(queries, plan.n_queries, database.n_bytes, plan.queries)
        if n_words >= n_all:
            for task in prange(plan.n_tasks, schedule="dynamic", num_threads=plan.n_threads):
                sort_of_task(plan, task, threadid(), 0, plan.n_blocks)
                write_of_task(plan, task, threadid(), out_distances, out_positions, stride,
                              INT64_MAX)
            plan.first_task = plan.n_tasks
            return <Py_ssize_t>n_all
    if first_block < plan.n_blocks:
        plan.n_sorted = min(plan.n_blocks, first_block
                            + max(<Py_ssize_t>1, n_words // (per_row * plan.block)))
        for task in prange(n_here, schedule="static", num_threads=plan.n_threads):
            sort_of_task(plan, first_task + task, task, first_block, plan.n_sorted)
        return (plan.n_sorted - first_block) * plan.block * per_row
    for task in prange(n_here, schedule="static", num_threads=plan.n_threads):
        left += write_of_task(plan, first_task + task, task, out_distances, out_positions, stride,
                              n_words // WRITTEN_WORDS + 1)
    if left == 0:
        plan.first_task, plan.n_sorted = first_task + n_here, 0
        # At most n_words: the last call had less work, and must not look faster than it was.
        return min(n_words, plan.n_task * plan.k * WRITTEN_WORDS)
    return n_words


cdef class Ranking:
    """Find the first out.shape[1] positions of the searched rows, by (distance, position).

    It sorts all rows, for a k near their number. At least one query and one row, and fewer than
    2^31 rows. `out_distances` may be None.
    """

    cdef RankingPlan plan
    cdef const uint8_t[:, ::1] queries, codes
    cdef const int64_t[::1] rows
    cdef int32_t[:, ::1] out_distances
    cdef int64_t[:, ::1] out
    cdef uint8_t[::1] memory

    def __cinit__(self, const uint8_t[:, ::1] queries, const uint8_t[:, ::1] codes,
                  const int64_t[::1] rows, int32_t[:, ::1] out_distances, int64_t[:, ::1] out,
                  int n_threads):
        cdef Database database = searched(queries.shape[0], codes, rows, None, None)
        self.queries, self.codes, self.rows = queries, codes, rows
        self.out_distances, self.out = out_distances, out
        self.plan = plan_ranking(&database, queries.shape[0], out.shape[1], n_threads)
        self.memory = np.empty(self.plan.memory_bytes, np.uint8)
        lay_out_ranking(&self.plan, &self.memory[0])

    def advance(self, Py_ssize_t n_words):
        """`advance_ranking`, for Python."""
        cdef int32_t *out_distances = NULL
        cdef Py_ssize_t n_done
        if self.out_distances is not None:
            out_distances = &self.out_distances[0, 0]
        with nogil:
            n_done = advance_ranking(&self.plan, &self.queries[0, 0], n_words, out_distances,
                                     &self.out[0, 0], self.out.shape[1])
        return n_done


def find_ascending(const int64_t[::1] ids, const int64_t[::1] wanted, int64_t[::1] rows):
    """
    Write the row of each wanted id among the ascending ids, -1 if it is missing; at least one id.

    The search moves in steps from the last row found, and then does a binary search within the last
    step. Steps double, so an id costs O(log(number of ids)) in any order. If many ids are wanted,
    the first steps are one cache line each: then all ids are read in order, the processor loads
    them ahead, and the search does not wait for memory.
    """
    cdef Py_ssize_t i, n = ids.shape[0], low = 0, high, step, middle, read_on = 0, limit
    cdef int64_t id
    if n <= ROWS_READ_ON * wanted.shape[0]:
        read_on = 4 * ROWS_READ_ON
    with nogil:
        for i in range(wanted.shape[0]):
            id = wanted[i]
            high = n
            if ids[low] > id:
                high, low = low, 0
            else:
                step, limit = LINE_IDS, low + read_on
                while step < n - low and ids[low + step] <= id:
                    low += step
                    if low >= limit:
                        step *= 2
                high = min(n, low + step)
            # Invariant: ids[low] <= id < ids[high], where there are such rows.
            while high - low > 1:
                middle = low + (high - low) // 2
                if ids[middle] <= id:
                    low = middle
                else:
                    high = middle
            rows[i] = low if ids[low] == id else -1
