/* Search by lists: the candidates of a query, whose codes arrive in any order of rows; the codes of
 * a list, which are gathered; and the majority of the bits of codes.
 *
 * A list is a set of rows of the database, ascending. Its codes either lie one after the other, in
 * a copy, or are gathered from the database before they are compared.
 *
 * selection.h needs candidates in ascending order of position. Here lists come one after the other,
 * so a later candidate may have a smaller row than an earlier one at the same distance. Therefore a
 * candidate is a key (distance << 32 | row), a scan also reports codes at the distance of the k-th
 * candidate, and a heap keeps the k smallest keys, in any order of the lists. The candidates of a
 * query take a few cache lines, so those of many queries stay in the cache between two lists.
 */
#ifndef FASTHASH_PARTITIONS_H
#define FASTHASH_PARTITIONS_H

#include "bits.h"
#include "gather.h"
#include "keys.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    int64_t k;
    int64_t n; /* keys held, at most k; with k keys they are a heap whose first is the largest */
    int64_t n_seen; /* codes compared so far */
    /* Only codes with a smaller distance can still be among the k nearest. With k keys, it is the
     * distance of the k-th nearest + 1. */
    int32_t bound;
    uint64_t *keys; /* room for k */
} fh_candidates;

/* Only codes with a distance below `bound` can become candidates. */
static inline void fh_candidates_start(fh_candidates *c, int64_t k, int32_t bound, uint64_t *keys)
{
    c->k = k;
    c->n = c->n_seen = 0;
    c->bound = bound;
    c->keys = keys;
}

/* Appends hits of a scan with the bound; `rows` are the rows of the codes that were scanned. Hits
 * whose rows are not allowed are left out; `allowed` may be NULL. */
static inline void fh_candidates_append(fh_candidates *c, const uint32_t *rows,
                                        const uint8_t *allowed, int32_t n, const int32_t *positions,
                                        const int32_t *distances)
{
    for (int32_t i = 0; i < n; i++) {
        /* The bound has fallen since the scan; most hits end here, before memory is read. */
        if (distances[i] >= c->bound)
            continue;
        const uint32_t row = rows[positions[i]];
        const uint64_t key = (uint64_t)distances[i] << 32 | row;
        if (allowed != NULL && !allowed[row])
            continue;
        if (c->n < c->k) {
            c->keys[c->n++] = key;
            if (c->n < c->k)
                continue;
            for (int64_t j = c->n / 2 - 1; j >= 0; j--)
                fh_heap_sift(c->keys, c->n, j, c->keys[j]);
        } else if (key < c->keys[0]) {
            fh_heap_sift(c->keys, c->n, 0, key);
        } else {
            continue;
        }
        /* A code at this distance enters if its row is smaller, so it must pass the scan. */
        c->bound = (int32_t)(c->keys[0] >> 32) + 1;
    }
}

/* Sorts the keys held; nothing can be appended afterwards. `scratch` has room for k. */
static inline void fh_candidates_sort(fh_candidates *c, uint64_t *scratch)
{
    fh_sort_keys(c->keys, c->n, scratch);
}

/* Writes the k nearest by (distance, row); -1 where there are fewer. `scratch` has room for k. */
static inline void fh_candidates_finish(fh_candidates *c, uint64_t *scratch, int32_t *distances,
                                        int64_t *rows)
{
    fh_candidates_sort(c, scratch);
    for (int64_t i = 0; i < c->k; i++) {
        distances[i] = i < c->n ? (int32_t)(c->keys[i] >> 32) : -1;
        rows[i] = i < c->n ? (int64_t)(uint32_t)c->keys[i] : -1;
    }
}

/* Leaves only the rows of the keys held, ascending. There are at most n_rows of them, and `bits` has
 * room for a bit for each, in whole words. Nothing can be appended afterwards. */
static inline void fh_candidates_order_by_row(fh_candidates *c, int64_t n_rows, uint64_t *bits)
{
    const int64_t n_words = (n_rows + 63) / 64;
    memset(bits, 0, (size_t)n_words * sizeof *bits);
    for (int64_t i = 0; i < c->n; i++)
        bits[(uint32_t)c->keys[i] / 64] |= UINT64_C(1) << (c->keys[i] & 63);
    c->n = 0;
    for (int64_t w = 0; w < n_words; w++)
        for (uint64_t left = bits[w]; left; left &= left - 1)
            c->keys[c->n++] = (uint64_t)(64 * w + fh_lowest_bit(left));
}

/* The k-th smallest of n >= k values from 0 to `most`: the interval that has it is halved, without a
 * branch that depends on the values. */
static inline int32_t fh_kth_smallest(const int32_t *values, int64_t n, int64_t k, int32_t most)
{
    int32_t low = 0, high = most;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        int32_t n_within = 0;
        for (int64_t i = 0; i < n; i++)
            n_within += values[i] <= middle;
        const int is_within = n_within >= k;
        low = is_within ? low : middle + 1;
        high = is_within ? middle : high;
    }
    return low;
}

/* Rows are fetched this far ahead of being copied: so many reads of memory are under way. */
#define FH_ROWS_AHEAD 64

/* Fetches the beginning of each page of codes that lie one after the other and are scanned soon. The
 * processor fetches the rest of a page by itself, and faster: it has more reads under way. */
static inline void fh_fetch(const uint8_t *codes, ptrdiff_t n_bytes)
{
    for (ptrdiff_t page = 0; page < n_bytes; page += 4096)
        for (ptrdiff_t line = page; line < page + 192 && line < n_bytes; line += 64)
            FH_PREFETCH(codes + line);
}

/* Fetches the rows of codes of which many queries find some. */
static inline void fh_fetch_numbers(const uint32_t *rows, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16)
        FH_PREFETCH(rows + i);
}

/* Fetches the first codes of a list that is gathered soon. */
static inline void fh_fetch_rows(const uint8_t *codes, const uint32_t *rows, int64_t n,
                                 ptrdiff_t n_bytes)
{
    for (int64_t i = 0; i < n && i < FH_ROWS_AHEAD; i++)
        fh_fetch_code(codes + (ptrdiff_t)rows[i] * n_bytes, n_bytes);
}

static inline void fh_gather_of(const uint8_t *codes, const uint32_t *rows, int32_t n,
                                int32_t n_listed, ptrdiff_t n_bytes, uint8_t *out)
{
    for (int32_t i = 0; i < n; i++) {
        if (i + FH_ROWS_AHEAD < n_listed)
            fh_fetch_code(codes + (ptrdiff_t)rows[i + FH_ROWS_AHEAD] * n_bytes, n_bytes);
        memcpy(out + i * n_bytes, codes + (ptrdiff_t)rows[i] * n_bytes, (size_t)n_bytes);
    }
}

/* Copies the codes of n rows to `out`; n_listed >= n rows are listed, and the later ones are
 * fetched already. */
static inline void fh_gather(const uint8_t *codes, const uint32_t *rows, int32_t n,
                             int32_t n_listed, ptrdiff_t n_bytes, uint8_t *out)
{
    switch (n_bytes) { /* common widths as constants */
    case 8: fh_gather_of(codes, rows, n, n_listed, 8, out); break;
    case 16: fh_gather_of(codes, rows, n, n_listed, 16, out); break;
    case 32: fh_gather_of(codes, rows, n, n_listed, 32, out); break;
    case 64: fh_gather_of(codes, rows, n, n_listed, 64, out); break;
    case 128: fh_gather_of(codes, rows, n, n_listed, 128, out); break;
    default: fh_gather_of(codes, rows, n, n_listed, n_bytes, out); break;
    }
}

/* Sets each bit of `out` to the value that more of the codes have, and where both are equally
 * frequent to that of `before`.
 *
 * Bits are counted 64 at a time: plane p has bit p of 64 counts, and to count a word is to add it to
 * the planes with carries. Then the counts are compared with n / 2, from the highest plane on. */
static inline void fh_majority(const uint8_t *codes, const uint32_t *rows, int64_t n,
                               ptrdiff_t n_bytes, const uint8_t *before, uint8_t *out)
{
    enum { N_PLANES = 33 }; /* there are less than 2**32 rows */
    for (ptrdiff_t byte = 0; byte < n_bytes; byte += 8) {
        const size_t n_here = n_bytes - byte < 8 ? (size_t)(n_bytes - byte) : 8;
        uint64_t planes[N_PLANES] = {0}, more = 0, equal = ~(uint64_t)0, as_before = 0;
        for (int64_t i = 0; i < n; i++) {
            const uint8_t *code = codes + (ptrdiff_t)rows[i] * n_bytes + byte;
            uint64_t carry = 0;
            if (n_here == 8)
                memcpy(&carry, code, 8);
            else
                memcpy(&carry, code, n_here);
            for (int p = 0; carry; p++) {
                const uint64_t both = planes[p] & carry;
                planes[p] ^= carry;
                carry = both;
            }
        }
        for (int p = N_PLANES - 1; p >= 0; p--) {
            const uint64_t half = n / 2 >> p & 1 ? ~(uint64_t)0 : 0;
            more |= equal & planes[p] & ~half;
            equal &= ~(planes[p] ^ half);
        }
        memcpy(&as_before, before + byte, n_here);
        if (n % 2 == 0)
            more |= equal & as_before;
        memcpy(out + byte, &more, n_here);
    }
}

#endif
