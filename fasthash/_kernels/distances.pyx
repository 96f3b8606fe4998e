"""The distances of every query to every code. Each thread takes a tile of codes at a time."""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, uint8_t, uint64_t

from fasthash._kernels.tiles cimport (
    Arena,
    Database,
    TileBuffer,
    active_level,
    carve,
    load_tile,
    make_arena,
    make_database,
    make_tile_buffer,
    threads_for,
    tile_buffer_words,
    whole_lines,
    words_compared,
    write_words,
)

import numpy as np


cdef DistancesPlan plan_distances(const Database *database, Py_ssize_t n_queries,
                                  int n_threads) noexcept nogil:
    cdef DistancesPlan plan
    plan.database = database[0]
    plan.n_queries = n_queries
    plan.n_threads = threads_for(n_threads, (database.n + database.tile - 1) // database.tile,
                                 words_compared(database, n_queries))
    lay_out_distances(&plan, NULL)
    return plan


cdef void lay_out_distances(DistancesPlan *plan, void *memory) noexcept nogil:
    """Divide the plan's memory among its parts; NULL only finds out how much it needs."""
    cdef Arena arena = make_arena(memory)
    plan.queries = <uint64_t *>carve(&arena, 8 * plan.n_queries * plan.database.n_words)
    plan.tile_bytes = whole_lines(8 * tile_buffer_words(&plan.database, plan.database.tile))
    plan.tiles = <uint8_t *>carve(&arena, plan.n_threads * plan.tile_bytes)
    plan.memory_bytes = arena.used


cdef void run_distances(const DistancesPlan *plan, const uint8_t *queries,
                        int32_t *out, Py_ssize_t stride) noexcept nogil:
    """out[i * stride + j] = Hamming distance of query i and code j; the plan has its memory."""
    cdef const Database *database = &plan.database
    cdef Py_ssize_t n_tiles = (database.n + database.tile - 1) // database.tile, tile
    write_words(queries, plan.n_queries, database.n_bytes, plan.queries)
    for tile in prange(n_tiles, schedule="dynamic", num_threads=plan.n_threads):
        distances_to_tile(plan, tile * database.tile,
                          <uint64_t *>(plan.tiles + threadid() * plan.tile_bytes), out, stride)


cdef void distances_to_tile(const DistancesPlan *plan, Py_ssize_t start, uint64_t *memory,
                            int32_t *out, Py_ssize_t stride) noexcept nogil:
    cdef const Database *database = &plan.database
    cdef TileBuffer buffer = make_tile_buffer(database, database.tile, memory)
    cdef int32_t n = <int32_t>min(<Py_ssize_t>database.tile, database.n - start)
    cdef const uint64_t *tile = load_tile(database, start, n, &buffer)
    cdef Py_ssize_t q
    for q in range(plan.n_queries):
        active_level().distances(plan.queries + q * database.n_words, tile, n, database.n_words,
                                 out + q * stride + start)


def distances(const uint8_t[:, ::1] a, const uint8_t[:, ::1] b, int32_t[:, ::1] out,
              int n_threads):
    """out[i, j] = Hamming distance of a[i] and b[j]."""
    if a.shape[0] == 0 or b.shape[0] == 0:
        return
    cdef Database database = make_database(&b[0, 0], b.shape[0], b.shape[1], a.shape[0])
    cdef DistancesPlan plan = plan_distances(&database, a.shape[0], n_threads)
    cdef uint8_t[::1] memory = np.empty(plan.memory_bytes, np.uint8)
    lay_out_distances(&plan, &memory[0])
    with nogil:
        run_distances(&plan, &a[0, 0], &out[0, 0], b.shape[0])
