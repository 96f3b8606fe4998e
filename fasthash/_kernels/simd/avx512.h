/* For all files of the AVX-512 levels. */
#ifndef FASTHASH_AVX512_H
#define FASTHASH_AVX512_H

#include <immintrin.h>

#if (defined(__GNUC__) || defined(__clang__)) && !defined(FH_EMULATED)
#define AVX512F __attribute__((target("avx512f"), always_inline))
#else
#define AVX512F
#endif

/* Eight rows of eight words, transposed: row i of the input becomes lane i of every output. */
AVX512F static inline void transpose(__m512i r[8])
{
    __m512i a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        b[i] = _mm512_shuffle_i64x2(a[i], a[i + 2], 0x88);
        b[i + 2] = _mm512_shuffle_i64x2(a[i], a[i + 2], 0xdd);
        b[i + 4] = _mm512_shuffle_i64x2(a[i + 4], a[i + 6], 0x88);
        b[i + 6] = _mm512_shuffle_i64x2(a[i + 4], a[i + 6], 0xdd);
    }
    for (int i = 0; i < 2; i++) {
        r[i] = _mm512_shuffle_i64x2(b[i], b[i + 4], 0x88);
        r[i + 4] = _mm512_shuffle_i64x2(b[i], b[i + 4], 0xdd);
        r[i + 2] = _mm512_shuffle_i64x2(b[i + 2], b[i + 6], 0x88);
        r[i + 6] = _mm512_shuffle_i64x2(b[i + 2], b[i + 6], 0xdd);
    }
}

#undef AVX512F

#endif
