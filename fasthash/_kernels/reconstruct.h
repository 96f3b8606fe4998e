/* Reconstructs samples from their nearest anchors: the weights. reconstruct_rows.h chooses anchors.
 *
 * The weights w solve (C + g tr(C)/k I) w = 1, where C is the k x k Gram matrix of (anchor -
 * sample); they are clipped at 0 and scaled to sum 1. FH_LANES samples go through one Cholesky
 * factorisation together, one sample per lane. So the innermost loops have a fixed length, and
 * their steps do not depend on each other: the compiler turns them into vector instructions. The
 * result of a sample does not depend on the other samples.
 *
 * Cost per sample: for each anchor, a comparison to find a bound and a comparison with the bound;
 * (1.5 k)^2 comparisons of the remaining anchors; k^2 / 2 products of anchors read; k^3 / 6 + k^2
 * multiplications. Where rounding could change the result, n_features more multiplications for each
 * candidate or for each entry of C.
 */
#ifndef FASTHASH_RECONSTRUCT_H
#define FASTHASH_RECONSTRUCT_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "bits.h"

/* Doubles in a cache line. */
#define FH_LANES 8

/* Numbers of values that stay in registers: smallest scores of groups of anchors; and values for
   each of which smaller values are counted. */
#define FH_GROUPS 16
#define FH_COUNTED 8

/* The arguments that all samples share, and scratch memory of one thread. */
typedef struct {
    int64_t n_anchors;
    int64_t n_features;
    int64_t k;             /* 1 <= k <= n_anchors */
    double regularisation; /* > 0 */
    const double *gram;    /* n_anchors x n_anchors: products of the centred anchors */
    double largest_norm;   /* largest norm of the centred anchors */
    int64_t n_groups;      /* a multiple of FH_GROUPS, more than k */
    void *values;          /* 2 n_groups + FH_COUNTED, of any floating type */
    int32_t *candidates;   /* n_anchors */
    int32_t *nearest;      /* k + 1; the last entry is overwritten by anchors not chosen */
    double *distances;     /* k */
    double *differences;   /* k x n_features */
    double *local;         /* k (k + 1) / 2 entries of FH_LANES: C by rows, then its factor */
    double *weights;       /* k entries of FH_LANES */
} fh_reconstruction;

static inline int64_t fh_round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

/* Inserts a distance and its position into the sorted list of the `most` smallest, which has n
   entries. Among equal distances, the earlier one stays first. Returns the new number of
   entries. */
static inline int64_t fh_insert(double *distances, int32_t *positions, int64_t n, int64_t most,
                                double distance, int32_t position)
{
    if (n == most) {
        if (!(distance < distances[n - 1]))
            return n;
        n--;
    }
    int64_t i = n;
    for (; i > 0 && distance < distances[i - 1]; i--) {
        distances[i] = distances[i - 1];
        positions[i] = positions[i - 1];
    }
    distances[i] = distance;
    positions[i] = position;
    return n + 1;
}

static inline void fh_sort_positions(int32_t *positions, int64_t n)
{
    for (int64_t i = 1; i < n; i++) {
        const int32_t position = positions[i];
        int64_t j = i;
        for (; j > 0 && position < positions[j - 1]; j--)
            positions[j] = positions[j - 1];
        positions[j] = position;
    }
}

/* Where row i of a lower triangle begins. */
static inline int64_t fh_triangle(int64_t i) { return i * (i + 1) / 2; }

/* Scales the C of each lane to a mean diagonal of 1 and adds the regularisation. If all anchors
   equal the sample, C is zero; then it is replaced by the identity, and the weights are equal. The
   same happens if squares overflow. */
static inline void fh_regularise(const fh_reconstruction *r)
{
    double scale[FH_LANES] = {0};
    for (int64_t i = 0; i < r->k; i++)
        for (int lane = 0; lane < FH_LANES; lane++)
            scale[lane] += r->local[(fh_triangle(i) + i) * FH_LANES + lane];
    double diagonal[FH_LANES];
    for (int lane = 0; lane < FH_LANES; lane++) {
        const double inverse = (double)r->k / scale[lane];
        const int has_spread = scale[lane] > 0 && scale[lane] <= DBL_MAX && inverse <= DBL_MAX;
        scale[lane] = has_spread ? inverse : 0;
        diagonal[lane] = has_spread ? r->regularisation : 1;
        if (!has_spread)
            for (int64_t entry = 0; entry < fh_triangle(r->k); entry++)
                r->local[entry * FH_LANES + lane] = 0;
    }
    for (int64_t entry = 0; entry < fh_triangle(r->k); entry++)
        for (int lane = 0; lane < FH_LANES; lane++)
            r->local[entry * FH_LANES + lane] *= scale[lane];
    for (int64_t i = 0; i < r->k; i++)
        for (int lane = 0; lane < FH_LANES; lane++)
            r->local[(fh_triangle(i) + i) * FH_LANES + lane] += diagonal[lane];
}

/* Subtracts the product of two rows of n entries from `rest`. */
static inline void fh_subtract_product(double *restrict rest, const double *restrict a,
                                       const double *restrict b, int64_t n)
{
    double sum[FH_LANES];
    for (int lane = 0; lane < FH_LANES; lane++)
        sum[lane] = rest[lane];
    for (int64_t p = 0; p < n; p++)
        for (int lane = 0; lane < FH_LANES; lane++)
            sum[lane] -= a[p * FH_LANES + lane] * b[p * FH_LANES + lane];
    for (int lane = 0; lane < FH_LANES; lane++)
        rest[lane] = sum[lane];
}

/* Factors the regularised C of each lane, solves for the vector of ones, clips and normalises the
   weights. The factor stores the inverses of its diagonal. A pivot is at least the regularisation;
   if rounding made it smaller, it is raised to that, so no factorisation fails. The sum of the
   weights before clipping is a positive quadratic form, so at least one weight is positive. If
   rounding makes all of them 0, or if they overflow, the weights are equal. */
static inline void fh_solve(const fh_reconstruction *r)
{
    double *w = r->weights;
    for (int64_t i = 0; i < r->k; i++) {
        double *row = r->local + fh_triangle(i) * FH_LANES;
        for (int64_t j = 0; j < i; j++) {
            const double *other = r->local + fh_triangle(j) * FH_LANES;
            fh_subtract_product(row + j * FH_LANES, row, other, j);
            for (int lane = 0; lane < FH_LANES; lane++)
                row[j * FH_LANES + lane] *= other[j * FH_LANES + lane];
        }
        double *pivot = row + i * FH_LANES;
        for (int64_t p = 0; p < i; p++)
            for (int lane = 0; lane < FH_LANES; lane++)
                pivot[lane] -= row[p * FH_LANES + lane] * row[p * FH_LANES + lane];
        for (int lane = 0; lane < FH_LANES; lane++) {
            const double least = r->regularisation;
            pivot[lane] = 1 / sqrt(pivot[lane] > least ? pivot[lane] : least);
            w[i * FH_LANES + lane] = 1;
        }
        fh_subtract_product(w + i * FH_LANES, row, w, i);
        for (int lane = 0; lane < FH_LANES; lane++)
            w[i * FH_LANES + lane] *= pivot[lane];
    }
    double total[FH_LANES] = {0};
    for (int64_t i = r->k - 1; i >= 0; i--) {
        const double *row = r->local + fh_triangle(i) * FH_LANES;
        double *last = w + i * FH_LANES;
        for (int lane = 0; lane < FH_LANES; lane++)
            last[lane] *= row[i * FH_LANES + lane];
        for (int64_t p = 0; p < i; p++)
            for (int lane = 0; lane < FH_LANES; lane++)
                w[p * FH_LANES + lane] -= row[p * FH_LANES + lane] * last[lane];
        for (int lane = 0; lane < FH_LANES; lane++) {
            last[lane] = last[lane] > 0 ? last[lane] : 0;
            total[lane] += last[lane];
        }
    }
    double equal[FH_LANES];
    for (int lane = 0; lane < FH_LANES; lane++) {
        const int is_sum = total[lane] > 0 && total[lane] <= DBL_MAX;
        equal[lane] = is_sum ? 0 : 1 / (double)r->k;
        total[lane] = is_sum ? 1 / total[lane] : 0;
    }
    for (int64_t i = 0; i < r->k; i++)
        for (int lane = 0; lane < FH_LANES; lane++) {
            const double weight = w[i * FH_LANES + lane];
            w[i * FH_LANES + lane] = equal[lane] > 0 ? equal[lane] : weight * total[lane];
        }
}

#define FH_REAL float
#define FH_ROW(name) name##_float
#define FH_EPSILON FLT_EPSILON
#define FH_LEAST FLT_MIN
#define FH_MOST FLT_MAX
#include "reconstruct_rows.h"
#undef FH_REAL
#undef FH_ROW
#undef FH_EPSILON
#undef FH_LEAST
#undef FH_MOST

#define FH_REAL double
#define FH_ROW(name) name##_double
#define FH_EPSILON DBL_EPSILON
#define FH_LEAST DBL_MIN
#define FH_MOST DBL_MAX
#include "reconstruct_rows.h"
#undef FH_REAL
#undef FH_ROW
#undef FH_EPSILON
#undef FH_LEAST
#undef FH_MOST

#endif
