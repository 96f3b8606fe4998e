/* Weighted distances with AVX2: a byte shuffle looks up the same nibble of 32 codes at once.
 *
 * A group is 32 codes, stored nibble by nibble: first the high nibbles of byte 0 of all its codes,
 * each in a byte, then the low ones, then those of byte 1. The two entries of a byte of a code add
 * up to at most 255, so they are added in bytes, and then widened: the sums of codes with odd
 * numbers are shifted down and added on their own; all are added as 16-bit numbers, from which the
 * odd ones are taken away in the end. This takes 6 operations per byte of 32 codes. Several groups
 * share each load of a table.
 *
 * Overflow bound: a 16-bit sum grows by at most 255 per byte, so it stays below 65536 for SUM_BYTES
 * bytes. Wider codes are summed in 32 bits, SUM_BYTES bytes at a time.
 */
#include "simd.h"

#if (defined(__x86_64__) || defined(_M_X64))

#include "avx2.h"

#include <string.h>

enum { CODES = FH_AVX2_WEIGHTED_CODES, SUM_BYTES = 256, GROUPS_MAX = 4 };

/* Bytes of a group per byte of a code. */
enum { SPREAD = FH_AVX2_WEIGHTED_SPREAD, STEP = SPREAD * CODES };

/* --- layout ----------------------------------------------------------------------------------- */

/* Fetches the lines of 8 * CODES bytes, a page ahead. */
static INLINE void prefetch(const uint8_t *codes)
{
    for (int line = 0; line < 8 * CODES; line += 64)
        _mm_prefetch((const char *)codes + PREFETCH_BYTES + line, _MM_HINT_T0);
}

/* The eight bytes of a row at `bytes`, of which n_left are there; the others are zero. */
static INLINE __m128i load_eight(const uint8_t *bytes, ptrdiff_t n_left)
{
    uint64_t word = 0;
    memcpy(&word, bytes, n_left >= 8 ? 8 : (size_t)n_left);
    return _mm_cvtsi64_si128((long long)word);
}

/* Writes eight bytes of 32 codes, nibble by nibble; of the bytes, n_left are there, of the codes,
 * n. Codes 16 to 31 are in the upper halves of the registers. */
static INLINE void transpose_eight(const uint8_t *codes, int32_t n, ptrdiff_t n_bytes,
                                   ptrdiff_t n_left, uint8_t *out)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m128i zero = _mm_setzero_si128();
    __m256i rows[16], pairs[8], fours[8], eights[8];
    for (int r = 0; r < 16; r++) {
        const __m128i low = r < n ? load_eight(codes + r * n_bytes, n_left) : zero;
        const __m128i high = r + 16 < n ? load_eight(codes + (r + 16) * n_bytes, n_left) : zero;
        rows[r] = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
    }
    /* Rows that are 8, 4, 2 and 1 apart are interleaved, so that they end in ascending order. */
    for (int i = 0; i < 8; i++)
        pairs[i] = _mm256_unpacklo_epi8(rows[i], rows[i + 8]);
    for (int i = 0; i < 4; i++) {
        fours[i] = _mm256_unpacklo_epi8(pairs[i], pairs[i + 4]);
        fours[i + 4] = _mm256_unpackhi_epi8(pairs[i], pairs[i + 4]);
    }
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < 2; i++) {
            const __m256i a = fours[4 * half + i], b = fours[4 * half + i + 2];
            eights[4 * half + i] = _mm256_unpacklo_epi8(a, b);
            eights[4 * half + i + 2] = _mm256_unpackhi_epi8(a, b);
        }
    for (int j = 0; j < 8 && j < n_left; j++) {
        const __m256i a = eights[j / 2 * 2], b = eights[j / 2 * 2 + 1];
        const __m256i bytes = j % 2 == 0 ? _mm256_unpacklo_epi8(a, b) : _mm256_unpackhi_epi8(a, b);
        __m256i *nibbles = (__m256i *)(out + j * STEP);
        _mm256_storeu_si256(nibbles, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble));
        _mm256_storeu_si256(nibbles + 1, _mm256_and_si256(bytes, nibble));
    }
}

AVX2 void fh_avx2_prepare_weighted(const uint8_t *codes, int32_t n, int32_t n_bytes, uint8_t *tile)
{
    for (int32_t i = 0; i < n; i += CODES, codes += (ptrdiff_t)CODES * n_bytes) {
        int32_t start = 0;
        if (n - i >= CODES)
            for (; start + 8 <= n_bytes; start += 8, tile += 8 * STEP) {
                prefetch(codes + (ptrdiff_t)start * CODES);
                transpose_eight(codes + start, CODES, n_bytes, 8, tile);
            }
        for (; start < n_bytes; start += 8) {
            const int32_t n_left = n_bytes - start < 8 ? n_bytes - start : 8;
            transpose_eight(codes + start, n - i, n_bytes, n_left, tile);
            tile += n_left * STEP;
        }
    }
}

/* --- scan ------------------------------------------------------------------------------------- */

/* 16-bit distances of the codes of a group with even numbers, and of those with odd ones. */
typedef struct {
    __m256i even, odd;
} Distances;

static INLINE __m256i load_table(const uint8_t *table)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
}

/* Distances over at most SUM_BYTES bytes of n_groups groups, which is a constant. */
static INLINE void sum_bytes(const uint8_t *tables, const uint8_t *codes, ptrdiff_t stride,
                             int32_t n_bytes, int n_groups, Distances *distances)
{
    __m256i all[GROUPS_MAX], odd[GROUPS_MAX];
    for (int g = 0; g < n_groups; g++)
        all[g] = odd[g] = _mm256_setzero_si256();
    for (int32_t j = 0; j < n_bytes; j++, tables += 32, codes += STEP) {
        const __m256i high_table = load_table(tables), low_table = load_table(tables + 16);
        for (int g = 0; g < n_groups; g++) {
            const uint8_t *nibbles = codes + g * stride;
            const __m256i high = _mm256_shuffle_epi8(high_table, load(nibbles));
            const __m256i low = _mm256_shuffle_epi8(low_table, load(nibbles + CODES));
            const __m256i sum = _mm256_add_epi8(high, low);
            all[g] = _mm256_add_epi16(all[g], sum);
            odd[g] = _mm256_add_epi16(odd[g], _mm256_srli_epi16(sum, 8));
        }
    }
    for (int g = 0; g < n_groups; g++) {
        distances[g].even = _mm256_sub_epi16(all[g], _mm256_slli_epi16(odd[g], 8));
        distances[g].odd = odd[g];
    }
}

/* Writes the distances of a group in the order of its codes. */
static INLINE void write_distances(Distances distances, uint16_t *out)
{
    const __m256i low = _mm256_unpacklo_epi16(distances.even, distances.odd);
    const __m256i high = _mm256_unpackhi_epi16(distances.even, distances.odd);
    _mm256_storeu_si256((__m256i *)out, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256((__m256i *)(out + 16), _mm256_permute2x128_si256(low, high, 0x31));
}

/* Distances of one group of any width. */
static INLINE void sum_wide(const uint8_t *tables, const uint8_t *group, int32_t n_bytes,
                            int32_t *totals)
{
    memset(totals, 0, CODES * sizeof *totals);
    for (int32_t j = 0; j < n_bytes; j += SUM_BYTES) {
        const int32_t n = n_bytes - j < SUM_BYTES ? n_bytes - j : SUM_BYTES;
        Distances distances[1];
        uint16_t some[CODES];
        sum_bytes(tables + (ptrdiff_t)j * 32, group + (ptrdiff_t)j * STEP, 0, n, 1, distances);
        write_distances(distances[0], some);
        for (int i = 0; i < CODES; i++)
            totals[i] += some[i];
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

/* Scans the whole sets of n_groups groups, a constant, of codes [start, n); returns the number of
 * hits of codes before them and of theirs. Codes have at most SUM_BYTES bytes, so no distance is
 * larger than 255 * SUM_BYTES, and the bound fits in 16 bits. */
static INLINE int32_t scan_sets(const uint8_t *tables, const uint8_t *tile, int32_t start,
                                int32_t n, int32_t n_bytes, int n_groups, int32_t bound,
                                int32_t n_hits, int32_t *positions, int32_t *distances)
{
    const ptrdiff_t stride = (ptrdiff_t)n_bytes * STEP;
    const __m256i limit = _mm256_set1_epi16((short)bound);
    for (int32_t i = start; i + n_groups * CODES <= n; i += n_groups * CODES) {
        Distances sums[GROUPS_MAX];
        sum_bytes(tables, tile + i / CODES * stride, stride, n_bytes, n_groups, sums);
        __m256i nearest = _mm256_min_epu16(sums[0].even, sums[0].odd);
        for (int g = 1; g < n_groups; g++)
            nearest = _mm256_min_epu16(nearest, _mm256_min_epu16(sums[g].even, sums[g].odd));
        const __m256i below = _mm256_subs_epu16(limit, nearest);
        if (_mm256_testz_si256(below, below))
            continue;
        for (int g = 0; g < n_groups; g++) {
            uint16_t some[CODES];
            int32_t found[CODES];
            write_distances(sums[g], some);
            for (int j = 0; j < CODES; j++)
                found[j] = some[j];
            n_hits = append(found, CODES, i + g * CODES, bound, n_hits, positions, distances);
        }
    }
    return n_hits;
}

AVX2 int32_t fh_avx2_scan_weighted(const uint8_t *tables, const uint8_t *tile, int32_t n,
                                   int32_t n_bytes, int32_t bound, int32_t *positions,
                                   int32_t *distances)
{
    int32_t n_hits = 0, i = 0;
    if (n_bytes <= SUM_BYTES) {
#define SCAN(n_groups)                                                                             \
    scan_sets(tables, tile, i, n, n_bytes, n_groups, bound, n_hits, positions, distances)
        n_hits = SCAN(GROUPS_MAX);
        i = n / (GROUPS_MAX * CODES) * (GROUPS_MAX * CODES);
        n_hits = SCAN(2);
        i = n / (2 * CODES) * (2 * CODES);
#undef SCAN
    }
    for (; i < n; i += CODES) {
        int32_t found[CODES];
        sum_wide(tables, tile + (ptrdiff_t)i * SPREAD * n_bytes, n_bytes, found);
        n_hits =
            append(found, n - i < CODES ? n - i : CODES, i, bound, n_hits, positions, distances);
    }
    return n_hits;
}

/* --- estimates ---------------------------------------------------------------------------------- */

typedef __m256i Register;

#define TARGET AVX2
#define TABLE_BYTES 16
#if (defined(__GNUC__) || defined(__clang__)) && !defined(FH_EMULATED)
#define KEEP(x) __asm__("" : "+x"(x))
#else
#define KEEP(x) (void)(x)
#endif
enum { GROUPS = 4, GROUPS_WIDE = 2 };

static INLINE Register look_up(Register table, Register codes)
{
    return _mm256_shuffle_epi8(table, codes);
}

static INLINE Register zero(void) { return _mm256_setzero_si256(); }
static INLINE Register filled8(int32_t x) { return _mm256_set1_epi8((char)x); }
static INLINE Register filled16(int32_t x) { return _mm256_set1_epi16((short)x); }
static INLINE Register add8(Register a, Register b) { return _mm256_add_epi8(a, b); }
static INLINE Register add_saturated(Register a, Register b) { return _mm256_adds_epu8(a, b); }
static INLINE Register add16(Register a, Register b) { return _mm256_add_epi16(a, b); }

static INLINE Register add_odd(Register a, Register x)
{
    return _mm256_add_epi16(a, _mm256_srli_epi16(x, 8));
}

static INLINE Register without_odd(Register a, Register odd)
{
    return _mm256_sub_epi16(a, _mm256_slli_epi16(odd, 8));
}

static INLINE Register smaller8(Register a, Register b) { return _mm256_min_epu8(a, b); }
static INLINE Register smaller16(Register a, Register b) { return _mm256_min_epu16(a, b); }

static INLINE uint64_t within8(Register x, Register limit)
{
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(x, limit), x));
}

static INLINE uint64_t within16(Register even, Register odd, Register limit)
{
    const __m256i a = _mm256_cmpeq_epi16(_mm256_min_epu16(even, limit), even);
    const __m256i b = _mm256_cmpeq_epi16(_mm256_min_epu16(odd, limit), odd);
    return (uint32_t)_mm256_movemask_epi8(_mm256_blendv_epi8(a, b, _mm256_set1_epi16(-256)));
}

static INLINE int any_within8(Register x, Register limit) { return within8(x, limit) != 0; }
static INLINE int any_within16(Register x, Register limit) { return within16(x, x, limit) != 0; }

#include "estimates.h"

static const fh_estimates estimates = {
    .lanes = CODES,
    .set = GROUPS * CODES,
    .bits = 4,
    .least_queries = 4,
    .least_of_words = 4,
    .tile_bytes = 1 << 14,
    .lay_out = fh_avx2_prepare_weighted,
    .scan = scan_estimates,
};

const fh_weights fh_avx2_weights = {
    .lanes = CODES,
    .spread = SPREAD,
    .prepare = fh_avx2_prepare_weighted,
    .scan = fh_avx2_scan_weighted,
    .estimates = &estimates,
};

#endif
