/* The tables of a query with weights, for distances and for estimates of them; simd/simd.h defines
 * both.
 *
 * The entry of a table is rounded down to a multiple of a unit. So an estimate is at most
 *
 *     distance / unit, and at least distance / unit - number of look-ups
 *
 * and with a smaller unit fewer codes are found in vain. All entries of a chunk (of a code, if it has
 * few look-ups) are at most 255 in an estimate. So the unit is chosen so that 255 is the bound of the
 * query, or the mean of a chunk. The unit is 65536 / scale.
 */
#ifndef FASTHASH_WEIGHTS_H
#define FASTHASH_WEIGHTS_H

#include "bits.h"
#include "simd/simd.h"

#include <float.h>
#include <math.h>

/* The largest sum of the absolute weights of a byte, in steps. */
#define FH_BYTE_SUM 255

/* The same before they are rounded: each of the eight adds at most a half. */
#define FH_ROUNDED_BYTE_SUM 251

/* Rounds the n_bits weights of a query to multiples of a step, as fasthash.topk_weighted says, and
 * writes 8 * n_bytes of them. The step is *step times *largest. Returns 0; or -1 if a weight is not
 * finite, or the weights are so large that their sum may overflow. Whole numbers that fit are kept:
 * their step is 1. All is computed in a fixed order, so that the step is the same on every machine. */
static inline int fh_round_weights(const double *weights, int64_t n_bits, int64_t n_bytes,
                                   int16_t *rounded, double *largest, double *step)
{
    double most = 0, most_of_byte = 0, largest_of_byte = 0;
    int are_whole = 1;
    for (int64_t i = 0; i < n_bits; i++) {
        if (!isfinite(weights[i]))
            return -1;
        most = fmax(most, fabs(weights[i]));
        are_whole &= rint(weights[i]) == weights[i];
    }
    if (most > DBL_MAX / (double)(16 * n_bytes))
        return -1;
    /* A query whose weights are all zero stays zero. */
    const double unit = most == 0 ? 1 : most;
    for (int64_t start = 0; start < n_bits; start += 8) {
        double sum = 0, whole_sum = 0;
        for (int64_t i = start; i < start + 8 && i < n_bits; i++) {
            sum += fabs(weights[i] / unit);
            whole_sum += fabs(weights[i]);
        }
        most_of_byte = fmax(most_of_byte, sum);
        largest_of_byte = fmax(largest_of_byte, whole_sum);
    }
    if (are_whole && most > 0 && largest_of_byte <= FH_BYTE_SUM) {
        *largest = *step = 1;
        for (int64_t i = 0; i < 8 * n_bytes; i++)
            rounded[i] = (int16_t)(i < n_bits ? weights[i] : 0);
        return 0;
    }
    *largest = most;
    *step = most_of_byte / FH_ROUNDED_BYTE_SUM;
    for (int64_t i = 0; i < 8 * n_bytes; i++)
        rounded[i] = (int16_t)(i < n_bits ? rint(weights[i] / unit / (*step == 0 ? 1 : *step)) : 0);
    return 0;
}

/* The largest distance of a query: the sum of its weights without the signs. */
static inline int32_t fh_weighted_max(const int16_t *weights, int32_t n_bytes)
{
    int32_t sum = 0;
    for (ptrdiff_t i = 0; i < 8 * (ptrdiff_t)n_bytes; i++)
        sum += weights[i] < 0 ? -weights[i] : weights[i];
    return sum;
}

/* Writes the tables of a query for fh_weights.scan, 32 * n_bytes entries. */
static inline void fh_weighted_tables(const int16_t *weights, int32_t n_bytes, uint8_t *tables)
{
    for (ptrdiff_t nibble = 0; nibble < 2 * (ptrdiff_t)n_bytes; nibble++, weights += 4) {
        /* A positive weight differs from bit 0, a negative one from bit 1. */
        int32_t entry = 0;
        for (int bit = 0; bit < 4; bit++)
            entry += weights[bit] > 0 ? weights[bit] : 0;
        *tables = (uint8_t)entry;
        for (int bit = 0; bit < 4; bit++)
            for (int i = 0; i < 1 << bit; i++)
                tables[(1 << bit) + i] = (uint8_t)(tables[i] - weights[3 - bit]);
        tables += 16;
    }
}

static inline int32_t fh_estimate_look_ups(int bits, int32_t n_bytes)
{
    return (8 * n_bytes + bits - 1) / bits;
}

/* The weight of a bit of a look-up. */
static inline int32_t fh_estimate_weight(const int16_t *weights, int32_t n_bytes, int bits,
                                         int32_t look_up, int bit)
{
    const int32_t place = bits == 4 ? 8 * (look_up / 2) + 4 * (1 - look_up % 2) + bit
                                    : bits * look_up + bit;
    return place < 8 * n_bytes ? weights[place - place % 8 + 7 - place % 8] : 0;
}

/* A scale with which few of the near codes have more than 255 in a chunk: the mean of all codes is 255
 * in the chunk with the largest weights. */
static inline uint32_t fh_estimate_scale(const int16_t *weights, int32_t n_bytes, int bits)
{
    const int32_t n_look_ups = fh_estimate_look_ups(bits, n_bytes);
    uint32_t largest = 1;
    for (int32_t start = 0; start < n_look_ups; start += FH_ESTIMATE_CHUNK) {
        uint32_t sum = 0;
        for (int32_t l = start; l < start + FH_ESTIMATE_CHUNK && l < n_look_ups; l++)
            for (int bit = 0; bit < bits; bit++) {
                const int32_t weight = fh_estimate_weight(weights, n_bytes, bits, l, bit);
                sum += (uint32_t)(weight < 0 ? -weight : weight);
            }
        largest = sum > largest ? sum : largest;
    }
    const uint32_t scale = 2 * 255 * 65536u / largest;
    return scale < 65535 ? scale : 65535;
}

/* Writes the tables of a query. */
static inline void fh_estimate_tables(const int16_t *weights, int32_t n_bytes, int bits,
                                      uint32_t scale, uint8_t *tables)
{
    const int32_t n_look_ups = fh_estimate_look_ups(bits, n_bytes);
    for (int32_t l = 0; l < n_look_ups; l++) {
        uint16_t entries[64] = {0};
        for (int bit = 0; bit < bits; bit++) {
            const int32_t weight = fh_estimate_weight(weights, n_bytes, bits, l, bit);
            /* A positive weight differs from bit 0, a negative one from bit 1. */
            entries[0] = (uint16_t)(entries[0] + (weight > 0 ? weight : 0));
        }
        for (int bit = 0; bit < bits; bit++) {
            const int32_t weight = fh_estimate_weight(weights, n_bytes, bits, l, bit);
            for (int i = 0; i < 1 << bit; i++)
                entries[(1 << bit) + i] = (uint16_t)(entries[i] - weight);
        }
        for (int i = 0; i < 1 << bits; i++) {
            const uint16_t entry = (uint16_t)((uint32_t)entries[i] * scale >> 16);
            *tables++ = (uint8_t)(entry < FH_ESTIMATE_ENTRY_MAX ? entry : FH_ESTIMATE_ENTRY_MAX);
        }
    }
}

/* The largest estimate of a code that is nearer than the bound. */
static inline int32_t fh_estimate_limit(int32_t bound, uint32_t scale)
{
    const uint64_t limit = (uint64_t)(bound > 0 ? bound - 1 : 0) * scale >> 16;
    return limit < 65535 ? (int32_t)limit : 65535;
}

/* Lists the codes among `found` whose distance is below the bound, and returns their number. */
static inline int32_t fh_list_near(const fh_estimated *query, const uint8_t *tables,
                                   const uint8_t *codes, int32_t n, int32_t n_bytes, int32_t bound,
                                   int32_t *positions, int32_t *distances)
{
    int32_t n_hits = 0;
    for (int32_t f = 0; f < query->n_found; f++) {
        for (uint64_t left = query->found[f].codes; left != 0; left &= left - 1) {
            const int32_t i = query->found[f].first + fh_lowest_bit(left);
            if (i >= n)
                break;
            const uint8_t *code = codes + (ptrdiff_t)i * n_bytes;
            int32_t distance = 0;
            for (ptrdiff_t j = 0; j < n_bytes; j++)
                distance += tables[32 * j + code[j] / 16] + tables[32 * j + 16 + code[j] % 16];
            positions[n_hits] = i;
            distances[n_hits] = distance;
            n_hits += distance < bound;
        }
    }
    return n_hits;
}

#endif
