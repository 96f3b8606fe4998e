/* A stable sort of positions by distance, in blocks that stay in the second-level cache.
 *
 * A counting sort over the whole database writes to as many places as there are distances, all over
 * memory, and each write waits for the counter that says where. So blocks of codes are sorted each
 * for itself, first counted and then written, their positions held as offsets into the block. The
 * ranking is written once and in order, distance by distance, from the runs of the blocks.
 *
 * Cost per position: a place, a write, a copy. Memory: 2 bytes per position, and 2 bytes per
 * distance and block. Fewer than 2^31 positions.
 */
#ifndef FASTHASH_SORTING_H
#define FASTHASH_SORTING_H

#include "counting.h"

/* Codes of a block; an offset fits in uint16, and so does a run. */
enum { FH_BLOCK = 32768 };

/* Sorts a block of n <= FH_BLOCK codes: their offsets by (distance, offset), and how many there are
 * at each distance. `counts` has room for all distances, `places` for the block. */
static inline void fh_sort_block(const int32_t *FH_RESTRICT distances, int32_t n,
                                 ptrdiff_t n_distances, int64_t *FH_RESTRICT counts,
                                 int32_t *FH_RESTRICT places, uint16_t *FH_RESTRICT runs,
                                 uint16_t *FH_RESTRICT offsets)
{
    memset(counts, 0, (size_t)n_distances * sizeof *counts);
    fh_place(distances, n, counts, places);
    /* Places count from one. */
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

/* Where writing has come to: at this distance and block, so many positions are written. */
typedef struct {
    int32_t distance;
    int64_t block;
    int64_t n_written;
} fh_cursor;

/* Goes on writing the first k positions, and their distances unless out_distances is NULL, for
 * `most` runs and positions or a run more; 0 when all are written. Block b begins with position
 * b * block; its offsets stand from there on, its runs at b * n_distances. `starts` has an entry per
 * block: where in the offsets its next run begins, at first b * block. */
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
