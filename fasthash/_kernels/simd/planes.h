/* The scan of bit planes, for a file that says what a register is.
 *
 * A block of BLOCK codes is laid out so that one register (a plane) holds one bit of all its codes. A
 * query is compared with all of them by full adders, which take three bits of equal weight and give
 * a sum of the same weight and a carry of twice the weight.
 *
 * Adder k of the first layer takes the parity of the differing bits 0 .. 2k-1 and the differing bits
 * 2k and 2k+1. Its sum is the parity of bits 0 .. 2k+1, the input of adder k+1. So
 *
 *     distance = parity of all differing bits + 2 * number of carries
 *
 * and only carries are needed. A carry depends on the codes and on three bits of the query: the
 * parity of its bits 0 .. 2k-1, and bits 2k and 2k+1. All eight outcomes are stored per block:
 *
 *     planes[k][p], k < 32 n_words, p = 0 .. 7: carry k of the block for the query bits p
 *
 * and a query is a list of 32 n_words choices, one plane of eight per adder. What remains is to add
 * 32 n_words bits of weight two: 31 adders per 64-bit word and block.
 *
 * The comparison with the bound costs nothing. The counters start at 2^M - bound, so bit M of the sum
 * is clear exactly where distance < bound. M is the smallest number with 2^M > 64 n_words.
 *
 * Memory: 256 planes per block and word, four times the codes, so planes live in a stretch of codes
 * that is laid out for the queries of a task, never in an index.
 *
 * Overflow bound: the sum is at most 2^M + 64 n_words < 2^(M+1), M <= PLANE_BITS_MAX.
 *
 * The file that includes this defines
 *
 *     TARGET, INLINE        attributes of functions
 *     Plane, BLOCK          a register, and its bits
 *     STRETCH_BYTES         what is scanned at once: so many bytes of planes, or one block
 *     load, store           a plane from and to memory
 *     filled(bit)           a plane of equal bits
 *     both(a, b)            and
 *     differ(a, b)          exclusive or
 *     any_clear(a)          whether some bit is 0
 *     ADD(carry, low, b, c) low + b + c as a sum, which replaces low, and a carry
 *     MAJORITY(p, a, b, c)  the majority of three planes, of which the constant p complements some:
 *                           a for 4, b for 2, c for 1
 *     split_word(codes, n_bytes, bits)     one word of BLOCK codes that lie n_bytes apart, as 64
 *                                          planes one behind the other
 */
enum {
    PLANE_BYTES = BLOCK / 8,
    WORD_BYTES = 256 * PLANE_BYTES, /* planes of a block and word: 32 adders, eight planes each */
    CODES_MAX = STRETCH_BYTES / WORD_BYTES * BLOCK, /* codes that are scanned at once */
    PLANE_BITS_MAX = 12                             /* M for FH_PLANE_WORDS_MAX words */
};

/* --- layout ------------------------------------------------------------------------------------- */

TARGET static void lay_out(const uint8_t *codes, int32_t n_words, uint8_t *planes)
{
    uint8_t bits[64 * PLANE_BYTES];
    Plane parity = filled(0);
    for (int32_t w = 0; w < n_words; w++) {
        split_word(codes + 8 * w, 8 * (ptrdiff_t)n_words, bits);
        for (int k = 0; k < 32; k++, planes += 8 * PLANE_BYTES) {
            const Plane y = load(bits + 2 * k * PLANE_BYTES);
            const Plane z = load(bits + (2 * k + 1) * PLANE_BYTES);
            store(planes, MAJORITY(0, parity, y, z));
            store(planes + PLANE_BYTES, MAJORITY(1, parity, y, z));
            store(planes + 2 * PLANE_BYTES, MAJORITY(2, parity, y, z));
            store(planes + 3 * PLANE_BYTES, MAJORITY(3, parity, y, z));
            store(planes + 4 * PLANE_BYTES, MAJORITY(4, parity, y, z));
            store(planes + 5 * PLANE_BYTES, MAJORITY(5, parity, y, z));
            store(planes + 6 * PLANE_BYTES, MAJORITY(6, parity, y, z));
            store(planes + 7 * PLANE_BYTES, MAJORITY(7, parity, y, z));
            parity = differ(parity, differ(y, z));
        }
    }
}

/* Two lists of 32 n_words choices, as bytes of 32-byte planes: for even and for odd starts of the
 * counters. */
static void choose(const uint64_t *query, int32_t n_words, uint8_t *choices)
{
    for (unsigned odd = 0; odd < 2; odd++) {
        unsigned parity = odd;
        for (int32_t k = 0; k < 32 * n_words; k++) {
            const unsigned pair = query[k / 32] >> (2 * k % 64) & 3, y = pair & 1, z = pair >> 1;
            *choices++ = (uint8_t)(32 * (4 * parity + 2 * y + z));
            parity ^= y ^ z;
        }
    }
}

/* --- scan --------------------------------------------------------------------------------------- */

#define CARRY(i)                                                                                   \
    load(planes + (ptrdiff_t)8 * PLANE_BYTES * (i) + (ptrdiff_t)choices[i] * (PLANE_BYTES / 32))

/* Adds sixteen carries to the counters of weight 2 to 16; what they overflow by has weight 32. */
static INLINE Plane add_carries(const uint8_t *planes, const uint8_t *choices, Plane *counter)
{
    Plane a, b, c, d, e, f, over;
    ADD(a, counter[1], CARRY(0), CARRY(1));
    ADD(b, counter[1], CARRY(2), CARRY(3));
    ADD(c, counter[2], a, b);
    ADD(a, counter[1], CARRY(4), CARRY(5));
    ADD(b, counter[1], CARRY(6), CARRY(7));
    ADD(d, counter[2], a, b);
    ADD(e, counter[3], c, d);
    ADD(a, counter[1], CARRY(8), CARRY(9));
    ADD(b, counter[1], CARRY(10), CARRY(11));
    ADD(c, counter[2], a, b);
    ADD(a, counter[1], CARRY(12), CARRY(13));
    ADD(b, counter[1], CARRY(14), CARRY(15));
    ADD(d, counter[2], a, b);
    ADD(f, counter[3], c, d);
    ADD(over, counter[4], e, f);
    return over;
}

/* Bit i is clear where code i of the block is nearer than the bound; the counters start with
 * `started`: bit i of 2^M - bound in started[i]. M and, for narrow codes, n_words are constants where
 * this is inlined. */
static INLINE Plane not_nearer(const uint8_t *planes, const uint8_t *choices, int32_t n_words,
                               int M, const Plane *started)
{
    Plane counter[PLANE_BITS_MAX + 1];
    for (int i = 1; i <= M; i++)
        counter[i] = started[i];
    for (int32_t w = 0; w < n_words; w++, planes += WORD_BYTES, choices += 32) {
        const Plane first = add_carries(planes, choices, counter);
        const Plane second = add_carries(planes + WORD_BYTES / 2, choices + 16, counter);
        Plane carry;
        ADD(carry, counter[5], first, second);
        for (int i = 6; i <= M; i++) {
            const Plane next = both(counter[i], carry);
            counter[i] = differ(counter[i], carry);
            carry = next;
        }
    }
    return counter[M];
}

static INLINE int32_t lowest_bit(uint64_t x) { return (int32_t)_mm_popcnt_u64((x & (0 - x)) - 1); }

static INLINE int32_t distance_of(const uint64_t *code, const uint64_t *query, int32_t n_words)
{
    int64_t distance = 0;
    for (int32_t w = 0; w < n_words; w++)
        distance += _mm_popcnt_u64(code[w] ^ query[w]);
    return (int32_t)distance;
}

/* Lists the codes whose bit in `far` is clear, of n codes, and their distances; returns how many.
 *
 * Words that have such a bit are noted without a branch: whether a word has one cannot be predicted,
 * and a branch that is predicted wrongly costs more than four words that are noted. */
static INLINE int32_t list_hits(const uint64_t *far, int32_t n, const uint64_t *codes,
                                const uint64_t *query, int32_t n_words, int32_t *positions,
                                int32_t *distances)
{
    uint64_t near[CODES_MAX / 64];
    int32_t places[CODES_MAX / 64], n_near = 0, n_hits = 0;
    for (int32_t place = 0; place < n; place += 64) {
        near[n_near] = ~*far++;
        if (n - place < 64)
            near[n_near] &= (UINT64_C(1) << (n - place)) - 1;
        places[n_near] = place;
        n_near += near[n_near] != 0;
    }
    for (int32_t w = 0; w < n_near; w++)
        for (uint64_t left = near[w]; left; left &= left - 1) {
            const int32_t i = places[w] + lowest_bit(left);
            positions[n_hits] = i;
            distances[n_hits++] = distance_of(codes + (ptrdiff_t)i * n_words, query, n_words);
        }
    return n_hits;
}

static INLINE int32_t scan_of_width(const fh_plane_queries *queries, int32_t n_words, int M,
                                    const uint64_t *codes, const uint8_t *planes, int32_t n,
                                    int32_t q, int32_t *n_hits, int32_t *positions,
                                    int32_t *distances)
{
    for (*n_hits = 0; q < queries->n && *n_hits == 0; q++) {
        const uint32_t start = (1u << M) - (uint32_t)queries->bounds[q];
        const uint8_t *choices = queries->choices + (2 * (ptrdiff_t)q + (start & 1)) * 32 * n_words;
        Plane far[CODES_MAX / BLOCK], started[PLANE_BITS_MAX + 1];
        for (int i = 1; i <= M; i++)
            started[i] = filled(start >> i & 1);
        Plane all_far = filled(1);
        for (int32_t b = 0; b * BLOCK < n; b++) {
            far[b] = not_nearer(planes + (ptrdiff_t)b * n_words * WORD_BYTES, choices, n_words, M,
                                started);
            all_far = both(all_far, far[b]);
        }
        if (any_clear(all_far))
            *n_hits = list_hits((const uint64_t *)far, n, codes,
                                queries->words + (ptrdiff_t)q * n_words, n_words, positions,
                                distances);
    }
    return *n_hits == 0 ? queries->n : q - 1;
}

TARGET static int32_t scan(const fh_plane_queries *queries, const uint64_t *codes,
                           const uint8_t *planes, int32_t n, int32_t first, int32_t *n_hits,
                           int32_t *positions, int32_t *distances)
{
#define SCAN(width, M)                                                                             \
    return scan_of_width(queries, width, M, codes, planes, n, first, n_hits, positions, distances)
    const int32_t n_words = queries->n_words;
    if (n_words == 1)
        SCAN(1, 7);
    if (n_words == 2)
        SCAN(2, 8);
    if (n_words < 4)
        SCAN(n_words, 8);
    if (n_words < 8)
        SCAN(n_words, 9);
    if (n_words < 16)
        SCAN(n_words, 10);
    if (n_words < 32)
        SCAN(n_words, 11);
    SCAN(n_words, 12);
#undef SCAN
}
