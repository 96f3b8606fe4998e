"""A search in lists as a plan; tiles.pxd says how a plan is used."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

cdef enum:
    # Codes are laid out in whole groups, so a tile may have so many more; at least FH_LANES_MAX and
    # FH_WEIGHTED_LANES_MAX.
    PADDED_LANES = 64

# Which lists a query probes, of those with the nearest centres by (distance, list).
cdef struct Rule:
    int32_t least           # lists that are always probed, at least 1
    int32_t most            # lists that may be probed
    bint from_nearest       # whether distances of centres count from that of the nearest centre
    # A list is probed if four times this difference is at most threshold + slope * the distance of
    # the k-th candidate after the first lists; with fewer candidates, all are.
    int32_t slope, threshold
    int32_t bound           # the first lists have k codes nearer than this, of nearly all queries

# The sizes of a search, and its memory.
cdef struct PartitionPlan:
    Py_ssize_t memory_bytes
    const uint8_t *codes
    bint in_order             # whether the codes lie in the order of `rows`, not of their numbers
    const uint8_t *allowed    # NULL for all
    const uint8_t *centres    # laid out for the scan
    Py_ssize_t n_lists
    const int64_t *starts     # of the lists in `rows`, and the number of all rows
    const uint32_t *rows
    const uint32_t *numbers   # of all lists: 0, 1, …
    Py_ssize_t n_bytes
    int32_t n_words
    int32_t tile              # codes or centres that are compared at once
    Py_ssize_t laid_out_bytes  # of a code that is laid out
    int64_t k
    Rule rule
    bint has_weights          # whether queries are 8 * n_bytes weights each, and not codes
    Py_ssize_t n_queries
    Py_ssize_t n_block        # queries of a block
    int n_threads
    uint8_t *slots            # one for each thread
    Py_ssize_t slot_bytes


cdef void plan_partitions(PartitionPlan *plan, int n_threads) noexcept nogil
cdef void answer_block(const PartitionPlan *plan, Py_ssize_t slot, const void *queries,
                       Py_ssize_t n, int32_t *out_distances, int64_t *out_rows,
                       int64_t *out_compared) noexcept nogil
cdef const uint8_t *lay_out_codes(const PartitionPlan *plan, const uint8_t *codes, int32_t n,
                                  uint8_t *memory) noexcept nogil
