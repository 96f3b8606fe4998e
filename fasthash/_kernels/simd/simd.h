/* The contract between the kernels and the instruction-set levels.
 *
 * One C file per instruction set fills one fh_level; dispatch.c finds out what the processor and the
 * operating system support and holds the only global, the level in use.
 *
 * Codes are scanned in tiles that are prepared once and then compared with many queries. A tile holds
 * groups of `lanes` codes, in a group word by word, the lanes of a word side by side:
 *
 *     tile[(group * n_words + word) * lanes + lane]
 *
 * so that one register holds the same word of `lanes` codes and no distance needs a sum across a
 * register. Codes are padded with zero bits to whole 64-bit words: 72 bits cost what 128 cost. What
 * the words of a tile say is the level's own affair (AVX2 stores running xors of words): only the
 * level that laid a tile out can scan it.
 *
 * With n_words = 1 this is the order of the rows themselves, and a tile may be the caller's codes as
 * they are: for n_words = 1 no function reads past the n codes or expects any alignment. Otherwise a
 * tile is aligned to 64 bytes and holds whole groups, the lanes past n zero.
 *
 * Every level computes the same integers; only the speed differs. Callers have validated everything:
 * no function here checks its arguments.
 *
 *   codes    n rows of n_bytes bytes each, no alignment required
 *   query    n_words 64-bit words, zero padded like the codes
 *   n        at most FH_TILE_MAX codes, so that positions fit in int32
 *   n_bytes  at most FH_CODE_BYTES_MAX, so that a distance (8 * n_bytes) fits in int32
 *
 * Tests define FH_EMULATED where other code stands in for the instructions of a level.
 */
#ifndef FASTHASH_SIMD_H
#define FASTHASH_SIMD_H

#include <stddef.h>
#include <stdint.h>

#define FH_TILE_MAX (1 << 20)
#define FH_CODE_BYTES_MAX (INT32_MAX / 8)

/* Largest `lanes` of any level; tiles and outputs have room for this many codes past n. */
#define FH_LANES_MAX 16

/* Queries that are compared with bit planes. */
typedef struct {
    int32_t n, n_words;
    const uint64_t *words;  /* n_words for each */
    const uint8_t *choices; /* 64 * n_words for each, see fh_planes.choose */
    const int32_t *bounds;  /* one for each, 0 to 64 * n_words + 1 */
} fh_plane_queries;

/* Codes as bit planes, for many queries: a register holds one bit of many codes. A block of
 * block_codes codes takes n_words * bytes_per_word bytes. Codes are whole words, n_words of them, at
 * most FH_PLANE_WORDS_MAX. */
#define FH_PLANE_WORDS_MAX 63

typedef struct {
    int block_codes;
    int bytes_per_word;
    int stretch_bytes; /* so many bytes are compared at once, or one block */
    int least_queries; /* laying out a block costs as much as so many queries save */
    int hit_codes;     /* a hit costs as much as a query saves on so many codes */

    /* Lays one block out: block_codes codes, one behind the other. */
    void (*lay_out)(const uint8_t *codes, int32_t n_words, uint8_t *planes);

    /* Writes which planes a query takes, 64 * n_words bytes. */
    void (*choose)(const uint64_t *query, int32_t n_words, uint8_t *choices);

    /* Compares n codes, whose blocks are laid out one behind the other, the last one filled up with
     * any codes. Returns the first query from `first` on that has hits, or queries->n: codes whose
     * distance is below the query's bound. Writes its hits as fh_level.scan does, and how many. */
    int32_t (*scan)(const fh_plane_queries *queries, const uint64_t *codes, const uint8_t *planes,
                    int32_t n, int32_t first, int32_t *n_hits, int32_t *positions,
                    int32_t *distances);
} fh_planes;

typedef struct {
    const char *name;
    int lanes;
    /* Whether single words may be counted by an instruction: what needs no registers of its own, as
     * the probing of tables, asks this. */
    int counts_words;

    /* Lays n rows out as a tile of whole groups. */
    void (*prepare)(const uint8_t *codes, int32_t n, ptrdiff_t n_bytes, uint64_t *tile);

    /* distances[i] = popcount(query ^ code i) for i in [0, n). */
    void (*distances)(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                      int32_t *distances);

    /* Appends (i, distance) of every code whose distance is < bound, in order of i, and returns how
     * many there were. Both outputs have room for n + FH_LANES_MAX entries; what lies behind the
     * returned count may be overwritten. */
    int32_t (*scan)(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                    int32_t bound, int32_t *positions, int32_t *distances);

    /* As scan, over n codes as they lie, rows of n_bytes > 8, a multiple of row_bytes: for so few
     * queries that a tile is not worth its layout. */
    int row_bytes;
    int32_t (*scan_rows)(const uint64_t *query, const uint8_t *codes, int32_t n, ptrdiff_t n_bytes,
                         int32_t bound, int32_t *positions, int32_t *distances);

    /* Lists the rows that share a label with the query, positions ascending, and returns how many.
     * Labels are bits, n_words words to a row, in rows and not in a tile. `positions` has room for
     * n + FH_LANES_MAX entries; what lies behind the returned count may be overwritten. */
    int32_t (*list_relevant)(const uint64_t *query, const uint64_t *labels, int32_t n,
                             int32_t n_words, int32_t *positions);

    const fh_planes *planes; /* NULL where the level has none */
} fh_level;

/* list_relevant of the scalar level, for levels and widths that have no faster one. */
int32_t fh_list_relevant_scalar(const uint64_t *query, const uint64_t *labels, int32_t n,
                                int32_t n_words, int32_t *positions);

/* One function per instruction set; NULL where the target architecture cannot have it. */
const fh_level *fh_level_scalar(void);
const fh_level *fh_level_avx2(void);
const fh_level *fh_level_avx512bw(void);
const fh_level *fh_level_avx512(void);
const fh_level *fh_level_neon(void);

#if defined(__x86_64__) || defined(_M_X64)
extern const fh_planes fh_avx2_planes, fh_avx512bw_planes, fh_avx512_planes;
#endif

/* The levels this machine can run, slowest first; returns how many. `levels` holds FH_LEVELS_MAX. */
#define FH_LEVELS_MAX 8
int fh_supported_levels(const fh_level **levels);

/* The level in use. It is the fastest supported one until fh_use_level names another. */
const fh_level *fh_active_level(void);

/* Returns 0, or -1 where this machine has no level of that name (the level in use then stays). */
int fh_use_level(const char *name);

#endif
