"""Distances, top-k, radius search and full ranking over packed codes.

Work is cut into tasks of a few queries each; a task walks the database in tiles that stay in the
cache while all its queries scan them. Every task owns its workspace, so results do not depend on
the number of threads. Order is always (distance, id).
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t

import os

import numpy as np

cdef extern from "simd/simd.h" nogil:
    enum:
        FH_LEVELS_MAX
    const fh_level *fh_active_level()
    int fh_use_level(const char *name)
    int fh_supported_levels(const fh_level **levels)

cdef extern from "selection.h" nogil:
    ctypedef struct fh_selection:
        pass
    void fh_selection_start(fh_selection *s, int64_t k, int64_t capacity, int32_t max_distance,
                            int32_t *distances, int64_t *ids, int64_t *counts)
    int32_t fh_selection_bound(const fh_selection *s)
    void fh_selection_append(fh_selection *s, int64_t first_id, int32_t n,
                             const int32_t *positions, const int32_t *distances)
    void fh_selection_finish(fh_selection *s, int32_t *out_distances, int64_t *out_ids)

cdef extern from *:
    """
    #ifdef _OPENMP
    #define FH_OPENMP _OPENMP
    #else
    #define FH_OPENMP 0
    #endif
    """
    const int FH_OPENMP

# Codes a query scans between two looks at its bound; two int32 per code keep the hits in L1.
cdef enum:
    BLOCK = 1024

# Bytes of codes that every query of a task scans before the task moves on: half of a small L2.
cdef enum:
    TILE_BYTES = 1 << 18

# Queries that share a tile: sixteen already hide the cost of fetching it from memory.
cdef enum:
    TASK_QUERIES = 32

# Bytes of selection workspace one task may hold; a large k lowers its number of queries.
cdef enum:
    TASK_WORKSPACE = 1 << 24


def openmp_version():
    """The OpenMP version macro (yyyymm) of the build, 0 without OpenMP."""
    return FH_OPENMP


def supported_levels():
    """Names of the instruction-set levels this machine can run, slowest first."""
    cdef const fh_level *levels[FH_LEVELS_MAX]
    cdef int n = fh_supported_levels(levels)
    return tuple([levels[i].name.decode() for i in range(n)])


def level_in_use():
    """Name of the instruction-set level in use."""
    return fh_active_level().name.decode()


def use_level(str name not None):
    """Switch to another level; not while a kernel runs. ValueError where the machine lacks it."""
    if fh_use_level(name.encode()) != 0:
        raise ValueError(
            f"the instruction-set level {name!r} is not available here: this machine and build "
            f"have {', '.join(supported_levels())}"
        )


cdef const fh_level *active_level() noexcept nogil:
    return fh_active_level()


def distances(const uint8_t[:, ::1] a, const uint8_t[:, ::1] b, int32_t[:, ::1] out,
              int n_threads):
    """out[i, j] = Hamming distance of a[i] and b[j]."""
    cdef Py_ssize_t n_a = a.shape[0], n_b = b.shape[0], n_bytes = a.shape[1]
    cdef Py_ssize_t tile = max(1, TILE_BYTES // n_bytes)
    cdef Py_ssize_t n_tiles = (n_b + tile - 1) // tile
    cdef Py_ssize_t task, i, start
    cdef const fh_level *level = fh_active_level()
    if n_a == 0 or n_b == 0:
        return
    for task in prange(n_a * n_tiles, nogil=True, schedule="dynamic", num_threads=n_threads):
        i = task % n_a
        start = (task // n_a) * tile
        level.distances(&a[i, 0], &b[start, 0], <int32_t>min(tile, n_b - start), n_bytes,
                        &out[i, start])


cdef struct Workspace:
    # What one thread needs for the top-k of one task: a selection per query, with its candidates and
    # counts, and one block of hits.
    fh_selection *selections
    int32_t *kept_distances
    int64_t *kept_ids
    int64_t *counts
    int32_t *hit_positions
    int32_t *hit_distances


cdef void topk_of_task(const uint8_t[:, ::1] queries, const uint8_t[:, ::1] database,
                       Py_ssize_t first, Py_ssize_t n_queries, int64_t k, int64_t capacity,
                       const Workspace *work, int32_t[:, ::1] out_distances,
                       int64_t[:, ::1] out_ids) noexcept nogil:
    """Scan the database, a tile at a time, for n_queries queries from the first on."""
    cdef const fh_level *level = fh_active_level()
    cdef Py_ssize_t n = database.shape[0], n_bytes = database.shape[1]
    cdef int32_t max_distance = <int32_t>(8 * n_bytes)
    cdef Py_ssize_t tile = max(<Py_ssize_t>BLOCK, TILE_BYTES // n_bytes)
    cdef Py_ssize_t q, start, end, block
    cdef int32_t n_block, n_hits
    cdef fh_selection *selection
    for q in range(n_queries):
        fh_selection_start(&work.selections[q], k, capacity, max_distance,
                           work.kept_distances + q * capacity, work.kept_ids + q * capacity,
                           work.counts + q * (max_distance + 1))
    start = 0
    while start < n:
        end = min(start + tile, n)
        for q in range(n_queries):
            selection = &work.selections[q]
            block = start
            while block < end:
                n_block = <int32_t>min(<Py_ssize_t>BLOCK, end - block)
                n_hits = level.scan(&queries[first + q, 0], &database[block, 0], n_block, n_bytes,
                                    fh_selection_bound(selection), work.hit_positions,
                                    work.hit_distances)
                if n_hits > 0:
                    fh_selection_append(selection, block, n_hits, work.hit_positions,
                                        work.hit_distances)
                block = block + n_block
        start = end
    for q in range(n_queries):
        fh_selection_finish(&work.selections[q], &out_distances[first + q, 0],
                            &out_ids[first + q, 0])


def topk(const uint8_t[:, ::1] queries, const uint8_t[:, ::1] database, int64_t k,
         int32_t[:, ::1] out_distances, int64_t[:, ::1] out_ids, int n_threads):
    """The k nearest codes of every query; 1 <= k <= len(database)."""
    cdef Py_ssize_t n_queries = queries.shape[0], n = database.shape[0]
    cdef int64_t n_counts = 8 * queries.shape[1] + 1
    cdef int64_t capacity = min(<int64_t>n, 2 * k) + BLOCK
    cdef Py_ssize_t per_query = 12 * capacity + 8 * n_counts
    if n_queries == 0:
        return
    # Enough tasks for every thread matter more than tasks that share their tiles well.
    cdef Py_ssize_t n_task = min(<Py_ssize_t>TASK_QUERIES, TASK_WORKSPACE // per_query)
    n_task = max(1, min(n_task, (n_queries + n_threads - 1) // n_threads))
    cdef Py_ssize_t n_tasks = (n_queries + n_task - 1) // n_task
    n_threads = <int>min(<Py_ssize_t>n_threads, n_tasks)

    # int64 holds the selections too: their size is a multiple of eight, and so is their alignment.
    cdef int64_t[:, ::1] selections = np.empty(
        (n_threads, n_task * <Py_ssize_t>sizeof(fh_selection) // 8), np.int64)
    cdef int64_t[:, ::1] kept_ids = np.empty((n_threads, n_task * capacity), np.int64)
    cdef int32_t[:, ::1] kept_distances = np.empty((n_threads, n_task * capacity), np.int32)
    cdef int64_t[:, ::1] counts = np.empty((n_threads, n_task * n_counts), np.int64)
    cdef int32_t[:, :, ::1] hits = np.empty((n_threads, 2, BLOCK), np.int32)

    cdef Workspace work
    cdef Py_ssize_t task, first
    cdef int thread
    for task in prange(n_tasks, nogil=True, schedule="dynamic", num_threads=n_threads):
        thread = threadid()
        work = Workspace(<fh_selection *>&selections[thread, 0], &kept_distances[thread, 0],
                         &kept_ids[thread, 0], &counts[thread, 0], &hits[thread, 0, 0],
                         &hits[thread, 1, 0])
        first = task * n_task
        topk_of_task(queries, database, first, min(n_task, n_queries - first), k, capacity, &work,
                     out_distances, out_ids)


cdef void count_within(const uint8_t *query, const uint8_t[:, ::1] database, int32_t radius,
                       int32_t *positions, int32_t *hit_distances, int64_t *counts) noexcept nogil:
    """counts[d] = how many codes lie at distance d, for d in [0, radius]."""
    cdef const fh_level *level = fh_active_level()
    cdef Py_ssize_t n = database.shape[0], start = 0
    cdef int32_t n_block, n_hits, i
    while start < n:
        n_block = <int32_t>min(<Py_ssize_t>BLOCK, n - start)
        n_hits = level.scan(query, &database[start, 0], n_block, database.shape[1], radius + 1,
                            positions, hit_distances)
        for i in range(n_hits):
            counts[hit_distances[i]] += 1
        start = start + n_block


cdef void place_within(const uint8_t *query, const uint8_t[:, ::1] database, int32_t radius,
                       int32_t *positions, int32_t *hit_distances, int64_t *next_place,
                       int32_t *out_distances, int64_t *out_ids) noexcept nogil:
    """Write every code within the radius at the next place of its distance: a counting sort."""
    cdef const fh_level *level = fh_active_level()
    cdef Py_ssize_t n = database.shape[0], start = 0
    cdef int64_t place
    cdef int32_t n_block, n_hits, i
    while start < n:
        n_block = <int32_t>min(<Py_ssize_t>BLOCK, n - start)
        n_hits = level.scan(query, &database[start, 0], n_block, database.shape[1], radius + 1,
                            positions, hit_distances)
        for i in range(n_hits):
            place = next_place[hit_distances[i]]
            next_place[hit_distances[i]] = place + 1
            out_distances[place] = hit_distances[i]
            out_ids[place] = start + positions[i]
        start = start + n_block


def within(const uint8_t[:, ::1] queries, const uint8_t[:, ::1] database, int32_t radius,
           int n_threads):
    """(limits, distances, ids) of all codes within the radius, 0 <= radius <= 8 * n_bytes.

    Two scans: the first counts per distance, which gives every hit its place in the output; the
    second puts it there. Nothing grows, and the result is sorted as it is written.
    """
    cdef Py_ssize_t n_queries = queries.shape[0], q
    cdef int thread
    places_array = np.zeros((n_queries, radius + 1), np.int64)
    cdef int64_t[:, ::1] places = places_array
    cdef int32_t[:, :, ::1] hits = np.empty((n_threads, 2, BLOCK), np.int32)
    for q in prange(n_queries, nogil=True, schedule="dynamic", num_threads=n_threads):
        thread = threadid()
        count_within(&queries[q, 0], database, radius, &hits[thread, 0, 0], &hits[thread, 1, 0],
                     &places[q, 0])

    ends = np.cumsum(places_array).reshape(places_array.shape)
    limits = np.zeros(n_queries + 1, np.int64)
    limits[1:] = ends[:, radius]
    np.subtract(ends, places_array, out=places_array)
    out_distances_array = np.empty(limits[n_queries], np.int32)
    out_ids_array = np.empty(limits[n_queries], np.int64)
    cdef int32_t[::1] out_distances = out_distances_array
    cdef int64_t[::1] out_ids = out_ids_array
    if out_ids.shape[0] > 0:
        for q in prange(n_queries, nogil=True, schedule="dynamic", num_threads=n_threads):
            thread = threadid()
            place_within(&queries[q, 0], database, radius, &hits[thread, 0, 0],
                         &hits[thread, 1, 0], &places[q, 0], &out_distances[0], &out_ids[0])
    return limits, out_distances_array, out_ids_array


cdef void rank_of_query(const uint8_t *query, const uint8_t[:, ::1] database,
                        int32_t *all_distances, int64_t *places, int64_t *out_ids) noexcept nogil:
    """Counting sort of the whole database by distance; stable, so ties stay in id order."""
    cdef const fh_level *level = fh_active_level()
    cdef Py_ssize_t n = database.shape[0], n_bytes = database.shape[1], start = 0, i, d
    cdef int32_t n_block
    cdef int64_t place = 0, count
    while start < n:
        n_block = <int32_t>min(<Py_ssize_t>BLOCK, n - start)
        level.distances(query, &database[start, 0], n_block, n_bytes, all_distances + start)
        start = start + n_block
    for d in range(8 * n_bytes + 1):
        places[d] = 0
    for i in range(n):
        places[all_distances[i]] += 1
    for d in range(8 * n_bytes + 1):
        count = places[d]
        places[d] = place
        place = place + count
    for i in range(n):
        d = all_distances[i]
        out_ids[places[d]] = i
        places[d] += 1


def rank(const uint8_t[:, ::1] queries, const uint8_t[:, ::1] database, int64_t[:, ::1] out_ids,
         int n_threads):
    """Ids of the whole database for every query, by (distance, id)."""
    cdef Py_ssize_t n_queries = queries.shape[0], n = database.shape[0], q
    cdef int thread
    if n_queries == 0 or n == 0:
        return
    n_threads = <int>min(<Py_ssize_t>n_threads, n_queries)
    cdef int32_t[:, ::1] all_distances = np.empty((n_threads, n), np.int32)
    cdef int64_t[:, ::1] places = np.empty((n_threads, 8 * queries.shape[1] + 1), np.int64)
    for q in prange(n_queries, nogil=True, schedule="dynamic", num_threads=n_threads):
        thread = threadid()
        rank_of_query(&queries[q, 0], database, &all_distances[thread, 0], &places[thread, 0],
                      &out_ids[q, 0])


# The environment is read once, here: the level must not change between two searches.
if os.environ.get("FASTHASH_SIMD"):
    use_level(os.environ["FASTHASH_SIMD"])
