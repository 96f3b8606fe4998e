"""Full ranking over packed codes: a counting sort by distance, for all rows or a k near their number.

It reads the database in the tiles of hamming.pyx. Order is always (distance, position).
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memset

from fasthash._kernels.hamming cimport (
    Database,
    TileBuffer,
    active_level,
    fh_level,
    load_tile,
    make_database,
    make_tile_buffer,
    tile_buffer_words,
)

import numpy as np

from fasthash._kernels.hamming import as_words


cdef void rank_of_query(const uint64_t *query, const Database *database, int64_t k,
                        uint64_t *tile_memory, int32_t *all_distances, int32_t *order,
                        int64_t *places, int32_t *out_distances, int64_t *out) noexcept nogil:
    """Counting sort of the searched rows by distance; stable, so ties stay in id order.

    The first k go to the output, with their distances unless that is NULL. Positions are scattered
    as int32 into `order`, which stays in the cache, and widened in one sequential pass: scattering
    into the output itself would fetch every line of it from memory.
    """
    cdef const fh_level *level = active_level()
    cdef TileBuffer buffer = make_tile_buffer(database, database.tile, tile_memory)
    cdef Py_ssize_t n_distances = 8 * database.n_bytes + 1, start = 0
    cdef int32_t n = <int32_t>database.n, n_tile, i, d
    cdef int64_t place = 0, count
    memset(places, 0, n_distances * sizeof(int64_t))
    while start < n:
        n_tile = <int32_t>min(<Py_ssize_t>database.tile, n - start)
        level.distances(query, load_tile(database, start, n_tile, &buffer), n_tile,
                        database.n_words, all_distances + start)
        for i in range(<int32_t>start, <int32_t>start + n_tile):
            places[all_distances[i]] += 1
        start = start + n_tile
    for d in range(n_distances):
        count = places[d]
        places[d] = place
        if out_distances != NULL:
            for i in range(<int32_t>min(place, k), <int32_t>min(place + count, k)):
                out_distances[i] = d
        place = place + count
    for i in range(n):
        d = all_distances[i]
        order[places[d]] = i
        places[d] += 1
    for i in range(<int32_t>k):
        out[i] = order[i]


def rank(const uint8_t[:, ::1] queries_bytes, const uint8_t[:, ::1] codes,
         const int64_t[::1] rows, int32_t[:, ::1] out_distances, int64_t[:, ::1] out,
         int n_threads):
    """The first out.shape[1] positions among the searched rows, by (distance, position).

    Sorts them all: for a k near n. Fewer than 2^31 rows. `out_distances` may be None.
    """
    cdef const uint64_t[:, ::1] queries = as_words(np.asarray(queries_bytes))
    cdef Database database = make_database(codes, rows, queries.shape[0])
    cdef Py_ssize_t q
    cdef int thread
    if queries.shape[0] == 0 or database.n == 0:
        return
    n_threads = <int>min(<Py_ssize_t>n_threads, queries.shape[0])
    cdef int32_t[:, ::1] all_distances = np.empty((n_threads, database.n), np.int32)
    cdef int32_t[:, ::1] order = np.empty((n_threads, database.n), np.int32)
    cdef int64_t[:, ::1] places = np.empty((n_threads, 8 * database.n_bytes + 1), np.int64)
    cdef uint64_t[:, ::1] memory = np.empty(
        (n_threads, tile_buffer_words(&database, database.tile)), np.uint64)
    for q in prange(queries.shape[0], nogil=True, schedule="dynamic", num_threads=n_threads):
        thread = threadid()
        rank_of_query(&queries[q, 0], &database, out.shape[1], &memory[thread, 0],
                      &all_distances[thread, 0], &order[thread, 0], &places[thread, 0],
                      &out_distances[q, 0] if out_distances is not None else NULL, &out[q, 0])
