/* NEON level (every little-endian AArch64): four codes in two registers; bits are counted per byte.
 *
 * Cost per four codes of W words: 2 W xors and byte counts, 2 (W - 1) additions, and three pairwise
 * additions for every WORDS_PER_SUM words. These leave the four distances in one register of 32-bit
 * lanes.
 *
 * Overflow bound: a byte grows by at most 8 per word, and the first pairwise addition doubles it.
 * So it reaches at most 240 for WORDS_PER_SUM = 15 words.
 */
#include "simd.h"

#if (defined(__aarch64__) && !defined(__AARCH64EB__)) || defined(_M_ARM64)

#include <arm_neon.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define INLINE inline __attribute__((always_inline))
#else
#define INLINE __forceinline
#endif

enum { LANES = 4 };
typedef int32x4_t Distances, Bound;

enum { WORDS_PER_SUM = 15, REGISTERS_PER_SUM = 4095 };

/* Counts the differing bits per byte, for one word of two codes. */
static INLINE uint8x16_t count_bytes(const uint64_t *words, uint64_t query)
{
    const uint8x16_t code = vld1q_u8((const uint8_t *)words);
    return vcntq_u8(veorq_u8(code, vreinterpretq_u8_u64(vdupq_n_u64(query))));
}

/* Distances over n_words <= WORDS_PER_SUM words, two neighbouring lanes to a code. */
static INLINE uint16x8_t sum_words(const uint64_t *query, const uint64_t *words, int32_t n_words)
{
    uint8x16_t first = count_bytes(words, query[0]), last = count_bytes(words + 2, query[0]);
    for (int32_t w = 1; w < n_words; w++) {
        first = vaddq_u8(first, count_bytes(words + w * LANES, query[w]));
        last = vaddq_u8(last, count_bytes(words + w * LANES + 2, query[w]));
    }
    return vpaddlq_u8(vpaddq_u8(first, last));
}

/* Distances of one whole group. */
static INLINE Distances group_distances(const uint64_t *query, const uint64_t *group,
                                        int32_t n_words)
{
    if (n_words <= WORDS_PER_SUM)
        return vreinterpretq_s32_u32(vpaddlq_u16(sum_words(query, group, n_words)));
    uint32x4_t total = vpaddlq_u16(sum_words(query, group, WORDS_PER_SUM));
    for (int32_t w = WORDS_PER_SUM; w < n_words; w += WORDS_PER_SUM) {
        const int32_t n = n_words - w < WORDS_PER_SUM ? n_words - w : WORDS_PER_SUM;
        total = vpadalq_u16(total, sum_words(query + w, group + (ptrdiff_t)w * LANES, n));
    }
    return vreinterpretq_s32_u32(total);
}

static INLINE Bound bound_of(int32_t bound) { return vdupq_n_s32(bound); }

static INLINE Distances nearer(Distances a, Distances b) { return vminq_s32(a, b); }

static INLINE int any_nearer(Distances distances, Bound bound)
{
    return vmaxvq_u32(vcltq_s32(distances, bound)) != 0;
}

static INLINE int32_t smallest(Distances distances) { return vminvq_s32(distances); }

static INLINE void write(Distances distances, int32_t *out) { vst1q_s32(out, distances); }

static INLINE void write_pair(Distances a, Distances b, int32_t *out)
{
    vst1q_s32(out, a);
    vst1q_s32(out + LANES, b);
}

/* NEON has no compress instruction. Lanes are always written, but counted only if below the bound:
 * there is no branch to mispredict. */
static INLINE int32_t append(Distances distances, int32_t n, Bound bound, int32_t first,
                             int32_t n_hits, int32_t *positions, int32_t *out)
{
    int32_t lanes[LANES];
    vst1q_s32(lanes, distances);
    for (int32_t lane = 0; lane < n; lane++) {
        positions[n_hits] = first + lane;
        out[n_hits] = lanes[lane];
        n_hits += lanes[lane] < vgetq_lane_s32(bound, 0);
    }
    return n_hits;
}

#define TARGET
#define READY(query, n_words)

#include "tiles.h"

/* Turns two words of two rows into the first words of both, and the second words of both. */
static INLINE void transpose_pair(const uint8_t *row, ptrdiff_t n_bytes, uint64_t *words)
{
    const uint64x2_t a = vreinterpretq_u64_u8(vld1q_u8(row));
    const uint64x2_t b = vreinterpretq_u64_u8(vld1q_u8(row + n_bytes));
    vst1q_u64(words, vtrn1q_u64(a, b));
    vst1q_u64(words + LANES, vtrn2q_u64(a, b));
}

static void prepare_group(const uint8_t *codes, int32_t n, ptrdiff_t n_bytes, uint64_t *group)
{
    ptrdiff_t start = 0;
    if (n == LANES)
        for (; start + 16 <= n_bytes; start += 16) {
            transpose_pair(codes + start, n_bytes, group + start / 8 * LANES);
            transpose_pair(codes + 2 * n_bytes + start, n_bytes, group + start / 8 * LANES + 2);
        }
    for (; start < n_bytes; start += 8) {
        const size_t n_here = n_bytes - start < 8 ? (size_t)(n_bytes - start) : 8;
        for (int32_t lane = 0; lane < LANES; lane++) {
            uint64_t word = 0;
            if (lane < n && n_here == 8)
                memcpy(&word, codes + lane * n_bytes + start, 8);
            else if (lane < n)
                memcpy(&word, codes + lane * n_bytes + start, n_here);
            group[start / 8 * LANES + lane] = word;
        }
    }
}

static void prepare(const uint8_t *codes, int32_t n, ptrdiff_t n_bytes, uint64_t *tile)
{
    const ptrdiff_t group_words = (n_bytes + 7) / 8 * LANES;
    for (int32_t i = 0; i < n; i += LANES, codes += LANES * n_bytes, tile += group_words)
        prepare_group(codes, n - i < LANES ? n - i : LANES, n_bytes, tile);
}

/* Scans one row at a time, 16 bytes per register and 8 at the end; n_bytes is a multiple of 8. */
static int32_t scan_rows(const uint64_t *query, const uint8_t *codes, int32_t n, ptrdiff_t n_bytes,
                         int32_t bound, int32_t *positions, int32_t *distances)
{
    const uint8_t *bytes = (const uint8_t *)query;
    int32_t n_hits = 0;
    for (int32_t i = 0; i < n; i++, codes += n_bytes) {
        /* A lane grows by at most 16 for each register: two bytes of 8 bits. */
        uint16x8_t total = vdupq_n_u16(0);
        int32_t distance = 0;
        ptrdiff_t start = 0;
        for (; start + 16 <= n_bytes; start += 16) {
            total = vpadalq_u8(
                total, vcntq_u8(veorq_u8(vld1q_u8(codes + start), vld1q_u8(bytes + start))));
            if (start % (16 * REGISTERS_PER_SUM) == 16 * (REGISTERS_PER_SUM - 1)) {
                distance += (int32_t)vaddlvq_u16(total);
                total = vdupq_n_u16(0);
            }
        }
        distance += (int32_t)vaddlvq_u16(total);
        if (start < n_bytes)
            distance += vaddlv_u8(vcnt_u8(veor_u8(vld1_u8(codes + start), vld1_u8(bytes + start))));
        positions[n_hits] = i;
        distances[n_hits] = distance;
        n_hits += distance < bound;
    }
    return n_hits;
}

/* NEON has no compress instruction, so the scalar list_relevant is the fastest. */
static const fh_level level = {
    .name = "neon",
    .lanes = LANES,
    .counts_words = 1,
    .prepare = prepare,
    .distances = distances,
    .minima = minima,
    .scan = scan,
    .row_bytes = 8,
    .scan_rows = scan_rows,
    .list_relevant = fh_list_relevant_scalar,
    .weights = &fh_neon_weights,
};

const fh_level *fh_level_neon(void) { return &level; }

#else

const fh_level *fh_level_neon(void) { return NULL; }

#endif
