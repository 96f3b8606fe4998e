/* Weighted distances with NEON: TBL looks up the same nibble of 16 codes at once.
 *
 * A group is 16 codes, stored nibble by nibble: first the high nibbles of byte 0 of all its codes, each
 * in a byte, then the low ones, then those of byte 1. The two entries of a byte of a code add up to at
 * most 255, so they are added in bytes, and the sums are then added up in 16 bits. This takes 5
 * operations per byte of 16 codes. Several groups share each load of a table.
 *
 * Overflow bound: a 16-bit sum grows by at most 255 per byte, so it stays below 65536 for SUM_BYTES
 * bytes. Wider codes are summed in 32 bits, SUM_BYTES bytes at a time.
 */
#include "simd.h"

#if (defined(__aarch64__) && !defined(__AARCH64EB__)) || defined(_M_ARM64)

#include <arm_neon.h>
#include <string.h>

#define TARGET
#if defined(__GNUC__) || defined(__clang__)
#define INLINE inline __attribute__((always_inline))
#else
#define INLINE __forceinline
#endif

enum { CODES = 16, SUM_BYTES = 256, SETS = 4, SPREAD = 2, STEP = SPREAD * CODES };

/* --- layout ------------------------------------------------------------------------------------- */

/* The eight bytes of a row at `bytes`, of which n_left are there; the others are zero. */
static INLINE uint8x16_t load_eight(const uint8_t *bytes, ptrdiff_t n_left)
{
    uint8_t eight[8] = {0};
    if (n_left >= 8)
        return vcombine_u8(vld1_u8(bytes), vdup_n_u8(0));
    memcpy(eight, bytes, (size_t)n_left);
    return vcombine_u8(vld1_u8(eight), vdup_n_u8(0));
}

/* Writes eight bytes of 16 codes, nibble by nibble; of the bytes, n_left are there, of the codes,
 * n. */
static INLINE void transpose_eight(const uint8_t *codes, int32_t n, ptrdiff_t n_bytes,
                                   ptrdiff_t n_left, uint8_t *out)
{
    uint8x16_t rows[16], pairs[8], fours[8], eights[8];
    for (int r = 0; r < 16; r++)
        rows[r] = r < n ? load_eight(codes + r * n_bytes, n_left) : vdupq_n_u8(0);
    /* Rows that are 8, 4, 2 and 1 apart are interleaved, so that they end in ascending order. */
    for (int i = 0; i < 8; i++)
        pairs[i] = vzip1q_u8(rows[i], rows[i + 8]);
    for (int i = 0; i < 4; i++) {
        fours[i] = vzip1q_u8(pairs[i], pairs[i + 4]);
        fours[i + 4] = vzip2q_u8(pairs[i], pairs[i + 4]);
    }
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < 2; i++) {
            const uint8x16_t a = fours[4 * half + i], b = fours[4 * half + i + 2];
            eights[4 * half + i] = vzip1q_u8(a, b);
            eights[4 * half + i + 2] = vzip2q_u8(a, b);
        }
    for (int j = 0; j < 8 && j < n_left; j++) {
        const uint8x16_t a = eights[j / 2 * 2], b = eights[j / 2 * 2 + 1];
        const uint8x16_t bytes = j % 2 == 0 ? vzip1q_u8(a, b) : vzip2q_u8(a, b);
        vst1q_u8(out + j * STEP, vshrq_n_u8(bytes, 4));
        vst1q_u8(out + j * STEP + CODES, vandq_u8(bytes, vdupq_n_u8(15)));
    }
}

static void neon_prepare(const uint8_t *codes, int32_t n, int32_t n_bytes, uint8_t *tile)
{
    for (int32_t i = 0; i < n; i += CODES, codes += (ptrdiff_t)CODES * n_bytes)
        for (int32_t start = 0; start < n_bytes; start += 8) {
            const int32_t n_left = n_bytes - start < 8 ? n_bytes - start : 8;
            transpose_eight(codes + start, n - i, n_bytes, n_left, tile);
            tile += n_left * STEP;
        }
}

/* --- scan --------------------------------------------------------------------------------------- */

/* 16-bit distances of the first eight codes of a group, and of the others. */
typedef struct {
    uint16x8_t first, last;
} Distances;

/* Distances over at most SUM_BYTES bytes of n_groups groups, which is a constant. */
static INLINE void sum_bytes(const uint8_t *tables, const uint8_t *codes, ptrdiff_t stride,
                             int32_t n_bytes, int n_groups, Distances *distances)
{
    for (int g = 0; g < n_groups; g++)
        distances[g].first = distances[g].last = vdupq_n_u16(0);
    for (int32_t j = 0; j < n_bytes; j++, tables += 32, codes += STEP) {
        const uint8x16_t high = vld1q_u8(tables), low = vld1q_u8(tables + 16);
        for (int g = 0; g < n_groups; g++) {
            const uint8_t *nibbles = codes + g * stride;
            const uint8x16_t sum = vaddq_u8(vqtbl1q_u8(high, vld1q_u8(nibbles)),
                                            vqtbl1q_u8(low, vld1q_u8(nibbles + CODES)));
            distances[g].first = vaddw_u8(distances[g].first, vget_low_u8(sum));
            distances[g].last = vaddw_high_u8(distances[g].last, sum);
        }
    }
}

/* Always written, but counted only if below the bound: there is no branch to mispredict. */
static INLINE int32_t append(const int32_t *found, int32_t n, int32_t first, int32_t bound,
                             int32_t n_hits, int32_t *positions, int32_t *distances)
{
    for (int32_t i = 0; i < n; i++) {
        positions[n_hits] = first + i;
        distances[n_hits] = found[i];
        n_hits += found[i] < bound;
    }
    return n_hits;
}

/* Adds the distances of a group to totals. */
static INLINE void add_distances(Distances distances, int32_t *totals)
{
    uint16_t some[CODES];
    vst1q_u16(some, distances.first);
    vst1q_u16(some + 8, distances.last);
    for (int i = 0; i < CODES; i++)
        totals[i] += some[i];
}

static int32_t neon_scan(const uint8_t *tables, const uint8_t *tile, int32_t n, int32_t n_bytes,
                         int32_t bound, int32_t *positions, int32_t *distances)
{
    const ptrdiff_t stride = (ptrdiff_t)n_bytes * STEP;
    int32_t n_hits = 0, i = 0;
    /* Of narrow codes, no distance is larger than 255 * SUM_BYTES, and the bound fits in 16 bits. */
    for (; n_bytes <= SUM_BYTES && i + SETS * CODES <= n; i += SETS * CODES) {
        Distances sums[SETS];
        sum_bytes(tables, tile + i / CODES * stride, stride, n_bytes, SETS, sums);
        uint16x8_t nearest = vminq_u16(sums[0].first, sums[0].last);
        for (int g = 1; g < SETS; g++)
            nearest = vminq_u16(nearest, vminq_u16(sums[g].first, sums[g].last));
        if (vminvq_u16(nearest) >= bound)
            continue;
        for (int g = 0; g < SETS; g++) {
            int32_t found[CODES] = {0};
            add_distances(sums[g], found);
            n_hits = append(found, CODES, i + g * CODES, bound, n_hits, positions, distances);
        }
    }
    for (; i < n; i += CODES) {
        int32_t found[CODES] = {0};
        for (int32_t j = 0; j < n_bytes; j += SUM_BYTES) {
            Distances sums[1];
            sum_bytes(tables + (ptrdiff_t)j * 32, tile + i / CODES * stride + (ptrdiff_t)j * STEP,
                      0, n_bytes - j < SUM_BYTES ? n_bytes - j : SUM_BYTES, 1, sums);
            add_distances(sums[0], found);
        }
        n_hits =
            append(found, n - i < CODES ? n - i : CODES, i, bound, n_hits, positions, distances);
    }
    return n_hits;
}

/* --- estimates ---------------------------------------------------------------------------------- */

#define TABLE_BYTES 16
#define KEEP(x) (void)(x)
enum { GROUPS = 4, GROUPS_WIDE = 2 };
typedef uint8x16_t Register;

#define U16(x) vreinterpretq_u16_u8(x)
#define U8(x) vreinterpretq_u8_u16(x)

static INLINE Register load(const uint8_t *bytes) { return vld1q_u8(bytes); }
static INLINE Register load_table(const uint8_t *table) { return vld1q_u8(table); }
static INLINE Register look_up(Register table, Register codes) { return vqtbl1q_u8(table, codes); }
static INLINE Register zero(void) { return vdupq_n_u8(0); }
static INLINE Register filled8(int32_t x) { return vdupq_n_u8((uint8_t)x); }
static INLINE Register filled16(int32_t x) { return U8(vdupq_n_u16((uint16_t)x)); }
static INLINE Register add8(Register a, Register b) { return vaddq_u8(a, b); }
static INLINE Register add_saturated(Register a, Register b) { return vqaddq_u8(a, b); }
static INLINE Register add16(Register a, Register b) { return U8(vaddq_u16(U16(a), U16(b))); }
static INLINE Register add_odd(Register a, Register x)
{
    return U8(vsraq_n_u16(U16(a), U16(x), 8));
}

static INLINE Register without_odd(Register a, Register odd)
{
    return U8(vsubq_u16(U16(a), vshlq_n_u16(U16(odd), 8)));
}

static INLINE Register smaller8(Register a, Register b) { return vminq_u8(a, b); }
static INLINE Register smaller16(Register a, Register b) { return U8(vminq_u16(U16(a), U16(b))); }

/* The highest bit of every byte, which is all ones or all zeros. */
static INLINE uint64_t bits_of(uint8x16_t bytes)
{
    static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bits = vandq_u8(bytes, vld1q_u8(weights));
    return vaddv_u8(vget_low_u8(bits)) | (uint64_t)vaddv_u8(vget_high_u8(bits)) << 8;
}

static INLINE uint64_t within8(Register x, Register limit) { return bits_of(vcleq_u8(x, limit)); }

static INLINE uint64_t within16(Register even, Register odd, Register limit)
{
    const uint16x8_t a = vcleq_u16(U16(even), U16(limit)), b = vcleq_u16(U16(odd), U16(limit));
    return bits_of(U8(vbslq_u16(vdupq_n_u16(0xff), a, b)));
}

static INLINE int any_within8(Register x, Register limit)
{
    return vmaxvq_u8(vcleq_u8(x, limit)) != 0;
}

static INLINE int any_within16(Register x, Register limit)
{
    return vmaxvq_u16(vcleq_u16(U16(x), U16(limit))) != 0;
}

#include "estimates.h"

static const fh_estimates estimates = {
    .lanes = CODES,
    .set = GROUPS * CODES,
    .bits = 4,
    .least_queries = 4,
    .least_of_words = 4,
    .tile_bytes = 1 << 14,
    .lay_out = neon_prepare,
    .scan = scan_estimates,
};

const fh_weights fh_neon_weights = {
    .lanes = CODES,
    .spread = SPREAD,
    .prepare = neon_prepare,
    .scan = neon_scan,
    .estimates = &estimates,
};

#endif
