/* Counts what the functions of fasthash's table allocate: loaded before the C library (LD_PRELOAD),
 * it stands in for the allocator of GNU's C library and passes everything on.
 */
#include "fasthash.h"

#include <stddef.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);

static long n_allocations;

/* What is held: a search that ends early holds nothing more than before. */
static long n_held;

void *malloc(size_t size)
{
    __atomic_fetch_add(&n_held, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&n_allocations, 1, __ATOMIC_RELAXED);
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    __atomic_fetch_add(&n_held, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&n_allocations, 1, __ATOMIC_RELAXED);
    return __libc_calloc(n, size);
}

void *realloc(void *memory, size_t size)
{
    if (memory == NULL)
        __atomic_fetch_add(&n_held, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&n_allocations, 1, __ATOMIC_RELAXED);
    return __libc_realloc(memory, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    __atomic_fetch_add(&n_held, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&n_allocations, 1, __ATOMIC_RELAXED);
    *memory = __libc_memalign(alignment, size);
    return *memory == NULL ? 12 : 0;
}

/* What OpenMP's runtime takes for its threads. */
void *aligned_alloc(size_t alignment, size_t size)
{
    __atomic_fetch_add(&n_held, 1, __ATOMIC_RELAXED);
    return __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size) { return aligned_alloc(alignment, size); }

void free(void *memory)
{
    if (memory != NULL)
        __atomic_fetch_sub(&n_held, 1, __ATOMIC_RELAXED);
    __libc_free(memory);
}

/* Allocations of one call over n codes of n_bytes bytes that are queries and database, or -1. */
long of_distances(const fasthash_table *fh, const uint8_t *codes, int64_t n_queries, int64_t n,
                  int64_t n_bytes, int32_t *distances)
{
    const long before = n_allocations;
    return fh->distances(codes, n_queries, codes, n, n_bytes, distances, 1) != FASTHASH_OK
               ? -1
               : n_allocations - before;
}

long of_topk(const fasthash_table *fh, const uint8_t *codes, int64_t n_queries, int64_t n,
             int64_t n_bytes, int64_t k, int32_t *distances, int64_t *ids)
{
    const long before = n_allocations;
    return fh->topk(codes, n_queries, codes, n, n_bytes, k, NULL, distances, ids, 1) != FASTHASH_OK
               ? -1
               : n_allocations - before;
}

long of_rank(const fasthash_table *fh, const uint8_t *codes, int64_t n_queries, int64_t n,
             int64_t n_bytes, int64_t *ids)
{
    const long before = n_allocations;
    return fh->rank(codes, n_queries, codes, n, n_bytes, ids, 1) != FASTHASH_OK
               ? -1
               : n_allocations - before;
}

long of_within(const fasthash_table *fh, const uint8_t *codes, int64_t n_queries, int64_t n,
               int64_t n_bytes, int64_t radius, int64_t *limits)
{
    int32_t *distances;
    int64_t *ids;
    const long before = n_allocations;
    const int error =
        fh->within(codes, n_queries, codes, n, n_bytes, radius, NULL, limits, &distances, &ids, 1);
    const long n_more = n_allocations - before;
    fh->release(distances);
    fh->release(ids);
    return error != FASTHASH_OK ? -1 : n_more;
}

/* The codes' own bits are their labels. */
long of_average_precision(const fasthash_table *fh, const uint64_t *codes, int64_t n_queries,
                          int64_t n, double *scores)
{
    const long before = n_allocations;
    return fh->average_precision((const uint8_t *)codes, n_queries, (const uint8_t *)codes, n, 8,
                                 codes, codes, 1, INT64_MAX, scores, 1) != FASTHASH_OK
               ? -1
               : n_allocations - before;
}

static int end_after(void *context) { return --*(int *)context < 0; }

/* What is still held after searches of n codes of 8 bytes, 12 bytes apart, that end at different
 * times, or -1 where one does not end early. */
long of_ended(const fasthash_table *fh, const uint8_t *codes, int64_t n_queries, int64_t n,
              int32_t *distances, int64_t *ids)
{
    const long before = n_held;
    for (int when = 0; when < 2; when++) {
        int n_polls = when;
        fasthash_search search = {0};
        search.queries = search.database = codes;
        search.query_stride = search.stride = 12;
        search.n_queries = n_queries;
        search.n = n;
        search.n_bytes = 8;
        search.n_threads = 1;
        search.poll = end_after;
        search.context = &n_polls;
        if (fh->topk_of(&search, 10, distances, ids) != FASTHASH_ERROR_STOPPED)
            return -1;
        n_polls = when;
        if (fh->within_of(&search, 1, ids, NULL, NULL, 0) != FASTHASH_ERROR_STOPPED)
            return -1;
        search.n_queries = 2;
        n_polls = when;
        if (fh->rank_of(&search, ids) != FASTHASH_ERROR_STOPPED)
            return -1;
        n_polls = when;
        if (fh->distances_of(&search, distances) != FASTHASH_ERROR_STOPPED)
            return -1;
    }
    return n_held - before;
}

/* What is still held after an index was made, searched and freed, and after one was ended, or -1. */
long of_index(const fasthash_table *fh, const uint8_t *codes, int64_t n_queries, int64_t n,
              int32_t *distances, int64_t *ids)
{
    const long before = n_held;
    fasthash_index *index;
    fasthash_search search = {0};
    search.queries = search.database = codes;
    search.n_queries = n_queries;
    search.n = n;
    search.n_bytes = 8;
    search.n_threads = 1;
    if (fh->index_create(&search, 0, &index) != FASTHASH_OK)
        return -1;
    if (fh->index_topk(index, &search, 10, distances, ids) != FASTHASH_OK)
        return -1;
    /* There is no room for the codes that the queries are themselves. */
    if (fh->index_within(index, &search, 20, ids, distances, ids, 1) != FASTHASH_ERROR_ROOM)
        return -1;
    int n_polls = 1;
    search.poll = end_after;
    search.context = &n_polls;
    if (fh->index_topk(index, &search, 10, distances, ids) != FASTHASH_ERROR_STOPPED)
        return -1;
    n_polls = 1;
    if (fh->index_within(index, &search, 20, ids, NULL, NULL, 0) != FASTHASH_ERROR_STOPPED)
        return -1;
    fh->index_free(index);
    n_polls = 1;
    if (fh->index_create(&search, 0, &index) != FASTHASH_ERROR_STOPPED)
        return -1;
    return n_held - before;
}
