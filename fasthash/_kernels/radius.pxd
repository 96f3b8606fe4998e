"""Radius search as a plan; tiles.pxd says how a plan is used."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from fasthash._kernels.tiles cimport Database, fh_planes

cdef struct WithinPlan:
    Py_ssize_t memory_bytes
    Database database
    const fh_planes *planes    # NULL where only tiles are scanned
    Py_ssize_t n_queries
    int32_t radius
    int n_threads
    Py_ssize_t n_task          # queries per task
    Py_ssize_t n_parts         # of the database
    uint64_t *queries          # in whole words
    int64_t *places            # per query, distance and part: a count, then where its hits go
    uint8_t *slots             # per thread: a tile and its hits
    Py_ssize_t slot_bytes

cdef Py_ssize_t most_queries(int32_t radius) noexcept nogil
cdef WithinPlan plan_within(const Database *database, Py_ssize_t n_queries, int32_t radius,
                            int n_threads) noexcept nogil
cdef void lay_out_within(WithinPlan *plan, void *memory) noexcept nogil
cdef void start_within(const WithinPlan *plan, const uint8_t *queries) noexcept nogil
cdef void within_step(const WithinPlan *plan, Py_ssize_t row, Py_ssize_t n_rows,
                      int32_t *out_distances, int64_t *out_positions) noexcept nogil
cdef void find_places(const WithinPlan *plan, int64_t *limits) noexcept nogil
