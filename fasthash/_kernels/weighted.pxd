"""Top-k with weights as a plan; tiles.pxd says how a plan is used."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t

from fasthash._kernels.selection cimport fh_selection
from fasthash._kernels.tiles cimport Database, fh_estimates

cdef struct WeightedPlan:
    Py_ssize_t memory_bytes
    Database database
    const fh_estimates *estimates  # NULL if all distances are computed
    int32_t n_sample           # codes of the sample for the first bound; 0 for no such bound
    const int16_t *weights     # 8 * n_bytes for each query
    Py_ssize_t n_queries
    int64_t k
    int64_t capacity           # largest number of candidates of a selection
    int n_threads
    Py_ssize_t n_task          # queries per task
    Py_ssize_t n_parts         # of the database
    Py_ssize_t n_slots         # one per thread; or one per part
    fh_selection *selections   # n_task per slot
    uint8_t *slots
    Py_ssize_t slot_bytes


cdef WeightedPlan plan_weighted(const Database *database, const int16_t *weights,
                                Py_ssize_t n_queries, int64_t k, int n_threads) noexcept nogil
cdef void lay_out_weighted(WeightedPlan *plan, void *memory) noexcept nogil
cdef Py_ssize_t n_weighted_rounds(const WeightedPlan *plan) noexcept nogil
cdef void weighted_step(const WeightedPlan *plan, Py_ssize_t round, Py_ssize_t row,
                        Py_ssize_t n_rows, int32_t *out_distances,
                        int64_t *out_positions) noexcept nogil
