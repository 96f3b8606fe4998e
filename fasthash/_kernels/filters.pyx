"""Sets of ids as bits, and the rows of these ids; filters.h explains them.

fasthash/_core/allowed.py decides when a filter becomes such a set.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef extern from "filters.h" nogil:
    void fh_add_to_set(const int64_t *values, Py_ssize_t n, int64_t first, uint64_t span,
                       uint64_t *set)
    int64_t fh_count_set(const uint64_t *set, Py_ssize_t n_words)
    void fh_count_before(const uint64_t *set, Py_ssize_t n_words, int64_t *before)
    void fh_list_set(const uint64_t *set, Py_ssize_t n_words, const uint64_t *ids,
                     const int64_t *before, int64_t *rows)
    void fh_flag_set(const uint64_t *set, Py_ssize_t n_words, const uint64_t *ids,
                     const int64_t *before, uint8_t *flags)
    void fh_spread_flags(const uint8_t *live, Py_ssize_t n, const uint8_t *flags, uint8_t *out)


def add_to_set(const int64_t[::1] values, int64_t first, uint64_t span, uint64_t[::1] members):
    """
    Add the values in [first, first + span) to a set.

    There must be at least one value, span >= 1, and a bit for every number of the range.
    """
    with nogil:
        fh_add_to_set(&values[0], values.shape[0], first, span, &members[0])


def count_set(const uint64_t[::1] members):
    """Count the members of a set of at least one word."""
    cdef int64_t n
    with nogil:
        n = fh_count_set(&members[0], members.shape[0])
    return n


def count_before(const uint64_t[::1] members, int64_t[::1] before):
    """Write the number of members before each word of a set of at least one word."""
    with nogil:
        fh_count_before(&members[0], members.shape[0], &before[0])


def list_set(const uint64_t[::1] members, const uint64_t[::1] ids, const int64_t[::1] before,
             int64_t[::1] rows):
    """
    Write the rows of a set's members, ascending; `rows` has exactly that length, at least one.

    Each member must be an id. `ids` is the set of all ids, and `before` the number of ids before
    each word; both are None if all numbers of the range are ids.
    """
    cdef const uint64_t *words = &ids[0] if ids is not None else NULL
    cdef const int64_t *counts = &before[0] if before is not None else NULL
    with nogil:
        fh_list_set(&members[0], members.shape[0], words, counts, &rows[0])


def flag_set(const uint64_t[::1] members, const uint64_t[::1] ids, const int64_t[::1] before,
             uint8_t[::1] flags):
    """Set the flag of the row of every member; arguments as in `list_set`."""
    with nogil:
        fh_flag_set(&members[0], members.shape[0], &ids[0], &before[0], &flags[0])


def spread_flags(const uint8_t[::1] live, const uint8_t[::1] flags, uint8_t[::1] out):
    """Write the flags, one per live row, to these rows of `out`, and 0 to all other rows."""
    if live.shape[0] == 0 or flags.shape[0] == 0:
        return
    with nogil:
        fh_spread_flags(&live[0], live.shape[0], &flags[0], &out[0])
