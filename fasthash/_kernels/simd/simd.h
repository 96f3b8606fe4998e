/* The contract between the kernels and the instruction-set levels.
 *
 * One C file per instruction set fills one fh_level; dispatch.c finds out what the processor and the
 * operating system support and holds the only global, the level in use.
 *
 * Every level computes the same integers; only the speed differs. Callers have validated everything:
 * no function here checks its arguments.
 *
 *   query    n_bytes bytes, the packed code of one query
 *   codes    n rows of n_bytes bytes each, no alignment required
 *   n        at most FH_BLOCK_MAX rows per call, so that positions fit in int32
 *   n_bytes  at least 1 and at most FH_CODE_BYTES_MAX, so that a distance (8 * n_bytes) fits in int32
 */
#ifndef FASTHASH_SIMD_H
#define FASTHASH_SIMD_H

#include <stddef.h>
#include <stdint.h>

#define FH_BLOCK_MAX INT32_MAX
#define FH_CODE_BYTES_MAX (INT32_MAX / 8)

typedef struct {
    const char *name;

    /* distances[i] = popcount(query ^ codes[i]) for i in [0, n). */
    void (*distances)(const uint8_t *query, const uint8_t *codes, int32_t n, ptrdiff_t n_bytes,
                      int32_t *distances);

    /* Appends (i, distance) of every code whose distance is < bound, in order of i, and returns how
     * many there were. Both outputs must hold n entries; a level may write beyond the returned count,
     * never beyond n. */
    int32_t (*scan)(const uint8_t *query, const uint8_t *codes, int32_t n, ptrdiff_t n_bytes,
                    int32_t bound, int32_t *positions, int32_t *distances);
} fh_level;

/* One per instruction set; NULL where the target architecture cannot have it. */
extern const fh_level fh_level_scalar;
const fh_level *fh_level_avx512(void);

/* The levels this machine can run, slowest first; returns how many. `levels` holds FH_LEVELS_MAX. */
#define FH_LEVELS_MAX 8
int fh_supported_levels(const fh_level **levels);

/* The level in use. It is the fastest supported one until fh_use_level names another. */
const fh_level *fh_active_level(void);

/* Returns 0, or -1 where this machine has no level of that name (the level in use then stays). */
int fh_use_level(const char *name);

#endif
