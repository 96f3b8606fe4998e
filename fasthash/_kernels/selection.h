/* Exact top-k selection from pairs (distance, position) that arrive in ascending position.
 *
 * Candidates are appended, and counted in a histogram over the distances. As soon as k candidates
 * are closer than a distance, that distance becomes the bound with which the scan compares.
 * Positions only grow, so of two candidates at the same distance the earlier one is kept. Therefore
 * the comparison with the bound is strict, and the result (sorted by distance, then position) is
 * unique.
 *
 * Codes may lie in another order than their rows, and `order` then has the row of each position. A
 * later candidate may have a smaller row, so those at the distance of the k-th pass the comparison,
 * and a heap chooses among their rows when space is short. The result is sorted by distance, then
 * row. Rows are looked up no earlier than needed: `order` is rarely in the cache.
 *
 * Cost: amortised O(1) per candidate, O(k + max_distance) to finish; with `order` O(log k) for each
 * candidate at the distance of the k-th. Memory: `capacity` pairs of 12 bytes, and max_distance + 1
 * counts. Positions and counts are int64, so only memory limits them.
 */
#ifndef FASTHASH_SELECTION_H
#define FASTHASH_SELECTION_H

#include "keys.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    int64_t k;
    int64_t capacity; /* at least k + the largest block that is appended at once */
    int64_t n_kept;   /* candidates held; some of them are not among the k nearest any more */
    int64_t n_closer; /* candidates whose distance is < limit */
    int32_t max_distance;
    int32_t limit; /* invariant: n_closer < k, or a limit less by 1 would leave fewer than k */
    int32_t *distances;
    int64_t *positions;
    int64_t *counts;       /* candidates per distance, for distances < limit */
    const uint32_t *order; /* the row of each position; NULL if they are the same */
    int64_t n_rows;        /* with `order`: so many of `positions` have been replaced by rows */
    int64_t last_row;      /* with `order`: no larger row at distance limit - 1 enters the result */
} fh_selection;

static inline void fh_selection_start(fh_selection *s, int64_t k, int64_t capacity,
                                      int32_t max_distance, int32_t *distances, int64_t *positions,
                                      int64_t *counts, const uint32_t *order)
{
    s->k = k;
    s->capacity = capacity;
    s->n_kept = s->n_closer = 0;
    s->max_distance = max_distance;
    s->limit = max_distance + 1;
    s->distances = distances;
    s->positions = positions;
    s->counts = counts;
    s->order = order;
    s->n_rows = 0;
    s->last_row = INT64_MAX;
    memset(counts, 0, ((size_t)max_distance + 1) * sizeof *counts);
}

/* Counts distances of a sample, before the first append. */
static inline void fh_selection_count(fh_selection *s, int32_t n, const int32_t *distances)
{
    for (int32_t i = 0; i < n; i++)
        s->counts[distances[i]]++;
}

/* Sets the first bound to the smallest one below which the sample has n_wanted codes, if it has
 * that many. Then the selection may find fewer than k candidates, see fh_selection_is_short. */
static inline void fh_selection_start_below(fh_selection *s, int64_t n_wanted)
{
    int64_t n = 0;
    for (int32_t d = 0; d < s->max_distance; d++) {
        n += s->counts[d];
        if (n >= n_wanted) {
            s->limit = d + 1;
            break;
        }
    }
    memset(s->counts, 0, ((size_t)s->max_distance + 1) * sizeof *s->counts);
}

/* Whether fewer than k candidates were below the bound that a sample gave. */
static inline int fh_selection_is_short(const fh_selection *s) { return s->n_closer < s->k; }

/* Only pairs with a distance below this bound can still enter the result. */
static inline int32_t fh_selection_bound(const fh_selection *s)
{
    return s->n_closer >= s->k && s->order == NULL ? s->limit - 1 : s->limit;
}

/* Lowers the limit as far as the candidates allow. */
static inline void fh_selection_lower(fh_selection *s)
{
    while (s->n_closer - s->counts[s->limit - 1] >= s->k) {
        s->n_closer -= s->counts[--s->limit];
        s->last_row = INT64_MAX;
    }
}

static inline void fh_selection_look_up_rows(fh_selection *s)
{
    for (; s->n_rows < s->n_kept; s->n_rows++)
        s->positions[s->n_rows] = s->order[s->positions[s->n_rows]];
}

/* Keeps only the first k candidates by (distance, row), in any order; at least k are closer than
 * the limit. */
static inline void fh_selection_compact_rows(fh_selection *s)
{
    fh_selection_look_up_rows(s);
    const int32_t last = s->limit - 1;
    const int64_t n_nearer = s->n_closer - s->counts[last], n_last = s->k - n_nearer;
    int64_t n = 0;
    for (int64_t i = 0; i < s->n_kept; i++) {
        const int32_t d = s->distances[i];
        if (d >= last)
            continue;
        const int64_t row = s->positions[i];
        s->distances[i] = s->distances[n];
        s->positions[i] = s->positions[n];
        s->distances[n] = d;
        s->positions[n++] = row;
    }
    /* Those at the last distance: a heap, whose first row is the largest. */
    uint64_t *rows = (uint64_t *)s->positions + n_nearer;
    for (int64_t i = n = n_nearer; i < s->n_kept; i++) {
        if (s->distances[i] != last)
            continue;
        const uint64_t row = (uint64_t)s->positions[i];
        if (n < s->k) {
            s->distances[n] = last;
            s->positions[n++] = (int64_t)row;
            if (n == s->k)
                for (int64_t j = n_last / 2 - 1; j >= 0; j--)
                    fh_heap_sift(rows, n_last, j, rows[j]);
        } else if (row < rows[0]) {
            fh_heap_sift(rows, n_last, 0, row);
        }
    }
    s->n_kept = s->n_rows = s->n_closer = s->k;
    s->counts[last] = n_last;
    s->last_row = (int64_t)rows[0];
}

/* Makes room for n candidates: drops those that are not closer than the limit, and if most of the
 * others are ties, all that are not among the first k. */
static inline void fh_selection_make_room(fh_selection *s, int64_t n)
{
    int64_t n_left = 0, i = 0;
    for (int is_position = 0; is_position < 2; is_position++) {
        for (const int64_t end = is_position ? s->n_kept : s->n_rows; i < end; i++) {
            s->distances[n_left] = s->distances[i];
            s->positions[n_left] = s->positions[i];
            n_left += s->distances[i] < s->limit;
        }
        if (!is_position)
            s->n_rows = n_left;
    }
    s->n_kept = n_left;
    if (s->n_kept + n + s->k / 2 > s->capacity)
        fh_selection_compact_rows(s);
}

/* Appends a candidate, for which there is room. */
static inline void fh_selection_add(fh_selection *s, int32_t distance, int64_t position)
{
    s->distances[s->n_kept] = distance;
    s->positions[s->n_kept++] = position;
    s->counts[distance]++;
    s->n_closer++;
}

/* As fh_selection_finish, with `order`: the candidates of all parts become those of the first. */
static inline void fh_selection_finish_rows(fh_selection *parts, ptrdiff_t n_parts,
                                            ptrdiff_t stride, int32_t *out_distances,
                                            int64_t *out_rows)
{
    fh_selection_look_up_rows(parts);
    for (ptrdiff_t p = 1; p < n_parts; p++) {
        fh_selection *s = parts + p * stride;
        fh_selection_look_up_rows(s);
        for (int64_t i = 0; i < s->n_kept; i++) {
            if (s->distances[i] >= parts->limit)
                continue;
            if (parts->n_kept == parts->capacity)
                fh_selection_make_room(parts, 1);
            fh_selection_add(parts, s->distances[i], s->positions[i]);
            parts->n_rows++;
            fh_selection_lower(parts);
        }
    }
    if (parts->n_closer > parts->k)
        fh_selection_compact_rows(parts);
    int64_t *places = parts->counts, start = 0;
    for (int32_t d = 0; d < parts->limit; d++) {
        const int64_t count = places[d];
        places[d] = start;
        start += count;
    }
    for (int64_t i = 0; i < parts->n_kept; i++) {
        const int32_t d = parts->distances[i];
        if (d < parts->limit) {
            out_distances[places[d]] = d;
            out_rows[places[d]++] = parts->positions[i];
        }
    }
    fh_sort_ties(out_distances, out_rows, parts->k, (uint64_t *)parts->positions);
}

/* Keeps only the first k candidates by (distance, position); they stay in ascending position. */
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
        s->positions[n++] = s->positions[i];
    }
    s->n_kept = s->n_closer = n;
    s->counts[last] = n_last;
}

/* Appends a block of hits. All were below fh_selection_bound() when the block was scanned. */
static inline void fh_selection_append(fh_selection *s, int64_t first, int32_t n,
                                       const int32_t *positions, const int32_t *distances)
{
    if (s->order != NULL) {
        if (s->n_kept + n > s->capacity)
            fh_selection_make_room(s, n);
        for (int32_t i = 0; i < n; i++) {
            const int64_t position = first + positions[i];
            if (distances[i] < s->limit - 1 || s->last_row == INT64_MAX ||
                s->order[position] < s->last_row)
                fh_selection_add(s, distances[i], position);
        }
        fh_selection_lower(s);
        return;
    }
    if (s->n_kept + n > s->capacity)
        fh_selection_compact(s);
    int32_t *kept_distances = s->distances + s->n_kept;
    int64_t *kept_positions = s->positions + s->n_kept;
    for (int32_t i = 0; i < n; i++) {
        kept_distances[i] = distances[i];
        kept_positions[i] = first + positions[i];
        s->counts[distances[i]]++;
    }
    s->n_kept += n;
    s->n_closer += n;
    fh_selection_lower(s);
}

/* Writes the first k candidates of several selections in their order, with a counting sort. Each
 * selection is over a later part of the database than the one before. Together they have at least k
 * candidates. The counts of the first selection are overwritten. */
static inline void fh_selection_finish(fh_selection *parts, ptrdiff_t n_parts, ptrdiff_t stride,
                                       int32_t *out_distances, int64_t *out_positions)
{
    if (parts->order != NULL) {
        fh_selection_finish_rows(parts, n_parts, stride, out_distances, out_positions);
        return;
    }
    const int64_t k = parts->k;
    int64_t *places = parts->counts, start = 0;
    for (int32_t d = 0; d <= parts->max_distance; d++) {
        int64_t count = 0;
        /* Counts at the limit of a selection and above are of candidates that it has dropped. */
        for (ptrdiff_t p = 0; p < n_parts; p++)
            if (d < parts[p * stride].limit)
                count += parts[p * stride].counts[d];
        places[d] = start;
        start += count;
        if (start >= k) {
            for (d++; d <= parts->max_distance; d++)
                places[d] = start;
            break;
        }
    }
    for (ptrdiff_t p = 0; p < n_parts; p++) {
        const fh_selection *s = parts + p * stride;
        for (int64_t i = 0; i < s->n_kept; i++) {
            const int32_t d = s->distances[i];
            if (d >= s->limit)
                continue;
            const int64_t rank = places[d]++;
            if (rank < k) {
                out_distances[rank] = d;
                out_positions[rank] = s->positions[i];
            }
        }
    }
}

#endif
