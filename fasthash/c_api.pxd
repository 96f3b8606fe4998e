"""fasthash.h for Cython: ``from fasthash.c_api cimport fasthash_import, fasthash_table``.

The header says what the functions do. Nothing here needs a Python object at run time.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

cdef extern from "fasthash.h" nogil:
    int FASTHASH_TABLE_VERSION

    enum:
        FASTHASH_OK
        FASTHASH_ERROR_MEMORY
        FASTHASH_ERROR_NULL
        FASTHASH_ERROR_COUNT
        FASTHASH_ERROR_WIDTH
        FASTHASH_ERROR_K
        FASTHASH_ERROR_RADIUS
        FASTHASH_ERROR_THREADS
        FASTHASH_ERROR_LABELS
        FASTHASH_ERROR_AT
        FASTHASH_ERROR_ROOM
        FASTHASH_ERROR_STRIDE
        FASTHASH_ERROR_STOPPED
        FASTHASH_ERROR_BITS
        FASTHASH_ERROR_WEIGHTS

    ctypedef struct fasthash_search:
        const uint8_t *queries
        int64_t n_queries
        int64_t query_stride
        const uint8_t *database
        int64_t n
        int64_t stride
        int64_t n_bytes
        const uint8_t *allowed
        int (*poll)(void *context) noexcept nogil
        void *context
        int n_threads

    ctypedef struct fasthash_index:
        pass

    ctypedef struct fasthash_table:
        int version
        const char *(*message)(int error) noexcept nogil
        const char *(*simd_level)() noexcept nogil
        int (*distances)(const uint8_t *a, int64_t n_a, const uint8_t *b, int64_t n_b,
                         int64_t n_bytes, int32_t *distances, int n_threads) noexcept nogil
        int (*topk)(const uint8_t *queries, int64_t n_queries, const uint8_t *database, int64_t n,
                    int64_t n_bytes, int64_t k, const uint8_t *allowed, int32_t *distances,
                    int64_t *ids, int n_threads) noexcept nogil
        int (*within)(const uint8_t *queries, int64_t n_queries, const uint8_t *database,
                      int64_t n, int64_t n_bytes, int64_t radius, const uint8_t *allowed,
                      int64_t *limits, int32_t **distances, int64_t **ids,
                      int n_threads) noexcept nogil
        void (*release)(void *memory) noexcept nogil
        int (*average_precision)(const uint8_t *queries, int64_t n_queries,
                                 const uint8_t *database, int64_t n, int64_t n_bytes,
                                 const uint64_t *query_labels, const uint64_t *labels,
                                 int64_t n_label_words, int64_t at, double *scores,
                                 int n_threads) noexcept nogil
        int (*rank)(const uint8_t *queries, int64_t n_queries, const uint8_t *database, int64_t n,
                    int64_t n_bytes, int64_t *ids, int n_threads) noexcept nogil
        int (*distances_of)(const fasthash_search *search, int32_t *distances) noexcept nogil
        int (*topk_of)(const fasthash_search *search, int64_t k, int32_t *distances,
                       int64_t *ids) noexcept nogil
        int (*rank_of)(const fasthash_search *search, int64_t *ids) noexcept nogil
        int (*within_of)(const fasthash_search *search, int64_t radius, int64_t *limits,
                         int32_t *distances, int64_t *ids, int64_t n_room) noexcept nogil
        int (*index_create)(const fasthash_search *search, int64_t n_bits,
                            fasthash_index **index) noexcept nogil
        int (*index_topk)(const fasthash_index *index, const fasthash_search *search, int64_t k,
                          int32_t *distances, int64_t *ids) noexcept nogil
        int (*index_within)(const fasthash_index *index, const fasthash_search *search,
                            int64_t radius, int64_t *limits, int32_t *distances, int64_t *ids,
                            int64_t n_room) noexcept nogil
        void (*index_free)(fasthash_index *index) noexcept nogil
        int (*topk_weighted_of)(const fasthash_search *search, const double *weights,
                                int64_t n_bits, int64_t k, double *scores,
                                int64_t *ids) noexcept nogil

cdef extern from "fasthash.h":
    const fasthash_table *fasthash_import() except NULL
    object fasthash_raise(const fasthash_table *table, int error)
