"""Stretches of codes laid out for estimates of weighted distances, and when they are used.

Only this module decides whether a search uses estimates. simd/simd.h says what they are, and
weights.h makes their tables.
"""

from libc.stdint cimport int16_t, int32_t, uint8_t, uint32_t
from libc.string cimport memset

from fasthash._kernels.tiles cimport (
    FH_ESTIMATE_BYTES_MAX,
    FH_ESTIMATE_NARROW,
    Arena,
    Database,
    active_level,
    carve,
    fh_estimated,
    fh_estimates,
    fh_near_codes,
)

cdef extern from "weights.h" nogil:
    int32_t fh_estimate_look_ups(int bits, int32_t n_bytes)
    uint32_t fh_estimate_scale(const int16_t *weights, int32_t n_bytes, int bits)
    void fh_estimate_tables(const int16_t *weights, int32_t n_bytes, int bits, uint32_t scale,
                            uint8_t *tables)
    int32_t fh_estimate_limit(int32_t bound, uint32_t scale)

cdef enum:
    # Tables are made anew if the scale has become larger by 1 / RENEWAL.
    RENEWAL = 16


cdef const fh_estimates *estimates_for(const Database *database,
                                       Py_ssize_t n_queries) noexcept nogil:
    """The estimates of the level in use if they are faster for n_queries of a task, else NULL."""
    cdef const fh_estimates *level = active_level().weights.estimates
    if level == NULL or database.n_bytes > FH_ESTIMATE_BYTES_MAX:
        return NULL
    if n_queries < (level.least_of_words if database.n_bytes == 8 else level.least_queries):
        return NULL
    return level


cdef int32_t estimate_codes(const fh_estimates *level, const Database *database) noexcept nogil:
    """The number of codes that are laid out at once, in whole sets."""
    cdef Py_ssize_t n_look_ups = fh_estimate_look_ups(level.bits, <int32_t>database.n_bytes)
    return <int32_t>(level.set * max(<Py_ssize_t>1, level.tile_bytes // (level.set * n_look_ups)))


cdef Py_ssize_t estimate_bytes(const fh_estimates *level, const Database *database) noexcept nogil:
    """The bytes of the tables of a query."""
    return <Py_ssize_t>fh_estimate_look_ups(level.bits, <int32_t>database.n_bytes) << level.bits


cdef EstimateScan carve_estimate_scan(const fh_estimates *level, const Database *database,
                                      Py_ssize_t n_queries, Arena *arena) noexcept nogil:
    """Divide the memory of a task; if the arena has no memory, only count the size."""
    cdef EstimateScan scan
    cdef Py_ssize_t n_codes, table_bytes
    memset(&scan, 0, sizeof(EstimateScan))
    scan.level = level
    if level == NULL:
        return scan
    n_codes = estimate_codes(level, database)
    table_bytes = estimate_bytes(level, database)
    scan.n_bytes = <int32_t>database.n_bytes
    scan.n_look_ups = fh_estimate_look_ups(level.bits, scan.n_bytes)
    scan.queries = <EstimatedQuery *>carve(
        arena, n_queries * <Py_ssize_t>sizeof(EstimatedQuery))
    scan.tables = <uint8_t *>carve(arena, n_queries * table_bytes)
    scan.laid_out = <uint8_t *>carve(arena, n_codes * scan.n_look_ups)
    scan.found = <fh_near_codes *>carve(
        arena, 2 * (n_codes // level.lanes + 1) * <Py_ssize_t>sizeof(fh_near_codes))
    return scan


cdef void start_estimates(EstimateScan *scan, Py_ssize_t q,
                          const int16_t *weights) noexcept nogil:
    """Set query q of the task."""
    cdef EstimatedQuery *query = scan.queries + q
    query.weights = weights
    query.tables = scan.tables + q * (<Py_ssize_t>scan.n_look_ups << scan.level.bits)
    query.scale = 0
    query.most = 0
    if scan.n_look_ups > FH_ESTIMATE_NARROW:
        query.most = fh_estimate_scale(weights, scan.n_bytes, scan.level.bits)


cdef void lay_out_estimates(EstimateScan *scan, const uint8_t *codes, int32_t n) noexcept nogil:
    """Lay out n codes, at most estimate_codes."""
    cdef Py_ssize_t lanes = scan.level.lanes, n_laid_out = (n + lanes - 1) // lanes * lanes
    cdef Py_ssize_t n_missing = scan.level.set - 1 - (n_laid_out - 1) % scan.level.set
    scan.level.lay_out(codes, n, scan.n_bytes, scan.laid_out)
    if n_missing > 0:
        memset(scan.laid_out + n_laid_out * scan.n_look_ups, 0, n_missing * scan.n_look_ups)


cdef void find_near(EstimateScan *scan, Py_ssize_t q, int n_queries, const int32_t *bounds,
                    int32_t n, fh_estimated *found) noexcept nogil:
    """Find the codes of the stretch that may be near one or two queries, from query q on."""
    cdef Py_ssize_t n_found = estimate_found(scan, n)
    cdef EstimatedQuery *query
    cdef uint32_t scale
    cdef int32_t bound
    cdef int i
    for i in range(n_queries):
        query = scan.queries + q + i
        # The bound is 0 if k codes equal the query: no code is nearer, and none is missed.
        bound = max(1, bounds[i])
        scale = query.most
        if scale == 0:
            # The limit is at most 254.
            scale = min(<uint32_t>65535, <uint32_t>(255 << 16) // <uint32_t>bound)
        if scale > query.scale + query.scale // RENEWAL:
            query.scale = scale
            fh_estimate_tables(query.weights, scan.n_bytes, scan.level.bits, scale, query.tables)
        found[i].tables = query.tables
        found[i].limit = fh_estimate_limit(bound, query.scale)
        found[i].found = scan.found + i * n_found
    scan.level.scan(found, n_queries, scan.laid_out, n, scan.n_look_ups)


cdef inline Py_ssize_t estimate_found(const EstimateScan *scan, int32_t n) noexcept nogil:
    """The room for the codes found of one query, in a stretch of n codes."""
    return (n + scan.level.set - 1) // scan.level.set * (scan.level.set // scan.level.lanes) + 1
