"""Declarations for the other kernel modules: the level in use, tiles, scratch memory, plans.

tiles.pyx owns the only dispatch table; other modules call its functions through its capsule.

A kernel that needs memory has a *plan*. First the plan is made from sizes. Then the caller brings
`memory_bytes` bytes of memory, and the plan divides them. Then the plan is run. So a caller may use
memory of numpy or of C, and nothing is allocated while a kernel runs.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t

cdef extern from "simd/simd.h" nogil:
    enum:
        FH_LANES_MAX
        FH_SHORT_BLOCK
        FH_LONG_BLOCK
        FH_CODE_BYTES_MAX
        FH_PLANE_WORDS_MAX
        FH_ESTIMATE_BYTES_MAX
        FH_ESTIMATE_NARROW
        FH_WEIGHTED_LANES_MAX
        FH_WEIGHTED_BYTES_MAX
    ctypedef struct fh_plane_queries:
        int32_t n
        int32_t n_words
        const uint64_t *words
        const uint8_t *choices
        const int32_t *bounds
    ctypedef struct fh_planes:
        int block_codes
        int bytes_per_word
        int stretch_bytes
        int least_queries
        int hit_codes
        void (*lay_out)(const uint8_t *codes, int32_t n_words, uint8_t *planes) noexcept nogil
        void (*choose)(const uint64_t *query, int32_t n_words, uint8_t *choices) noexcept nogil
        int32_t (*scan)(const fh_plane_queries *queries, const uint64_t *codes,
                        const uint8_t *planes, int32_t n, int32_t first, int32_t *n_hits,
                        int32_t *positions, int32_t *distances) noexcept nogil
    ctypedef struct fh_near_codes:
        uint64_t codes
        int32_t first
    ctypedef struct fh_estimated:
        const uint8_t *tables
        int32_t limit
        int32_t n_found
        fh_near_codes *found
    ctypedef struct fh_estimates:
        int lanes
        int set
        int bits
        int least_queries
        int least_of_words
        int tile_bytes
        void (*lay_out)(const uint8_t *codes, int32_t n, int32_t n_bytes,
                        uint8_t *tile) noexcept nogil
        void (*scan)(fh_estimated *queries, int n_queries, const uint8_t *tile, int32_t n,
                     int32_t n_look_ups) noexcept nogil
    ctypedef struct fh_weights:
        int lanes
        int spread
        void (*prepare)(const uint8_t *codes, int32_t n, int32_t n_bytes,
                        uint8_t *tile) noexcept nogil
        int32_t (*scan)(const uint8_t *tables, const uint8_t *tile, int32_t n, int32_t n_bytes,
                        int32_t bound, int32_t *positions, int32_t *distances) noexcept nogil
        const fh_estimates *estimates
    ctypedef struct fh_level:
        const char *name
        int lanes
        int counts_words
        void (*prepare)(const uint8_t *codes, int32_t n, Py_ssize_t n_bytes,
                        uint64_t *tile) noexcept nogil
        void (*distances)(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                          int32_t *distances) noexcept nogil
        void (*minima)(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                       int32_t block, int32_t *minima) noexcept nogil
        int32_t (*scan)(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                        int32_t bound, int32_t *positions, int32_t *distances) noexcept nogil
        int row_bytes
        int32_t (*scan_rows)(const uint64_t *query, const uint8_t *codes, int32_t n,
                             Py_ssize_t n_bytes, int32_t bound, int32_t *positions,
                             int32_t *distances) noexcept nogil
        int32_t (*list_relevant)(const uint64_t *query, const uint64_t *labels, int32_t n,
                                 int32_t n_words, int32_t *positions) noexcept nogil
        const fh_planes *planes
        const fh_weights *weights

cdef enum:
    # The number of codes of a tile is a multiple of this, so that it has whole groups at any level.
    TILE_STEP = 64

# A function that long work calls now and then; any result but 0 ends the work.
ctypedef int (*poll_function)(void *context) noexcept nogil

# The codes that are searched: all rows of a database, or the listed ones.
cdef struct Database:
    const uint8_t *codes
    const int64_t *rows     # NULL for all
    const uint8_t *allowed  # NULL for all, else nonzero for rows that are allowed
    const uint32_t *order   # the row of each code; NULL if codes lie in the order of rows
    Py_ssize_t n            # number of rows that are searched
    Py_ssize_t n_bytes
    int32_t n_words
    int32_t tile            # codes per tile
    bint by_rows            # whether tiles are rows as they lie; such tiles can only be scanned

# The tile of one thread, and the rows gathered for it.
cdef struct TileBuffer:
    uint64_t *prepared
    uint8_t *gathered

# Memory that is divided among buffers, in whole cache lines. If `memory` is NULL, `carve` returns
# NULL and only the size is counted.
cdef struct Arena:
    uint8_t *memory
    Py_ssize_t used


cdef inline Py_ssize_t whole_lines(Py_ssize_t n_bytes) noexcept nogil:
    return (n_bytes + 63) // 64 * 64


cdef inline Arena make_arena(void *memory) noexcept nogil:
    cdef Arena arena
    arena.memory = <uint8_t *>memory
    arena.used = 64
    if memory != NULL:
        arena.memory = <uint8_t *>((<uintptr_t>memory + 63) & ~<uintptr_t>63)
        arena.used = 0
    return arena


cdef inline void *carve(Arena *arena, Py_ssize_t n_bytes) noexcept nogil:
    cdef Py_ssize_t start = arena.used
    arena.used += whole_lines(n_bytes)
    return NULL if arena.memory == NULL else arena.memory + start


cdef const fh_level *active_level() noexcept nogil
cdef void cut_into_tiles(Database *database, Py_ssize_t tile_bytes) noexcept nogil
cdef void use_rows_for_few(Database *database, Py_ssize_t n_queries) noexcept nogil
cdef int usable_threads(int n_threads) noexcept nogil
cdef int threads_for(int n_threads, Py_ssize_t n_tasks, double n_words) noexcept nogil
cdef double words_compared(const Database *database, Py_ssize_t n_queries) noexcept nogil
cdef Database make_database(const uint8_t *codes, Py_ssize_t n, Py_ssize_t n_bytes,
                            Py_ssize_t n_queries) noexcept nogil
cdef Py_ssize_t tile_buffer_words(const Database *database, int32_t n_codes) noexcept nogil
cdef TileBuffer make_tile_buffer(const Database *database, int32_t n_codes,
                                 uint64_t *memory) noexcept nogil
cdef const uint64_t *load_tile(const Database *database, Py_ssize_t start, int32_t n,
                               const TileBuffer *buffer) noexcept nogil
cdef void write_words(const uint8_t *codes, Py_ssize_t n, Py_ssize_t n_bytes,
                      uint64_t *words) noexcept nogil


cdef inline int32_t scan_loaded(const Database *database, const uint64_t *query,
                                const uint64_t *tile, int32_t first, int32_t n, int32_t bound,
                                int32_t *positions, int32_t *distances) noexcept nogil:
    """Scan n codes of a loaded tile from the first on; first is a multiple of TILE_STEP."""
    if database.by_rows:
        return active_level().scan_rows(query, <const uint8_t *>tile + first * database.n_bytes, n,
                                        database.n_bytes, bound, positions, distances)
    return active_level().scan(query, tile + <Py_ssize_t>first * database.n_words, n,
                               database.n_words, bound, positions, distances)
