/* Counting distances: int32, in order of id, into int64 counts, which cannot overflow.
 *
 * Cost per distance: one increment in memory, a cycle or a little more; where places are wanted,
 * half as much again.
 */
#ifndef FASTHASH_COUNTING_H
#define FASTHASH_COUNTING_H

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

/* Counts, and leaves in places[i] how many codes at its distance code i ends: itself and those
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

/* Places are written while distances a little ahead are read. A read at the same offset into a page
 * as a write just before waits for it, so buffers of n values lie this many values apart: a quarter
 * of a page past whole pages, and up to four of them keep their distance. */
static inline ptrdiff_t fh_apart(ptrdiff_t n) { return (n + 1023) / 1024 * 1024 + 256; }

#endif
