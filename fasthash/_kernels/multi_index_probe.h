/* The search over the tables of multi_index.h: steps, buckets, candidates.
 *
 * The body is written once and compiled twice on x86, with and without the popcnt instruction; the
 * instruction-set level in use says which runs.
 */
#ifndef FASTHASH_MULTI_INDEX_PROBE_H
#define FASTHASH_MULTI_INDEX_PROBE_H

#include "multi_index.h"

/* One query on its way through the tables. */
typedef struct {
    const fh_multi_index *index;
    const uint8_t *query;
    uint64_t word;          /* the query as a number, where codes are narrow */
    const uint32_t *keys;   /* its substring in every table */
    const uint8_t *allowed; /* nonzero for rows that may be found, or NULL for all */
    fh_answer *answer;
    int64_t cost;   /* so far; see FH_BUCKET_COST */
    int64_t budget; /* cost past which the caller would rather scan */
} fh_probe_state;

static FH_ALWAYS_INLINE int32_t fh_code_distance(const uint8_t *a, const uint8_t *b,
                                                 ptrdiff_t n_bytes, int hardware)
{
    int32_t distance = 0;
    ptrdiff_t i = 0;
    uint64_t x, y;
    for (; i + 8 <= n_bytes; i += 8) {
        memcpy(&x, a + i, 8);
        memcpy(&y, b + i, 8);
        distance += fh_bits_set(x ^ y, hardware);
    }
    if (i < n_bytes) {
        x = y = 0;
        memcpy(&x, a + i, (size_t)(n_bytes - i));
        memcpy(&y, b + i, (size_t)(n_bytes - i));
        distance += fh_bits_set(x ^ y, hardware);
    }
    return distance;
}

/* Whether table i meets a code, `away` bits from the query in its substring, before table j does at
 * radius a: away * m + i < a * m + j. */
static inline int fh_meets_before(int32_t away, int32_t i, int32_t a, int32_t j)
{
    return away < a + (i < j);
}

static FH_ALWAYS_INLINE void fh_offer(const fh_probe_state *s, int32_t distance, uint32_t row)
{
    if ((int64_t)row < s->index->n && (s->allowed == NULL || s->allowed[row]))
        fh_answer_add(s->answer, distance, row);
}

static FH_ALWAYS_INLINE void fh_offer_narrow(const fh_probe_state *s, int32_t j, int32_t a,
                                             uint64_t rest, int32_t distance, uint32_t row,
                                             int hardware)
{
    const fh_table *tables = s->index->tables;
    const uint64_t differing = fh_spread(&tables[j], rest);
    /* No branch per table, as nobody could predict it. Table j itself has zeros here. */
    int met = 0;
    for (int32_t i = 0; i < s->index->n_tables; i++) {
        const uint64_t mask = (UINT64_C(1) << tables[i].length) - 1;
        const int32_t away = fh_bits_set(differing >> tables[i].shift & mask, hardware);
        met |= (i != j) & fh_meets_before(away, i, a, j);
    }
    if (!met)
        fh_offer(s, distance, row);
}

static FH_ALWAYS_INLINE void fh_offer_wide(const fh_probe_state *s, int32_t j, int32_t a,
                                           int32_t distance, uint32_t row, int hardware)
{
    const fh_multi_index *index = s->index;
    const uint8_t *code = fh_code_of(index, row);
    for (int32_t i = 0; i < index->n_tables; i++) {
        const fh_table *table = &index->tables[i];
        if (i == j)
            continue;
        const uint32_t differing = s->keys[i] ^ fh_substring(code, table->start, table->length);
        if (fh_meets_before(fh_bits_set(differing, hardware), i, a, j))
            return;
    }
    fh_offer(s, distance, row);
}

/* Compares the codes at the positions [first, end) of a table with the query. */
static FH_ALWAYS_INLINE void fh_compare_narrow(const fh_probe_state *s, int32_t j, int32_t a,
                                               uint32_t first, uint32_t end, int hardware)
{
    const fh_table *table = &s->index->tables[j];
    const int64_t step = table->rest_bytes;
    const uint64_t query = fh_rest(table, s->word);
    const uint64_t mask = step == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * step) - 1;
    const uint8_t *rest = table->rests + first * step;
    int32_t bound = s->answer->bound;
    for (uint32_t position = first; position < end; position++, rest += step) {
        const uint64_t differing = (fh_load64(rest) & mask) ^ query;
        const int32_t distance = a + fh_bits_set(differing, hardware);
        if (distance > bound)
            continue;
        fh_offer_narrow(s, j, a, differing, distance, table->rows[position], hardware);
        bound = s->answer->bound;
    }
}

static FH_ALWAYS_INLINE void fh_compare_wide(const fh_probe_state *s, int32_t j, int32_t a,
                                             const uint32_t *rows, int32_t n, int hardware)
{
    const fh_multi_index *index = s->index;
    for (int32_t i = 0; i < n; i++) {
        const uint8_t *code = fh_code_of(index, rows[i]);
        const int32_t distance = fh_code_distance(code, s->query, index->n_bytes, hardware);
        if (distance <= s->answer->bound)
            fh_offer_wide(s, j, a, distance, rows[i], hardware);
    }
}

static FH_ALWAYS_INLINE void fh_fetch_and_compare(const fh_probe_state *s, int32_t j, int32_t a,
                                                  const uint32_t *first, const uint32_t *end,
                                                  int32_t n_buckets, int hardware)
{
    const fh_multi_index *index = s->index;
    uint32_t rows[FH_FETCH];
    int32_t n = 0;
    for (int32_t i = 0; i < n_buckets; i++) {
        for (uint32_t position = first[i]; position < end[i]; position++) {
            const uint32_t row = index->tables[j].rows[position];
            if ((int64_t)row >= index->n)
                continue;
            FH_PREFETCH(fh_code_of(index, row));
            rows[n++] = row;
            if (n == FH_FETCH) {
                fh_compare_wide(s, j, a, rows, n, hardware);
                n = 0;
            }
        }
    }
    fh_compare_wide(s, j, a, rows, n, hardware);
}

/* The next larger number with as many bits set (Gosper); 0 is followed by one past every length. */
static inline uint32_t fh_next_mask(uint32_t mask)
{
    if (mask == 0)
        return UINT32_C(1) << FH_SUBSTRING_BITS_MAX;
    const uint32_t lowest = mask & (~mask + 1), ripple = mask + lowest;
#if defined(__GNUC__) || defined(__clang__)
    return (ripple ^ mask) >> (2 + __builtin_ctz(mask)) | ripple;
#else
    return ((ripple ^ mask) >> 2) / lowest | ripple;
#endif
}

/* Probes all buckets of table j at radius a. Returns 0 where the budget does not allow it; what the
 * answer then holds is of no use. */
static FH_ALWAYS_INLINE int fh_step(fh_probe_state *s, int32_t j, int32_t a, int hardware)
{
    const fh_table *table = &s->index->tables[j];
    const int narrow = table->rests != NULL;
    uint32_t buckets[FH_CHUNK], first[FH_CHUNK], end[FH_CHUNK];
    uint32_t mask = (UINT32_C(1) << a) - 1;
    while (mask >> table->length == 0) {
        int32_t n = 0, n_filled = 0;
        for (; n < FH_CHUNK && mask >> table->length == 0; mask = fh_next_mask(mask)) {
            buckets[n] = s->keys[j] ^ mask;
            FH_PREFETCH(table->bounds + buckets[n]);
            n++;
        }
        s->cost += n * (int64_t)FH_BUCKET_COST;
        for (int32_t i = 0; i < n; i++) {
            const uint32_t from = table->bounds[buckets[i]], to = table->bounds[buckets[i] + 1];
            if (from >= to || (int64_t)to > s->index->n)
                continue;
            s->cost += to - from;
            first[n_filled] = from;
            end[n_filled++] = to;
            if (narrow) {
                FH_PREFETCH(table->rests + (int64_t)from * table->rest_bytes);
                FH_PREFETCH(table->rests + (int64_t)from * table->rest_bytes + 64);
            } else {
                FH_PREFETCH(table->rows + from);
            }
        }
        if (s->cost > s->budget)
            return 0;
        if (narrow) {
            for (int32_t i = 0; i < n_filled; i++)
                fh_compare_narrow(s, j, a, first[i], end[i], hardware);
        } else {
            fh_fetch_and_compare(s, j, a, first, end, n_filled, hardware);
        }
    }
    return 1;
}

/* What a step will cost if codes are spread evenly: bounded by 2^24 buckets and n < 2^32. */
static inline double fh_step_cost(const fh_multi_index *index, const fh_table *table, int32_t a)
{
    double buckets = 1;
    for (int32_t i = 0; i < a; i++)
        buckets = buckets * (table->length - i) / (i + 1);
    const double filled = (double)index->n / (double)(INT64_C(1) << table->length);
    return buckets * (FH_BUCKET_COST + filled);
}

/* What a probe returns: 0 where the budget ended it, else how it counted bits. */
enum { FH_PROBED_PORTABLY = 1, FH_PROBED_COUNTING = 2 };

/* Steps until nothing unseen can enter the answer, or the budget ends it. */
static FH_ALWAYS_INLINE int fh_probe_body(fh_probe_state *s, int32_t last_step, int hardware)
{
    const fh_multi_index *index = s->index;
    const fh_answer *answer = s->answer;
    for (int32_t step = 0; step <= last_step; step++) {
        const int32_t j = step % index->n_tables, a = step / index->n_tables;
        const fh_table *table = &index->tables[j];
        if (a <= table->length) {
            if ((double)s->cost + fh_step_cost(index, table, a) > (double)s->budget)
                return 0;
            if (!fh_step(s, j, a, hardware))
                return 0;
        }
        if (answer->k > 0 && answer->n == answer->k && answer->bound <= step)
            break;
    }
    return hardware ? FH_PROBED_COUNTING : FH_PROBED_PORTABLY;
}

static inline int fh_probe_portable(fh_probe_state *s, int32_t last_step)
{
    return fh_probe_body(s, last_step, 0);
}

#if (defined(__x86_64__) || defined(__i386__)) && (defined(__GNUC__) || defined(__clang__))
__attribute__((target("popcnt")))
#endif
static inline int fh_probe_counting(fh_probe_state *s, int32_t last_step)
{
    return fh_probe_body(s, last_step, 1);
}

/* Fills `answer` with what the steps up to last_step find among the allowed rows (NULL: all); `keys`
 * is room for n_tables numbers. `counts_words` is that of the level in use. Returns how it
 * probed, or 0 where it would cost more than the budget. */
static inline int fh_probe(const fh_multi_index *index, const uint8_t *query,
                           const uint8_t *allowed, int32_t last_step, int64_t budget,
                           uint32_t *keys, fh_answer *answer, int64_t *cost, int counts_words)
{
    fh_probe_state s = {index, query, 0, keys, allowed, answer, 0, budget};
    if (index->n_bits <= FH_NARROW_BITS)
        s.word = fh_word(index, query);
    for (int32_t j = 0; j < index->n_tables; j++)
        keys[j] = fh_substring(query, index->tables[j].start, index->tables[j].length);
    const int done = counts_words ? fh_probe_counting(&s, last_step)
                                  : fh_probe_portable(&s, last_step);
    *cost = s.cost;
    return done;
}

#endif
