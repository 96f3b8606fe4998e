"""Average precision, for the C interface."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

cdef int average_precision(const uint8_t *queries, Py_ssize_t n_queries, const uint8_t *codes,
                           Py_ssize_t n, Py_ssize_t n_bytes, const uint64_t *query_labels,
                           const uint64_t *labels, int32_t label_words, int64_t at, double *out,
                           int n_threads) noexcept nogil
