"""Top-k search over packed codes, in the tasks of tasks.pyx. Order is always (distance, id).

`Topk` is called until nothing is left: between two calls its caller can answer an interrupt. A step
is some rows of the parts that tasks are about at the time.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from fasthash._kernels.tasks cimport (
    STRETCH_TILES,
    count_parts,
    keep_allowed,
    part_rows,
    part_start,
    queries_per_task,
    rows_of_step,
    searched,
)
from fasthash._kernels.tiles cimport (
    FH_LANES_MAX,
    TILE_STEP,
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
    words_compared,
    write_words,
)

import numpy as np

cdef extern from *:
    const Py_ssize_t PY_SSIZE_T_MAX

cdef extern from "selection.h" nogil:
    void fh_selection_start(fh_selection *s, int64_t k, int64_t capacity, int32_t max_distance,
                            int32_t *distances, int64_t *positions, int64_t *counts)
    int32_t fh_selection_bound(const fh_selection *s)
    void fh_selection_append(fh_selection *s, int64_t first, int32_t n,
                             const int32_t *positions, const int32_t *distances)
    void fh_selection_finish(fh_selection *parts, Py_ssize_t n_parts, Py_ssize_t stride,
                             int32_t *out_distances, int64_t *out_positions)

cdef enum:
    # A group of queries scans all tiles of a stretch before the next group: the selections of a group
    # stay in the cache from tile to tile, those of the other groups are fetched once per stretch.
    TILE_BYTES_MAX = 1 << 17
    GROUP_QUERIES = 32
    # Bytes of selections a thread may hold; a large k lowers the number of queries per task.
    TASK_BYTES = 48 << 20
    # The first scan of a query takes this many codes, later ones a quarter of what it has seen, so
    # that the bound falls before much has been appended.
    FIRST_BLOCK = 256


# What one task of a top-k needs beside its selections: their candidates and counts, one block of
# hits, and its tiles.
cdef struct Workspace:
    int64_t *kept_positions
    int32_t *kept_distances
    int64_t *counts
    int32_t *hit_positions
    int32_t *hit_distances
    uint64_t *tile


cdef TopkPlan plan_topk(const Database *database, Py_ssize_t n_queries, int64_t k,
                        int n_threads) noexcept nogil:
    """For at least one query and 1 <= k <= number of rows that may be found."""
    cdef TopkPlan plan
    # As many tasks as it takes: the tasks depend on the number of threads.
    n_threads = threads_for(n_threads, PY_SSIZE_T_MAX, words_compared(database, n_queries))
    plan.database = database[0]
    plan.n_queries = n_queries
    plan.k = k
    plan.capacity = min(<int64_t>database.n, 2 * k) + database.tile
    plan.n_parts = count_parts(database, n_queries, n_threads)
    cdef Py_ssize_t per_query = 12 * plan.capacity + 8 * (8 * database.n_bytes + 1)
    plan.n_task = 1
    if plan.n_parts == 1:
        plan.n_task = max(<Py_ssize_t>1, min(queries_per_task(n_queries, n_threads),
                                             TASK_BYTES // per_query))
    cdef Py_ssize_t n_tasks = (n_queries + plan.n_task - 1) // plan.n_task
    plan.n_threads = <int>min(<Py_ssize_t>n_threads, max(n_tasks, plan.n_parts))
    # One slot per thread, or per part where parts wait for each other's candidates.
    plan.n_slots = plan.n_threads if plan.n_parts == 1 else plan.n_parts
    lay_out_topk(&plan, NULL)
    return plan


cdef void lay_out_topk(TopkPlan *plan, void *memory) noexcept nogil:
    """Divide the plan's memory among its parts; NULL only finds out how much it needs."""
    cdef Arena arena = make_arena(memory)
    cdef Arena slot = make_arena(NULL)
    carve_workspace(plan, &slot)
    plan.slot_bytes = slot.used
    plan.queries = <uint64_t *>carve(&arena, 8 * plan.n_queries * plan.database.n_words)
    plan.selections = <fh_selection *>carve(
        &arena, plan.n_slots * plan.n_task * <Py_ssize_t>sizeof(fh_selection))
    plan.slots = <uint8_t *>carve(&arena, plan.n_slots * plan.slot_bytes)
    plan.memory_bytes = arena.used


cdef Workspace carve_workspace(const TopkPlan *plan, Arena *arena) noexcept nogil:
    cdef Workspace work
    cdef const Database *database = &plan.database
    cdef Py_ssize_t n_kept = plan.n_task * plan.capacity
    work.kept_positions = <int64_t *>carve(arena, 8 * n_kept)
    work.kept_distances = <int32_t *>carve(arena, 4 * n_kept)
    work.counts = <int64_t *>carve(arena, 8 * plan.n_task * (8 * database.n_bytes + 1))
    work.hit_positions = <int32_t *>carve(arena, 4 * (database.tile + FH_LANES_MAX))
    work.hit_distances = <int32_t *>carve(arena, 4 * (database.tile + FH_LANES_MAX))
    work.tile = <uint64_t *>carve(
        arena, 8 * tile_buffer_words(database, stretch_codes(database, plan.n_task)))
    return work


cdef void run_topk(const TopkPlan *plan, const uint8_t *queries, int32_t *out_distances,
                   int64_t *out_positions, Py_ssize_t stride) noexcept nogil:
    """The k nearest codes of every query, with a plan that has its memory.

    A query's answer lies `stride` values behind that of the query before.
    """
    cdef Py_ssize_t n = plan.database.n, task
    write_words(queries, plan.n_queries, plan.database.n_bytes, plan.queries)
    if plan.n_parts == 1:
        for task in prange(n_topk_tasks(plan), schedule="dynamic", num_threads=plan.n_threads):
            answer_task(plan, threadid(), task, 0, n, out_distances, out_positions, stride)
        return
    for task in range(plan.n_queries):
        topk_step(plan, task, 0, n, out_distances, out_positions, stride)


cdef Py_ssize_t n_topk_tasks(const TopkPlan *plan) noexcept nogil:
    return (plan.n_queries + plan.n_task - 1) // plan.n_task


cdef Py_ssize_t n_rounds(const TopkPlan *plan) noexcept nogil:
    """A round fills the slots: with a task each, or with the parts for one query."""
    if plan.n_parts > 1:
        return plan.n_queries
    return (n_topk_tasks(plan) + plan.n_slots - 1) // plan.n_slots


cdef void topk_step(const TopkPlan *plan, Py_ssize_t round, Py_ssize_t row, Py_ssize_t n_rows,
                    int32_t *out_distances, int64_t *out_positions,
                    Py_ssize_t stride) noexcept nogil:
    """n_rows rows from the given one on, in every part that the round is about."""
    cdef const Database *database = &plan.database
    cdef Py_ssize_t n_parts = plan.n_parts, first = round * plan.n_slots, slot, n_here
    if n_parts == 1:
        n_here = min(plan.n_slots, n_topk_tasks(plan) - first)
        for slot in prange(n_here, schedule="static", num_threads=plan.n_threads):
            answer_task(plan, slot, first + slot, row, n_rows, out_distances, out_positions,
                        stride)
        return
    for slot in prange(n_parts, schedule="static", num_threads=plan.n_threads):
        topk_of_task(plan, slot, round, 1, part_start(database, slot, n_parts),
                     part_start(database, slot + 1, n_parts), row, n_rows)
    if row + n_rows >= part_rows(database, n_parts):
        fh_selection_finish(plan.selections, n_parts, 1, out_distances + round * stride,
                            out_positions + round * stride)


cdef void answer_task(const TopkPlan *plan, Py_ssize_t slot, Py_ssize_t task, Py_ssize_t row,
                      Py_ssize_t n_rows, int32_t *out_distances, int64_t *out_positions,
                      Py_ssize_t stride) noexcept nogil:
    cdef Py_ssize_t first = task * plan.n_task, q
    cdef Py_ssize_t n_queries = min(plan.n_task, plan.n_queries - first)
    topk_of_task(plan, slot, first, n_queries, 0, plan.database.n, row, n_rows)
    if row + n_rows < plan.database.n:
        return
    for q in range(n_queries):
        fh_selection_finish(plan.selections + slot * plan.n_task + q, 1, 1,
                            out_distances + (first + q) * stride,
                            out_positions + (first + q) * stride)


cdef void topk_of_task(const TopkPlan *plan, Py_ssize_t slot, Py_ssize_t first,
                       Py_ssize_t n_queries, Py_ssize_t start, Py_ssize_t end, Py_ssize_t row,
                       Py_ssize_t n_rows) noexcept nogil:
    """Select for n_queries queries from the first on among n_rows codes of [start, end).

    The selections begin at row 0 of these codes, and go on where the rows before ended.
    """
    cdef const Database *database = &plan.database
    cdef Arena arena = make_arena(plan.slots + slot * plan.slot_bytes)
    cdef Workspace work = carve_workspace(plan, &arena)
    cdef fh_selection *selections = plan.selections + slot * plan.n_task
    cdef int32_t n_stretch = stretch_codes(database, n_queries)
    cdef TileBuffer buffer = make_tile_buffer(database, n_stretch, work.tile)
    cdef int32_t max_distance = <int32_t>(8 * database.n_bytes)
    cdef Py_ssize_t q, group, stretch = start + row
    cdef int32_t n, tile, n_tile
    cdef const uint64_t *codes
    if row == 0:
        for q in range(n_queries):
            fh_selection_start(&selections[q], plan.k, plan.capacity, max_distance,
                               work.kept_distances + q * plan.capacity,
                               work.kept_positions + q * plan.capacity,
                               work.counts + q * (max_distance + 1))
    end = min(end, stretch + n_rows)
    while stretch < end:
        n = <int32_t>min(<Py_ssize_t>n_stretch, end - stretch)
        codes = load_tile(database, stretch, n, &buffer)
        group = 0
        while group < n_queries:
            tile = 0
            while tile < n:
                n_tile = min(database.tile, n - tile)
                for q in range(group, min(group + GROUP_QUERIES, n_queries)):
                    scan_tile(plan.queries + (first + q) * database.n_words,
                              codes + <Py_ssize_t>tile * database.n_words, n_tile, database,
                              stretch + tile, stretch + tile - start, &selections[q], &work)
                tile = tile + n_tile
            group = group + GROUP_QUERIES
        stretch = stretch + n


cdef inline void scan_tile(const uint64_t *query, const uint64_t *tile, int32_t n,
                           const Database *database, Py_ssize_t first, Py_ssize_t n_seen,
                           fh_selection *selection, const Workspace *work) noexcept nogil:
    """Offer one tile to one selection, at first in short blocks, while the bound falls fast."""
    cdef int32_t block = 0, n_block, n_hits, n_words = database.n_words
    while block < n:
        n_block = <int32_t>min(max(<Py_ssize_t>FIRST_BLOCK,
                                   (n_seen + block) // (4 * TILE_STEP) * TILE_STEP),
                               <Py_ssize_t>(n - block))
        n_hits = active_level().scan(query, tile + <Py_ssize_t>block * n_words, n_block, n_words,
                                     fh_selection_bound(selection), work.hit_positions,
                                     work.hit_distances)
        if database.allowed != NULL and n_hits > 0:
            n_hits = keep_allowed(database.allowed + first + block, n_hits, work.hit_positions,
                                  work.hit_distances)
        if n_hits > 0:
            fh_selection_append(selection, first + block, n_hits, work.hit_positions,
                                work.hit_distances)
        block = block + n_block


cdef int32_t stretch_codes(const Database *database, Py_ssize_t n_queries) noexcept nogil:
    """How many codes a top-k task lays out at once: one tile of codes so wide that it fills a cache."""
    if n_queries <= GROUP_QUERIES or 8 * <Py_ssize_t>database.tile * database.n_words > TILE_BYTES_MAX:
        return database.tile
    return database.tile * STRETCH_TILES


cdef class Topk:
    """The k nearest codes of every query, as positions among the searched rows (None: all).

    ``allowed`` (None: all) says which of them may be found; it goes with ``rows`` None. At least one
    query, 1 <= k <= number of rows that may be found.
    """

    cdef TopkPlan plan
    cdef const uint8_t[:, ::1] queries, codes
    cdef const int64_t[::1] rows
    cdef const uint8_t[::1] allowed
    cdef int32_t[:, ::1] out_distances
    cdef int64_t[:, ::1] out_positions
    cdef uint8_t[::1] memory
    cdef Py_ssize_t round, row

    def __cinit__(self, const uint8_t[:, ::1] queries, const uint8_t[:, ::1] codes,
                  const int64_t[::1] rows, const uint8_t[::1] allowed, int64_t k,
                  int32_t[:, ::1] out_distances, int64_t[:, ::1] out_positions, int n_threads):
        cdef Database database = searched(queries, codes, rows, allowed)
        self.queries, self.codes, self.rows, self.allowed = queries, codes, rows, allowed
        self.out_distances, self.out_positions = out_distances, out_positions
        self.plan = plan_topk(&database, queries.shape[0], k, n_threads)
        self.memory = np.empty(self.plan.memory_bytes, np.uint8)
        lay_out_topk(&self.plan, &self.memory[0])

    def advance(self, Py_ssize_t n_words):
        """Compare about so many 64-bit words per thread; how many it were, 0 at the end."""
        cdef const TopkPlan *plan = &self.plan
        cdef const Database *database = &plan.database
        cdef const uint8_t *queries = &self.queries[0, 0]
        cdef int32_t *out_distances = &self.out_distances[0, 0]
        cdef int64_t *out_positions = &self.out_positions[0, 0]
        cdef Py_ssize_t stride = self.out_positions.shape[1], n_left, n_rows
        if self.round == n_rounds(plan):
            return 0
        if self.round == 0 and self.row == 0:
            if n_words >= plan.n_queries * database.n * database.n_words:
                with nogil:
                    run_topk(plan, queries, out_distances, out_positions, stride)
                self.round = n_rounds(plan)
                return plan.n_queries * database.n * database.n_words
            write_words(queries, plan.n_queries, database.n_bytes, plan.queries)
        n_left = part_rows(database, plan.n_parts) - self.row
        n_rows = min(n_left, rows_of_step(database, plan.n_task, n_words, database.n_words))
        with nogil:
            topk_step(plan, self.round, self.row, n_rows, out_distances, out_positions, stride)
        self.row += n_rows
        if n_rows == n_left:
            self.row, self.round = 0, self.round + 1
        return n_rows * plan.n_task * database.n_words
