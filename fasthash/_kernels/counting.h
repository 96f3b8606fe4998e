/* Histograms of distances: how many codes lie at each distance, and the place of a code among them.
 *
 * Distances are int32, in order of id. Counts are int64, so they cannot overflow.
 * Cost per distance: one increment in memory, a cycle or a little more; with places, one and a half
 * times as much.
 */
#ifndef FASTHASH_COUNTING_H
#define FASTHASH_COUNTING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* MSVC has C11's restrict only under the name __restrict. */
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

/* Counts n distances. Two distances are read as one word, because the number of instructions limits
 * the speed of this loop. */
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

/* Counts n distances, and writes to places[i] the place of code i among the codes at its distance:
 * 1 for the first one. Fewer than 2^31 codes in all.
 *
 * The writes take most of the time, so two places are joined in a register and written at once. */
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

/* The number of values from the start of a buffer of n int32 to the start of the next one.
 *
 * Places are written while distances a little ahead are read. A processor delays a read that has
 * the same offset in a memory page as a write shortly before. So each buffer begins a quarter of a
 * page after a whole number of pages; then the same entry of up to four buffers has different
 * offsets. */
static inline ptrdiff_t fh_buffer_stride(ptrdiff_t n) { return (n + 1023) / 1024 * 1024 + 256; }

#endif
