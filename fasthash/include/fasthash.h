/* Exact Hamming search over packed codes, for C, C++ and Cython.
 *
 * The functions are members of one table. `fasthash_import` fetches it from the installed package
 * at run time, so nothing is linked. Members are only ever appended, and no member changes its
 * meaning: an extension built against one version runs with every later one. An extension built
 * against a newer version than the installed one is refused with an ImportError.
 *
 *     #include <Python.h>
 *     #include "fasthash.h"       include directory: fasthash.get_include()
 *
 * Codes are rows of n_bytes bytes, as fasthash.pack and numpy.packbits make them: the most
 * significant bit first, padding bits zero. They need no alignment. Rows lie without gaps, unless a
 * `fasthash_search` gives a stride. Ids are row numbers. The order is always (distance, id);
 * neither the number of threads nor the instruction set changes a result.
 *
 * No function needs the GIL or touches a Python object; any thread may call any function. Inputs
 * are never changed. A function returns FASTHASH_OK or one of the errors below. After an error, do
 * not use what it has written; `within_of` and `index_within` say what is still right.
 *
 *   n_threads  the most threads that are started: at least 1, or 0 for OMP_NUM_THREADS or all
 *              cores, as n_threads=None in Python. A small call starts fewer. No call starts more
 *              than 64, or more than 4 for each core where that is more than 64. A forked child may
 *              call too.
 */
#ifndef FASTHASH_H
#define FASTHASH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows by one whenever members are appended. */
#define FASTHASH_TABLE_VERSION 4

/* The number of an error never gets another meaning. */
enum {
    FASTHASH_OK = 0,
    /* There is no memory for the scratch or the result. */
    FASTHASH_ERROR_MEMORY = 1,
    /* A pointer is NULL where there are values to read or write. */
    FASTHASH_ERROR_NULL = 2,
    /* A number of codes is negative, or more than memory can hold; or it is 2^31 or more where
     * codes are ranked, or 2^32 or more in an index. */
    FASTHASH_ERROR_COUNT = 3,
    /* n_bytes is below 1 or above (2^31 - 1) / 8, or it is not that of the index; with weights, it is
     * above (2^31 - 1) / 255 - 1. */
    FASTHASH_ERROR_WIDTH = 4,
    /* k is below 1, or n_queries * k is more than memory can hold. */
    FASTHASH_ERROR_K = 5,
    /* radius is negative. */
    FASTHASH_ERROR_RADIUS = 6,
    /* n_threads is negative. */
    FASTHASH_ERROR_THREADS = 7,
    /* n_label_words is below 1 or above 2^31 - 1, or the labels are more than memory can hold. */
    FASTHASH_ERROR_LABELS = 8,
    /* at is below 1. */
    FASTHASH_ERROR_AT = 9,
    /* There are more hits than n_room; or n_room is negative, or more than memory can hold. */
    FASTHASH_ERROR_ROOM = 10,
    /* A stride is neither 0 nor at least n_bytes. */
    FASTHASH_ERROR_STRIDE = 11,
    /* poll has ended the search. */
    FASTHASH_ERROR_STOPPED = 12,
    /* n_bits is neither 0 nor a number of bits that n_bytes bytes hold; or a padding bit is set. */
    FASTHASH_ERROR_BITS = 13,
    /* A weight is not finite; or the weights are so large that their sum may overflow. */
    FASTHASH_ERROR_WEIGHTS = 14
};

/* The description of a search. Set all of it to zero, then the members that you need. Its layout
 * never changes.
 *
 *   queries, n_queries   the codes that are searched for
 *   database, n          the codes that are searched
 *   query_stride,        bytes from the start of a row to the start of the next: at least n_bytes,
 *   stride               or 0 for rows without gaps. The bytes between rows may hold anything.
 *   n_bytes              bytes of a code, the same for queries and database
 *   allowed              n bytes, nonzero where a row may be found; NULL for all rows
 *   poll, context        if `poll` is not NULL, a long search calls poll(context) about ten times a
 *                        second, in the calling thread; it does not take the GIL. Any result but 0
 *                        ends the search with FASTHASH_ERROR_STOPPED. A search that takes only
 *                        some milliseconds may never call it.
 *   n_threads            as in all functions; 0 for all cores
 *
 * Rows with gaps are copied while they are searched: all queries at once, and of the database 4 MiB
 * at a time. If 64 codes take more than 4 MiB, it is 64 codes; where all rows are sorted, it is
 * 32,768 codes. Such a search starts at most one thread for every four queries; `distances_of` is
 * not limited in this way. */
typedef struct fasthash_search {
    const uint8_t *queries;
    int64_t n_queries;
    int64_t query_stride;
    const uint8_t *database;
    int64_t n;
    int64_t stride;
    int64_t n_bytes;
    const uint8_t *allowed;
    int (*poll)(void *context);
    void *context;
    int n_threads;
} fasthash_search;

/* An index, made by `index_create`. Only the functions of the table know its members. */
typedef struct fasthash_index fasthash_index;

typedef struct fasthash_table {
    /* FASTHASH_TABLE_VERSION of the package that runs. */
    int version;

    /* What an error means, in one English sentence; never NULL. */
    const char *(*message)(int error);

    /* Name of the instruction-set level in use: "scalar", "avx2", "avx512", "neon". */
    const char *(*simd_level)(void);

    /* distances[i * n_b + j] = number of bits in which code i of a and code j of b differ. */
    int (*distances)(const uint8_t *a, int64_t n_a, const uint8_t *b, int64_t n_b, int64_t n_bytes,
                     int32_t *distances, int n_threads);

    /* The k nearest codes of every query: k distances and ids to a query, both -1 past the last.
     *
     *   allowed    n bytes, nonzero where a row may be found; NULL for all rows
     *   distances  n_queries * k
     *   ids        n_queries * k
     *
     * If k is below an eighth of the rows that may be found, memory grows with k: 24 bytes for each
     * query and candidate. Otherwise all these rows are sorted, as `rank` does: each thread takes 2
     * to 4 bytes for each row, and with `allowed` the call takes 8 more for each row. */
    int (*topk)(const uint8_t *queries, int64_t n_queries, const uint8_t *database, int64_t n,
                int64_t n_bytes, int64_t k, const uint8_t *allowed, int32_t *distances,
                int64_t *ids, int n_threads);

    /* All codes at most `radius` bits away from every query.
     *
     *   limits     n_queries + 1: the hits of query q lie at [limits[q], limits[q + 1]) of
     *   distances  and ids. Both are allocated: give each to `release`. They are never NULL without
     *              an error, and both NULL with one.
     *
     * It takes two scans. The scratch takes at most 32 MiB, or 8 (radius + 1) bytes if these are
     * more, and a copy of the queries that are searched at once. The result is allocated as it
     * grows. */
    int (*within)(const uint8_t *queries, int64_t n_queries, const uint8_t *database, int64_t n,
                  int64_t n_bytes, int64_t radius, const uint8_t *allowed, int64_t *limits,
                  int32_t **distances, int64_t **ids, int n_threads);

    /* Frees memory that a function of this table has allocated; NULL is allowed. */
    void (*release)(void *memory);

    /* Average precision of every query's ranking, ties in the order of the database.
     *
     *   query_labels,   n_label_words words for each code; a code is relevant to a query if a bit is
     *   labels          set in the labels of both
     *   at              how many ranks count, from the first on; INT64_MAX for all. The sum of
     *                   precisions is divided by the smaller of `at` and the number of relevant
     *                   codes.
     *   scores          n_queries; NaN where no code is relevant
     *
     * It is faster if queries with the same labels stand side by side: the relevant codes are found
     * once for all of them. */
    int (*average_precision)(const uint8_t *queries, int64_t n_queries, const uint8_t *database,
                             int64_t n, int64_t n_bytes, const uint64_t *query_labels,
                             const uint64_t *labels, int64_t n_label_words, int64_t at,
                             double *scores, int n_threads);

    /* Since version 2. All rows for every query, the nearest first: ids has n_queries * n places.
     *
     * n must be below 2^31. Each thread takes 2 to 4 bytes for each row, and for each block of
     * 32,768 rows 2 to 4 bytes for each possible distance. */
    int (*rank)(const uint8_t *queries, int64_t n_queries, const uint8_t *database, int64_t n,
                int64_t n_bytes, int64_t *ids, int n_threads);

    /* Since version 3: the functions above, for rows with gaps and for searches that may be ended.
     * `distances_of` and `rank_of` look at all rows, whatever `allowed` says. */
    int (*distances_of)(const fasthash_search *search, int32_t *distances);
    int (*topk_of)(const fasthash_search *search, int64_t k, int32_t *distances, int64_t *ids);
    int (*rank_of)(const fasthash_search *search, int64_t *ids);

    /* Since version 3: as `within`, but the result goes into memory of the caller.
     *
     *   limits     n_queries + 1, as in `within`
     *   distances  n_room values, or NULL where n_room is 0
     *   ids        n_room values, or NULL where n_room is 0
     *
     * If there are more hits than n_room, the error is FASTHASH_ERROR_ROOM. The limits are right
     * even then, and limits[n_queries] is the number of hits; do not use distances and ids. So call
     * it with n_room = 0, which takes one scan, and again with room for all hits; or at once with
     * the room that they will probably need. */
    int (*within_of)(const fasthash_search *search, int64_t radius, int64_t *limits,
                     int32_t *distances, int64_t *ids, int64_t n_room);

    /* Since version 3: make an index, for multi-index hashing as in fasthash.MultiIndexHash. It is
     * faster than a scan if neighbours are near: many codes, small radii, or codes in clusters.
     *
     *   search  database, n, stride and n_bytes say which codes are indexed. `poll` may end the
     *           work, and n_threads applies. The other members are not read.
     *   n_bits  bits of a code, which take n_bytes bytes; or 0 for 8 * n_bytes
     *   index   where the index is written; NULL is written after an error. Give it to
     *           `index_free`.
     *
     * The codes are copied, so the caller may change or free them afterwards. n must be below 2^32.
     * An index takes the memory of the copy, and about n_bits / log2(n) tables: 4 to 8 bytes for
     * each code in each table, and up to 7 more where n_bits is at most 64. A table takes at least
     * 1 KiB. */
    int (*index_create)(const fasthash_search *search, int64_t n_bits, fasthash_index **index);

    /* Since version 3: as `topk_of` and `within_of`, with the same results, for the codes of an
     * index. The database, n and stride of the search are not read.
     *
     * A query that would look at too many codes is scanned instead. So a search takes at worst
     * about twice as long as without an index. If most of the first 64 queries had to be scanned,
     * the others are scanned at once.
     *
     * A search never changes the index: any number of threads may search it at the same time. The
     * scratch of `index_within` takes at most 128 MiB for hits of the tables, or n + 80,000 bytes
     * for each thread if these are more; and 12 bytes for each hit of up to 1,024 queries that are
     * scanned. */
    int (*index_topk)(const fasthash_index *index, const fasthash_search *search, int64_t k,
                      int32_t *distances, int64_t *ids);
    int (*index_within)(const fasthash_index *index, const fasthash_search *search, int64_t radius,
                        int64_t *limits, int32_t *distances, int64_t *ids, int64_t n_room);

    /* Since version 3: free an index, which no search uses any more; NULL is allowed. */
    void (*index_free)(fasthash_index *index);

    /* Since version 4: the k codes with the largest weighted scores for every query, as
     * fasthash.topk_weighted. A query has a weight for each bit. The score of a code is the sum of
     * the weights, each times 1 where the bit of the code is 1 and times -1 where it is 0.
     *
     *   search   database, n, stride, n_bytes, n_queries, allowed, poll and n_threads apply.
     *            `queries` and `query_stride` are not read.
     *   weights  n_bits for each query, without gaps
     *   n_bits   bits of a code, which take n_bytes bytes; or 0 for 8 * n_bytes. Padding bits have
     *            no weight.
     *   scores   n_queries * k, descending; NaN past the last
     *   ids      n_queries * k, ascending among equal scores; -1 past the last
     *
     * Weights that are whole numbers, and whose absolute values in each byte add up to at most
     * 255, are not rounded. Those of another query are rounded to multiples of a step, which is the
     * largest sum of the absolute weights of eight bits that share a byte, divided by 251. Scores
     * and order are those of the rounded weights, exactly. They are the same as in Python.
     *
     * The scratch of a thread takes at most 64 MiB for k up to two million and codes up to 10,000
     * bits; and there are 2 bytes for each weight and 4 for each answer. */
    int (*topk_weighted_of)(const fasthash_search *search, const double *weights, int64_t n_bits,
                            int64_t k, double *scores, int64_t *ids);
} fasthash_table;

#ifdef Py_PYTHON_H

/* Return the table of the installed package, or NULL with a Python exception set. Call it once,
 * with the GIL, while the extension is imported. */
static inline const fasthash_table *fasthash_import(void)
{
    /* PyCapsule_Import would import only the package, and not the module in it. */
    PyObject *module = PyImport_ImportModule("fasthash.c_api");
    const fasthash_table *table;
    if (module == NULL)
        return NULL;
    Py_DECREF(module);
    table = (const fasthash_table *)PyCapsule_Import("fasthash.c_api.TABLE", 0);
    if (table != NULL && table->version < FASTHASH_TABLE_VERSION) {
        PyErr_Format(PyExc_ImportError,
                     "this extension was built against version %d of fasthash's C interface, the "
                     "installed fasthash has version %d: upgrade fasthash-retrieval",
                     FASTHASH_TABLE_VERSION, table->version);
        return NULL;
    }
    return table;
}

/* Raise the exception of an error and return NULL; needs the GIL. It is a MemoryError, a
 * RuntimeError for a search that was stopped, or a ValueError. An exception that `poll` has set
 * stays. */
static inline PyObject *fasthash_raise(const fasthash_table *table, int error)
{
    PyObject *type = PyExc_ValueError;
    if (error == FASTHASH_ERROR_MEMORY)
        type = PyExc_MemoryError;
    if (error == FASTHASH_ERROR_STOPPED)
        type = PyExc_RuntimeError;
    if (error != FASTHASH_ERROR_STOPPED || !PyErr_Occurred())
        PyErr_SetString(type, table->message(error));
    return NULL;
}

#endif

#ifdef __cplusplus
}
#endif

#endif
