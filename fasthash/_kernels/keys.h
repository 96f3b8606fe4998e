/* Keys of found codes, distance << 32 | row, so that their order is (distance, row). */
#ifndef FASTHASH_KEYS_H
#define FASTHASH_KEYS_H

#include <stdint.h>
#include <string.h>

/* Puts a key into place i of a heap of n keys, whose largest key is the first, or below it. */
static inline void fh_heap_sift(uint64_t *heap, int64_t n, int64_t i, uint64_t key)
{
    for (;;) {
        int64_t child = 2 * i + 1;
        if (child >= n)
            break;
        if (child + 1 < n && heap[child + 1] > heap[child])
            child++;
        if (heap[child] <= key)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = key;
}

/* Sorts keys ascending; scratch holds n more. Insertion for a few, else byte by byte from the
 * lowest, leaving out the bytes in which all keys agree: O(n) per byte. */
static inline void fh_sort_keys(uint64_t *keys, int64_t n, uint64_t *scratch)
{
    if (n <= 32) {
        for (int64_t i = 1; i < n; i++) {
            const uint64_t key = keys[i];
            int64_t j = i;
            for (; j > 0 && keys[j - 1] > key; j--)
                keys[j] = keys[j - 1];
            keys[j] = key;
        }
        return;
    }
    uint64_t *from = keys, *to = scratch, differ = 0;
    for (int64_t i = 1; i < n; i++)
        differ |= keys[i] ^ keys[0];
    for (int shift = 0; shift < 64; shift += 8) {
        if ((differ >> shift & 0xff) == 0)
            continue;
        int64_t places[256] = {0}, place = 0;
        for (int64_t i = 0; i < n; i++)
            places[from[i] >> shift & 0xff]++;
        for (int b = 0; b < 256; b++) {
            const int64_t count = places[b];
            places[b] = place;
            place += count;
        }
        for (int64_t i = 0; i < n; i++)
            to[places[from[i] >> shift & 0xff]++] = from[i];
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != keys)
        memcpy(keys, from, (size_t)n * sizeof *keys);
}

/* Sorts the rows of n codes, whose distances ascend, among equal distances. `scratch` has room for
 * as many as are equal. */
static inline void fh_sort_ties(const int32_t *distances, int64_t *rows, int64_t n,
                                uint64_t *scratch)
{
    for (int64_t i = 0, end; i < n; i = end) {
        end = i + 1;
        while (end < n && distances[end] == distances[i])
            end++;
        fh_sort_keys((uint64_t *)rows + i, end - i, scratch);
    }
}

#endif
