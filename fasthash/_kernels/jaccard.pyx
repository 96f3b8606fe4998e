"""Search by Jaccard distance among codes that are sorted by their number of bits set.

Let a query and a code have a and b bits set, and differ in h bits. They share (a + b - h) / 2 bits,
and (a + b + h) / 2 bits are set in at least one of them. So the Jaccard distance is

    h / ((a + b + h) / 2)

For a given b it grows with h. So a limit of the distance is a limit of h, with which the Hamming
scan of the instruction-set level compares. And h is at least |a - b|. So a tile whose numbers b are
too far from a is not read at all.

A task is some queries with about the same a. It starts at the tile where b is like a, and reads
tiles in both directions until no query can find anything there. The nearest codes of a query are
held in a heap, whose first entry is the last by (distance, row). Call `Jaccard.advance` until it
returns 0; between two calls the caller can handle an interrupt.
"""

from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from fasthash._kernels.selection cimport next_block
from fasthash._kernels.tasks cimport queries_per_task
from fasthash._kernels.tiles cimport (
    FH_LANES_MAX,
    Arena,
    Database,
    TileBuffer,
    carve,
    load_tile,
    make_arena,
    make_database,
    make_tile_buffer,
    scan_loaded,
    threads_for,
    tile_buffer_words,
    use_rows_for_few,
    words_compared,
    write_words,
)

import numpy as np

# The answers to a query, a heap until all tiles are read.
cdef struct Found:
    double *distances
    int64_t *rows
    int64_t n
    int64_t capacity
    # A larger distance cannot enter.
    double limit

# Some queries, and the tiles that they have not read: those below `left` and those from `right` on.
cdef struct Task:
    Py_ssize_t first
    Py_ssize_t n_queries
    Py_ssize_t left
    Py_ssize_t right
    Py_ssize_t n_seen
    bint is_done

cdef struct Search:
    Database database
    const int64_t *rows         # for each code, its row before the codes were sorted
    const int32_t *sizes        # for each code, its number of bits set, ascending
    const uint64_t *queries
    const int32_t *query_sizes  # ascending
    Found *found
    bint is_counted             # whether answers are counted and not written
    Py_ssize_t n_tiles

# Memory of a thread.
cdef struct Workspace:
    int32_t *positions
    int32_t *distances
    uint64_t *tile


cdef Workspace carve_workspace(const Database *database, Arena *arena) noexcept nogil:
    cdef Workspace work
    work.positions = <int32_t *>carve(arena, 4 * (database.tile + FH_LANES_MAX))
    work.distances = <int32_t *>carve(arena, 4 * (database.tile + FH_LANES_MAX))
    work.tile = <uint64_t *>carve(arena, 8 * tile_buffer_words(database, database.tile))
    return work


cdef inline double quotient(int64_t h, int64_t a, int64_t b) noexcept nogil:
    """The Jaccard distance; 0 for two codes without a bit set."""
    return <double>h / <double>((a + b + h) // 2) if h > 0 else 0.0


cdef inline double least_distance(int64_t a, int64_t smallest, int64_t largest) noexcept nogil:
    """A lower bound of the distance to codes that have smallest to largest bits set."""
    if smallest > a:
        return quotient(smallest - a, a, smallest)
    if largest < a:
        return quotient(a - largest, a, largest)
    return 0.0


cdef inline int32_t hamming_bound(double limit, int64_t a, int64_t largest,
                                  Py_ssize_t n_bytes) noexcept nogil:
    """A number that is larger than h of every code within the limit that has <= largest bits set.

    From h / ((a + b + h) / 2) <= limit follows h <= limit (a + b) / (2 - limit). The 0.001 is
    larger than all errors of rounding. h is at most 8 n_bytes, so the result fits in int32.
    """
    cdef double h = limit * <double>(a + largest) / (2.0 - limit) + 0.001
    return <int32_t>min(<double>(8 * n_bytes), h) + 1


cdef inline bint is_later(double distance, int64_t row, double other,
                          int64_t other_row) noexcept nogil:
    return distance > other or (distance == other and row > other_row)


cdef void sift_down(Found *found, int64_t at, int64_t n) noexcept nogil:
    """Move an entry of the heap of n entries down to its place."""
    cdef double distance = found.distances[at]
    cdef int64_t row = found.rows[at], child = 2 * at + 1
    while child < n:
        if child + 1 < n and is_later(found.distances[child + 1], found.rows[child + 1],
                                      found.distances[child], found.rows[child]):
            child += 1
        if not is_later(found.distances[child], found.rows[child], distance, row):
            break
        found.distances[at] = found.distances[child]
        found.rows[at] = found.rows[child]
        at = child
        child = 2 * at + 1
    found.distances[at] = distance
    found.rows[at] = row


cdef void make_heap(Found *found) noexcept nogil:
    cdef int64_t at = found.n // 2
    while at > 0:
        at -= 1
        sift_down(found, at, found.n)


cdef void sort_found(Found *found) noexcept nogil:
    """Sort the heap by (distance, row)."""
    cdef int64_t last = found.n - 1, row
    cdef double distance
    while last > 0:
        distance, row = found.distances[last], found.rows[last]
        found.distances[last], found.rows[last] = found.distances[0], found.rows[0]
        found.distances[0], found.rows[0] = distance, row
        sift_down(found, 0, last)
        last -= 1


cdef inline void offer(Found *found, double distance, int64_t row) noexcept nogil:
    """Take an answer if it is among the nearest."""
    if found.n < found.capacity:
        found.distances[found.n] = distance
        found.rows[found.n] = row
        found.n += 1
        if found.n == found.capacity:
            make_heap(found)
            found.limit = found.distances[0]
    elif is_later(found.distances[0], found.rows[0], distance, row):
        found.distances[0] = distance
        found.rows[0] = row
        sift_down(found, 0, found.n)
        found.limit = found.distances[0]


cdef void scan_tile(const Search *search, Py_ssize_t query, Py_ssize_t start, int32_t n,
                    Py_ssize_t n_seen, const uint64_t *tile, const Workspace *work) noexcept nogil:
    """Compare a query with a tile; blocks are short at first, while the limit falls fast."""
    cdef const Database *database = &search.database
    cdef const uint64_t *words = search.queries + query * database.n_words
    cdef Found *found = &search.found[query]
    cdef int64_t a = search.query_sizes[query], position
    cdef int32_t block = 0, n_block, n_hits, i
    cdef double distance
    while block < n:
        n_block = next_block(n_seen + block, n - block)
        n_hits = scan_loaded(database, words, tile, block, n_block,
                             hamming_bound(found.limit, a, search.sizes[start + n - 1],
                                           database.n_bytes),
                             work.positions, work.distances)
        for i in range(n_hits):
            position = start + block + work.positions[i]
            distance = quotient(work.distances[i], a, search.sizes[position])
            if distance <= found.limit:
                if search.is_counted:
                    found.n += 1
                else:
                    offer(found, distance, search.rows[position])
        block = block + n_block


cdef Py_ssize_t read_tile(const Search *search, const Task *task, Py_ssize_t tile,
                          const Workspace *work) noexcept nogil:
    """Compare a tile with the queries that may find something there; return the words compared."""
    cdef const Database *database = &search.database
    cdef Py_ssize_t start = tile * database.tile, q, n_scanned = 0
    cdef int32_t n = <int32_t>min(<Py_ssize_t>database.tile, database.n - start)
    cdef int32_t smallest = search.sizes[start], largest = search.sizes[start + n - 1]
    cdef const uint64_t *loaded = NULL
    cdef TileBuffer buffer
    for q in range(task.first, task.first + task.n_queries):
        if least_distance(search.query_sizes[q], smallest, largest) <= search.found[q].limit:
            if loaded == NULL:
                buffer = make_tile_buffer(database, database.tile, work.tile)
                loaded = load_tile(database, start, n, &buffer)
            scan_tile(search, q, start, n, task.n_seen, loaded, work)
            n_scanned += 1
    return n_scanned * n * database.n_words


cdef Py_ssize_t run(const Search *search, Task *task, Py_ssize_t n_words,
                    const Workspace *work) noexcept nogil:
    """Read tiles until about n_words words are compared; return how many were."""
    cdef const Database *database = &search.database
    cdef Py_ssize_t last = task.first + task.n_queries - 1, n_done = 0, n_here, tile, q
    cdef int64_t a_first = search.query_sizes[task.first], a_last = search.query_sizes[last]
    cdef int64_t a = (a_first + a_last) // 2, below, above
    cdef bint is_right
    while n_done < n_words:
        if task.left == 0 and task.right == search.n_tiles:
            break
        is_right = task.left == 0
        if task.left > 0 and task.right < search.n_tiles:
            below = search.sizes[task.left * database.tile - 1]
            above = search.sizes[task.right * database.tile]
            # The distance is at least 1 - a / above and 1 - below / a.
            is_right = a * a >= below * above
        if is_right:
            tile, task.right = task.right, task.right + 1
        else:
            tile, task.left = task.left - 1, task.left - 1
        n_here = read_tile(search, task, tile, work)
        task.n_seen += database.tile
        n_done += n_here + 1
        if n_here > 0:
            continue
        # In this direction later tiles are further from all queries.
        if is_right and search.sizes[tile * database.tile] >= a_last:
            task.right = search.n_tiles
        elif not is_right and search.sizes[(tile + 1) * database.tile - 1] <= a_first:
            task.left = 0
    if task.left == 0 and task.right == search.n_tiles:
        task.is_done = True
        if not search.is_counted:
            for q in range(task.first, last + 1):
                if search.found[q].n < search.found[q].capacity:
                    make_heap(&search.found[q])
                sort_found(&search.found[q])
    return n_done


cdef Py_ssize_t tile_near(const Search *search, int64_t a) noexcept nogil:
    """The first tile that ends with a code of at least a bits set; or the last tile."""
    cdef Py_ssize_t low = 0, high = search.n_tiles - 1, middle
    while low < high:
        middle = (low + high) // 2
        if search.sizes[(middle + 1) * search.database.tile - 1] < a:
            low = middle + 1
        else:
            high = middle
    return low


cdef class Jaccard:
    """Find the codes of the smallest Jaccard distance, or count those within a radius.

    ``queries`` and ``codes`` are sorted by their numbers of bits set, ``query_sizes`` and
    ``sizes``; at least one of each. ``rows`` are the rows of the codes before. Query q gets the
    ``counts[q]`` nearest codes of those within the radius, at most as many as there are. They are
    written from ``starts[q]`` on, by (distance, row). If ``starts`` is None, all codes within the
    radius are counted in ``counts``, which is 0 before.
    """

    cdef Search search
    cdef const uint8_t[:, ::1] codes
    cdef const int64_t[::1] rows
    cdef const int32_t[::1] sizes, query_sizes
    cdef int64_t[::1] counts, out_rows
    cdef double[::1] out_distances
    cdef uint64_t[:, ::1] words
    cdef uint8_t[::1] found, tasks, scratch
    cdef Py_ssize_t n_queries, n_tasks, n_slots, next_task

    def __cinit__(self, const uint8_t[:, ::1] queries, const int32_t[::1] query_sizes,
                  const uint8_t[:, ::1] codes, const int32_t[::1] sizes, const int64_t[::1] rows,
                  double radius, const int64_t[::1] starts, int64_t[::1] counts,
                  double[::1] out_distances, int64_t[::1] out_rows, int n_threads):
        cdef Py_ssize_t n_queries = queries.shape[0], n_bytes = codes.shape[1], q, task
        cdef Database database = make_database(&codes[0, 0], codes.shape[0], n_bytes, n_queries)
        cdef Py_ssize_t n_task
        cdef Task *tasks
        use_rows_for_few(&database, n_queries)
        n_threads = threads_for(n_threads, n_queries, words_compared(&database, n_queries))
        n_task = queries_per_task(n_queries, n_threads)
        self.codes, self.rows, self.sizes, self.query_sizes = codes, rows, sizes, query_sizes
        self.counts, self.out_distances, self.out_rows = counts, out_distances, out_rows
        self.n_queries = n_queries
        self.words = np.empty((n_queries, database.n_words), np.uint64)
        write_words(&queries[0, 0], n_queries, n_bytes, &self.words[0, 0])
        self.search.database = database
        self.search.rows, self.search.sizes = &rows[0], &sizes[0]
        self.search.queries, self.search.query_sizes = &self.words[0, 0], &query_sizes[0]
        self.search.is_counted = starts is None
        self.search.n_tiles = (database.n + database.tile - 1) // database.tile
        self.found = np.zeros(n_queries * sizeof(Found), np.uint8)
        self.search.found = <Found *>&self.found[0]
        for q in range(n_queries):
            self.search.found[q].limit = radius
            if starts is not None:
                self.search.found[q].capacity = counts[q]
                if counts[q] == 0:
                    # A query that finds nothing reads nothing.
                    self.search.found[q].limit = -1.0
                else:
                    self.search.found[q].distances = &out_distances[starts[q]]
                    self.search.found[q].rows = &out_rows[starts[q]]
        self.n_tasks = (n_queries + n_task - 1) // n_task
        self.n_slots = min(<Py_ssize_t>n_threads, self.n_tasks)
        self.tasks = np.zeros(self.n_tasks * sizeof(Task), np.uint8)
        tasks = <Task *>&self.tasks[0]
        for task in range(self.n_tasks):
            tasks[task].first = task * n_task
            tasks[task].n_queries = min(n_task, n_queries - task * n_task)
            q = tasks[task].first + tasks[task].n_queries // 2
            tasks[task].left = tasks[task].right = tile_near(&self.search, query_sizes[q])
        self.scratch = np.empty(self.n_slots * self.scratch_bytes(), np.uint8)

    cdef Py_ssize_t scratch_bytes(self):
        cdef Arena arena = make_arena(NULL)
        carve_workspace(&self.search.database, &arena)
        return arena.used

    def advance(self, Py_ssize_t n_words):
        """Compare about n_words 64-bit words per thread; return how many, 0 at the end."""
        cdef Task *tasks = <Task *>&self.tasks[0]
        cdef uint8_t *scratch = &self.scratch[0]
        cdef Py_ssize_t n_here, slot, n_done = 0, n_most, slot_bytes = self.scratch_bytes()
        cdef Py_ssize_t[::1] chosen = np.zeros(self.n_slots, np.intp)
        cdef Py_ssize_t[::1] done = np.zeros(self.n_slots, np.intp)
        cdef Py_ssize_t task, q
        while n_done < n_words:
            n_here, task = 0, self.next_task
            while task < self.n_tasks and n_here < self.n_slots:
                if not tasks[task].is_done:
                    chosen[n_here] = task
                    n_here += 1
                elif n_here == 0:
                    self.next_task = task + 1
                task += 1
            if n_here == 0:
                break
            with nogil:
                for slot in prange(n_here, schedule="static", num_threads=<int>self.n_slots):
                    done[slot] = run_in(&self.search, &tasks[chosen[slot]], n_words - n_done,
                                        scratch + slot * slot_bytes)
            n_most = 0
            for slot in range(n_here):
                n_most = max(n_most, done[slot])
            n_done += n_most
        if n_done > 0 and self.search.is_counted:
            for q in range(self.n_queries):
                self.counts[q] = self.search.found[q].n
        return n_done


cdef Py_ssize_t run_in(const Search *search, Task *task, Py_ssize_t n_words,
                       uint8_t *memory) noexcept nogil:
    cdef Arena arena = make_arena(memory)
    cdef Workspace work = carve_workspace(&search.database, &arena)
    return run(search, task, n_words, &work)
