/* For all files of the AVX2 level: bits are counted with a table; avx2.c explains it.
 *
 * Overflow bound: a byte of the low sums grows by at most 8 per word, whether words are looked up
 * one by one (4 + 4) or as ones, twos and fours (8 + 16 + 32 for seven words). It stays below 256
 * for WORDS_PER_SUM words; then the bytes are added up.
 */
#ifndef FASTHASH_AVX2_H
#define FASTHASH_AVX2_H

#include "simd.h"

#include <immintrin.h>

/* Inlining is forced, because only then the widths are constants. Without it, GCC does not inline
 * some of the wider ones. */
#if (defined(__GNUC__) || defined(__clang__)) && !defined(FH_EMULATED)
#define AVX2 __attribute__((target("avx2,popcnt")))
#define INLINE AVX2 inline __attribute__((always_inline))
#else
#define AVX2
#define INLINE __forceinline
#endif

/* A multiple of seven and at most 31. */
enum { WORDS_PER_SUM = 28 };

/* The layout of a tile prefetches memory this far ahead: a page, so that memory stays busy while a
 * few queries scan the tile. A prefetch past the end does no harm. */
enum { PREFETCH_BYTES = 4096 };

static INLINE __m256i load(const void *words) { return _mm256_loadu_si256(words); }

typedef struct {
    __m256i low;  /* sums of 4 + count over low nibbles, per byte */
    __m256i high; /* sums of 4 - count over high nibbles */
} Sums;

/* Adds the counts of `bits`, times the constant `weight`. */
static INLINE Sums add_counts(Sums sums, __m256i bits, char weight)
{
#define ENTRY(sign, count) (char)(weight * (4 sign count))
#define TABLE(sign)                                                                                \
    _mm256_broadcastsi128_si256(                                                                   \
        _mm_setr_epi8(ENTRY(sign, 0), ENTRY(sign, 1), ENTRY(sign, 1), ENTRY(sign, 2),              \
                      ENTRY(sign, 1), ENTRY(sign, 2), ENTRY(sign, 2), ENTRY(sign, 3),              \
                      ENTRY(sign, 1), ENTRY(sign, 2), ENTRY(sign, 2), ENTRY(sign, 3),              \
                      ENTRY(sign, 2), ENTRY(sign, 3), ENTRY(sign, 3), ENTRY(sign, 4)))
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i low = _mm256_and_si256(bits, nibble);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(bits, 4), nibble);
    sums.low = _mm256_add_epi8(sums.low, _mm256_shuffle_epi8(TABLE(+), low));
    sums.high = _mm256_add_epi8(sums.high, _mm256_shuffle_epi8(TABLE(-), high));
    return sums;
#undef TABLE
#undef ENTRY
}

int32_t fh_avx2_scan_rows(const uint64_t *query, const uint8_t *codes, int32_t n, ptrdiff_t n_bytes,
                          int32_t bound, int32_t *positions, int32_t *distances);

#endif
