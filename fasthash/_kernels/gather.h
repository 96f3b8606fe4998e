/* Codes that are copied from anywhere in the memory, to be laid out together. */
#ifndef FASTHASH_GATHER_H
#define FASTHASH_GATHER_H

#include "bits.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Codes are fetched this far ahead of being copied: so many reads of memory are under way. */
#define FH_CODES_AHEAD 32

/* Fetches the whole of a code. */
static inline void fh_fetch_code(const uint8_t *code, ptrdiff_t n_bytes)
{
    for (ptrdiff_t line = 0; line < n_bytes; line += 64)
        FH_PREFETCH(code + line);
}

/* Copies the n codes listed in `rows` to `out`, each to a multiple of `stride` bytes. */
static inline void fh_gather_codes(const uint8_t *codes, const int64_t *rows, int32_t n,
                                   ptrdiff_t n_bytes, ptrdiff_t stride, uint8_t *out)
{
    for (int32_t i = 0; i < n; i++) {
        if (i + FH_CODES_AHEAD < n)
            fh_fetch_code(codes + (ptrdiff_t)rows[i + FH_CODES_AHEAD] * n_bytes, n_bytes);
        memcpy(out + i * stride, codes + (ptrdiff_t)rows[i] * n_bytes, (size_t)n_bytes);
    }
}

#endif
