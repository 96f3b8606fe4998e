"""Searches for callers from C, whose arguments have been checked."""

from libc.stdint cimport int32_t, int64_t, uint8_t

ctypedef int (*poll_function)(void *context) noexcept nogil

# What a search is about: `fasthash_search` of fasthash.h, with every stride filled in.
cdef struct Search:
    const uint8_t *queries
    int64_t n_queries
    int64_t query_stride
    const uint8_t *database
    int64_t n
    int64_t stride
    int64_t n_bytes
    const uint8_t *allowed
    poll_function poll         # NULL for a search that nobody ends
    void *context
    int n_threads

# The hits of a radius search so far, and the capacity of its arrays.
cdef struct Answer:
    int64_t n
    int64_t capacity
    int32_t *distances
    int64_t *ids
    bint grows                 # whether the arrays may be allocated anew


cdef int search_distances(const Search *search, int32_t *out) noexcept nogil
cdef int search_topk(const Search *search, int64_t k, int32_t *out_distances,
                     int64_t *ids) noexcept nogil
cdef int search_rank(const Search *search, int64_t *ids) noexcept nogil
cdef int search_within(const Search *search, int32_t radius, int64_t *limits,
                       Answer *answer) noexcept nogil
cdef bint resize(Answer *answer, int64_t capacity) noexcept nogil
