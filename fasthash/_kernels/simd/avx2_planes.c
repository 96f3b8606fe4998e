/* AVX2 level, many queries: bit planes of 256 codes; planes.h says how they work.
 *
 * An adder takes 5 operations on three ports (Zen, and p015 of Intel), so a word of 256 codes takes
 * 31 x 5 / 3 = 52 cycles, .2 cycles for a code. The scan by nibble tables in avx2.c takes .6.
 */
#include "simd.h"

#if (defined(__x86_64__) || defined(_M_X64))

#include <immintrin.h>
#include <string.h>

#if (defined(__GNUC__) || defined(__clang__)) && !defined(FH_EMULATED)
#define TARGET __attribute__((target("avx2,popcnt")))
#define INLINE TARGET inline __attribute__((always_inline))
/* Keeps a counter in its register between adders. Without it GCC reorders the adders of a word so
 * that more values live at a time than there are registers, which costs a fifth of the speed. */
#define KEEP(x) __asm__ volatile("" : "+x"(x)::"memory")
#else
#define TARGET
#define INLINE __forceinline
#define KEEP(x) (void)(x)
#endif

#define BLOCK 256
/* They share the first-level cache of 32 KiB with the choices of the queries. */
#define STRETCH_BYTES (3 << 13)
typedef __m256i Plane;

static INLINE Plane load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
static INLINE void store(void *p, Plane x) { _mm256_storeu_si256((__m256i *)p, x); }
static INLINE Plane filled(uint32_t bit) { return _mm256_set1_epi8((char)-(int)bit); }
static INLINE Plane both(Plane a, Plane b) { return _mm256_and_si256(a, b); }
static INLINE Plane differ(Plane a, Plane b) { return _mm256_xor_si256(a, b); }
static INLINE int any_clear(Plane a) { return !_mm256_testc_si256(a, _mm256_set1_epi8(-1)); }

/* Between `low` before and after lies one operation, as many adders wait for it one after the other. */
#define ADD(carry, low, b, c)                                                                      \
    do {                                                                                           \
        const Plane b_ = (b), c_ = (c);                                                            \
        const Plane bc_ = differ(b_, c_), bl_ = differ(b_, low);                                   \
        carry = differ(b_, both(bc_, bl_));                                                        \
        low = differ(low, bc_);                                                                    \
        KEEP(low);                                                                                 \
    } while (0)

/* p is a constant where this is inlined. Complementing all three complements the majority. */
static INLINE Plane majority(int p, Plane a, Plane b, Plane c)
{
    if (p > 3)
        return differ(majority(7 - p, a, b, c), filled(1));
    const Plane either = _mm256_or_si256(b, c);
    if (p == 0)
        return _mm256_or_si256(both(b, c), both(a, either));
    const Plane only_b = _mm256_andnot_si256(c, b), only_c = _mm256_andnot_si256(b, c);
    if (p == 1)
        return _mm256_or_si256(only_b, _mm256_andnot_si256(only_c, a));
    if (p == 2)
        return _mm256_or_si256(only_c, _mm256_andnot_si256(only_b, a));
    return differ(_mm256_or_si256(both(b, c), _mm256_andnot_si256(a, either)), filled(1));
}
#define MAJORITY(p, a, b, c) majority(p, a, b, c)

static INLINE int64_t word(const uint8_t *bytes)
{
    int64_t value;
    memcpy(&value, bytes, 8);
    return value;
}

/* One 64-bit word of 32 codes that lie n_bytes apart, as 64 planes of 32 bits, BLOCK / 8 bytes apart.
 *
 * Shuffles bring byte j of all 32 codes into register j; then the top bits of its bytes are one
 * plane's 32 bits, and doubling the bytes brings the next bit to the top. */
static INLINE void split_32_codes(const uint8_t *codes, ptrdiff_t n_bytes, uint8_t *bits)
{
    /* Bytes of two words, interleaved. */
    const __m256i pick = _mm256_setr_epi8(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15, 0,
                                          8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    __m256i fours[8]; /* fours[i]: eight units, unit j holds byte j of codes 4i .. 4i+3 */
    for (int i = 0; i < 8; i++) {
        const uint8_t *four = codes + 4 * i * n_bytes;
        const __m256i words = n_bytes == 8 ? load(four)
                                           : _mm256_setr_epi64x(word(four), word(four + n_bytes),
                                                                word(four + 2 * n_bytes),
                                                                word(four + 3 * n_bytes));
        const __m256i pairs = _mm256_shuffle_epi8(words, pick);
        const __m128i first = _mm256_castsi256_si128(pairs);
        const __m128i second = _mm256_extracti128_si256(pairs, 1);
        fours[i] =
            _mm256_set_m128i(_mm_unpackhi_epi16(first, second), _mm_unpacklo_epi16(first, second));
    }
    /* Transpose 8 x 8 units of 32 bits. */
    __m256i twos[8], halves[8];
    for (int i = 0; i < 4; i++) {
        twos[2 * i] = _mm256_unpacklo_epi32(fours[2 * i], fours[2 * i + 1]);
        twos[2 * i + 1] = _mm256_unpackhi_epi32(fours[2 * i], fours[2 * i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            halves[i + 2 * j] = _mm256_unpacklo_epi64(twos[i + j], twos[i + j + 2]);
            halves[i + 2 * j + 1] = _mm256_unpackhi_epi64(twos[i + j], twos[i + j + 2]);
        }
    for (int j = 0; j < 8; j++) {
        const __m256i a = halves[j % 4], b = halves[j % 4 + 4];
        __m256i byte = j < 4 ? _mm256_permute2x128_si256(a, b, 0x20)
                             : _mm256_permute2x128_si256(a, b, 0x31);
        for (int bit = 7; bit >= 0; bit--) {
            const int32_t plane = _mm256_movemask_epi8(byte);
            memcpy(bits + (8 * j + bit) * (BLOCK / 8), &plane, 4);
            byte = _mm256_add_epi8(byte, byte);
        }
    }
}

static INLINE void split_word(const uint8_t *codes, ptrdiff_t n_bytes, uint8_t *bits)
{
    for (int i = 0; i < BLOCK; i += 32)
        split_32_codes(codes + i * n_bytes, n_bytes, bits + i / 8);
}

#include "planes.h"

const fh_planes fh_avx2_planes = {
    .block_codes = BLOCK,
    .bytes_per_word = WORD_BYTES,
    .stretch_bytes = STRETCH_BYTES,
    .least_queries = 16,
    .hit_codes = 12,
    .lay_out = lay_out,
    .choose = choose,
    .scan = scan,
};

#endif
