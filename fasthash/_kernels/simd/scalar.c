/* Portable level: xor and popcount in plain C11, one code at a time.
 *
 * Cost per code of W words: W loads, W xors and about 12 W operations for the popcount, which every
 * compiler we build with turns into vector code of the baseline instruction set for constant widths.
 */
#include "simd.h"

#include <string.h>

static inline uint64_t load_word(const uint64_t *word)
{
    uint64_t value;
    memcpy(&value, word, sizeof value);
    return value;
}

static inline int32_t popcount(uint64_t word)
{
    word -= (word >> 1) & UINT64_C(0x5555555555555555);
    word = (word & UINT64_C(0x3333333333333333)) + ((word >> 2) & UINT64_C(0x3333333333333333));
    word = (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (int32_t)((word * UINT64_C(0x0101010101010101)) >> 56);
}

static inline void distances_of_width(const uint64_t *query, const uint64_t *tile, int32_t n,
                                      int32_t n_words, int32_t *distances)
{
    for (int32_t i = 0; i < n; i++) {
        const uint64_t *code = tile + (ptrdiff_t)i * n_words;
        int32_t total = 0;
        for (int32_t w = 0; w < n_words; w++)
            total += popcount(load_word(code + w) ^ query[w]);
        distances[i] = total;
    }
}

static void scalar_distances(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                             int32_t *distances)
{
    /* A width known at compile time unrolls the loop over words. */
    switch (n_words) {
    case 1: distances_of_width(query, tile, n, 1, distances); break;
    case 2: distances_of_width(query, tile, n, 2, distances); break;
    case 4: distances_of_width(query, tile, n, 4, distances); break;
    case 8: distances_of_width(query, tile, n, 8, distances); break;
    default: distances_of_width(query, tile, n, n_words, distances); break;
    }
}

static int32_t scalar_scan(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                           int32_t bound, int32_t *positions, int32_t *distances)
{
    scalar_distances(query, tile, n, n_words, distances);
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

static void scalar_prepare(const uint8_t *codes, int32_t n, ptrdiff_t n_bytes, uint64_t *tile)
{
    const ptrdiff_t n_words = (n_bytes + 7) / 8;
    if (n_bytes == 8 * n_words) {
        memcpy(tile, codes, (size_t)(n * n_bytes));
        return;
    }
    for (int32_t i = 0; i < n; i++) {
        uint64_t *out = tile + i * n_words;
        out[n_words - 1] = 0;
        memcpy(out, codes + i * n_bytes, (size_t)n_bytes);
    }
}

static const fh_level level = {"scalar", 1, scalar_prepare, scalar_distances, scalar_scan};

const fh_level *fh_level_scalar(void) { return &level; }
