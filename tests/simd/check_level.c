/* Checks instruction-set levels against plain bit counting, without Python.
 *
 *     cc -I fasthash/_kernels/simd check_level.c fasthash/_kernels/simd/?*.c && ./a.out [level ...]
 *
 * Every level of the machine, or those named: lay out a tile, distances, minima, scan, over widths,
 * tails and bounds; scan rows as they lie; lay out bit planes and scan them; list the rows that
 * share a label; scan with weights. Codes and labels end where an unreadable page begins, and so do
 * the outputs: one byte too far is a segmentation fault.
 * Prints the levels it has checked, one per line; exits with 1 at a difference.
 */
#define _DEFAULT_SOURCE
#define _DARWIN_C_SOURCE
#include "simd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CODES_MAX = 200, BYTES_MAX = 5000, WORDS_MAX = (BYTES_MAX + 7) / 8 };

/* What any level lays out as bit planes at once. */
enum { PLANE_CODES_MAX = 1024, PLANE_BYTES_MAX = 1 << 20 };

/* Memory that ends at an unreadable page: the last `size` bytes before it. */
typedef struct {
    uint8_t *end;
} Guarded;

static Guarded guarded(size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t n = (size + page - 1) / page * page;
    uint8_t *memory = mmap(NULL, n + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + n, page, PROT_NONE) != 0) {
        perror("guard page");
        exit(2);
    }
    const Guarded result = {memory + n};
    return result;
}

static uint64_t random_state = 1;

static uint64_t random_word(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

/* Set bits of each byte, counted one by one: emulators are too slow to count them for every code. */
static uint8_t ones[256];

static void count_ones(void)
{
    for (int byte = 0; byte < 256; byte++)
        for (int bit = 0; bit < 8; bit++)
            ones[byte] += (byte >> bit) & 1;
}

static int32_t count_differences(const uint8_t *a, const uint8_t *b, int32_t n_bytes)
{
    int32_t n = 0;
    for (int32_t i = 0; i < n_bytes; i++)
        n += ones[a[i] ^ b[i]];
    return n;
}

static const fh_level *level;
static Guarded codes_memory, positions_memory, distances_memory, planes_memory, choices_memory;
static uint64_t *tile_memory;

static void expect(int holds, const char *what, int32_t n_bytes, int32_t n, int32_t bound)
{
    if (holds)
        return;
    printf("%s: %s, n_bytes = %d, n = %d, bound = %d\n", level->name, what, (int)n_bytes, (int)n,
           (int)bound);
    exit(1);
}

/* Scans a tile, or rows as they lie. */
static void check_scan(const uint64_t *query, const uint64_t *tile, const uint8_t *rows, int32_t n,
                       int32_t n_bytes, int32_t bound, const int32_t *expected)
{
    int32_t *positions = (int32_t *)(void *)positions_memory.end - (n + FH_LANES_MAX);
    int32_t *distances = (int32_t *)(void *)distances_memory.end - (n + FH_LANES_MAX);
    const int32_t n_hits =
        rows == NULL ? level->scan(query, tile, n, (n_bytes + 7) / 8, bound, positions, distances)
                     : level->scan_rows(query, rows, n, n_bytes, bound, positions, distances);
    int32_t n_expected = 0;
    for (int32_t i = 0; i < n; i++) {
        if (expected[i] >= bound)
            continue;
        expect(n_expected < n_hits, "scan misses a hit", n_bytes, n, bound);
        expect(positions[n_expected] == i, "scan, position", n_bytes, n, bound);
        expect(distances[n_expected] == expected[i], "scan, distance", n_bytes, n, bound);
        n_expected++;
    }
    expect(n_hits == n_expected, "scan finds too much", n_bytes, n, bound);
}

static void check_bounds(const uint64_t *query, const uint64_t *tile, const uint8_t *rows,
                         int32_t n, int32_t n_bytes, const int32_t *expected)
{
    const int32_t some = n > 0 ? expected[random_word() % (uint64_t)n] : 0;
    const int32_t bounds[] = {0, 1, some, some + 1, 4 * n_bytes, 8 * n_bytes, 8 * n_bytes + 1};
    for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++)
        check_scan(query, tile, rows, n, n_bytes, bounds[b], expected);
}

static void check_minima(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_bytes,
                         int32_t block, const int32_t *expected)
{
    const int32_t n_blocks = (n + block - 1) / block;
    int32_t *minima = (int32_t *)(void *)distances_memory.end - n_blocks;
    level->minima(query, tile, n, (n_bytes + 7) / 8, block, minima);
    for (int32_t b = 0; b < n_blocks; b++) {
        int32_t smallest = expected[b * block];
        for (int32_t i = b * block + 1; i < n && i < (b + 1) * block; i++)
            smallest = expected[i] < smallest ? expected[i] : smallest;
        expect(minima[b] == smallest, "minima", n_bytes, n, block);
    }
}

static void check_tile(const uint64_t *query, const uint64_t *tile, int32_t n, int32_t n_bytes,
                       const int32_t *expected)
{
    int32_t *distances = (int32_t *)(void *)distances_memory.end - n;
    memset(distances, 0xff, (size_t)n * sizeof *distances);
    level->distances(query, tile, n, (n_bytes + 7) / 8, distances);
    for (int32_t i = 0; i < n; i++)
        expect(distances[i] == expected[i], "distances", n_bytes, n, 0);
    check_minima(query, tile, n, n_bytes, FH_SHORT_BLOCK, expected);
    check_minima(query, tile, n, n_bytes, FH_LONG_BLOCK, expected);
    check_bounds(query, tile, NULL, n, n_bytes, expected);
}

/* How codes differ from the query. */
enum { NOWHERE, IN_FEW_BITS, IN_HALF, EVERYWHERE, N_KINDS };

static uint64_t flipped_bits(int kind)
{
    switch (kind) {
    case NOWHERE: return 0;
    case IN_FEW_BITS: return random_word() & random_word() & random_word() & random_word();
    case IN_HALF: return random_word();
    default: return ~UINT64_C(0);
    }
}

static void check(int32_t n, int32_t n_bytes, int kind)
{
    static uint64_t query[WORDS_MAX], code[WORDS_MAX];
    static int32_t expected[CODES_MAX];
    const int32_t n_words = (n_bytes + 7) / 8;
    uint8_t *codes = codes_memory.end - (ptrdiff_t)n * n_bytes;
    for (int32_t w = 0; w < n_words; w++)
        query[w] = random_word();
    for (int32_t j = n_bytes; j < 8 * n_words; j++)
        ((uint8_t *)query)[j] = 0;
    for (int32_t i = 0; i < n; i++) {
        for (int32_t w = 0; w < n_words; w++)
            code[w] = query[w] ^ flipped_bits(kind);
        for (int32_t j = 0; j < n_bytes; j++)
            codes[(ptrdiff_t)i * n_bytes + j] = ((const uint8_t *)code)[j];
        expected[i] = count_differences((const uint8_t *)query, (const uint8_t *)code, n_bytes);
    }
    const int32_t n_lanes = (n + level->lanes - 1) / level->lanes * level->lanes;
    uint64_t *tile = tile_memory;
    memset(tile, 0xff, ((size_t)n + FH_LANES_MAX) * (size_t)n_words * sizeof *tile);
    level->prepare(codes, n, n_bytes, tile);
    for (int32_t i = n; i < n_lanes; i++)
        for (int32_t w = 0; w < n_words; w++) {
            const ptrdiff_t group = i / level->lanes, lane = i % level->lanes;
            expect(tile[(group * n_words + w) * level->lanes + lane] == 0, "a lane past n is set",
                   n_bytes, n, 0);
        }
    check_tile(query, tile, n, n_bytes, expected);
    /* Part of a tile, from its front and from 64 codes on, as searches scan it. */
    if (n > 0)
        check_tile(query, tile, n - 1, n_bytes, expected);
    if (n > 64)
        check_tile(query, tile + 64 * (ptrdiff_t)n_words, n - 64, n_bytes, expected + 64);
    if (n_bytes > 8 && n_bytes % level->row_bytes == 0)
        check_bounds(query, NULL, codes, n, n_bytes, expected);
    if (n_bytes == 8) {
        /* The rows themselves, before the guard page and at an odd address. */
        check_tile(query, (const uint64_t *)(const void *)codes, n, n_bytes, expected);
        uint8_t *odd = (uint8_t *)tile_memory + 1;
        memcpy(odd, codes, (size_t)n * 8);
        check_tile(query, (const uint64_t *)(const void *)odd, n, n_bytes, expected);
    }
}

/* Labels end before the guard page, and so does the list. */
static void check_list(int32_t n, int32_t n_words, uint64_t rare)
{
    uint64_t *labels = (uint64_t *)(void *)codes_memory.end - (ptrdiff_t)n * n_words;
    int32_t *positions = (int32_t *)(void *)positions_memory.end - (n + FH_LANES_MAX);
    uint64_t query[4];
    int32_t n_expected = 0;
    for (int32_t w = 0; w < n_words; w++)
        query[w] = random_word() & rare;
    for (ptrdiff_t i = 0; i < (ptrdiff_t)n * n_words; i++)
        labels[i] = random_word() & random_word() & rare;
    const int32_t n_listed = level->list_relevant(query, labels, n, n_words, positions);
    for (int32_t i = 0; i < n; i++) {
        int shares = 0;
        for (int32_t w = 0; w < n_words; w++)
            shares |= (labels[(ptrdiff_t)i * n_words + w] & query[w]) != 0;
        if (!shares)
            continue;
        expect(n_expected < n_listed, "list misses a row", 8 * n_words, n, 0);
        expect(positions[n_expected++] == i, "list, position", 8 * n_words, n, 0);
    }
    expect(n_listed == n_expected, "list has too much", 8 * n_words, n, 0);
}

/* Bit planes: every hit of every query, whose bounds differ. Codes, planes, choices and outputs end
 * before guard pages. */
static void check_planes(int32_t n, int32_t n_words, int kind)
{
    enum { N_QUERIES = 5 };
    static uint64_t queries[N_QUERIES * FH_PLANE_WORDS_MAX];
    static int32_t bounds[N_QUERIES];
    const fh_planes *planes = level->planes;
    const int32_t block = planes->block_codes, n_blocks = (n + block - 1) / block;
    const ptrdiff_t block_bytes = (ptrdiff_t)n_words * planes->bytes_per_word;
    uint64_t *codes = (uint64_t *)(void *)codes_memory.end - (ptrdiff_t)n_blocks * block * n_words;
    uint8_t *laid_out = planes_memory.end - n_blocks * block_bytes;
    uint8_t *choices = choices_memory.end - N_QUERIES * 64 * n_words;
    int32_t *positions = (int32_t *)(void *)positions_memory.end - (n + FH_LANES_MAX);
    int32_t *distances = (int32_t *)(void *)distances_memory.end - (n + FH_LANES_MAX);
    for (int32_t w = 0; w < N_QUERIES * n_words; w++)
        queries[w] = random_word();
    for (ptrdiff_t i = 0; i < (ptrdiff_t)n_blocks * block * n_words; i++)
        codes[i] = queries[i % n_words] ^ flipped_bits(kind);
    for (int32_t q = 0; q < N_QUERIES; q++) {
        const int32_t near = count_differences((const uint8_t *)(queries + q * n_words),
                                               (const uint8_t *)codes, 8 * n_words);
        const int32_t some[] = {near + 1, 0, near, 64 * n_words + 1, 28 * n_words};
        bounds[q] = some[(q + n) % N_QUERIES];
        planes->choose(queries + q * n_words, n_words, choices + q * 64 * n_words);
    }
    for (int32_t b = 0; b < n_blocks; b++)
        planes->lay_out((const uint8_t *)(codes + (ptrdiff_t)b * block * n_words), n_words,
                        laid_out + b * block_bytes);
    const fh_plane_queries batch = {N_QUERIES, n_words, queries, choices, bounds};
    int32_t n_hits,
        found = planes->scan(&batch, codes, laid_out, n, 0, &n_hits, positions, distances);
    for (int32_t q = 0; q < N_QUERIES; q++) {
        int32_t n_expected = 0;
        for (int32_t i = 0; i < n; i++) {
            const int32_t distance =
                count_differences((const uint8_t *)(queries + q * n_words),
                                  (const uint8_t *)(codes + (ptrdiff_t)i * n_words), 8 * n_words);
            if (distance >= bounds[q])
                continue;
            expect(q == found, "planes miss a query", 8 * n_words, n, bounds[q]);
            expect(n_expected < n_hits, "planes miss a hit", 8 * n_words, n, bounds[q]);
            expect(positions[n_expected] == i, "planes, position", 8 * n_words, n, bounds[q]);
            expect(distances[n_expected++] == distance, "planes, distance", 8 * n_words, n,
                   bounds[q]);
        }
        expect((q == found) == (n_expected > 0), "planes find a query", 8 * n_words, n, bounds[q]);
        if (q != found)
            continue;
        expect(n_hits == n_expected, "planes find too much", 8 * n_words, n, bounds[q]);
        found = planes->scan(&batch, codes, laid_out, n, q + 1, &n_hits, positions, distances);
    }
    expect(found == N_QUERIES, "planes do not end", 8 * n_words, n, 0);
}

static void check_all_planes(void)
{
    static const int32_t widths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 31, 32, FH_PLANE_WORDS_MAX};
    if (level->planes == NULL)
        return;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        const int32_t stretch = level->planes->stretch_bytes / level->planes->bytes_per_word;
        const int32_t n_blocks = stretch / widths[i] > 0 ? stretch / widths[i] : 1;
        const int32_t most = n_blocks * level->planes->block_codes;
        for (int kind = 0; kind < N_KINDS; kind++) {
            check_planes(most, widths[i], kind);
            check_planes(most - 1, widths[i], kind);
            check_planes(most - 64, widths[i], kind);
            check_planes(most - 100, widths[i], kind);
            check_planes(1 + kind, widths[i], kind);
        }
    }
}

/* Weighted distances, from tables of any entries that fit; codes and outputs end before guard pages.
 */
static void check_weights(int32_t n, int32_t n_bytes)
{
    static uint8_t tables[32 * BYTES_MAX];
    static int32_t expected[CODES_MAX];
    const fh_weights *weights = level->weights;
    uint8_t *codes = codes_memory.end - (ptrdiff_t)n * n_bytes;
    uint8_t *tile = (uint8_t *)tile_memory;
    int32_t *positions = (int32_t *)(void *)positions_memory.end - n;
    int32_t *distances = (int32_t *)(void *)distances_memory.end - n;
    for (ptrdiff_t i = 0; i < 32 * (ptrdiff_t)n_bytes; i++)
        tables[i] = i % 32 < 16 ? (uint8_t)(random_word() % 201) : (uint8_t)(random_word() % 56);
    tables[0] = 200, tables[16] = 55;
    for (ptrdiff_t i = 0; i < (ptrdiff_t)n * n_bytes; i++)
        codes[i] = (uint8_t)(random_word() & random_word());
    for (int32_t i = 0; i < n; i++) {
        const uint8_t *code = codes + (ptrdiff_t)i * n_bytes;
        expected[i] = 0;
        for (ptrdiff_t j = 0; j < n_bytes; j++)
            expected[i] += tables[32 * j + code[j] / 16] + tables[32 * j + 16 + code[j] % 16];
    }
    if (weights->prepare != NULL)
        weights->prepare(codes, n, n_bytes, tile);
    else
        tile = codes;
    const int32_t some = expected[random_word() % (uint64_t)n];
    const int32_t bounds[] = {0, 1, some, some + 1, 255 * n_bytes + 1};
    for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
        const int32_t n_hits =
            weights->scan(tables, tile, n, n_bytes, bounds[b], positions, distances);
        int32_t n_expected = 0;
        for (int32_t i = 0; i < n; i++) {
            if (expected[i] >= bounds[b])
                continue;
            expect(n_expected < n_hits, "weights miss a hit", n_bytes, n, bounds[b]);
            expect(positions[n_expected] == i, "weights, position", n_bytes, n, bounds[b]);
            expect(distances[n_expected++] == expected[i], "weights, distance", n_bytes, n,
                   bounds[b]);
        }
        expect(n_hits == n_expected, "weights find too much", n_bytes, n, bounds[b]);
    }
}

/* An estimate by the definition, from the tables and bits of a code. */
static int32_t estimate(const uint8_t *tables, const uint8_t *code, int32_t n_bytes, int bits,
                        int32_t n_look_ups)
{
    int32_t total = 0, sum = 0;
    for (int32_t l = 0; l < n_look_ups; l++) {
        unsigned value = 0;
        for (int bit = 0; bit < bits; bit++) {
            const int32_t place = bits == 4 ? 4 * (l ^ 1) + bit : bits * l + bit;
            if (place < 8 * n_bytes)
                value |= (unsigned)(code[place / 8] >> place % 8 & 1) << bit;
        }
        sum += tables[((ptrdiff_t)l << bits) + value];
        sum = sum < 255 ? sum : 255;
        if (n_look_ups > FH_ESTIMATE_NARROW && l % FH_ESTIMATE_CHUNK == FH_ESTIMATE_CHUNK - 1) {
            total += sum;
            sum = 0;
        }
    }
    return total + sum;
}

/* Estimates of two queries, and of one. Rows, tables and tiles end before guard pages. Entries past
 * the last bit of a code must not matter, so they are those of a code without these bits. */
static void check_estimates(int32_t n, int32_t n_bytes)
{
    static fh_near_codes found[2][CODES_MAX + FH_ESTIMATE_SET_MAX];
    const fh_estimates *level_estimates = level->weights->estimates;
    const int bits = level_estimates->bits, set = level_estimates->set;
    const int32_t n_look_ups = (8 * n_bytes + bits - 1) / bits;
    const ptrdiff_t table_bytes = (ptrdiff_t)n_look_ups << bits;
    const int32_t n_laid_out = (n + set - 1) / set * set;
    uint8_t *codes = codes_memory.end - (ptrdiff_t)n * n_bytes;
    uint8_t *tables = choices_memory.end - 2 * table_bytes;
    uint8_t *tile = planes_memory.end - (ptrdiff_t)n_laid_out * n_look_ups;
    memset(tile, 0, (size_t)n_laid_out * (size_t)n_look_ups);
    for (ptrdiff_t i = 0; i < (ptrdiff_t)n * n_bytes; i++)
        codes[i] = (uint8_t)random_word();
    const uint64_t most = n_look_ups > FH_ESTIMATE_NARROW ? 40 : 1 + 600 / (uint64_t)n_look_ups;
    const int32_t n_unused = bits * n_look_ups - 8 * n_bytes;
    for (ptrdiff_t i = 0; i < 2 * table_bytes; i++) {
        const ptrdiff_t value = i % (1 << bits), table = i / (1 << bits) % n_look_ups;
        const ptrdiff_t used = (1 << (bits - n_unused)) - 1;
        tables[i] = (uint8_t)(random_word() % (most < 127 ? most : 127));
        if (table == n_look_ups - 1 && value > used)
            tables[i] = tables[i - value + (value & used)];
    }
    level_estimates->lay_out(codes, n, n_bytes, tile);
    for (int n_queries = 1; n_queries <= 2; n_queries++) {
        fh_estimated queries[2];
        for (int q = 0; q < n_queries; q++) {
            queries[q].tables = tables + q * table_bytes;
            queries[q].found = found[q];
            queries[q].limit = estimate(queries[q].tables,
                                        codes + random_word() % (uint64_t)n * (uint64_t)n_bytes,
                                        n_bytes, bits, n_look_ups);
            if (n_look_ups <= FH_ESTIMATE_NARROW && queries[q].limit == 255)
                queries[q].limit = 254;
        }
        level_estimates->scan(queries, n_queries, tile, n, n_look_ups);
        for (int q = 0; q < n_queries; q++) {
            static uint8_t is_near[CODES_MAX + 2 * FH_ESTIMATE_SET_MAX];
            memset(is_near, 0, sizeof is_near);
            int32_t last = -1;
            for (int32_t f = 0; f < queries[q].n_found; f++)
                for (int bit = 0; bit < 64; bit++)
                    if (found[q][f].codes >> bit & 1) {
                        expect(found[q][f].first + bit > last, "estimates, order", n_bytes, n, 0);
                        last = found[q][f].first + bit;
                        is_near[last] = 1;
                    }
            for (int32_t i = 0; i < n; i++) {
                const int32_t expected = estimate(queries[q].tables, codes + (ptrdiff_t)i * n_bytes,
                                                  n_bytes, bits, n_look_ups);
                expect(is_near[i] == (expected <= queries[q].limit), "estimates", n_bytes, n,
                       queries[q].limit);
            }
        }
    }
}

static void check_level(const fh_level *checked)
{
    static const int32_t wide[] = {191, 192,  193,  232,  240,  248,      249,
                                   256, 1000, 2048, 4096, 4097, BYTES_MAX};
    level = checked;
    for (int32_t n_bytes = 1; n_bytes <= 130; n_bytes++)
        for (int32_t n = 0; n <= 70; n++)
            check(n, n_bytes, (n + n_bytes) % N_KINDS);
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        for (int kind = 0; kind < N_KINDS; kind++)
            for (int32_t n = 3; n <= 13; n += 5)
                check(n, wide[i], kind);
    for (int32_t n_bytes = 1; n_bytes <= 130; n_bytes++)
        check(CODES_MAX - n_bytes % 5, n_bytes, n_bytes % N_KINDS);
    for (int32_t n_words = 1; n_words <= 4; n_words++)
        for (int32_t n = 0; n <= 70; n++) {
            check_list(n, n_words, UINT64_C(0x8000000000000005));
            check_list(n, n_words, ~UINT64_C(0));
            check_list(n, n_words, 0);
        }
    for (int32_t n_bytes = 1; n_bytes <= 70; n_bytes++)
        for (int32_t n = 1; n <= CODES_MAX; n += 1 + n / 2)
            check_weights(n, n_bytes);
    for (int32_t n_bytes = 254; n_bytes <= 260; n_bytes++)
        for (int32_t n = 30; n <= 34; n++)
            check_weights(n + n_bytes % 3 * 64, n_bytes);
    check_weights(3, 1000);
    for (int32_t n_bytes = 1; n_bytes <= 70 && level->weights->estimates != NULL; n_bytes++)
        for (int32_t n = 1; n <= CODES_MAX; n += 1 + n / 2)
            check_estimates(n, n_bytes);
    if (level->weights->estimates != NULL)
        check_estimates(3, FH_ESTIMATE_BYTES_MAX);
    check_all_planes();
    puts(level->name);
}

int main(int argc, char **argv)
{
    const fh_level *levels[FH_LEVELS_MAX];
    const int n = fh_supported_levels(levels);
    count_ones();
    codes_memory = guarded(512 * 8 * FH_PLANE_WORDS_MAX);
    positions_memory = guarded((PLANE_CODES_MAX + FH_LANES_MAX) * sizeof(int32_t));
    distances_memory = guarded((PLANE_CODES_MAX + FH_LANES_MAX) * sizeof(int32_t));
    planes_memory = guarded(PLANE_BYTES_MAX);
    choices_memory = guarded(1 << 18);
    tile_memory = aligned_alloc(64, (CODES_MAX + FH_LANES_MAX) * 8 * WORDS_MAX / 64 * 64);
    if (tile_memory == NULL)
        return 2;
    for (int i = 0; i < n && argc == 1; i++)
        check_level(levels[i]);
    for (int arg = 1; arg < argc; arg++) {
        int found = 0;
        for (int i = 0; i < n; i++)
            if (strcmp(levels[i]->name, argv[arg]) == 0) {
                check_level(levels[i]);
                found = 1;
            }
        if (!found) {
            printf("this machine has no level %s\n", argv[arg]);
            return 1;
        }
    }
    free(tile_memory);
    return 0;
}
