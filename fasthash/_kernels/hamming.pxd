"""What the other kernel modules use of the scan: the level in use and prepared tiles.

hamming.pyx owns the one dispatch table; the functions reach other modules through its capsule.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

cdef extern from "simd/simd.h" nogil:
    enum:
        FH_LANES_MAX
    ctypedef struct fh_level:
        const char *name
        int lanes
        void (*prepare)(const uint8_t *codes, int32_t n, Py_ssize_t n_bytes,
                        uint64_t *tile) noexcept nogil
        void (*distances)(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                          int32_t *distances) noexcept nogil
        int32_t (*scan)(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                        int32_t bound, int32_t *positions, int32_t *distances) noexcept nogil
        int32_t (*list_relevant)(const uint64_t *query, const uint64_t *labels, int32_t n,
                                 int32_t n_words, int32_t *positions) noexcept nogil

# The codes a search runs over: rows of a database, all of them or the listed ones.
cdef struct Database:
    const uint8_t *codes
    const int64_t *rows     # NULL for all
    const uint8_t *allowed  # NULL for all, else nonzero for rows that may be found
    Py_ssize_t n            # how many are searched
    Py_ssize_t n_bytes
    int32_t n_words
    int32_t tile            # codes per tile

# One thread's tile, and the rows gathered for it.
cdef struct TileBuffer:
    uint64_t *prepared
    uint8_t *gathered

cdef const fh_level *active_level() noexcept nogil
cdef Database make_database(const uint8_t[:, ::1] codes, const int64_t[::1] rows,
                            Py_ssize_t n_queries) noexcept nogil
cdef Py_ssize_t tile_buffer_words(const Database *database, int32_t n_codes) noexcept nogil
cdef TileBuffer make_tile_buffer(const Database *database, int32_t n_codes,
                                 uint64_t *memory) noexcept nogil
cdef const uint64_t *load_tile(const Database *database, Py_ssize_t start, int32_t n,
                               const TileBuffer *buffer) noexcept nogil
