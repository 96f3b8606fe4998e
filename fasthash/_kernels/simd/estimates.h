/* The scan of estimates of weighted distances, for a file that says what a register is; simd.h
 * defines an estimate.
 *
 * A tile is groups of CODES codes. A group is stored look-up by look-up: a byte for each code. Two
 * queries share the load of a byte, and several groups share the load of a table.
 *
 * The entries of CHUNK look-ups are added up in bytes that stay at 255 when they would overflow. An
 * estimate may be too small, so this does no harm. Entries are added in pairs first, because processors
 * have more units for additions that overflow. If there are more than FH_ESTIMATE_NARROW look-ups, the
 * sums of chunks are then added up in 16 bits: those of codes with even numbers, and those of codes
 * with odd ones.
 *
 * Cost per look-up of CODES codes: less than a load, a look-up and an addition; with chunks, three
 * operations more for every CHUNK look-ups.
 *
 * Overflow bound: a pair of entries is at most 254. A 16-bit sum grows by at most 255 per chunk, so
 * it stays below 65536 for 257 chunks; FH_ESTIMATE_BYTES_MAX bytes have 128.
 *
 * The file that includes this defines
 *
 *     TARGET, INLINE        attributes of functions
 *     Register, CODES       a register, and its bytes
 *     GROUPS, GROUPS_WIDE   groups that are scanned at once, without and with chunks; constants, at
 *                           most 4, whose codes are at most FH_ESTIMATE_SET_MAX
 *     TABLE_BYTES           bytes of a table: 16, or 64
 *     KEEP(x)               keeps x in a register, because loading it again would take longer
 *     load                  a register from memory
 *     load_table            a table from memory, as look_up needs it
 *     look_up(table, x)     the entry for each byte of x
 *     zero()                a register of zeros
 *     filled8, filled16     a register of equal lanes
 *     add8                  the sums of bytes, which do not overflow
 *     add_saturated         the sums of bytes, at most 255
 *     add16                 the sums of 16-bit lanes
 *     add_odd(a, x)         the 16-bit lanes of a plus the upper bytes of those of x
 *     without_odd(a, odd)   the 16-bit lanes of a minus 256 times those of odd
 *     smaller8, smaller16   the smaller lanes
 *     any_within8, any_within16(x, limit)  whether a lane is at most the limit
 *     within8(x, limit)     bit i is set if byte i is at most the limit
 *     within16(even, odd, limit)           the same for 16-bit lanes, whose codes alternate
 */

enum { CHUNK = FH_ESTIMATE_CHUNK, QUERIES_MAX = 2 };

/* Adds the entries of two look-ups, i and i + 1, or of look-up i alone. */
static INLINE void add_entries(const uint8_t *const *tables, const uint8_t *codes, ptrdiff_t stride,
                               ptrdiff_t i, int is_pair, int n_queries, int n_groups,
                               Register sums[QUERIES_MAX][GROUPS])
{
    Register first[QUERIES_MAX], second[QUERIES_MAX];
    for (int q = 0; q < n_queries; q++) {
        first[q] = load_table(tables[q] + i * TABLE_BYTES);
        second[q] = is_pair ? load_table(tables[q] + (i + 1) * TABLE_BYTES) : first[q];
    }
    for (int g = 0; g < n_groups; g++) {
        Register a = load(codes + g * stride + i * CODES), b = a;
        KEEP(a);
        if (is_pair) {
            b = load(codes + g * stride + (i + 1) * CODES);
            KEEP(b);
        }
        for (int q = 0; q < n_queries; q++) {
            Register entry = look_up(first[q], a);
            if (is_pair)
                entry = add8(entry, look_up(second[q], b));
            sums[q][g] = add_saturated(sums[q][g], entry);
        }
    }
}

/* Adds the entries of n look-ups. */
static INLINE void sum_entries(const uint8_t *const *tables, const uint8_t *codes, ptrdiff_t stride,
                               int32_t n, int n_queries, int n_groups,
                               Register sums[QUERIES_MAX][GROUPS])
{
    for (int q = 0; q < n_queries; q++)
        for (int g = 0; g < n_groups; g++)
            sums[q][g] = zero();
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4) {
        add_entries(tables, codes, stride, i, 1, n_queries, n_groups, sums);
        add_entries(tables, codes, stride, i + 2, 1, n_queries, n_groups, sums);
    }
    for (; i < n; i++)
        add_entries(tables, codes, stride, i, 0, n_queries, n_groups, sums);
}

/* Notes CODES codes, from number `first` on, that may be near. */
static INLINE void note(uint64_t codes, int32_t first, fh_estimated *query)
{
    query->found[query->n_found].first = first;
    query->found[query->n_found].codes = codes;
    query->n_found += codes != 0;
}

static INLINE void scan_narrow(fh_estimated *queries, int n_queries, const uint8_t *tile, int32_t n,
                               int32_t n_look_ups)
{
    const ptrdiff_t stride = (ptrdiff_t)n_look_ups * CODES;
    const uint8_t *tables[QUERIES_MAX];
    Register limits[QUERIES_MAX];
    for (int q = 0; q < n_queries; q++) {
        tables[q] = queries[q].tables;
        limits[q] = filled8(queries[q].limit);
    }
    for (int32_t i = 0; i < n; i += GROUPS * CODES, tile += GROUPS * stride) {
        Register sums[QUERIES_MAX][GROUPS];
        sum_entries(tables, tile, stride, n_look_ups, n_queries, GROUPS, sums);
        for (int q = 0; q < n_queries; q++) {
            Register least = sums[q][0];
            for (int g = 1; g < GROUPS; g++)
                least = smaller8(least, sums[q][g]);
            if (any_within8(least, limits[q]))
                for (int g = 0; g < GROUPS; g++)
                    note(within8(sums[q][g], limits[q]), i + g * CODES, &queries[q]);
        }
    }
}

static INLINE void scan_wide(fh_estimated *queries, int n_queries, const uint8_t *tile, int32_t n,
                             int32_t n_look_ups)
{
    const ptrdiff_t stride = (ptrdiff_t)n_look_ups * CODES;
    for (int32_t i = 0; i < n; i += GROUPS_WIDE * CODES, tile += GROUPS_WIDE * stride) {
        const uint8_t *tables[QUERIES_MAX];
        Register all[QUERIES_MAX][GROUPS_WIDE], odd[QUERIES_MAX][GROUPS_WIDE];
        for (int q = 0; q < n_queries; q++) {
            tables[q] = queries[q].tables;
            for (int g = 0; g < GROUPS_WIDE; g++)
                all[q][g] = odd[q][g] = zero();
        }
        for (int32_t start = 0; start < n_look_ups; start += CHUNK) {
            const int32_t n_here = n_look_ups - start < CHUNK ? n_look_ups - start : CHUNK;
            Register sums[QUERIES_MAX][GROUPS];
            sum_entries(tables, tile + (ptrdiff_t)start * CODES, stride, n_here, n_queries,
                        GROUPS_WIDE, sums);
            for (int q = 0; q < n_queries; q++) {
                tables[q] += CHUNK * TABLE_BYTES;
                for (int g = 0; g < GROUPS_WIDE; g++) {
                    all[q][g] = add16(all[q][g], sums[q][g]);
                    odd[q][g] = add_odd(odd[q][g], sums[q][g]);
                }
            }
        }
        for (int q = 0; q < n_queries; q++) {
            const Register limit = filled16(queries[q].limit);
            Register least = odd[q][0];
            for (int g = 0; g < GROUPS_WIDE; g++) {
                all[q][g] = without_odd(all[q][g], odd[q][g]);
                least = smaller16(least, smaller16(all[q][g], odd[q][g]));
            }
            if (any_within16(least, limit))
                for (int g = 0; g < GROUPS_WIDE; g++)
                    note(within16(all[q][g], odd[q][g], limit), i + g * CODES, &queries[q]);
        }
    }
}

TARGET static void scan_estimates(fh_estimated *queries, int n_queries, const uint8_t *tile,
                                  int32_t n, int32_t n_look_ups)
{
    for (int q = 0; q < n_queries; q++)
        queries[q].n_found = 0;
    if (n_look_ups <= FH_ESTIMATE_NARROW) {
        if (n_queries == 2)
            scan_narrow(queries, 2, tile, n, n_look_ups);
        else
            scan_narrow(queries, 1, tile, n, n_look_ups);
    } else if (n_queries == 2)
        scan_wide(queries, 2, tile, n, n_look_ups);
    else
        scan_wide(queries, 1, tile, n, n_look_ups);
}
