/* Portable level: xor and popcount in plain C11, 64 bits at a time.
 *
 * Cost per code of W 64-bit words: W loads, W xors and about 12 W operations for the popcount, which
 * every compiler we build with vectorises for the widths given as constants.
 */
#include "simd.h"

#include <string.h>

static inline uint64_t load_word(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* The last n_bytes % 8 bytes as a word whose other bits are zero. */
static inline uint64_t load_tail(const uint8_t *bytes, ptrdiff_t n_bytes)
{
    uint64_t word = 0;
    memcpy(&word, bytes, (size_t)n_bytes);
    return word;
}

static inline int32_t popcount(uint64_t word)
{
    word -= (word >> 1) & UINT64_C(0x5555555555555555);
    word = (word & UINT64_C(0x3333333333333333)) + ((word >> 2) & UINT64_C(0x3333333333333333));
    word = (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (int32_t)((word * UINT64_C(0x0101010101010101)) >> 56);
}

static inline int32_t distance(const uint8_t *a, const uint8_t *b, ptrdiff_t n_bytes)
{
    int32_t total = 0;
    ptrdiff_t byte = 0;
    for (; byte + 8 <= n_bytes; byte += 8)
        total += popcount(load_word(a + byte) ^ load_word(b + byte));
    if (byte < n_bytes)
        total += popcount(load_tail(a + byte, n_bytes - byte) ^ load_tail(b + byte, n_bytes - byte));
    return total;
}

static inline void distances_of_width(const uint8_t *query, const uint8_t *codes, int32_t n,
                                      ptrdiff_t n_bytes, int32_t *distances)
{
    for (int32_t i = 0; i < n; i++)
        distances[i] = distance(query, codes + i * n_bytes, n_bytes);
}

static void scalar_distances(const uint8_t *query, const uint8_t *codes, int32_t n,
                             ptrdiff_t n_bytes, int32_t *distances)
{
    /* A width known at compile time unrolls the loop over words and drops the tail. */
    switch (n_bytes) {
    case 8: distances_of_width(query, codes, n, 8, distances); break;
    case 16: distances_of_width(query, codes, n, 16, distances); break;
    case 32: distances_of_width(query, codes, n, 32, distances); break;
    default: distances_of_width(query, codes, n, n_bytes, distances); break;
    }
}

static int32_t scalar_scan(const uint8_t *query, const uint8_t *codes, int32_t n, ptrdiff_t n_bytes,
                           int32_t bound, int32_t *positions, int32_t *distances)
{
    scalar_distances(query, codes, n, n_bytes, distances);
    int32_t n_hits = 0;
    for (int32_t i = 0; i < n; i++) {
        /* Written always, counted only when below the bound: no branch to mispredict. The write
         * position never passes i, so distances[i] is still unread when it is overwritten. */
        const int32_t d = distances[i];
        positions[n_hits] = i;
        distances[n_hits] = d;
        n_hits += d < bound;
    }
    return n_hits;
}

const fh_level fh_level_scalar = {"scalar", scalar_distances, scalar_scan};
