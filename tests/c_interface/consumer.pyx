# cython: boundscheck=False, wraparound=False, freethreading_compatible=True
"""Somebody else's extension: hands every function of the table on, and checks nothing itself."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

import numpy as np

from cpython.exc cimport PyErr_SetString

from fasthash.c_api cimport (
    FASTHASH_ERROR_ROOM,
    FASTHASH_TABLE_VERSION,
    fasthash_import,
    fasthash_index,
    fasthash_raise,
    fasthash_search,
    fasthash_table,
)

cdef const fasthash_table *fh = fasthash_import()

TABLE_VERSION = FASTHASH_TABLE_VERSION


def version():
    return fh.version


def message(int error):
    return fh.message(error).decode()


def simd_level():
    return fh.simd_level().decode()


cdef const uint8_t *address(const uint8_t[:, ::1] codes):
    return &codes[0, 0] if codes is not None and codes.shape[0] > 0 else NULL


def distances(const uint8_t[:, ::1] a, const uint8_t[:, ::1] b, int n_threads):
    out = np.empty((len(a), len(b)), np.int32)
    cdef int32_t[:, ::1] view = out
    cdef const uint8_t *a_codes = address(a)
    cdef const uint8_t *b_codes = address(b)
    cdef int error
    with nogil:
        error = fh.distances(a_codes, a.shape[0], b_codes, b.shape[0], a.shape[1],
                             &view[0, 0], n_threads)
    if error:
        fasthash_raise(fh, error)
    return out


def topk(const uint8_t[:, ::1] queries, const uint8_t[:, ::1] database, int64_t k,
         const uint8_t[::1] allowed, int n_threads):
    found_distances = np.empty((len(queries), k), np.int32)
    ids = np.empty((len(queries), k), np.int64)
    cdef int32_t[:, ::1] distances_view = found_distances
    cdef int64_t[:, ::1] ids_view = ids
    cdef const uint8_t *query_codes = address(queries)
    cdef const uint8_t *codes = address(database)
    cdef const uint8_t *flags = &allowed[0] if allowed is not None else NULL
    cdef int error
    with nogil:
        error = fh.topk(query_codes, queries.shape[0], codes, database.shape[0], queries.shape[1],
                        k, flags, &distances_view[0, 0], &ids_view[0, 0], n_threads)
    if error:
        fasthash_raise(fh, error)
    return found_distances, ids


def rank(const uint8_t[:, ::1] queries, const uint8_t[:, ::1] database, int n_threads):
    ids = np.empty((len(queries), len(database)), np.int64)
    cdef int64_t[:, ::1] view = ids
    cdef const uint8_t *query_codes = address(queries)
    cdef const uint8_t *codes = address(database)
    cdef int error
    with nogil:
        error = fh.rank(query_codes, queries.shape[0], codes, database.shape[0], queries.shape[1],
                        &view[0, 0], n_threads)
    if error:
        fasthash_raise(fh, error)
    return ids


def within(const uint8_t[:, ::1] queries, const uint8_t[:, ::1] database, int64_t radius,
           const uint8_t[::1] allowed, int n_threads):
    limits = np.empty(len(queries) + 1, np.int64)
    cdef int64_t[::1] limits_view = limits
    cdef const uint8_t *query_codes = address(queries)
    cdef const uint8_t *codes = address(database)
    cdef const uint8_t *flags = &allowed[0] if allowed is not None else NULL
    cdef int32_t *out_distances
    cdef int64_t *out_ids
    cdef int error
    with nogil:
        error = fh.within(query_codes, queries.shape[0], codes, database.shape[0],
                          queries.shape[1], radius, flags, &limits_view[0], &out_distances,
                          &out_ids, n_threads)
    if error:
        fasthash_raise(fh, error)
    cdef Py_ssize_t n = limits[len(queries)]
    found_distances, ids = np.empty(n, np.int32), np.empty(n, np.int64)
    cdef int32_t[::1] distances_view = found_distances
    cdef int64_t[::1] ids_view = ids
    memcpy(&distances_view[0], out_distances, 4 * n)
    memcpy(&ids_view[0], out_ids, 8 * n)
    fh.release(out_distances)
    fh.release(out_ids)
    fh.release(NULL)
    return limits, found_distances, ids


def average_precision(const uint8_t[:, ::1] queries, const uint8_t[:, ::1] database,
                      const uint64_t[:, ::1] query_labels, const uint64_t[:, ::1] labels,
                      int64_t at, int n_threads):
    scores = np.empty(len(queries))
    cdef double[::1] view = scores
    cdef const uint8_t *query_codes = address(queries)
    cdef const uint8_t *codes = address(database)
    cdef int error
    with nogil:
        error = fh.average_precision(query_codes, queries.shape[0], codes, database.shape[0],
                                     queries.shape[1], &query_labels[0, 0], &labels[0, 0],
                                     labels.shape[1], at, &view[0], n_threads)
    if error:
        fasthash_raise(fh, error)
    return scores


def raw_topk(int64_t n_queries, int64_t n, int64_t n_bytes, int64_t k, int n_threads,
             bint null_codes=False, bint null_output=False):
    """The error of a call with these numbers, over one code of eight bytes; never an exception."""
    cdef uint64_t code = 0
    cdef const uint8_t *codes = NULL if null_codes else <const uint8_t *>&code
    cdef int32_t distance
    cdef int64_t id
    return fh.topk(codes, n_queries, codes, n, n_bytes, k, NULL,
                   NULL if null_output else &distance, &id, n_threads)


def raw_within(int64_t radius):
    """The error, and whether both results are NULL."""
    cdef uint64_t code = 0
    cdef int64_t[2] limits
    cdef int32_t *out_distances
    cdef int64_t *out_ids
    cdef int error = fh.within(<const uint8_t *>&code, 1, <const uint8_t *>&code, 1, 8, radius,
                               NULL, &limits[0], &out_distances, &out_ids, 1)
    empty = out_distances == NULL and out_ids == NULL
    fh.release(out_distances)
    fh.release(out_ids)
    return error, empty


def raw_average_precision(int64_t n, int64_t n_label_words, int64_t at):
    cdef uint64_t code = 0
    cdef double score
    return fh.average_precision(<const uint8_t *>&code, 1, <const uint8_t *>&code, n, 8, &code,
                                &code, n_label_words, at, &score, 1)


# --- rows with gaps, and searches that end -----------------------------------

# How often a search may ask, and what it gets then.
cdef struct Poll:
    int n_calls
    int n_allowed
    bint raises


cdef int count_calls(void *context) noexcept nogil:
    cdef Poll *poll = <Poll *>context
    poll.n_calls += 1
    if poll.n_calls <= poll.n_allowed:
        return 0
    if poll.raises:
        with gil:
            PyErr_SetString(KeyError, b"ended")
    return -7


cdef class Described:
    """A search of rows that may have gaps. It asks so often whether to go on; never for -1."""

    cdef const uint8_t[:, :] queries, database
    cdef const uint8_t[::1] allowed
    cdef fasthash_search search
    cdef Poll poll

    def __init__(self, const uint8_t[:, :] queries, const uint8_t[:, :] database,
                 const uint8_t[::1] allowed, int n_threads, int n_calls=-1, bint raises=False):
        self.queries, self.database, self.allowed = queries, database, allowed
        if queries.shape[0] > 0:
            self.search.queries = &queries[0, 0]
            self.search.query_stride = queries.strides[0]
        if database.shape[0] > 0:
            self.search.database = &database[0, 0]
            self.search.stride = database.strides[0]
        self.search.n_queries, self.search.n = queries.shape[0], database.shape[0]
        self.search.n_bytes = queries.shape[1]
        if allowed is not None:
            self.search.allowed = &allowed[0]
        self.search.n_threads = n_threads
        self.poll = Poll(0, n_calls, raises)
        if n_calls >= 0:
            self.search.poll, self.search.context = count_calls, &self.poll

    @property
    def n_calls(self):
        return self.poll.n_calls

    def distances(self):
        out = np.empty((len(self.queries), len(self.database)), np.int32)
        cdef int32_t[:, ::1] view = out
        cdef int error
        with nogil:
            error = fh.distances_of(&self.search, &view[0, 0])
        if error:
            fasthash_raise(fh, error)
        return out

    def topk(self, int64_t k, Index index=None):
        """By a scan, or in the index."""
        found_distances = np.empty((len(self.queries), k), np.int32)
        ids = np.empty((len(self.queries), k), np.int64)
        cdef int32_t[:, ::1] distances_view = found_distances
        cdef int64_t[:, ::1] ids_view = ids
        cdef fasthash_index *held = index.held if index is not None else NULL
        cdef int error
        with nogil:
            if held == NULL:
                error = fh.topk_of(&self.search, k, &distances_view[0, 0], &ids_view[0, 0])
            else:
                error = fh.index_topk(held, &self.search, k, &distances_view[0, 0],
                                      &ids_view[0, 0])
        if error:
            fasthash_raise(fh, error)
        return found_distances, ids

    def topk_weighted(self, const double[:, ::1] weights, int64_t k, int64_t n_bits=-1):
        """With weights in the place of the queries."""
        scores = np.empty((len(weights), k))
        ids = np.empty((len(weights), k), np.int64)
        cdef double[:, ::1] scores_view = scores
        cdef int64_t[:, ::1] ids_view = ids
        cdef const double *first = &weights[0, 0] if weights.shape[0] > 0 else NULL
        cdef int error
        self.search.queries, self.search.n_queries = NULL, weights.shape[0]
        if n_bits < 0:
            n_bits = weights.shape[1]
        with nogil:
            error = fh.topk_weighted_of(&self.search, first, n_bits, k, &scores_view[0, 0],
                                        &ids_view[0, 0])
        if error:
            fasthash_raise(fh, error)
        return scores, ids

    def rank(self):
        ids = np.empty((len(self.queries), len(self.database)), np.int64)
        cdef int64_t[:, ::1] view = ids
        cdef int error
        with nogil:
            error = fh.rank_of(&self.search, &view[0, 0])
        if error:
            fasthash_raise(fh, error)
        return ids

    def within(self, int64_t radius, int64_t n_room, Index index=None):
        """Limits, distances and ids; of the last two nothing where there is no room for all."""
        cdef fasthash_index *held = index.held if index is not None else NULL
        limits = np.empty(len(self.queries) + 1, np.int64)
        found_distances, ids = np.empty(n_room, np.int32), np.empty(n_room, np.int64)
        cdef int64_t[::1] limits_view = limits
        cdef int32_t[::1] distances_view = found_distances
        cdef int64_t[::1] ids_view = ids
        cdef int32_t *out_distances = &distances_view[0] if n_room > 0 else NULL
        cdef int64_t *out_ids = &ids_view[0] if n_room > 0 else NULL
        cdef int error
        with nogil:
            if held == NULL:
                error = fh.within_of(&self.search, radius, &limits_view[0], out_distances,
                                     out_ids, n_room)
            else:
                error = fh.index_within(held, &self.search, radius, &limits_view[0],
                                        out_distances, out_ids, n_room)
        if error == FASTHASH_ERROR_ROOM:
            return limits, None, None
        if error:
            fasthash_raise(fh, error)
        cdef int64_t n_found = limits_view[len(self.queries)]
        return limits, found_distances[:n_found], ids[:n_found]


cdef class Index:
    """The database of a search in tables."""

    cdef fasthash_index *held

    def __init__(self, Described described, int64_t n_bits):
        cdef int error
        with nogil:
            error = fh.index_create(&described.search, n_bits, &self.held)
        if error:
            fasthash_raise(fh, error)

    def __dealloc__(self):
        fh.index_free(self.held)
