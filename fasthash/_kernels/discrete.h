/* One sample of AMSH's discrete updates: label targets, label votes, codes. The loops over samples
   and threads are in discrete.pyx. */
#ifndef FASTHASH_DISCRETE_H
#define FASTHASH_DISCRETE_H

#include <math.h>
#include <stdint.h>

/* sums += votes[label] / sqrt(number of labels), over the labels of a sample. */
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

/* The signs of n <= 8 sums as the first bits of a byte, 1 where >= 0: a sum of powers of two, which
   compilers turn into compares and masks of whole registers. */
static inline unsigned fh_signs_to_byte(const double *sums, int64_t n)
{
    static const double weights[8] = {128, 64, 32, 16, 8, 4, 2, 1};
    double even = 0, odd = 0;
    for (int64_t j = 0; j + 1 < n; j += 2) {
        even += sums[j] >= 0 ? weights[j] : 0;
        odd += sums[j + 1] >= 0 ? weights[j + 1] : 0;
    }
    if (n % 2)
        even += sums[n - 1] >= 0 ? weights[n - 1] : 0;
    return (unsigned)(int)(even + odd);
}

/* Four bits of a packed code as -1 or +1, most significant first. */
#define FH_FOUR_SIGNS                                                     \
    {                                                                     \
        {-1, -1, -1, -1}, {-1, -1, -1, 1}, {-1, -1, 1, -1}, {-1, -1, 1, 1}, \
        {-1, 1, -1, -1}, {-1, 1, -1, 1}, {-1, 1, 1, -1}, {-1, 1, 1, 1},     \
        {1, -1, -1, -1}, {1, -1, -1, 1}, {1, -1, 1, -1}, {1, -1, 1, 1},     \
        {1, 1, -1, -1}, {1, 1, -1, 1}, {1, 1, 1, -1}, {1, 1, 1, 1},         \
    }
static const float fh_signs_float[16][4] = FH_FOUR_SIGNS;
static const double fh_signs_double[16][4] = FH_FOUR_SIGNS;

static inline int fh_four_bits(const uint8_t *code, int64_t bit)
{
    return bit % 8 == 0 ? code[bit / 8] >> 4 : code[bit / 8] & 15;
}

/* sums += eta code, the code as -1 or +1. */
static inline void fh_add_code(double *restrict sums, int64_t n_bits, const uint8_t *code,
                               double eta)
{
    int64_t start = 0;
    for (; start + 4 <= n_bits; start += 4) {
        const double *signs = fh_signs_double[fh_four_bits(code, start)];
        for (int64_t j = 0; j < 4; j++)
            sums[start + j] += eta * signs[j];
    }
    for (int64_t j = start; j < n_bits; j++)
        sums[j] += eta * fh_signs_double[fh_four_bits(code, start)][j - start];
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

/* As fh_vote, from a packed code. `signs` is scratch of n_bits. */
static inline void fh_vote_code(const uint8_t *code, int64_t n_bits, const int32_t *labels,
                                int64_t n_labels, double *restrict signs, double *votes)
{
    for (int64_t j = 0; j < n_bits; j++)
        signs[j] = 0;
    fh_add_code(signs, n_bits, code, 1.0);
    fh_vote_double(signs, n_bits, labels, n_labels, votes);
}

#endif
