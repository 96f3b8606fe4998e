/* Counting relevant codes per distance, and walking a ranking without sorting it.
 *
 * Everything runs over one tile: distances of one query to n codes, int32, in order of id. What is
 * relevant is listed first, because it is rare: the loops over all codes then do nothing but count.
 *
 * Cost per code and pass: about one cycle to list, one to count. Counts are int64: no overflow.
 */
#ifndef FASTHASH_RANKING_H
#define FASTHASH_RANKING_H

#include <stddef.h>
#include <stdint.h>

/* Positions of the codes that share a label with the query, ascending; returns how many. `positions`
 * holds n entries; written always and counted only when relevant, so nothing is mispredicted. */
static inline int32_t fh_list_relevant(const uint64_t *query, const uint64_t *labels, int32_t n,
                                       ptrdiff_t n_words, int32_t *positions)
{
    int32_t n_relevant = 0;
    if (n_words == 1) {
        const uint64_t wanted = query[0];
        for (int32_t i = 0; i < n; i++) {
            positions[n_relevant] = i;
            n_relevant += (labels[i] & wanted) != 0;
        }
        return n_relevant;
    }
    for (int32_t i = 0; i < n; i++) {
        uint64_t shared = 0;
        for (ptrdiff_t w = 0; w < n_words; w++)
            shared |= labels[i * n_words + w] & query[w];
        positions[n_relevant] = i;
        n_relevant += shared != 0;
    }
    return n_relevant;
}

static inline void fh_count(const int32_t *distances, int32_t n, int64_t *counts)
{
    for (int32_t i = 0; i < n; i++)
        counts[distances[i]]++;
}

static inline void fh_count_listed(const int32_t *distances, const int32_t *positions,
                                   int32_t n_listed, int64_t *counts)
{
    for (int32_t j = 0; j < n_listed; j++)
        counts[distances[positions[j]]]++;
}

/* Runs places[d] and relevant_places[d], ranks from 1, over the tile; returns the sum of precisions
 * at the relevant ranks <= at and bumps hits[bins[rank]] for those < n_bins. */
static inline double fh_walk(const int32_t *distances, int32_t n, const int32_t *positions,
                             int32_t n_relevant, int64_t at, const int32_t *bins, int64_t n_bins,
                             int64_t *places, int64_t *relevant_places, int64_t *hits)
{
    double precision_sum = 0;
    int32_t next = 0;
    for (int32_t j = 0; j < n_relevant; j++) {
        const int32_t i = positions[j], d = distances[i];
        fh_count(distances + next, i + 1 - next, places);
        next = i + 1;
        const int64_t rank = places[d], relevant_rank = ++relevant_places[d];
        if (rank <= at)
            precision_sum += (double)relevant_rank / (double)rank;
        if (rank < n_bins)
            hits[bins[rank]]++;
    }
    fh_count(distances + next, n - next, places);
    return precision_sum;
}

#endif
