"""Multi-index hashing over packed codes: the tables, and the probing of many queries at once.

multi_index.h says how it works. Every thread has its own workspace, and every query its own place
in the output, so results do not depend on the number of threads. Order is always (distance, row).
`Tables` is for Python; index_calls.pyx uses the functions above it for callers from C.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fasthash._kernels.tiles cimport active_level, poll_function, threads_for

import numpy as np

cdef extern from "Python.h":
    # The exception stays set, and the caller of the caller raises it.
    int check_signals "PyErr_CheckSignals"() noexcept

cdef extern from "multi_index.h" nogil:
    enum:
        FH_SUBSTRING_BITS_MAX
        FH_NARROW_BITS
        FH_BUCKET_COST
    fh_table fh_table_of(int32_t n_bits, int32_t n_tables, int32_t j)
    int64_t fh_table_bytes(const fh_table *table, int64_t n)
    void fh_table_place_in(fh_table *table, int64_t n, uint8_t *memory)
    void fh_table_start(const fh_multi_index *index, const fh_table *table)
    void fh_table_count(const fh_multi_index *index, const fh_table *table, int64_t first,
                        int64_t end)
    void fh_table_sum(const fh_table *table)
    void fh_table_place(const fh_multi_index *index, const fh_table *table, int64_t first,
                        int64_t end)
    void fh_table_finish(const fh_table *table)
    int fh_answer_reserve(fh_answer *answer, int64_t more)
    void fh_sort_keys(uint64_t *keys, int64_t n, uint64_t *scratch)

cdef extern from "multi_index_probe.h" nogil:
    int fh_probe(const fh_multi_index *index, const uint8_t *query, const uint8_t *allowed,
                 int32_t last_step, int64_t budget, uint32_t *keys, fh_answer *answer,
                 int64_t *cost, int counts_words)

cdef enum:
    # Entries that a thread makes between two looks at pending signals while tables are built: a
    # tenth of a second.
    BUILD_ENTRIES = 1 << 21
    # What it takes to make an entry, and to answer a query at least, in words compared.
    ENTRY_WORDS = 32
    QUERY_WORDS = 1 << 15
    # With fewer bits per substring, visiting buckets costs more than it saves, for any number of
    # codes.
    SUBSTRING_BITS_MIN = 8

SUBSTRING_BITS_MAX = FH_SUBSTRING_BITS_MAX
NARROW_BITS = FH_NARROW_BITS
BUCKET_COST = FH_BUCKET_COST
FREE_COST = FREE_CANDIDATES


cdef int32_t tables_for(int32_t n_bits, int64_t n) noexcept nogil:
    """How many tables serve n codes best.

    Substrings of log2(n) bits (Norouzi, Punjani, Fleet, section 3.3): a bucket then holds about one
    code, and the bounds of a table's buckets take no more than 4 n bytes.
    """
    cdef int32_t length = SUBSTRING_BITS_MIN
    while length < FH_SUBSTRING_BITS_MAX and n >> (length + 1) > 0:
        length += 1
    return n_bits // length + (n_bits % length != 0)


def best_n_tables(int32_t n_bits, int64_t n):
    """`tables_for`, for Python."""
    return tables_for(n_bits, n)


cdef int64_t budget_for(int64_t n) noexcept nogil:
    """What a query may cost where nobody has measured how fast a scan of n codes is."""
    return n // SCAN_ADVANTAGE + FREE_CANDIDATES


def default_budget(int64_t n):
    """`budget_for`, for Python."""
    return budget_for(n)


cdef int probing_threads(int n_threads, int64_t n_queries) noexcept nogil:
    """How many of n_threads probe so many queries."""
    return threads_for(n_threads, n_queries, <double>n_queries * QUERY_WORDS)


# --- tables ------------------------------------------------------------------

cdef int64_t bytes_of_tables(int64_t n, int32_t n_bits, int32_t n_tables) noexcept nogil:
    """The size of the memory of the tables of n codes."""
    cdef int64_t total = 0
    cdef int32_t j
    cdef fh_table table
    for j in range(n_tables):
        table = fh_table_of(n_bits, n_tables, j)
        total += fh_table_bytes(&table, n)
    return total


def table_bytes(int64_t n, int n_bits, int n_tables):
    """`bytes_of_tables`, for Python."""
    return bytes_of_tables(n, n_bits, n_tables)


cdef void lay_out_tables(fh_multi_index *index, uint8_t *memory) noexcept nogil:
    """Give the tables of an index, whose sizes are set, their memory.

    Substrings differ in length by at most one bit and are at most FH_SUBSTRING_BITS_MAX long.
    """
    cdef int32_t j
    for j in range(index.n_tables):
        index.tables[j] = fh_table_of(index.n_bits, index.n_tables, j)
        fh_table_place_in(&index.tables[j], index.n, memory)
        memory += fh_table_bytes(&index.tables[j], index.n)


cdef int build_tables(const fh_multi_index *index, int n_threads, poll_function poll,
                      void *context) noexcept nogil:
    """Sort the rows of every table; the tables have their memory.

    `poll`, unless it is NULL, is called about ten times a second. If it does not return 0, the work
    ends and this function returns the same.
    """
    cdef int64_t first, end, n_rows
    cdef int32_t j
    cdef int answer, places
    n_threads = threads_for(n_threads, index.n_tables,
                            <double>index.n * index.n_tables * ENTRY_WORDS)
    n_rows = BUILD_ENTRIES // ((index.n_tables + n_threads - 1) // n_threads) + 1
    for j in range(index.n_tables):
        fh_table_start(index, &index.tables[j])
        answer = poll(context) if poll != NULL else 0
        if answer != 0:
            return answer
    for places in range(2):
        first = 0
        while first < index.n:
            end = min(first + n_rows, index.n)
            for j in prange(index.n_tables, schedule="dynamic", num_threads=n_threads):
                if places:
                    fh_table_place(index, &index.tables[j], first, end)
                else:
                    fh_table_count(index, &index.tables[j], first, end)
            first = end
            answer = poll(context) if poll != NULL else 0
            if answer != 0:
                return answer
        for j in range(index.n_tables):
            if places:
                fh_table_finish(&index.tables[j])
            else:
                fh_table_sum(&index.tables[j])
            answer = poll(context) if poll != NULL else 0
            if answer != 0:
                return answer
    return 0


cdef int answer_signals(void *context) noexcept with gil:
    """Let Python handle pending signals; -1 with an exception set if one of them raises."""
    return check_signals()


cdef int build_unless_interrupted(const fh_multi_index *index, int n_threads) except -1:
    """`build_tables`, for Python: an interrupt is answered between its parts."""
    cdef int answer
    with nogil:
        answer = build_tables(index, n_threads, answer_signals, NULL)
    return answer


# --- probing -----------------------------------------------------------------

cdef void split_keys(const uint64_t *keys, int64_t n, int32_t *out_distances,
                     int64_t *out_rows) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        out_distances[i] = <int32_t>(keys[i] >> 32)
        out_rows[i] = <uint32_t>keys[i]


cdef uint8_t topk_of_query(const fh_multi_index *index, const uint8_t *query,
                           const uint8_t *allowed, int64_t k, int64_t budget, uint64_t *found,
                           uint32_t *keys, int32_t *out_distances, int64_t *out_rows,
                           int64_t *cost) noexcept nogil:
    """Write the query's k nearest codes; `found` has room for 2 k keys.

    `cost` is what it has cost. Returns 0, and writes nothing else, where that would exceed the
    budget, or where tables from a damaged file lack codes; else 1 or 2, as bits were counted
    portably or by an instruction.
    """
    cdef fh_answer answer
    answer.keys = found
    answer.n = 0
    answer.capacity = answer.k = k
    answer.bound = INT32_MAX
    answer.failed = 0
    cdef int probed = fh_probe(index, query, allowed, index.n_bits, budget, keys, &answer, cost,
                               active_level().counts_words)
    # Damaged tables may lack codes.
    if probed == 0 or answer.n < k:
        return 0
    fh_sort_keys(found, k, found + k)
    split_keys(found, k, out_distances, out_rows)
    return <uint8_t>probed


cdef uint8_t within_of_query(const fh_multi_index *index, const uint8_t *query,
                             const uint8_t *allowed, int32_t radius, int64_t budget,
                             fh_answer *answer, uint32_t *keys, int64_t *cost) noexcept nogil:
    """Append what the query finds to the answer, sorted; nothing where it returns 0.

    It returns what `topk_of_query` does, and 0 also where there is no memory: then the answer has
    failed.
    """
    cdef int64_t start = answer.n, n_found
    answer.bound = radius
    cdef int probed = fh_probe(index, query, allowed, radius, budget, keys, answer, cost,
                               active_level().counts_words)
    if probed == 0:
        answer.n = start
        return 0
    n_found = answer.n - start
    if not fh_answer_reserve(answer, n_found):
        return 0
    fh_sort_keys(answer.keys + start, n_found, answer.keys + answer.n)
    return <uint8_t>probed


cdef class Tables:
    """The tables of n < 2^32 codes; they refer to the codes, which must not change.

    Memory: 4 (n + 2^length) bytes per table, and ceil((n_bits - length) / 8) n more for narrow
    codes. ``memory`` holds tables that were built before, in ``table_bytes(n, n_bits, n_tables)``
    bytes whose address is a multiple of 4. Without it the tables are built. The same codes always
    give the same bytes. ``places`` says where the code of each row lies, None if at this row.
    """

    cdef fh_multi_index index
    cdef readonly object memory
    cdef object codes, places

    def __cinit__(self, const uint8_t[:, ::1] codes, int n_bits, int n_tables, int n_threads,
                  memory=None, const uint32_t[::1] places=None):
        cdef int64_t n = codes.shape[0]
        cdef const uint8_t[::1] block
        self.index.tables = <fh_table *>calloc(n_tables, sizeof(fh_table))
        if self.index.tables == NULL:
            raise MemoryError
        self.index.codes = &codes[0, 0] if n > 0 else NULL
        self.index.places = &places[0] if places is not None else NULL
        self.index.n, self.index.n_bytes = n, codes.shape[1]
        self.index.n_bits, self.index.n_tables = n_bits, n_tables
        self.codes, self.places = codes, places
        is_built = memory is not None
        if not is_built:
            memory = np.empty(table_bytes(n, n_bits, n_tables), np.uint8)
        self.memory = memory
        block = memory
        # What is built already is only read.
        lay_out_tables(&self.index, <uint8_t *>&block[0])
        if not is_built:
            build_unless_interrupted(&self.index, n_threads)

    def __dealloc__(self):
        free(self.index.tables)

    @property
    def n_tables(self):
        return self.index.n_tables

    def topk(self, const uint8_t[:, ::1] queries, int64_t k, int64_t budget,
             const uint8_t[::1] allowed, int32_t[:, ::1] out_distances, int64_t[:, ::1] out_rows,
             int64_t[::1] costs, uint8_t[::1] done, int n_threads):
        """The k nearest codes of every query, 1 <= k <= number of rows that may be found.

        ``allowed`` (None: all) has a flag per row that says whether it may be found. costs[q] is
        what query q cost. done[q] is what `topk_of_query` returns for it.
        """
        cdef Py_ssize_t n_queries = queries.shape[0], q, thread
        cdef const fh_multi_index *index = &self.index
        cdef const uint8_t *flags = &allowed[0] if allowed is not None else NULL
        if n_queries == 0:
            return
        n_threads = probing_threads(n_threads, n_queries)
        # k keys and as many to sort them.
        cdef uint64_t[:, ::1] found = np.empty((n_threads, 2 * k), np.uint64)
        cdef uint32_t[:, ::1] keys = np.empty((n_threads, index.n_tables), np.uint32)
        for q in prange(n_queries, nogil=True, schedule="dynamic", num_threads=n_threads):
            thread = threadid()
            done[q] = topk_of_query(index, &queries[q, 0], flags, k, budget,
                                    &found[thread, 0], &keys[thread, 0], &out_distances[q, 0],
                                    &out_rows[q, 0], &costs[q])

    def within(self, const uint8_t[:, ::1] queries, int32_t radius, int64_t budget,
               int64_t[::1] costs, uint8_t[::1] done, int n_threads):
        """(counts, distances, rows) of all codes within the radius, 0 <= radius <= n_bits.

        costs and done are as in `topk`; a query that is not done counts 0.
        """
        cdef Py_ssize_t n_queries = queries.shape[0], q, thread
        cdef const fh_multi_index *index = &self.index
        n_threads = probing_threads(n_threads, n_queries)
        cdef uint32_t[:, ::1] keys = np.empty((n_threads, index.n_tables), np.uint32)
        # Each thread appends what its queries find; (thread, start, count) says where it lies.
        counts_array = np.zeros(n_queries, np.int64)
        cdef int64_t[::1] counts = counts_array
        cdef int64_t[::1] starts = np.zeros(n_queries, np.int64)
        cdef int32_t[::1] threads = np.zeros(n_queries, np.int32)
        cdef int64_t[::1] places
        cdef int32_t[::1] out_distances
        cdef int64_t[::1] out_rows
        cdef int failed = 0
        cdef fh_answer *answers = <fh_answer *>calloc(n_threads, sizeof(fh_answer))
        if answers == NULL:
            raise MemoryError
        try:
            for q in prange(n_queries, nogil=True, schedule="dynamic", num_threads=n_threads):
                thread = threadid()
                threads[q] = <int32_t>thread
                starts[q] = answers[thread].n
                done[q] = within_of_query(index, &queries[q, 0], NULL, radius, budget,
                                          &answers[thread], &keys[thread, 0], &costs[q])
                counts[q] = answers[thread].n - starts[q]
            for thread in range(n_threads):
                failed |= answers[thread].failed
            if failed:
                raise MemoryError("the answers do not fit in memory: ask fewer queries at a time")
            ends = np.cumsum(counts_array)
            places = ends - counts_array
            n_found = int(counts_array.sum())
            # One more than there are, so that an empty array has an address too.
            out_distances_array = np.empty(n_found + 1, np.int32)
            out_rows_array = np.empty(n_found + 1, np.int64)
            out_distances, out_rows = out_distances_array, out_rows_array
            for q in prange(n_queries, nogil=True, schedule="static", num_threads=n_threads):
                split_keys(answers[threads[q]].keys + starts[q], counts[q],
                           &out_distances[0] + places[q], &out_rows[0] + places[q])
        finally:
            for thread in range(n_threads):
                free(answers[thread].keys)
            free(answers)
        return counts_array, out_distances_array[:n_found], out_rows_array[:n_found]
