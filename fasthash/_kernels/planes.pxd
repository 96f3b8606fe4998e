"""Stretches of codes laid out as bit planes; simd/planes.h explains how they work."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from fasthash._kernels.tiles cimport Arena, Database, fh_plane_queries, fh_planes

# The queries of a task, and the stretch of codes with which they are compared now.
cdef struct PlaneScan:
    const fh_planes *planes
    fh_plane_queries queries
    int32_t *bounds         # of the queries; a caller changes them between two calls of next_hits
    uint8_t *choices
    uint8_t *laid_out
    uint64_t *rows          # copies of codes that are not in memory as they are compared
    const uint64_t *codes
    int32_t n


cdef const fh_planes *planes_for(const Database *database, Py_ssize_t n_queries) noexcept nogil
cdef int32_t plane_codes(const fh_planes *planes, const Database *database) noexcept nogil
cdef PlaneScan carve_plane_scan(const fh_planes *planes, const Database *database,
                                Py_ssize_t n_queries, Arena *arena) noexcept nogil
cdef void choose_planes(PlaneScan *scan, const uint64_t *queries, Py_ssize_t n_queries,
                        int32_t n_words) noexcept nogil
cdef void lay_out_planes(PlaneScan *scan, const Database *database, Py_ssize_t start,
                         int32_t n) noexcept nogil


cdef inline int32_t next_hits(PlaneScan *scan, int32_t first, int32_t *n_hits, int32_t *positions,
                              int32_t *distances) noexcept nogil:
    """Find the first query, from `first` on, that has hits among the codes laid out; write them."""
    return scan.planes.scan(&scan.queries, scan.codes, scan.laid_out, scan.n, first, n_hits,
                            positions, distances)


cdef inline bint are_dense(const fh_planes *planes, Py_ssize_t n_hits,
                           Py_ssize_t n_compared) noexcept nogil:
    """Whether there are so many hits among n_compared codes that tiles are faster.

    With bit planes, the distance of each hit is computed separately.
    """
    return n_hits > n_compared // planes.hit_codes
