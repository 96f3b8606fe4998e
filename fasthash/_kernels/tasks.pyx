"""How a search is cut into tasks: some queries against a part of the database.

A task walks its part in tiles and scans each with all its queries. Ids ascend within it, so results
depend neither on the number of threads nor on the tiles.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t

from fasthash._kernels.tiles cimport Database, make_database

cdef enum:
    # Queries per task. Laying out a tile costs as much as two to four queries that scan it.
    TASK_QUERIES = 256
    # A database is cut into parts for several threads only where each gets this many bytes, some
    # hundred microseconds of work: threads that wake up late cost more than they save on less.
    PART_BYTES = 1 << 21


cdef Py_ssize_t count_parts(const Database *database, Py_ssize_t n_queries,
                            int n_threads) noexcept nogil:
    """Into how many parts the database is cut: one, unless there are too few queries to share."""
    if n_queries >= 4 * <Py_ssize_t>n_threads:
        return 1
    return max(1, min(<Py_ssize_t>n_threads, database.n * database.n_bytes // PART_BYTES))


cdef Py_ssize_t part_start(const Database *database, Py_ssize_t part,
                           Py_ssize_t n_parts) noexcept nogil:
    """Where a part begins, in whole tiles."""
    cdef Py_ssize_t n_tiles = (database.n + database.tile - 1) // database.tile
    return min(database.n, (n_tiles * part // n_parts) * database.tile)


cdef Py_ssize_t part_rows(const Database *database, Py_ssize_t n_parts) noexcept nogil:
    """Rows of the longest part."""
    cdef Py_ssize_t n_tiles = (database.n + database.tile - 1) // database.tile
    return min(database.n, (n_tiles + n_parts - 1) // n_parts * database.tile)


cdef Py_ssize_t rows_of_step(const Database *database, Py_ssize_t n_queries,
                             Py_ssize_t n_words, Py_ssize_t cost) noexcept nogil:
    """How many rows a task of n_queries compares for n_words words, at `cost` words a code.

    At least what a top-k lays out at once, and whole tiles, as everywhere; or all there are.
    """
    cdef Py_ssize_t least = <Py_ssize_t>database.tile * STRETCH_TILES
    return min(database.n, max(<Py_ssize_t>1, n_words // (n_queries * cost * least)) * least)


cdef Py_ssize_t queries_per_task(Py_ssize_t n_queries, int n_threads) noexcept nogil:
    """Tasks of about the same size: one for each thread, or more of at most `TASK_QUERIES`."""
    cdef Py_ssize_t n_tasks = max(<Py_ssize_t>n_threads,
                                  (n_queries + TASK_QUERIES - 1) // TASK_QUERIES)
    return max(<Py_ssize_t>1, (n_queries + n_tasks - 1) // n_tasks)


cdef int32_t keep_allowed(const uint8_t *allowed, int32_t n_hits, int32_t *positions,
                          int32_t *distances) noexcept nogil:
    """Drop the hits that may not be found; hits are few, so asking here costs next to nothing."""
    cdef int32_t i, n = 0
    for i in range(n_hits):
        if allowed[positions[i]]:
            positions[n] = positions[i]
            distances[n] = distances[i]
            n = n + 1
    return n


cdef Database searched(const uint8_t[:, ::1] queries, const uint8_t[:, ::1] codes,
                       const int64_t[::1] rows, const uint8_t[::1] allowed):
    cdef Database database = make_database(&codes[0, 0], codes.shape[0], codes.shape[1],
                                           queries.shape[0])
    if rows is not None:
        database.rows, database.n = &rows[0], rows.shape[0]
    if allowed is not None:
        database.allowed = &allowed[0]
    return database
