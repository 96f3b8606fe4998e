"""The top-k without a heap of selection.h, for all searches that keep the nearest codes."""

from libc.stdint cimport int32_t, int64_t, uint32_t

from fasthash._kernels.tiles cimport TILE_STEP

cdef extern from "selection.h" nogil:
    ctypedef struct fh_selection:
        pass
    void fh_selection_start(fh_selection *s, int64_t k, int64_t capacity, int32_t max_distance,
                            int32_t *distances, int64_t *positions, int64_t *counts,
                            const uint32_t *order)
    void fh_selection_count(fh_selection *s, int32_t n, const int32_t *distances)
    void fh_selection_start_below(fh_selection *s, int64_t n_wanted)
    int fh_selection_is_short(const fh_selection *s)
    int32_t fh_selection_bound(const fh_selection *s)
    void fh_selection_append(fh_selection *s, int64_t first, int32_t n,
                             const int32_t *positions, const int32_t *distances)
    void fh_selection_finish(fh_selection *parts, Py_ssize_t n_parts, Py_ssize_t stride,
                             int32_t *out_distances, int64_t *out_positions)

cdef enum:
    FIRST_BLOCK = 64


cdef inline int32_t next_block(Py_ssize_t n_seen, int32_t n_left) noexcept nogil:
    """How many of n_left codes a query that has seen n_seen compares before it appends hits.

    The first block has FIRST_BLOCK codes, and each later one a quarter of the codes seen so far. So
    the bound falls before many candidates have been appended.
    """
    return <int32_t>min(max(<Py_ssize_t>FIRST_BLOCK, n_seen // (4 * TILE_STEP) * TILE_STEP),
                        <Py_ssize_t>n_left)
