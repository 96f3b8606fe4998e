/* Multi-index hashing (Norouzi, Punjani, Fleet 2012): exact Hamming search in sub-linear time.
 *
 * A code is cut into m substrings, and each has a table from its value to the codes that have it.
 * Step r = a * m + j of a search probes all buckets of table j whose substring differs from the
 * query's in exactly a bits. After step r every code within distance r has been met: one not met
 * differs in more than a bits in the tables up to j and in at least a in the others, so in at least
 * (a + 1) * (j + 1) + a * (m - j - 1) = r + 1 bits.
 *
 * A code is met first at the smallest s_i * m + i, where s_i is how far its i-th substring is away.
 * So whether it was seen before is decided from the code alone, without a mark per code.
 *
 * Tables are direct-address: rows sorted by bucket, then by row. Narrow codes (at most 64 bits) are
 * copied in that order, without the substring that the bucket stands for, so that a bucket is read
 * from front to back. Wider codes are fetched by row, as m copies would cost more than they save.
 *
 * Cost is counted in candidates: a code compared is 1, a bucket looked up FH_BUCKET_COST. Rows are
 * uint32 and n < 2^32; a key (distance << 32 | row) is uint64 and orders by (distance, row).
 *
 * All tables lie in one block of memory, which an index file stores as it is. Such a block may be
 * damaged, so a probe uses no bound and no row before it has compared it with n: damaged tables give
 * wrong answers, and no access outside of arrays.
 */
#ifndef FASTHASH_MULTI_INDEX_H
#define FASTHASH_MULTI_INDEX_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bits.h"
#include "keys.h"

/* A substring is at most this long: 2^24 bounds are 64 MiB. */
#define FH_SUBSTRING_BITS_MAX 24
#define FH_NARROW_BITS 64

#define FH_BUCKET_COST 24
/* Buckets whose bounds, then contents, are requested from memory before the first is read. */
#define FH_CHUNK 32
/* Codes requested by row before the first is compared. */
#define FH_FETCH 64

typedef struct {
    int32_t start; /* first bit of the substring, most significant first */
    int32_t length;
    int32_t shift;      /* of the substring in the word of a narrow code */
    int32_t rest_bytes; /* of the rest of a narrow code: ceil((n_bits - length) / 8); else -1 */
    uint32_t *bounds;   /* bucket b holds the positions [bounds[b], bounds[b + 1]) */
    uint32_t *rows;     /* by position */
    uint8_t *rests;     /* by position, little-endian, then 8 bytes to read past the end; or NULL */
} fh_table;

/* Arrays begin at multiples of this many bytes. */
#define FH_TABLE_ALIGNMENT 64

typedef struct {
    const uint8_t *codes;
    const uint32_t *places; /* where the code of each row lies; NULL if in the order of rows */
    int64_t n;
    ptrdiff_t n_bytes;
    int32_t n_bits;
    int32_t n_tables;
    fh_table *tables;
} fh_multi_index;

/* What a search has found so far: the k best as a max-heap, or with k = 0 all up to the bound. */
typedef struct {
    uint64_t *keys;
    int64_t n;
    int64_t capacity;
    int64_t k;
    int32_t bound;  /* larger distances are of no interest */
    int32_t failed; /* out of memory */
} fh_answer;

/* ---- words and bits -------------------------------------------------------------------------- */

static inline uint64_t fh_little_endian(uint64_t x)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

static inline uint64_t fh_load64(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return fh_little_endian(x);
}

static FH_ALWAYS_INLINE int32_t fh_bits_set(uint64_t x, int hardware)
{
#if defined(__GNUC__) || defined(__clang__)
    if (hardware)
        return __builtin_popcountll(x);
#else
    (void)hardware;
#endif
    return (int32_t)fh_count_bits(x);
}

static inline const uint8_t *fh_code_of(const fh_multi_index *index, int64_t row)
{
    return index->codes + (index->places == NULL ? row : index->places[row]) * index->n_bytes;
}

/* The bits [start, start + length) of a packed code, at most FH_SUBSTRING_BITS_MAX of them. */
static inline uint32_t fh_substring(const uint8_t *code, int32_t start, int32_t length)
{
    const int32_t last = (start + length - 1) / 8;
    uint32_t bits = 0;
    for (int32_t i = start / 8; i <= last; i++)
        bits = bits << 8 | code[i];
    return bits >> (8 * (last + 1) - start - length) & ((UINT32_C(1) << length) - 1);
}

/* A narrow code as a number: its last bit is bit 0. */
static inline uint64_t fh_word(const fh_multi_index *index, const uint8_t *code)
{
    uint64_t word = 0;
    for (ptrdiff_t i = 0; i < index->n_bytes; i++)
        word = word << 8 | code[i];
    return word >> (8 * index->n_bytes - index->n_bits);
}

/* A word without the substring, and back with zeros in its place. Two shifts each, as one of 64
 * would be undefined. */
static inline uint64_t fh_rest(const fh_table *table, uint64_t word)
{
    return word >> table->shift >> table->length << table->shift |
           (word & ((UINT64_C(1) << table->shift) - 1));
}

static inline uint64_t fh_spread(const fh_table *table, uint64_t rest)
{
    return rest >> table->shift << table->length << table->shift |
           (rest & ((UINT64_C(1) << table->shift) - 1));
}

/* ---- memory ---------------------------------------------------------------------------------- */

static inline int64_t fh_aligned(int64_t n_bytes)
{
    return (n_bytes + FH_TABLE_ALIGNMENT - 1) / FH_TABLE_ALIGNMENT * FH_TABLE_ALIGNMENT;
}

static inline int64_t fh_bounds_bytes(const fh_table *table)
{
    return fh_aligned((int64_t)sizeof *table->bounds * ((INT64_C(1) << table->length) + 1));
}

/* One row more than there are, so that an empty array has an address too. */
static inline int64_t fh_rows_bytes(int64_t n)
{
    return fh_aligned((int64_t)sizeof(uint32_t) * (n + 1));
}

static inline int64_t fh_rests_bytes(const fh_table *table, int64_t n)
{
    return table->rest_bytes < 0 ? 0 : fh_aligned(n * table->rest_bytes + 8);
}

/* Table j of n_tables over codes of n_bits, without memory; the first n_bits % n_tables substrings
 * are one bit longer than the others. */
static inline fh_table fh_table_of(int32_t n_bits, int32_t n_tables, int32_t j)
{
    const int32_t length = n_bits / n_tables, n_longer = n_bits % n_tables;
    fh_table table = {0};
    table.length = length + (j < n_longer);
    table.start = j * length + (j < n_longer ? j : n_longer);
    table.rest_bytes = -1;
    if (n_bits <= FH_NARROW_BITS) {
        table.shift = n_bits - table.start - table.length;
        table.rest_bytes = (n_bits - table.length + 7) / 8;
    }
    return table;
}

static inline int64_t fh_table_bytes(const fh_table *table, int64_t n)
{
    return fh_bounds_bytes(table) + fh_rows_bytes(n) + fh_rests_bytes(table, n);
}

/* Gives a table the first fh_table_bytes of `memory`. */
static inline void fh_table_place_in(fh_table *table, int64_t n, uint8_t *memory)
{
    table->bounds = (uint32_t *)memory;
    table->rows = (uint32_t *)(memory + fh_bounds_bytes(table));
    if (table->rest_bytes >= 0)
        table->rests = memory + fh_bounds_bytes(table) + fh_rows_bytes(n);
}

/* ---- building -------------------------------------------------------------------------------- */

static inline uint32_t fh_bucket_of(const fh_multi_index *index, const fh_table *table, int64_t row)
{
    return fh_substring(fh_code_of(index, row), table->start, table->length);
}

/* The rows of one table are sorted by bucket: a counting sort, O(n + 2^length). Counting and placing
 * go over rows [from, to) at a time, in order, so that a caller can stop in between. Buckets come in
 * no order, so the bounds of rows further on are requested from memory, and then the places they
 * name. */
static inline void fh_table_start(const fh_multi_index *index, const fh_table *table)
{
    memset(table->bounds, 0, (size_t)fh_bounds_bytes(table));
    /* What no code fills, so that the same codes always give the same bytes. */
    const int64_t rows = index->n * (int64_t)sizeof *table->rows;
    memset((uint8_t *)table->rows + rows, 0, (size_t)(fh_rows_bytes(index->n) - rows));
    if (table->rests != NULL) {
        const int64_t rests = index->n * table->rest_bytes;
        memset(table->rests + rests, 0, (size_t)(fh_rests_bytes(table, index->n) - rests));
    }
}

static inline void fh_table_count(const fh_multi_index *index, const fh_table *table, int64_t from,
                                  int64_t to)
{
    const int64_t ahead = FH_CHUNK / 2;
    uint32_t *bounds = table->bounds;
    for (int64_t row = from; row < to; row++) {
        if (row + ahead < to)
            FH_PREFETCH(bounds + fh_bucket_of(index, table, row + ahead));
        bounds[fh_bucket_of(index, table, row)]++;
    }
}

/* Turns counts into the place where each bucket starts. */
static inline void fh_table_sum(const fh_table *table)
{
    uint32_t total = 0;
    for (int64_t b = 0; b < INT64_C(1) << table->length; b++) {
        const uint32_t count = table->bounds[b];
        table->bounds[b] = total;
        total += count;
    }
}

static inline void fh_table_place(const fh_multi_index *index, const fh_table *table, int64_t from,
                                  int64_t to)
{
    const int64_t ahead = FH_CHUNK / 2;
    uint32_t *bounds = table->bounds;
    for (int64_t row = from; row < to; row++) {
        if (row + 2 * ahead < to)
            FH_PREFETCH(bounds + fh_bucket_of(index, table, row + 2 * ahead));
        if (row + ahead < to) {
            const uint32_t place = bounds[fh_bucket_of(index, table, row + ahead)];
            FH_PREFETCH(table->rows + place);
            if (table->rests != NULL)
                FH_PREFETCH(table->rests + (int64_t)place * table->rest_bytes);
        }
        const uint32_t place = bounds[fh_bucket_of(index, table, row)]++;
        table->rows[place] = (uint32_t)row;
        if (table->rests != NULL) {
            const uint8_t *code = fh_code_of(index, row);
            const uint64_t rest = fh_little_endian(fh_rest(table, fh_word(index, code)));
            memcpy(table->rests + (int64_t)place * table->rest_bytes, &rest,
                   (size_t)table->rest_bytes);
        }
    }
}

/* Every bound has moved on to the end of its bucket, which is where the next one starts. */
static inline void fh_table_finish(const fh_table *table)
{
    uint32_t *bounds = table->bounds;
    memmove(bounds + 1, bounds, ((size_t)1 << table->length) * sizeof *bounds);
    bounds[0] = 0;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Room for `more` keys; 0 where there is no memory. */
static inline int fh_answer_reserve(fh_answer *answer, int64_t more)
{
    if (answer->n + more <= answer->capacity)
        return 1;
    const int64_t capacity = answer->n + more + answer->capacity / 2;
    uint64_t *keys = (uint64_t *)realloc(answer->keys, (size_t)capacity * sizeof *keys);
    if (keys == NULL) {
        answer->failed = 1;
        return 0;
    }
    answer->keys = keys;
    answer->capacity = capacity;
    return 1;
}

static inline void fh_answer_add(fh_answer *answer, int32_t distance, uint32_t row)
{
    const uint64_t key = (uint64_t)distance << 32 | row;
    if (answer->k == 0) {
        if (fh_answer_reserve(answer, 1))
            answer->keys[answer->n++] = key;
    } else if (answer->n < answer->k) {
        answer->keys[answer->n++] = key;
        if (answer->n < answer->k)
            return;
        for (int64_t i = answer->n / 2 - 1; i >= 0; i--)
            fh_heap_sift(answer->keys, answer->n, i, answer->keys[i]);
        answer->bound = (int32_t)(answer->keys[0] >> 32);
    } else if (key < answer->keys[0]) {
        fh_heap_sift(answer->keys, answer->n, 0, key);
        answer->bound = (int32_t)(answer->keys[0] >> 32);
    }
}

#endif
