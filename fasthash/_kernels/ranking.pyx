"""Kernels for metrics: count relevant codes per distance, and find their ranks.

fasthash/metrics/_relevance.py and ranking.py call them. A code is relevant if it shares a label
with the query; labels are bit masks of 64-bit words. Nothing of size queries x database is held: a
task holds one tile and the distances of one query to it. `Ranks` reads some of the rows in each
call, so that its caller can handle an interrupt between two calls.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport NAN
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memset

from fasthash._kernels.tiles cimport (
    FH_LANES_MAX,
    Arena,
    Database,
    TileBuffer,
    active_level,
    carve,
    fh_level,
    load_tile,
    make_arena,
    make_database,
    make_tile_buffer,
    threads_for,
    tile_buffer_words,
    whole_lines,
    words_compared,
    write_words,
)

import numpy as np

cdef extern from "ranking.h" nogil:
    ctypedef struct fh_note:
        pass
    Py_ssize_t fh_buffer_stride(Py_ssize_t n)
    void fh_count(const int32_t *distances, int32_t n, int64_t *counts)
    void fh_count_listed(const int32_t *distances, const int32_t *positions, int32_t n_listed,
                         int64_t *counts)
    void fh_place(const int32_t *distances, int32_t n, int64_t *counts, int32_t *places)
    void fh_note_listed(const int32_t *distances, const int32_t *places, const int32_t *positions,
                        int32_t n_listed, int64_t *counts, fh_note *notes)
    void fh_counts_before(int64_t *counts, Py_ssize_t n)
    void fh_sum_precisions(const fh_note *notes, int64_t n, const int64_t *closer,
                           int64_t *relevant_closer, int64_t at, const int32_t *bins,
                           int64_t n_bins, int64_t *hits, double *sum, int64_t *n_within)

cdef enum:
    # Queries that share a prepared tile.
    TASK_QUERIES = 64
    # Largest number of codes in a tile: with labels, distances and places they stay in the cache.
    TILE_CODES = 2048
    # `average_precision` holds counts and notes of as many queries as fit into this, per thread.
    CHUNK_BYTES = 1 << 23

# What all tasks share: queries, database and labels, and the counts of each query.
cdef struct Evaluation:
    const uint64_t *queries
    const uint64_t *query_labels
    const uint64_t *labels
    int32_t label_words
    Database database
    Py_ssize_t n_distances
    int64_t *totals
    int64_t *relevant
    fh_note *notes                # NULL if only counts are wanted
    const int64_t *note_starts    # for each query, where its notes begin
    int64_t *n_noted              # for each query, the number of its notes
    const int64_t *own            # for each query, its own row, or NULL; see `Ranks`
    Py_ssize_t first_row          # the row of the first code


cdef Evaluation make_evaluation(const uint64_t *queries, Py_ssize_t n_queries,
                                const uint8_t *codes, Py_ssize_t n, Py_ssize_t n_bytes,
                                const uint64_t *query_labels, const uint64_t *labels,
                                int32_t label_words) noexcept nogil:
    """Make it without memory for counts and notes, which the caller sets."""
    cdef Evaluation evaluation
    evaluation.queries = queries
    evaluation.query_labels = query_labels
    evaluation.labels = labels
    evaluation.label_words = label_words
    evaluation.database = make_database(codes, n, n_bytes, n_queries)
    evaluation.database.tile = min(evaluation.database.tile, <int32_t>TILE_CODES)
    evaluation.n_distances = 8 * n_bytes + 1
    evaluation.totals = NULL
    evaluation.relevant = NULL
    evaluation.notes = NULL
    evaluation.note_starts = NULL
    evaluation.n_noted = NULL
    evaluation.own = NULL
    evaluation.first_row = 0
    return evaluation


cdef inline bint same_labels(const Evaluation *evaluation, Py_ssize_t a,
                             Py_ssize_t b) noexcept nogil:
    cdef Py_ssize_t n_words = evaluation.label_words
    return memcmp(evaluation.query_labels + a * n_words, evaluation.query_labels + b * n_words,
                  8 * n_words) == 0


cdef Py_ssize_t scratch_bytes(const Database *database) noexcept nogil:
    """Memory of one thread: distances, places and listed positions of a tile, and the tile."""
    return (whole_lines(12 * fh_buffer_stride(database.tile + FH_LANES_MAX))
            + whole_lines(8 * tile_buffer_words(database, database.tile)))


cdef void scan_of_task(const Evaluation *evaluation, Py_ssize_t first, Py_ssize_t n_queries,
                       uint8_t *scratch) noexcept nogil:
    """Count, and write notes if wanted, for n_queries queries from the first on."""
    cdef const fh_level *level = active_level()
    cdef const Database *database = &evaluation.database
    cdef Py_ssize_t stride = fh_buffer_stride(database.tile + FH_LANES_MAX)
    cdef int32_t *distances = <int32_t *>scratch
    cdef int32_t *places = distances + stride
    cdef int32_t *listed = places + stride
    cdef TileBuffer buffer = make_tile_buffer(database, database.tile,
                                              <uint64_t *>(scratch + whole_lines(12 * stride)))
    cdef Py_ssize_t start = 0, q, own
    cdef int32_t n, n_listed = 0
    cdef int64_t *totals
    cdef int64_t *relevant
    cdef const uint64_t *tile
    while start < database.n:
        n = <int32_t>min(<Py_ssize_t>database.tile, database.n - start)
        tile = load_tile(database, start, n, &buffer)
        for q in range(first, first + n_queries):
            totals = evaluation.totals + q * evaluation.n_distances
            relevant = evaluation.relevant + q * evaluation.n_distances
            level.distances(evaluation.queries + q * database.n_words, tile, n, database.n_words,
                            distances)
            if evaluation.own != NULL:
                own = evaluation.own[q] - evaluation.first_row - start
                if 0 <= own < n:
                    distances[own] = <int32_t>(evaluation.n_distances - 1)
            if q == first or not same_labels(evaluation, q, q - 1):
                n_listed = level.list_relevant(
                    evaluation.query_labels + q * evaluation.label_words,
                    evaluation.labels + start * evaluation.label_words, n, evaluation.label_words,
                    listed)
            if evaluation.notes == NULL:
                fh_count(distances, n, totals)
                fh_count_listed(distances, listed, n_listed, relevant)
            else:
                fh_place(distances, n, totals, places)
                fh_note_listed(distances, places, listed, n_listed, relevant,
                               evaluation.notes + evaluation.note_starts[q]
                               + evaluation.n_noted[q])
                evaluation.n_noted[q] += n_listed
        start = start + n


cdef void scan(const Evaluation *evaluation, Py_ssize_t n_queries, uint8_t *scratch,
               int n_threads) noexcept nogil:
    """Run all tasks; `scratch` has `scratch_bytes` for each thread."""
    cdef Py_ssize_t per_thread = scratch_bytes(&evaluation.database), task, first
    cdef Py_ssize_t n_task = max(1, min(<Py_ssize_t>TASK_QUERIES,
                                        (n_queries + n_threads - 1) // n_threads))
    for task in prange((n_queries + n_task - 1) // n_task, schedule="dynamic",
                       num_threads=n_threads):
        first = task * n_task
        scan_of_task(evaluation, first, min(n_task, n_queries - first),
                     scratch + threadid() * per_thread)


cdef void counts_before(const Evaluation *evaluation, Py_ssize_t n_queries) noexcept nogil:
    """Turn the counts of `scan` into numbers of codes that are closer."""
    cdef Py_ssize_t n_distances = evaluation.n_distances, q
    for q in range(n_queries):
        fh_counts_before(evaluation.totals + q * n_distances, n_distances)
        fh_counts_before(evaluation.relevant + q * n_distances, n_distances)


cdef void sum_precisions(const Evaluation *evaluation, Py_ssize_t n_queries, int64_t first_note,
                         int64_t n_notes, const int64_t *at, const int32_t *bin_of_rank,
                         int64_t n_bins, int64_t *hits, Py_ssize_t hits_stride, double *sums,
                         int64_t *n_within, int n_threads) noexcept nogil:
    """Add up precisions for n_notes notes of every query, from `first_note` on, in order."""
    cdef Py_ssize_t n_distances = evaluation.n_distances, q
    cdef int64_t n_here
    for q in prange(n_queries, schedule="dynamic", num_threads=n_threads):
        n_here = min(n_notes, evaluation.n_noted[q] - first_note)
        if n_here > 0:
            fh_sum_precisions(
                evaluation.notes + evaluation.note_starts[q] + first_note, n_here,
                evaluation.totals + q * n_distances, evaluation.relevant + q * n_distances, at[q],
                bin_of_rank, n_bins, hits + q * hits_stride, sums + q, n_within + q)


cdef class Ranks:
    """Codes counted per distance and query, and the relevant ones noted, without any sorting.

    ``totals[q, d]`` grows by the codes at distance d of query q, ``relevant[q, d]`` by the relevant
    ones. ``note_starts`` leaves room for the relevant codes of query q between its entries q and
    q + 1; ``notes`` is memory for them, two values each, and for one more; both may be None, and
    nothing is noted then. ``own`` is the row of each query in the database, or None. If it is
    given, ``totals`` and ``relevant`` have one more column, and the own row is counted there, as if
    it were further away than all others. Fewer than 2^31 codes, at least one query.
    """

    cdef Evaluation evaluation
    cdef const uint8_t[:, ::1] codes
    cdef const uint64_t[:, ::1] query_labels, labels
    cdef int64_t[:, ::1] totals, relevant
    cdef const int64_t[::1] note_starts, own
    cdef int32_t[:, ::1] notes
    cdef int64_t[::1] n_noted
    cdef uint64_t[:, ::1] words
    cdef uint8_t[::1] scratch
    cdef Py_ssize_t n_queries, row
    cdef int n_threads

    def __cinit__(self, const uint8_t[:, ::1] queries, const uint8_t[:, ::1] codes,
                  const uint64_t[:, ::1] query_labels, const uint64_t[:, ::1] labels,
                  int64_t[:, ::1] totals, int64_t[:, ::1] relevant,
                  const int64_t[::1] note_starts, int32_t[:, ::1] notes,
                  const int64_t[::1] own, int n_threads):
        cdef Py_ssize_t n_queries = queries.shape[0], n_bytes = codes.shape[1]
        self.codes, self.query_labels, self.labels = codes, query_labels, labels
        self.totals, self.relevant = totals, relevant
        self.note_starts, self.notes, self.own = note_starts, notes, own
        self.n_queries = n_queries
        self.words = np.empty((n_queries, (n_bytes + 7) // 8), np.uint64)
        self.n_noted = np.zeros(n_queries, np.int64)
        write_words(&queries[0, 0], n_queries, n_bytes, &self.words[0, 0])
        self.evaluation = make_evaluation(
            &self.words[0, 0], n_queries, &codes[0, 0], codes.shape[0], n_bytes,
            &query_labels[0, 0], &labels[0, 0], <int32_t>labels.shape[1])
        self.n_threads = threads_for(n_threads, n_queries,
                                     words_compared(&self.evaluation.database, n_queries))
        self.evaluation.totals, self.evaluation.relevant = &totals[0, 0], &relevant[0, 0]
        if own is not None:
            self.evaluation.n_distances = totals.shape[1]
            self.evaluation.own = &own[0]
        if notes is not None:
            self.evaluation.notes = <fh_note *>&notes[0, 0]
            self.evaluation.note_starts = &note_starts[0]
            self.evaluation.n_noted = &self.n_noted[0]
        self.scratch = np.empty(self.n_threads * scratch_bytes(&self.evaluation.database), np.uint8)

    @property
    def n_relevant(self):
        """Number of noted relevant codes, per query."""
        return np.asarray(self.n_noted)

    def advance(self, Py_ssize_t n_rows):
        """Count the next rows, at least a tile; return their number, 0 at the end."""
        cdef Evaluation some = self.evaluation
        if self.row == self.evaluation.database.n:
            return 0
        n_rows = max(n_rows, <Py_ssize_t>some.database.tile)
        some.database.n = min(n_rows, self.evaluation.database.n - self.row)
        some.database.codes += self.row * some.database.n_bytes
        some.labels += self.row * some.label_words
        some.first_row = self.row
        with nogil:
            scan(&some, self.n_queries, &self.scratch[0], self.n_threads)
        self.row += some.database.n
        if self.row == self.evaluation.database.n and self.evaluation.notes != NULL:
            counts_before(&self.evaluation, self.n_queries)
        return some.database.n

    def sum_precisions(self, int64_t first_note, int64_t n_notes, const int64_t[::1] at,
                       const int32_t[::1] bin_of_rank, double[::1] sums, int64_t[::1] n_within,
                       int64_t[:, ::1] hits):
        """Add to sums[q] the precisions at the relevant ranks <= at[q]; ranks begin at 1.

        Adds the number of these ranks to n_within[q]. Adds 1 to ``hits[q, bin_of_rank[r]]`` for
        every relevant rank r that has a bin. Call it when all rows are counted. It reads n_notes
        notes of every query, from `first_note` on, in order.
        """
        with nogil:
            sum_precisions(&self.evaluation, self.n_queries, first_note, n_notes, &at[0],
                           &bin_of_rank[0], bin_of_rank.shape[0], &hits[0, 0], hits.shape[1],
                           &sums[0], &n_within[0], self.n_threads)


# --- for callers from C ------------------------------------------------------

# Memory for the counts and notes of some queries.
cdef struct Chunk:
    int64_t *counts         # totals, then relevant ones
    int64_t *note_starts
    int64_t *n_noted
    int64_t *at             # for each query, the same number of ranks
    int64_t *n_within       # for each query, the relevant codes within `at`
    fh_note *notes


cdef void count_relevant(const Evaluation *evaluation, Py_ssize_t n_queries, uint8_t *scratch,
                         int64_t *n_relevant, int n_threads) noexcept nogil:
    """Count the codes that share a label with each query.

    If neighbouring queries have the same labels, the codes are counted once.
    """
    cdef Py_ssize_t per_thread = scratch_bytes(&evaluation.database), q
    for q in prange(n_queries, schedule="dynamic", num_threads=n_threads):
        n_relevant[q] = -1
        if q == 0 or not same_labels(evaluation, q, q - 1):
            n_relevant[q] = count_relevant_to(evaluation, q,
                                              <int32_t *>(scratch + threadid() * per_thread))
    for q in range(1, n_queries):
        if n_relevant[q] < 0:
            n_relevant[q] = n_relevant[q - 1]


cdef int64_t count_relevant_to(const Evaluation *evaluation, Py_ssize_t q,
                               int32_t *listed) noexcept nogil:
    cdef const Database *database = &evaluation.database
    cdef int32_t n_words = evaluation.label_words
    cdef Py_ssize_t start = 0
    cdef int64_t n_relevant = 0
    while start < database.n:
        n_relevant += active_level().list_relevant(
            evaluation.query_labels + q * n_words, evaluation.labels + start * n_words,
            <int32_t>min(<Py_ssize_t>database.tile, database.n - start), n_words, listed)
        start += database.tile
    return n_relevant


cdef Py_ssize_t chunk_end(Py_ssize_t first, Py_ssize_t n_queries, const int64_t *n_relevant,
                          Py_ssize_t n_distances, Py_ssize_t budget) noexcept nogil:
    """Return the end of a chunk of at least one query whose memory is within the budget."""
    cdef Py_ssize_t used = 0, q = first
    while q < n_queries:
        used += 8 * n_relevant[q] + 16 * n_distances
        if used > budget and q > first:
            break
        q += 1
    return q


cdef Py_ssize_t lay_out_chunk(Chunk *chunk, Py_ssize_t first, Py_ssize_t end,
                              const int64_t *n_relevant, Py_ssize_t n_distances,
                              void *memory) noexcept nogil:
    """Divide the chunk's memory and return its size; with NULL, only compute the size."""
    cdef Arena arena = make_arena(memory)
    cdef Py_ssize_t n = end - first, q
    cdef int64_t n_notes = 0
    chunk.counts = <int64_t *>carve(&arena, 16 * n * n_distances)
    chunk.note_starts = <int64_t *>carve(&arena, 8 * n)
    chunk.n_noted = <int64_t *>carve(&arena, 8 * n)
    chunk.at = <int64_t *>carve(&arena, 8 * n)
    chunk.n_within = <int64_t *>carve(&arena, 8 * n)
    for q in range(n):
        if memory != NULL:
            chunk.note_starts[q] = n_notes
        n_notes += n_relevant[first + q]
    chunk.notes = <fh_note *>carve(&arena, 8 * n_notes)
    return arena.used


cdef void average_precision_of_chunk(const Evaluation *all_queries, const Chunk *chunk,
                                     Py_ssize_t first, Py_ssize_t n, int64_t at,
                                     uint8_t *scratch, double *out, int n_threads) noexcept nogil:
    cdef Evaluation evaluation = all_queries[0]
    cdef Py_ssize_t n_distances = evaluation.n_distances, q
    evaluation.queries += first * evaluation.database.n_words
    evaluation.query_labels += first * evaluation.label_words
    evaluation.totals = chunk.counts
    evaluation.relevant = chunk.counts + n * n_distances
    evaluation.notes = chunk.notes
    evaluation.note_starts = chunk.note_starts
    evaluation.n_noted = chunk.n_noted
    memset(chunk.counts, 0, 16 * n * n_distances)
    memset(chunk.n_noted, 0, 8 * n)
    scan(&evaluation, n, scratch, n_threads)
    counts_before(&evaluation, n)
    memset(out + first, 0, 8 * n)
    memset(chunk.n_within, 0, 8 * n)
    for q in range(n):
        chunk.at[q] = at
    sum_precisions(&evaluation, n, 0, INT64_MAX, chunk.at, NULL, 0, NULL, 0, out + first,
                   chunk.n_within, n_threads)
    for q in range(n):
        out[first + q] = (out[first + q] / <double>min(at, chunk.n_noted[q])
                          if chunk.n_noted[q] > 0 else NAN)


cdef int average_precision(const uint8_t *queries, Py_ssize_t n_queries, const uint8_t *codes,
                           Py_ssize_t n, Py_ssize_t n_bytes, const uint64_t *query_labels,
                           const uint64_t *labels, int32_t label_words, int64_t at, double *out,
                           int n_threads) noexcept nogil:
    """Compute the average precision of every query, ties in database order.

    NaN for a query without a relevant code. at >= 1, n < 2^31. Returns 0, or -1 if memory is short.
    """
    cdef Py_ssize_t n_words = (n_bytes + 7) // 8, largest = 0, first = 0, end
    cdef Evaluation evaluation = make_evaluation(NULL, n_queries, codes, n, n_bytes, query_labels,
                                                 labels, label_words)
    n_threads = threads_for(n_threads, n_queries,
                            words_compared(&evaluation.database, n_queries))
    cdef Py_ssize_t budget = <Py_ssize_t>CHUNK_BYTES * n_threads
    cdef Arena arena = make_arena(NULL)
    carve(&arena, 8 * n_queries * n_words)
    carve(&arena, 8 * n_queries)
    carve(&arena, n_threads * scratch_bytes(&evaluation.database))
    cdef void *memory = malloc(arena.used)
    if memory == NULL:
        return -1
    arena = make_arena(memory)
    cdef uint64_t *words = <uint64_t *>carve(&arena, 8 * n_queries * n_words)
    cdef int64_t *n_relevant = <int64_t *>carve(&arena, 8 * n_queries)
    cdef uint8_t *scratch = <uint8_t *>carve(
        &arena, n_threads * scratch_bytes(&evaluation.database))
    cdef Chunk chunk
    write_words(queries, n_queries, n_bytes, words)
    evaluation.queries = words
    count_relevant(&evaluation, n_queries, scratch, n_relevant, n_threads)
    while first < n_queries:
        end = chunk_end(first, n_queries, n_relevant, evaluation.n_distances, budget)
        largest = max(largest, lay_out_chunk(&chunk, first, end, n_relevant,
                                             evaluation.n_distances, NULL))
        first = end
    cdef void *chunk_memory = malloc(max(largest, <Py_ssize_t>1))
    if chunk_memory == NULL:
        free(memory)
        return -1
    first = 0
    while first < n_queries:
        end = chunk_end(first, n_queries, n_relevant, evaluation.n_distances, budget)
        lay_out_chunk(&chunk, first, end, n_relevant, evaluation.n_distances, chunk_memory)
        average_precision_of_chunk(&evaluation, &chunk, first, end - first, at, scratch, out,
                                   n_threads)
        first = end
    free(chunk_memory)
    free(memory)
    return 0
