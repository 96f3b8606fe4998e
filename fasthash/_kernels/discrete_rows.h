/* The discrete updates of one sample, for one floating type.

   discrete.h includes this file once per type, with FH_REAL and FH_ROW(name) defined; so it has no
   include guard. Every function takes O(bits) or O(labels of the sample x bits), on rows that are
   in the first-level cache. */

/* Replaces a prediction by max(prediction, 1) at the labels, and by min(prediction, 0) elsewhere;
   returns the sum of the squared changes. With y = 1 - x at the labels, both are min(y, 0). */
static inline double FH_ROW(fh_label_target)(FH_REAL *prediction, int64_t n_classes,
                                             const int32_t *labels, int64_t n_labels)
{
    for (int64_t k = 0; k < n_labels; k++)
        prediction[labels[k]] = 1 - prediction[labels[k]];
    FH_REAL change = 0;
    #pragma omp simd reduction(+ : change)
    for (int64_t j = 0; j < n_classes; j++) {
        FH_REAL y = prediction[j];
        FH_REAL excess = y > 0 ? y : 0;
        change += excess * excess;
        prediction[j] = y - excess;
    }
    for (int64_t k = 0; k < n_labels; k++)
        prediction[labels[k]] = 1 - prediction[labels[k]];
    return change;
}

/* fh_bit_target for n <= 4 bits; the compiler unrolls the loop where n is a constant. */
static inline FH_REAL FH_ROW(fh_few_bit_targets)(FH_REAL *restrict margins, const FH_REAL *signs,
                                                 int64_t n)
{
    FH_REAL missing[4] = {0, 0, 0, 0};
    for (int64_t j = 0; j < n; j++) {
        FH_REAL margin = signs[j] * margins[j];
        missing[j] = margin < 1 ? 1 - margin : 0;
        margins[j] = margin < 1 ? signs[j] : margins[j];
    }
    return (missing[0] * missing[0] + missing[1] * missing[1]) +
           (missing[2] * missing[2] + missing[3] * missing[3]);
}

/* Replaces margins by b max(1, b margins), bit by bit; returns the squared hinge loss, the sum of
   max(0, 1 - b margins)^2. */
static inline double FH_ROW(fh_bit_target)(FH_REAL *margins, const uint8_t *code, int64_t n_bits)
{
    FH_REAL loss = 0;
    for (int64_t start = 0; start < n_bits; start += 4) {
        const FH_REAL *signs = FH_ROW(fh_signs)[fh_four_bits(code, start)];
        if (n_bits - start >= 4)
            loss += FH_ROW(fh_few_bit_targets)(margins + start, signs, 4);
        else
            loss += FH_ROW(fh_few_bit_targets)(margins + start, signs, n_bits - start);
    }
    return loss;
}

/* Adds values / sqrt(number of labels) to votes[label], for every label of the sample. */
static inline void FH_ROW(fh_vote)(const FH_REAL *values, int64_t n_bits, const int32_t *labels,
                                   int64_t n_labels, double *votes)
{
    double weight = 1 / sqrt((double)n_labels);
    for (int64_t k = 0; k < n_labels; k++) {
        double *restrict row = votes + labels[k] * n_bits;
        for (int64_t j = 0; j < n_bits; j++)
            row[j] += weight * values[j];
    }
}

/* Adds eta times the code, as -1 or +1, to the sums. */
static inline void FH_ROW(fh_add_code)(FH_REAL *restrict sums, int64_t n_bits, const uint8_t *code,
                                       FH_REAL eta)
{
    int64_t start = 0;
    for (; start + 4 <= n_bits; start += 4) {
        const FH_REAL *signs = FH_ROW(fh_signs)[fh_four_bits(code, start)];
        for (int64_t j = 0; j < 4; j++)
            sums[start + j] += eta * signs[j];
    }
    for (int64_t j = start; j < n_bits; j++)
        sums[j] += eta * FH_ROW(fh_signs)[fh_four_bits(code, start)][j - start];
}

/* latents = whitened - origin + (sum of the labels' rows) / sqrt(number of labels). */
static inline void FH_ROW(fh_add_label_rows)(FH_REAL *restrict latents,
                                             const FH_REAL *restrict whitened, int64_t n_bits,
                                             const FH_REAL *restrict origin, const int32_t *labels,
                                             int64_t n_labels, const FH_REAL *label_rows)
{
    for (int64_t j = 0; j < n_bits; j++)
        latents[j] = whitened[j] - origin[j];
    FH_REAL weight = 1 / (FH_REAL)sqrt((double)n_labels);
    for (int64_t k = 0; k < n_labels; k++) {
        const FH_REAL *row = label_rows + labels[k] * n_bits;
        for (int64_t j = 0; j < n_bits; j++)
            latents[j] += weight * row[j];
    }
}

/* code = sign((sum of the labels' votes) / sqrt(number of labels) + eta latents). Returns the
   number of bits that changed, and adds the inner product of the code and the latents to
   *alignment. `sums` is scratch memory of n_bits values. */
static inline int64_t FH_ROW(fh_update_code)(const FH_REAL *latents, int64_t n_bits,
                                             const int32_t *labels, int64_t n_labels,
                                             const double *votes, double eta, double *restrict sums,
                                             uint8_t *code, double *alignment)
{
    for (int64_t j = 0; j < n_bits; j++)
        sums[j] = eta * latents[j];
    fh_add_votes(sums, n_bits, labels, n_labels, votes);
    int64_t changed = 0;
    for (int64_t start = 0; start < n_bits; start += 8) {
        unsigned byte = n_bits - start >= 8 ? fh_signs_to_byte(sums + start, 8)
                                            : fh_signs_to_byte(sums + start, n_bits - start);
        for (unsigned bits = byte ^ code[start / 8]; bits; bits &= bits - 1)
            changed++;
        code[start / 8] = (uint8_t)byte;
    }
    FH_REAL aligned[4] = {0, 0, 0, 0};
    int64_t start = 0;
    for (; start + 4 <= n_bits; start += 4) {
        const FH_REAL *signs = FH_ROW(fh_signs)[fh_four_bits(code, start)];
        for (int64_t j = 0; j < 4; j++)
            aligned[j] += signs[j] * latents[start + j];
    }
    for (int64_t j = start; j < n_bits; j++)
        aligned[0] += FH_ROW(fh_signs)[fh_four_bits(code, start)][j - start] * latents[j];
    *alignment += (aligned[0] + aligned[1]) + (aligned[2] + aligned[3]);
    return changed;
}
