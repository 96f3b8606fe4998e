"""The functions other packages call from C and Cython, behind one capsule.

`fasthash.h`, in the folder that `fasthash.get_include()` names, is the contract. This module checks
arguments, as the public functions of `fasthash` do for Python, brings memory to the kernels' plans,
and keeps the table.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc

from fasthash._kernels.hamming cimport (
    FH_CODE_BYTES_MAX,
    Database,
    DistancesPlan,
    active_level,
    lay_out_distances,
    make_database,
    plan_distances,
    run_distances,
    usable_threads,
)
from fasthash._kernels.radius cimport (
    WithinPlan,
    count_within,
    lay_out_within,
    plan_within,
    write_within,
)
from fasthash._kernels.ranking cimport average_precision as average_precision_of_codes
from fasthash._kernels.search cimport TopkPlan, lay_out_topk, plan_topk, run_topk


cdef const char *message(int error) noexcept nogil:
    if error == FASTHASH_OK:
        return b"no error"
    if error == FASTHASH_ERROR_MEMORY:
        return b"there is no memory for the scratch or the result: ask fewer queries at a time"
    if error == FASTHASH_ERROR_NULL:
        return b"a pointer is NULL where there are values to read or write"
    if error == FASTHASH_ERROR_COUNT:
        return b"a number of codes is negative, or 2^31 or more where ranks are counted"
    if error == FASTHASH_ERROR_WIDTH:
        return b"n_bytes must be at least 1 and at most (2^31 - 1) / 8"
    if error == FASTHASH_ERROR_K:
        return b"k must be at least 1"
    if error == FASTHASH_ERROR_RADIUS:
        return b"radius must be at least 0"
    if error == FASTHASH_ERROR_THREADS:
        return b"n_threads must be at least 1, or 0 for all cores"
    if error == FASTHASH_ERROR_LABELS:
        return b"n_label_words must be at least 1, and below 2^31"
    if error == FASTHASH_ERROR_AT:
        return b"at must be at least 1"
    return b"fasthash knows no error of this number"


cdef const char *simd_level() noexcept nogil:
    return active_level().name


cdef int check_codes(const uint8_t *a, int64_t n_a, const uint8_t *b, int64_t n_b, int64_t n_bytes,
                     int n_threads) noexcept nogil:
    if n_a < 0 or n_b < 0:
        return FASTHASH_ERROR_COUNT
    if n_bytes < 1 or n_bytes > FH_CODE_BYTES_MAX:
        return FASTHASH_ERROR_WIDTH
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
    if out_distances == NULL or ids == NULL:
        return FASTHASH_ERROR_NULL
    cdef int64_t n_found = min(k, count_allowed(allowed, n)), q, rank
    for q in range(n_queries):
        for rank in range(n_found, k):
            out_distances[q * k + rank] = -1
            ids[q * k + rank] = -1
    if n_found == 0:
        return FASTHASH_OK
    cdef Database codes = make_database(database, n, n_bytes, n_queries)
    codes.allowed = allowed
    cdef TopkPlan plan = plan_topk(&codes, n_queries, n_found, usable_threads(n_threads))
    cdef void *memory = malloc(plan.memory_bytes)
    if memory == NULL:
        return FASTHASH_ERROR_MEMORY
    lay_out_topk(&plan, memory)
    run_topk(&plan, queries, out_distances, ids, k)
    free(memory)
    return FASTHASH_OK


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
    if out_distances == NULL or ids == NULL or limits == NULL:
        return FASTHASH_ERROR_NULL
    out_distances[0] = NULL
    ids[0] = NULL
    cdef int error = check_codes(queries, n_queries, database, n, n_bytes, n_threads)
    if error != FASTHASH_OK:
        return error
    if radius < 0:
        return FASTHASH_ERROR_RADIUS
    cdef Database codes = make_database(database, n, n_bytes, n_queries)
    codes.allowed = allowed
    cdef WithinPlan plan = plan_within(&codes, n_queries, <int32_t>min(radius, 8 * n_bytes),
                                       usable_threads(n_threads))
    cdef void *memory = malloc(plan.memory_bytes)
    if memory == NULL:
        return FASTHASH_ERROR_MEMORY
    lay_out_within(&plan, memory)
    count_within(&plan, queries, limits)
    # One more than there are: an empty result has an address too.
    out_distances[0] = <int32_t *>malloc(4 * (limits[n_queries] + 1))
    ids[0] = <int64_t *>malloc(8 * (limits[n_queries] + 1))
    if out_distances[0] == NULL or ids[0] == NULL:
        free(out_distances[0])
        free(ids[0])
        free(memory)
        out_distances[0] = NULL
        ids[0] = NULL
        return FASTHASH_ERROR_MEMORY
    write_within(&plan, out_distances[0], ids[0])
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
    if n > INT32_MAX:
        return FASTHASH_ERROR_COUNT
    if n_label_words < 1 or n_label_words > INT32_MAX:
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


# Filled once, here; read by every extension that was built against it.
cdef fasthash_table table
table.version = FASTHASH_TABLE_VERSION
table.message = &message
table.simd_level = &simd_level
table.distances = &distances
table.topk = &topk
table.within = &within
table.release = &release
table.average_precision = &average_precision

TABLE = PyCapsule_New(&table, "fasthash.c_api.TABLE", NULL)
