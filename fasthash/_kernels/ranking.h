/* Counting relevant codes per distance, and finding their ranks without sorting.
 *
 * Everything runs over one tile: distances of one query to n codes, int32, in order of id. What is
 * relevant is listed first, because it is rare: the loops over all codes then do nothing but count.
 *
 * Cost per code: one increment in memory, a cycle or a little more; where places are wanted, half as
 * much again. A branch per relevant code instead would be mispredicted for nearly each of them, which
 * costs more than the rest together. Counts are int64: no overflow.
 */
#ifndef FASTHASH_RANKING_H
#define FASTHASH_RANKING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* MSVC knows C11's restrict only as __restrict. */
#if defined(_MSC_VER)
#define FH_RESTRICT __restrict
#else
#define FH_RESTRICT restrict
#endif

/* Two int32 values as one word, in the order in which memory holds them. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define FH_PAIR(first, second) ((first) << 32 | (second))
#else
#define FH_PAIR(first, second) ((first) | (second) << 32)
#endif

/* Two distances are read as one word: the loop is bound by the number of its instructions. */
static inline void fh_count(const int32_t *FH_RESTRICT distances, int32_t n,
                            int64_t *FH_RESTRICT counts)
{
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4) {
        uint64_t pairs[2];
        memcpy(pairs, distances + i, sizeof pairs);
        counts[(uint32_t)pairs[0]]++;
        counts[pairs[0] >> 32]++;
        counts[(uint32_t)pairs[1]]++;
        counts[pairs[1] >> 32]++;
    }
    for (; i < n; i++)
        counts[distances[i]]++;
}

static inline void fh_count_listed(const int32_t *FH_RESTRICT distances,
                                   const int32_t *FH_RESTRICT positions, int32_t n_listed,
                                   int64_t *FH_RESTRICT counts)
{
    for (ptrdiff_t j = 0; j < n_listed; j++)
        counts[distances[positions[j]]]++;
}

/* Counts a tile and leaves in places[i] how many codes at its distance code i ends: itself and those
 * before it. Below 2^31 codes in all.
 *
 * The writes are the cost: two places are joined in a register and written as one word. */
static inline void fh_place(const int32_t *FH_RESTRICT distances, int32_t n,
                            int64_t *FH_RESTRICT counts, int32_t *FH_RESTRICT places)
{
    ptrdiff_t i = 0;
    for (; i + 2 <= n; i += 2) {
        const uint64_t first = (uint64_t)++counts[distances[i]];
        const uint64_t second = (uint64_t)++counts[distances[i + 1]];
        const uint64_t both = FH_PAIR(first, second);
        memcpy(places + i, &both, sizeof both);
    }
    for (; i < n; i++)
        places[i] = (int32_t)++counts[distances[i]];
}

/* A relevant code as it stands when the scan passes it: its place among all codes at its distance.
 * What lies closer is known only at the end. */
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
 * relevant rank < n_bins. Uses up relevant_closer. */
static inline double fh_sum_precisions(const fh_note *notes, int64_t n, const int64_t *closer,
                                       int64_t *relevant_closer, int64_t at, const int32_t *bins,
                                       int64_t n_bins, int64_t *hits)
{
    double sum = 0;
    for (int64_t j = 0; j < n; j++) {
        const int32_t d = notes[j].distance;
        const int64_t rank = closer[d] + notes[j].place;
        const int64_t n_found = ++relevant_closer[d];
        if (rank <= at)
            sum += (double)n_found / (double)rank;
        if (rank < n_bins)
            hits[bins[rank]]++;
    }
    return sum;
}

#endif
