/* Filters of a search: sets of ids as bits, and what rows they are.
 *
 * A set holds one bit for every number of a range: bit place % 64 of word place / 64. Ids need no
 * sorting to become a set, and a set gives its members in ascending order, each once.
 *
 * Where the ids of an index have gaps, a directory says which numbers are ids and how many of them
 * come before each word: the row of an id is found in constant time.
 */
#ifndef FASTHASH_FILTERS_H
#define FASTHASH_FILTERS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bits.h"

/* Adds one value to a set where it is in [first, first + span). */
static inline void fh_add_one(int64_t value, int64_t first, uint64_t span, uint64_t *set)
{
    const uint64_t place = (uint64_t)value - (uint64_t)first;
    if (place < span)
        set[place >> 6] |= (uint64_t)1 << (place & 63);
}

/* Adds the values in [first, first + span) to a set.
 *
 * From four places of the values in turn: ascending values add to one word again and again, and a
 * word that was just written takes several cycles to read. */
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

/* How many members a set has. */
static inline int64_t fh_count_set(const uint64_t *set, ptrdiff_t n_words)
{
    int64_t n = 0;
    for (ptrdiff_t w = 0; w < n_words; w++)
        n += fh_count_bits(set[w]);
    return n;
}

/* before[w] = how many members come before word w. */
static inline void fh_count_before(const uint64_t *set, ptrdiff_t n_words, int64_t *before)
{
    int64_t n = 0;
    for (ptrdiff_t w = 0; w < n_words; w++) {
        before[w] = n;
        n += fh_count_bits(set[w]);
    }
}

/* Writes the rows of a set's members, ascending. Every member must be an id. `ids` and `before` are
 * the directory, NULL where a member's place is its row. */
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

/* out[i] = live[i], and the next of the flags where it is set: as many as live rows. */
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
