"""Searches with weights for callers from C; calls.pyx explains steps and rows with gaps."""

from libc.math cimport NAN
from libc.stdint cimport int16_t, int32_t, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memmove

from fasthash._kernels.calls cimport (
    Pace,
    Search,
    Stage,
    bring_rows,
    count_allowed,
    has_gaps,
    is_stopped,
    make_pace,
    make_stage,
    rows_copied,
    step_rows,
    threads_of,
)
from fasthash._kernels.tasks cimport part_rows
from fasthash._kernels.tiles cimport Arena, Database, carve, make_arena, make_database
from fasthash._kernels.weighted cimport (
    WeightedPlan,
    lay_out_weighted,
    n_weighted_rounds,
    plan_weighted,
    weighted_step,
)

cdef extern from "<stdint.h>" nogil:
    const int64_t PTRDIFF_MAX

cdef extern from "weights.h" nogil:
    int fh_round_weights(const double *weights, int64_t n_bits, int64_t n_bytes, int16_t *rounded,
                         double *largest, double *step)
    int32_t fh_weighted_max(const int16_t *weights, int32_t n_bytes)

cdef extern from "fasthash.h" nogil:
    enum:
        FASTHASH_OK
        FASTHASH_ERROR_MEMORY
        FASTHASH_ERROR_STOPPED
        FASTHASH_ERROR_WEIGHTS

# The rounded weights and the steps of all queries, and the distances found.
cdef struct Rounded:
    int16_t *weights       # 8 * n_bytes for each query
    double *largest        # of each query, and its step as a multiple of that
    double *steps
    int32_t *distances     # as many as are found, for each query


cdef Rounded carve_rounded(const Search *search, int64_t n_found, Arena *arena) noexcept nogil:
    cdef Rounded rounded
    rounded.weights = <int16_t *>carve(arena, 16 * search.n_queries * search.n_bytes)
    rounded.largest = <double *>carve(arena, 8 * search.n_queries)
    rounded.steps = <double *>carve(arena, 8 * search.n_queries)
    rounded.distances = <int32_t *>carve(arena, 4 * search.n_queries * n_found)
    return rounded


cdef int search_weighted(const Search *search, const double *weights, int64_t n_bits, int64_t k,
                         double *scores, int64_t *ids) noexcept nogil:
    """For at least one query. The queries of the search are not read."""
    cdef int64_t n_found = min(k, count_allowed(search.allowed, search.n)), q
    cdef Arena arena = make_arena(NULL)
    cdef Rounded rounded
    cdef int error = FASTHASH_OK
    cdef void *memory
    if search.n_queries > PTRDIFF_MAX // 32 // max(search.n_bytes, n_found):
        return FASTHASH_ERROR_MEMORY
    carve_rounded(search, n_found, &arena)
    memory = malloc(arena.used)
    if memory == NULL:
        return FASTHASH_ERROR_MEMORY
    arena = make_arena(memory)
    rounded = carve_rounded(search, n_found, &arena)
    for q in range(search.n_queries):
        if fh_round_weights(weights + q * n_bits, n_bits, search.n_bytes,
                            rounded.weights + 8 * q * search.n_bytes, rounded.largest + q,
                            rounded.steps + q) != 0:
            error = FASTHASH_ERROR_WEIGHTS
            break
    if error == FASTHASH_OK and n_found > 0:
        error = find_nearest(search, &rounded, n_found, ids)
    if error == FASTHASH_OK:
        write_scores(search, &rounded, n_found, k, scores, ids)
    free(memory)
    return error


cdef int find_nearest(const Search *search, const Rounded *rounded, int64_t n_found,
                      int64_t *ids) noexcept nogil:
    """Write the distances and ids of all queries without gaps."""
    cdef Database codes = make_database(search.database, search.n, search.n_bytes, search.n_queries)
    codes.allowed = search.allowed
    cdef WeightedPlan plan = plan_weighted(&codes, rounded.weights, search.n_queries, n_found,
                                           threads_of(search, search.n_queries))
    if has_gaps(search):
        # A sample needs rows from everywhere, and only those of one step are copied.
        plan.n_sample = 0
    lay_out_weighted(&plan, NULL)
    # There are no queries to copy.
    cdef Search rows = search[0]
    rows.query_stride = rows.n_bytes
    cdef Stage stage
    cdef int error = make_stage(&rows, rows_copied(&plan.database), &stage)
    if error != FASTHASH_OK:
        return error
    cdef void *memory = malloc(plan.memory_bytes)
    if memory == NULL:
        free(stage.memory)
        return FASTHASH_ERROR_MEMORY
    lay_out_weighted(&plan, memory)
    error = run_in_steps(search, &plan, &stage, rounded.distances, ids)
    free(memory)
    free(stage.memory)
    return error


cdef int run_in_steps(const Search *search, WeightedPlan *plan, const Stage *stage,
                      int32_t *out_distances, int64_t *ids) noexcept nogil:
    cdef Pace pace = make_pace(search)
    cdef Py_ssize_t n = part_rows(&plan.database, plan.n_parts), round, row, n_rows
    for round in range(n_weighted_rounds(plan)):
        row = 0
        while row < n:
            if is_stopped(&pace):
                return FASTHASH_ERROR_STOPPED
            n_rows = n - row
            if search.poll != NULL or stage.room > 0:
                n_rows = step_rows(stage, &pace, &plan.database, n_rows, plan.n_task,
                                   plan.database.n_words)
            bring_rows(stage, NULL, row, n_rows, &plan.database)
            weighted_step(plan, round, row, n_rows, out_distances, ids)
            row += n_rows
            pace.n_done += n_rows * plan.n_task * plan.database.n_words
    return FASTHASH_OK


cdef void write_scores(const Search *search, const Rounded *rounded, int64_t n_found, int64_t k,
                       double *scores, int64_t *ids) noexcept nogil:
    """Turn distances into scores, and leave k places for each query."""
    cdef int64_t q = search.n_queries, place, total, distance
    while q > 0:
        # From the last query on, because the places move up.
        q -= 1
        total = fh_weighted_max(rounded.weights + 8 * q * search.n_bytes, <int32_t>search.n_bytes)
        memmove(ids + q * k, ids + q * n_found, 8 * n_found)
        for place in range(n_found):
            distance = rounded.distances[q * n_found + place]
            # In this order, because a step may be smaller than any float.
            scores[q * k + place] = (<double>(total - 2 * distance) * rounded.steps[q]
                                     * rounded.largest[q])
        for place in range(n_found, k):
            scores[q * k + place] = NAN
            ids[q * k + place] = -1
