"""Stretches of codes laid out as bit planes, and the choice between bit planes and tiles.

Only this module decides whether a search uses bit planes. Before a search, `planes_for` decides by
the sizes. While it runs, `are_dense` tells whether the last stretch had so many hits that tiles are
faster. simd/planes.h explains bit planes.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from fasthash._kernels.tiles cimport (
    FH_PLANE_WORDS_MAX,
    Arena,
    Database,
    active_level,
    carve,
    fh_planes,
)

cdef extern from "gather.h" nogil:
    void fh_gather_codes(const uint8_t *codes, const int64_t *rows, int32_t n, Py_ssize_t n_bytes,
                         Py_ssize_t stride, uint8_t *out)


cdef const fh_planes *planes_for(const Database *database, Py_ssize_t n_queries) noexcept nogil:
    """The bit planes of the level in use if they are faster for n_queries of a task, else NULL."""
    cdef const fh_planes *planes = active_level().planes
    if planes == NULL or database.n_words > FH_PLANE_WORDS_MAX:
        return NULL
    return planes if n_queries >= planes.least_queries else NULL


cdef int32_t plane_codes(const fh_planes *planes, const Database *database) noexcept nogil:
    """The number of codes that are laid out at once, in whole blocks."""
    cdef Py_ssize_t block_bytes = <Py_ssize_t>planes.bytes_per_word * database.n_words
    return <int32_t>(planes.block_codes * max(<Py_ssize_t>1, planes.stretch_bytes // block_bytes))


cdef PlaneScan carve_plane_scan(const fh_planes *planes, const Database *database,
                                Py_ssize_t n_queries, Arena *arena) noexcept nogil:
    """Divide the memory of a task; if the arena has no memory, only count the size."""
    cdef PlaneScan scan
    memset(&scan, 0, sizeof(PlaneScan))
    scan.planes = planes
    if planes == NULL:
        return scan
    cdef Py_ssize_t n_words = database.n_words, n_codes = plane_codes(planes, database)
    scan.laid_out = <uint8_t *>carve(
        arena, n_codes // planes.block_codes * n_words * planes.bytes_per_word)
    scan.choices = <uint8_t *>carve(arena, n_queries * 64 * n_words)
    scan.bounds = <int32_t *>carve(arena, n_queries * 4)
    scan.rows = <uint64_t *>carve(arena, n_codes * n_words * 8)
    return scan


cdef void choose_planes(PlaneScan *scan, const uint64_t *queries, Py_ssize_t n_queries,
                        int32_t n_words) noexcept nogil:
    """Set the queries of the scan; the caller sets their bounds."""
    cdef Py_ssize_t q
    for q in range(n_queries):
        scan.planes.choose(queries + q * n_words, n_words, scan.choices + q * 64 * n_words)
    scan.queries.n = <int32_t>n_queries
    scan.queries.n_words = n_words
    scan.queries.words = queries
    scan.queries.choices = scan.choices
    scan.queries.bounds = scan.bounds


cdef void lay_out_planes(PlaneScan *scan, const Database *database, Py_ssize_t start,
                         int32_t n) noexcept nogil:
    """Lay out codes [start, start + n), at most plane_codes."""
    cdef const fh_planes *planes = scan.planes
    cdef Py_ssize_t n_bytes = database.n_bytes, n_words = database.n_words, n_missing, i
    cdef int32_t block = 0
    scan.n = n
    scan.codes = <const uint64_t *>(database.codes + start * n_bytes)
    if database.rows != NULL or n_bytes != 8 * n_words or n % planes.block_codes != 0:
        # Copied, because a block is read as a whole, in whole words.
        if n_bytes != 8 * n_words:
            for i in range(n):
                scan.rows[(i + 1) * n_words - 1] = 0
        if database.rows != NULL:
            fh_gather_codes(database.codes, database.rows + start, n, n_bytes, 8 * n_words,
                            <uint8_t *>scan.rows)
        else:
            for i in range(n):
                memcpy(scan.rows + i * n_words, database.codes + (start + i) * n_bytes, n_bytes)
        n_missing = planes.block_codes - 1 - (n - 1) % planes.block_codes
        memset(scan.rows + n * n_words, 0, n_missing * n_words * 8)
        scan.codes = scan.rows
    while block * planes.block_codes < n:
        planes.lay_out(<const uint8_t *>(scan.codes + block * planes.block_codes * n_words),
                       <int32_t>n_words, scan.laid_out + block * n_words * planes.bytes_per_word)
        block = block + 1
