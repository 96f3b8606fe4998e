"""An index for callers from C, whose arguments have been checked."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from fasthash._kernels.calls cimport Answer, Search
from fasthash._kernels.multi_index cimport fh_multi_index

# What `fasthash_index` of fasthash.h is: a copy of the codes, and their tables. It never changes.
cdef struct Index:
    fh_multi_index tables
    void *memory


cdef int create_index(const Search *search, int32_t n_bits, Index **out) noexcept nogil
cdef void free_index(Index *index) noexcept nogil
cdef bint has_zero_padding(const uint8_t *codes, Py_ssize_t stride, int64_t n,
                           Py_ssize_t n_bytes, int32_t n_bits) noexcept nogil
cdef int topk_in_index(const Index *index, const Search *search, int64_t k,
                       int32_t *out_distances, int64_t *ids) noexcept nogil
cdef int within_in_index(const Index *index, const Search *search, int32_t radius,
                         int64_t *limits, Answer *answer) noexcept nogil
