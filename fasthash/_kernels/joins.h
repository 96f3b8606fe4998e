/* Tables for a join: all pairs of codes within a radius, found bucket by bucket.
 *
 * multi_index.h explains the substrings and the steps. A search probes its buckets for one query at a
 * time, and reads a bucket again for each query. A join sorts the codes by one substring, so the codes
 * of a bucket lie one after the other, and compares whole buckets. It holds one table at a time.
 *
 * Codes are stored as 64-bit words. The first bit of a code is the highest bit of its first word, so
 * that a substring is cut out by shifts. Bits after the last one are zero.
 */
#ifndef FASTHASH_JOINS_H
#define FASTHASH_JOINS_H

#include "multi_index.h"
#include "multi_index_probe.h"

/* Codes in the order of the buckets of one table, and of rows within a bucket. */
typedef struct {
    const uint8_t *codes;
    int64_t n;
    int64_t first_row; /* of the codes; a pair names first_row + row */
    uint32_t *bounds;  /* bucket b holds the positions [bounds[b], bounds[b + 1]) */
    uint32_t *rows;    /* by position */
    uint64_t *words;   /* by position */
} fh_side;

typedef struct {
    uint32_t first;
    uint32_t second;
    int32_t distance;
} fh_pair;

/* What one thread has found. */
typedef struct {
    fh_pair *pairs;
    int64_t n;
    int64_t capacity;
    int32_t failed; /* out of memory */
} fh_pairs;

/* The bits [start, start + length) of a code in words, 1 to 32 of them. */
static inline uint32_t fh_cut(const uint64_t *words, int32_t start, int32_t length)
{
    const int32_t shift = start % 64;
    uint64_t bits = words[start / 64] << shift;
    if (shift + length > 64)
        bits |= words[start / 64 + 1] >> (64 - shift);
    return (uint32_t)(bits >> (64 - length));
}

/* The first bit of a byte string becomes the highest bit of the first word. */
static inline void fh_write_words(const uint8_t *code, ptrdiff_t n_bytes, uint64_t *words)
{
    for (; n_bytes >= 8; n_bytes -= 8, code += 8)
        *words++ = (uint64_t)code[0] << 56 | (uint64_t)code[1] << 48 | (uint64_t)code[2] << 40 |
                   (uint64_t)code[3] << 32 | (uint64_t)code[4] << 24 | (uint64_t)code[5] << 16 |
                   (uint64_t)code[6] << 8 | code[7];
    if (n_bytes > 0) {
        uint64_t word = 0;
        for (ptrdiff_t i = 0; i < n_bytes; i++)
            word |= (uint64_t)code[i] << (56 - 8 * i);
        *words = word;
    }
}

/* ---- a counting sort by bucket, in parts of consecutive rows ----------------------------------- */

/* Part p counts its rows into counts[p * n_buckets + bucket]. */
static inline void fh_side_count(const fh_side *side, ptrdiff_t n_bytes, const fh_table *table,
                                 int64_t from, int64_t to, uint32_t *counts)
{
    const uint8_t *code = side->codes + from * n_bytes;
    for (int64_t row = from; row < to; row++, code += n_bytes)
        counts[fh_substring(code, table->start, table->length)]++;
}

/* Turns the counts of all parts into the place of the first row of each bucket and part. */
static inline void fh_side_sum(const fh_side *side, int64_t n_buckets, int64_t n_parts,
                               uint32_t *counts)
{
    uint32_t total = 0;
    for (int64_t b = 0; b < n_buckets; b++) {
        side->bounds[b] = total;
        for (int64_t p = 0; p < n_parts; p++) {
            const uint32_t count = counts[p * n_buckets + b];
            counts[p * n_buckets + b] = total;
            total += count;
        }
    }
    side->bounds[n_buckets] = total;
}

static inline void fh_side_place(const fh_side *side, ptrdiff_t n_bytes, int32_t n_words,
                                 const fh_table *table, int64_t from, int64_t to, uint32_t *places)
{
    const int64_t ahead = FH_CHUNK / 2;
    const uint8_t *code = side->codes + from * n_bytes;
    for (int64_t row = from; row < to; row++, code += n_bytes) {
        if (row + ahead < to) {
            const uint32_t bucket =
                fh_substring(code + ahead * n_bytes, table->start, table->length);
            FH_PREFETCH(side->rows + places[bucket]);
            FH_PREFETCH(side->words + (int64_t)places[bucket] * n_words);
        }
        const uint32_t place = places[fh_substring(code, table->start, table->length)]++;
        side->rows[place] = (uint32_t)row;
        fh_write_words(code, n_bytes, side->words + (int64_t)place * n_words);
    }
}

/* ---- pairs --------------------------------------------------------------------------------------- */

/* Whether a step before that of table j at radius a meets the codes x and y, which share a bucket
 * there. At radius 0, only tables before j can. */
static FH_ALWAYS_INLINE int fh_met_earlier(const fh_table *tables, int32_t n_tables,
                                           const uint64_t *x, const uint64_t *y, int32_t n_words,
                                           int32_t j, int32_t a, int hardware)
{
    const int32_t n = a == 0 ? j : n_tables;
    /* No branch per table, as nobody could predict it. */
    int met = 0;
    if (n_words == 1) {
        const uint64_t differing = *x ^ *y;
        for (int32_t i = 0; i < n; i++) {
            const uint64_t bits = differing << tables[i].start >> (64 - tables[i].length);
            met |= (i != j) & fh_meets_before(fh_bits_set(bits, hardware), i, a, j);
        }
        return met;
    }
    for (int32_t i = 0; i < n; i++) {
        const uint32_t bits = fh_cut(x, tables[i].start, tables[i].length) ^
                              fh_cut(y, tables[i].start, tables[i].length);
        met |= (i != j) & fh_meets_before(fh_bits_set(bits, hardware), i, a, j);
    }
    return met;
}

typedef int (*fh_met)(const fh_table *tables, int32_t n_tables, const uint64_t *x,
                      const uint64_t *y, int32_t n_words, int32_t j, int32_t a);

static inline int fh_met_portable(const fh_table *tables, int32_t n_tables, const uint64_t *x,
                                  const uint64_t *y, int32_t n_words, int32_t j, int32_t a)
{
    return fh_met_earlier(tables, n_tables, x, y, n_words, j, a, 0);
}

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
__attribute__((target("popcnt")))
#endif
static inline int fh_met_counting(const fh_table *tables, int32_t n_tables, const uint64_t *x,
                                  const uint64_t *y, int32_t n_words, int32_t j, int32_t a)
{
    return fh_met_earlier(tables, n_tables, x, y, n_words, j, a, 1);
}

/* The function that says whether a pair was met, for the level in use. */
static inline fh_met fh_met_of(int counts_words)
{
    return counts_words ? fh_met_counting : fh_met_portable;
}

static inline void fh_pairs_add(fh_pairs *found, uint32_t first, uint32_t second, int32_t distance)
{
    if (found->n == found->capacity) {
        const int64_t capacity = found->capacity + found->capacity / 2 + 1024;
        fh_pair *pairs = (fh_pair *)realloc(found->pairs, (size_t)capacity * sizeof *pairs);
        if (pairs == NULL) {
            found->failed = 1;
            return;
        }
        found->pairs = pairs;
        found->capacity = capacity;
    }
    fh_pair *pair = &found->pairs[found->n++];
    pair->first = first;
    pair->second = second;
    pair->distance = distance;
}

/* Counts the pairs whose first row is base + i, from <= i < to, in places[i]. */
static inline void fh_pairs_count(const fh_pairs *found, int64_t base, int64_t from, int64_t to,
                                  int64_t *places)
{
    for (int64_t i = 0; i < found->n; i++) {
        const int64_t row = (int64_t)found->pairs[i].first - base;
        if (row >= from && row < to)
            places[row]++;
    }
}

/* Writes second << 32 | distance of these pairs to the places of their first rows. */
static inline void fh_pairs_place(const fh_pairs *found, int64_t base, int64_t from, int64_t to,
                                  int64_t *places, uint64_t *keys)
{
    for (int64_t i = 0; i < found->n; i++) {
        const fh_pair *pair = &found->pairs[i];
        const int64_t row = (int64_t)pair->first - base;
        if (row >= from && row < to)
            keys[places[row]++] = (uint64_t)pair->second << 32 | (uint32_t)pair->distance;
    }
}

#endif
