/* The contract between the kernels and the instruction-set levels.
 *
 * One C file per instruction set fills one fh_level. dispatch.c finds out what the processor and
 * the operating system support, and holds the only global variable, the level in use.
 *
 * Codes are scanned in tiles, which are prepared once and then compared with many queries. A tile
 * consists of groups of `lanes` codes. A group is stored word by word; the same word of all its
 * codes is contiguous:
 *
 *     tile[(group * n_words + word) * lanes + lane]
 *
 * So one register holds the same word of `lanes` codes, and no distance needs a sum across a
 * register. Codes are padded with zero bits to whole 64-bit words, so 72 bits cost as much as 128.
 * A level may store other values than the words of the codes (AVX2 stores running xors of them). So
 * only the level that laid a tile out can scan it.
 *
 * With n_words = 1, this is the order of the rows themselves, and a tile may be the caller's codes
 * as they are: for n_words = 1 no function reads past the n codes or needs any alignment. Otherwise
 * a tile is aligned to 64 bytes and has whole groups; lanes past n are zero.
 *
 * Every level computes the same integers; only the speed differs. Callers have checked the
 * arguments; no function here checks them.
 *
 *   codes    n rows of n_bytes bytes each, no alignment required
 *   query    n_words 64-bit words, zero padded like the codes
 *   n        at most FH_TILE_MAX codes, so that positions fit in int32
 *   n_bytes  at most FH_CODE_BYTES_MAX, so that a distance (8 * n_bytes) fits in int32
 *
 * Tests define FH_EMULATED if other code emulates the instructions of a level.
 */
#ifndef FASTHASH_SIMD_H
#define FASTHASH_SIMD_H

#include <stddef.h>
#include <stdint.h>

#define FH_TILE_MAX (1 << 20)
#define FH_CODE_BYTES_MAX (INT32_MAX / 8)

/* How many bytes ahead a scan of codes as they lie in memory prefetches: half a page on processors of
 * Intel, whose own prefetchers stop at the end of a page, and two pages on Zen 5, whose own fall
 * behind; else 0, nothing. On Sapphire Rapids, one query among ten million codes of 64 to 1024 bits
 * is 1.1 to 1.3 times as fast with it; a prefetch into the second-level cache only was slower among
 * 100,000. On Zen 5, see rows.h. */
static inline ptrdiff_t fh_prefetch_bytes(void)
{
#if (defined(__GNUC__) || defined(__clang__)) && (defined(__x86_64__) || defined(__i386__)) &&     \
    !defined(FH_EMULATED)
    if (__builtin_cpu_is("intel"))
        return 2048;
    /* Of the processors of AMD, Zen 5 was the first with this instruction. */
    return __builtin_cpu_is("amd") && __builtin_cpu_supports("avx512vp2intersect") ? 8192 : 0;
#else
    return 0;
#endif
}

/* Largest `lanes` of any level; tiles and outputs have room for this many codes past n. */
#define FH_LANES_MAX 16

/* Codes of a block of `minima`, a multiple of the `lanes` of every level: short blocks to bound the
 * distance of the k-th nearest code, long ones to find out which blocks to scan. */
#define FH_SHORT_BLOCK 16
#define FH_LONG_BLOCK 64

/* Queries that are compared with bit planes. */
typedef struct {
    int32_t n, n_words;
    const uint64_t *words;  /* n_words for each */
    const uint8_t *choices; /* 64 * n_words for each, see fh_planes.choose */
    const int32_t *bounds;  /* one for each, 0 to 64 * n_words + 1 */
} fh_plane_queries;

/* Codes as bit planes, for many queries: a register holds one bit of many codes. A block of
 * block_codes codes takes n_words * bytes_per_word bytes. Codes are whole words, n_words of them,
 * at most FH_PLANE_WORDS_MAX. */
#define FH_PLANE_WORDS_MAX 63

typedef struct {
    int block_codes;
    int bytes_per_word;
    int stretch_bytes; /* codes of this many bytes, or one block, are compared at once */
    int least_queries; /* with this many queries, bit planes save the time of laying out a block */
    int hit_codes;     /* a hit costs as much time as bit planes save a query on this many codes */

    /* Lays one block out: block_codes codes, one after the other. */
    void (*lay_out)(const uint8_t *codes, int32_t n_words, uint8_t *planes);

    /* Writes which planes a query uses, in 64 * n_words bytes. */
    void (*choose)(const uint64_t *query, int32_t n_words, uint8_t *choices);

    /* Compares n codes, whose blocks are laid out one after the other; the last block is filled up
     * with any codes. A hit is a code whose distance is below the bound of a query. Returns the
     * first query, from `first` on, that has hits, or queries->n if none has. Writes the hits of
     * that query as fh_level.scan does, and their number. */
    int32_t (*scan)(const fh_plane_queries *queries, const uint64_t *codes, const uint8_t *planes,
                    int32_t n, int32_t first, int32_t *n_hits, int32_t *positions,
                    int32_t *distances);
} fh_planes;

/* Codes compared with a query that has a weight for each bit: the distance of a code is the sum of
 * the weights of the bits in which it differs from the query. Weights are integers of at least 0,
 * and those of a byte add up to at most 255.
 *
 * A query is given by tables, 2 * n_bytes of 16 entries. Entry v of table 2 j is the distance that
 * the high nibble of byte j adds if its value is v; table 2 j + 1 is that of the low nibble. */
#define FH_WEIGHTED_LANES_MAX 32
#define FH_WEIGHTED_BYTES_MAX (INT32_MAX / 255 - 1)

/* Estimates of weighted distances, for many queries. An estimate is an integer that is never larger
 * than the distance, in units of the query's choice. So only codes whose estimate is at most the
 * limit of a query can be nearer than its bound. They are few, and their distances are computed one
 * by one.
 *
 * A look-up takes a byte of a tile, which holds `bits` bits of a code, and adds the entry of a table.
 * Look-up l of a code takes bits l * bits, l * bits + 1, … of it, counted from the lowest bit of byte
 * 0; but with 4 bits, look-up 2 j takes the high nibble of byte j, and look-up 2 j + 1 the low one.
 * With more than FH_ESTIMATE_NARROW look-ups, each FH_ESTIMATE_CHUNK of them are at most 255 in an
 * estimate, however large their entries are; with fewer, all together are. ../weights.h chooses
 * the unit. */
#define FH_ESTIMATE_CHUNK 16
#define FH_ESTIMATE_NARROW 32
#define FH_ESTIMATE_ENTRY_MAX 127 /* so that the sum of two fits into a byte */
#define FH_ESTIMATE_BYTES_MAX 1024
#define FH_ESTIMATE_SET_MAX 256 /* codes that are scanned at once, at most */

/* Up to 64 codes that may be near: bit i is set for number first + i. */
typedef struct {
    uint64_t codes;
    int32_t first;
} fh_near_codes;

typedef struct {
    const uint8_t *tables; /* one for each look-up; entries are at most FH_ESTIMATE_ENTRY_MAX */
    int32_t limit;         /* at most 254 if there are few look-ups, else at most 65535 */
    int32_t n_found;
    fh_near_codes
        *found; /* room for one entry per group of the tile, and FH_ESTIMATE_SET_MAX / 8 */
} fh_estimated;

typedef struct {
    int lanes; /* codes are laid out in groups of this many */
    int set;   /* the scan reads whole sets of this many codes */
    int bits;  /* of a look-up: 4, with tables of 16 bytes, or 6, with tables of 64 */
    /* With this many queries, estimates save the time of laying out a stretch; the second number is
     * for codes of 8 bytes. */
    int least_queries, least_of_words;
    int tile_bytes; /* so many bytes of a tile stay in the cache while all queries scan it */

    /* Lays n rows out, and fills the last group up with zeros. */
    void (*lay_out)(const uint8_t *codes, int32_t n, int32_t n_bytes, uint8_t *tile);

    /* Finds the codes of a tile that may be near one or two queries. They may be numbers past n,
     * as the tile consists of whole sets. */
    void (*scan)(fh_estimated *queries, int n_queries, const uint8_t *tile, int32_t n,
                 int32_t n_look_ups);
} fh_estimates;

typedef struct {
    int lanes;  /* codes are laid out in groups of this many; a tile has whole groups */
    int spread; /* bytes of a tile for each byte of a code */

    /* Lays n rows out as a tile. NULL if the scan reads rows as they lie. */
    void (*prepare)(const uint8_t *codes, int32_t n, int32_t n_bytes, uint8_t *tile);

    /* Writes (i, distance) of every code whose distance is < bound, in order of i, and returns
     * their number. The bound is at most the sum of the weights + 1. Both outputs have room for n
     * entries; entries after the returned number may be overwritten. */
    int32_t (*scan)(const uint8_t *tables, const uint8_t *tile, int32_t n, int32_t n_bytes,
                    int32_t bound, int32_t *positions, int32_t *distances);

    const fh_estimates *estimates; /* NULL if the level has none */
} fh_weights;

typedef struct {
    const char *name;
    int lanes;
    /* Whether the processor has an instruction that counts the bits of one word. Kernels that work
     * on single words, such as the probing of tables, use it. */
    int counts_words;

    /* Lays n rows out as a tile of whole groups. */
    void (*prepare)(const uint8_t *codes, int32_t n, ptrdiff_t n_bytes, uint64_t *tile);

    /* distances[i] = popcount(query ^ code i) for i in [0, n). */
    void (*distances)(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                      int32_t *distances);

    /* Writes the smallest distance of each block of codes; the last block may be shorter. `block` is
     * FH_SHORT_BLOCK or FH_LONG_BLOCK. This takes about as long as a scan without hits. */
    void (*minima)(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                   int32_t block, int32_t *minima);

    /* Writes (i, distance) of every code whose distance is < bound, in order of i, and returns
     * their number. Both outputs have room for n + FH_LANES_MAX entries; entries after the returned
     * number may be overwritten. */
    int32_t (*scan)(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_words,
                    int32_t bound, int32_t *positions, int32_t *distances);

    /* Like scan, over n codes as they lie in memory: rows of n_bytes bytes, more than 8 and a
     * multiple of row_bytes. It is for so few queries that laying out a tile would take longer than
     * it saves. */
    int row_bytes;
    int32_t (*scan_rows)(const uint64_t *query, const uint8_t *codes, int32_t n, ptrdiff_t n_bytes,
                         int32_t bound, int32_t *positions, int32_t *distances);

    /* Lists the rows that share a label with the query, ascending, and returns their number. Labels
     * are bits, n_words words for each row, in rows and not in a tile. `positions` has room for
     * n + FH_LANES_MAX entries; entries after the returned number may be overwritten. */
    int32_t (*list_relevant)(const uint64_t *query, const uint64_t *labels, int32_t n,
                             int32_t n_words, int32_t *positions);

    const fh_planes *planes; /* NULL if the level has none */
    const fh_weights *weights;
} fh_level;

/* Of the scalar level. */
extern const fh_weights fh_scalar_weights;

/* The list_relevant of the scalar level, for levels and widths without a faster one. */
int32_t fh_list_relevant_scalar(const uint64_t *query, const uint64_t *labels, int32_t n,
                                int32_t n_words, int32_t *positions);

/* One function per instruction set; it returns NULL if the target architecture does not have it. */
const fh_level *fh_level_scalar(void);
const fh_level *fh_level_avx2(void);
const fh_level *fh_level_avx512bw(void);
const fh_level *fh_level_avx512(void);
const fh_level *fh_level_neon(void);

#if defined(__x86_64__) || defined(_M_X64)
extern const fh_planes fh_avx2_planes, fh_avx512bw_planes, fh_avx512_planes;
extern const fh_weights fh_avx2_weights, fh_avx512_weights;

/* The functions of fh_avx2_weights, for levels that have only estimates of their own. */
#define FH_AVX2_WEIGHTED_CODES 32
#define FH_AVX2_WEIGHTED_SPREAD 2
void fh_avx2_prepare_weighted(const uint8_t *codes, int32_t n, int32_t n_bytes, uint8_t *tile);
int32_t fh_avx2_scan_weighted(const uint8_t *tables, const uint8_t *tile, int32_t n,
                              int32_t n_bytes, int32_t bound, int32_t *positions,
                              int32_t *distances);
#endif

#if (defined(__aarch64__) && !defined(__AARCH64EB__)) || defined(_M_ARM64)
extern const fh_weights fh_neon_weights;
#endif

/* Writes the levels that this machine can run, slowest first, and returns their number. `levels`
 * has room for FH_LEVELS_MAX. */
#define FH_LEVELS_MAX 8
int fh_supported_levels(const fh_level **levels);

/* The level in use. It is the fastest supported one until fh_use_level names another. */
const fh_level *fh_active_level(void);

/* Returns 0; or -1 if this machine has no level of that name, and then the level in use stays. */
int fh_use_level(const char *name);

#endif
