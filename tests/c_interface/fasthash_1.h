/* Exact Hamming search over packed codes, for C, C++ and Cython.
 *
 * The functions are members of one table, which `fasthash_import` fetches from the installed package
 * at run time: nothing is linked. The table is only ever appended to, and a member never changes its
 * meaning, so that an extension built against one version runs with every later one. An extension
 * built against a newer version than the one installed is refused with an ImportError.
 *
 *     #include <Python.h>
 *     #include "fasthash.h"       include directory: fasthash.get_include()
 *
 * Codes are rows of n_bytes bytes each, without gaps and without any alignment, most significant bit
 * first, padding bits zero, as fasthash.pack and numpy.packbits make them. Ids are row numbers.
 * Order is always (distance, id); it depends neither on threads nor on the instruction set.
 *
 * No function needs the GIL or touches a Python object; all may be called from any thread. Inputs are
 * never changed. A function returns FASTHASH_OK or one of the errors below, and then has written
 * nothing that may be used.
 *
 *   n_threads  at most so many threads are started: at least 1, or 0 for OMP_NUM_THREADS or all
 *              cores, as n_threads=None is in Python. A small call starts fewer, and no call starts
 *              more than 64, or 4 for each core where that is more. A forked child may call too.
 */
#ifndef FASTHASH_H
#define FASTHASH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows by one whenever a member is appended. */
#define FASTHASH_TABLE_VERSION 1

/* Numbers are never used again for something else. */
enum {
    FASTHASH_OK = 0,
    FASTHASH_ERROR_MEMORY = 1,  /* no memory for the scratch or the result */
    FASTHASH_ERROR_NULL = 2,    /* a pointer is NULL where there are values to read or write */
    FASTHASH_ERROR_COUNT = 3,   /* a number of codes is negative, or more than memory can hold, or
                                 2^31 or more where ranks count */
    FASTHASH_ERROR_WIDTH = 4,   /* n_bytes is below 1 or above (2^31 - 1) / 8 */
    FASTHASH_ERROR_K = 5,       /* k is below 1, or n_queries * k is more than memory can hold */
    FASTHASH_ERROR_RADIUS = 6,  /* radius is negative */
    FASTHASH_ERROR_THREADS = 7, /* n_threads is negative */
    FASTHASH_ERROR_LABELS = 8, /* n_label_words is below 1 or above 2^31 - 1, or the labels are more
                                   than memory can hold */
    FASTHASH_ERROR_AT = 9      /* at is below 1 */
};

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
     * Made for k well below n: memory grows with k, 24 bytes to a query and candidate. */
    int (*topk)(const uint8_t *queries, int64_t n_queries, const uint8_t *database, int64_t n,
                int64_t n_bytes, int64_t k, const uint8_t *allowed, int32_t *distances,
                int64_t *ids, int n_threads);

    /* All codes at most `radius` bits away from every query.
     *
     *   limits     n_queries + 1: what query q finds lies at [limits[q], limits[q + 1]) of
     *   distances  and ids, which are allocated: give each to `release`. Never NULL without error,
     *              both NULL with one.
     *
     * Costs two scans. Scratch stays below 32 MiB, or 8 (radius + 1) bytes where these are more,
     * and a copy of the queries searched at once; the result is allocated as it grows. */
    int (*within)(const uint8_t *queries, int64_t n_queries, const uint8_t *database, int64_t n,
                  int64_t n_bytes, int64_t radius, const uint8_t *allowed, int64_t *limits,
                  int32_t **distances, int64_t **ids, int n_threads);

    /* Gives memory back that a function of this table has allocated; NULL is allowed. */
    void (*release)(void *memory);

    /* Average precision of every query's ranking, ties in the order of the database.
     *
     *   query_labels,   n_label_words words to a row; a code is relevant to a query that shares one
     *   labels          of its bits
     *   at              ranks that count, from 1 on; INT64_MAX for all. The sum of precisions is
     *                   divided by the smaller of `at` and the number of relevant codes.
     *   scores          n_queries; NaN where nothing is relevant
     *
     * Fast where queries with the same labels stand side by side: they share what is relevant. */
    int (*average_precision)(const uint8_t *queries, int64_t n_queries, const uint8_t *database,
                             int64_t n, int64_t n_bytes, const uint64_t *query_labels,
                             const uint64_t *labels, int64_t n_label_words, int64_t at,
                             double *scores, int n_threads);
} fasthash_table;

#ifdef Py_PYTHON_H

/* The table of the installed package, or NULL with a Python exception set. Call it once, while the
 * extension is imported, with the GIL. */
static inline const fasthash_table *fasthash_import(void)
{
    /* PyCapsule_Import imports the package alone and expects to find the rest in it. */
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

/* Raises what an error means: MemoryError or ValueError. Returns NULL, needs the GIL. */
static inline PyObject *fasthash_raise(const fasthash_table *table, int error)
{
    PyErr_SetString(error == FASTHASH_ERROR_MEMORY ? PyExc_MemoryError : PyExc_ValueError,
                    table->message(error));
    return NULL;
}

#endif

#ifdef __cplusplus
}
#endif

#endif
