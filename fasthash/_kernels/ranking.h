/* Counts relevant codes per distance, and finds their ranks without sorting.
 *
 * The functions work on one tile: distances of one query to n codes, int32, in order of id.
 * Relevant codes are few, so they are listed first, and the loops over all codes only count.
 *
 * The place of a code is its number among the codes at its distance. A branch per relevant code
 * would be mispredicted nearly every time, which would cost more than all the rest. So places are
 * computed for all codes, and then looked up for the relevant ones.
 */
#ifndef FASTHASH_RANKING_H
#define FASTHASH_RANKING_H

#include "counting.h"

static inline void fh_count_listed(const int32_t *FH_RESTRICT distances,
                                   const int32_t *FH_RESTRICT positions, int32_t n_listed,
                                   int64_t *FH_RESTRICT counts)
{
    for (ptrdiff_t j = 0; j < n_listed; j++)
        counts[distances[positions[j]]]++;
}

/* What is noted of a relevant code during the scan: its distance, and its place among the codes at
 * that distance. How many codes are closer is known only at the end of the scan. */
typedef struct {
    int32_t distance;
    int32_t place;
} fh_note;

/* Counts and notes the relevant codes of a tile. */
static inline void fh_note_listed(const int32_t *FH_RESTRICT distances,
                                  const int32_t *FH_RESTRICT places,
                                  const int32_t *FH_RESTRICT positions, int32_t n_listed,
                                  int64_t *FH_RESTRICT counts, fh_note *FH_RESTRICT notes)
{
    for (ptrdiff_t j = 0; j < n_listed; j++) {
        const int32_t distance = distances[positions[j]];
        counts[distance]++;
        notes[j].distance = distance;
        notes[j].place = places[positions[j]];
    }
}

/* Replaces counts per distance by the number of codes at smaller distances. */
static inline void fh_counts_before(int64_t *counts, ptrdiff_t n)
{
    int64_t before = 0;
    for (ptrdiff_t d = 0; d < n; d++) {
        const int64_t count = counts[d];
        counts[d] = before;
        before += count;
    }
}

/* Adds to *sum the precisions at the relevant ranks <= at, and to *n_within their number; ranks
 * begin at 1. Adds 1 to hits[bins[rank]] for every relevant rank < n_bins. It counts in
 * relevant_closer, so that the notes of a query may be passed in several calls, in their order. */
static inline void fh_sum_precisions(const fh_note *notes, int64_t n, const int64_t *closer,
                                     int64_t *relevant_closer, int64_t at, const int32_t *bins,
                                     int64_t n_bins, int64_t *hits, double *sum, int64_t *n_within)
{
    double total = *sum;
    int64_t within = *n_within;
    for (int64_t j = 0; j < n; j++) {
        const int32_t d = notes[j].distance;
        const int64_t rank = closer[d] + notes[j].place;
        const int64_t n_found = ++relevant_closer[d];
        if (rank <= at) {
            total += (double)n_found / (double)rank;
            within++;
        }
        if (rank < n_bins)
            hits[bins[rank]]++;
    }
    *sum = total;
    *n_within = within;
}

#endif
