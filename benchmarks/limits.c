/* What this machine can do at best: popcount-and-compare without selection, and reading memory.
 *
 * Scans: xor, popcount and a compare with a bound over a tile that stays in the first-level cache,
 * word by word over as many codes as a register has lanes, many queries per tile. Nothing is
 * selected; the blocks with a hit are counted so that the work cannot be left out. The fastest way to
 * write this differs between processors, so every level comes in several variants: how many groups of
 * codes share one compare (their distances are joined by the minimum), and, with AVX2, whether
 * carry-save adders go before the popcount. limits.py times them all and takes the fastest.
 *
 * Readers: OR over a buffer with the widest loads, as one stream or as several, with and without
 * software prefetch.
 *
 * Targets are attributes of functions; the file is compiled without machine flags.
 */
#include <stdint.h>
#include <stddef.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define EXPORT __attribute__((visibility("default")))
#define MAX_WORDS 16

/* Blocks of `tile` in which some code is nearer than `bound`, summed over the queries. */
typedef int64_t (*scan_function)(const uint64_t *tile, int32_t n_codes, const uint64_t *queries,
                                 int32_t n_queries, int64_t bound);
/* OR of n_words 64-bit words, a multiple of 256. */
typedef uint64_t (*read_function)(const uint64_t *words, ptrdiff_t n_words);

/* The loop over queries around a level's scan; the width and the join are constants inside. */
#define DEFINE_SCAN(target, level, scan, words, join)                                              \
    target static int64_t scan##_##words##_##join(const uint64_t *tile, int32_t n_codes,           \
                                                  const uint64_t *queries, int32_t n_queries,      \
                                                  int64_t bound)                                   \
    {                                                                                              \
        int64_t hits = 0;                                                                          \
        for (int32_t q = 0; q < n_queries; q++)                                                    \
            hits += scan(tile, n_codes, queries + (ptrdiff_t)q * (words), words, join, bound);     \
        return hits;                                                                               \
    }
#define LIST_SCAN(target, level, scan, words, join)                                                \
    {#level, #scan " joined by " #join, words, scan##_##words##_##join},

#define JOINS(X, target, level, scan, words)                                                       \
    X(target, level, scan, words, 1)                                                               \
    X(target, level, scan, words, 2)                                                               \
    X(target, level, scan, words, 4)                                                               \
    X(target, level, scan, words, 8)
#define WIDTHS(X, target, level, scan)                                                             \
    JOINS(X, target, level, scan, 1)                                                               \
    JOINS(X, target, level, scan, 2)                                                               \
    JOINS(X, target, level, scan, 4)                                                               \
    JOINS(X, target, level, scan, 8)                                                               \
    JOINS(X, target, level, scan, 16)

#define DEFINE_READ(target, level, read, streams, ahead)                                           \
    target static uint64_t read##_##streams##_##ahead(const uint64_t *words, ptrdiff_t n_words)    \
    {                                                                                              \
        return read(words, n_words, streams, ahead);                                               \
    }
#define LIST_READ(target, level, read, streams, ahead)                                             \
    {#level, #streams " streams, prefetch " #ahead " bytes ahead", read##_##streams##_##ahead},
#define READS(X, target, level, read)                                                              \
    X(target, level, read, 1, 0)                                                                   \
    X(target, level, read, 1, 1024)                                                                \
    X(target, level, read, 1, 4096)                                                                \
    X(target, level, read, 4, 0)                                                                   \
    X(target, level, read, 4, 1024)

/* --- portable ---------------------------------------------------------------------------------- */

#define PORTABLE

INLINE uint64_t portable_popcount(uint64_t x)
{
    x -= (x >> 1) & UINT64_C(0x5555555555555555);
    x = (x & UINT64_C(0x3333333333333333)) + ((x >> 2) & UINT64_C(0x3333333333333333));
    x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (x * UINT64_C(0x0101010101010101)) >> 56;
}

/* Codes one after the other, `8 * join` to a compare. */
#define DEFINE_WORDWISE(target, scan, popcount)                                                    \
    target INLINE int64_t scan(const uint64_t *tile, int32_t n_codes, const uint64_t *query,       \
                               int n_words, int join, int64_t bound)                               \
    {                                                                                              \
        int64_t hits = 0;                                                                          \
        const int block = 8 * join;                                                                \
        for (int32_t i = 0; i < n_codes; i += block) {                                             \
            uint64_t nearest = UINT64_MAX;                                                         \
            for (int u = 0; u < block; u++, tile += n_words) {                                     \
                uint64_t distance = 0;                                                             \
                for (int w = 0; w < n_words; w++)                                                  \
                    distance += (uint64_t)popcount(tile[w] ^ query[w]);                            \
                nearest = distance < nearest ? distance : nearest;                                 \
            }                                                                                      \
            hits += (int64_t)nearest < bound;                                                      \
        }                                                                                          \
        return hits;                                                                               \
    }

DEFINE_WORDWISE(PORTABLE, shifts, portable_popcount)
WIDTHS(DEFINE_SCAN, PORTABLE, scalar, shifts)

INLINE uint64_t scalar_read(const uint64_t *words, ptrdiff_t n_words, int streams, int ahead)
{
    const ptrdiff_t part = n_words / streams;
    uint64_t total[4] = {0};
    for (ptrdiff_t i = 0; i < part; i += 8)
        for (int s = 0; s < streams; s++) {
            if (ahead)
                __builtin_prefetch((const char *)(words + s * part + i) + ahead);
            for (int w = 0; w < 8; w++)
                total[w & 3] |= words[s * part + i + w];
        }
    return total[0] | total[1] | total[2] | total[3];
}
READS(DEFINE_READ, PORTABLE, scalar, scalar_read)

#if defined(__x86_64__)

#include <immintrin.h>

/* The scalar instruction, which a portable build may not use: an upper bound all the same. */
#define POPCNT __attribute__((target("popcnt")))
DEFINE_WORDWISE(POPCNT, popcnt, __builtin_popcountll)
WIDTHS(DEFINE_SCAN, POPCNT, scalar, popcnt)

/* --- AVX2: four codes to a register ------------------------------------------------------------ */

#define AVX2 __attribute__((target("avx2,popcnt")))

/* Bits per byte, two table lookups. */
AVX2 INLINE __m256i avx2_byte_counts(__m256i x)
{
    const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1,
                                           2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i low = _mm256_and_si256(x, nibble);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble);
    return _mm256_add_epi8(_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high));
}

AVX2 INLINE __m256i avx2_word(const uint64_t *group, const __m256i *query, int w)
{
    return _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(group + 4 * w)), query[w]);
}

/* Bytes of the sum stay below 8 * 16 = 128, so one horizontal sum per group ends it. */
AVX2 INLINE __m256i avx2_plain_counts(const uint64_t *group, const __m256i *query, int n_words)
{
    __m256i counts = avx2_byte_counts(avx2_word(group, query, 0));
    for (int w = 1; w < n_words; w++)
        counts = _mm256_add_epi8(counts, avx2_byte_counts(avx2_word(group, query, w)));
    return counts;
}

/* Full adder on every bit: a + b + *sum = 2 * result + *sum. */
AVX2 INLINE __m256i avx2_carry(__m256i *sum, __m256i a, __m256i b)
{
    const __m256i either = _mm256_xor_si256(a, b);
    const __m256i carry = _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(either, *sum));
    *sum = _mm256_xor_si256(either, *sum);
    return carry;
}

AVX2 INLINE __m256i avx2_twice(__m256i x) { return _mm256_add_epi8(x, x); }

/* Seven words become ones, twos and fours, at five operations a word instead of seven. */
AVX2 INLINE __m256i avx2_sum_seven(const uint64_t *group, const __m256i *query, int w,
                                   __m256i *ones, __m256i *twos)
{
    const __m256i a = avx2_carry(ones, avx2_word(group, query, w), avx2_word(group, query, w + 1));
    const __m256i b =
        avx2_carry(ones, avx2_word(group, query, w + 2), avx2_word(group, query, w + 3));
    const __m256i c =
        avx2_carry(ones, avx2_word(group, query, w + 4), avx2_word(group, query, w + 5));
    *twos = c;
    return avx2_carry(twos, a, b);
}

AVX2 INLINE __m256i avx2_saved_counts(const uint64_t *group, const __m256i *query, int n_words)
{
    __m256i ones, twos, fours, counts;
    if (n_words == 4) {
        ones = avx2_word(group, query, 0);
        twos = avx2_carry(&ones, avx2_word(group, query, 1), avx2_word(group, query, 2));
        counts = _mm256_add_epi8(avx2_byte_counts(ones), avx2_twice(avx2_byte_counts(twos)));
        return _mm256_add_epi8(counts, avx2_byte_counts(avx2_word(group, query, 3)));
    }
    ones = avx2_word(group, query, 0);
    fours = avx2_sum_seven(group, query, 1, &ones, &twos);
    if (n_words == 8) {
        counts = _mm256_add_epi8(avx2_byte_counts(twos), avx2_twice(avx2_byte_counts(fours)));
        counts = _mm256_add_epi8(avx2_byte_counts(ones), avx2_twice(counts));
        return _mm256_add_epi8(counts, avx2_byte_counts(avx2_word(group, query, 7)));
    }
    /* Fifteen words: eight more with their own twos and fours, the ones carried on. */
    __m256i more_twos;
    const __m256i more_fours = avx2_sum_seven(group, query, 7, &ones, &more_twos);
    const __m256i last_twos =
        avx2_carry(&ones, avx2_word(group, query, 13), avx2_word(group, query, 14));
    const __m256i last_fours = avx2_carry(&twos, more_twos, last_twos);
    const __m256i eights = avx2_carry(&fours, more_fours, last_fours);
    counts = _mm256_add_epi8(avx2_byte_counts(fours), avx2_twice(avx2_byte_counts(eights)));
    counts = _mm256_add_epi8(avx2_byte_counts(twos), avx2_twice(counts));
    counts = _mm256_add_epi8(avx2_byte_counts(ones), avx2_twice(counts));
    return _mm256_add_epi8(counts, avx2_byte_counts(avx2_word(group, query, 15)));
}

#define DEFINE_AVX2(scan, counts)                                                                  \
    AVX2 INLINE int64_t scan(const uint64_t *tile, int32_t n_codes, const uint64_t *query,         \
                             int n_words, int join, int64_t bound)                                 \
    {                                                                                              \
        __m256i words[MAX_WORDS];                                                                  \
        for (int w = 0; w < n_words; w++)                                                          \
            words[w] = _mm256_set1_epi64x((long long)query[w]);                                    \
        const __m256i zero = _mm256_setzero_si256(), limit = _mm256_set1_epi64x(bound);            \
        int64_t hits = 0;                                                                          \
        for (int32_t i = 0; i < n_codes; i += 4 * join) {                                          \
            __m256i nearest = _mm256_sad_epu8(counts(tile, words, n_words), zero);                 \
            tile += 4 * n_words;                                                                   \
            for (int u = 1; u < join; u++, tile += 4 * n_words)                                    \
                nearest = _mm256_min_epi32(nearest,                                                \
                                           _mm256_sad_epu8(counts(tile, words, n_words), zero));   \
            /* Upper halves are zero on both sides, so 32-bit lanes compare the 64-bit ones. */    \
            hits += _mm256_movemask_epi8(_mm256_cmpgt_epi32(limit, nearest)) != 0;                 \
        }                                                                                          \
        return hits;                                                                               \
    }

DEFINE_AVX2(pshufb, avx2_plain_counts)
DEFINE_AVX2(carry_save, avx2_saved_counts)
WIDTHS(DEFINE_SCAN, AVX2, avx2, pshufb)
#define SAVED_WIDTHS(X)                                                                            \
    JOINS(X, AVX2, avx2, carry_save, 4)                                                            \
    JOINS(X, AVX2, avx2, carry_save, 8)                                                            \
    JOINS(X, AVX2, avx2, carry_save, 16)
SAVED_WIDTHS(DEFINE_SCAN)

#define LOAD_256(p) _mm256_loadu_si256((const __m256i *)(p))
#define LOAD_512(p) _mm512_loadu_si512((const void *)(p))

#define DEFINE_VECTOR_READ(target, read, vector, load, or, zero, lanes)                            \
    target INLINE uint64_t read(const uint64_t *words, ptrdiff_t n_words, int streams, int ahead)  \
    {                                                                                              \
        const ptrdiff_t part = n_words / streams;                                                  \
        vector total[4] = {zero(), zero(), zero(), zero()};                                        \
        for (ptrdiff_t i = 0; i < part; i += 32)                                                   \
            for (int s = 0; s < streams; s++) {                                                    \
                const uint64_t *p = words + s * part + i;                                          \
                if (ahead)                                                                         \
                    for (int line = 0; line < 4; line++)                                           \
                        _mm_prefetch((const char *)p + ahead + 64 * line, _MM_HINT_T0);            \
                for (int w = 0; w < 32 / (lanes); w++)                                             \
                    total[w & 3] = or(total[w & 3], load(p + w * (lanes)));                        \
            }                                                                                      \
        const vector all = or(or(total[0], total[1]), or(total[2], total[3]));                     \
        uint64_t parts[lanes], result = 0;                                                         \
        memcpy(parts, &all, sizeof parts);                                                         \
        for (int lane = 0; lane < (lanes); lane++)                                                 \
            result |= parts[lane];                                                                 \
        return result;                                                                             \
    }

DEFINE_VECTOR_READ(AVX2, avx2_read, __m256i, LOAD_256, _mm256_or_si256, _mm256_setzero_si256, 4)
READS(DEFINE_READ, AVX2, avx2, avx2_read)

/* --- AVX-512 with VPOPCNTDQ: eight codes to a register ----------------------------------------- */

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vpopcntdq,popcnt")))

AVX512 INLINE __m512i avx512_group(const uint64_t *group, const __m512i *query, int n_words)
{
    __m512i total = _mm512_popcnt_epi64(_mm512_xor_si512(LOAD_512(group), query[0]));
    for (int w = 1; w < n_words; w++)
        total = _mm512_add_epi64(
            total, _mm512_popcnt_epi64(_mm512_xor_si512(LOAD_512(group + 8 * w), query[w])));
    return total;
}

AVX512 INLINE int64_t vpopcntq(const uint64_t *tile, int32_t n_codes, const uint64_t *query,
                               int n_words, int join, int64_t bound)
{
    __m512i words[MAX_WORDS];
    for (int w = 0; w < n_words; w++)
        words[w] = _mm512_set1_epi64((long long)query[w]);
    const __m512i limit = _mm512_set1_epi64(bound);
    int64_t hits = 0;
    for (int32_t i = 0; i < n_codes; i += 8 * join) {
        __m512i nearest = avx512_group(tile, words, n_words);
        tile += 8 * n_words;
        for (int u = 1; u < join; u++, tile += 8 * n_words)
            nearest = _mm512_min_epu32(nearest, avx512_group(tile, words, n_words));
        hits += _mm512_cmplt_epi64_mask(nearest, limit) != 0;
    }
    return hits;
}
WIDTHS(DEFINE_SCAN, AVX512, avx512, vpopcntq)

DEFINE_VECTOR_READ(AVX512, avx512_read, __m512i, LOAD_512, _mm512_or_si512, _mm512_setzero_si512, 8)
READS(DEFINE_READ, AVX512, avx512, avx512_read)

#endif

#if defined(__aarch64__)

/* --- NEON: two codes to a register ------------------------------------------------------------- */

#include <arm_neon.h>

INLINE uint8x16_t neon_counts(const uint64_t *group, const uint64x2_t *query, int n_words)
{
    uint8x16_t counts = vcntq_u8(vreinterpretq_u8_u64(veorq_u64(vld1q_u64(group), query[0])));
    for (int w = 1; w < n_words; w++)
        counts = vaddq_u8(
            counts, vcntq_u8(vreinterpretq_u8_u64(veorq_u64(vld1q_u64(group + 2 * w), query[w]))));
    return counts;
}

INLINE uint32x4_t neon_pair(const uint64_t *tile, const uint64x2_t *query, int n_words)
{
    /* Two groups at a time: pairwise sums of both fill a register again. */
    const uint16x8_t a = vpaddlq_u8(neon_counts(tile, query, n_words));
    const uint16x8_t b = vpaddlq_u8(neon_counts(tile + 2 * n_words, query, n_words));
    return vpaddlq_u16(vpaddq_u16(a, b));
}

INLINE int64_t cnt(const uint64_t *tile, int32_t n_codes, const uint64_t *query, int n_words,
                   int join, int64_t bound)
{
    uint64x2_t words[MAX_WORDS];
    for (int w = 0; w < n_words; w++)
        words[w] = vdupq_n_u64(query[w]);
    int64_t hits = 0;
    for (int32_t i = 0; i < n_codes; i += 4 * join) {
        uint32x4_t nearest = neon_pair(tile, words, n_words);
        tile += 4 * n_words;
        for (int u = 1; u < join; u++, tile += 4 * n_words)
            nearest = vminq_u32(nearest, neon_pair(tile, words, n_words));
        hits += (int64_t)vminvq_u32(nearest) < bound;
    }
    return hits;
}
WIDTHS(DEFINE_SCAN, PORTABLE, neon, cnt)

INLINE uint64_t neon_read(const uint64_t *words, ptrdiff_t n_words, int streams, int ahead)
{
    const ptrdiff_t part = n_words / streams;
    uint64x2_t total[4] = {vdupq_n_u64(0), vdupq_n_u64(0), vdupq_n_u64(0), vdupq_n_u64(0)};
    for (ptrdiff_t i = 0; i < part; i += 8)
        for (int s = 0; s < streams; s++) {
            if (ahead)
                __builtin_prefetch((const char *)(words + s * part + i) + ahead);
            for (int w = 0; w < 4; w++)
                total[w] = vorrq_u64(total[w], vld1q_u64(words + s * part + i + 2 * w));
        }
    const uint64x2_t all = vorrq_u64(vorrq_u64(total[0], total[1]), vorrq_u64(total[2], total[3]));
    return vgetq_lane_u64(all, 0) | vgetq_lane_u64(all, 1);
}
READS(DEFINE_READ, PORTABLE, neon, neon_read)

#endif

/* --- what limits.py calls ---------------------------------------------------------------------- */

typedef struct {
    const char *level, *name;
    int n_words;
    scan_function scan;
} scan_variant;

typedef struct {
    const char *level, *name;
    read_function read;
} read_variant;

/* clang-format off */
static const scan_variant scans[] = {
    WIDTHS(LIST_SCAN, PORTABLE, scalar, shifts)
#if defined(__x86_64__)
    WIDTHS(LIST_SCAN, POPCNT, scalar, popcnt)
    WIDTHS(LIST_SCAN, AVX2, avx2, pshufb)
    SAVED_WIDTHS(LIST_SCAN)
    WIDTHS(LIST_SCAN, AVX512, avx512, vpopcntq)
#elif defined(__aarch64__)
    WIDTHS(LIST_SCAN, PORTABLE, neon, cnt)
#endif
};

static const read_variant readers[] = {
    READS(LIST_READ, PORTABLE, scalar, scalar_read)
#if defined(__x86_64__)
    READS(LIST_READ, AVX2, avx2, avx2_read)
    READS(LIST_READ, AVX512, avx512, avx512_read)
#elif defined(__aarch64__)
    READS(LIST_READ, PORTABLE, neon, neon_read)
#endif
};
/* clang-format on */

/* Whether the processor and the operating system have what a level of this probe needs. */
EXPORT int limits_supports(const char *level)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (strcmp(level, "scalar") == 0)
        return 1;
    if (strcmp(level, "avx2") == 0)
        return __builtin_cpu_supports("avx2") != 0;
    if (strcmp(level, "avx512bw") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("avx512bw");
    if (strcmp(level, "avx512") == 0)
        return __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl");
    return 0;
#elif defined(__aarch64__)
    return strcmp(level, "scalar") == 0 || strcmp(level, "neon") == 0;
#else
    return strcmp(level, "scalar") == 0;
#endif
}

EXPORT int limits_n_scans(void) { return (int)(sizeof scans / sizeof scans[0]); }
EXPORT const char *limits_scan_level(int i) { return scans[i].level; }
EXPORT const char *limits_scan_name(int i) { return scans[i].name; }
EXPORT int limits_scan_words(int i) { return scans[i].n_words; }
EXPORT int64_t limits_scan(int i, const uint64_t *tile, int32_t n_codes, const uint64_t *queries,
                           int32_t n_queries, int64_t bound, int32_t n_passes)
{
    int64_t hits = 0;
    /* Several passes to a call, so that calling from Python costs nothing in comparison. */
    for (int32_t pass = 0; pass < n_passes; pass++)
        hits += scans[i].scan(tile, n_codes, queries, n_queries, bound);
    return hits;
}

EXPORT int limits_n_readers(void) { return (int)(sizeof readers / sizeof readers[0]); }
EXPORT const char *limits_reader_level(int i) { return readers[i].level; }
EXPORT const char *limits_reader_name(int i) { return readers[i].name; }
EXPORT uint64_t limits_read(int i, const uint64_t *words, ptrdiff_t n_words)
{
    return readers[i].read(words, n_words);
}
