"""Evaluation kernels: relevant items counted per distance, and positions in database order.

Relevance is "any shared label", tested on labels packed as bit masks of 64-bit words. Neither
kernel holds anything of size queries x database: a task holds one tile and the distances of one
query to it.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcmp

from fasthash._kernels.hamming cimport (
    FH_LANES_MAX,
    Database,
    TileBuffer,
    active_level,
    fh_level,
    load_tile,
    make_database,
    make_tile_buffer,
    tile_buffer_words,
)

import numpy as np

from fasthash._kernels.hamming import as_words

cdef extern from "ranking.h" nogil:
    ctypedef struct fh_note:
        pass
    Py_ssize_t fh_apart(Py_ssize_t n)
    void fh_count(const int32_t *distances, int32_t n, int64_t *counts)
    void fh_count_listed(const int32_t *distances, const int32_t *positions, int32_t n_listed,
                         int64_t *counts)
    void fh_place(const int32_t *distances, int32_t n, int64_t *counts, int32_t *places)
    void fh_note_listed(const int32_t *distances, const int32_t *places, const int32_t *positions,
                        int32_t n_listed, int64_t *counts, fh_note *notes)
    void fh_counts_before(int64_t *counts, Py_ssize_t n)
    double fh_sum_precisions(const fh_note *notes, int64_t n, const int64_t *closer,
                             int64_t *relevant_closer, int64_t at, const int32_t *bins,
                             int64_t n_bins, int64_t *hits)

cdef enum:
    # Queries that share a prepared tile.
    TASK_QUERIES = 64
    # Codes of a tile at most: with their labels, distances and places they stay near the processor.
    TILE_CODES = 2048

# What all tasks share: codes and labels of both sides, and per query what is counted.
cdef struct Evaluation:
    const uint64_t *queries
    const uint64_t *query_labels
    const uint64_t *labels
    int32_t label_words
    Database database
    Py_ssize_t n_distances
    int64_t *totals
    int64_t *relevant
    fh_note *notes                # NULL where nothing is noted
    const int64_t *note_starts    # of each query
    int64_t *n_noted              # of each query


cdef Evaluation make_evaluation(const uint64_t[:, ::1] queries, const uint8_t[:, ::1] codes,
                                const uint64_t[:, ::1] query_labels,
                                const uint64_t[:, ::1] labels, int64_t[:, ::1] totals,
                                int64_t[:, ::1] relevant) noexcept nogil:
    cdef Evaluation evaluation
    evaluation.queries = &queries[0, 0]
    evaluation.query_labels = &query_labels[0, 0]
    evaluation.labels = &labels[0, 0]
    evaluation.label_words = <int32_t>labels.shape[1]
    evaluation.database = make_database(codes, None, queries.shape[0])
    evaluation.database.tile = min(evaluation.database.tile, <int32_t>TILE_CODES)
    evaluation.n_distances = totals.shape[1]
    evaluation.totals = &totals[0, 0]
    evaluation.relevant = &relevant[0, 0]
    evaluation.notes = NULL
    evaluation.note_starts = NULL
    evaluation.n_noted = NULL
    return evaluation


cdef inline bint same_labels(const Evaluation *evaluation, Py_ssize_t a,
                             Py_ssize_t b) noexcept nogil:
    cdef Py_ssize_t n_words = evaluation.label_words
    return memcmp(evaluation.query_labels + a * n_words, evaluation.query_labels + b * n_words,
                  8 * n_words) == 0


cdef void scan_of_task(const Evaluation *evaluation, Py_ssize_t first, Py_ssize_t n_queries,
                       int32_t *scratch, uint64_t *tile_memory) noexcept nogil:
    """Count, and note where asked to, for n_queries queries from the first on."""
    cdef const fh_level *level = active_level()
    cdef const Database *database = &evaluation.database
    cdef TileBuffer buffer = make_tile_buffer(database, database.tile, tile_memory)
    cdef int32_t *distances = scratch
    cdef int32_t *places = distances + fh_apart(database.tile + FH_LANES_MAX)
    cdef int32_t *listed = places + fh_apart(database.tile + FH_LANES_MAX)
    cdef Py_ssize_t start = 0, q
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


cdef void scan(const Evaluation *evaluation, Py_ssize_t n_queries, int32_t[:, ::1] scratch,
               uint64_t[:, ::1] memory) noexcept nogil:
    """All tasks; one thread per row of the scratch."""
    cdef Py_ssize_t n_threads = scratch.shape[0], task, first
    cdef Py_ssize_t n_task = max(1, min(<Py_ssize_t>TASK_QUERIES,
                                        (n_queries + n_threads - 1) // n_threads))
    cdef int thread
    for task in prange((n_queries + n_task - 1) // n_task, schedule="dynamic",
                       num_threads=<int>n_threads):
        thread = threadid()
        first = task * n_task
        scan_of_task(evaluation, first, min(n_task, n_queries - first), &scratch[thread, 0],
                     &memory[thread, 0])


cdef make_scratch(const Database *database, int n_threads):
    """Per thread: distances, places and listed positions of a tile; and the tile."""
    return (
        np.empty((n_threads, 3 * fh_apart(database.tile + FH_LANES_MAX)), np.int32),
        np.empty((n_threads, tile_buffer_words(database, database.tile)), np.uint64),
    )


def counts_per_distance(const uint8_t[:, ::1] queries_bytes, const uint8_t[:, ::1] codes,
                        const uint64_t[:, ::1] query_labels, const uint64_t[:, ::1] labels,
                        int64_t[:, ::1] totals, int64_t[:, ::1] relevant, int n_threads):
    """Add to totals[q, d] and relevant[q, d] the codes, and relevant codes, at distance d of q."""
    cdef const uint64_t[:, ::1] queries = as_words(np.asarray(queries_bytes))
    cdef Evaluation evaluation = make_evaluation(queries, codes, query_labels, labels, totals,
                                                 relevant)
    cdef int32_t[:, ::1] scratch
    cdef uint64_t[:, ::1] memory
    scratch, memory = make_scratch(&evaluation.database, n_threads)
    with nogil:
        scan(&evaluation, queries.shape[0], scratch, memory)


def precisions_in_database_order(
        const uint8_t[:, ::1] queries_bytes, const uint8_t[:, ::1] codes,
        const uint64_t[:, ::1] query_labels, const uint64_t[:, ::1] labels,
        const int64_t[::1] note_starts, int32_t[:, ::1] notes, int64_t at,
        const int32_t[::1] bin_of_rank, int64_t[::1] n_relevant, double[::1] precision_sums,
        int64_t[:, ::1] hits, int n_threads):
    """Rank the relevant codes of every query by (distance, id), in one scan and without sorting.

    ``note_starts`` leaves room for the relevant codes of query q between its entries q and q + 1;
    ``notes`` is memory for them, two values each, and for one more.
    ``n_relevant[q]`` grows by their number, ``precision_sums[q]`` by the precisions at the relevant
    ranks <= ``at`` (ranks count from 1), and ``hits[q, bin_of_rank[r]]`` by one for every relevant
    rank r that has a bin. Fewer than 2^31 codes.
    """
    cdef const uint64_t[:, ::1] queries = as_words(np.asarray(queries_bytes))
    cdef Py_ssize_t n_queries = queries.shape[0], n_distances = 8 * codes.shape[1] + 1, q
    cdef int64_t[:, ::1] totals = np.zeros((n_queries, n_distances), np.int64)
    cdef int64_t[:, ::1] relevant = np.zeros((n_queries, n_distances), np.int64)
    cdef Evaluation evaluation = make_evaluation(queries, codes, query_labels, labels, totals,
                                                 relevant)
    cdef int32_t[:, ::1] scratch
    cdef uint64_t[:, ::1] memory
    scratch, memory = make_scratch(&evaluation.database, n_threads)
    evaluation.notes = <fh_note *>&notes[0, 0]
    evaluation.note_starts = &note_starts[0]
    evaluation.n_noted = &n_relevant[0]
    with nogil:
        scan(&evaluation, n_queries, scratch, memory)
    for q in prange(n_queries, nogil=True, schedule="dynamic", num_threads=n_threads):
        fh_counts_before(&totals[q, 0], n_distances)
        fh_counts_before(&relevant[q, 0], n_distances)
        precision_sums[q] = fh_sum_precisions(
            evaluation.notes + note_starts[q], n_relevant[q], &totals[q, 0], &relevant[q, 0], at,
            &bin_of_rank[0], bin_of_rank.shape[0], &hits[q, 0])
