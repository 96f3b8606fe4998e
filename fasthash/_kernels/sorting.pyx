"""Full ranking over packed codes: a stable sort by distance, for all rows or a k near their number.

It reads the database in the tiles of hamming.pyx. Order is always (distance, position).
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t

from fasthash._kernels.hamming cimport (
    FH_LANES_MAX,
    Database,
    TileBuffer,
    active_level,
    fh_level,
    load_tile,
    make_database,
    make_tile_buffer,
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
    void fh_write_runs(const uint16_t *runs, const uint16_t *offsets, int64_t n_blocks,
                       int64_t block, Py_ssize_t n_distances, int64_t *starts, int64_t k,
                       int32_t *out_distances, int64_t *out)

cdef enum:
    # Queries that share a prepared tile, while their sorted blocks stay in the second-level cache.
    TASK_QUERIES = 2

# What one task needs. A block is a whole number of tiles.
cdef struct Workspace:
    int32_t block
    Py_ssize_t n_blocks
    uint64_t *tile_memory
    int32_t *distances     # per query, of one block
    Py_ssize_t stride      # from one query's to the next
    int32_t *places        # of one block
    int64_t *counts        # per distance
    int64_t *starts        # per block
    uint16_t *runs         # per query, block and distance
    uint16_t *offsets      # per query and row


cdef void sort_of_task(const uint64_t *queries, Py_ssize_t n_queries, const Database *database,
                       const Workspace *work) noexcept nogil:
    """Sort every block by its distances to each of n_queries queries."""
    cdef const fh_level *level = active_level()
    cdef TileBuffer buffer = make_tile_buffer(database, database.tile, work.tile_memory)
    cdef Py_ssize_t n_distances = 8 * database.n_bytes + 1
    cdef Py_ssize_t block, start, q
    cdef int32_t n_block, n, tile
    cdef const uint64_t *codes
    for block in range(work.n_blocks):
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


def rank(const uint8_t[:, ::1] queries, const uint8_t[:, ::1] codes,
         const int64_t[::1] rows, int32_t[:, ::1] out_distances, int64_t[:, ::1] out,
         int n_threads):
    """The first out.shape[1] positions among the searched rows, by (distance, position).

    Sorts them all: for a k near n. Fewer than 2^31 rows. `out_distances` may be None.
    """
    cdef Py_ssize_t n_queries = queries.shape[0], task, first, n_here, q
    cdef Database database = make_database(&codes[0, 0], codes.shape[0], codes.shape[1], n_queries)
    if rows is not None:
        database.rows, database.n = &rows[0], rows.shape[0]
    if n_queries == 0 or database.n == 0:
        return
    cdef Py_ssize_t n_distances = 8 * database.n_bytes + 1
    cdef int32_t block = FH_BLOCK // database.tile * database.tile
    cdef Py_ssize_t n_blocks = (database.n + block - 1) // block
    cdef Py_ssize_t n_task = max(1, min(<Py_ssize_t>TASK_QUERIES, n_queries // n_threads))
    cdef Py_ssize_t n_tasks = (n_queries + n_task - 1) // n_task
    cdef Py_ssize_t stride = fh_apart(block + FH_LANES_MAX)
    cdef int thread
    n_threads = <int>min(<Py_ssize_t>n_threads, n_tasks)
    cdef uint64_t[:, ::1] memory = np.empty(
        (n_threads, tile_buffer_words(&database, database.tile)), np.uint64)
    cdef int32_t[:, ::1] distances = np.empty((n_threads, (n_task + 1) * stride), np.int32)
    cdef int64_t[:, ::1] counts = np.empty((n_threads, n_distances + n_blocks), np.int64)
    cdef uint16_t[:, ::1] runs = np.empty((n_threads, n_task * n_blocks * n_distances), np.uint16)
    cdef uint16_t[:, ::1] offsets = np.empty((n_threads, n_task * database.n), np.uint16)
    cdef uint64_t[:, ::1] words = np.empty((n_queries, database.n_words), np.uint64)
    write_words(&queries[0, 0], n_queries, database.n_bytes, &words[0, 0])
    cdef Workspace work
    for task in prange(n_tasks, nogil=True, schedule="dynamic", num_threads=n_threads):
        thread = threadid()
        first = task * n_task
        n_here = min(n_task, n_queries - first)
        work = Workspace(block, n_blocks, &memory[thread, 0], &distances[thread, 0], stride,
                         &distances[thread, n_task * stride], &counts[thread, 0],
                         &counts[thread, n_distances], &runs[thread, 0], &offsets[thread, 0])
        sort_of_task(&words[first, 0], n_here, &database, &work)
        for q in range(n_here):
            fh_write_runs(work.runs + q * n_blocks * n_distances, work.offsets + q * database.n,
                          n_blocks, block, n_distances, work.starts, out.shape[1],
                          &out_distances[first + q, 0] if out_distances is not None else NULL,
                          &out[first + q, 0])
