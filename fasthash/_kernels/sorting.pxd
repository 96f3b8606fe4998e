"""A full ranking as a plan; tiles.pxd says how a plan is used."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from fasthash._kernels.tiles cimport Database

cdef struct RankingPlan:
    Py_ssize_t memory_bytes
    Database database
    Py_ssize_t n_queries
    int64_t k
    int n_threads
    Py_ssize_t n_task          # queries per task
    Py_ssize_t n_tasks
    int32_t block              # codes sorted at once: a whole number of tiles
    Py_ssize_t n_blocks
    Py_ssize_t buffer_stride   # from the distances of one query to those of the next
    uint64_t *queries          # in whole words
    uint8_t *slots             # memory of tasks: one slot per thread
    Py_ssize_t slot_bytes
    # Progress: the first task that runs now, and the number of blocks that the running tasks have
    # sorted. Each thread runs one task.
    Py_ssize_t first_task
    Py_ssize_t n_sorted


cdef bint sorts_all(int64_t k, int64_t n) noexcept nogil
cdef RankingPlan plan_ranking(const Database *database, Py_ssize_t n_queries, int64_t k,
                              int n_threads) noexcept nogil
cdef void lay_out_ranking(RankingPlan *plan, void *memory) noexcept nogil
cdef Py_ssize_t advance_ranking(RankingPlan *plan, const uint8_t *queries, Py_ssize_t n_words,
                                int32_t *out_distances, int64_t *out_positions,
                                Py_ssize_t stride) noexcept nogil
