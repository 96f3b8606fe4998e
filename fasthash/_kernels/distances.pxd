"""Distances as a plan; tiles.pxd says how a plan is used."""

from libc.stdint cimport int32_t, uint8_t, uint64_t

from fasthash._kernels.tiles cimport Database

cdef struct DistancesPlan:
    Py_ssize_t memory_bytes
    Database database
    Py_ssize_t n_queries
    int n_threads
    uint64_t *queries      # in whole words
    uint8_t *tiles         # one per thread
    Py_ssize_t tile_bytes


cdef DistancesPlan plan_distances(const Database *database, Py_ssize_t n_queries,
                                  int n_threads) noexcept nogil
cdef void lay_out_distances(DistancesPlan *plan, void *memory) noexcept nogil
cdef void run_distances(const DistancesPlan *plan, const uint8_t *queries,
                        int32_t *out, Py_ssize_t stride) noexcept nogil
