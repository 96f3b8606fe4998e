/* AVX2 level, one or two queries: rows as they lie in memory; rows.h says how they are scanned. */
#include "simd.h"

#if (defined(__x86_64__) || defined(_M_X64))

#include "avx2.h"

typedef __m256i Last;

/* A mask of words; n_bytes is a multiple of 8. */
static INLINE Last last_of(ptrdiff_t n_bytes)
{
    const int64_t n_words = n_bytes % 32 == 0 ? 4 : n_bytes % 32 / 8;
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n_words), _mm256_setr_epi64x(0, 1, 2, 3));
}

static INLINE __m256i differing(const uint8_t *query, const uint8_t *row)
{
    return _mm256_xor_si256(load(row), load(query));
}

/* Counts the differing bits of a row, or of a register of short rows, for each of four words. */
static INLINE __m256i count_row(const uint8_t *query, const uint8_t *row, ptrdiff_t n_bytes,
                                Last last)
{
    const Sums none = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    Sums sums = none;
    __m256i total = _mm256_setzero_si256();
    ptrdiff_t start = 0;
    for (; start + 32 < n_bytes; start += 32) {
        sums = add_counts(sums, differing(query + start, row + start), 1);
        if (start % (32 * WORDS_PER_SUM) == 32 * (WORDS_PER_SUM - 1)) {
            total = _mm256_add_epi64(total, _mm256_sad_epu8(sums.low, sums.high));
            sums = none;
        }
    }
    if (n_bytes % 32 == 0)
        sums = add_counts(sums, differing(query + start, row + start), 1);
    else
        sums = add_counts(
            sums,
            _mm256_xor_si256(_mm256_maskload_epi64((const long long *)(row + start), last),
                             _mm256_maskload_epi64((const long long *)(query + start), last)),
            1);
    return _mm256_add_epi64(total, _mm256_sad_epu8(sums.low, sums.high));
}

#include "rows.h"

AVX2 int32_t fh_avx2_scan_rows(const uint64_t *query, const uint8_t *codes, int32_t n,
                               ptrdiff_t n_bytes, int32_t bound, int32_t *positions,
                               int32_t *distances)
{
    return scan_any_rows(query, codes, n, n_bytes, bound, positions, distances);
}

#endif
