/* The functions over tiles, for a file that says what a register of distances is.
 *
 * A scan compares groups of LANES codes with a query. Several groups, a block, share one comparison
 * with the bound: of the minimum of their distances, lane by lane. So a code without hits costs its
 * distance and a share of one comparison and one branch. If a block has a hit, its groups are
 * compared one by one.
 *
 * Widths that people use are compiled with a constant number of words, so that the loops over words
 * are unrolled. WIDTHS lists them, with the number of groups of a block: fewer for wide codes,
 * because the distances of a block stay in registers.
 *
 * The file that includes this defines
 *
 *     TARGET, INLINE    attributes of functions
 *     LANES             codes of a group
 *     Distances         the distances of a group, an integer in each lane
 *     Bound             a bound for all lanes
 *     bound_of(bound)                   the same number in all lanes
 *     nearer(a, b)                      the minimum, lane by lane
 *     any_nearer(distances, bound)      whether a lane is below the bound
 *     smallest(distances)               the minimum of all lanes
 *     group_distances(query, group, n_words)
 *                                       the distances of a whole group
 *     write(distances, out)             LANES int32, in the order of the codes
 *     write_pair(a, b, out)             2 LANES int32
 *     append(distances, n, bound, first, n_hits, positions, out)
 *                                       writes the hits among the first n lanes, at n_hits, with
 *                                       positions that count from `first`; returns the number of
 *                                       hits with them. It may write LANES entries.
 *     READY(query, n_words)             statements that replace `query` if tiles do not store words
 *                                       as they are; otherwise nothing
 *     APPEND_BLOCK(query, block, n_words, unroll, bound, first, n_hits, positions, out)
 *                                       as append, for a block that has a hit. It is defined only if
 *                                       comparing blocks first is faster.
 */
#include "../bits.h"

#define WIDTHS(CASE)                                                                               \
    CASE(1, 8)                                                                                     \
    CASE(2, 4)                                                                                     \
    CASE(3, 4)                                                                                     \
    CASE(4, 4)                                                                                     \
    CASE(5, 2)                                                                                     \
    CASE(6, 2)                                                                                     \
    CASE(7, 2)                                                                                     \
    CASE(8, 2)                                                                                     \
    CASE(12, 1)                                                                                    \
    CASE(16, 1)

/* Distances of the last group, of which only the first n lanes are codes. Only for 64-bit codes may
 * the memory after them be missing; wider tiles have whole groups. */
static INLINE Distances last_distances(const uint64_t *query, const uint64_t *group,
                                       int32_t n_words, int32_t n)
{
    if (n_words > 1)
        return group_distances(query, group, n_words);
    uint64_t words[LANES] = {0};
    memcpy(words, group, (size_t)n * sizeof *words);
    return group_distances(query, words, 1);
}

/* Scans whole blocks of codes [0, n), appends their hits, and returns the number of codes in them.
 * Where this is inlined, `unroll` is a constant, and so is `n_words` except in the general case. */
static INLINE int32_t scan_blocks(const uint64_t *query, const uint64_t *tile, int32_t n,
                                  int32_t n_words, int32_t unroll, Bound bound, int32_t *n_found,
                                  int32_t *positions, int32_t *distances)
{
    const ptrdiff_t stride = (ptrdiff_t)n_words * LANES;
    int32_t i = 0, n_hits = 0;
#ifdef APPEND_BLOCK
    /* Sixteen blocks are compared without a branch; one word says which of them have a hit, and
     * these are computed again. If every few blocks have a hit, this is cheaper than a mispredicted
     * branch for each. If most have one, the next blocks are not compared first. */
    int is_dense = 0;
    const ptrdiff_t ahead = fh_prefetch_bytes();
    while (i + unroll * LANES <= n) {
        const int32_t n_left = (n - i) / (unroll * LANES), n_blocks = n_left < 16 ? n_left : 16;
        const int32_t n_before = n_hits;
        uint32_t with_hits = 0;
        for (int32_t u = 0; u < n_blocks * unroll && is_dense; u++)
            n_hits = append(group_distances(query, tile + u * stride, n_words), LANES, bound,
                            i + u * LANES, n_hits, positions, distances);
        for (int32_t b = 0; b < n_blocks && !is_dense; b++) {
            const uint64_t *block = tile + b * unroll * stride;
            /* Codes of one word are scanned where they lie in memory. */
            if (n_words == 1 && ahead > 0)
                for (int32_t u = 0; u < unroll; u++)
                    _mm_prefetch((const char *)(block + u * stride) + ahead, _MM_HINT_T0);
            Distances nearest = group_distances(query, block, n_words);
            for (int32_t u = 1; u < unroll; u++)
                nearest = nearer(nearest, group_distances(query, block + u * stride, n_words));
            with_hits |= (uint32_t)any_nearer(nearest, bound) << b;
        }
        for (; with_hits; with_hits &= with_hits - 1) {
            const int32_t g = fh_lowest_bit(with_hits) * unroll;
            n_hits = APPEND_BLOCK(query, tile + g * stride, n_words, unroll, bound, i + g * LANES,
                                  n_hits, positions, distances);
        }
        is_dense = n_hits - n_before > n_blocks;
        i += n_blocks * unroll * LANES;
        tile += n_blocks * unroll * stride;
    }
#else
    for (; i + unroll * LANES <= n; i += unroll * LANES, tile += unroll * stride) {
        Distances group[8];
        group[0] = group_distances(query, tile, n_words);
        Distances nearest = group[0];
        for (int32_t u = 1; u < unroll; u++) {
            group[u] = group_distances(query, tile + u * stride, n_words);
            nearest = nearer(nearest, group[u]);
        }
        /* A block with a hit has cost one mispredicted branch. Its groups need none of their own. */
        if (any_nearer(nearest, bound))
            for (int32_t u = 0; u < unroll; u++)
                n_hits =
                    append(group[u], LANES, bound, i + u * LANES, n_hits, positions, distances);
    }
#endif
    *n_found = n_hits;
    return i;
}

static INLINE int32_t scan_of_width(const uint64_t *query, const uint64_t *tile, int32_t n,
                                    int32_t n_words, int32_t unroll, int32_t bound,
                                    int32_t *positions, int32_t *distances)
{
    const Bound limit = bound_of(bound);
    int32_t n_hits = 0;
    int32_t i = scan_blocks(query, tile, n, n_words, unroll, limit, &n_hits, positions, distances);
    for (; i < n; i += LANES) {
        const int32_t n_here = n - i < LANES ? n - i : LANES;
        n_hits = append(last_distances(query, tile + (ptrdiff_t)i * n_words, n_words, n_here),
                        n_here, limit, i, n_hits, positions, distances);
    }
    return n_hits;
}

TARGET static int32_t scan(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                           int32_t bound, int32_t *positions, int32_t *distances)
{
#define SCAN(width, unroll)                                                                        \
    case width: return scan_of_width(query, tile, n, width, unroll, bound, positions, distances);
    READY(query, n_words)
    switch (n_words) {
        WIDTHS(SCAN)
    default: return scan_of_width(query, tile, n, n_words, 1, bound, positions, distances);
    }
#undef SCAN
}

/* Where this is inlined, `block` is a constant. */
static INLINE void minima_of_width(const uint64_t *query, const uint64_t *tile, int32_t n,
                                   int32_t n_words, int32_t block, int32_t *out)
{
    const ptrdiff_t stride = (ptrdiff_t)n_words * LANES;
    int32_t i = 0;
    for (; i + block <= n; i += block) {
        Distances nearest = group_distances(query, tile, n_words);
        for (int32_t u = 1; u < block / LANES; u++)
            nearest = nearer(nearest, group_distances(query, tile + u * stride, n_words));
        *out++ = smallest(nearest);
        tile += block / LANES * stride;
    }
    if (i == n)
        return;
    *out = INT32_MAX;
    for (; i < n; i += LANES, tile += stride) {
        const int32_t n_here = n - i < LANES ? n - i : LANES;
        int32_t last[LANES];
        write(last_distances(query, tile, n_words, n_here), last);
        for (int32_t lane = 0; lane < n_here; lane++)
            *out = last[lane] < *out ? last[lane] : *out;
    }
}

TARGET static void minima(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                          int32_t block, int32_t *out)
{
#define MINIMA(width, unroll)                                                                      \
    case width:                                                                                    \
        if (block == FH_SHORT_BLOCK)                                                               \
            minima_of_width(query, tile, n, width, FH_SHORT_BLOCK, out);                           \
        else                                                                                       \
            minima_of_width(query, tile, n, width, FH_LONG_BLOCK, out);                            \
        return;
    READY(query, n_words)
    switch (n_words) {
        WIDTHS(MINIMA)
    default: minima_of_width(query, tile, n, n_words, block, out);
    }
#undef MINIMA
}

static INLINE void distances_of_width(const uint64_t *query, const uint64_t *tile, int32_t n,
                                      int32_t n_words, int32_t *out)
{
    const ptrdiff_t stride = (ptrdiff_t)n_words * LANES;
    int32_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES, tile += 2 * stride)
        write_pair(group_distances(query, tile, n_words),
                   group_distances(query, tile + stride, n_words), out + i);
    for (; i < n; i += LANES, tile += stride) {
        const int32_t n_here = n - i < LANES ? n - i : LANES;
        int32_t last[LANES];
        write(last_distances(query, tile, n_words, n_here), last);
        memcpy(out + i, last, (size_t)n_here * sizeof *last);
    }
}

TARGET static void distances(const uint64_t *query, const uint64_t *tile, int32_t n,
                             int32_t n_words, int32_t *out)
{
#define DISTANCES(width, unroll)                                                                   \
    case width: distances_of_width(query, tile, n, width, out); return;
    READY(query, n_words)
    switch (n_words) {
        WIDTHS(DISTANCES)
    default: distances_of_width(query, tile, n, n_words, out);
    }
#undef DISTANCES
}
