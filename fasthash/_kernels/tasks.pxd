"""How a search is cut into tasks; tasks.pyx explains the words, with a figure."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from fasthash._kernels.tiles cimport Database

cdef enum:
    # A stretch of a top-k search is this many tiles; it fits into the second-level cache.
    STRETCH_TILES = 8


cdef Py_ssize_t count_parts(const Database *database, Py_ssize_t n_queries,
                            int n_threads) noexcept nogil
cdef Py_ssize_t part_start(const Database *database, Py_ssize_t part,
                           Py_ssize_t n_parts) noexcept nogil
cdef Py_ssize_t part_rows(const Database *database, Py_ssize_t n_parts) noexcept nogil
cdef Py_ssize_t rows_of_step(const Database *database, Py_ssize_t n_queries,
                             Py_ssize_t n_words, Py_ssize_t cost) noexcept nogil
cdef Py_ssize_t queries_per_task(Py_ssize_t n_queries, int n_threads) noexcept nogil
cdef int32_t keep_allowed(const Database *database, Py_ssize_t first, int32_t n_hits,
                          int32_t *positions, int32_t *distances) noexcept nogil
cdef Database searched(Py_ssize_t n_queries, const uint8_t[:, ::1] codes,
                       const int64_t[::1] rows, const uint8_t[::1] allowed,
                       const uint32_t[::1] order)
cdef void restrict_to(Database *database, const int64_t[::1] rows, const uint8_t[::1] allowed,
                      const uint32_t[::1] order)
cdef void *memory_of(array, Py_ssize_t *shape) except NULL
