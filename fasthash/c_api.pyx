"""The functions that other packages call from C and Cython, behind one capsule.

`fasthash.h`, in the folder that `fasthash.get_include()` returns, describes them. This module
checks arguments, as the public functions of `fasthash` do for Python, and fills the table.
`_kernels/calls.pyx` allocates memory for the plans of the kernels and runs the searches;
`_kernels/index_calls.pyx` does so for indexes.

To add a function, for example another distance:

1. Append a member to `fasthash_table` in `include/fasthash.h`, with a comment that describes
   arguments and result, and add one to `FASTHASH_TABLE_VERSION`. Never move, remove or change a
   member: extensions that were built before must keep running. A new kind of error gets the next
   number.
2. Repeat the member, and a new error, in `c_api.pxd`.
3. Write the function here, `noexcept nogil`: check every argument, call `_kernels/calls.pyx`, which
   allocates with `malloc` and calls the kernel, return an error number. Add the sentence of a new
   error to `message`, and assign the function to the table at the end of this file.
4. A kernel that only Python has called needs a `cdef` function in the `.pxd` beside it. A distance
   other than the Hamming distance needs a kernel of its own: CONTRIBUTING.md, "Add a kernel in five
   steps".
5. Test it from C through `tests/c_functions.py`, and add it to docs/calling-from-c.md.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport INT32_MAX, UINT32_MAX, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free

cdef extern from "<stdint.h>" nogil:
    const int64_t PTRDIFF_MAX

from fasthash._kernels.calls cimport (
    Answer,
    Search,
    resize,
    search_distances,
    search_rank,
    search_topk,
    search_within,
)
from fasthash._kernels.index_calls cimport (
    Index,
    create_index,
    free_index,
    has_zero_padding,
    topk_in_index,
    within_in_index,
)
from fasthash._kernels.ranking cimport average_precision as average_precision_of_codes
from fasthash._kernels.tiles cimport (
    FH_CODE_BYTES_MAX,
    FH_WEIGHTED_BYTES_MAX,
    active_level,
    usable_threads,
)
from fasthash._kernels.weighted_calls cimport search_weighted


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
    if error == FASTHASH_ERROR_ROOM:
        return b"there is no room for all hits, or n_room is negative"
    if error == FASTHASH_ERROR_STRIDE:
        return b"a stride must be at least n_bytes, or 0 for rows without gaps"
    if error == FASTHASH_ERROR_STOPPED:
        return b"the search was stopped by its poll function"
    if error == FASTHASH_ERROR_BITS:
        return b"n_bits must be 0 or the bits of n_bytes bytes, and the padding bits must be 0"
    if error == FASTHASH_ERROR_WEIGHTS:
        return b"weights must be finite, and so small that their sum does not overflow"
    return b"fasthash has no error with this number"


cdef const char *simd_level() noexcept nogil:
    return active_level().name


cdef int check(Search *search) noexcept nogil:
    """Check what all searches have in common, and set the strides of rows without gaps."""
    cdef int64_t n_bytes = search.n_bytes
    if search.n_queries < 0 or search.n < 0:
        return FASTHASH_ERROR_COUNT
    if n_bytes < 1 or n_bytes > FH_CODE_BYTES_MAX:
        return FASTHASH_ERROR_WIDTH
    if search.query_stride == 0:
        search.query_stride = n_bytes
    if search.stride == 0:
        search.stride = n_bytes
    if search.query_stride < n_bytes or search.stride < n_bytes:
        return FASTHASH_ERROR_STRIDE
    if (search.n_queries > PTRDIFF_MAX // search.query_stride
            or search.n > PTRDIFF_MAX // search.stride):
        return FASTHASH_ERROR_COUNT
    if search.n_threads < 0:
        return FASTHASH_ERROR_THREADS
    if ((search.queries == NULL and search.n_queries > 0)
            or (search.database == NULL and search.n > 0)):
        return FASTHASH_ERROR_NULL
    return FASTHASH_OK


cdef Search plain(const uint8_t *queries, int64_t n_queries, const uint8_t *database, int64_t n,
                  int64_t n_bytes, const uint8_t *allowed, int n_threads) noexcept nogil:
    """A search of rows without gaps that goes on to its end."""
    return Search(queries, n_queries, 0, database, n, 0, n_bytes, allowed, NULL, NULL, n_threads)


cdef Search described(const fasthash_search *search) noexcept nogil:
    """Copy the description; for NULL return one that `check` refuses."""
    if search == NULL:
        return Search(NULL, 1, 0, NULL, 1, 0, 1, NULL, NULL, NULL, 1)
    return Search(search.queries, search.n_queries, search.query_stride, search.database, search.n,
                  search.stride, search.n_bytes, search.allowed, search.poll, search.context,
                  search.n_threads)


# --- distances and the nearest -----------------------------------------------

cdef int distances(const uint8_t *a, int64_t n_a, const uint8_t *b, int64_t n_b, int64_t n_bytes,
                   int32_t *out, int n_threads) noexcept nogil:
    cdef Search search = plain(a, n_a, b, n_b, n_bytes, NULL, n_threads)
    return checked_distances(&search, out)


cdef int distances_of(const fasthash_search *described_search, int32_t *out) noexcept nogil:
    cdef Search search = described(described_search)
    return checked_distances(&search, out)


cdef int checked_distances(Search *search, int32_t *out) noexcept nogil:
    cdef int error = check(search)
    if error != FASTHASH_OK:
        return error
    if search.n_queries == 0 or search.n == 0:
        return FASTHASH_OK
    if search.n_queries > PTRDIFF_MAX // 4 // search.n:
        return FASTHASH_ERROR_COUNT
    if out == NULL:
        return FASTHASH_ERROR_NULL
    return search_distances(search, out)


cdef int topk(const uint8_t *queries, int64_t n_queries, const uint8_t *database, int64_t n,
              int64_t n_bytes, int64_t k, const uint8_t *allowed, int32_t *out_distances,
              int64_t *ids, int n_threads) noexcept nogil:
    cdef Search search = plain(queries, n_queries, database, n, n_bytes, allowed, n_threads)
    return checked_topk(NULL, &search, k, out_distances, ids)


cdef int topk_of(const fasthash_search *described_search, int64_t k, int32_t *out_distances,
                 int64_t *ids) noexcept nogil:
    cdef Search search = described(described_search)
    return checked_topk(NULL, &search, k, out_distances, ids)


cdef int checked_topk(const Index *index, Search *search, int64_t k, int32_t *out_distances,
                      int64_t *ids) noexcept nogil:
    """In the index, or by a scan where there is none."""
    cdef int error = check(search)
    if error != FASTHASH_OK:
        return error
    if k < 1:
        return FASTHASH_ERROR_K
    if search.n_queries == 0:
        return FASTHASH_OK
    if k > PTRDIFF_MAX // 8 // search.n_queries:
        return FASTHASH_ERROR_K
    if out_distances == NULL or ids == NULL:
        return FASTHASH_ERROR_NULL
    if index != NULL:
        return topk_in_index(index, search, k, out_distances, ids)
    return search_topk(search, k, out_distances, ids)


cdef int topk_weighted_of(const fasthash_search *described_search, const double *weights,
                          int64_t n_bits, int64_t k, double *scores, int64_t *ids) noexcept nogil:
    cdef Search search = described(described_search)
    # The weights are the queries: any address and stride will do.
    search.queries, search.query_stride = <const uint8_t *>weights, 0
    cdef int error = check(&search)
    if error != FASTHASH_OK:
        return error
    if search.n_bytes > FH_WEIGHTED_BYTES_MAX:
        return FASTHASH_ERROR_WIDTH
    if n_bits == 0:
        n_bits = 8 * search.n_bytes
    if n_bits < 8 * search.n_bytes - 7 or n_bits > 8 * search.n_bytes:
        return FASTHASH_ERROR_BITS
    if k < 1:
        return FASTHASH_ERROR_K
    if search.n_queries == 0:
        return FASTHASH_OK
    if k > PTRDIFF_MAX // 8 // search.n_queries:
        return FASTHASH_ERROR_K
    if search.n_queries > PTRDIFF_MAX // 8 // n_bits:
        return FASTHASH_ERROR_COUNT
    if scores == NULL or ids == NULL:
        return FASTHASH_ERROR_NULL
    return search_weighted(&search, weights, n_bits, k, scores, ids)


cdef int rank(const uint8_t *queries, int64_t n_queries, const uint8_t *database, int64_t n,
              int64_t n_bytes, int64_t *ids, int n_threads) noexcept nogil:
    cdef Search search = plain(queries, n_queries, database, n, n_bytes, NULL, n_threads)
    return checked_rank(&search, ids)


cdef int rank_of(const fasthash_search *described_search, int64_t *ids) noexcept nogil:
    cdef Search search = described(described_search)
    return checked_rank(&search, ids)


cdef int checked_rank(Search *search, int64_t *ids) noexcept nogil:
    cdef int error = check(search)
    if error != FASTHASH_OK:
        return error
    if search.n > INT32_MAX:
        return FASTHASH_ERROR_COUNT
    if search.n_queries == 0 or search.n == 0:
        return FASTHASH_OK
    if search.n_queries > PTRDIFF_MAX // 8 // search.n:
        return FASTHASH_ERROR_COUNT
    if ids == NULL:
        return FASTHASH_ERROR_NULL
    return search_rank(search, ids)


# --- all within a radius -----------------------------------------------------

cdef int within(const uint8_t *queries, int64_t n_queries, const uint8_t *database, int64_t n,
                int64_t n_bytes, int64_t radius, const uint8_t *allowed, int64_t *limits,
                int32_t **out_distances, int64_t **ids, int n_threads) noexcept nogil:
    cdef Search search = plain(queries, n_queries, database, n, n_bytes, allowed, n_threads)
    # The caller may release both after any error.
    if out_distances != NULL:
        out_distances[0] = NULL
    if ids != NULL:
        ids[0] = NULL
    if out_distances == NULL or ids == NULL:
        return FASTHASH_ERROR_NULL
    cdef Answer answer = Answer(0, 0, NULL, NULL, True)
    cdef int error = checked_within(NULL, &search, radius, limits, &answer)
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


cdef int within_of(const fasthash_search *described_search, int64_t radius, int64_t *limits,
                   int32_t *out_distances, int64_t *ids, int64_t n_room) noexcept nogil:
    cdef Search search = described(described_search)
    return within_room(NULL, &search, radius, limits, out_distances, ids, n_room)


cdef int within_room(const Index *index, Search *search, int64_t radius, int64_t *limits,
                     int32_t *out_distances, int64_t *ids, int64_t n_room) noexcept nogil:
    if n_room < 0 or n_room > PTRDIFF_MAX // 8:
        return FASTHASH_ERROR_ROOM
    if n_room > 0 and (out_distances == NULL or ids == NULL):
        return FASTHASH_ERROR_NULL
    cdef Answer answer = Answer(0, n_room, out_distances, ids, False)
    return checked_within(index, search, radius, limits, &answer)


cdef int checked_within(const Index *index, Search *search, int64_t radius, int64_t *limits,
                        Answer *answer) noexcept nogil:
    """In the index, or by a scan where there is none."""
    cdef int error = FASTHASH_ERROR_NULL if limits == NULL else check(search)
    if error != FASTHASH_OK:
        return error
    if search.n_queries > PTRDIFF_MAX // 8 - 1:
        return FASTHASH_ERROR_COUNT
    if radius < 0:
        return FASTHASH_ERROR_RADIUS
    radius = min(radius, 8 * search.n_bytes)
    if index != NULL:
        return within_in_index(index, search, <int32_t>radius, limits, answer)
    return search_within(search, <int32_t>radius, limits, answer)


cdef void release(void *memory) noexcept nogil:
    free(memory)


# --- an index ----------------------------------------------------------------

cdef int index_create(const fasthash_search *described_search, int64_t n_bits,
                      fasthash_index **index) noexcept nogil:
    cdef Search search = described(described_search)
    # The caller may free it after any error.
    if index == NULL:
        return FASTHASH_ERROR_NULL
    index[0] = NULL
    search.queries, search.n_queries, search.query_stride = NULL, 0, 0
    cdef int error = check(&search)
    if error != FASTHASH_OK:
        return error
    if search.n > UINT32_MAX:
        return FASTHASH_ERROR_COUNT
    if n_bits == 0:
        n_bits = 8 * search.n_bytes
    if n_bits < 8 * search.n_bytes - 7 or n_bits > 8 * search.n_bytes:
        return FASTHASH_ERROR_BITS
    return create_index(&search, <int32_t>n_bits, <Index **>index)


cdef int index_topk(const fasthash_index *index, const fasthash_search *described_search,
                    int64_t k, int32_t *out_distances, int64_t *ids) noexcept nogil:
    cdef Search search = described(described_search)
    cdef int error = look_into(<const Index *>index, &search)
    if error != FASTHASH_OK:
        return error
    return checked_topk(<const Index *>index, &search, k, out_distances, ids)


cdef int index_within(const fasthash_index *index, const fasthash_search *described_search,
                      int64_t radius, int64_t *limits, int32_t *out_distances, int64_t *ids,
                      int64_t n_room) noexcept nogil:
    cdef Search search = described(described_search)
    cdef int error = look_into(<const Index *>index, &search)
    if error != FASTHASH_OK:
        return error
    return within_room(<const Index *>index, &search, radius, limits, out_distances, ids, n_room)


cdef int look_into(const Index *index, Search *search) noexcept nogil:
    """Check a search, and make the codes of the index its database."""
    if index == NULL:
        return FASTHASH_ERROR_NULL
    search.database, search.n, search.stride = index.tables.codes, index.tables.n, 0
    cdef int error = check(search)
    if error != FASTHASH_OK:
        return error
    if search.n_bytes != index.tables.n_bytes:
        return FASTHASH_ERROR_WIDTH
    if not has_zero_padding(search.queries, search.query_stride, search.n_queries,
                            search.n_bytes, index.tables.n_bits):
        return FASTHASH_ERROR_BITS
    return FASTHASH_OK


cdef void index_free(fasthash_index *index) noexcept nogil:
    free_index(<Index *>index)


# --- ranking quality ---------------------------------------------------------

cdef int average_precision(const uint8_t *queries, int64_t n_queries, const uint8_t *database,
                           int64_t n, int64_t n_bytes, const uint64_t *query_labels,
                           const uint64_t *labels, int64_t n_label_words, int64_t at,
                           double *scores, int n_threads) noexcept nogil:
    cdef Search search = plain(queries, n_queries, database, n, n_bytes, NULL, n_threads)
    cdef int error = check(&search)
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
table.distances_of = &distances_of
table.topk_of = &topk_of
table.rank_of = &rank_of
table.within_of = &within_of
table.index_create = &index_create
table.index_topk = &index_topk
table.index_within = &index_within
table.index_free = &index_free
table.topk_weighted_of = &topk_weighted_of

TABLE = PyCapsule_New(&table, "fasthash.c_api.TABLE", NULL)
