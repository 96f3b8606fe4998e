"""Radius search over packed codes: how a task counts and writes its hits; tasks.pyx cuts the tasks.

Two scans: the first counts the hits, the second writes each at its place. `Within` is called until
nothing is left: between two calls its caller can answer an interrupt.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from fasthash._kernels.planes cimport (
    PlaneScan,
    are_dense,
    carve_plane_scan,
    choose_planes,
    lay_out_planes,
    next_hits,
    plane_codes,
    planes_for,
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
    FH_LANES_MAX,
    Arena,
    Database,
    TileBuffer,
    carve,
    load_tile,
    make_arena,
    make_tile_buffer,
    scan_loaded,
    threads_for,
    tile_buffer_words,
    use_rows_for_few,
    words_compared,
    write_words,
)

import numpy as np

cdef extern from "keys.h" nogil:
    void fh_sort_ties(const int32_t *distances, int64_t *rows, int64_t n, uint64_t *scratch)

cdef extern from *:
    const Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    # What it takes to write a hit, in words compared: memory that was never touched before.
    HIT_WORDS = 32
    # Bytes of counts that a search may hold; a large radius lowers the number of queries at once.
    PLACES_BYTES = 32 << 20

# What one task needs: the hits of one scan, its tile, and its bit planes.
cdef struct Workspace:
    int32_t *positions
    int32_t *distances
    uint64_t *tile
    PlaneScan planes


cdef Py_ssize_t most_queries(int32_t radius) noexcept nogil:
    """How many queries a plan may have, so that its counts stay below `PLACES_BYTES`: at least one.

    A query has 8 bytes for each distance up to the radius.
    """
    return max(<Py_ssize_t>1, PLACES_BYTES // (8 * (<Py_ssize_t>radius + 1)))


def queries_at_once(int32_t radius):
    """`most_queries`, for Python."""
    return most_queries(radius)


cdef WithinPlan plan_within(const Database *database, Py_ssize_t n_queries, int32_t radius,
                            int n_threads) noexcept nogil:
    """For 0 <= radius <= 8 * n_bytes, and at most `most_queries` queries."""
    cdef WithinPlan plan
    n_threads = threads_for(n_threads, PY_SSIZE_T_MAX, words_compared(database, n_queries))
    plan.database = database[0]
    use_rows_for_few(&plan.database, n_queries)
    database = &plan.database
    plan.n_queries = n_queries
    plan.radius = radius
    plan.n_parts = max(<Py_ssize_t>1, min(count_parts(database, n_queries, n_threads),
                                          most_queries(radius) // max(<Py_ssize_t>1, n_queries)))
    plan.n_task = queries_per_task(n_queries, n_threads)
    plan.planes = planes_for(database, plan.n_task)
    plan.n_threads = <int>min(
        <Py_ssize_t>n_threads,
        max(<Py_ssize_t>1, (n_queries + plan.n_task - 1) // plan.n_task * plan.n_parts))
    lay_out_within(&plan, NULL)
    return plan


cdef void lay_out_within(WithinPlan *plan, void *memory) noexcept nogil:
    """Divide the plan's memory among its parts; NULL only finds out how much it needs."""
    cdef Arena arena = make_arena(memory)
    cdef Arena slot = make_arena(NULL)
    cdef const Database *database = &plan.database
    carve_workspace(plan, &slot)
    plan.slot_bytes = slot.used
    plan.queries = <uint64_t *>carve(&arena, 8 * plan.n_queries * database.n_words)
    plan.places = <int64_t *>carve(&arena, 8 * n_places(plan))
    plan.slots = <uint8_t *>carve(&arena, plan.n_threads * plan.slot_bytes)
    plan.memory_bytes = arena.used


cdef Workspace carve_workspace(const WithinPlan *plan, Arena *arena) noexcept nogil:
    cdef Workspace work
    cdef const Database *database = &plan.database
    cdef Py_ssize_t n_hits = database.tile + FH_LANES_MAX
    if plan.planes != NULL:
        n_hits = max(n_hits, plane_codes(plan.planes, database) + FH_LANES_MAX)
    work.positions = <int32_t *>carve(arena, 4 * n_hits)
    work.distances = <int32_t *>carve(arena, 4 * n_hits)
    work.tile = <uint64_t *>carve(arena, 8 * tile_buffer_words(database, database.tile))
    work.planes = carve_plane_scan(plan.planes, database, plan.n_task, arena)
    return work


cdef Py_ssize_t n_places(const WithinPlan *plan) noexcept nogil:
    return plan.n_queries * (<Py_ssize_t>plan.radius + 1) * plan.n_parts


cdef void start_within(const WithinPlan *plan, const uint8_t *queries) noexcept nogil:
    """Begin a search for so many queries as the plan has; the plan has its memory.

    After it come `within_step` over all rows without an output, which counts, `find_places`, and
    `within_step` over all rows with an output. Hits are counted per query, distance and part of the
    database. So every hit has its place before it is written, no array grows, and the result is
    sorted as it is written.
    """
    memset(plan.places, 0, 8 * n_places(plan))
    write_words(queries, plan.n_queries, plan.database.n_bytes, plan.queries)


cdef void find_places(const WithinPlan *plan, int64_t *limits) noexcept nogil:
    """Turn counts into places: the hits of query q will lie from limits[q] to limits[q + 1].

    `limits` has one value more than there are queries.
    """
    cdef Py_ssize_t per_query = (<Py_ssize_t>plan.radius + 1) * plan.n_parts, q, i
    cdef int64_t n_found = 0, count
    cdef int64_t *places = plan.places
    for q in range(plan.n_queries):
        limits[q] = n_found
        for i in range(q * per_query, (q + 1) * per_query):
            count = places[i]
            places[i] = n_found
            n_found += count
    limits[plan.n_queries] = n_found


cdef void within_step(const WithinPlan *plan, Py_ssize_t row, Py_ssize_t n_rows,
                      int32_t *out_distances, int64_t *out_positions) noexcept nogil:
    """Count or write what n_rows rows of every part give, from the given row on."""
    cdef Py_ssize_t n_queries = plan.n_queries, n_task = plan.n_task, n_parts = plan.n_parts
    cdef Py_ssize_t n_chunks = (n_queries + n_task - 1) // n_task
    cdef Py_ssize_t task, first
    for task in prange(n_chunks * n_parts, schedule="dynamic", num_threads=plan.n_threads):
        first = (task // n_parts) * n_task
        within_of_task(plan, threadid(), first, min(n_task, n_queries - first), task % n_parts,
                       row, n_rows, out_distances, out_positions)


cdef void within_of_task(const WithinPlan *plan, Py_ssize_t slot, Py_ssize_t first,
                         Py_ssize_t n_queries, Py_ssize_t part, Py_ssize_t row, Py_ssize_t n_rows,
                         int32_t *out_distances, int64_t *out_positions) noexcept nogil:
    """Count the hits per query, distance and part, or, given an output, write each at its place."""
    cdef const Database *database = &plan.database
    cdef Arena arena = make_arena(plan.slots + slot * plan.slot_bytes)
    cdef Workspace work = carve_workspace(plan, &arena)
    cdef Py_ssize_t start = part_start(database, part, plan.n_parts) + row
    cdef Py_ssize_t end = min(part_start(database, part + 1, plan.n_parts), start + n_rows)
    cdef Py_ssize_t per_query = (<Py_ssize_t>plan.radius + 1) * plan.n_parts, q, n_hits
    cdef int64_t *places = plan.places + first * per_query + part
    cdef const uint64_t *queries = plan.queries + first * database.n_words
    cdef bint has_planes = plan.planes != NULL and n_queries >= plan.planes.least_queries
    # Whether hits are so many that tiles are scanned; a tile shows it first.
    cdef bint is_dense = True
    cdef int32_t n
    if has_planes:
        choose_planes(&work.planes, queries, n_queries, database.n_words)
        for q in range(n_queries):
            work.planes.bounds[q] = plan.radius + 1
    while start < end:
        if has_planes and not is_dense:
            n = <int32_t>min(<Py_ssize_t>plane_codes(plan.planes, database), end - start)
            n_hits = scan_planes(plan, start, n, places, &work, out_distances, out_positions)
        else:
            n = <int32_t>min(<Py_ssize_t>database.tile, end - start)
            n_hits = scan_tile(plan, queries, n_queries, start, n, places, &work, out_distances,
                               out_positions)
        is_dense = has_planes and are_dense(plan.planes, n_hits, n * n_queries)
        start = start + n


cdef Py_ssize_t scan_planes(const WithinPlan *plan, Py_ssize_t start, int32_t n, int64_t *places,
                            Workspace *work, int32_t *out_distances,
                            int64_t *out_positions) noexcept nogil:
    """Place the hits of all queries among n codes, laid out as bit planes; how many there were."""
    cdef PlaneScan *scan = &work.planes
    cdef Py_ssize_t per_query = (<Py_ssize_t>plan.radius + 1) * plan.n_parts, n_all = 0
    cdef int32_t q, n_hits
    lay_out_planes(scan, &plan.database, start, n)
    q = next_hits(scan, 0, &n_hits, work.positions, work.distances)
    while q < scan.queries.n:
        n_all = n_all + n_hits
        place_hits(plan, start, n_hits, places + q * per_query, work, out_distances, out_positions)
        q = next_hits(scan, q + 1, &n_hits, work.positions, work.distances)
    return n_all


cdef Py_ssize_t scan_tile(const WithinPlan *plan, const uint64_t *queries, Py_ssize_t n_queries,
                          Py_ssize_t start, int32_t n, int64_t *places, const Workspace *work,
                          int32_t *out_distances, int64_t *out_positions) noexcept nogil:
    """Place the hits of all queries among n codes, laid out as a tile; how many there were."""
    cdef const Database *database = &plan.database
    cdef TileBuffer buffer = make_tile_buffer(database, database.tile, work.tile)
    cdef const uint64_t *tile = load_tile(database, start, n, &buffer)
    cdef Py_ssize_t per_query = (<Py_ssize_t>plan.radius + 1) * plan.n_parts, n_all = 0, q
    cdef int32_t n_hits
    for q in range(n_queries):
        n_hits = scan_loaded(database, queries + q * database.n_words, tile, 0, n,
                             plan.radius + 1, work.positions, work.distances)
        n_all = n_all + n_hits
        place_hits(plan, start, n_hits, places + q * per_query, work, out_distances, out_positions)
    return n_all


cdef inline void place_hits(const WithinPlan *plan, Py_ssize_t start, int32_t n_hits,
                            int64_t *places, const Workspace *work, int32_t *out_distances,
                            int64_t *out_positions) noexcept nogil:
    """Count the hits of a query among the codes from `start` on, or write each at its place."""
    cdef int32_t i, d
    cdef int64_t place
    if plan.database.allowed != NULL:
        n_hits = keep_allowed(&plan.database, start, n_hits, work.positions, work.distances)
    for i in range(n_hits):
        d = work.distances[i]
        place = places[d * plan.n_parts]
        places[d * plan.n_parts] = place + 1
        if out_positions != NULL:
            out_distances[place] = d
            out_positions[place] = start + work.positions[i]
            if plan.database.order != NULL:
                out_positions[place] = plan.database.order[start + work.positions[i]]


def sort_ties(const int64_t[::1] limits, const int32_t[::1] distances, int64_t[::1] rows,
              int n_threads):
    """Sort the rows of each query, whose distances ascend, among equal distances.

    The answers to query q are at [limits[q], limits[q + 1]) of the other two.
    """
    cdef Py_ssize_t n_queries = limits.shape[0] - 1, q
    cdef uint64_t[:, ::1] scratch
    if rows.shape[0] == 0:
        return
    n_threads = threads_for(n_threads, n_queries, <double>HIT_WORDS * rows.shape[0])
    scratch = np.empty((n_threads, np.diff(limits).max()), np.uint64)
    for q in prange(n_queries, nogil=True, schedule="dynamic", num_threads=n_threads):
        fh_sort_ties(&distances[0] + limits[q], &rows[0] + limits[q], limits[q + 1] - limits[q],
                     &scratch[threadid(), 0])


cdef class Within:
    """All codes within the radius, 0 <= radius <= 8 * n_bytes, of 1 to `most_queries` queries.

    `search.Topk` explains ``rows``, ``allowed`` and ``order``; with ``order``, answers at the same
    distance are in the order in which the codes lie, see `sort_ties`.
    Two scans: the first counts, the second writes. ``limits``, ``distances`` and ``positions`` are
    the answer when nothing is left to do. With more than `most` answers there is no second scan:
    only ``limits`` is there, and ``distances`` is None.
    """

    cdef WithinPlan plan
    cdef const uint8_t[:, ::1] queries, codes
    cdef const int64_t[::1] rows
    cdef const uint8_t[::1] allowed
    cdef const uint32_t[::1] order
    cdef uint8_t[::1] memory
    cdef int64_t[::1] limits_view
    cdef int32_t[::1] distances_view
    cdef int64_t[::1] positions_view
    cdef readonly object limits, distances, positions
    cdef Py_ssize_t row
    cdef int64_t most

    def __cinit__(self, const uint8_t[:, ::1] queries, const uint8_t[:, ::1] codes,
                  const int64_t[::1] rows, const uint8_t[::1] allowed, const uint32_t[::1] order,
                  int32_t radius, int64_t most, int n_threads):
        cdef Database database = searched(queries.shape[0], codes, rows, allowed, order)
        self.most = most
        self.queries, self.codes = queries, codes
        self.rows, self.allowed, self.order = rows, allowed, order
        self.plan = plan_within(&database, queries.shape[0], radius, n_threads)
        self.memory = np.empty(self.plan.memory_bytes, np.uint8)
        lay_out_within(&self.plan, &self.memory[0])
        self.limits = np.empty(queries.shape[0] + 1, np.int64)
        self.limits_view = self.limits
        start_within(&self.plan, &queries[0, 0])

    def advance(self, Py_ssize_t n_words):
        """Compare about so many 64-bit words per thread; how many it were, 0 at the end."""
        cdef const WithinPlan *plan = &self.plan
        cdef const Database *database = &plan.database
        cdef bint writes = self.distances is not None
        cdef int32_t *out_distances = NULL
        cdef int64_t *out_positions = NULL
        cdef Py_ssize_t cost = database.n_words, n_left, n_rows
        cdef int64_t n_found
        n_left = part_rows(database, plan.n_parts) - self.row
        if writes and (n_left == 0 or self.positions_view.shape[0] == 0):
            return 0
        if writes:
            # A hit that is written costs about as much as so many words that are compared.
            n_found = self.positions_view.shape[0]
            cost += HIT_WORDS * n_found // (plan.n_queries * database.n)
            out_distances, out_positions = &self.distances_view[0], &self.positions_view[0]
        n_rows = min(n_left, rows_of_step(database, plan.n_task, n_words, cost))
        with nogil:
            within_step(plan, self.row, n_rows, out_distances, out_positions)
        self.row += n_rows
        if n_rows == n_left and not writes:
            find_places(plan, &self.limits_view[0])
            n_found = self.limits_view[plan.n_queries]
            if n_found > self.most:
                return 0
            self.row = 0
            self.distances = np.empty(n_found, np.int32)
            self.positions = np.empty(n_found, np.int64)
            self.distances_view, self.positions_view = self.distances, self.positions
            if n_found > 0 and n_words >= plan.n_queries * database.n * database.n_words:
                return self.advance(PY_SSIZE_T_MAX)
        return max(<Py_ssize_t>1, n_rows * plan.n_task * cost)
