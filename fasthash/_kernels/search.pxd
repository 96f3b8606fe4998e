"""Top-k as a plan, and the tasks of a search; tiles.pxd says how a plan is used."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from fasthash._kernels.tiles cimport Database

cdef extern from "selection.h" nogil:
    ctypedef struct fh_selection:
        pass

cdef struct TopkPlan:
    Py_ssize_t memory_bytes
    Database database
    Py_ssize_t n_queries
    int64_t k
    int64_t capacity           # candidates a selection may hold
    int n_threads
    Py_ssize_t n_task          # queries per task
    Py_ssize_t n_parts         # of the database
    Py_ssize_t n_slots
    uint64_t *queries          # in whole words
    fh_selection *selections   # n_task per slot
    uint8_t *slots             # what a task needs: per thread, or per part
    Py_ssize_t slot_bytes

cdef Py_ssize_t count_parts(const Database *database, Py_ssize_t n_queries,
                            int n_threads) noexcept nogil
cdef Py_ssize_t part_start(const Database *database, Py_ssize_t part,
                           Py_ssize_t n_parts) noexcept nogil
cdef Py_ssize_t part_rows(const Database *database, Py_ssize_t n_parts) noexcept nogil
cdef Py_ssize_t rows_of_step(const Database *database, Py_ssize_t n_queries,
                             Py_ssize_t n_words, Py_ssize_t cost) noexcept nogil
cdef Py_ssize_t queries_per_task(Py_ssize_t n_queries, int n_threads) noexcept nogil
cdef int32_t keep_allowed(const uint8_t *allowed, int32_t n_hits, int32_t *positions,
                          int32_t *distances) noexcept nogil
cdef Database searched(const uint8_t[:, ::1] queries, const uint8_t[:, ::1] codes,
                       const int64_t[::1] rows, const uint8_t[::1] allowed)

cdef TopkPlan plan_topk(const Database *database, Py_ssize_t n_queries, int64_t k,
                        int n_threads) noexcept nogil
cdef void lay_out_topk(TopkPlan *plan, void *memory) noexcept nogil
cdef void run_topk(const TopkPlan *plan, const uint8_t *queries, int32_t *out_distances,
                   int64_t *out_positions, Py_ssize_t stride) noexcept nogil
