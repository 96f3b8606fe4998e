"""Evaluation kernels: relevant items counted per distance, and positions in database order.

Relevance is "any shared label", tested on labels packed as bit masks of 64-bit words. Neither kernel
holds anything of size queries x database: a thread keeps one row of distances.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from fasthash._kernels.hamming cimport active_level, fh_level

import numpy as np

cdef enum:
    BLOCK = 1024


cdef inline bint shares_label(const uint64_t *a, const uint64_t *b, Py_ssize_t n_words) noexcept nogil:
    cdef Py_ssize_t word
    for word in range(n_words):
        if a[word] & b[word]:
            return True
    return False


cdef void count_of_query(const uint8_t *query, const uint8_t[:, ::1] database,
                         const uint64_t *query_labels, const uint64_t[:, ::1] labels,
                         int32_t *block_distances, int64_t *totals, int64_t *relevant) noexcept nogil:
    cdef const fh_level *level = active_level()
    cdef Py_ssize_t n = database.shape[0], n_words = labels.shape[1], start = 0
    cdef int32_t n_block, i, d
    while start < n:
        n_block = <int32_t>min(<Py_ssize_t>BLOCK, n - start)
        level.distances(query, &database[start, 0], n_block, database.shape[1], block_distances)
        for i in range(n_block):
            d = block_distances[i]
            totals[d] += 1
            relevant[d] += shares_label(query_labels, &labels[start + i, 0], n_words)
        start = start + n_block


def counts_per_distance(const uint8_t[:, ::1] queries, const uint8_t[:, ::1] database,
                        const uint64_t[:, ::1] query_labels, const uint64_t[:, ::1] labels,
                        int64_t[:, ::1] totals, int64_t[:, ::1] relevant, int n_threads):
    """Add to totals[q, d] and relevant[q, d] the codes, and relevant codes, at distance d of q."""
    cdef Py_ssize_t q
    cdef int thread
    cdef int32_t[:, ::1] distances = np.empty((n_threads, BLOCK), np.int32)
    for q in prange(queries.shape[0], nogil=True, schedule="dynamic", num_threads=n_threads):
        thread = threadid()
        count_of_query(&queries[q, 0], database, &query_labels[q, 0], labels, &distances[thread, 0],
                       &totals[q, 0], &relevant[q, 0])


cdef double walk_of_query(const uint8_t *query, const uint8_t[:, ::1] database,
                          const uint64_t *query_labels, const uint64_t[:, ::1] labels, int64_t at,
                          const int32_t[::1] bin_of_position, int32_t *block_distances,
                          int64_t *places, int64_t *relevant_places, int64_t *hits) noexcept nogil:
    """One pass in id order; places[d] and relevant_places[d] run through the ranks of distance d."""
    cdef const fh_level *level = active_level()
    cdef Py_ssize_t n = database.shape[0], n_words = labels.shape[1], start = 0
    cdef int64_t n_binned = bin_of_position.shape[0], position
    cdef int32_t n_block, i, d
    cdef double precision_sum = 0
    while start < n:
        n_block = <int32_t>min(<Py_ssize_t>BLOCK, n - start)
        level.distances(query, &database[start, 0], n_block, database.shape[1], block_distances)
        for i in range(n_block):
            d = block_distances[i]
            places[d] += 1
            if not shares_label(query_labels, &labels[start + i, 0], n_words):
                continue
            relevant_places[d] += 1
            position = places[d]
            if position <= at:
                precision_sum += <double>relevant_places[d] / <double>position
            if position < n_binned:
                hits[bin_of_position[position]] += 1
        start = start + n_block
    return precision_sum


def walk_in_database_order(const uint8_t[:, ::1] queries, const uint8_t[:, ::1] database,
                           const uint64_t[:, ::1] query_labels, const uint64_t[:, ::1] labels,
                           int64_t[:, ::1] places, int64_t[:, ::1] relevant_places, int64_t at,
                           const int32_t[::1] bin_of_position, double[::1] precision_sums,
                           int64_t[:, ::1] hits, int n_threads):
    """Walk the ranking by (distance, id) of every query without sorting it.

    ``places[q, d]`` and ``relevant_places[q, d]`` come in as the number of codes, and of relevant
    codes, closer than d; they are used up. ``precision_sums[q]`` becomes the sum of the precisions at
    the relevant positions <= ``at`` (positions count from 1), and ``hits[q, bin_of_position[p]]``
    grows by one for every relevant position p that has a bin.
    """
    cdef Py_ssize_t q
    cdef int thread
    cdef int32_t[:, ::1] distances = np.empty((n_threads, BLOCK), np.int32)
    for q in prange(queries.shape[0], nogil=True, schedule="dynamic", num_threads=n_threads):
        thread = threadid()
        precision_sums[q] = walk_of_query(
            &queries[q, 0], database, &query_labels[q, 0], labels, at, bin_of_position,
            &distances[thread, 0], &places[q, 0], &relevant_places[q, 0], &hits[q, 0])
