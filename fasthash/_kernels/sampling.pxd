"""A sample of the codes, for the first bound of a top-k search; sampling.pyx says how it works."""

from libc.stdint cimport int32_t, int64_t

from fasthash._kernels.tiles cimport Database

cdef enum:
    # If k is more than 1 / SELECTIVE of the rows, bounds hardly help.
    SELECTIVE = 8


cdef int32_t sample_size(const Database *database, Py_ssize_t n_queries, Py_ssize_t n_parts,
                         int64_t k) noexcept nogil
cdef void choose_sample(const Database *database, int32_t n_sample, int64_t *rows) noexcept nogil
cdef int64_t wanted_in_sample(const Database *database, int32_t n_sample,
                              int64_t k) noexcept nogil
cdef int32_t keep_sampled(const Database *sample, int32_t start, int32_t n,
                          int32_t *distances) noexcept nogil
