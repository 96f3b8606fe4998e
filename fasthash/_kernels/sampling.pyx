"""A sample of the codes gives a top-k search its first bound, below which there should be k codes.

The sample is n_sample of n codes: one of each n / n_sample neighbours. If the k nearest codes are
spread evenly, about k n_sample / n of them are in the sample, with the square root of that as the
standard deviation. Three standard deviations are added, so that few queries find fewer than k codes
below the bound; these are searched again.
"""

from libc.math cimport sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t

from fasthash._kernels.tiles cimport Database

cdef enum:
    # From this k on, a sample gives the first bound. It has one code of every SAMPLE_SPARSITY, and
    # at most SAMPLE_CODES. Fewer codes than SAMPLE_LEAST would give no useful bound.
    SAMPLE_K = 48
    # A sample is taken only for at least this many queries, because a task gathers it once.
    SAMPLE_QUERIES = 8
    SAMPLE_SPARSITY = 64
    SAMPLE_CODES = 4096
    SAMPLE_LEAST = 1024


cdef int32_t sample_size(const Database *database, Py_ssize_t n_queries, Py_ssize_t n_parts,
                         int64_t k) noexcept nogil:
    """The number of codes of the sample; 0 if a sample would cost more than it saves."""
    if n_queries < SAMPLE_QUERIES or n_parts > 1 or k < SAMPLE_K or k > database.n // SELECTIVE:
        return 0
    if database.n < SAMPLE_LEAST * SAMPLE_SPARSITY:
        return 0
    return <int32_t>min(<Py_ssize_t>SAMPLE_CODES, database.n // SAMPLE_SPARSITY)


cdef void choose_sample(const Database *database, int32_t n_sample, int64_t *rows) noexcept nogil:
    """Write the rows of the sample, as a database lists them."""
    cdef Py_ssize_t i, j, width = database.n // n_sample
    for i in range(n_sample):
        # Which of the neighbours: multiplicative hashing, so that the choice has no pattern.
        j = i * width + <Py_ssize_t>((<uint64_t>i * 0x9E3779B97F4A7C15ULL >> 32)
                                     % <uint64_t>width)
        rows[i] = j if database.rows == NULL else database.rows[j]


cdef int64_t wanted_in_sample(const Database *database, int32_t n_sample,
                              int64_t k) noexcept nogil:
    """The number of codes of the sample that the first bound leaves below it."""
    cdef double wanted = <double>k * n_sample / database.n
    return <int64_t>(wanted + 3 * sqrt(wanted) + 1) + 1


cdef int32_t keep_sampled(const Database *sample, int32_t start, int32_t n,
                          int32_t *distances) noexcept nogil:
    """Drop the distances of sampled rows that are not allowed."""
    cdef int32_t i, n_kept = 0
    cdef int64_t row
    for i in range(n):
        row = sample.rows[start + i]
        if sample.order != NULL:
            row = sample.order[row]
        if sample.allowed[row]:
            distances[n_kept] = distances[i]
            n_kept = n_kept + 1
    return n_kept
