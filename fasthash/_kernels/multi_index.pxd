"""Multi-index hashing for other kernel modules: tables, and one query through them."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from fasthash._kernels.tiles cimport poll_function

cdef extern from "multi_index.h" nogil:
    ctypedef struct fh_table:
        pass
    ctypedef struct fh_multi_index:
        const uint8_t *codes
        const uint32_t *places
        int64_t n
        Py_ssize_t n_bytes
        int32_t n_bits
        int32_t n_tables
        fh_table *tables
    ctypedef struct fh_answer:
        uint64_t *keys
        int64_t n
        int64_t capacity
        int64_t k
        int32_t bound
        int32_t failed

cdef enum:
    # A scan compares about so many codes in the time in which the tables compare one.
    SCAN_ADVANTAGE = 8
    # So many candidates are always within a budget.
    FREE_CANDIDATES = 10_000


cdef int32_t tables_for(int32_t n_bits, int64_t n) noexcept nogil
cdef int64_t budget_for(int64_t n) noexcept nogil
cdef int probing_threads(int n_threads, int64_t n_queries) noexcept nogil
cdef int64_t bytes_of_tables(int64_t n, int32_t n_bits, int32_t n_tables) noexcept nogil
cdef void lay_out_tables(fh_multi_index *index, uint8_t *memory) noexcept nogil
cdef int build_tables(const fh_multi_index *index, int n_threads, poll_function poll,
                      void *context) noexcept nogil
cdef void split_keys(const uint64_t *keys, int64_t n, int32_t *out_distances,
                     int64_t *out_rows) noexcept nogil
cdef uint8_t topk_of_query(const fh_multi_index *index, const uint8_t *query,
                           const uint8_t *allowed, int64_t k, int64_t budget, uint64_t *found,
                           uint32_t *keys, int32_t *out_distances, int64_t *out_rows,
                           int64_t *cost) noexcept nogil
cdef uint8_t within_of_query(const fh_multi_index *index, const uint8_t *query,
                             const uint8_t *allowed, int32_t radius, int64_t budget,
                             fh_answer *answer, uint32_t *keys, int64_t *cost) noexcept nogil
