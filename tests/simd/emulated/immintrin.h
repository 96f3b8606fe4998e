/* x86 intrinsics in plain C, for processors that lack them: SIMDe's, and those that it lacks.
 *
 * A compiler finds this in place of its own header, and FH_EMULATED keeps it from compiling for the
 * instruction set that is emulated.
 */
#define SIMDE_ENABLE_NATIVE_ALIASES
#define SIMDE_NO_NATIVE
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>

#include <stdint.h>
#include <string.h>

typedef uint8_t __mmask8;
typedef uint16_t __mmask16;
typedef uint32_t __mmask32;
typedef uint64_t __mmask64;

static inline int _mm_popcnt_u32(unsigned x) { return __builtin_popcount(x); }
static inline long long _mm_popcnt_u64(unsigned long long x) { return __builtin_popcountll(x); }
static inline uint64_t _tzcnt_u64(uint64_t x) { return x == 0 ? 64 : (uint64_t)__builtin_ctzll(x); }

#define EACH(n) for (int i = 0; i < (n); i++)

static inline __m512i _mm512_maskz_loadu_epi64(__mmask8 mask, const void *from)
{
    int64_t lanes[8] = {0};
    EACH(8) if (mask >> i & 1) memcpy(&lanes[i], (const char *)from + 8 * i, 8);
    return _mm512_loadu_si512(lanes);
}

static inline __m512i _mm512_maskz_loadu_epi8(__mmask64 mask, const void *from)
{
    char lanes[64] = {0};
    EACH(64) if (mask >> i & 1) lanes[i] = ((const char *)from)[i];
    return _mm512_loadu_si512(lanes);
}

static inline __m256i _mm256_maskz_loadu_epi8(__mmask32 mask, const void *from)
{
    char lanes[32] = {0};
    EACH(32) if (mask >> i & 1) lanes[i] = ((const char *)from)[i];
    return _mm256_loadu_si256((const __m256i *)lanes);
}

/* SIMDe's reads what the mask leaves out, too. */
#undef _mm256_maskload_epi64
#define _mm256_maskload_epi64(from, mask) load_masked(from, mask)
static inline __m256i load_masked(const void *from, __m256i mask)
{
    int64_t lanes[4] = {0}, wanted[4];
    _mm256_storeu_si256((void *)wanted, mask);
    EACH(4) if (wanted[i] < 0) memcpy(&lanes[i], (const char *)from + 8 * i, 8);
    return _mm256_loadu_si256((void *)lanes);
}

static inline void _mm256_mask_storeu_epi32(void *to, __mmask8 mask, __m256i x)
{
    int32_t lanes[8];
    _mm256_storeu_si256((void *)lanes, x);
    EACH(8) if (mask >> i & 1) memcpy((char *)to + 4 * i, &lanes[i], 4);
}

static inline __mmask8 _mm512_mask_cmplt_epi64_mask(__mmask8 mask, __m512i a, __m512i b)
{
    int64_t x[8], y[8];
    unsigned less = 0;
    _mm512_storeu_si512(x, a);
    _mm512_storeu_si512(y, b);
    EACH(8) less |= (unsigned)(x[i] < y[i]) << i;
    return (__mmask8)(less & mask);
}

static inline __mmask8 _mm512_cmplt_epi64_mask(__m512i a, __m512i b)
{
    return _mm512_mask_cmplt_epi64_mask(0xff, a, b);
}

static inline void _store_mask64(__mmask64 *to, __mmask64 mask) { memcpy(to, &mask, sizeof mask); }

static inline __m512i _mm512_i64gather_epi64(__m512i places, const void *from, int scale)
{
    int64_t at[8], lanes[8];
    _mm512_storeu_si512(at, places);
    EACH(8) memcpy(&lanes[i], (const char *)from + at[i] * scale, 8);
    return _mm512_loadu_si512(lanes);
}

static inline __mmask16 _mm512_cmplt_epi32_mask(__m512i a, __m512i b)
{
    return _mm512_cmpgt_epi32_mask(b, a);
}

static inline __mmask16 _mm512_cmpneq_epi32_mask(__m512i a, __m512i b)
{
    int32_t x[16], y[16];
    unsigned differs = 0;
    _mm512_storeu_si512(x, a);
    _mm512_storeu_si512(y, b);
    EACH(16) differs |= (unsigned)(x[i] != y[i]) << i;
    return (__mmask16)differs;
}

/* Two 128-bit lanes of a, then two of b, as the four pairs of bits in `lanes` say. */
static inline __m512i _mm512_shuffle_i64x2(__m512i a, __m512i b, int lanes)
{
    int64_t x[8], y[8], z[8];
    _mm512_storeu_si512(x, a);
    _mm512_storeu_si512(y, b);
    EACH(8) z[i] = (i < 4 ? x : y)[2 * (lanes >> i / 2 * 2 & 3) + i % 2];
    return _mm512_loadu_si512(z);
}

#undef EACH

/* Not there in every version of SIMDe as functions of these types. */
#ifdef _mm256_maskz_compress_epi32
#undef _mm256_maskz_compress_epi32
#endif
#define _mm256_maskz_compress_epi32(mask, x) compress_8(mask, x)
static inline __m256i compress_8(__mmask8 mask, __m256i x)
{
    int32_t from[8], to[8] = {0}, n = 0;
    _mm256_storeu_si256((void *)from, x);
    for (int i = 0; i < 8; i++)
        if (mask >> i & 1)
            to[n++] = from[i];
    return _mm256_loadu_si256((void *)to);
}

/* What Microsoft's compiler calls it, for which FH_EMULATED takes this one. */
#define __forceinline inline
