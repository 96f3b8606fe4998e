"""Evaluation kernels: relevant items counted per distance, and positions in database order.

Relevance is "any shared label", tested on labels packed as bit masks of 64-bit words. Neither
kernel holds anything of size queries x database: a task holds one tile and the distances of one
query to it.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from fasthash._kernels.hamming cimport (
    FH_LANES_MAX,
    Database,
    TileBuffer,
    active_level,
    load_tile,
    make_database,
    make_tile_buffer,
    tile_buffer_words,
)

import numpy as np

from fasthash._kernels.hamming import as_words

cdef extern from "ranking.h" nogil:
    int32_t fh_list_relevant(const uint64_t *query, const uint64_t *labels, int32_t n,
                             Py_ssize_t n_words, int32_t *positions)
    void fh_count(const int32_t *distances, int32_t n, int64_t *counts)
    void fh_count_listed(const int32_t *distances, const int32_t *positions, int32_t n_listed,
                         int64_t *counts)
    ctypedef struct fh_note:
        pass
    void fh_note_relevant(const int32_t *distances, int32_t n, const int32_t *positions,
                          int32_t n_relevant, int64_t *counts, int64_t *relevant_counts,
                          fh_note *notes)
    void fh_counts_before(int64_t *counts, Py_ssize_t n)
    double fh_sum_precisions(const fh_note *notes, int64_t n, const int64_t *closer,
                             const int64_t *relevant_closer, int64_t at, const int32_t *bins,
                             int64_t n_bins, int64_t *hits)

cdef enum:
    # Queries that share a prepared tile.
    TASK_QUERIES = 64


cdef Py_ssize_t queries_per_task(Py_ssize_t n_queries, int n_threads) noexcept nogil:
    return max(1, min(<Py_ssize_t>TASK_QUERIES, (n_queries + n_threads - 1) // n_threads))


cdef void count_of_task(const uint64_t[:, ::1] queries, Py_ssize_t first, Py_ssize_t n_queries,
                        const Database *database, const uint64_t[:, ::1] query_labels,
                        const uint64_t[:, ::1] labels, int32_t *distances, uint64_t *tile_memory,
                        int64_t[:, ::1] totals, int64_t[:, ::1] relevant) noexcept nogil:
    cdef TileBuffer buffer = make_tile_buffer(database, database.tile, tile_memory)
    cdef int32_t *listed = distances + database.tile + FH_LANES_MAX
    cdef Py_ssize_t start = 0, q
    cdef int32_t n_tile, n_listed
    cdef const uint64_t *tile
    while start < database.n:
        n_tile = <int32_t>min(<Py_ssize_t>database.tile, database.n - start)
        tile = load_tile(database, start, n_tile, &buffer)
        for q in range(first, first + n_queries):
            active_level().distances(&queries[q, 0], tile, n_tile, database.n_words, distances)
            n_listed = fh_list_relevant(&query_labels[q, 0], &labels[start, 0], n_tile,
                                        labels.shape[1], listed)
            fh_count(distances, n_tile, &totals[q, 0])
            fh_count_listed(distances, listed, n_listed, &relevant[q, 0])
        start = start + n_tile


def counts_per_distance(const uint8_t[:, ::1] queries_bytes, const uint8_t[:, ::1] codes,
                        const uint64_t[:, ::1] query_labels, const uint64_t[:, ::1] labels,
                        int64_t[:, ::1] totals, int64_t[:, ::1] relevant, int n_threads):
    """Add to totals[q, d] and relevant[q, d] the codes, and relevant codes, at distance d of q."""
    cdef const uint64_t[:, ::1] queries = as_words(np.asarray(queries_bytes))
    cdef Database database = make_database(codes, None, queries.shape[0])
    cdef Py_ssize_t n_queries = queries.shape[0]
    cdef Py_ssize_t n_task = queries_per_task(n_queries, n_threads)
    cdef Py_ssize_t task, first
    cdef int thread
    cdef int32_t[:, ::1] distances = np.empty(
        (n_threads, 2 * (database.tile + FH_LANES_MAX)), np.int32)
    cdef uint64_t[:, ::1] memory = np.empty((n_threads, tile_buffer_words(&database, database.tile)), np.uint64)
    for task in prange((n_queries + n_task - 1) // n_task, nogil=True, schedule="dynamic",
                       num_threads=n_threads):
        thread = threadid()
        first = task * n_task
        count_of_task(queries, first, min(n_task, n_queries - first), &database, query_labels,
                      labels, &distances[thread, 0], &memory[thread, 0], totals, relevant)


cdef void note_of_task(const uint64_t[:, ::1] queries, Py_ssize_t first, Py_ssize_t n_queries,
                       const Database *database, const uint64_t[:, ::1] query_labels,
                       const uint64_t[:, ::1] labels, int32_t *distances, uint64_t *tile_memory,
                       int64_t[:, ::1] totals, int64_t[:, ::1] relevant, fh_note *notes,
                       const int64_t[::1] note_starts, int64_t[::1] n_noted) noexcept nogil:
    cdef TileBuffer buffer = make_tile_buffer(database, database.tile, tile_memory)
    cdef int32_t *listed = distances + database.tile + FH_LANES_MAX
    cdef Py_ssize_t start = 0, q
    cdef int32_t n_tile, n_listed
    cdef const uint64_t *tile
    while start < database.n:
        n_tile = <int32_t>min(<Py_ssize_t>database.tile, database.n - start)
        tile = load_tile(database, start, n_tile, &buffer)
        for q in range(first, first + n_queries):
            active_level().distances(&queries[q, 0], tile, n_tile, database.n_words, distances)
            n_listed = fh_list_relevant(&query_labels[q, 0], &labels[start, 0], n_tile,
                                        labels.shape[1], listed)
            fh_note_relevant(distances, n_tile, listed, n_listed, &totals[q, 0], &relevant[q, 0],
                             notes + note_starts[q] + n_noted[q])
            n_noted[q] += n_listed
        start = start + n_tile


def precisions_in_database_order(
        const uint8_t[:, ::1] queries_bytes, const uint8_t[:, ::1] codes,
        const uint64_t[:, ::1] query_labels, const uint64_t[:, ::1] labels,
        const int64_t[::1] note_starts, int64_t at, const int32_t[::1] bin_of_rank,
        int64_t[::1] n_relevant, double[::1] precision_sums, int64_t[:, ::1] hits, int n_threads):
    """Rank the relevant codes of every query by (distance, id), in one scan and without sorting.

    ``note_starts`` leaves room for the relevant codes of query q between its entries q and q + 1.
    ``n_relevant[q]`` grows by their number, ``precision_sums[q]`` by the precisions at the relevant
    ranks <= ``at`` (ranks count from 1), and ``hits[q, bin_of_rank[r]]`` by one for every relevant
    rank r that has a bin. Fewer than 2^31 codes.
    """
    cdef const uint64_t[:, ::1] queries = as_words(np.asarray(queries_bytes))
    cdef Database database = make_database(codes, None, queries.shape[0])
    cdef Py_ssize_t n_queries = queries.shape[0], n_distances = 8 * codes.shape[1] + 1
    cdef Py_ssize_t n_task = queries_per_task(n_queries, n_threads)
    cdef Py_ssize_t task, first, q
    cdef int thread
    cdef int32_t[:, ::1] distances = np.empty(
        (n_threads, 2 * (database.tile + FH_LANES_MAX)), np.int32)
    cdef uint64_t[:, ::1] memory = np.empty(
        (n_threads, tile_buffer_words(&database, database.tile)), np.uint64)
    cdef int64_t[:, ::1] totals = np.zeros((n_queries, n_distances), np.int64)
    cdef int64_t[:, ::1] relevant = np.zeros((n_queries, n_distances), np.int64)
    # One more than needed, so that there is a first one to point at.
    cdef int32_t[:, ::1] note_memory = np.empty(
        (note_starts[n_queries] + 1, <Py_ssize_t>sizeof(fh_note) // 4), np.int32)
    cdef fh_note *notes = <fh_note *>&note_memory[0, 0]
    for task in prange((n_queries + n_task - 1) // n_task, nogil=True, schedule="dynamic",
                       num_threads=n_threads):
        thread = threadid()
        first = task * n_task
        note_of_task(queries, first, min(n_task, n_queries - first), &database, query_labels,
                     labels, &distances[thread, 0], &memory[thread, 0], totals, relevant, notes,
                     note_starts, n_relevant)
    for q in prange(n_queries, nogil=True, schedule="dynamic", num_threads=n_threads):
        fh_counts_before(&totals[q, 0], n_distances)
        fh_counts_before(&relevant[q, 0], n_distances)
        precision_sums[q] = fh_sum_precisions(
            notes + note_starts[q], n_relevant[q], &totals[q, 0], &relevant[q, 0], at,
            &bin_of_rank[0], bin_of_rank.shape[0], &hits[q, 0])
