"""The size of a tile, the number of threads and the instruction-set level are decided here.

- Tile: a search reads the database in tiles that stay in the first-level cache. A tile is laid out
  once for the registers, and then compared with all queries of a task. `TILE_BYTES`,
  `FEW_TILE_BYTES` and `cut_into_tiles` decide its size. `TILE_BYTES_MAX` in search.pyx depends on
  `TILE_BYTES` and must be larger: only a tile of very wide codes has more bytes.
- Threads: `usable_threads` limits what a caller may ask for; `threads_for` decides how many threads
  a kernel starts.
- Level: `use_level` chooses one; simd/dispatch.c holds the one in use.
"""

from libc.stdint cimport int32_t, uint8_t, uint64_t, uintptr_t
from libc.string cimport memcpy

import os

from fasthash._kernels import MAY_HAVE_LOST_THREADS

cdef extern from "gather.h" nogil:
    void fh_gather_codes(const uint8_t *codes, const int64_t *rows, int32_t n, Py_ssize_t n_bytes,
                         Py_ssize_t stride, uint8_t *out)

cdef extern from "simd/simd.h" nogil:
    enum:
        FH_LEVELS_MAX
    const fh_level *fh_active_level()
    int fh_use_level(const char *name)
    int fh_supported_levels(const fh_level **levels)

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define FH_OPENMP _OPENMP
    #define FH_MAX_THREADS() omp_get_max_threads()
    #define FH_PROCESSORS() omp_get_num_procs()
    #else
    #define FH_OPENMP 0
    #define FH_MAX_THREADS() 1
    #define FH_PROCESSORS() 1
    #endif
    """
    const int FH_OPENMP
    int FH_MAX_THREADS() nogil
    int FH_PROCESSORS() nogil

cdef extern from "fork.h" nogil:
    int fh_watch_forks(int may_have_lost_threads)
    int fh_has_one_thread()

cdef enum:
    # Bytes of a tile; the hits of a scan are in the first-level cache too.
    TILE_BYTES = 1 << 15
    # With at most this many queries, rows are scanned as they lie in memory: laying them out would
    # take longer than it saves.
    ROW_QUERIES = 2
    # With at most this many queries, reading memory takes most of the time. Small tiles keep the
    # memory busy while the queries scan.
    FEW_QUERIES = 4
    FEW_TILE_BYTES = 1 << 13
    # The largest number of threads of a call: 4 for each processor, but at least 64. There is a
    # limit because a process ends if the system cannot start a thread.
    MOST_PER_PROCESSOR = 4
    MOST_ANYWHERE = 64


def openmp_version():
    """The OpenMP version macro (yyyymm) of the build, 0 without OpenMP."""
    return FH_OPENMP


def openmp_max_threads():
    """The number of threads that the OpenMP runtime would start from the calling thread."""
    return FH_MAX_THREADS()


# A thread gets at least this much work, in 64-bit words compared: some ten microseconds, about the
# time to wake a thread.
LEAST_WORK = 1 << 16
cdef Py_ssize_t least_work = LEAST_WORK


cdef int usable_threads(int n_threads) noexcept nogil:
    """The largest number of threads for a request of n_threads >= 1; 0 means OpenMP's default.

    It is 1 without OpenMP, and in a forked child that may use one thread only, see fork.h. A kernel
    starts as many of them as `threads_for` returns.
    """
    if FH_OPENMP == 0 or fh_has_one_thread():
        return 1
    if n_threads == 0:
        n_threads = FH_MAX_THREADS()
    if n_threads <= MOST_ANYWHERE:
        # The system is not asked for the number of processors, which takes .3 microseconds.
        return n_threads
    return min(n_threads, max(<int>MOST_ANYWHERE, MOST_PER_PROCESSOR * FH_PROCESSORS()))


cdef int threads_for(int n_threads, Py_ssize_t n_tasks, double n_words) noexcept nogil:
    """The number of threads that a kernel starts for n_tasks tasks, together worth n_words words.

    At most n_threads, and no more than tasks; each gets at least `least_work`. At least one. Only
    this function decides it. The work is a double, because a product of sizes may not fit into an
    integer.
    """
    cdef double worth = n_words / least_work
    if worth < n_threads:
        n_threads = <int>worth
    return <int>max(<Py_ssize_t>1, min(<Py_ssize_t>n_threads, n_tasks))


def allowed_threads(int n_threads):
    """`usable_threads`, for Python."""
    return usable_threads(n_threads)


def started_threads(int n_threads, Py_ssize_t n_tasks, double n_words):
    """`threads_for`, for Python."""
    return threads_for(n_threads, n_tasks, n_words)


def use_least_work(Py_ssize_t n_words):
    """Set the least work of a thread, at least 1, for tests; return the value before."""
    global least_work
    before = least_work
    least_work = n_words
    return before


def supported_levels():
    """Names of the instruction-set levels this machine can run, slowest first."""
    cdef const fh_level *levels[FH_LEVELS_MAX]
    cdef int n = fh_supported_levels(levels)
    return tuple([levels[i].name.decode() for i in range(n)])


def level_in_use():
    """Name of the instruction-set level in use."""
    return fh_active_level().name.decode()


def use_level(str name not None):
    """Switch to another level, while no kernel runs; ValueError if this machine lacks it."""
    if fh_use_level(name.encode()) != 0:
        raise ValueError(
            f"the instruction-set level {name!r} is not available here: this machine and build "
            f"have {', '.join(supported_levels())}"
        )


cdef const fh_level *active_level() noexcept nogil:
    return fh_active_level()


cdef Database make_database(const uint8_t *codes, Py_ssize_t n, Py_ssize_t n_bytes,
                            Py_ssize_t n_queries) noexcept nogil:
    """Make a database of all rows. A caller may then set `rows` or `allowed`."""
    cdef Database database
    database.codes = codes
    database.rows = NULL
    database.allowed = NULL
    database.order = NULL
    database.n = n
    database.n_bytes = n_bytes
    database.n_words = <int32_t>((n_bytes + 7) // 8)
    database.by_rows = False
    cut_into_tiles(&database, FEW_TILE_BYTES if n_queries <= FEW_QUERIES and n_bytes != 8
                   else TILE_BYTES)
    return database


cdef void cut_into_tiles(Database *database, Py_ssize_t tile_bytes) noexcept nogil:
    """Set the number of codes of a tile: a multiple of TILE_STEP, or all codes; at most 4,096."""
    # In Py_ssize_t, because TILE_STEP wide codes may have more bytes than 32 bits can say.
    database.tile = <int32_t>min(
        max(<Py_ssize_t>1, tile_bytes // (8 * TILE_STEP * <Py_ssize_t>database.n_words))
        * TILE_STEP, max(<Py_ssize_t>1, database.n))


cdef void use_rows_for_few(Database *database, Py_ssize_t n_queries) noexcept nogil:
    """For few queries, scan rows as they lie in memory, if the level in use can."""
    if n_queries > ROW_QUERIES or database.n_bytes <= 8:
        return
    if database.n_bytes % active_level().row_bytes == 0:
        database.by_rows = True
        cut_into_tiles(database, TILE_BYTES)


cdef double words_compared(const Database *database, Py_ssize_t n_queries) noexcept nogil:
    """The number of 64-bit words that a search of all codes compares."""
    return <double>n_queries * <double>database.n * database.n_words


cdef Py_ssize_t tile_buffer_words(const Database *database, int32_t n_codes) noexcept nogil:
    """The 64-bit words that a thread needs to load n_codes: laid out, gathered, and aligned."""
    cdef Py_ssize_t n_words = <Py_ssize_t>(n_codes + FH_LANES_MAX) * database.n_words
    return (1 if database.rows == NULL else 2) * n_words + 8


cdef TileBuffer make_tile_buffer(const Database *database, int32_t n_codes,
                                 uint64_t *memory) noexcept nogil:
    cdef TileBuffer buffer
    buffer.prepared = <uint64_t *>((<uintptr_t>memory + 63) & ~<uintptr_t>63)
    buffer.gathered = <uint8_t *>(
        buffer.prepared + <Py_ssize_t>(n_codes + FH_LANES_MAX) * database.n_words)
    return buffer


cdef const uint64_t *load_tile(const Database *database, Py_ssize_t start, int32_t n,
                               const TileBuffer *buffer) noexcept nogil:
    """Lay out codes [start, start + n) for a scan. Codes of 64 bits are returned as they are."""
    cdef const uint8_t *codes
    if database.rows == NULL:
        codes = database.codes + start * database.n_bytes
    else:
        fh_gather_codes(database.codes, database.rows + start, n, database.n_bytes,
                        database.n_bytes, buffer.gathered)
        codes = buffer.gathered
    if database.n_bytes == 8 or database.by_rows:
        return <const uint64_t *>codes
    fh_active_level().prepare(codes, n, database.n_bytes, buffer.prepared)
    return buffer.prepared


cdef void write_words(const uint8_t *codes, Py_ssize_t n, Py_ssize_t n_bytes,
                      uint64_t *words) noexcept nogil:
    """Copy codes to rows of whole 64-bit words, padded with zeros."""
    cdef Py_ssize_t i, n_words = (n_bytes + 7) // 8
    for i in range(n):
        words[(i + 1) * n_words - 1] = 0
        memcpy(words + i * n_words, codes + i * n_bytes, n_bytes)


# The level is chosen once, at import: it must not change between two searches.
fh_active_level()
if os.environ.get("FASTHASH_SIMD"):
    use_level(os.environ["FASTHASH_SIMD"])

if fh_watch_forks(MAY_HAVE_LOST_THREADS) != 0:
    raise MemoryError("there is no memory to note forks of this process")
