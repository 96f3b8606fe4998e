/* AVX2 level, one or two queries: rows as they lie in memory, 32 bytes of one code in a register.
 *
 * The counts of the four words of a register are not added up for each row. They are added up for
 * eight rows together, in registers of 32-bit lanes: a shift and an or, two unpack operations and
 * two additions for each four rows.
 */
#include "simd.h"

#if (defined(__x86_64__) || defined(_M_X64))

#include "avx2.h"

/* A mask of the words of a row in its last register; n_bytes is a multiple of 8. */
static INLINE __m256i last_words(ptrdiff_t n_bytes)
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
                                __m256i last)
{
    const Sums none = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    Sums sums = none;
    __m256i total = _mm256_setzero_si256();
    ptrdiff_t start = 0;
    for (; start + 32 < n_bytes; start += 32) {
        if (start % 64 == 0)
            _mm_prefetch((const char *)row + start + PREFETCH_BYTES, _MM_HINT_T0);
        sums = add_counts(sums, differing(query + start, row + start), 1);
        if (start % (32 * WORDS_PER_SUM) == 32 * (WORDS_PER_SUM - 1)) {
            total = _mm256_add_epi64(total, _mm256_sad_epu8(sums.low, sums.high));
            sums = none;
        }
    }
    if (start % 64 == 0)
        _mm_prefetch((const char *)row + start + PREFETCH_BYTES, _MM_HINT_T0);
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

/* Counts four registers, which begin every `step` bytes, and adds counts of neighbouring words. The
 * results are 32-bit lanes; those of register i are lanes i and 4 + i. */
static INLINE __m256i count_four(const uint8_t *query, const uint8_t *row, ptrdiff_t step,
                                 ptrdiff_t n_bytes, __m256i last)
{
    const __m256i a = count_row(query, row, n_bytes, last);
    const __m256i b = count_row(query, row + step, n_bytes, last);
    const __m256i c = count_row(query, row + 2 * step, n_bytes, last);
    const __m256i d = count_row(query, row + 3 * step, n_bytes, last);
    const __m256i ab = _mm256_or_si256(a, _mm256_slli_epi64(b, 32));
    const __m256i cd = _mm256_or_si256(c, _mm256_slli_epi64(d, 32));
    return _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
}

/* Distances of eight rows. */
static INLINE __m256i eight_rows(const uint8_t *query, const uint8_t *row, ptrdiff_t n_bytes,
                                 __m256i last)
{
    if (n_bytes == 16)
        return _mm256_permutevar8x32_epi32(count_four(query, row, 32, 32, last),
                                           _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    const __m256i a = count_four(query, row, n_bytes, n_bytes, last);
    const __m256i b = count_four(query, row + 4 * n_bytes, n_bytes, n_bytes, last);
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                            _mm256_permute2x128_si256(a, b, 0x31));
}

static INLINE int32_t scan_rows_of(const uint8_t *query, const uint8_t *codes, int32_t n,
                                   ptrdiff_t n_bytes, int32_t bound, int32_t *positions,
                                   int32_t *distances)
{
    const __m256i limit = _mm256_set1_epi32(bound), last = last_words(n_bytes);
    int32_t n_hits = 0, i = 0;
    for (; i + 8 <= n; i += 8, codes += 8 * n_bytes) {
        const __m256i distance = eight_rows(query, codes, n_bytes, last);
        const __m256i nearer = _mm256_cmpgt_epi32(limit, distance);
        if (!_mm256_testz_si256(nearer, nearer)) {
            int32_t lanes[8];
            _mm256_storeu_si256((__m256i *)lanes, distance);
            for (int32_t lane = 0; lane < 8; lane++) {
                positions[n_hits] = i + lane;
                distances[n_hits] = lanes[lane];
                n_hits += lanes[lane] < bound;
            }
        }
    }
    for (; i < n; i++, codes += n_bytes) {
        uint64_t words[4];
        _mm256_storeu_si256((__m256i *)words, count_row(query, codes, n_bytes, last));
        const int64_t distance = (int64_t)(words[0] + words[1] + words[2] + words[3]);
        positions[n_hits] = i;
        distances[n_hits] = (int32_t)distance;
        n_hits += distance < bound;
    }
    return n_hits;
}

AVX2 int32_t fh_avx2_scan_rows(const uint64_t *query, const uint8_t *codes, int32_t n,
                               ptrdiff_t n_bytes, int32_t bound, int32_t *positions,
                               int32_t *distances)
{
    /* A register holds two short rows, so it needs the query twice. */
    const uint64_t twice[4] = {query[0], query[1], query[0], query[1]};
#define SCAN(width)                                                                                \
    return scan_rows_of(n_bytes == 16 ? (const uint8_t *)twice : (const uint8_t *)query, codes, n, \
                        width, bound, positions, distances)
    switch (n_bytes) {
    case 16: SCAN(16);
    case 32: SCAN(32);
    case 64: SCAN(64);
    case 128: SCAN(128);
    default: SCAN(n_bytes);
    }
#undef SCAN
}

#endif
