/* Counting relevant codes per distance, and finding their ranks without sorting.
 *
 * Everything runs over one tile: distances of one query to n codes, int32, in order of id. What is
 * relevant is listed first, because it is rare: the loops over all codes then do nothing but count.
 *
 * Cost per code: about one cycle to list, one to count. Counts are int64: no overflow.
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

/* A relevant code, as it stands when the scan passes it: counts so far at its distance, itself
 * included. What lies closer is known only at the end. */
typedef struct {
    int32_t distance;
    int32_t place;
    int32_t relevant_place;
} fh_note;

/* Counts a tile and notes its relevant codes; below 2^31 codes in all. */
static inline void fh_note_relevant(const int32_t *distances, int32_t n, const int32_t *positions,
                                    int32_t n_relevant, int64_t *counts, int64_t *relevant_counts,
                                    fh_note *notes)
{
    int32_t next = 0;
    for (int32_t j = 0; j < n_relevant; j++) {
        const int32_t i = positions[j], d = distances[i];
        fh_count(distances + next, i + 1 - next, counts);
        next = i + 1;
        notes[j].distance = d;
        notes[j].place = (int32_t)counts[d];
        notes[j].relevant_place = (int32_t)++relevant_counts[d];
    }
    fh_count(distances + next, n - next, counts);
}

/* Counts per distance become counts of what is closer. */
static inline void fh_counts_before(int64_t *counts, ptrdiff_t n)
{
    int64_t before = 0;
    for (ptrdiff_t d = 0; d < n; d++) {
        const int64_t count = counts[d];
        counts[d] = before;
        before += count;
    }
}

/* The sum of precisions at the relevant ranks <= at, ranks from 1; hits[bins[rank]] grows for every
 * relevant rank < n_bins. */
static inline double fh_sum_precisions(const fh_note *notes, int64_t n, const int64_t *closer,
                                       const int64_t *relevant_closer, int64_t at,
                                       const int32_t *bins, int64_t n_bins, int64_t *hits)
{
    double sum = 0;
    for (int64_t j = 0; j < n; j++) {
        const int32_t d = notes[j].distance;
        const int64_t rank = closer[d] + notes[j].place;
        if (rank <= at)
            sum += (double)(relevant_closer[d] + notes[j].relevant_place) / (double)rank;
        if (rank < n_bins)
            hits[bins[rank]]++;
    }
    return sum;
}

#endif
