/* Chooses the anchors of one sample and fills its lane, for one floating type.

   reconstruct.h includes this file once per type, with FH_REAL, FH_ROW(name), FH_EPSILON, FH_LEAST
   and FH_MOST defined; so it has no include guard.

   A score is |a|^2 - 2 a.x, the squared distance minus |x|^2, of an anchor and a sample relative to
   the mean anchor. It comes from a matrix product in FH_REAL, and its error has a bound. Anchors
   are chosen by their scores if the bound shows that the choice is right, else by differences in
   double. */

static inline double FH_ROW(fh_squared_norm)(const FH_REAL *x, int64_t n)
{
    double norm = 0;
    #pragma omp simd reduction(+ : norm)
    for (int64_t i = 0; i < n; i++)
        norm += (double)x[i] * (double)x[i];
    return norm;
}

static inline double FH_ROW(fh_squared_distance)(const FH_REAL *a, const FH_REAL *b, int64_t n)
{
    double distance = 0;
    #pragma omp simd reduction(+ : distance)
    for (int64_t i = 0; i < n; i++) {
        const double difference = (double)a[i] - (double)b[i];
        distance += difference * difference;
    }
    return distance;
}

/* Writes the k-th smallest of n values to kth[0] and the next one to kth[1]; n is a multiple of
   FH_COUNTED and larger than k. For every value it counts the smaller ones. These are n^2
   comparisons; n is small, so they take less time than the mispredicted branches of a sort. */
static inline void FH_ROW(fh_kth_smallest)(const FH_REAL *values, int64_t n, int64_t k,
                                           FH_REAL *kth)
{
    const FH_REAL n_smaller = (FH_REAL)k;
    FH_REAL first[FH_COUNTED], second[FH_COUNTED];
    for (int i = 0; i < FH_COUNTED; i++)
        first[i] = second[i] = -FH_MOST;
    for (int64_t start = 0; start < n; start += FH_COUNTED) {
        const FH_REAL *own = values + start;
        FH_REAL rank[FH_COUNTED] = {0};
        for (int64_t j = 0; j < n; j++) {
            #pragma omp simd
            for (int i = 0; i < FH_COUNTED; i++)
                rank[i] += values[j] < own[i] ? (FH_REAL)1 : (FH_REAL)0;
        }
        #pragma omp simd
        for (int i = 0; i < FH_COUNTED; i++) {
            const FH_REAL value = own[i];
            const FH_REAL a = rank[i] < n_smaller ? value : -FH_MOST;
            const FH_REAL b = rank[i] <= n_smaller ? value : -FH_MOST;
            first[i] = first[i] < a ? a : first[i];
            second[i] = second[i] < b ? b : second[i];
        }
    }
    kth[0] = first[0];
    kth[1] = second[0];
    for (int i = 1; i < FH_COUNTED; i++) {
        kth[0] = kth[0] < first[i] ? first[i] : kth[0];
        kth[1] = kth[1] < second[i] ? second[i] : kth[1];
    }
}

/* Returns a bound such that at least k anchors, but not many more, have a score of at most the
   bound. The anchors are divided into groups, at least 1.5 k of them. The bound is the k-th
   smallest of the smallest scores of the groups. */
static inline FH_REAL FH_ROW(fh_bound_kth_score)(const fh_reconstruction *r, const FH_REAL *scores)
{
    FH_REAL *least = r->values, kth[2];
    for (int64_t first = 0; first < r->n_groups; first += FH_GROUPS) {
        FH_REAL some[FH_GROUPS];
        for (int g = 0; g < FH_GROUPS; g++)
            some[g] = scores[first + g];
        int64_t start = first + r->n_groups;
        for (; start + FH_GROUPS <= r->n_anchors; start += r->n_groups) {
            #pragma omp simd
            for (int g = 0; g < FH_GROUPS; g++)
                some[g] = scores[start + g] < some[g] ? scores[start + g] : some[g];
        }
        for (int g = 0; g < r->n_anchors - start; g++)
            some[g] = scores[start + g] < some[g] ? scores[start + g] : some[g];
        for (int g = 0; g < FH_GROUPS; g++)
            least[first + g] = some[g];
    }
    FH_ROW(fh_kth_smallest)(least, r->n_groups, r->k, kth);
    return kth[0];
}

/* Returns a bit for each of 16 scores, the first one lowest: whether it is at most `limit`. The
   bits are added up in FH_REAL, which is exact and needs no conversion between types of different
   size. */
static inline uint64_t FH_ROW(fh_compare_16)(const FH_REAL *scores, FH_REAL limit)
{
    static const FH_REAL bits[16] = {1,   2,   4,    8,    16,   32,   64,    128,
                                     256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
    FH_REAL sum[4] = {0};
    for (int part = 0; part < 16; part += 4) {
        #pragma omp simd
        for (int i = 0; i < 4; i++) {
            const FH_REAL bit = bits[part + i];
            sum[i] += scores[part + i] <= limit ? bit : (FH_REAL)0;
        }
    }
    return (uint64_t)(int)((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/* Lists the anchors with a score of at most `limit`, ascending; returns their number. */
static inline int64_t FH_ROW(fh_find_candidates)(const fh_reconstruction *r,
                                                 const FH_REAL *restrict scores, FH_REAL limit)
{
    int64_t n_candidates = 0;
    for (int64_t start = 0; start < r->n_anchors; start += 64) {
        const FH_REAL *some = scores + start;
        const int64_t n = r->n_anchors - start < 64 ? r->n_anchors - start : 64;
        uint64_t bits = 0;
        int64_t j = 0;
        for (; j + 16 <= n; j += 16)
            bits |= FH_ROW(fh_compare_16)(some + j, limit) << j;
        for (; j < n; j++)
            bits |= (uint64_t)(some[j] <= limit) << j;
        for (; bits != 0; bits &= bits - 1)
            r->candidates[n_candidates++] = (int32_t)(start + fh_lowest_bit(bits));
    }
    return n_candidates;
}

/* Writes the k nearest anchors to r->nearest, ascending. They are chosen by scores if the k-th and
   the next score differ by more than rounding could explain. Otherwise they are chosen by
   differences, for which equal distances are equal, and the lower anchor comes first. */
static inline void FH_ROW(fh_choose)(const fh_reconstruction *r, const FH_REAL *scores,
                                     const FH_REAL *sample, const FH_REAL *anchors, double norm)
{
    const int64_t k = r->k, d = r->n_features;
    const double reach = (r->largest_norm + norm) * (r->largest_norm + norm);
    /* The error of a dot product of d terms is at most d roundings of the product of the lengths.
       The rest allows for centring, for the norms and for squares that underflow. */
    const double error = (double)(d + 8) * (FH_EPSILON / 2 * reach + FH_LEAST);
    int64_t n_candidates = r->n_anchors;
    /* If not, squares may have overflowed, or there are hardly more anchors than k. */
    if (reach < FH_MOST / 8 && r->n_groups < r->n_anchors) {
        /* The errors of two scores, and one more for the rounding of the limit itself. */
        const FH_REAL limit = (FH_REAL)(FH_ROW(fh_bound_kth_score)(r, scores) + 3 * error);
        n_candidates = FH_ROW(fh_find_candidates)(r, scores, limit);
        if (n_candidates <= 2 * r->n_groups) {
            FH_REAL *values = r->values, kth[2];
            for (int64_t c = 0; c < n_candidates; c++)
                values[c] = scores[r->candidates[c]];
            for (int i = 0; i < FH_COUNTED; i++)
                values[n_candidates + i] = FH_MOST;
            FH_ROW(fh_kth_smallest)(values, fh_round_up(n_candidates + 1, FH_COUNTED), k, kth);
            if (kth[1] - kth[0] > 2 * error) {
                int64_t n = 0;
                for (int64_t c = 0; c < n_candidates; c++) {
                    r->nearest[n] = r->candidates[c];
                    n += values[c] <= kth[0];
                }
                return;
            }
        }
    } else {
        for (int64_t j = 0; j < n_candidates; j++)
            r->candidates[j] = (int32_t)j;
    }
    int64_t n_held = 0;
    for (int64_t c = 0; c < n_candidates; c++) {
        const int32_t j = r->candidates[c];
        const double distance = FH_ROW(fh_squared_distance)(anchors + j * d, sample, d);
        n_held = fh_insert(r->distances, r->nearest, n_held, k, distance, j);
    }
    fh_sort_positions(r->nearest, k);
}

/* Computes the C of a lane from the products of the anchors and from the scores,
   C_ij = a_i.a_j - a_i.x - a_j.x + |x|^2.

   Returns 0, and does nothing, if too many digits would cancel. An error of a score changes the
   weights by about k times its ratio to the smallest eigenvalue, g tr(C) / k. This change must stay
   below half the digits of FH_REAL. It does, unless anchors and sample are much closer to each
   other than to the mean anchor: in float32 with k = 10 and g = .1, four times closer. This is an
   estimate, not a bound: it assumes that dot products, which BLAS adds up in partial sums, are
   right up to about one digit. */
static inline int FH_ROW(fh_fill_from_scores)(const fh_reconstruction *r, const FH_REAL *scores,
                                              double norm, int lane)
{
    const int64_t k = r->k;
    double *shifts = r->distances, trace = 0, largest = 0;
    for (int64_t i = 0; i < k; i++) {
        const double own = r->gram[r->nearest[i] * (r->n_anchors + 1)];
        const double score = (double)scores[r->nearest[i]];
        shifts[i] = (own - score - norm * norm) / 2;
        trace += score + norm * norm;
        largest = own > largest ? own : largest;
    }
    const double error =
        FH_EPSILON * (largest + sqrt(largest) * norm) + (double)r->n_features * FH_LEAST;
    const double eigenvalue = r->regularisation * trace / (double)k;
    if (!(largest + norm * norm < FH_MOST / 8) ||
        !(eigenvalue * sqrt(FH_EPSILON) >= (double)k * error))
        return 0;
    double *entry = r->local + lane;
    for (int64_t i = 0; i < k; i++) {
        const double *products = r->gram + r->nearest[i] * r->n_anchors;
        for (int64_t j = 0; j <= i; j++, entry += FH_LANES)
            *entry = products[r->nearest[j]] - shifts[i] - shifts[j];
    }
    return 1;
}

/* Computes the C of a lane from the differences (anchor - sample), in double. */
static inline void FH_ROW(fh_fill_from_differences)(const fh_reconstruction *r,
                                                    const FH_REAL *sample, const FH_REAL *anchors,
                                                    int lane)
{
    const int64_t d = r->n_features;
    double *entry = r->local + lane;
    for (int64_t i = 0; i < r->k; i++) {
        double *restrict row = r->differences + i * d;
        const FH_REAL *restrict anchor = anchors + r->nearest[i] * d;
        for (int64_t f = 0; f < d; f++)
            row[f] = (double)anchor[f] - (double)sample[f];
        for (int64_t j = 0; j <= i; j++, entry += FH_LANES) {
            const double *other = r->differences + j * d;
            double product = 0;
            #pragma omp simd reduction(+ : product)
            for (int64_t f = 0; f < d; f++)
                product += row[f] * other[f];
            *entry = product;
        }
    }
}

/* Reconstructs n <= FH_LANES samples. Rows of `samples`, as given, have n_features values. Rows of
   `centred`, relative to the mean anchor, begin every `stride` values. Rows of `scores` have
   n_anchors values, and rows of `indices` and `weights` have k. */
static inline void FH_ROW(fh_reconstruct)(const fh_reconstruction *r, int n, const FH_REAL *samples,
                                          const FH_REAL *anchors, const FH_REAL *centred,
                                          int64_t stride, const FH_REAL *scores, int32_t *indices,
                                          FH_REAL *weights)
{
    if (n < FH_LANES)
        memset(r->local, 0, (size_t)(fh_triangle(r->k) * FH_LANES) * sizeof *r->local);
    for (int lane = 0; lane < n; lane++) {
        const FH_REAL *sample = samples + lane * r->n_features;
        const FH_REAL *own_scores = scores + lane * r->n_anchors;
        const double norm = sqrt(FH_ROW(fh_squared_norm)(centred + lane * stride, r->n_features));
        FH_ROW(fh_choose)(r, own_scores, sample, anchors, norm);
        if (!FH_ROW(fh_fill_from_scores)(r, own_scores, norm, lane))
            FH_ROW(fh_fill_from_differences)(r, sample, anchors, lane);
        for (int64_t i = 0; i < r->k; i++)
            indices[lane * r->k + i] = r->nearest[i];
    }
    fh_regularise(r);
    fh_solve(r);
    for (int lane = 0; lane < n; lane++)
        for (int64_t i = 0; i < r->k; i++)
            weights[lane * r->k + i] = (FH_REAL)r->weights[i * FH_LANES + lane];
}
