/* AVX-512 level with VPOPCNTDQ and VBMI (Ice Lake, Zen 4 and later): eight codes in a register.
 *
 * Cost per eight codes of W words: W loads, xors and popcounts, W - 1 additions. On Intel, popcounts
 * and comparisons use the same port (p5); as the groups of a block share one comparison (tiles.h),
 * 64-bit codes take little more than a cycle for each register of popcounts.
 *
 * Carry-save adders over running xors, as in the AVX2 level, are not faster here. They leave a
 * third of the popcounts, but xors, adders and additions share two ports, and 16 words save 3
 * operations of 48.
 */
#include "simd.h"

#if (defined(__x86_64__) || defined(_M_X64))

#include "../bits.h"
#include "avx512.h"

#include <string.h>

#if (defined(__GNUC__) || defined(__clang__)) && !defined(FH_EMULATED)
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vpopcntdq,popcnt,bmi,bmi2")))
#define INLINE TARGET inline __attribute__((always_inline))
#else
#define TARGET
#define INLINE __forceinline
#endif

enum { LANES = 8 };
typedef __m512i Distances, Bound;

/* The layout of a tile prefetches memory this far ahead: half a page, so that memory stays busy
 * while a few queries scan the tile. With a whole page, more loads would wait than the processor
 * can hold. A prefetch past the end does no harm. */
enum { PREFETCH_BYTES = 2048 };

static INLINE __mmask8 first_lanes(int32_t n) { return (__mmask8)((1u << n) - 1); }

/* Distances of one whole group, as 64-bit lanes. */
static INLINE Distances group_distances(const uint64_t *query, const uint64_t *group,
                                        int32_t n_words)
{
    __m512i total = _mm512_popcnt_epi64(
        _mm512_xor_si512(_mm512_loadu_si512(group), _mm512_set1_epi64((long long)query[0])));
    for (int32_t w = 1; w < n_words; w++) {
        const __m512i bits = _mm512_xor_si512(_mm512_loadu_si512(group + LANES * w),
                                              _mm512_set1_epi64((long long)query[w]));
        total = _mm512_add_epi64(total, _mm512_popcnt_epi64(bits));
    }
    return total;
}

static INLINE Bound bound_of(int32_t bound) { return _mm512_set1_epi64(bound); }

/* Distances are below 2^31, so the cheaper 32-bit minimum is right for 64-bit lanes. */
static INLINE Distances nearer(Distances a, Distances b) { return _mm512_min_epu32(a, b); }

static INLINE int any_nearer(Distances distances, Bound bound)
{
    return _mm512_cmplt_epi64_mask(distances, bound) != 0;
}

static INLINE int32_t smallest(Distances distances)
{
    const __m256i four = _mm256_min_epu32(_mm512_castsi512_si256(distances),
                                          _mm512_extracti64x4_epi64(distances, 1));
    const __m128i two =
        _mm_min_epu32(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
    return _mm_cvtsi128_si32(_mm_min_epu32(two, _mm_unpackhi_epi64(two, two)));
}

static INLINE void write(Distances distances, int32_t *out)
{
    _mm256_storeu_si256((__m256i *)out, _mm512_cvtepi64_epi32(distances));
}

/* One shuffle takes the low halves of the lanes of both; narrowing each would take two operations. */
static INLINE void write_pair(Distances a, Distances b, int32_t *out)
{
    const __m512i halves =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    _mm512_storeu_si512(out, _mm512_permutex2var_epi32(a, halves, b));
}

/* Compresses in a register and stores the whole register. On some processors this is several times
 * faster than a compressing store. The outputs have room for it. */
static INLINE int32_t append(Distances distances, int32_t n, Bound bound, int32_t first,
                             int32_t n_hits, int32_t *positions, int32_t *out)
{
    const __mmask8 hits = _mm512_mask_cmplt_epi64_mask(first_lanes(n), distances, bound);
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i position = _mm256_add_epi32(lane, _mm256_set1_epi32(first));
    _mm256_storeu_si256((__m256i *)(positions + n_hits),
                        _mm256_maskz_compress_epi32(hits, position));
    _mm256_storeu_si256((__m256i *)(out + n_hits),
                        _mm256_maskz_compress_epi32(hits, _mm512_cvtepi64_epi32(distances)));
    return n_hits + (int32_t)_mm_popcnt_u32(hits);
}

/* Most blocks with a hit have one or two. */
static INLINE int32_t append_block(const uint64_t *query, const uint64_t *block, int32_t n_words,
                                   int32_t unroll, Bound bound, int32_t first, int32_t n_hits,
                                   int32_t *positions, int32_t *out)
{
    int32_t distances[8 * LANES];
    uint64_t hits = 0;
    for (int32_t u = 0; u < unroll; u++) {
        const Distances group = group_distances(query, block + u * n_words * LANES, n_words);
        hits |= (uint64_t)_mm512_cmplt_epi64_mask(group, bound) << (u * LANES);
        write(group, distances + u * LANES);
    }
    for (; hits; hits &= hits - 1) {
        const int32_t lane = fh_lowest_bit(hits);
        positions[n_hits] = first + lane;
        out[n_hits++] = distances[lane];
    }
    return n_hits;
}

#define APPEND_BLOCK append_block
#define READY(query, n_words)

#include "tiles.h"

/* Lays out eight codes of two words: two registers become one of even and one of odd words. */
static INLINE void prepare_pairs(const uint8_t *codes, uint64_t *group)
{
    const __m512i even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    const __m512i odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
    const __m512i a = _mm512_loadu_si512(codes), b = _mm512_loadu_si512(codes + 64);
    _mm_prefetch((const char *)codes + PREFETCH_BYTES, _MM_HINT_T0);
    _mm_prefetch((const char *)codes + PREFETCH_BYTES + 64, _MM_HINT_T0);
    _mm512_storeu_si512(group, _mm512_permutex2var_epi64(a, even, b));
    _mm512_storeu_si512(group + LANES, _mm512_permutex2var_epi64(a, odd, b));
}

/* Lays out eight codes of four words: pairs of registers give two words of four codes; pairs of
 * these give one word of eight codes. */
static INLINE void prepare_fours(const uint8_t *codes, uint64_t *group)
{
    const __m512i first = _mm512_setr_epi64(0, 4, 8, 12, 1, 5, 9, 13);
    const __m512i last = _mm512_setr_epi64(2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i a = _mm512_loadu_si512(codes), b = _mm512_loadu_si512(codes + 64);
    const __m512i c = _mm512_loadu_si512(codes + 128), d = _mm512_loadu_si512(codes + 192);
    for (int line = 0; line < 256; line += 64)
        _mm_prefetch((const char *)codes + PREFETCH_BYTES + line, _MM_HINT_T0);
    const __m512i ab_first = _mm512_permutex2var_epi64(a, first, b);
    const __m512i ab_last = _mm512_permutex2var_epi64(a, last, b);
    const __m512i cd_first = _mm512_permutex2var_epi64(c, first, d);
    const __m512i cd_last = _mm512_permutex2var_epi64(c, last, d);
    _mm512_storeu_si512(group, _mm512_shuffle_i64x2(ab_first, cd_first, 0x44));
    _mm512_storeu_si512(group + LANES, _mm512_shuffle_i64x2(ab_first, cd_first, 0xee));
    _mm512_storeu_si512(group + 2 * LANES, _mm512_shuffle_i64x2(ab_last, cd_last, 0x44));
    _mm512_storeu_si512(group + 3 * LANES, _mm512_shuffle_i64x2(ab_last, cd_last, 0xee));
}

/* Lays out n <= 8 codes of any width, eight words at a time. Masked loads end at the last byte of a
 * row; missing codes and bytes become zero. */
static INLINE void prepare_group(const uint8_t *codes, int32_t n, ptrdiff_t n_bytes,
                                 uint64_t *group)
{
    const ptrdiff_t n_words = (n_bytes + 7) / 8;
    for (ptrdiff_t word = 0; word < n_words; word += 8) {
        const ptrdiff_t left = n_bytes - 8 * word;
        const __mmask64 present = left >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << left) - 1;
        const ptrdiff_t words_here = n_words - word < 8 ? n_words - word : 8;
        __m512i rows[8];
        for (int32_t lane = 0; lane < LANES; lane++) {
            const uint8_t *row = codes + lane * n_bytes + 8 * word;
            _mm_prefetch((const char *)row + PREFETCH_BYTES, _MM_HINT_T0);
            rows[lane] = lane < n ? _mm512_maskz_loadu_epi8(present, row) : _mm512_setzero_si512();
        }
        transpose(rows);
        for (ptrdiff_t w = 0; w < words_here; w++)
            _mm512_storeu_si512(group + (word + w) * LANES, rows[w]);
    }
}

TARGET static void prepare(const uint8_t *codes, int32_t n, ptrdiff_t n_bytes, uint64_t *tile)
{
    const ptrdiff_t group_words = (n_bytes + 7) / 8 * LANES;
    int32_t i = 0;
    if (n_bytes == 16)
        for (; i + LANES <= n; i += LANES, codes += 128, tile += group_words)
            prepare_pairs(codes, tile);
    else if (n_bytes == 32)
        for (; i + LANES <= n; i += LANES, codes += 256, tile += group_words)
            prepare_fours(codes, tile);
    for (; i < n; i += LANES, codes += LANES * n_bytes, tile += group_words)
        prepare_group(codes, n - i < LANES ? n - i : LANES, n_bytes, tile);
}

/* --- rows as they are ------------------------------------------------------------------------- */

typedef __mmask32 Last;

/* A mask of bytes. */
static INLINE Last last_of(ptrdiff_t n_bytes) { return (UINT32_C(1) << n_bytes % 32) - 1; }

static INLINE __m256i differing(const uint8_t *query, const uint8_t *row, Last bytes)
{
    return _mm256_popcnt_epi64(_mm256_xor_si256(_mm256_maskz_loadu_epi8(bytes, row),
                                                _mm256_maskz_loadu_epi8(bytes, query)));
}

static INLINE __m256i count_row(const uint8_t *query, const uint8_t *row, ptrdiff_t n_bytes,
                                Last last)
{
    const Last all = ~UINT32_C(0);
    __m256i total = _mm256_setzero_si256();
    ptrdiff_t start = 0;
    for (; start + 32 < n_bytes; start += 32)
        total = _mm256_add_epi64(total, differing(query + start, row + start, all));
    return _mm256_add_epi64(total,
                            differing(query + start, row + start, n_bytes % 32 == 0 ? all : last));
}

#include "rows.h"

TARGET static int32_t scan_rows(const uint64_t *query, const uint8_t *codes, int32_t n,
                                ptrdiff_t n_bytes, int32_t bound, int32_t *positions,
                                int32_t *distances)
{
    return scan_any_rows(query, codes, n, n_bytes, bound, positions, distances);
}

/* For up to 64 classes, sixteen rows at a time; else as the scalar level. */
TARGET static int32_t list_relevant(const uint64_t *query, const uint64_t *labels, int32_t n,
                                    int32_t n_words, int32_t *positions)
{
    if (n_words != 1)
        return fh_list_relevant_scalar(query, labels, n, n_words, positions);
    const __m512i wanted = _mm512_set1_epi64((long long)query[0]);
    const __m512i step = _mm512_set1_epi32(2 * LANES);
    __m512i position = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int32_t n_relevant = 0;
    for (int32_t i = 0; i < n; i += 2 * LANES) {
        /* Lanes past the end are loaded as zero, which shares no label. */
        const uint32_t present = n - i < 2 * LANES ? (1u << (n - i)) - 1 : 0xffff;
        const __m512i low = _mm512_maskz_loadu_epi64((__mmask8)present, labels + i);
        const __m512i high =
            _mm512_maskz_loadu_epi64((__mmask8)(present >> LANES), labels + i + LANES);
        const uint32_t relevant = _mm512_test_epi64_mask(low, wanted) |
                                  (uint32_t)_mm512_test_epi64_mask(high, wanted) << LANES;
        _mm512_storeu_si512(positions + n_relevant,
                            _mm512_maskz_compress_epi32((__mmask16)relevant, position));
        n_relevant += (int32_t)_mm_popcnt_u32(relevant);
        position = _mm512_add_epi32(position, step);
    }
    return n_relevant;
}

static const fh_level level = {
    .name = "avx512",
    .lanes = LANES,
    .counts_words = 1,
    .prepare = prepare,
    .distances = distances,
    .minima = minima,
    .scan = scan,
    .row_bytes = 1,
    .scan_rows = scan_rows,
    .list_relevant = list_relevant,
    .planes = &fh_avx512_planes,
    .weights = &fh_avx512_weights,
};

const fh_level *fh_level_avx512(void) { return &level; }

#else

const fh_level *fh_level_avx512(void) { return NULL; }

#endif
