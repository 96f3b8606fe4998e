/* One inner kernel of one level over a tile, for callgrind to count its instructions.
 *
 *     valgrind --tool=callgrind --instr-atstart=no ./instructions LEVEL KERNEL N_WORDS
 *
 * Codes and bound are fixed: as many instructions in every run. Exits with 2 where the machine, here
 * valgrind's, lacks the level.
 */
#include "simd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

enum { N = 4096, WORDS_MAX = 16 };

static uint64_t random_state = 1;

static uint64_t random_word(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

int main(int argc, char **argv)
{
    static _Alignas(64) uint64_t codes[N * WORDS_MAX], tile[(N + FH_LANES_MAX) * WORDS_MAX];
    static uint8_t laid_out[4 * N * WORDS_MAX * 8], choices[64 * WORDS_MAX];
    static int32_t positions[N + FH_LANES_MAX], distances[N + FH_LANES_MAX];
    uint64_t query[WORDS_MAX];
    if (argc != 4 || fh_use_level(argv[1]) != 0)
        return 2;
    const fh_level *level = fh_active_level();
    const char *kernel = argv[2];
    const int32_t n_words = atoi(argv[3]);
    if (n_words < 1 || n_words > WORDS_MAX)
        return 2;
    for (int32_t i = 0; i < N * n_words; i++)
        codes[i] = random_word();
    for (int32_t w = 0; w < n_words; w++)
        query[w] = random_word();
    level->prepare((const uint8_t *)codes, N, 8 * n_words, tile);
    /* Three standard deviations below the mean: few pass, as in a search whose bound has fallen. */
    int32_t deviation = 0;
    while (deviation * deviation < 16 * n_words)
        deviation++;
    const int32_t bound = 32 * n_words - 3 * deviation;
    int32_t found = 0, hits;
    const fh_planes *planes = level->planes;
    const fh_plane_queries one = {1, n_words, query, choices, &bound};
    int32_t stretch = N;
    if (planes != NULL) {
        stretch = planes->stretch_bytes / planes->bytes_per_word / n_words * planes->block_codes;
        if (stretch == 0)
            stretch = planes->block_codes;
        planes->choose(query, n_words, choices);
        for (int32_t i = 0; i < N; i += planes->block_codes)
            planes->lay_out((const uint8_t *)(codes + i * n_words), n_words,
                            laid_out + 4 * i * n_words * 8);
    }
    CALLGRIND_START_INSTRUMENTATION;
    if (strcmp(kernel, "prepare") == 0)
        level->prepare((const uint8_t *)codes, N, 8 * n_words, tile);
    else if (strcmp(kernel, "distances") == 0)
        level->distances(query, tile, N, n_words, distances);
    else if (strcmp(kernel, "scan") == 0)
        found = level->scan(query, tile, N, n_words, bound, positions, distances);
    else if (strcmp(kernel, "scan_rows") == 0)
        found = level->scan_rows(query, (const uint8_t *)codes, N, 8 * n_words, bound, positions,
                                 distances);
    else if (strcmp(kernel, "lay_out_planes") == 0)
        for (int32_t i = 0; i < N; i += planes->block_codes)
            planes->lay_out((const uint8_t *)(codes + i * n_words), n_words,
                            laid_out + 4 * i * n_words * 8);
    else if (strcmp(kernel, "scan_planes") == 0)
        for (int32_t i = 0; i < N; i += stretch, found += hits)
            planes->scan(&one, codes + i * n_words, laid_out + 4 * i * n_words * 8, stretch, 0,
                         &hits, positions, distances);
    else if (strcmp(kernel, "list_relevant") == 0)
        found = level->list_relevant(query, codes, N, n_words, positions);
    else
        return 2;
    CALLGRIND_STOP_INSTRUMENTATION;
    printf("%d\n", (int)found);
    return 0;
}
