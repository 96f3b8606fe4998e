/* AVX-512 level with VPOPCNTDQ (Ice Lake, Zen 4 and later).
 *
 * Cost: 64-bit codes go eight to a register, one load, xor and popcount for eight distances. Other
 * widths take one register per started 64 bytes of a code and one horizontal add per code; the last,
 * partial register is a masked load, so no width reads beyond its row.
 */
#include "simd.h"

#if (defined(__x86_64__) || defined(_M_X64))

#include <immintrin.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vpopcntdq,popcnt")))
#else
#define AVX512
#endif

static inline long long load_word(const uint8_t *bytes)
{
    long long word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Distances of eight 64-bit codes, as eight int32. */
AVX512 static inline __m256i distances_of_eight_words(__m512i query, const uint8_t *codes,
                                                      __mmask8 present)
{
    const __m512i words = _mm512_maskz_loadu_epi64(present, codes);
    return _mm512_cvtepi64_epi32(_mm512_popcnt_epi64(_mm512_xor_si512(words, query)));
}

static inline __mmask8 first_lanes(int32_t n)
{
    return n >= 8 ? (__mmask8)0xff : (__mmask8)((1u << n) - 1);
}

AVX512 static inline int32_t distance(const uint8_t *a, const uint8_t *b, ptrdiff_t n_bytes)
{
    __m512i total = _mm512_setzero_si512();
    ptrdiff_t byte = 0;
    for (; byte + 64 <= n_bytes; byte += 64) {
        const __m512i bits = _mm512_xor_si512(_mm512_loadu_si512(a + byte),
                                              _mm512_loadu_si512(b + byte));
        total = _mm512_add_epi64(total, _mm512_popcnt_epi64(bits));
    }
    if (byte < n_bytes) {
        const __mmask64 present = ~UINT64_C(0) >> (64 - (n_bytes - byte));
        const __m512i bits = _mm512_xor_si512(_mm512_maskz_loadu_epi8(present, a + byte),
                                              _mm512_maskz_loadu_epi8(present, b + byte));
        total = _mm512_add_epi64(total, _mm512_popcnt_epi64(bits));
    }
    return (int32_t)_mm512_reduce_add_epi64(total);
}

AVX512 static void avx512_distances(const uint8_t *query, const uint8_t *codes, int32_t n,
                                    ptrdiff_t n_bytes, int32_t *distances)
{
    if (n_bytes != 8) {
        for (int32_t i = 0; i < n; i++)
            distances[i] = distance(query, codes + i * n_bytes, n_bytes);
        return;
    }
    const __m512i word = _mm512_set1_epi64(load_word(query));
    for (int32_t i = 0; i < n; i += 8) {
        const __mmask8 present = first_lanes(n - i);
        _mm256_mask_storeu_epi32(distances + i, present,
                                 distances_of_eight_words(word, codes + (ptrdiff_t)8 * i, present));
    }
}

AVX512 static int32_t avx512_scan(const uint8_t *query, const uint8_t *codes, int32_t n,
                                  ptrdiff_t n_bytes, int32_t bound, int32_t *positions,
                                  int32_t *distances)
{
    int32_t n_hits = 0;
    if (n_bytes != 8) {
        for (int32_t i = 0; i < n; i++) {
            const int32_t d = distance(query, codes + i * n_bytes, n_bytes);
            positions[n_hits] = i;
            distances[n_hits] = d;
            n_hits += d < bound;
        }
        return n_hits;
    }
    const __m512i word = _mm512_set1_epi64(load_word(query));
    const __m256i limit = _mm256_set1_epi32(bound);
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    for (int32_t i = 0; i < n; i += 8) {
        const __mmask8 present = first_lanes(n - i);
        const __m256i d = distances_of_eight_words(word, codes + (ptrdiff_t)8 * i, present);
        const __mmask8 hits = _mm256_mask_cmplt_epi32_mask(present, d, limit);
        if (hits) {
            _mm256_mask_compressstoreu_epi32(positions + n_hits, hits,
                                             _mm256_add_epi32(lane, _mm256_set1_epi32(i)));
            _mm256_mask_compressstoreu_epi32(distances + n_hits, hits, d);
            n_hits += (int32_t)_mm_popcnt_u32(hits);
        }
    }
    return n_hits;
}

static const fh_level level = {"avx512", avx512_distances, avx512_scan};

const fh_level *fh_level_avx512(void) { return &level; }

#else

const fh_level *fh_level_avx512(void) { return NULL; }

#endif
