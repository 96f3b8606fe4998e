"""Stretches of codes laid out for estimates of weighted distances; simd/simd.h defines them."""

from libc.stdint cimport int16_t, int32_t, uint8_t, uint32_t

from fasthash._kernels.tiles cimport Arena, Database, fh_estimated, fh_estimates, fh_near_codes

# A query: its tables are made anew when its bound has become much smaller.
cdef struct EstimatedQuery:
    const int16_t *weights
    uint8_t *tables
    uint32_t most           # the largest scale that its weights allow; 0 if the bound alone decides
    uint32_t scale          # of its tables; 0 before they are made

# The queries of a task, and the stretch of codes with which they are compared now.
cdef struct EstimateScan:
    const fh_estimates *level
    int32_t n_bytes
    int32_t n_look_ups
    EstimatedQuery *queries
    uint8_t *tables
    uint8_t *laid_out
    fh_near_codes *found    # of two queries


cdef const fh_estimates *estimates_for(const Database *database,
                                       Py_ssize_t n_queries) noexcept nogil
cdef int32_t estimate_codes(const fh_estimates *level, const Database *database) noexcept nogil
cdef Py_ssize_t estimate_bytes(const fh_estimates *level, const Database *database) noexcept nogil
cdef EstimateScan carve_estimate_scan(const fh_estimates *level, const Database *database,
                                      Py_ssize_t n_queries, Arena *arena) noexcept nogil
cdef void start_estimates(EstimateScan *scan, Py_ssize_t q,
                          const int16_t *weights) noexcept nogil
cdef void lay_out_estimates(EstimateScan *scan, const uint8_t *codes, int32_t n) noexcept nogil
cdef void find_near(EstimateScan *scan, Py_ssize_t q, int n_queries, const int32_t *bounds,
                    int32_t n, fh_estimated *found) noexcept nogil
