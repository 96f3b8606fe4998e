"""Full ranking over packed codes: a stable sort by distance, for all rows or a k near their number.

It reads the database in the tiles of tiles.pyx. Order is always (distance, position). `Ranking`
is called until nothing is left: between two calls its caller can answer an interrupt.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memset

from fasthash._kernels.tiles cimport (
    FH_LANES_MAX,
    Database,
    TileBuffer,
    active_level,
    fh_level,
    load_tile,
    make_database,
    make_tile_buffer,
    threads_for,
    tile_buffer_words,
    write_words,
)

import numpy as np

cdef extern from "sorting.h" nogil:
    enum:
        FH_BLOCK
    Py_ssize_t fh_apart(Py_ssize_t n)
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
    # Queries that share a prepared tile, while their sorted blocks stay in the second-level cache.
    TASK_QUERIES = 2
    # What it takes to sort or write one position, in words compared.
    SORTED_WORDS = 8
    WRITTEN_WORDS = 16
    # Ids of a cache line, and up to how many between two that are wanted are read on and on.
    LINE_IDS = 8
    ROWS_READ_ON = 1024

# What one task needs. A block is a whole number of tiles.
cdef struct Workspace:
    int32_t block
    Py_ssize_t n_blocks
    uint64_t *tile_memory
    int32_t *distances     # per query, of one block
    Py_ssize_t stride      # from one query's to the next
    int32_t *places        # of one block
    int64_t *counts        # per distance
    int64_t *starts        # per query and block
    fh_cursor *cursors     # per query
    uint16_t *runs         # per query, block and distance
    uint16_t *offsets      # per query and row


cdef void sort_of_task(const uint64_t *queries, Py_ssize_t n_queries, const Database *database,
                       const Workspace *work, Py_ssize_t first_block,
                       Py_ssize_t end_block) noexcept nogil:
    """Sort blocks by their distances to each of n_queries queries."""
    cdef const fh_level *level = active_level()
    cdef TileBuffer buffer = make_tile_buffer(database, database.tile, work.tile_memory)
    cdef Py_ssize_t n_distances = 8 * database.n_bytes + 1
    cdef Py_ssize_t block, start, q
    cdef int32_t n_block, n, tile
    cdef const uint64_t *codes
    for block in range(first_block, end_block):
        start = block * work.block
        n_block = <int32_t>min(<Py_ssize_t>work.block, database.n - start)
        tile = 0
        while tile < n_block:
            n = min(database.tile, n_block - tile)
            codes = load_tile(database, start + tile, n, &buffer)
            for q in range(n_queries):
                level.distances(queries + q * database.n_words, codes, n, database.n_words,
                                work.distances + q * work.stride + tile)
            tile = tile + n
        for q in range(n_queries):
            fh_sort_block(work.distances + q * work.stride, n_block, n_distances, work.counts,
                          work.places, work.runs + (q * work.n_blocks + block) * n_distances,
                          work.offsets + q * database.n + start)


cdef int write_of_task(Py_ssize_t n_queries, const Database *database, const Workspace *work,
                       Py_ssize_t k, int32_t *out_distances, int64_t *out,
                       int64_t most) noexcept nogil:
    """Go on writing the answers to a task's queries, for about `most` positions; 0 at the end."""
    cdef Py_ssize_t n_distances = 8 * database.n_bytes + 1, n_blocks = work.n_blocks, q, block
    cdef int64_t n_before
    cdef fh_cursor *cursor
    for q in range(n_queries):
        cursor = work.cursors + q
        if cursor.n_written == k:
            continue
        if most <= 0:
            return 1
        n_before = cursor.n_written
        if n_before == 0 and cursor.block == 0 and cursor.distance == 0:
            for block in range(n_blocks):
                work.starts[q * n_blocks + block] = block * work.block
        if fh_write_runs(work.runs + q * n_blocks * n_distances, work.offsets + q * database.n,
                         n_blocks, work.block, n_distances, work.starts + q * n_blocks, k,
                         out_distances + q * k if out_distances != NULL else NULL, out + q * k,
                         cursor, most):
            return 1
        most -= cursor.n_written - n_before
    return 0


cdef class Ranking:
    """The first out.shape[1] positions among the searched rows, by (distance, position).

    Sorts them all: for a k near n. At least one query and one row, fewer than 2^31 rows.
    `out_distances` may be None.
    """

    cdef Database database
    cdef const uint8_t[:, ::1] codes
    cdef const int64_t[::1] rows
    cdef int32_t[:, ::1] out_distances
    cdef int64_t[:, ::1] out
    cdef int n_threads
    cdef Py_ssize_t n_task, n_tasks, stride
    cdef int32_t block
    cdef Py_ssize_t n_blocks
    cdef uint64_t[:, ::1] words, memory
    cdef int32_t[:, ::1] distances
    cdef int64_t[:, ::1] counts
    cdef uint16_t[:, ::1] runs, offsets
    cdef uint8_t[:, ::1] cursors
    # How far it is: tasks from this one on, a thread each, which have sorted so many blocks.
    cdef Py_ssize_t first_task, n_sorted

    def __cinit__(self, const uint8_t[:, ::1] queries, const uint8_t[:, ::1] codes,
                  const int64_t[::1] rows, int32_t[:, ::1] out_distances, int64_t[:, ::1] out,
                  int n_threads):
        cdef Py_ssize_t n_queries = queries.shape[0], n_distances = 8 * codes.shape[1] + 1
        cdef Database database = make_database(&codes[0, 0], codes.shape[0], codes.shape[1],
                                               n_queries)
        if rows is not None:
            database.rows, database.n = &rows[0], rows.shape[0]
        self.database = database
        self.codes, self.rows = codes, rows
        self.out_distances, self.out = out_distances, out
        self.block = FH_BLOCK // database.tile * database.tile
        self.n_blocks = (database.n + self.block - 1) // self.block
        n_threads = threads_for(n_threads, n_queries, <double>n_queries * <double>database.n
                                * (database.n_words + SORTED_WORDS + WRITTEN_WORDS))
        self.n_task = max(1, min(<Py_ssize_t>TASK_QUERIES, n_queries // n_threads))
        self.n_tasks = (n_queries + self.n_task - 1) // self.n_task
        self.n_threads = <int>min(<Py_ssize_t>n_threads, self.n_tasks)
        self.stride = fh_apart(self.block + FH_LANES_MAX)
        n, n_task = self.n_threads, self.n_task
        self.words = np.empty((n_queries, database.n_words), np.uint64)
        self.memory = np.empty((n, tile_buffer_words(&database, database.tile)), np.uint64)
        self.distances = np.empty((n, (n_task + 1) * self.stride), np.int32)
        self.counts = np.empty((n, n_distances + n_task * self.n_blocks), np.int64)
        self.runs = np.empty((n, n_task * self.n_blocks * n_distances), np.uint16)
        self.offsets = np.empty((n, n_task * database.n), np.uint16)
        self.cursors = np.zeros((n, n_task * sizeof(fh_cursor)), np.uint8)
        write_words(&queries[0, 0], n_queries, database.n_bytes, &self.words[0, 0])

    def advance(self, Py_ssize_t n_words):
        """Do the work of comparing about so many words per thread; how many it were, 0 at the end."""
        cdef const Database *database = &self.database
        cdef Py_ssize_t per_row = self.n_task * (database.n_words + SORTED_WORDS), task
        cdef Py_ssize_t n_here = min(<Py_ssize_t>self.n_threads, self.n_tasks - self.first_task)
        cdef Py_ssize_t n_all = self.n_tasks * per_row * database.n, first_block = self.n_sorted
        cdef int left = 0
        if n_here == 0:
            return 0
        if self.first_task == 0 and self.n_sorted == 0 and n_words >= n_all:
            for task in prange(self.n_tasks, nogil=True, schedule="dynamic",
                               num_threads=self.n_threads):
                self.sort(task, threadid(), 0, self.n_blocks)
                self.write(task, threadid(), INT64_MAX)
            self.first_task = self.n_tasks
            return n_all
        if first_block < self.n_blocks:
            self.n_sorted = min(self.n_blocks, first_block
                                + max(<Py_ssize_t>1, n_words // (per_row * self.block)))
            for task in prange(n_here, nogil=True, schedule="static",
                               num_threads=self.n_threads):
                self.sort(self.first_task + task, task, first_block, self.n_sorted)
            return (self.n_sorted - first_block) * self.block * per_row
        for task in prange(n_here, nogil=True, schedule="static", num_threads=self.n_threads):
            left += self.write(self.first_task + task, task, n_words // WRITTEN_WORDS + 1)
        if left == 0:
            self.first_task, self.n_sorted = self.first_task + n_here, 0
            # Less than was asked for, which says nothing of the speed.
            return min(n_words, self.n_task * self.out.shape[1] * WRITTEN_WORDS)
        return n_words

    cdef void sort(self, Py_ssize_t task, Py_ssize_t slot, Py_ssize_t first_block,
                   Py_ssize_t end_block) noexcept nogil:
        cdef Workspace work = self.workspace(slot)
        if first_block == 0:
            memset(work.cursors, 0, self.n_task * sizeof(fh_cursor))
        sort_of_task(&self.words[task * self.n_task, 0], self.n_queries_of(task), &self.database,
                     &work, first_block, end_block)

    cdef int write(self, Py_ssize_t task, Py_ssize_t slot, int64_t most) noexcept nogil:
        cdef Workspace work = self.workspace(slot)
        cdef Py_ssize_t first = task * self.n_task
        cdef int32_t *out_distances = NULL
        if self.out_distances is not None:
            out_distances = &self.out_distances[first, 0]
        return write_of_task(self.n_queries_of(task), &self.database, &work, self.out.shape[1],
                             out_distances, &self.out[first, 0], most)

    cdef Py_ssize_t n_queries_of(self, Py_ssize_t task) noexcept nogil:
        return min(self.n_task, self.words.shape[0] - task * self.n_task)

    cdef Workspace workspace(self, Py_ssize_t slot) noexcept nogil:
        cdef Py_ssize_t n_distances = 8 * self.database.n_bytes + 1
        return Workspace(self.block, self.n_blocks, &self.memory[slot, 0],
                         &self.distances[slot, 0], self.stride,
                         &self.distances[slot, self.n_task * self.stride], &self.counts[slot, 0],
                         &self.counts[slot, n_distances], <fh_cursor *>&self.cursors[slot, 0],
                         &self.runs[slot, 0], &self.offsets[slot, 0])


def find_ascending(const int64_t[::1] ids, const int64_t[::1] wanted, int64_t[::1] rows):
    """
    Write the row of each wanted id among the ascending ids, -1 where it is missing; at least one id.

    Steps from the row found last, then a binary search between two of them. Steps double, so that
    what is wanted costs O(log(ids)) in any order; but where many are wanted, a step is a cache line
    at first: then all ids are read in order, which the processor does ahead, and nothing waits for
    memory.
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
