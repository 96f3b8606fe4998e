"""How a search is cut into tasks. The sizes of tasks and parts are decided here.

                   rows of the database
                 0                                                                n
                 ├───────────── part 0 ────────────┼──────────── part 1 ──────────┤
    queries      ├─ stretch ─┼─ stretch ─┼─ … ─────┼─ stretch ─┼─ stretch ─┼─ … ──┤
    0 … 255      │tile│tile│…                      │                              │
    256 … 511    │                                 │                              │

- A *task* compares up to `TASK_QUERIES` queries with one part. It reads the part tile by tile, and
  compares each tile with all its queries. Rows ascend within a part, so results depend neither on
  the number of threads nor on the size of tiles.
- A *part* is a range of rows. The whole database is one part, unless there are too few queries for
  all threads.
- A *stretch* is the codes that a task lays out at once: some tiles, or some blocks of bit planes.
- A *tile* is the codes that fit into the first-level cache; tiles.pyx decides how many.
- A *slot* is the memory of one running task. There is one per thread; if there are several parts,
  there is one per part.
- A *round* is the tasks that run at the same time, one in each slot.
- A *step* is the rows that all tasks of a round compare in one call of `advance`.
"""

from cpython.buffer cimport PyBUF_ND, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from fasthash._kernels.tiles cimport Database, make_database

cdef enum:
    # Largest number of queries per task. Laying out a tile takes as long as two to four queries
    # take to scan it.
    TASK_QUERIES = 256
    # A part has at least this many bytes, some hundred microseconds of work. With smaller parts,
    # threads that wake up late would cost more time than they save.
    PART_BYTES = 1 << 21


cdef Py_ssize_t count_parts(const Database *database, Py_ssize_t n_queries,
                            int n_threads) noexcept nogil:
    """The number of parts: one, unless there are too few queries for all threads."""
    if n_queries >= 4 * <Py_ssize_t>n_threads:
        return 1
    return max(1, min(<Py_ssize_t>n_threads, database.n * database.n_bytes // PART_BYTES))


cdef Py_ssize_t part_start(const Database *database, Py_ssize_t part,
                           Py_ssize_t n_parts) noexcept nogil:
    """The first row of a part; a part is a whole number of tiles."""
    cdef Py_ssize_t n_tiles = (database.n + database.tile - 1) // database.tile
    return min(database.n, (n_tiles * part // n_parts) * database.tile)


cdef Py_ssize_t part_rows(const Database *database, Py_ssize_t n_parts) noexcept nogil:
    """The number of rows of the longest part."""
    cdef Py_ssize_t n_tiles = (database.n + database.tile - 1) // database.tile
    return min(database.n, (n_tiles + n_parts - 1) // n_parts * database.tile)


cdef Py_ssize_t rows_of_step(const Database *database, Py_ssize_t n_queries,
                             Py_ssize_t n_words, Py_ssize_t cost) noexcept nogil:
    """The rows of a step in which a task of n_queries compares n_words words, `cost` per code.

    At least a stretch of a top-k search, and a whole number of tiles; at most all rows.
    """
    cdef Py_ssize_t least = <Py_ssize_t>database.tile * STRETCH_TILES
    return min(database.n, max(<Py_ssize_t>1, n_words // (n_queries * cost * least)) * least)


cdef Py_ssize_t queries_per_task(Py_ssize_t n_queries, int n_threads) noexcept nogil:
    """The number of queries per task: tasks have about the same size, and each thread gets one."""
    cdef Py_ssize_t n_tasks = max(<Py_ssize_t>n_threads,
                                  (n_queries + TASK_QUERIES - 1) // TASK_QUERIES)
    return max(<Py_ssize_t>1, (n_queries + n_tasks - 1) // n_tasks)


cdef int32_t keep_allowed(const Database *database, Py_ssize_t first, int32_t n_hits,
                          int32_t *positions, int32_t *distances) noexcept nogil:
    """Drop the hits that are not allowed; their positions count from code `first`.

    Hits are few, so this costs nearly nothing.
    """
    cdef int32_t i, n = 0
    cdef Py_ssize_t row
    for i in range(n_hits):
        row = first + positions[i]
        if database.order != NULL:
            row = database.order[row]
        # Without a branch, so that the next reads of memory do not wait for this one.
        positions[n] = positions[i]
        distances[n] = distances[i]
        n = n + (database.allowed[row] != 0)
    return n


cdef Database searched(Py_ssize_t n_queries, const uint8_t[:, ::1] codes,
                       const int64_t[::1] rows, const uint8_t[::1] allowed,
                       const uint32_t[::1] order):
    """Make the `Database` of a search from its arrays; all but `codes` may be None."""
    cdef Database database = make_database(&codes[0, 0], codes.shape[0], codes.shape[1],
                                           n_queries)
    restrict_to(&database, rows, allowed, order)
    return database


cdef void restrict_to(Database *database, const int64_t[::1] rows, const uint8_t[::1] allowed,
                      const uint32_t[::1] order):
    """Search only the codes listed in `rows`, or the rows with these flags; each may be None.

    `order` has the row of each code; it is not given together with `rows`.
    """
    if rows is not None:
        database.rows, database.n = &rows[0], rows.shape[0]
    if allowed is not None:
        database.allowed = &allowed[0]
    if order is not None:
        database.order = &order[0]


cdef void *memory_of(array, Py_ssize_t *shape) except NULL:
    """Where a C-contiguous array of two dimensions begins, which the caller keeps; its shape."""
    cdef Py_buffer buffer
    PyObject_GetBuffer(array, &buffer, PyBUF_ND)
    cdef void *memory = buffer.buf
    shape[0], shape[1] = buffer.shape[0], buffer.shape[1]
    PyBuffer_Release(&buffer)
    return memory
