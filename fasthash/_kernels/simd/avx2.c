/* AVX2 level (Haswell, Zen and later): four codes in a register; bits are counted with a table.
 *
 * A byte shuffle looks up the bit counts of 32 nibbles at once. One table holds 4 + count for the
 * low nibbles, the other 4 - count for the high nibbles. The instruction that adds absolute
 * differences of bytes then gives the sum of both counts over a code. This takes 8 operations per
 * word of four codes, with the xor.
 *
 * Wider codes take fewer operations per word: full adders reduce seven words x0 ... x6 to three,
 * ones, twos and fours, before the tables. Codes and query are stored as running xors X[i] = x0 ^
 * ... ^ xi; the xor of the two is the running xor of the differences. Then the adder of X[i-2],
 * x[i-1] and xi needs no operation for its sum, which is X[i], and three operations for its carry,
 * X[i] ^ (X[i-1] | (X[i] ^ X[i-2])). Seven words take 41 operations instead of 56, and three words
 * 19 instead of 24.
 */
#include "simd.h"

#if (defined(__x86_64__) || defined(_M_X64))

#include "avx2.h"

#include <string.h>

enum { LANES = 4 };
typedef __m256i Distances, Bound;

/* The running xors of a query are kept on the stack. Codes of more words do not use them. */
enum { MIXED_WORDS_MAX = 512 };

/* Row m: the numbers of the 32-bit halves with the values of the 64-bit lanes set in m, in
 * order. */
static const int32_t compressed_halves[16][LANES] = {
    {0, 0, 0, 0}, {0, 0, 0, 0}, {2, 0, 0, 0}, {0, 2, 0, 0}, {4, 0, 0, 0}, {0, 4, 0, 0},
    {2, 4, 0, 0}, {0, 2, 4, 0}, {6, 0, 0, 0}, {0, 6, 0, 0}, {2, 6, 0, 0}, {0, 2, 6, 0},
    {4, 6, 0, 0}, {0, 4, 6, 0}, {2, 4, 6, 0}, {0, 2, 4, 6},
};

static INLINE __m256i broadcast(uint64_t word) { return _mm256_set1_epi64x((long long)word); }

/* --- running xors ----------------------------------------------------------------------------- */

/* The number of words that go through adders together next, counted from word 0 of a code.
 * sum_words follows the same rule: a sum has a whole number of sevens, or all the words that are
 * left. */
static inline int32_t block_words(int32_t n_left, int32_t n_words)
{
    if (n_words > MIXED_WORDS_MAX)
        return 1;
    return n_left >= 7 ? 7 : n_left >= 3 ? 3 : 1;
}

/* Of the first running xor of a block, only X[2] ^ X[0] is needed, so that is stored. */
static void mix_query(const uint64_t *query, int32_t n_words, uint64_t *mixed)
{
    for (int32_t w = 0, n_block; w < n_words; w += n_block) {
        n_block = block_words(n_words - w, n_words);
        mixed[w] = query[w];
        for (int32_t j = 1; j < n_block; j++)
            mixed[w + j] = mixed[w + j - 1] ^ query[w + j];
        if (n_block > 1)
            mixed[w] ^= mixed[w + 2];
    }
}

static INLINE void mix_group(uint64_t *group, int32_t n_words)
{
    for (int32_t w = 0, n_block; w < n_words; w += n_block) {
        n_block = block_words(n_words - w, n_words);
        if (n_block == 1)
            continue;
        __m256i *words = (__m256i *)(group + (ptrdiff_t)w * LANES);
        const __m256i first = load(words);
        __m256i running = first;
        for (int32_t j = 1; j < n_block; j++) {
            running = _mm256_xor_si256(running, load(words + j));
            _mm256_storeu_si256(words + j, running);
        }
        _mm256_storeu_si256(words, _mm256_xor_si256(first, load(words + 2)));
    }
}

/* --- distances -------------------------------------------------------------------------------- */

/* The carry of the adder whose sum is `sum`, from xors of its inputs. */
static INLINE __m256i carry(__m256i sum, __m256i one_pair, __m256i other_pair)
{
    return _mm256_xor_si256(sum, _mm256_or_si256(one_pair, other_pair));
}

#define WORD(j) _mm256_xor_si256(load(words + (j) * LANES), broadcast(query[j]))

static INLINE Sums add_one(Sums sums, const uint64_t *query, const uint64_t *words)
{
    return add_counts(sums, WORD(0), 1);
}

static INLINE Sums add_three(Sums sums, const uint64_t *query, const uint64_t *words)
{
    const __m256i x0 = WORD(0), x1 = WORD(1), x2 = WORD(2);
    return add_counts(add_counts(sums, x2, 1), carry(x2, x1, x0), 2);
}

static INLINE Sums add_seven(Sums sums, const uint64_t *query, const uint64_t *words)
{
    const __m256i x0 = WORD(0), x1 = WORD(1), x2 = WORD(2);
    const __m256i a = carry(x2, x1, x0);
    const __m256i x3 = WORD(3), x4 = WORD(4);
    const __m256i b = carry(x4, x3, _mm256_xor_si256(x4, x2));
    const __m256i x5 = WORD(5), x6 = WORD(6);
    const __m256i c = carry(x6, x5, _mm256_xor_si256(x6, x4));
    const __m256i ab = _mm256_xor_si256(a, b);
    const __m256i fours = _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(ab, c));
    sums = add_counts(sums, x6, 1);
    sums = add_counts(sums, _mm256_xor_si256(ab, c), 2);
    return add_counts(sums, fours, 4);
}

#undef WORD

/* Distances over at most WORDS_PER_SUM words. */
static INLINE __m256i sum_words(const uint64_t *query, const uint64_t *group, int32_t n_words,
                                int mixed)
{
    Sums sums = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    int32_t w = 0;
    if (mixed) {
        for (; w + 7 <= n_words; w += 7)
            sums = add_seven(sums, query + w, group + w * LANES);
        for (; w + 3 <= n_words; w += 3)
            sums = add_three(sums, query + w, group + w * LANES);
    }
    for (; w < n_words; w++)
        sums = add_one(sums, query + w, group + w * LANES);
    return _mm256_sad_epu8(sums.low, sums.high);
}

/* Distances of one whole group, as 64-bit lanes. */
static INLINE Distances group_distances(const uint64_t *query, const uint64_t *group,
                                        int32_t n_words)
{
    const int mixed = n_words <= MIXED_WORDS_MAX;
    if (n_words <= WORDS_PER_SUM)
        return sum_words(query, group, n_words, mixed);
    __m256i total = sum_words(query, group, WORDS_PER_SUM, mixed);
    for (int32_t w = WORDS_PER_SUM; w < n_words; w += WORDS_PER_SUM) {
        const int32_t n = n_words - w < WORDS_PER_SUM ? n_words - w : WORDS_PER_SUM;
        total =
            _mm256_add_epi64(total, sum_words(query + w, group + (ptrdiff_t)w * LANES, n, mixed));
    }
    return total;
}

static INLINE Bound bound_of(int32_t bound) { return broadcast((uint64_t)bound); }

/* Distances are below 2^31, so 32-bit minima and comparisons are right for 64-bit lanes. */
static INLINE Distances nearer(Distances a, Distances b) { return _mm256_min_epi32(a, b); }

static INLINE int any_nearer(Distances distances, Bound bound)
{
    const __m256i any = _mm256_cmpgt_epi32(bound, distances);
    return !_mm256_testz_si256(any, any);
}

static INLINE int32_t smallest(Distances distances)
{
    const __m128i two =
        _mm_min_epi32(_mm256_castsi256_si128(distances), _mm256_extracti128_si256(distances, 1));
    return _mm_cvtsi128_si32(_mm_min_epi32(two, _mm_unpackhi_epi64(two, two)));
}

static INLINE void write_pair(Distances a, Distances b, int32_t *out)
{
    const __m256i both = _mm256_blend_epi32(a, _mm256_slli_epi64(b, 32), 0xaa);
    _mm256_storeu_si256((__m256i *)out, _mm256_permutevar8x32_epi32(
                                            both, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7)));
}

static INLINE void write(Distances distances, int32_t *out)
{
    const __m256i halves = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    _mm_storeu_si128((__m128i *)out,
                     _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(distances, halves)));
}

static INLINE int32_t append(Distances distances, int32_t n, Bound bound, int32_t first,
                             int32_t n_hits, int32_t *positions, int32_t *out)
{
    const __m256i near = _mm256_cmpgt_epi64(bound, distances);
    int hits = _mm256_movemask_pd(_mm256_castsi256_pd(near));
    if (n < LANES)
        hits &= (1 << n) - 1;
    const __m128i halves = _mm_loadu_si128((const __m128i *)compressed_halves[hits]);
    const __m128i position = _mm_add_epi32(_mm_srli_epi32(halves, 1), _mm_set1_epi32(first));
    const __m256i compressed =
        _mm256_permutevar8x32_epi32(distances, _mm256_castsi128_si256(halves));
    _mm_storeu_si128((__m128i *)(positions + n_hits), position);
    _mm_storeu_si128((__m128i *)(out + n_hits), _mm256_castsi256_si128(compressed));
    return n_hits + _mm_popcnt_u32((unsigned)hits);
}

#define TARGET AVX2
#define READY(query, n_words)                                                                      \
    uint64_t mixed[MIXED_WORDS_MAX];                                                               \
    if (n_words > 2 && n_words <= MIXED_WORDS_MAX) {                                               \
        mix_query(query, n_words, mixed);                                                          \
        query = mixed;                                                                             \
    }

#include "tiles.h"

/* --- prepare ---------------------------------------------------------------------------------- */

/* Loads the word at `bytes`, of which n_left bytes belong to a row of n_bytes; the others become
 * zero. If the row does not fill the word but has at least 8 bytes, its last 8 bytes are loaded and
 * shifted. */
static inline uint64_t load_word(const uint8_t *bytes, ptrdiff_t n_left, ptrdiff_t n_bytes)
{
    uint64_t word = 0;
    if (n_left >= 8)
        memcpy(&word, bytes, 8);
    else if (n_bytes >= 8) {
        memcpy(&word, bytes + n_left - 8, 8);
        word >>= 64 - 8 * n_left;
    } else if (n_left >= 4) {
        uint32_t first, last;
        memcpy(&first, bytes, 4);
        memcpy(&last, bytes + n_left - 4, 4);
        word = first | (uint64_t)last << (8 * n_left - 32);
    } else
        for (ptrdiff_t j = 0; j < n_left; j++)
            word |= (uint64_t)bytes[j] << 8 * j;
    return word;
}

static INLINE void prefetch(const uint8_t *codes)
{
    _mm_prefetch((const char *)codes + PREFETCH_BYTES, _MM_HINT_T0);
}

/* Transposes four words of four codes. */
static INLINE void transpose_fours(const uint8_t *codes, ptrdiff_t n_bytes, uint64_t *group)
{
    for (int row = 0; row < LANES; row++)
        prefetch(codes + row * n_bytes);
    const __m256i a = load(codes), b = load(codes + n_bytes);
    const __m256i c = load(codes + 2 * n_bytes), d = load(codes + 3 * n_bytes);
    const __m256i ab_even = _mm256_unpacklo_epi64(a, b), ab_odd = _mm256_unpackhi_epi64(a, b);
    const __m256i cd_even = _mm256_unpacklo_epi64(c, d), cd_odd = _mm256_unpackhi_epi64(c, d);
    __m256i *words = (__m256i *)group;
    _mm256_storeu_si256(words, _mm256_permute2x128_si256(ab_even, cd_even, 0x20));
    _mm256_storeu_si256(words + 1, _mm256_permute2x128_si256(ab_odd, cd_odd, 0x20));
    _mm256_storeu_si256(words + 2, _mm256_permute2x128_si256(ab_even, cd_even, 0x31));
    _mm256_storeu_si256(words + 3, _mm256_permute2x128_si256(ab_odd, cd_odd, 0x31));
}

/* Transposes four codes of two words. */
static INLINE void transpose_pairs(const uint8_t *codes, uint64_t *group)
{
    const __m256i a = load(codes), b = load(codes + 32);
    prefetch(codes);
    __m256i *words = (__m256i *)group;
    _mm256_storeu_si256(words, _mm256_permute4x64_epi64(_mm256_unpacklo_epi64(a, b), 0xd8));
    _mm256_storeu_si256(words + 1, _mm256_permute4x64_epi64(_mm256_unpackhi_epi64(a, b), 0xd8));
}

/* Lays out n <= 4 codes of any width. */
static INLINE void prepare_group(const uint8_t *codes, int32_t n, ptrdiff_t n_bytes,
                                 uint64_t *group)
{
    ptrdiff_t start = 0;
    if (n == LANES)
        for (; start + 32 <= n_bytes; start += 32)
            transpose_fours(codes + start, n_bytes, group + start / 8 * LANES);
    for (; start < n_bytes; start += 8)
        for (int32_t lane = 0; lane < LANES; lane++)
            group[start / 8 * LANES + lane] =
                lane < n ? load_word(codes + lane * n_bytes + start, n_bytes - start, n_bytes) : 0;
}

AVX2 static void prepare(const uint8_t *codes, int32_t n, ptrdiff_t n_bytes, uint64_t *tile)
{
    const int32_t n_words = (int32_t)((n_bytes + 7) / 8);
    const ptrdiff_t group_words = (ptrdiff_t)n_words * LANES;
    int32_t i = 0;
    if (n_bytes == 16)
        for (; i + LANES <= n; i += LANES, codes += 64, tile += group_words)
            transpose_pairs(codes, tile);
    for (; i < n; i += LANES, codes += LANES * n_bytes, tile += group_words) {
        prepare_group(codes, n - i < LANES ? n - i : LANES, n_bytes, tile);
        mix_group(tile, n_words);
    }
}

/* --- labels ----------------------------------------------------------------------------------- */

/* For up to 64 classes, four rows at a time; else as the scalar level. */
AVX2 static int32_t list_relevant(const uint64_t *query, const uint64_t *labels, int32_t n,
                                  int32_t n_words, int32_t *positions)
{
    if (n_words != 1)
        return fh_list_relevant_scalar(query, labels, n, n_words, positions);
    const __m256i wanted = broadcast(query[0]), zero = _mm256_setzero_si256();
    int32_t n_relevant = 0, i = 0;
    for (; i + LANES <= n; i += LANES) {
        const __m256i missing =
            _mm256_cmpeq_epi64(_mm256_and_si256(load(labels + i), wanted), zero);
        const int relevant = _mm256_movemask_pd(_mm256_castsi256_pd(missing)) ^ 15;
        const __m128i halves = _mm_loadu_si128((const __m128i *)compressed_halves[relevant]);
        _mm_storeu_si128((__m128i *)(positions + n_relevant),
                         _mm_add_epi32(_mm_srli_epi32(halves, 1), _mm_set1_epi32(i)));
        n_relevant += _mm_popcnt_u32((unsigned)relevant);
    }
    for (; i < n; i++) {
        positions[n_relevant] = i;
        n_relevant += (labels[i] & query[0]) != 0;
    }
    return n_relevant;
}

#define LEVEL(level_name, level_planes)                                                            \
    {                                                                                              \
        .name = level_name,                                                                        \
        .lanes = LANES,                                                                            \
        .counts_words = 1,                                                                         \
        .prepare = prepare,                                                                        \
        .distances = distances,                                                                    \
        .minima = minima,                                                                          \
        .scan = scan,                                                                              \
        .row_bytes = 8,                                                                            \
        .scan_rows = fh_avx2_scan_rows,                                                            \
        .list_relevant = list_relevant,                                                            \
        .planes = level_planes,                                                                    \
        .weights = &fh_avx2_weights,                                                               \
    }
static const fh_level level = LEVEL("avx2", &fh_avx2_planes);
/* AVX-512 without VPOPCNTDQ (Skylake-X, Cascade Lake): wider registers help only bit planes. */
static const fh_level with_wide_planes = LEVEL("avx512bw", &fh_avx512bw_planes);

const fh_level *fh_level_avx2(void) { return &level; }
const fh_level *fh_level_avx512bw(void) { return &with_wide_planes; }

#else

const fh_level *fh_level_avx2(void) { return NULL; }
const fh_level *fh_level_avx512bw(void) { return NULL; }

#endif
