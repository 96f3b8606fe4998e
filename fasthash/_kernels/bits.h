/* Bits of a 64-bit word, and prefetching, for kernels that run on every processor. */
#ifndef FASTHASH_BITS_H
#define FASTHASH_BITS_H

#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define FH_ALWAYS_INLINE inline __attribute__((always_inline))
#define FH_PREFETCH(address) __builtin_prefetch(address)
#else
#define FH_ALWAYS_INLINE inline
#define FH_PREFETCH(address) ((void)(address))
#endif

/* The position of the lowest bit that is set; at least one must be. */
static inline int fh_lowest_bit(uint64_t bits)
{
#if defined(__GNUC__) || defined(__clang__)
    return __builtin_ctzll(bits);
#else
    int position = 0;
    for (int width = 32; width > 0; width /= 2)
        if ((bits & ((UINT64_C(1) << width) - 1)) == 0) {
            bits >>= width;
            position += width;
        }
    return position;
#endif
}

/* The number of bits that are set. Not the compiler's function: without a popcount instruction,
 * that one reads a table in memory. */
static inline int64_t fh_count_bits(uint64_t x)
{
    x -= (x >> 1) & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return (int64_t)((x * 0x0101010101010101u) >> 56);
}

#endif
