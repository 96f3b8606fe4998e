/* Portable level: xor and popcount in plain C11, one code at a time.
 *
 * Cost per code of W words: W loads and xors, 11 W operations that count the bits of every byte,
 * and a sum over the bytes, which takes two to five operations, one of them a multiplication.
 *
 * Overflow bound: a byte grows by at most 8 per word, so it stays below 256 for WORDS_PER_SUM
 * words.
 */
#include "simd.h"

#include <string.h>

enum { WORDS_PER_SUM = 31 };

static inline uint64_t load_word(const uint64_t *word)
{
    uint64_t value;
    memcpy(&value, word, sizeof value);
    return value;
}

/* Counts the bits of every byte. */
static inline uint64_t count_bytes(uint64_t word)
{
    word -= (word >> 1) & UINT64_C(0x5555555555555555);
    word = (word & UINT64_C(0x3333333333333333)) + ((word >> 2) & UINT64_C(0x3333333333333333));
    return (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
}

/* Distance over n_words <= WORDS_PER_SUM words. */
static inline int32_t sum_words(const uint64_t *query, const uint64_t *words, int32_t n_words)
{
    uint64_t bytes = 0;
    for (int32_t w = 0; w < n_words; w++)
        bytes += count_bytes(load_word(words + w) ^ query[w]);
    if (n_words <= 3) /* at most 192: the sum of the bytes fits in one */
        return (int32_t)((bytes * UINT64_C(0x0101010101010101)) >> 56);
    const uint64_t even = UINT64_C(0x00ff00ff00ff00ff);
    bytes = (bytes & even) + ((bytes >> 8) & even);
    return (int32_t)((bytes * UINT64_C(0x0001000100010001)) >> 48);
}

static inline void distances_of_width(const uint64_t *query, const uint64_t *tile, int32_t n,
                                      int32_t n_words, int32_t *distances)
{
    for (int32_t i = 0; i < n; i++) {
        const uint64_t *code = tile + (ptrdiff_t)i * n_words;
        int32_t total = 0, w = 0;
        for (; w + WORDS_PER_SUM < n_words; w += WORDS_PER_SUM)
            total += sum_words(query + w, code + w, WORDS_PER_SUM);
        distances[i] = total + sum_words(query + w, code + w, n_words - w);
    }
}

static void scalar_distances(const uint64_t *query, const uint64_t *tile, int32_t n,
                             int32_t n_words, int32_t *distances)
{
    /* If the width is a constant, the compiler unrolls the loop over words. */
    switch (n_words) {
    case 1: distances_of_width(query, tile, n, 1, distances); break;
    case 2: distances_of_width(query, tile, n, 2, distances); break;
    case 4: distances_of_width(query, tile, n, 4, distances); break;
    case 8: distances_of_width(query, tile, n, 8, distances); break;
    default: distances_of_width(query, tile, n, n_words, distances); break;
    }
}

static void scalar_minima(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                          int32_t block, int32_t *minima)
{
    int32_t some[FH_LONG_BLOCK];
    for (; n > 0; n -= block, tile += (ptrdiff_t)block * n_words) {
        const int32_t n_here = n < block ? n : block;
        scalar_distances(query, tile, n_here, n_words, some);
        int32_t smallest = some[0];
        for (int32_t i = 1; i < n_here; i++)
            smallest = some[i] < smallest ? some[i] : smallest;
        *minima++ = smallest;
    }
}

/* Keeps the distances that are below the bound, with their positions, and returns their number. */
static int32_t keep_below(int32_t n, int32_t bound, int32_t *positions, int32_t *distances)
{
    int32_t n_hits = 0;
    for (int32_t i = 0; i < n; i++) {
        /* Always written, but counted only if below the bound: there is no branch to mispredict.
         * The write position is never after i, so distances[i] is read before it is overwritten. */
        const int32_t d = distances[i];
        positions[n_hits] = i;
        distances[n_hits] = d;
        n_hits += d < bound;
    }
    return n_hits;
}

static int32_t scalar_scan(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                           int32_t bound, int32_t *positions, int32_t *distances)
{
    scalar_distances(query, tile, n, n_words, distances);
    return keep_below(n, bound, positions, distances);
}

/* Rows of whole words have the layout of this level's tiles. */
static int32_t scalar_scan_rows(const uint64_t *query, const uint8_t *codes, int32_t n,
                                ptrdiff_t n_bytes, int32_t bound, int32_t *positions,
                                int32_t *distances)
{
    return scalar_scan(query, (const uint64_t *)(const void *)codes, n, (int32_t)(n_bytes / 8),
                       bound, positions, distances);
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

/* Always written, but counted only if relevant: there is no branch to mispredict. */
int32_t fh_list_relevant_scalar(const uint64_t *query, const uint64_t *labels, int32_t n,
                                int32_t n_words, int32_t *positions)
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
        for (int32_t w = 0; w < n_words; w++)
            shared |= labels[(ptrdiff_t)i * n_words + w] & query[w];
        positions[n_relevant] = i;
        n_relevant += shared != 0;
    }
    return n_relevant;
}

/* The two tables of a byte are joined to one of 256 entries, for BYTES_JOINED bytes of all codes at
 * a time. */
enum { BYTES_JOINED = 16 };

/* Adds the distances over n_bytes <= BYTES_JOINED bytes of codes that lie code_bytes apart. */
static inline void add_weighted(const uint8_t *tables, const uint8_t *codes, int32_t n,
                                ptrdiff_t code_bytes, int32_t n_bytes, int32_t *distances)
{
    uint8_t joined[BYTES_JOINED][256];
    for (int32_t j = 0; j < n_bytes; j++, tables += 32)
        for (int high = 0; high < 16; high++)
            for (int low = 0; low < 16; low++)
                joined[j][16 * high + low] = (uint8_t)(tables[high] + tables[16 + low]);
    for (int32_t i = 0; i < n; i++, codes += code_bytes) {
        int32_t even = 0, odd = 0, j = 0;
        for (; j + 2 <= n_bytes; j += 2) {
            even += joined[j][codes[j]];
            odd += joined[j + 1][codes[j + 1]];
        }
        if (j < n_bytes)
            even += joined[j][codes[j]];
        distances[i] += even + odd;
    }
}

static int32_t scan_weighted(const uint8_t *tables, const uint8_t *tile, int32_t n, int32_t n_bytes,
                             int32_t bound, int32_t *positions, int32_t *distances)
{
    memset(distances, 0, (size_t)n * sizeof *distances);
    int32_t j = 0;
    /* If the number of bytes is a constant, the compiler unrolls the loop over them. */
    for (; j + BYTES_JOINED <= n_bytes; j += BYTES_JOINED)
        add_weighted(tables + 32 * (ptrdiff_t)j, tile + j, n, n_bytes, BYTES_JOINED, distances);
    if (n_bytes - j == 8)
        add_weighted(tables + 32 * (ptrdiff_t)j, tile + j, n, n_bytes, 8, distances);
    else if (j < n_bytes)
        add_weighted(tables + 32 * (ptrdiff_t)j, tile + j, n, n_bytes, n_bytes - j, distances);
    return keep_below(n, bound, positions, distances);
}

const fh_weights fh_scalar_weights = {
    .lanes = 1,
    .spread = 1,
    .prepare = NULL,
    .scan = scan_weighted,
};

static const fh_level level = {
    .name = "scalar",
    .lanes = 1,
    .counts_words = 0,
    .prepare = scalar_prepare,
    .distances = scalar_distances,
    .minima = scalar_minima,
    .scan = scalar_scan,
    .row_bytes = 8,
    .scan_rows = scalar_scan_rows,
    .list_relevant = fh_list_relevant_scalar,
    .weights = &fh_scalar_weights,
};

const fh_level *fh_level_scalar(void) { return &level; }
