"""Top-k as a plan; tiles.pxd says how a plan is used."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from fasthash._kernels.selection cimport fh_selection
from fasthash._kernels.tiles cimport Database, fh_planes

cdef struct TopkPlan:
    Py_ssize_t memory_bytes
    Database database
    const fh_planes *planes    # NULL if only tiles are scanned
    int32_t n_sample           # codes of the sample for the first bound; 0 for no such bound
    Py_ssize_t n_queries
    int64_t k
    int64_t capacity           # largest number of candidates of a selection
    int n_threads
    Py_ssize_t n_task          # queries per task
    Py_ssize_t n_parts         # of the database
    Py_ssize_t n_slots
    uint64_t *queries          # in whole words
    fh_selection *selections   # n_task per slot
    uint8_t *slots             # memory of tasks: one slot per thread, or per part
    Py_ssize_t slot_bytes


cdef TopkPlan plan_topk(const Database *database, Py_ssize_t n_queries, int64_t k,
                        int n_threads) noexcept nogil
cdef void lay_out_topk(TopkPlan *plan, void *memory) noexcept nogil
cdef void run_topk(const TopkPlan *plan, const uint8_t *queries, int32_t *out_distances,
                   int64_t *out_positions, Py_ssize_t stride) noexcept nogil
cdef Py_ssize_t n_rounds(const TopkPlan *plan) noexcept nogil
cdef void topk_step(const TopkPlan *plan, Py_ssize_t round, Py_ssize_t row, Py_ssize_t n_rows,
                    int32_t *out_distances, int64_t *out_positions,
                    Py_ssize_t stride) noexcept nogil
