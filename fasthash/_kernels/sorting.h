/* A stable sort of positions by distance, in blocks that stay in the second-level cache.
 *
 * A counting sort over the whole database would write to many distant places of memory, one for
 * each distance, and each write would wait for a counter. So each block of codes is sorted
 * separately: its codes are counted, and then their positions are written as offsets into the
 * block. A *run* is the offsets of a block at one distance. At the end, the ranking is written once
 * and in order: for each distance, the runs of all blocks.
 *
 * Cost per position: one count, one write, one copy. Memory: 2 bytes per position, and 2 bytes per
 * distance and block. Fewer than 2^31 positions.
 */
#ifndef FASTHASH_SORTING_H
#define FASTHASH_SORTING_H

#include "counting.h"

/* Number of codes in a block: an offset fits in uint16, and so does the length of a run. */
enum { FH_BLOCK = 32768 };

/* Sorts a block of n <= FH_BLOCK codes: writes their offsets by (distance, offset), and the length
 * of the run at each distance. `counts` has room for all distances, `places` for the block. */
static inline void fh_sort_block(const int32_t *FH_RESTRICT distances, int32_t n,
                                 ptrdiff_t n_distances, int64_t *FH_RESTRICT counts,
                                 int32_t *FH_RESTRICT places, uint16_t *FH_RESTRICT runs,
                                 uint16_t *FH_RESTRICT offsets)
{
    memset(counts, 0, (size_t)n_distances * sizeof *counts);
    fh_place(distances, n, counts, places);
    /* Places begin at 1. */
    int64_t start = -1;
    for (ptrdiff_t d = 0; d < n_distances; d++) {
        const int64_t run = counts[d];
        runs[d] = (uint16_t)run;
        counts[d] = start;
        start += run;
    }
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int j = 0; j < 4; j++)
            offsets[counts[distances[i + j]] + places[i + j]] = (uint16_t)(i + j);
    for (; i < n; i++)
        offsets[counts[distances[i]] + places[i]] = (uint16_t)i;
}

/* How far the ranking is written: the next distance and block, and the number of positions so
 * far. */
typedef struct {
    int32_t distance;
    int64_t block;
    int64_t n_written;
} fh_cursor;

/* Continues to write the first k positions, and their distances unless out_distances is NULL. Stops
 * after about `most` runs and positions. Returns 0 when all are written, else 1. Block b begins at
 * position b * block; its offsets begin there too, and the lengths of its runs at b * n_distances.
 * `starts` has an entry for each block: where in the offsets its next run begins, at first
 * b * block. */
static inline int fh_write_runs(const uint16_t *runs, const uint16_t *offsets, int64_t n_blocks,
                                int64_t block, ptrdiff_t n_distances, int64_t *starts, int64_t k,
                                int32_t *FH_RESTRICT out_distances, int64_t *FH_RESTRICT out,
                                fh_cursor *cursor, int64_t most)
{
    int64_t b = cursor->block, left = k - cursor->n_written;
    int32_t d = cursor->distance;
    out += cursor->n_written;
    if (out_distances != NULL)
        out_distances += cursor->n_written;
    for (; d < n_distances && left > 0 && most > 0; d++, b = 0) {
        for (; b < n_blocks && left > 0 && most > 0; b++) {
            const int64_t run = runs[b * n_distances + d], n = run < left ? run : left;
            const uint16_t *run_offsets = offsets + starts[b];
            for (int64_t i = 0; i < n; i++)
                out[i] = b * block + run_offsets[i];
            if (out_distances != NULL) {
                for (int64_t i = 0; i < n; i++)
                    out_distances[i] = d;
                out_distances += n;
            }
            starts[b] += run;
            out += n;
            left -= n;
            most -= n + 1;
        }
        if (b < n_blocks)
            break;
    }
    cursor->distance = d;
    cursor->block = b;
    cursor->n_written = k - left;
    return left > 0;
}

#endif
