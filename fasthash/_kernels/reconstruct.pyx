"""Reconstruct samples from their nearest anchors: choose the anchors and compute the weights.

fasthash/models/rreh/_anchor_reconstruction.py computes the scores of a block of samples with a
matrix product. This kernel chooses the anchors by their scores, solves for the weights, and writes
both as rows of a CSR matrix. It needs no GIL and starts no threads: a thread of the caller computes
the product and calls this kernel while the scores are in its cache.

Arguments are trusted: lengths agree, there is an anchor, and 1 <= k <= number of anchors.
"""

from libc.stdint cimport int32_t, int64_t

import numpy as np

cdef extern from "reconstruct.h" nogil:
    enum:
        FH_LANES
        FH_GROUPS
        FH_COUNTED

    ctypedef struct fh_reconstruction:
        int64_t n_anchors
        int64_t n_features
        int64_t k
        double regularisation
        const double *gram
        double largest_norm
        int64_t n_groups
        void *values
        int32_t *candidates
        int32_t *nearest
        double *distances
        double *differences
        double *local
        double *weights

    void fh_reconstruct_float(const fh_reconstruction *r, int n, const float *samples,
                              const float *anchors, const float *centred, int64_t stride,
                              const float *scores, int32_t *indices, float *weights)
    void fh_reconstruct_double(const fh_reconstruction *r, int n, const double *samples,
                               const double *anchors, const double *centred, int64_t stride,
                               const double *scores, int32_t *indices, double *weights)

ctypedef fused real:
    float
    double


def reconstruct(const real[:, ::1] x, const real[:, ::1] anchors, const real[:, :] centred,
                const real[:, ::1] scores, const double[:, ::1] gram, double regularisation,
                int32_t[:, ::1] indices, real[:, ::1] weights):
    """
    Write the k nearest anchors of each sample, ascending, and their weights.

    `centred` are the samples minus the origin; each row is contiguous, with gaps allowed between
    rows. `gram` are the products of the anchors minus the origin. `scores` are the squared norms of
    the anchors minus twice their products with the samples, both relative to the origin. k is the
    width of `indices`.
    """
    cdef Py_ssize_t batch, i, n = x.shape[0], n_features = x.shape[1], k = indices.shape[1]
    cdef Py_ssize_t n_anchors = anchors.shape[0]
    cdef Py_ssize_t stride = centred.strides[0] // <Py_ssize_t>sizeof(real)
    cdef Py_ssize_t n_groups = (3 * k // 2 + FH_GROUPS) // FH_GROUPS * FH_GROUPS
    cdef int n_rows
    cdef double[::1] values = np.empty(2 * n_groups + FH_COUNTED)
    cdef int32_t[::1] candidates = np.empty(n_anchors, np.int32)
    cdef int32_t[::1] nearest = np.empty(k + 1, np.int32)
    cdef double[::1] distances = np.empty(k)
    cdef double[::1] differences = np.empty(k * n_features + 1)
    cdef double[::1] local = np.empty(k * (k + 1) // 2 * FH_LANES)
    cdef double[::1] lanes = np.empty(k * FH_LANES)
    cdef fh_reconstruction r
    r.n_anchors, r.n_features, r.k, r.n_groups = n_anchors, n_features, k, n_groups
    r.regularisation = regularisation
    r.gram = &gram[0, 0]
    r.largest_norm = np.sqrt(np.max(np.diagonal(gram)))
    r.values, r.candidates, r.nearest = &values[0], &candidates[0], &nearest[0]
    r.distances, r.differences = &distances[0], &differences[0]
    r.local, r.weights = &local[0], &lanes[0]
    with nogil:
        for batch in range((n + FH_LANES - 1) // FH_LANES):
            i = batch * FH_LANES
            n_rows = <int>min(<Py_ssize_t>FH_LANES, n - i)
            if real is float:
                fh_reconstruct_float(&r, n_rows, &x[i, 0], &anchors[0, 0], &centred[i, 0], stride,
                                     &scores[i, 0], &indices[i, 0], &weights[i, 0])
            else:
                fh_reconstruct_double(&r, n_rows, &x[i, 0], &anchors[0, 0], &centred[i, 0], stride,
                                      &scores[i, 0], &indices[i, 0], &weights[i, 0])
