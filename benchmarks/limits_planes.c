/* What this machine can do at best with bit planes; limits.py times it beside the loops of limits.c.
 *
 * The library's own adders, over a stretch that is laid out already, with bounds that no code is
 * below: no faster loop is known. So the limit has no layout, no hits and no selection.
 */
#include "simd.h"

#include <string.h>

#define EXPORT __attribute__((visibility("default")))

static const fh_planes *planes_of(const char *level)
{
#if defined(__x86_64__)
    if (strcmp(level, "avx2") == 0)
        return &fh_avx2_planes;
    if (strncmp(level, "avx512", 6) == 0)
        return &fh_avx512_planes;
#endif
    (void)level;
    return NULL;
}

/* How many codes of n_words are a stretch, 0 where the level has no bit planes; bytes laid out. */
EXPORT int32_t limits_plane_codes(const char *level, int32_t n_words, ptrdiff_t *n_bytes)
{
    const fh_planes *planes = planes_of(level);
    if (planes == NULL)
        return 0;
    const int32_t block_bytes = n_words * planes->bytes_per_word;
    const int32_t n_blocks =
        planes->stretch_bytes > block_bytes ? planes->stretch_bytes / block_bytes : 1;
    *n_bytes = (ptrdiff_t)n_blocks * block_bytes;
    return n_blocks * planes->block_codes;
}

EXPORT void limits_lay_out(const char *level, const uint64_t *codes, int32_t n, int32_t n_words,
                           uint8_t *laid_out, const uint64_t *queries, int32_t n_queries,
                           uint8_t *choices)
{
    const fh_planes *planes = planes_of(level);
    for (ptrdiff_t b = 0; b * planes->block_codes < n; b++)
        planes->lay_out((const uint8_t *)(codes + b * planes->block_codes * n_words), n_words,
                        laid_out + b * n_words * planes->bytes_per_word);
    for (ptrdiff_t q = 0; q < n_queries; q++)
        planes->choose(queries + q * n_words, n_words, choices + q * 64 * n_words);
}

/* Queries that have a hit. */
EXPORT int64_t limits_plane_scan(const char *level, const uint64_t *codes, const uint8_t *laid_out,
                                 int32_t n, const uint64_t *queries, const uint8_t *choices,
                                 const int32_t *bounds, int32_t n_queries, int32_t n_words,
                                 int32_t *positions, int32_t *distances, int32_t n_passes)
{
    const fh_planes *planes = planes_of(level);
    const fh_plane_queries batch = {n_queries, n_words, queries, choices, bounds};
    int64_t hits = 0;
    for (int32_t pass = 0; pass < n_passes; pass++)
        for (int32_t q = 0, n_hits; q < n_queries; q++) {
            q = planes->scan(&batch, codes, laid_out, n, q, &n_hits, positions, distances);
            hits += q < n_queries;
        }
    return hits;
}
