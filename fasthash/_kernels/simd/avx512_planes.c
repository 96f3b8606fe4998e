/* AVX-512 levels, many queries: bit planes of 512 codes; planes.h says how they work.
 *
 * Ternary logic makes an adder of two operations on two ports (Intel: p05), so a word of 512 codes
 * takes 31 cycles at least, .06 cycles for a code; loads and moves bring it to about .11. The scan by
 * VPOPCNTDQ in avx512.c takes .25. F and BW are
 * enough, which Skylake-X and Cascade Lake have.
 */
#include "simd.h"

#if (defined(__x86_64__) || defined(_M_X64))

#include "avx512.h"

#include <string.h>

#if (defined(__GNUC__) || defined(__clang__)) && !defined(FH_EMULATED)
#define TARGET __attribute__((target("avx512f,avx512bw,popcnt")))
#define INLINE TARGET inline __attribute__((always_inline))
/* Keeps the adders in order: GCC would load all choices first, for which there are no registers. */
#define KEEP(x) __asm__ volatile("" : "+v"(x)::"memory")
#else
#define TARGET
#define INLINE __forceinline
#define KEEP(x) (void)(x)
#endif

#define BLOCK 512
/* They share the first-level cache with the choices of the queries. */
#define STRETCH_BYTES (1 << 15)
typedef __m512i Plane;

static INLINE Plane load(const void *p) { return _mm512_loadu_si512(p); }
static INLINE void store(void *p, Plane x) { _mm512_storeu_si512(p, x); }
static INLINE Plane filled(uint32_t bit) { return _mm512_set1_epi32(-(int)bit); }
static INLINE Plane both(Plane a, Plane b) { return _mm512_and_si512(a, b); }
static INLINE Plane differ(Plane a, Plane b) { return _mm512_xor_si512(a, b); }
static INLINE int any_clear(Plane a)
{
    return _mm512_cmpneq_epi32_mask(a, _mm512_set1_epi32(-1)) != 0;
}

#define ADD(carry, low, b, c)                                                                      \
    do {                                                                                           \
        const Plane b_ = (b), c_ = (c);                                                            \
        carry = _mm512_ternarylogic_epi32(low, b_, c_, 0xe8);                                      \
        low = _mm512_ternarylogic_epi32(low, b_, c_, 0x96);                                        \
        KEEP(low);                                                                                 \
    } while (0)

/* The truth table of a majority, e8, with its rows exchanged as p complements the inputs. */
#define TABLE_OF_MAJORITY(p) (1 << (3 ^ (p)) | 1 << (5 ^ (p)) | 1 << (6 ^ (p)) | 1 << (7 ^ (p)))
#define MAJORITY(p, a, b, c) _mm512_ternarylogic_epi32(a, b, c, TABLE_OF_MAJORITY(p))

/* A word of each of eight codes, by eight loads: a gather makes a search up to 1.07 times slower on
 * Zen 4, and equally fast on Intel (Sapphire Rapids). */
static INLINE __m512i words_of_8(const uint8_t *codes, ptrdiff_t n_bytes)
{
    __m128i two[4];
    for (int i = 0; i < 4; i++)
        two[i] = _mm_unpacklo_epi64(_mm_loadl_epi64((const void *)(codes + 2 * i * n_bytes)),
                                    _mm_loadl_epi64((const void *)(codes + (2 * i + 1) * n_bytes)));
    return _mm512_inserti64x4(
        _mm512_castsi256_si512(_mm256_inserti128_si256(_mm256_castsi128_si256(two[0]), two[1], 1)),
        _mm256_inserti128_si256(_mm256_castsi128_si256(two[2]), two[3], 1), 1);
}

/* One word of 64 codes: registers of eight words become registers of one byte of eight words, then of
 * one byte of 64, of which each bit is 64 bits of a plane. */
static INLINE void split_64_codes(const uint8_t *codes, ptrdiff_t n_bytes, uint8_t *bits)
{
    /* Bytes of two words, interleaved, and then 16-bit units of four pairs. */
    const __m512i pairs =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
    const __m512i units = _mm512_set_epi16(31, 23, 15, 7, 30, 22, 14, 6, 29, 21, 13, 5, 28, 20, 12,
                                           4, 27, 19, 11, 3, 26, 18, 10, 2, 25, 17, 9, 1, 24, 16, 8,
                                           0);
    __m512i bytes[8];
    for (int i = 0; i < 8; i++) {
        const uint8_t *eight = codes + 8 * i * n_bytes;
        const __m512i words = n_bytes == 8 ? load(eight) : words_of_8(eight, n_bytes);
        bytes[i] = _mm512_permutexvar_epi16(units, _mm512_shuffle_epi8(words, pairs));
    }
    transpose(bytes);
    for (int j = 0; j < 8; j++)
        for (int bit = 0; bit < 8; bit++)
            _store_mask64((__mmask64 *)(bits + (8 * j + bit) * (BLOCK / 8)),
                          _mm512_test_epi8_mask(bytes[j], _mm512_set1_epi8((char)(1 << bit))));
}

static INLINE void split_word(const uint8_t *codes, ptrdiff_t n_bytes, uint8_t *bits)
{
    if (n_bytes == 8)
        for (int i = 0; i < BLOCK; i += 64)
            split_64_codes(codes + 8 * i, 8, bits + i / 8);
    else
        for (int i = 0; i < BLOCK; i += 64)
            split_64_codes(codes + i * n_bytes, n_bytes, bits + i / 8);
}

#include "planes.h"

/* Where the tiles of AVX2 are what is saved, and where it is VPOPCNTDQ's. */
#define PLANES(queries, codes)                                                                     \
    {                                                                                              \
        .block_codes = BLOCK,                                                                      \
        .bytes_per_word = WORD_BYTES,                                                              \
        .stretch_bytes = STRETCH_BYTES,                                                            \
        .least_queries = queries,                                                                  \
        .hit_codes = codes,                                                                        \
        .lay_out = lay_out,                                                                        \
        .choose = choose,                                                                          \
        .scan = scan,                                                                              \
    }
const fh_planes fh_avx512bw_planes = PLANES(12, 40);
const fh_planes fh_avx512_planes = PLANES(40, 40);

#endif
