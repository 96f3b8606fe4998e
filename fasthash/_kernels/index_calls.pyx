"""An index for callers from C: codes in the tables of multi-index hashing, searched exactly.

A search probes the tables for a block of queries at a time. The queries of the block that exceed
their budget are then answered by one scan of the codes. Only a scan runs if tables are of no use:
if few rows may be found, if k is a large share of them, or if most queries so far have exceeded
their budget. Functions return an error of fasthash.h.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from fasthash._kernels.calls cimport (
    Pace,
    copy_rows,
    count_allowed,
    is_stopped,
    make_pace,
    search_topk,
    search_within,
)
from fasthash._kernels.multi_index cimport (
    SCAN_ADVANTAGE,
    budget_for,
    build_tables,
    bytes_of_tables,
    fh_answer,
    fh_table,
    lay_out_tables,
    probing_threads,
    split_keys,
    tables_for,
    topk_of_query,
    within_of_query,
)
from fasthash._kernels.sorting cimport sorts_all
from fasthash._kernels.tiles cimport usable_threads, whole_lines

cdef extern from *:
    """
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif
    #include <stdint.h>
    #include <stdlib.h>

    /* Memory that is read here and there, in pages of 2 MiB where the system has them. */
    static void *fh_large_memory(size_t n_bytes)
    {
        void *memory = malloc(n_bytes);
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
        const uintptr_t page = 4096, start = ((uintptr_t)memory + page - 1) / page * page;
        if (memory != NULL && n_bytes >= (size_t)1 << 22)
            (void)madvise((void *)start, n_bytes - (start - (uintptr_t)memory), MADV_HUGEPAGE);
    #endif
        return memory;
    }
    """
    void *fh_large_memory(size_t n_bytes) nogil

cdef extern from "fasthash.h" nogil:
    enum:
        FASTHASH_OK
        FASTHASH_ERROR_MEMORY
        FASTHASH_ERROR_ROOM
        FASTHASH_ERROR_BITS
        FASTHASH_ERROR_STOPPED

cdef enum:
    # The queries of the first block, after which tables may be given up, and of the largest block.
    FIRST_QUERIES = 64
    BLOCK_QUERIES = 1024
    # The most hits of a block if every query uses up its budget: 128 MiB.
    BLOCK_HITS = 1 << 24
    # What a query costs at least, in candidates.
    QUERY_COST = 256
    # Only a scan runs if at most one row of so many may be found.
    FEW_SHARE = 64


# --- the index ---------------------------------------------------------------

cdef int create_index(const Search *search, int32_t n_bits, Index **out) noexcept nogil:
    """Copy the database of the search, fewer than 2^32 codes, and build its tables."""
    cdef Py_ssize_t n_bytes = search.n_bytes
    cdef Py_ssize_t code_bytes = whole_lines(search.n * n_bytes)
    cdef int32_t n_tables = tables_for(n_bits, search.n)
    cdef uint8_t *codes
    cdef Index *index = <Index *>calloc(1, sizeof(Index))
    if index == NULL:
        return FASTHASH_ERROR_MEMORY
    index.tables.n, index.tables.n_bytes = search.n, n_bytes
    index.tables.n_bits, index.tables.n_tables = n_bits, n_tables
    index.tables.tables = <fh_table *>calloc(n_tables, sizeof(fh_table))
    codes = <uint8_t *>fh_large_memory(
        code_bytes + bytes_of_tables(search.n, n_bits, n_tables))
    index.memory = codes
    if index.tables.tables == NULL or codes == NULL:
        free_index(index)
        return FASTHASH_ERROR_MEMORY
    if search.stride == n_bytes and search.n > 0:
        memcpy(codes, search.database, search.n * n_bytes)
    else:
        copy_rows(codes, search.database, search.stride, n_bytes, NULL, 0, search.n)
    if not has_zero_padding(codes, n_bytes, search.n, n_bytes, n_bits):
        free_index(index)
        return FASTHASH_ERROR_BITS
    index.tables.codes = codes
    lay_out_tables(&index.tables, codes + code_bytes)
    if build_tables(&index.tables, usable_threads(search.n_threads), search.poll,
                    search.context) != 0:
        free_index(index)
        return FASTHASH_ERROR_STOPPED
    out[0] = index
    return FASTHASH_OK


cdef void free_index(Index *index) noexcept nogil:
    if index != NULL:
        free(index.tables.tables)
        free(index.memory)
        free(index)


cdef bint has_zero_padding(const uint8_t *codes, Py_ssize_t stride, int64_t n,
                           Py_ssize_t n_bytes, int32_t n_bits) noexcept nogil:
    """Whether the bits behind the last of every code are zero, as the tables assume."""
    cdef uint8_t padding = <uint8_t>((1 << (8 * n_bytes - n_bits)) - 1), seen = 0
    cdef int64_t i
    if padding == 0:
        return True
    for i in range(n):
        seen |= codes[i * stride + n_bytes - 1]
    return seen & padding == 0


# --- blocks of queries -------------------------------------------------------

# The block of queries that a search probes, and what the queries before it have cost.
cdef struct Probing:
    const Index *index
    const Search *search
    Pace pace
    int n_threads
    int64_t budget
    int64_t first          # of the block
    int64_t n              # queries of the block
    int64_t n_probed       # queries so far, without this block
    int64_t n_failed       # how many of them have exceeded their budget
    double cost            # what they have cost, in candidates
    uint8_t *done          # per query of the block: whether it is answered
    int64_t *costs         # per query of the block


cdef Probing make_probing(const Index *index, const Search *search) noexcept nogil:
    cdef Probing probing
    memset(&probing, 0, sizeof(Probing))
    probing.index, probing.search, probing.pace = index, search, make_pace(search)
    probing.n_threads = probing_threads(usable_threads(search.n_threads), search.n_queries)
    probing.budget = budget_for(index.tables.n)
    return probing


cdef bint is_scanned(const Index *index, int64_t n_allowed) noexcept nogil:
    """Whether so few rows may be found that tables are of no use."""
    return n_allowed <= index.tables.n // FEW_SHARE


cdef int64_t next_block(Probing *probing) noexcept nogil:
    """Go to the next block, and return the number of its queries; 0 where probing does not pay.

    Half of the queries, at least, must have been answered within their budget. A block takes no
    longer than the pace allows, if its queries cost what those before did on average.
    """
    cdef double cost = probing.budget, n_here
    probing.first += probing.n
    probing.n = 0
    if probing.n_probed >= FIRST_QUERIES and 2 * probing.n_failed > probing.n_probed:
        return 0
    n_here = min(<int64_t>(FIRST_QUERIES if probing.n_probed == 0 else BLOCK_QUERIES),
                 probing.search.n_queries - probing.first)
    if probing.pace.poll != NULL:
        if probing.n_probed > 0:
            cost = max(<double>QUERY_COST, probing.cost / probing.n_probed)
        n_here = min(n_here, max(1.0, <double>probing.pace.n_words * probing.n_threads
                                 / (SCAN_ADVANTAGE * cost)))
    probing.n = <int64_t>n_here
    return probing.n


cdef int64_t note_block(Probing *probing) noexcept nogil:
    """Note what a block has cost; return how many of its queries have exceeded their budget."""
    cdef int64_t q, n_left = 0, cost = 0
    for q in range(probing.n):
        n_left += probing.done[q] == 0
        cost += probing.costs[q]
    probing.n_probed += probing.n
    probing.n_failed += n_left
    probing.cost += cost
    probing.pace.n_done += SCAN_ADVANTAGE * cost // probing.n_threads
    return n_left


cdef Search search_from(const Search *search, int64_t first, int64_t n) noexcept nogil:
    """The same search for n of its queries, from the first on."""
    cdef Search some = search[0]
    some.queries = search.queries + first * search.query_stride
    some.n_queries = n
    return some


cdef Search search_left(const Probing *probing, int64_t n_left, uint8_t *queries) noexcept nogil:
    """The same search for the n_left queries of the block that are left, copied to `queries`."""
    cdef Search some = search_from(probing.search, probing.first, n_left)
    cdef Py_ssize_t n_bytes = probing.search.n_bytes
    cdef int64_t q, place = 0
    for q in range(probing.n):
        if probing.done[q] == 0:
            memcpy(queries + place * n_bytes,
                   probing.search.queries + (probing.first + q) * probing.search.query_stride,
                   n_bytes)
            place += 1
    some.queries, some.query_stride = queries, n_bytes
    return some


# --- the nearest -------------------------------------------------------------

cdef int topk_in_index(const Index *index, const Search *search, int64_t k,
                       int32_t *out_distances, int64_t *ids) noexcept nogil:
    """As `search_topk`, whose database is that of the index."""
    cdef int64_t n_allowed = count_allowed(search.allowed, search.n), n_left, q, place
    cdef int64_t n_found = min(k, n_allowed)
    cdef int error = FASTHASH_OK
    cdef Probing probing
    cdef Search rest
    cdef uint8_t *memory
    cdef uint64_t *keys
    if is_scanned(index, n_allowed) or sorts_all(n_found, n_allowed):
        return search_topk(search, k, out_distances, ids)
    probing = make_probing(index, search)
    memory = <uint8_t *>malloc(
        BLOCK_QUERIES * 9 + probing.n_threads * keys_of_thread(index, n_found) * 8)
    if memory == NULL:
        return FASTHASH_ERROR_MEMORY
    keys = <uint64_t *>memory
    probing.costs = <int64_t *>(keys + probing.n_threads * keys_of_thread(index, n_found))
    probing.done = <uint8_t *>(probing.costs + BLOCK_QUERIES)
    while probing.first + probing.n < search.n_queries and error == FASTHASH_OK:
        if is_stopped(&probing.pace):
            error = FASTHASH_ERROR_STOPPED
        elif next_block(&probing) == 0:
            rest = search_from(search, probing.first, search.n_queries - probing.first)
            error = search_topk(&rest, k, out_distances + probing.first * k,
                                ids + probing.first * k)
            break
        else:
            probe_topk(&probing, n_found, k, keys, out_distances + probing.first * k,
                       ids + probing.first * k)
            n_left = note_block(&probing)
            if n_left > 0:
                error = scan_topk_of_left(&probing, n_left, k, out_distances + probing.first * k,
                                          ids + probing.first * k)
    free(memory)
    if error == FASTHASH_OK:
        for q in range(search.n_queries):
            for place in range(n_found, k):
                out_distances[q * k + place] = -1
                ids[q * k + place] = -1
    return error


cdef Py_ssize_t keys_of_thread(const Index *index, int64_t k) noexcept nogil:
    """Words that a thread needs for a query: k keys, as many to sort them, and its substrings."""
    return 2 * k + (index.tables.n_tables + 1) // 2


cdef void probe_topk(Probing *probing, int64_t k, int64_t stride, uint64_t *keys,
                     int32_t *out_distances, int64_t *ids) noexcept nogil:
    """Probe the queries of the block, whose answers lie `stride` values behind each other."""
    cdef const Search *search = probing.search
    cdef const Index *index = probing.index
    cdef int64_t q
    cdef uint64_t *found
    for q in prange(probing.n, schedule="dynamic", num_threads=probing.n_threads):
        found = keys + threadid() * keys_of_thread(index, k)
        probing.done[q] = topk_of_query(
            &index.tables, search.queries + (probing.first + q) * search.query_stride,
            search.allowed, k, probing.budget, found, <uint32_t *>(found + 2 * k),
            out_distances + q * stride, ids + q * stride, &probing.costs[q])


cdef int scan_topk_of_left(const Probing *probing, int64_t n_left, int64_t k,
                           int32_t *out_distances, int64_t *ids) noexcept nogil:
    """Scan for the queries of the block that are left, and write their answers to their places."""
    cdef Py_ssize_t n_bytes = probing.search.n_bytes
    cdef int64_t q, place = 0
    cdef int64_t *found_ids
    cdef int32_t *found_distances
    cdef Search some = search_from(probing.search, probing.first, probing.n)
    if n_left == probing.n:
        return search_topk(&some, k, out_distances, ids)
    found_ids = <int64_t *>malloc(n_left * (12 * k + n_bytes))
    if found_ids == NULL:
        return FASTHASH_ERROR_MEMORY
    found_distances = <int32_t *>(found_ids + n_left * k)
    some = search_left(probing, n_left, <uint8_t *>(found_distances + n_left * k))
    cdef int error = search_topk(&some, k, found_distances, found_ids)
    for q in range(probing.n):
        if error == FASTHASH_OK and probing.done[q] == 0:
            memcpy(out_distances + q * k, found_distances + place * k, 4 * k)
            memcpy(ids + q * k, found_ids + place * k, 8 * k)
            place += 1
    free(found_ids)
    return error


# --- all within a radius -----------------------------------------------------

# Hits of the block's queries: those of a probed query lie in the keys of a thread, those of the
# others in `scanned`, one query after the other.
cdef struct Hits:
    fh_answer *answers     # per thread
    int64_t *starts        # per query: where its hits begin
    int64_t *counts        # per query
    int32_t *threads       # per query
    Answer scanned


cdef int within_in_index(const Index *index, const Search *search, int32_t radius,
                         int64_t *limits, Answer *answer) noexcept nogil:
    """As `search_within`, whose database is that of the index."""
    cdef Probing probing
    cdef Hits hits
    cdef Search rest
    cdef int error = FASTHASH_OK, thread
    cdef int64_t n_left
    cdef uint8_t *memory
    cdef uint32_t *keys
    if is_scanned(index, count_allowed(search.allowed, search.n)):
        return search_within(search, radius, limits, answer)
    probing = make_probing(index, search)
    memory = <uint8_t *>calloc(
        1, BLOCK_QUERIES * 29
        + probing.n_threads * (<Py_ssize_t>sizeof(fh_answer) + 4 * index.tables.n_tables))
    if memory == NULL:
        return FASTHASH_ERROR_MEMORY
    hits.answers = <fh_answer *>memory
    hits.starts = <int64_t *>(hits.answers + probing.n_threads)
    hits.counts = hits.starts + BLOCK_QUERIES
    probing.costs = hits.counts + BLOCK_QUERIES
    hits.threads = <int32_t *>(probing.costs + BLOCK_QUERIES)
    keys = <uint32_t *>(hits.threads + BLOCK_QUERIES)
    probing.done = <uint8_t *>(keys + probing.n_threads * index.tables.n_tables)
    limits[0] = answer.n
    while probing.first + probing.n < search.n_queries and error == FASTHASH_OK:
        if is_stopped(&probing.pace):
            error = FASTHASH_ERROR_STOPPED
        elif next_block(&probing) == 0:
            rest = search_from(search, probing.first, search.n_queries - probing.first)
            error = search_within(&rest, radius, limits + probing.first, answer)
            break
        else:
            probing.n = min(probing.n, max(<int64_t>probing.n_threads,
                                           BLOCK_HITS // probing.budget))
            error = probe_within(&probing, radius, keys, &hits)
            if error == FASTHASH_OK:
                n_left = note_block(&probing)
                error = append_block(&probing, radius, n_left, &hits, limits + probing.first,
                                     answer)
    for thread in range(probing.n_threads):
        free(hits.answers[thread].keys)
    free(memory)
    if error == FASTHASH_OK and answer.n > answer.capacity:
        return FASTHASH_ERROR_ROOM
    return error


cdef int probe_within(Probing *probing, int32_t radius, uint32_t *keys,
                      Hits *hits) noexcept nogil:
    """Probe the queries of the block; their hits lie in the answers of the threads."""
    cdef const Search *search = probing.search
    cdef const Index *index = probing.index
    cdef int64_t q
    cdef int thread, failed = 0
    for thread in range(probing.n_threads):
        hits.answers[thread].n = 0
    for q in prange(probing.n, schedule="dynamic", num_threads=probing.n_threads):
        thread = threadid()
        hits.threads[q] = thread
        hits.starts[q] = hits.answers[thread].n
        probing.done[q] = within_of_query(
            &index.tables, search.queries + (probing.first + q) * search.query_stride,
            search.allowed, radius, probing.budget, &hits.answers[thread],
            keys + thread * index.tables.n_tables, &probing.costs[q])
        hits.counts[q] = hits.answers[thread].n - hits.starts[q]
    for thread in range(probing.n_threads):
        failed |= hits.answers[thread].failed
    return FASTHASH_ERROR_MEMORY if failed else FASTHASH_OK


cdef int append_block(const Probing *probing, int32_t radius, int64_t n_left, Hits *hits,
                      int64_t *limits, Answer *answer) noexcept nogil:
    """Scan for the queries of the block that are left; append the hits of all, or count them."""
    cdef int64_t q
    cdef int error = FASTHASH_OK
    cdef Search some = search_from(probing.search, probing.first, probing.n)
    if n_left == probing.n:
        error = search_within(&some, radius, limits, answer)
        return FASTHASH_OK if error == FASTHASH_ERROR_ROOM else error
    hits.scanned = Answer(0, 0, NULL, NULL, answer.n < answer.capacity)
    if n_left > 0:
        error = scan_within_of_left(probing, radius, n_left, hits)
    if error == FASTHASH_OK:
        limits[0] = answer.n
        for q in range(probing.n):
            limits[q + 1] = limits[q] + hits.counts[q]
        if limits[probing.n] <= answer.capacity:
            for q in prange(probing.n, schedule="static", num_threads=probing.n_threads):
                write_hits(probing, hits, q, answer.distances + limits[q], answer.ids + limits[q])
        answer.n = limits[probing.n]
    free(hits.scanned.distances)
    free(hits.scanned.ids)
    return error


cdef int scan_within_of_left(const Probing *probing, int32_t radius, int64_t n_left,
                             Hits *hits) noexcept nogil:
    """Scan for the queries of the block that are left, and note where their hits are."""
    cdef int64_t q, place = 0
    cdef int64_t *limits = <int64_t *>malloc(8 * (n_left + 1) + n_left * probing.search.n_bytes)
    if limits == NULL:
        return FASTHASH_ERROR_MEMORY
    cdef Search some = search_left(probing, n_left, <uint8_t *>(limits + n_left + 1))
    cdef int error = search_within(&some, radius, limits, &hits.scanned)
    if error == FASTHASH_ERROR_ROOM:
        # Hits are only counted: there is no room for more.
        error = FASTHASH_OK
    for q in range(probing.n):
        if error == FASTHASH_OK and probing.done[q] == 0:
            hits.starts[q] = limits[place]
            hits.counts[q] = limits[place + 1] - limits[place]
            place += 1
    free(limits)
    return error


cdef void write_hits(const Probing *probing, const Hits *hits, int64_t q, int32_t *out_distances,
                     int64_t *ids) noexcept nogil:
    """Write what query q of the block has found."""
    cdef int64_t start = hits.starts[q], n = hits.counts[q]
    if n == 0:
        return
    if probing.done[q] != 0:
        split_keys(hits.answers[hits.threads[q]].keys + start, n, out_distances, ids)
    else:
        memcpy(out_distances, hits.scanned.distances + start, 4 * n)
        memcpy(ids, hits.scanned.ids + start, 8 * n)
