"""Distances, top-k and radius search over packed codes.

Work is cut into tasks: some queries against a part of the database. A task walks its part in tiles
that stay in the first-level cache, laid out once for the registers and then scanned by all queries
of the task. Every task owns its workspace and ids ascend within it, so results depend neither on
the number of threads nor on the tiles. Order is always (distance, id).
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t, uintptr_t
from libc.string cimport memcpy

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
                            int32_t *distances, int64_t *positions, int64_t *counts)
    int32_t fh_selection_bound(const fh_selection *s)
    void fh_selection_append(fh_selection *s, int64_t first, int32_t n,
                             const int32_t *positions, const int32_t *distances)
    void fh_selection_finish(fh_selection *parts, Py_ssize_t n_parts, Py_ssize_t stride,
                             int32_t *out_distances, int64_t *out_positions)

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define FH_OPENMP _OPENMP
    #define FH_MAX_THREADS() omp_get_max_threads()
    #else
    #define FH_OPENMP 0
    #define FH_MAX_THREADS() 1
    #endif
    """
    const int FH_OPENMP
    int FH_MAX_THREADS() nogil

cdef enum:
    # Bytes of a tile: it shares the first-level cache with the hits of one scan.
    TILE_BYTES = 1 << 15
    # A top-k lays out this many tiles at once, in the second-level cache, and lets a group of
    # queries scan them all before the next group: the selections of a group stay in the cache from
    # tile to tile, those of the other groups are fetched once per stretch.
    STRETCH_TILES = 8
    GROUP_QUERIES = 32
    # Few queries wait for the memory: with small tiles it hardly pauses while they scan.
    FEW_QUERIES = 4
    FEW_TILE_BYTES = 1 << 13
    # A tile is a multiple of this many codes, so that it holds whole groups at any level.
    TILE_STEP = 64
    # Queries per task. Laying out a tile costs as much as two to four queries that scan it.
    TASK_QUERIES = 256
    # Bytes of selections a thread may hold; a large k lowers the number of queries per task.
    TASK_BYTES = 48 << 20
    # The first scan of a query takes this many codes, later ones a quarter of what it has seen, so
    # that the bound falls before much has been appended.
    FIRST_BLOCK = 256
    # A database is cut into parts for several threads only where each gets this many bytes, some
    # hundred microseconds of work: threads that wake up late cost more than they save on less.
    PART_BYTES = 1 << 21


def openmp_version():
    """The OpenMP version macro (yyyymm) of the build, 0 without OpenMP."""
    return FH_OPENMP


def openmp_max_threads():
    """How many threads the OpenMP runtime would start from the calling thread."""
    return FH_MAX_THREADS()


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


# --- tiles -------------------------------------------------------------------


cdef Database make_database(const uint8_t[:, ::1] codes, const int64_t[::1] rows,
                            Py_ssize_t n_queries) noexcept nogil:
    cdef Database database
    cdef Py_ssize_t tile_bytes = TILE_BYTES if n_queries > FEW_QUERIES else FEW_TILE_BYTES
    database.codes = &codes[0, 0] if codes.shape[0] > 0 else NULL
    database.rows = NULL
    database.allowed = NULL
    database.n = codes.shape[0]
    database.n_bytes = codes.shape[1]
    database.n_words = <int32_t>((codes.shape[1] + 7) // 8)
    if rows is not None:
        database.n = rows.shape[0]
        database.rows = &rows[0] if rows.shape[0] > 0 else NULL
    database.tile = max(1, tile_bytes // (8 * database.n_words * TILE_STEP)) * TILE_STEP
    return database


cdef Py_ssize_t tile_buffer_words(const Database *database, int32_t n_codes) noexcept nogil:
    """64-bit words one thread needs to load n_codes: laid out, gathered, and room to align."""
    return 2 * <Py_ssize_t>(n_codes + FH_LANES_MAX) * database.n_words + 8


cdef TileBuffer make_tile_buffer(const Database *database, int32_t n_codes,
                                 uint64_t *memory) noexcept nogil:
    cdef TileBuffer buffer
    buffer.prepared = <uint64_t *>((<uintptr_t>memory + 63) & ~<uintptr_t>63)
    buffer.gathered = <uint8_t *>(
        buffer.prepared + <Py_ssize_t>(n_codes + FH_LANES_MAX) * database.n_words)
    return buffer


cdef const uint64_t *load_tile(const Database *database, Py_ssize_t start, int32_t n,
                               const TileBuffer *buffer) noexcept nogil:
    """Codes [start, start + n) laid out for scanning; 64-bit rows need no laying out."""
    cdef const uint8_t *codes
    cdef int32_t i
    if database.rows == NULL:
        codes = database.codes + start * database.n_bytes
    else:
        for i in range(n):
            memcpy(buffer.gathered + i * database.n_bytes,
                   database.codes + database.rows[start + i] * database.n_bytes,
                   database.n_bytes)
        codes = buffer.gathered
    if database.n_bytes == 8:
        return <const uint64_t *>codes
    fh_active_level().prepare(codes, n, database.n_bytes, buffer.prepared)
    return buffer.prepared


def as_words(queries):
    """Queries as rows of whole 64-bit words, zero padded."""
    n, n_bytes = queries.shape
    words = np.zeros((n, (n_bytes + 7) // 8), np.uint64)
    words.view(np.uint8)[:, :n_bytes] = queries
    return words


cdef Py_ssize_t count_parts(const Database *database, Py_ssize_t n_queries,
                            int n_threads) noexcept nogil:
    """Into how many parts the database is cut: one, unless there are too few queries to share."""
    if n_queries >= 4 * n_threads:
        return 1
    return max(1, min(<Py_ssize_t>n_threads, database.n * database.n_bytes // PART_BYTES))


cdef Py_ssize_t part_start(const Database *database, Py_ssize_t part,
                           Py_ssize_t n_parts) noexcept nogil:
    """Where a part begins, in whole tiles."""
    cdef Py_ssize_t n_tiles = (database.n + database.tile - 1) // database.tile
    return min(database.n, (n_tiles * part // n_parts) * database.tile)


# --- distances ---------------------------------------------------------------


def distances(const uint8_t[:, ::1] a, const uint8_t[:, ::1] b, int32_t[:, ::1] out,
              int n_threads):
    """out[i, j] = Hamming distance of a[i] and b[j]."""
    cdef const uint64_t[:, ::1] queries = as_words(np.asarray(a))
    cdef Database database = make_database(b, None, a.shape[0])
    cdef Py_ssize_t n_tiles = (database.n + database.tile - 1) // database.tile
    cdef uint64_t[:, ::1] memory = np.empty(
        (n_threads, tile_buffer_words(&database, database.tile)), np.uint64)
    cdef Py_ssize_t tile
    cdef int thread
    if a.shape[0] == 0:
        return
    for tile in prange(n_tiles, nogil=True, schedule="dynamic", num_threads=n_threads):
        thread = threadid()
        distances_of_tile(queries, &database, tile * database.tile, &memory[thread, 0], out)


cdef void distances_of_tile(const uint64_t[:, ::1] queries, const Database *database,
                            Py_ssize_t start, uint64_t *memory, int32_t[:, ::1] out) noexcept nogil:
    cdef TileBuffer buffer = make_tile_buffer(database, database.tile, memory)
    cdef int32_t n = <int32_t>min(<Py_ssize_t>database.tile, database.n - start)
    cdef const uint64_t *tile = load_tile(database, start, n, &buffer)
    cdef Py_ssize_t q
    for q in range(queries.shape[0]):
        fh_active_level().distances(&queries[q, 0], tile, n, database.n_words, &out[q, start])


# --- top-k -------------------------------------------------------------------


cdef struct Workspace:
    # What one task of a top-k needs: a selection per query, with its candidates and counts, one
    # block of hits, and its tile.
    fh_selection *selections
    int32_t *kept_distances
    int64_t *kept_positions
    int64_t *counts
    int32_t *hit_positions
    int32_t *hit_distances
    uint64_t *tile_memory


cdef void topk_of_task(const uint64_t[:, ::1] queries, Py_ssize_t first, Py_ssize_t n_queries,
                       const Database *database, Py_ssize_t start, Py_ssize_t end, int64_t k,
                       int64_t capacity, const Workspace *work) noexcept nogil:
    """Select among the codes [start, end) for n_queries queries from the first on."""
    cdef int32_t n_stretch = stretch_codes(database, n_queries)
    cdef TileBuffer buffer = make_tile_buffer(database, n_stretch, work.tile_memory)
    cdef int32_t max_distance = <int32_t>(8 * database.n_bytes)
    cdef Py_ssize_t q, group, stretch = start
    cdef int32_t n, tile, n_tile
    cdef const uint64_t *codes
    for q in range(n_queries):
        fh_selection_start(&work.selections[q], k, capacity, max_distance,
                           work.kept_distances + q * capacity, work.kept_positions + q * capacity,
                           work.counts + q * (max_distance + 1))
    while stretch < end:
        n = <int32_t>min(<Py_ssize_t>n_stretch, end - stretch)
        codes = load_tile(database, stretch, n, &buffer)
        group = 0
        while group < n_queries:
            tile = 0
            while tile < n:
                n_tile = min(database.tile, n - tile)
                for q in range(group, min(group + GROUP_QUERIES, n_queries)):
                    scan_tile(&queries[first + q, 0], codes + <Py_ssize_t>tile * database.n_words,
                              n_tile, database, stretch + tile, stretch + tile - start,
                              &work.selections[q], work)
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
        n_hits = fh_active_level().scan(query, tile + <Py_ssize_t>block * n_words, n_block, n_words,
                                        fh_selection_bound(selection), work.hit_positions,
                                        work.hit_distances)
        if database.allowed != NULL and n_hits > 0:
            n_hits = keep_allowed(database.allowed + first + block, n_hits, work.hit_positions,
                                  work.hit_distances)
        if n_hits > 0:
            fh_selection_append(selection, first + block, n_hits, work.hit_positions,
                                work.hit_distances)
        block = block + n_block


cdef int32_t keep_allowed(const uint8_t *allowed, int32_t n_hits, int32_t *positions,
                          int32_t *distances) noexcept nogil:
    """Drop the hits that may not be found; hits are few, so asking here costs next to nothing."""
    cdef int32_t i, n = 0
    for i in range(n_hits):
        if allowed[positions[i]]:
            positions[n] = positions[i]
            distances[n] = distances[i]
            n = n + 1
    return n


cdef int32_t stretch_codes(const Database *database, Py_ssize_t n_queries) noexcept nogil:
    """How many codes a top-k task lays out at once."""
    return database.tile * STRETCH_TILES if n_queries > GROUP_QUERIES else database.tile


def topk(const uint8_t[:, ::1] queries_bytes, const uint8_t[:, ::1] codes, const int64_t[::1] rows,
         const uint8_t[::1] allowed, int64_t k, int32_t[:, ::1] out_distances,
         int64_t[:, ::1] out_positions, int n_threads):
    """The k nearest codes of every query, as positions among the searched rows (None: all).

    ``allowed`` (None: all) says which of them may be found; it goes with ``rows`` None.
    1 <= k <= number of rows that may be found.
    """
    cdef const uint64_t[:, ::1] queries = as_words(np.asarray(queries_bytes))
    cdef Database database = make_database(codes, rows, queries.shape[0])
    cdef Py_ssize_t n_queries = queries.shape[0]
    if allowed is not None:
        database.allowed = &allowed[0]
    cdef int64_t n_counts = 8 * database.n_bytes + 1
    cdef int64_t capacity = min(<int64_t>database.n, 2 * k) + database.tile
    cdef Py_ssize_t per_query = 12 * capacity + 8 * n_counts
    cdef Py_ssize_t n_parts = count_parts(&database, n_queries, n_threads)
    if n_queries == 0:
        return
    # Enough tasks for every thread matter more than tasks that share their tiles well.
    cdef Py_ssize_t n_task = min(<Py_ssize_t>TASK_QUERIES, TASK_BYTES // per_query)
    n_task = max(1, min(n_task, (n_queries + n_threads - 1) // n_threads))
    if n_parts > 1:
        n_task = 1
    cdef Py_ssize_t n_chunks = (n_queries + n_task - 1) // n_task
    n_threads = <int>min(<Py_ssize_t>n_threads, max(n_chunks, n_parts))
    # One slot of selections per thread, or per part where parts wait for each other's candidates.
    cdef Py_ssize_t n_slots = n_threads if n_parts == 1 else n_parts

    # int64 holds the selections too: their size is a multiple of eight, and so is their alignment.
    cdef Py_ssize_t selection_words = <Py_ssize_t>sizeof(fh_selection) // 8
    cdef int64_t[:, ::1] selections = np.empty((n_slots, n_task * selection_words), np.int64)
    cdef int64_t[:, ::1] kept_positions = np.empty((n_slots, n_task * capacity), np.int64)
    cdef int32_t[:, ::1] kept_distances = np.empty((n_slots, n_task * capacity), np.int32)
    cdef int64_t[:, ::1] counts = np.empty((n_slots, n_task * n_counts), np.int64)
    cdef int32_t[:, :, ::1] hits = np.empty((n_slots, 2, database.tile + FH_LANES_MAX), np.int32)
    cdef uint64_t[:, ::1] memory = np.empty(
        (n_slots, tile_buffer_words(&database, stretch_codes(&database, n_task))), np.uint64)

    cdef Workspace work
    cdef Py_ssize_t chunk, part, first, q
    cdef int slot
    if n_parts == 1:
        for chunk in prange(n_chunks, nogil=True, schedule="dynamic", num_threads=n_threads):
            slot = threadid()
            first = chunk * n_task
            work = Workspace(<fh_selection *>&selections[slot, 0], &kept_distances[slot, 0],
                             &kept_positions[slot, 0], &counts[slot, 0], &hits[slot, 0, 0],
                             &hits[slot, 1, 0], &memory[slot, 0])
            topk_of_task(queries, first, min(n_task, n_queries - first), &database, 0, database.n,
                         k, capacity, &work)
            finish_task(&work, first, min(n_task, n_queries - first), out_distances, out_positions)
        return
    for q in range(n_queries):
        for part in prange(n_parts, nogil=True, schedule="static", num_threads=n_threads):
            work = Workspace(<fh_selection *>&selections[part, 0], &kept_distances[part, 0],
                             &kept_positions[part, 0], &counts[part, 0], &hits[part, 0, 0],
                             &hits[part, 1, 0], &memory[part, 0])
            topk_of_task(queries, q, 1, &database, part_start(&database, part, n_parts),
                         part_start(&database, part + 1, n_parts), k, capacity, &work)
        fh_selection_finish(<fh_selection *>&selections[0, 0], n_parts, 1, &out_distances[q, 0],
                            &out_positions[q, 0])


cdef void finish_task(const Workspace *work, Py_ssize_t first, Py_ssize_t n_queries,
                      int32_t[:, ::1] out_distances, int64_t[:, ::1] out_positions) noexcept nogil:
    cdef Py_ssize_t q
    for q in range(n_queries):
        fh_selection_finish(&work.selections[q], 1, 1, &out_distances[first + q, 0],
                            &out_positions[first + q, 0])


# --- radius search -----------------------------------------------------------


cdef void within_of_task(const uint64_t[:, ::1] queries, Py_ssize_t first, Py_ssize_t n_queries,
                         const Database *database, Py_ssize_t part, Py_ssize_t n_parts,
                         int32_t radius, int32_t *hits, uint64_t *tile_memory,
                         int64_t[:, :, ::1] places, int32_t[::1] out_distances,
                         int64_t[::1] out_positions) noexcept nogil:
    """Count the hits per query, distance and part, or, given an output, write each at its place."""
    cdef const fh_level *level = fh_active_level()
    cdef TileBuffer buffer = make_tile_buffer(database, database.tile, tile_memory)
    cdef Py_ssize_t start = part_start(database, part, n_parts)
    cdef Py_ssize_t end = part_start(database, part + 1, n_parts)
    cdef bint writes = out_positions.shape[0] > 0
    cdef int32_t *positions = hits
    cdef int32_t *hit_distances = hits + database.tile + FH_LANES_MAX
    cdef int32_t n_tile, n_hits, i, d
    cdef int64_t place
    cdef Py_ssize_t q
    cdef const uint64_t *tile
    while start < end:
        n_tile = <int32_t>min(<Py_ssize_t>database.tile, end - start)
        tile = load_tile(database, start, n_tile, &buffer)
        for q in range(first, first + n_queries):
            n_hits = level.scan(&queries[q, 0], tile, n_tile, database.n_words, radius + 1,
                                positions, hit_distances)
            if database.allowed != NULL:
                n_hits = keep_allowed(database.allowed + start, n_hits, positions, hit_distances)
            for i in range(n_hits):
                d = hit_distances[i]
                place = places[q, d, part]
                places[q, d, part] = place + 1
                if writes:
                    out_distances[place] = d
                    out_positions[place] = start + positions[i]
        start = start + n_tile


cdef void within_pass(const uint64_t[:, ::1] queries, const Database *database, int32_t radius,
                      int32_t[:, ::1] hits, uint64_t[:, ::1] memory, int64_t[:, :, ::1] places,
                      int32_t[::1] out_distances, int64_t[::1] out_positions,
                      int n_threads) noexcept nogil:
    cdef Py_ssize_t n_queries = queries.shape[0], n_parts = places.shape[2]
    cdef Py_ssize_t n_task = max(1, min(<Py_ssize_t>TASK_QUERIES,
                                        (n_queries + n_threads - 1) // n_threads))
    cdef Py_ssize_t n_chunks = (n_queries + n_task - 1) // n_task
    cdef Py_ssize_t task, first
    cdef int thread
    for task in prange(n_chunks * n_parts, schedule="dynamic", num_threads=n_threads):
        thread = threadid()
        first = (task // n_parts) * n_task
        within_of_task(queries, first, min(n_task, n_queries - first), database, task % n_parts,
                       n_parts, radius, &hits[thread, 0], &memory[thread, 0], places,
                       out_distances, out_positions)


def within(const uint8_t[:, ::1] queries_bytes, const uint8_t[:, ::1] codes,
           const int64_t[::1] rows, const uint8_t[::1] allowed, int32_t radius, int n_threads):
    """(limits, distances, positions) of all codes within the radius, 0 <= radius <= 8 * n_bytes.

    Two scans: the first counts per query, distance and part of the database, which gives every hit
    its place in the output; the second puts it there. Nothing grows, and the result is sorted as it
    is written.
    """
    cdef const uint64_t[:, ::1] queries = as_words(np.asarray(queries_bytes))
    cdef Database database = make_database(codes, rows, queries.shape[0])
    cdef Py_ssize_t n_queries = queries.shape[0]
    if allowed is not None:
        database.allowed = &allowed[0]
    cdef Py_ssize_t n_parts = count_parts(&database, n_queries, n_threads)
    places_array = np.zeros((n_queries, radius + 1, n_parts), np.int64)
    cdef int64_t[:, :, ::1] places = places_array
    cdef int32_t[:, ::1] hits = np.empty(
        (n_threads, 2 * (database.tile + FH_LANES_MAX)), np.int32)
    cdef uint64_t[:, ::1] memory = np.empty(
        (n_threads, tile_buffer_words(&database, database.tile)), np.uint64)
    cdef int32_t[::1] out_distances = np.empty(0, np.int32)
    cdef int64_t[::1] out_positions = np.empty(0, np.int64)
    limits = np.zeros(n_queries + 1, np.int64)
    if n_queries > 0:
        with nogil:
            within_pass(queries, &database, radius, hits, memory, places, out_distances,
                        out_positions, n_threads)
        ends = np.cumsum(places_array).reshape(places_array.shape)
        limits[1:] = ends[:, radius, n_parts - 1]
        np.subtract(ends, places_array, out=places_array)
    n_found = limits[n_queries]
    out_distances = np.empty(n_found, np.int32)
    out_positions = np.empty(n_found, np.int64)
    if n_found > 0:
        with nogil:
            within_pass(queries, &database, radius, hits, memory, places, out_distances,
                        out_positions, n_threads)
    return limits, np.asarray(out_distances), np.asarray(out_positions)


# The environment is read once, here: the level must not change between two searches.
if os.environ.get("FASTHASH_SIMD"):
    use_level(os.environ["FASTHASH_SIMD"])
