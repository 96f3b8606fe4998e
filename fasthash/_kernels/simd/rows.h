/* The scan of rows as they lie in memory, for one or two queries: 32 bytes of a code in a register.
 *
 * The counts of the four words of a register are not added up for each row. They are added up for
 * eight rows together, in registers of 32-bit lanes: a shift and an or, two unpack operations and
 * two additions for each four rows.
 *
 * On processors of Intel, rows half a page ahead are prefetched, and on Zen 5 two pages ahead, see
 * fh_prefetch_bytes. There, one query among a million codes of 256, 512, 1024 and 2048 bits is 1.3,
 * 1.3, 1.7 and 2.9 times as fast with it: the compiler mixes the loads of eight rows, and such an
 * order slows the processor's own prefetchers down, more with some compilers' options than with
 * others. Only among codes of 512 bits in the cache, 30,000, it is .8 times as fast. On Zen 4, a page
 * ahead was slower, 1.2 to 1.5 times for codes of 512 and 1024 bits in memory. There, registers of 64
 * bytes read memory at half the speed of these if codes have 1024 bits.
 *
 * The file that includes this defines
 *
 *     INLINE              attributes of functions
 *     Last                says which bytes of the last register of a row belong to it
 *     last_of(n_bytes)    the Last of rows of n_bytes
 *     count_row(query, row, n_bytes, last)
 *                         the differing bits of a row, or of a register of short rows, for each of
 *                         four 64-bit lanes
 */
/* Counts four registers, which begin every `step` bytes, and adds counts of neighbouring words. The
 * results are 32-bit lanes; those of register i are lanes i and 4 + i. */
static INLINE __m256i count_four(const uint8_t *query, const uint8_t *row, ptrdiff_t step,
                                 ptrdiff_t n_bytes, Last last)
{
    const __m256i a = count_row(query, row, n_bytes, last);
    const __m256i b = count_row(query, row + step, n_bytes, last);
    const __m256i c = count_row(query, row + 2 * step, n_bytes, last);
    const __m256i d = count_row(query, row + 3 * step, n_bytes, last);
    const __m256i ab = _mm256_or_si256(a, _mm256_slli_epi64(b, 32));
    const __m256i cd = _mm256_or_si256(c, _mm256_slli_epi64(d, 32));
    return _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
}

/* Distances of eight rows. */
static INLINE __m256i eight_rows(const uint8_t *query, const uint8_t *row, ptrdiff_t n_bytes,
                                 Last last)
{
    if (n_bytes == 16)
        return _mm256_permutevar8x32_epi32(count_four(query, row, 32, 32, last),
                                           _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    const __m256i a = count_four(query, row, n_bytes, n_bytes, last);
    const __m256i b = count_four(query, row + 4 * n_bytes, n_bytes, n_bytes, last);
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                            _mm256_permute2x128_si256(a, b, 0x31));
}

static INLINE int32_t scan_rows_of(const uint8_t *query, const uint8_t *codes, int32_t n,
                                   ptrdiff_t n_bytes, int32_t bound, int32_t *positions,
                                   int32_t *distances)
{
    const __m256i limit = _mm256_set1_epi32(bound);
    const Last last = last_of(n_bytes);
    const ptrdiff_t ahead = fh_prefetch_bytes();
    int32_t n_hits = 0, i = 0;
    for (; i + 8 <= n; i += 8, codes += 8 * n_bytes) {
        if (ahead > 0)
            for (ptrdiff_t line = 0; line < 8 * n_bytes; line += 64)
                _mm_prefetch((const char *)codes + ahead + line, _MM_HINT_T0);
        const __m256i distance = eight_rows(query, codes, n_bytes, last);
        const __m256i nearer = _mm256_cmpgt_epi32(limit, distance);
        if (!_mm256_testz_si256(nearer, nearer)) {
            int32_t lanes[8];
            _mm256_storeu_si256((__m256i *)lanes, distance);
            for (int32_t lane = 0; lane < 8; lane++) {
                positions[n_hits] = i + lane;
                distances[n_hits] = lanes[lane];
                n_hits += lanes[lane] < bound;
            }
        }
    }
    for (; i < n; i++, codes += n_bytes) {
        uint64_t words[4];
        _mm256_storeu_si256((__m256i *)words, count_row(query, codes, n_bytes, last));
        const int64_t distance = (int64_t)(words[0] + words[1] + words[2] + words[3]);
        positions[n_hits] = i;
        distances[n_hits] = (int32_t)distance;
        n_hits += distance < bound;
    }
    return n_hits;
}

/* Where this is inlined, common widths are constants. */
static INLINE int32_t scan_any_rows(const uint64_t *query, const uint8_t *codes, int32_t n,
                                    ptrdiff_t n_bytes, int32_t bound, int32_t *positions,
                                    int32_t *distances)
{
    /* A register holds two short rows, so it needs the query twice. */
    const uint64_t twice[4] = {query[0], query[1], query[0], query[1]};
#define SCAN(width)                                                                                \
    return scan_rows_of(n_bytes == 16 ? (const uint8_t *)twice : (const uint8_t *)query, codes, n, \
                        width, bound, positions, distances)
    switch (n_bytes) {
    case 16: SCAN(16);
    case 32: SCAN(32);
    case 64: SCAN(64);
    case 128: SCAN(128);
    default: SCAN(n_bytes);
    }
#undef SCAN
}
