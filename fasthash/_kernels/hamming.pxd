"""What the other kernel modules use of the instruction-set levels; hamming.pyx owns the one table."""

from libc.stdint cimport int32_t, int64_t, uint8_t

cdef extern from "simd/simd.h" nogil:
    ctypedef struct fh_level:
        const char *name
        void (*distances)(const uint8_t *query, const uint8_t *codes, int32_t n, Py_ssize_t n_bytes,
                          int32_t *distances) noexcept nogil
        int32_t (*scan)(const uint8_t *query, const uint8_t *codes, int32_t n, Py_ssize_t n_bytes,
                        int32_t bound, int32_t *positions, int32_t *distances) noexcept nogil

# The level in use, through this module's capsule: C sources are linked into hamming alone.
cdef const fh_level *active_level() noexcept nogil
