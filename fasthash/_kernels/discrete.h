/* AMSH's discrete updates for one sample: label targets, label votes, codes. The loops over samples
   and threads are in discrete.pyx; discrete_rows.h has the functions for one floating type. */
#ifndef FASTHASH_DISCRETE_H
#define FASTHASH_DISCRETE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Adds votes[label] / sqrt(number of labels) to the sums, for each label of a sample. */
static inline void fh_add_votes(double *restrict sums, int64_t n_bits, const int32_t *labels,
                                int64_t n_labels, const double *votes)
{
    double weight = 1 / sqrt((double)n_labels);
    for (int64_t k = 0; k < n_labels; k++) {
        const double *row = votes + labels[k] * n_bits;
        for (int64_t j = 0; j < n_bits; j++)
            sums[j] += weight * row[j];
    }
}

/* The signs of n <= 8 sums as the first bits of a byte, 1 where >= 0. It reads the sign bits,
   because a comparison may become a branch, which would be mispredicted every other time. */
static inline unsigned fh_signs_to_byte(const double *sums, int64_t n)
{
    unsigned byte = 0;
    for (int64_t j = 0; j < n; j++) {
        /* Turns -0 into +0. */
        double sum = sums[j] + 0.0;
        uint64_t bits;
        memcpy(&bits, &sum, sizeof bits);
        byte |= (unsigned)(~bits >> 63) << (7 - j);
    }
    return byte;
}

/* Four bits of a packed code as -1 or +1, most significant first. */
#define FH_FOUR_SIGNS                                                                              \
    {                                                                                              \
        {-1, -1, -1, -1}, {-1, -1, -1, 1}, {-1, -1, 1, -1}, {-1, -1, 1, 1},                        \
        {-1, 1, -1, -1},  {-1, 1, -1, 1},  {-1, 1, 1, -1},  {-1, 1, 1, 1},                         \
        {1, -1, -1, -1},  {1, -1, -1, 1},  {1, -1, 1, -1},  {1, -1, 1, 1},                         \
        {1, 1, -1, -1},   {1, 1, -1, 1},   {1, 1, 1, -1},   {1, 1, 1, 1},                          \
    }
static const float fh_signs_float[16][4] = FH_FOUR_SIGNS;
static const double fh_signs_double[16][4] = FH_FOUR_SIGNS;

static inline int fh_four_bits(const uint8_t *code, int64_t bit)
{
    return bit % 8 == 0 ? code[bit / 8] >> 4 : code[bit / 8] & 15;
}

#define FH_REAL float
#define FH_ROW(name) name##_float
#include "discrete_rows.h"
#undef FH_REAL
#undef FH_ROW

#define FH_REAL double
#define FH_ROW(name) name##_double
#include "discrete_rows.h"
#undef FH_REAL
#undef FH_ROW

/* Like fh_vote, for a packed code. `signs` is scratch memory of n_bits values. */
static inline void fh_vote_code(const uint8_t *code, int64_t n_bits, const int32_t *labels,
                                int64_t n_labels, double *restrict signs, double *votes)
{
    for (int64_t j = 0; j < n_bits; j++)
        signs[j] = 0;
    fh_add_code_double(signs, n_bits, code, 1.0);
    fh_vote_double(signs, n_bits, labels, n_labels, votes);
}

#endif
