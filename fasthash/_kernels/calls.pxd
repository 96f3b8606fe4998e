"""Searches for callers from C, whose arguments have been checked."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from fasthash._kernels.tiles cimport Database, poll_function

# A search: `fasthash_search` of fasthash.h, but no stride is 0.
cdef struct Search:
    const uint8_t *queries
    int64_t n_queries
    int64_t query_stride
    const uint8_t *database
    int64_t n
    int64_t stride
    int64_t n_bytes
    const uint8_t *allowed
    poll_function poll         # NULL if the caller never ends the search
    void *context
    int n_threads

# The hits of a radius search so far, and the capacity of its arrays.
cdef struct Answer:
    int64_t n
    int64_t capacity
    int32_t *distances
    int64_t *ids
    bint grows                 # whether the arrays may be reallocated

# The function that is asked whether to go on, and how much work lies between two questions, counted
# in words that a thread compares.
cdef struct Pace:
    poll_function poll
    void *context
    Py_ssize_t n_words     # to do before the next question
    Py_ssize_t n_done      # done since the last question
    double since           # when the last question was answered, in seconds

# The queries without gaps, and memory for the rows of one step without gaps.
cdef struct Stage:
    const uint8_t *queries
    const uint8_t *database
    Py_ssize_t stride
    Py_ssize_t n_bytes
    uint8_t *copied
    Py_ssize_t room        # how many rows are copied at once; 0 if they have no gaps
    void *memory


cdef Pace make_pace(const Search *search) noexcept nogil
cdef bint is_stopped(Pace *pace) noexcept nogil
cdef bint has_gaps(const Search *search) noexcept nogil
cdef Py_ssize_t rows_copied(const Database *database) noexcept nogil
cdef int make_stage(const Search *search, Py_ssize_t room, Stage *stage) noexcept nogil
cdef void bring_rows(const Stage *stage, const int64_t *rows, Py_ssize_t first, Py_ssize_t n,
                     Database *database) noexcept nogil
cdef int threads_of(const Search *search, Py_ssize_t n_queries) noexcept nogil
cdef Py_ssize_t step_rows(const Stage *stage, const Pace *pace, const Database *database,
                          Py_ssize_t n_left, Py_ssize_t n_queries, Py_ssize_t cost) noexcept nogil
cdef int64_t count_allowed(const uint8_t *allowed, int64_t n) noexcept nogil
cdef void copy_rows(uint8_t *out, const uint8_t *codes, Py_ssize_t stride, Py_ssize_t n_bytes,
                    const int64_t *rows, Py_ssize_t first, Py_ssize_t n) noexcept nogil
cdef int search_distances(const Search *search, int32_t *out) noexcept nogil
cdef int search_topk(const Search *search, int64_t k, int32_t *out_distances,
                     int64_t *ids) noexcept nogil
cdef int search_rank(const Search *search, int64_t *ids) noexcept nogil
cdef int search_within(const Search *search, int32_t radius, int64_t *limits,
                       Answer *answer) noexcept nogil
cdef bint resize(Answer *answer, int64_t capacity) noexcept nogil
