"""Searches for callers from C: they allocate memory, read rows with gaps, and can be ended.

A search of rows without gaps, which has no poll function, runs its plan once. Any other search
takes steps, each over some of the rows. Before a step, the rows with gaps are copied, and the poll
function is asked whether to go on. Functions return an error of fasthash.h.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uintptr_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from fasthash._kernels.distances cimport (
    DistancesPlan,
    lay_out_distances,
    plan_distances,
    run_distances,
)
from fasthash._kernels.radius cimport (
    WithinPlan,
    find_places,
    lay_out_within,
    most_queries,
    plan_within,
    start_within,
    within_step,
)
from fasthash._kernels.search cimport (
    TopkPlan,
    lay_out_topk,
    n_rounds,
    plan_topk,
    run_topk,
    topk_step,
)
from fasthash._kernels.sorting cimport (
    RankingPlan,
    advance_ranking,
    lay_out_ranking,
    plan_ranking,
    sorts_all,
)
from fasthash._kernels.tasks cimport part_rows, rows_of_step
from fasthash._kernels.tiles cimport Database, make_database, usable_threads, write_words

cdef extern from "<stdint.h>" nogil:
    const int64_t PTRDIFF_MAX

cdef extern from "<time.h>" nogil:
    struct timespec:
        int64_t tv_sec
        long tv_nsec
    enum:
        TIME_UTC
    int timespec_get(timespec *now, int base)

cdef extern from "fasthash.h" nogil:
    enum:
        FASTHASH_OK
        FASTHASH_ERROR_MEMORY
        FASTHASH_ERROR_ROOM
        FASTHASH_ERROR_STOPPED

cdef enum:
    # Bytes of rows that are copied at once, or a tile where that is more.
    COPY_BYTES = 1 << 22
    # What the first step compares, in 64-bit words per thread: less than a millisecond.
    FIRST_WORDS = 1 << 20
    # A search with a poll function compares so many queries per thread with all rows at a time.
    POLLED_QUERIES = 256
    # With at least so many queries per thread, the database is not cut into parts.
    UNDIVIDED_QUERIES = 4
    # What it takes to write a hit, in words compared.
    HIT_WORDS = 32

cdef double STEP_SECONDS = 0.1


# --- steps -------------------------------------------------------------------

cdef double seconds_now() noexcept nogil:
    cdef timespec now
    timespec_get(&now, TIME_UTC)
    return <double>now.tv_sec + 1e-9 * now.tv_nsec


cdef Pace make_pace(const Search *search) noexcept nogil:
    cdef Pace pace
    pace.poll, pace.context = search.poll, search.context
    pace.n_words, pace.n_done = PTRDIFF_MAX, 0
    pace.since = 0
    if pace.poll != NULL:
        pace.n_words = FIRST_WORDS
        pace.since = seconds_now()
    return pace


cdef bint is_stopped(Pace *pace) noexcept nogil:
    """Before every step: whether the caller, asked once `n_words` are done, ends the search."""
    cdef double n_words
    if pace.poll == NULL or pace.n_done < pace.n_words:
        return False
    # The clock may be set while a search runs, and the machine may be busy for a while: `n_words`
    # changes by a factor of at most four.
    n_words = pace.n_done * STEP_SECONDS / max(seconds_now() - pace.since, 1e-9)
    n_words = min(4.0 * pace.n_words, max(0.25 * pace.n_words, n_words))
    pace.n_words = <Py_ssize_t>min(1e12, max(<double>FIRST_WORDS, n_words))
    pace.n_done = 0
    if pace.poll(pace.context) != 0:
        return True
    pace.since = seconds_now()
    return False


# --- rows with gaps ----------------------------------------------------------

cdef bint has_gaps(const Search *search) noexcept nogil:
    return search.stride != search.n_bytes


cdef Py_ssize_t rows_copied(const Database *database) noexcept nogil:
    """How many rows are copied at once: whole tiles."""
    cdef Py_ssize_t tile = database.tile
    return min(database.n, max(<Py_ssize_t>1, COPY_BYTES // (database.n_bytes * tile)) * tile)


cdef int make_stage(const Search *search, Py_ssize_t room, Stage *stage) noexcept nogil:
    """Copy the queries where they have gaps, and allocate what rows with gaps need."""
    cdef Py_ssize_t n_bytes = search.n_bytes, query_bytes = 0, row_bytes = 0
    stage.queries, stage.database = search.queries, search.database
    stage.stride, stage.n_bytes = search.stride, n_bytes
    stage.memory = NULL
    stage.copied = NULL
    stage.room = room if has_gaps(search) else 0
    if search.query_stride != n_bytes:
        query_bytes = search.n_queries * n_bytes
    row_bytes = stage.room * n_bytes
    if query_bytes > PTRDIFF_MAX - row_bytes:
        return FASTHASH_ERROR_MEMORY
    if query_bytes + row_bytes == 0:
        return FASTHASH_OK
    stage.memory = malloc(query_bytes + row_bytes)
    if stage.memory == NULL:
        return FASTHASH_ERROR_MEMORY
    stage.copied = <uint8_t *>stage.memory + query_bytes
    if query_bytes > 0:
        copy_rows(<uint8_t *>stage.memory, search.queries, search.query_stride, n_bytes, NULL, 0,
                  search.n_queries)
        stage.queries = <const uint8_t *>stage.memory
    return FASTHASH_OK


cdef void copy_rows(uint8_t *out, const uint8_t *codes, Py_ssize_t stride, Py_ssize_t n_bytes,
                    const int64_t *rows, Py_ssize_t first, Py_ssize_t n) noexcept nogil:
    """Copy n rows, or n of the listed ones, from the first on."""
    cdef Py_ssize_t i, row
    for i in range(n):
        row = first + i if rows == NULL else rows[first + i]
        memcpy(out + i * n_bytes, codes + row * stride, n_bytes)


cdef void bring_rows(const Stage *stage, const int64_t *rows, Py_ssize_t first, Py_ssize_t n,
                     Database *database) noexcept nogil:
    """Copy n rows with gaps; nothing to do for others.

    The database then begins where row 0 would lie if all rows before these had been copied too.
    """
    if stage.room > 0:
        copy_rows(stage.copied, stage.database, stage.stride, stage.n_bytes, rows, first, n)
        database.codes = <const uint8_t *>(<uintptr_t>stage.copied
                                           - <uintptr_t>(first * stage.n_bytes))


cdef int threads_of(const Search *search, Py_ssize_t n_queries) noexcept nogil:
    """How many threads a search may have.

    With gaps, so few that the database is not cut into parts: rows are copied for one part only.
    """
    cdef int n_threads = usable_threads(search.n_threads)
    if has_gaps(search):
        n_threads = <int>max(<Py_ssize_t>1, min(<Py_ssize_t>n_threads,
                                                n_queries // UNDIVIDED_QUERIES))
    return n_threads


cdef Py_ssize_t step_rows(const Stage *stage, const Pace *pace, const Database *database,
                          Py_ssize_t n_left, Py_ssize_t n_queries, Py_ssize_t cost) noexcept nogil:
    cdef Py_ssize_t n = min(n_left, rows_of_step(database, n_queries, pace.n_words, cost))
    return n if stage.room == 0 else min(n, stage.room)


# --- distances and the nearest -----------------------------------------------

cdef int search_distances(const Search *search, int32_t *out) noexcept nogil:
    """For at least one query and one row."""
    cdef Database codes = make_database(search.database, search.n, search.n_bytes, search.n_queries)
    cdef Py_ssize_t n_here = search.n_queries, q = 0, row, n_rows
    cdef Pace pace = make_pace(search)
    cdef Stage stage
    cdef int error = make_stage(search, rows_copied(&codes), &stage)
    if error != FASTHASH_OK:
        return error
    if search.poll != NULL:
        n_here = min(n_here, <Py_ssize_t>POLLED_QUERIES)
    cdef DistancesPlan plan = plan_distances(&codes, n_here, usable_threads(search.n_threads))
    cdef void *memory = malloc(plan.memory_bytes)
    if memory == NULL:
        free(stage.memory)
        return FASTHASH_ERROR_MEMORY
    lay_out_distances(&plan, memory)
    while q < search.n_queries and error == FASTHASH_OK:
        plan.n_queries = min(n_here, search.n_queries - q)
        row = 0
        while row < search.n:
            if is_stopped(&pace):
                error = FASTHASH_ERROR_STOPPED
                break
            n_rows = step_rows(&stage, &pace, &codes, search.n - row, plan.n_queries, codes.n_words)
            bring_rows(&stage, NULL, row, n_rows, &codes)
            plan.database.codes = <const uint8_t *>(<uintptr_t>codes.codes
                                                    + <uintptr_t>(row * search.n_bytes))
            plan.database.n = n_rows
            run_distances(&plan, stage.queries + q * search.n_bytes, out + q * search.n + row,
                          search.n)
            row += n_rows
            pace.n_done += n_rows * plan.n_queries * codes.n_words
        q += plan.n_queries
    free(memory)
    free(stage.memory)
    return error


cdef int search_topk(const Search *search, int64_t k, int32_t *out_distances,
                     int64_t *ids) noexcept nogil:
    """For at least one query."""
    cdef int64_t n_allowed = count_allowed(search.allowed, search.n), q, place
    cdef int64_t n_found = min(k, n_allowed)
    for q in range(search.n_queries):
        for place in range(n_found, k):
            out_distances[q * k + place] = -1
            ids[q * k + place] = -1
    if n_found == 0:
        return FASTHASH_OK
    if sorts_all(n_found, n_allowed):
        return sort_rows(search, search.allowed, n_allowed, n_found, out_distances, ids, k)
    cdef Database codes = make_database(search.database, search.n, search.n_bytes, search.n_queries)
    codes.allowed = search.allowed
    cdef TopkPlan plan = plan_topk(&codes, search.n_queries, n_found,
                                   threads_of(search, search.n_queries))
    if has_gaps(search):
        # A sample needs rows from everywhere, and only those of one step are copied.
        plan.n_sample = 0
        lay_out_topk(&plan, NULL)
    cdef Stage stage
    cdef int error = make_stage(search, rows_copied(&plan.database), &stage)
    if error != FASTHASH_OK:
        return error
    cdef void *memory = malloc(plan.memory_bytes)
    if memory == NULL:
        free(stage.memory)
        return FASTHASH_ERROR_MEMORY
    lay_out_topk(&plan, memory)
    if search.poll == NULL and stage.room == 0:
        run_topk(&plan, stage.queries, out_distances, ids, k)
    else:
        error = topk_in_steps(search, &plan, &stage, out_distances, ids, k)
    free(memory)
    free(stage.memory)
    return error


cdef int topk_in_steps(const Search *search, TopkPlan *plan, const Stage *stage,
                       int32_t *out_distances, int64_t *ids, Py_ssize_t stride) noexcept nogil:
    cdef Pace pace = make_pace(search)
    cdef Py_ssize_t n = part_rows(&plan.database, plan.n_parts), round, row, n_rows
    write_words(stage.queries, plan.n_queries, plan.database.n_bytes, plan.queries)
    for round in range(n_rounds(plan)):
        row = 0
        while row < n:
            if is_stopped(&pace):
                return FASTHASH_ERROR_STOPPED
            n_rows = step_rows(stage, &pace, &plan.database, n - row, plan.n_task,
                               plan.database.n_words)
            bring_rows(stage, NULL, row, n_rows, &plan.database)
            topk_step(plan, round, row, n_rows, out_distances, ids, stride)
            row += n_rows
            pace.n_done += n_rows * plan.n_task * plan.database.n_words
    return FASTHASH_OK


cdef int64_t count_allowed(const uint8_t *allowed, int64_t n) noexcept nogil:
    cdef int64_t i, n_allowed = 0
    if allowed == NULL:
        return n
    for i in range(n):
        n_allowed += allowed[i] != 0
    return n_allowed


cdef int search_rank(const Search *search, int64_t *ids) noexcept nogil:
    """For at least one query and one row, fewer than 2^31 rows."""
    return sort_rows(search, NULL, search.n, search.n, NULL, ids, search.n)


cdef int sort_rows(const Search *search, const uint8_t *allowed, int64_t n_allowed, int64_t k,
                   int32_t *out_distances, int64_t *ids, int64_t stride) noexcept nogil:
    """The k nearest rows of every query, from a sort of all n_allowed that may be found.

    A query's answer lies `stride` values behind the one before; out_distances may be NULL.
    """
    cdef Py_ssize_t list_bytes = 0 if allowed == NULL else 8 * n_allowed
    cdef int64_t *rows = NULL
    cdef int64_t q, place
    cdef Database codes = make_database(search.database, search.n, search.n_bytes, search.n_queries)
    codes.n = n_allowed
    if allowed != NULL and not has_gaps(search):
        # Any address but NULL: the plan asks only whether there is a list, which is made below.
        codes.rows = <const int64_t *>allowed
    cdef RankingPlan plan = plan_ranking(&codes, search.n_queries, k,
                                         usable_threads(search.n_threads))
    cdef Stage stage
    cdef int error = make_stage(search, min(n_allowed, <int64_t>plan.block), &stage)
    if error != FASTHASH_OK:
        return error
    cdef uint8_t *memory = <uint8_t *>malloc(plan.memory_bytes + list_bytes)
    if memory == NULL:
        free(stage.memory)
        return FASTHASH_ERROR_MEMORY
    if allowed != NULL:
        rows = <int64_t *>memory
        list_rows(allowed, search.n, rows)
    if codes.rows != NULL:
        plan.database.rows = rows
    lay_out_ranking(&plan, memory + list_bytes)
    error = ranking_in_steps(search, &plan, &stage, rows, out_distances, ids, stride)
    if rows != NULL and error == FASTHASH_OK:
        for q in range(search.n_queries):
            for place in range(q * stride, q * stride + k):
                ids[place] = rows[ids[place]]
    free(memory)
    free(stage.memory)
    return error


cdef void list_rows(const uint8_t *allowed, int64_t n, int64_t *rows) noexcept nogil:
    cdef int64_t row, place = 0
    for row in range(n):
        if allowed[row]:
            rows[place] = row
            place += 1


cdef int ranking_in_steps(const Search *search, RankingPlan *plan, const Stage *stage,
                          const int64_t *rows, int32_t *out_distances, int64_t *ids,
                          Py_ssize_t stride) noexcept nogil:
    cdef Pace pace = make_pace(search)
    cdef Py_ssize_t first, n_words
    while plan.first_task < plan.n_tasks:
        if is_stopped(&pace):
            return FASTHASH_ERROR_STOPPED
        n_words = pace.n_words
        if stage.room > 0 and plan.n_sorted < plan.n_blocks:
            # Only the rows of one block have been copied. The least work is one block.
            n_words = 1
            first = plan.n_sorted * plan.block
            bring_rows(stage, rows, first, min(stage.room, plan.database.n - first),
                       &plan.database)
        pace.n_done += advance_ranking(plan, stage.queries, n_words, out_distances, ids, stride)
    return FASTHASH_OK


# --- all within a radius -----------------------------------------------------

cdef bint resize(Answer *answer, int64_t capacity) noexcept nogil:
    """Change the capacity; return false and keep the hits if there is no memory."""
    if capacity > PTRDIFF_MAX // 8:
        return False
    cdef void *distances = realloc(answer.distances, 4 * capacity)
    if distances == NULL:
        return False
    answer.distances = <int32_t *>distances
    cdef void *ids = realloc(answer.ids, 8 * capacity)
    if ids == NULL:
        return False
    answer.ids = <int64_t *>ids
    answer.capacity = capacity
    return True


cdef int search_within(const Search *search, int32_t radius, int64_t *limits,
                       Answer *answer) noexcept nogil:
    """Search for some queries at a time, so that the scratch has a bound; append what they find.

    The limits begin at what the answer has. From the first hit on for which there is no room, hits
    are only counted.
    """
    cdef Database codes = make_database(search.database, search.n, search.n_bytes, search.n_queries)
    codes.allowed = search.allowed
    cdef Py_ssize_t n_here = min(search.n_queries, most_queries(radius)), first = 0
    cdef int n_threads = threads_of(search, n_here)
    if search.poll != NULL:
        n_here = min(n_here, <Py_ssize_t>POLLED_QUERIES * n_threads)
    cdef WithinPlan plan = plan_within(&codes, n_here, radius, n_threads)
    cdef Pace pace = make_pace(search)
    cdef Stage stage
    cdef int error = make_stage(search, rows_copied(&plan.database), &stage)
    cdef void *memory = NULL
    limits[0] = answer.n
    while first < search.n_queries and error == FASTHASH_OK:
        if first == 0 or n_here > search.n_queries - first:
            # The last queries may be searched in more parts than the others.
            n_here = min(n_here, search.n_queries - first)
            plan = plan_within(&codes, n_here, radius, threads_of(search, n_here))
            free(memory)
            memory = malloc(plan.memory_bytes)
            if memory == NULL:
                error = FASTHASH_ERROR_MEMORY
                break
            lay_out_within(&plan, memory)
        error = within_of_some(&plan, &stage, &pace, first, limits, answer)
        first += n_here
    free(memory)
    free(stage.memory)
    if error == FASTHASH_OK and answer.n > answer.capacity:
        return FASTHASH_ERROR_ROOM
    return error


cdef int within_of_some(WithinPlan *plan, const Stage *stage, Pace *pace, Py_ssize_t first,
                        int64_t *limits, Answer *answer) noexcept nogil:
    """Search for as many queries as the plan has, from query `first` on.

    Their hits are counted, and written if there is room for all of them.
    """
    cdef int64_t found, q
    start_within(plan, stage.queries + first * stage.n_bytes)
    cdef int error = within_in_steps(plan, stage, pace, 0, NULL, NULL)
    if error != FASTHASH_OK:
        return error
    find_places(plan, limits + first)
    found = limits[first + plan.n_queries]
    for q in range(first, first + plan.n_queries + 1):
        limits[q] += answer.n
    if (answer.grows and answer.n + found > answer.capacity
            and not resize(answer, max(answer.n + found, answer.capacity + answer.capacity // 2))):
        return FASTHASH_ERROR_MEMORY
    if found > 0 and answer.n + found <= answer.capacity:
        error = within_in_steps(plan, stage, pace, found, answer.distances + answer.n,
                                answer.ids + answer.n)
    answer.n += found
    return error


cdef int within_in_steps(WithinPlan *plan, const Stage *stage, Pace *pace, int64_t n_found,
                         int32_t *out_distances, int64_t *ids) noexcept nogil:
    """Scan all rows once: count the hits, or write all n_found of them."""
    cdef const Database *database = &plan.database
    cdef Py_ssize_t n = part_rows(database, plan.n_parts), row = 0, n_rows
    cdef Py_ssize_t cost = database.n_words + <Py_ssize_t>(
        HIT_WORDS * <double>n_found / (<double>plan.n_queries * max(<Py_ssize_t>1, database.n)))
    while row < n:
        if is_stopped(pace):
            return FASTHASH_ERROR_STOPPED
        n_rows = n - row
        if pace.poll != NULL or stage.room > 0:
            n_rows = step_rows(stage, pace, database, n_rows, plan.n_task, cost)
        bring_rows(stage, NULL, row, n_rows, &plan.database)
        within_step(plan, row, n_rows, out_distances, ids)
        row += n_rows
        pace.n_done += n_rows * plan.n_task * cost
    return FASTHASH_OK
