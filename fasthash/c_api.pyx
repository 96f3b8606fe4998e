"""The functions that other packages call from C and Cython, behind one capsule.

`fasthash.h`, in the folder that `fasthash.get_include()` returns, describes them. This module
checks arguments, as the public functions of `fasthash` do for Python, allocates memory for the
plans of the kernels, and fills the table.

To add a function, for example another distance:

1. Append a member to `fasthash_table` in `include/fasthash.h`, with a comment that describes
   arguments and result, and add one to `FASTHASH_TABLE_VERSION`. Never move, remove or change a
   member: extensions that were built before must keep running. A new kind of error gets the next
   number.
2. Repeat the member, and a new error, in `c_api.pxd`.
3. Write the function here, `noexcept nogil`: check every argument, allocate with `malloc`, call the
   kernel, return an error number. Add the sentence of a new error to `message`, and assign the
   function to the table at the end of this file.
4. A kernel that only Python has called needs a `cdef` function in the `.pxd` beside it. A distance
   other than the Hamming distance needs a kernel of its own: see CONTRIBUTING.md.
5. Test it from C through `tests/c_functions.py`, and add it to docs/calling-from-c.md.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc, realloc

cdef extern from "<stdint.h>" nogil:
    const int64_t PTRDIFF_MAX

cdef extern from *:
    const Py_ssize_t PY_SSIZE_T_MAX

from fasthash._kernels.distances cimport (
    DistancesPlan,
    lay_out_distances,
    plan_distances,
    run_distances,
)
from fasthash._kernels.radius cimport (
    WithinPlan,
    count_within,
    lay_out_within,
    most_queries,
    plan_within,
    write_within,
)
from fasthash._kernels.ranking cimport average_precision as average_precision_of_codes
from fasthash._kernels.search cimport TopkPlan, lay_out_topk, plan_topk, run_topk
from fasthash._kernels.sorting cimport (
    RankingPlan,
    advance_ranking,
    lay_out_ranking,
    plan_ranking,
    sorts_all,
)
from fasthash._kernels.tiles cimport (
    FH_CODE_BYTES_MAX,
    Database,
    active_level,
    make_database,
    usable_threads,
)


cdef const char *message(int error) noexcept nogil:
    if error == FASTHASH_OK:
        return b"no error"
    if error == FASTHASH_ERROR_MEMORY:
        return b"there is no memory for the scratch or the result: ask fewer queries at a time"
    if error == FASTHASH_ERROR_NULL:
        return b"a pointer is NULL where there are values to read or write"
    if error == FASTHASH_ERROR_COUNT:
        return b"a number of codes is negative, or more than memory or ranks can count"
    if error == FASTHASH_ERROR_WIDTH:
        return b"n_bytes must be at least 1 and at most (2^31 - 1) / 8"
    if error == FASTHASH_ERROR_K:
        return b"k must be at least 1, and n_queries * k answers must fit in memory"
    if error == FASTHASH_ERROR_RADIUS:
        return b"radius must be at least 0"
    if error == FASTHASH_ERROR_THREADS:
        return b"n_threads must be at least 1, or 0 for all cores"
    if error == FASTHASH_ERROR_LABELS:
        return b"n_label_words must be at least 1 and below 2^31, and the labels must fit in memory"
    if error == FASTHASH_ERROR_AT:
        return b"at must be at least 1"
    return b"fasthash has no error with this number"


cdef const char *simd_level() noexcept nogil:
    return active_level().name


cdef int check_codes(const uint8_t *a, int64_t n_a, const uint8_t *b, int64_t n_b, int64_t n_bytes,
                     int n_threads) noexcept nogil:
    if n_a < 0 or n_b < 0:
        return FASTHASH_ERROR_COUNT
    if n_bytes < 1 or n_bytes > FH_CODE_BYTES_MAX:
        return FASTHASH_ERROR_WIDTH
    if n_a > PTRDIFF_MAX // n_bytes or n_b > PTRDIFF_MAX // n_bytes:
        return FASTHASH_ERROR_COUNT
    if n_threads < 0:
        return FASTHASH_ERROR_THREADS
    if (a == NULL and n_a > 0) or (b == NULL and n_b > 0):
        return FASTHASH_ERROR_NULL
    return FASTHASH_OK


cdef int distances(const uint8_t *a, int64_t n_a, const uint8_t *b, int64_t n_b, int64_t n_bytes,
                   int32_t *out, int n_threads) noexcept nogil:
    cdef int error = check_codes(a, n_a, b, n_b, n_bytes, n_threads)
    if error != FASTHASH_OK:
        return error
    if n_a == 0 or n_b == 0:
        return FASTHASH_OK
    if n_a > PTRDIFF_MAX // 4 // n_b:
        return FASTHASH_ERROR_COUNT
    if out == NULL:
        return FASTHASH_ERROR_NULL
    cdef Database codes = make_database(b, n_b, n_bytes, n_a)
    cdef DistancesPlan plan = plan_distances(&codes, n_a, usable_threads(n_threads))
    cdef void *memory = malloc(plan.memory_bytes)
    if memory == NULL:
        return FASTHASH_ERROR_MEMORY
    lay_out_distances(&plan, memory)
    run_distances(&plan, a, out)
    free(memory)
    return FASTHASH_OK


cdef int topk(const uint8_t *queries, int64_t n_queries, const uint8_t *database, int64_t n,
              int64_t n_bytes, int64_t k, const uint8_t *allowed, int32_t *out_distances,
              int64_t *ids, int n_threads) noexcept nogil:
    cdef int error = check_codes(queries, n_queries, database, n, n_bytes, n_threads)
    if error != FASTHASH_OK:
        return error
    if k < 1:
        return FASTHASH_ERROR_K
    if n_queries == 0:
        return FASTHASH_OK
    if k > PTRDIFF_MAX // 8 // n_queries:
        return FASTHASH_ERROR_K
    if out_distances == NULL or ids == NULL:
        return FASTHASH_ERROR_NULL
    cdef int64_t n_allowed = count_allowed(allowed, n), q, place
    cdef int64_t n_found = min(k, n_allowed)
    for q in range(n_queries):
        for place in range(n_found, k):
            out_distances[q * k + place] = -1
            ids[q * k + place] = -1
    if n_found == 0:
        return FASTHASH_OK
    cdef Database codes = make_database(database, n, n_bytes, n_queries)
    if sorts_all(n_found, n_allowed):
        return sort_rows(queries, n_queries, &codes, allowed, n_allowed, n_found, out_distances,
                         ids, k, n_threads)
    codes.allowed = allowed
    cdef TopkPlan plan = plan_topk(&codes, n_queries, n_found, usable_threads(n_threads))
    cdef void *memory = malloc(plan.memory_bytes)
    if memory == NULL:
        return FASTHASH_ERROR_MEMORY
    lay_out_topk(&plan, memory)
    run_topk(&plan, queries, out_distances, ids, k)
    free(memory)
    return FASTHASH_OK


cdef int sort_rows(const uint8_t *queries, int64_t n_queries, Database *codes,
                   const uint8_t *allowed, int64_t n_allowed, int64_t k, int32_t *out_distances,
                   int64_t *ids, int64_t stride, int n_threads) noexcept nogil:
    """The k nearest rows of every query, from a sort of all n_allowed that may be found.

    A query's answer lies `stride` values behind the one before; out_distances may be NULL.
    """
    cdef Py_ssize_t rows_bytes = 0 if allowed == NULL else 8 * n_allowed
    cdef int64_t *rows = NULL
    cdef int64_t row, n = codes.n, q, place
    if allowed != NULL:
        # The searched rows are listed in memory that comes later; the plan asks whether they are.
        codes.rows, codes.n = <const int64_t *>allowed, n_allowed
    cdef RankingPlan plan = plan_ranking(codes, n_queries, k, usable_threads(n_threads))
    cdef uint8_t *memory = <uint8_t *>malloc(plan.memory_bytes + rows_bytes)
    if memory == NULL:
        return FASTHASH_ERROR_MEMORY
    if allowed != NULL:
        rows = <int64_t *>memory
        plan.database.rows = rows
        place = 0
        for row in range(n):
            if allowed[row]:
                rows[place] = row
                place += 1
    lay_out_ranking(&plan, memory + rows_bytes)
    advance_ranking(&plan, queries, PY_SSIZE_T_MAX, out_distances, ids, stride)
    if allowed != NULL:
        for q in range(n_queries):
            for place in range(q * stride, q * stride + k):
                ids[place] = rows[ids[place]]
    free(memory)
    return FASTHASH_OK


cdef int rank(const uint8_t *queries, int64_t n_queries, const uint8_t *database, int64_t n,
              int64_t n_bytes, int64_t *ids, int n_threads) noexcept nogil:
    cdef int error = check_codes(queries, n_queries, database, n, n_bytes, n_threads)
    if error != FASTHASH_OK:
        return error
    if n > INT32_MAX:
        return FASTHASH_ERROR_COUNT
    if n_queries == 0 or n == 0:
        return FASTHASH_OK
    if n_queries > PTRDIFF_MAX // 8 // n:
        return FASTHASH_ERROR_COUNT
    if ids == NULL:
        return FASTHASH_ERROR_NULL
    cdef Database codes = make_database(database, n, n_bytes, n_queries)
    return sort_rows(queries, n_queries, &codes, NULL, n, n, NULL, ids, n, n_threads)


cdef int64_t count_allowed(const uint8_t *allowed, int64_t n) noexcept nogil:
    cdef int64_t i, n_allowed = 0
    if allowed == NULL:
        return n
    for i in range(n):
        n_allowed += allowed[i] != 0
    return n_allowed


cdef int within(const uint8_t *queries, int64_t n_queries, const uint8_t *database, int64_t n,
                int64_t n_bytes, int64_t radius, const uint8_t *allowed, int64_t *limits,
                int32_t **out_distances, int64_t **ids, int n_threads) noexcept nogil:
    # The caller may release both after any error.
    if out_distances != NULL:
        out_distances[0] = NULL
    if ids != NULL:
        ids[0] = NULL
    if out_distances == NULL or ids == NULL or limits == NULL:
        return FASTHASH_ERROR_NULL
    cdef int error = check_codes(queries, n_queries, database, n, n_bytes, n_threads)
    if error != FASTHASH_OK:
        return error
    if n_queries > PTRDIFF_MAX // 8 - 1:
        return FASTHASH_ERROR_COUNT
    if radius < 0:
        return FASTHASH_ERROR_RADIUS
    cdef Database codes = make_database(database, n, n_bytes, n_queries)
    codes.allowed = allowed
    cdef Answer answer
    answer.n = answer.capacity = 0
    answer.distances = NULL
    answer.ids = NULL
    error = within_in_blocks(queries, n_queries, &codes, <int32_t>min(radius, 8 * n_bytes),
                             usable_threads(n_threads), limits, &answer)
    # A result without hits has an address too. After several blocks, memory may be left over.
    if (error == FASTHASH_OK and (answer.ids == NULL or answer.capacity != answer.n)
            and not resize(&answer, max(<int64_t>1, answer.n))):
        error = FASTHASH_ERROR_MEMORY
    if error != FASTHASH_OK:
        free(answer.distances)
        free(answer.ids)
        return error
    out_distances[0] = answer.distances
    ids[0] = answer.ids
    return FASTHASH_OK


# The hits of a radius search so far, and the capacity of its arrays.
cdef struct Answer:
    int64_t n
    int64_t capacity
    int32_t *distances
    int64_t *ids


cdef bint resize(Answer *answer, int64_t capacity) noexcept nogil:
    """Change the capacity; false without a change of the hits if there is no memory."""
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


cdef int within_in_blocks(const uint8_t *queries, int64_t n_queries, const Database *codes,
                          int32_t radius, int n_threads, int64_t *limits,
                          Answer *answer) noexcept nogil:
    """Search for a block of queries at a time, so that scratch is bounded; append the hits."""
    cdef int64_t first = 0, n_here = min(n_queries, most_queries(radius)), found, q
    cdef WithinPlan plan = plan_within(codes, n_here, radius, n_threads)
    cdef void *memory = malloc(plan.memory_bytes)
    if memory == NULL:
        return FASTHASH_ERROR_MEMORY
    limits[0] = 0
    while first < n_queries:
        if n_here > n_queries - first:
            # The last queries may be searched in more parts than the others.
            n_here = n_queries - first
            free(memory)
            plan = plan_within(codes, n_here, radius, n_threads)
            memory = malloc(plan.memory_bytes)
            if memory == NULL:
                return FASTHASH_ERROR_MEMORY
        lay_out_within(&plan, memory)
        count_within(&plan, queries + first * codes.n_bytes, limits + first)
        found = limits[first + n_here]
        if (answer.n + found > answer.capacity
                and not resize(answer, max(answer.n + found, 3 * (answer.capacity // 2)))):
            free(memory)
            return FASTHASH_ERROR_MEMORY
        if found > 0:
            write_within(&plan, answer.distances + answer.n, answer.ids + answer.n)
        for q in range(first, first + n_here + 1):
            limits[q] += answer.n
        answer.n += found
        first += n_here
    free(memory)
    return FASTHASH_OK


cdef void release(void *memory) noexcept nogil:
    free(memory)


cdef int average_precision(const uint8_t *queries, int64_t n_queries, const uint8_t *database,
                           int64_t n, int64_t n_bytes, const uint64_t *query_labels,
                           const uint64_t *labels, int64_t n_label_words, int64_t at,
                           double *scores, int n_threads) noexcept nogil:
    cdef int error = check_codes(queries, n_queries, database, n, n_bytes, n_threads)
    if error != FASTHASH_OK:
        return error
    if n > INT32_MAX or n_queries > PTRDIFF_MAX // 8:
        return FASTHASH_ERROR_COUNT
    if n_label_words < 1 or n_label_words > INT32_MAX:
        return FASTHASH_ERROR_LABELS
    if max(n, n_queries) > PTRDIFF_MAX // 8 // n_label_words:
        return FASTHASH_ERROR_LABELS
    if at < 1:
        return FASTHASH_ERROR_AT
    if n_queries == 0:
        return FASTHASH_OK
    if scores == NULL or query_labels == NULL or (labels == NULL and n > 0):
        return FASTHASH_ERROR_NULL
    if average_precision_of_codes(queries, n_queries, database, n, n_bytes, query_labels, labels,
                                  <int32_t>n_label_words, at, scores,
                                  usable_threads(n_threads)) != 0:
        return FASTHASH_ERROR_MEMORY
    return FASTHASH_OK


# Filled once, here; extensions read it.
cdef fasthash_table table
table.version = FASTHASH_TABLE_VERSION
table.message = &message
table.simd_level = &simd_level
table.distances = &distances
table.topk = &topk
table.within = &within
table.release = &release
table.average_precision = &average_precision
table.rank = &rank

TABLE = PyCapsule_New(&table, "fasthash.c_api.TABLE", NULL)
