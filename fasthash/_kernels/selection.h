/* Exact top-k selection from a stream of (distance, id) pairs that arrive in id order.
 *
 * No heap: candidates are appended and counted in a histogram over the distances; as soon as k are
 * closer than a distance, that distance becomes the bound the scan compares with. Because ids only
 * grow, a later pair at the k-th distance loses the tie, so the comparison is strict and the result
 * (sorted by distance, then id) is unique.
 *
 * Cost: amortised O(1) per candidate, O(k + max_distance) to finish. Memory: capacity pairs of 12
 * bytes and max_distance + 1 counts. Ids and counts are int64: no bound on the database but memory.
 */
#ifndef FASTHASH_SELECTION_H
#define FASTHASH_SELECTION_H

#include <stdint.h>
#include <string.h>

typedef struct {
    int64_t k;
    int64_t capacity;  /* at least k + the largest block that is appended at once */
    int64_t n_kept;    /* candidates held, some of them already beaten */
    int64_t n_closer;  /* candidates whose distance is < limit */
    int32_t limit;     /* invariant: n_closer < k, or one class fewer would leave less than k */
    int32_t *distances;
    int64_t *ids;
    int64_t *counts;   /* candidates per distance, for distances < limit */
} fh_selection;

static inline void fh_selection_start(fh_selection *s, int64_t k, int64_t capacity,
                                      int32_t max_distance, int32_t *distances, int64_t *ids,
                                      int64_t *counts)
{
    s->k = k;
    s->capacity = capacity;
    s->n_kept = s->n_closer = 0;
    s->limit = max_distance + 1;
    s->distances = distances;
    s->ids = ids;
    s->counts = counts;
    memset(counts, 0, ((size_t)max_distance + 1) * sizeof *counts);
}

/* Only pairs with distance < this can still enter the result. */
static inline int32_t fh_selection_bound(const fh_selection *s)
{
    return s->n_closer >= s->k ? s->limit - 1 : s->limit;
}

/* Drops what is beaten: keeps the first k by (distance, id), still in id order. */
static inline void fh_selection_compact(fh_selection *s)
{
    const int32_t last = s->limit - 1;
    int64_t n_last = s->counts[last];
    if (s->n_closer > s->k)
        n_last -= s->n_closer - s->k;
    int64_t n_last_taken = 0, n = 0;
    for (int64_t i = 0; i < s->n_kept; i++) {
        const int32_t d = s->distances[i];
        if (d > last || (d == last && n_last_taken == n_last))
            continue;
        n_last_taken += d == last;
        s->distances[n] = d;
        s->ids[n++] = s->ids[i];
    }
    s->n_kept = s->n_closer = n;
    s->counts[last] = n_last;
}

/* Appends a block of hits, all of them below fh_selection_bound() when the block was scanned. */
static inline void fh_selection_append(fh_selection *s, int64_t first_id, int32_t n,
                                       const int32_t *positions, const int32_t *distances)
{
    if (s->n_kept + n > s->capacity)
        fh_selection_compact(s);
    for (int32_t i = 0; i < n; i++) {
        const int32_t d = distances[i];
        if (d >= fh_selection_bound(s))
            continue;
        s->distances[s->n_kept] = d;
        s->ids[s->n_kept++] = first_id + positions[i];
        s->counts[d]++;
        s->n_closer++;
        while (s->n_closer - s->counts[s->limit - 1] >= s->k)
            s->n_closer -= s->counts[--s->limit];
    }
}

/* Writes the k first by (distance, id); what is missing (fewer than k candidates) becomes -1. */
static inline void fh_selection_finish(fh_selection *s, int32_t *out_distances, int64_t *out_ids)
{
    int64_t start = 0;
    for (int32_t d = 0; d < s->limit; d++) {
        const int64_t count = s->counts[d];
        s->counts[d] = start;
        start += count;
    }
    for (int64_t i = 0; i < s->n_kept; i++) {
        const int32_t d = s->distances[i];
        if (d >= s->limit)
            continue;
        const int64_t rank = s->counts[d]++;
        if (rank < s->k) {
            out_distances[rank] = d;
            out_ids[rank] = s->ids[i];
        }
    }
    for (int64_t rank = start; rank < s->k; rank++) {
        out_distances[rank] = -1;
        out_ids[rank] = -1;
    }
}

#endif
