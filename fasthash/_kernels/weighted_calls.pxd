"""Searches with weights for callers from C, whose arguments have been checked."""

from libc.stdint cimport int64_t

from fasthash._kernels.calls cimport Search


cdef int search_weighted(const Search *search, const double *weights, int64_t n_bits, int64_t k,
                         double *scores, int64_t *ids) noexcept nogil
