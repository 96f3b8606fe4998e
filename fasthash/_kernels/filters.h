/* Filters of a search: sets of ids as bits, and the rows of these ids.
 *
 * A set has one bit for every number of a range: number `first + i` is bit i % 64 of word i / 64.
 * Ids need not be sorted to be added to a set, and a set lists its members in ascending order, each
 * once.
 *
 * If the ids of an index have gaps, a directory says which numbers are ids, and how many ids come
 * before each word. With it, the row of an id is found in constant time.
 */
#ifndef FASTHASH_FILTERS_H
#define FASTHASH_FILTERS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bits.h"

/* Adds one value to a set if it is in [first, first + span). */
static inline void fh_add_one(int64_t value, int64_t first, uint64_t span, uint64_t *set)
{
    const uint64_t place = (uint64_t)value - (uint64_t)first;
    if (place < span)
        set[place >> 6] |= (uint64_t)1 << (place & 63);
}

/* Adds the values in [first, first + span) to a set.
 *
 * It takes values from four places in turn. Ascending values would change the same word again and
 * again, and reading a word that was just written takes several cycles. */
static inline void fh_add_to_set(const int64_t *values, ptrdiff_t n, int64_t first, uint64_t span,
                                 uint64_t *set)
{
    const ptrdiff_t part = n / 4;
    for (ptrdiff_t i = 0; i < part; i++) {
        fh_add_one(values[i], first, span, set);
        fh_add_one(values[part + i], first, span, set);
        fh_add_one(values[2 * part + i], first, span, set);
        fh_add_one(values[3 * part + i], first, span, set);
    }
    for (ptrdiff_t i = 4 * part; i < n; i++)
        fh_add_one(values[i], first, span, set);
}

/* The number of members of a set. */
static inline int64_t fh_count_set(const uint64_t *set, ptrdiff_t n_words)
{
    int64_t n = 0;
    for (ptrdiff_t w = 0; w < n_words; w++)
        n += fh_count_bits(set[w]);
    return n;
}

/* Writes to before[w] the number of members before word w. */
static inline void fh_count_before(const uint64_t *set, ptrdiff_t n_words, int64_t *before)
{
    int64_t n = 0;
    for (ptrdiff_t w = 0; w < n_words; w++) {
        before[w] = n;
        n += fh_count_bits(set[w]);
    }
}

/* Writes the rows of a set's members, ascending. Every member must be an id. `ids` and `before` are
 * the directory, or NULL if all numbers of the range are ids: then bit i is row i. */
static inline void fh_list_set(const uint64_t *set, ptrdiff_t n_words, const uint64_t *ids,
                               const int64_t *before, int64_t *rows)
{
    for (ptrdiff_t w = 0; w < n_words; w++)
        for (uint64_t bits = set[w]; bits != 0; bits &= bits - 1)
            *rows++ = ids == NULL ? 64 * (int64_t)w + fh_lowest_bit(bits)
                                  : before[w] + fh_count_bits(ids[w] & ((bits & -bits) - 1));
}

/* Sets flags[row] for every member. Every member must be an id. */
static inline void fh_flag_set(const uint64_t *set, ptrdiff_t n_words, const uint64_t *ids,
                               const int64_t *before, uint8_t *flags)
{
    for (ptrdiff_t w = 0; w < n_words; w++)
        for (uint64_t bits = set[w]; bits != 0; bits &= bits - 1)
            flags[before[w] + fh_count_bits(ids[w] & ((bits & -bits) - 1))] = 1;
}

/* There is one flag for each live row. Writes to out[i] the flag of row i, or 0 if it is not live.
 * */
static inline void fh_spread_flags(const uint8_t *live, ptrdiff_t n, const uint8_t *flags,
                                   uint8_t *out)
{
    ptrdiff_t i = 0;
    while (i < n) {
        uint64_t eight = 0;
        if (n - i >= 8)
            memcpy(&eight, live + i, 8);
        if (eight == 0x0101010101010101u) {
            memcpy(out + i, flags, 8);
            flags += 8;
            i += 8;
            continue;
        }
        for (const ptrdiff_t end = n - i >= 8 ? i + 8 : n; i < end; i++) {
            out[i] = 0;
            if (live[i])
                out[i] = *flags++;
        }
    }
}

#endif
