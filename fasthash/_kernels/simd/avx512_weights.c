/* Estimates of weighted distances with AVX-512 VBMI: a permutation of bytes looks six bits of 64 codes
 * up at once, in a table of 64 entries. estimates.h scans them. Distances themselves are computed as
 * in the AVX2 level.
 *
 * A look-up of six bits takes as long as one of four, so 64 bits take 11 look-ups instead of 16. A
 * piece of a code is 6 bytes, which are 8 look-ups: VPMULTISHIFTQB takes them out of a word.
 */
#include "simd.h"

#if (defined(__x86_64__) || defined(_M_X64))

#include "avx512.h"

#include <string.h>

#if (defined(__GNUC__) || defined(__clang__)) && !defined(FH_EMULATED)
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vbmi,bmi,bmi2,popcnt")))
#define INLINE TARGET inline __attribute__((always_inline))
#define KEEP(x) __asm__("" : "+v"(x))
#else
#define TARGET
#define INLINE __forceinline
#define KEEP(x) (void)(x)
#endif

#define TABLE_BYTES 64
enum { CODES = 64, GROUPS = 4, GROUPS_WIDE = 4 };
typedef __m512i Register;

/* --- layout ------------------------------------------------------------------------------------- */

enum { PIECE_BYTES = 6, PIECE_LOOK_UPS = 8 };

/* Writes n look-ups of 64 codes, at most PIECE_LOOK_UPS, from the words of eight codes per register.
 * The first look-up begins at bit `first` of each word. */
static INLINE void write_look_ups(const __m512i *words, int first, int n, uint8_t *out)
{
    const __m512i shifts =
        _mm512_set1_epi64((long long)(0x2a241e18120c0600u + (uint64_t)first * 0x0101010101010101u));
    /* Byte 8 i + j is byte 8 j + i: the first look-up of eight codes comes first. */
    const __m512i by_look_up = _mm512_set_epi64(
        0x3f372f271f170f07, 0x3e362e261e160e06, 0x3d352d251d150d05, 0x3c342c241c140c04,
        0x3b332b231b130b03, 0x3a322a221a120a02, 0x3931292119110901, 0x3830282018100800);
    __m512i rows[8];
    for (int i = 0; i < 8; i++)
        rows[i] =
            _mm512_permutexvar_epi8(by_look_up, _mm512_multishift_epi64_epi8(shifts, words[i]));
    transpose(rows);
    for (int l = 0; l < n; l++)
        _mm512_storeu_si512(out + l * CODES, rows[l]);
}

/* The bytes of a row from `start` on as a word, at most eight; n are left, of which none is read
 * past the last. */
static INLINE uint64_t load_word(const uint8_t *row, ptrdiff_t start, ptrdiff_t n)
{
    uint64_t word = 0;
    if (n >= 8)
        memcpy(&word, row + start, 8);
    else if (start + n >= 8) {
        memcpy(&word, row + start + n - 8, 8);
        word >>= 8 * (8 - n);
    } else
        memcpy(&word, row + start, (size_t)n);
    return word;
}

/* Fetches lines a page ahead, so that memory stays busy while a few queries scan a tile. A prefetch
 * past the end does no harm. */
static INLINE void prefetch(const uint8_t *codes, int n_lines)
{
    for (int line = 0; line < n_lines; line++)
        _mm_prefetch((const char *)codes + 4096 + 64 * line, _MM_HINT_T0);
}

TARGET static void lay_out(const uint8_t *codes, int32_t n, int32_t n_bytes, uint8_t *tile)
{
    for (int32_t i = 0; i < n; i += CODES, codes += (ptrdiff_t)CODES * n_bytes) {
        const int32_t n_here = n - i < CODES ? n - i : CODES;
        __m512i words[8];
        if (n_bytes == 8 && n_here == CODES) {
            prefetch(codes, 8);
            for (int r = 0; r < 8; r++)
                words[r] = _mm512_loadu_si512(codes + r * 64);
            write_look_ups(words, 0, 8, tile);
            write_look_ups(words, 48, 3, tile + (ptrdiff_t)8 * CODES);
            tile += (ptrdiff_t)11 * CODES;
            continue;
        }
        for (int32_t start = 0; start < n_bytes; start += PIECE_BYTES) {
            uint64_t rows[CODES];
            const int32_t n_left = n_bytes - start;
            const int n_look_ups = n_left >= PIECE_BYTES ? PIECE_LOOK_UPS : (8 * n_left + 5) / 6;
            prefetch(codes + (ptrdiff_t)start * CODES, PIECE_BYTES);
            for (int32_t r = 0; r < n_here; r++)
                rows[r] = load_word(codes + (ptrdiff_t)r * n_bytes, start, n_left);
            if (n_here < CODES)
                memset(rows + n_here, 0, (size_t)(CODES - n_here) * sizeof *rows);
            for (int r = 0; r < 8; r++)
                words[r] = _mm512_loadu_si512(rows + 8 * r);
            write_look_ups(words, 0, n_look_ups, tile);
            tile += (ptrdiff_t)n_look_ups * CODES;
        }
    }
}

/* --- scan --------------------------------------------------------------------------------------- */

static INLINE Register load(const uint8_t *bytes) { return _mm512_loadu_si512(bytes); }
static INLINE Register load_table(const uint8_t *table) { return _mm512_loadu_si512(table); }

/* The upper two bits of an index are ignored. */
static INLINE Register look_up(Register table, Register codes)
{
    return _mm512_permutexvar_epi8(codes, table);
}

static INLINE Register zero(void) { return _mm512_setzero_si512(); }
static INLINE Register filled8(int32_t x) { return _mm512_set1_epi8((char)x); }
static INLINE Register filled16(int32_t x) { return _mm512_set1_epi16((short)x); }
static INLINE Register add8(Register a, Register b) { return _mm512_add_epi8(a, b); }
static INLINE Register add_saturated(Register a, Register b) { return _mm512_adds_epu8(a, b); }
static INLINE Register add16(Register a, Register b) { return _mm512_add_epi16(a, b); }

static INLINE Register add_odd(Register a, Register x)
{
    return _mm512_add_epi16(a, _mm512_srli_epi16(x, 8));
}

static INLINE Register without_odd(Register a, Register odd)
{
    return _mm512_sub_epi16(a, _mm512_slli_epi16(odd, 8));
}

static INLINE Register smaller8(Register a, Register b) { return _mm512_min_epu8(a, b); }
static INLINE Register smaller16(Register a, Register b) { return _mm512_min_epu16(a, b); }

static INLINE uint64_t within8(Register x, Register limit)
{
    return _mm512_cmple_epu8_mask(x, limit);
}

static INLINE uint64_t within16(Register even, Register odd, Register limit)
{
    const __m512i a = _mm512_movm_epi16(_mm512_cmple_epu16_mask(even, limit));
    const __m512i b = _mm512_movm_epi16(_mm512_cmple_epu16_mask(odd, limit));
    return _mm512_movepi8_mask(_mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaau, a, b));
}

static INLINE int any_within8(Register x, Register limit) { return within8(x, limit) != 0; }

static INLINE int any_within16(Register x, Register limit)
{
    return _mm512_cmple_epu16_mask(x, limit) != 0;
}

#include "estimates.h"

static const fh_estimates estimates = {
    .lanes = CODES,
    .set = GROUPS * CODES,
    .bits = 6,
    .least_queries = 6,
    .least_of_words = 1,
    .tile_bytes = 1 << 15,
    .lay_out = lay_out,
    .scan = scan_estimates,
};

const fh_weights fh_avx512_weights = {
    .lanes = FH_AVX2_WEIGHTED_CODES,
    .spread = FH_AVX2_WEIGHTED_SPREAD,
    .prepare = fh_avx2_prepare_weighted,
    .scan = fh_avx2_scan_weighted,
    .estimates = &estimates,
};

#endif
