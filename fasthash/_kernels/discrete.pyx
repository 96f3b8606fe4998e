"""The discrete updates of AMSH over all samples: label targets, label votes, codes, bit targets.

fasthash/models/amsh/_codes.py explains the symbols L̂, V, B, P and X, and what votes are. Labels
are the rows of a CSR matrix, `indptr` and `indices`: sample i has the labels
`indices[indptr[i]:indptr[i + 1]]`, and each has the weight 1 / sqrt(number of labels) in L̂. Codes
stay packed.

Arguments are trusted: lengths agree, labels are below the number of classes, rows are contiguous.
A sum over samples is computed for a fixed number of chunks, and the chunks are added in order. So
the number of threads does not change a bit of the result.
"""

from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t, uint8_t

from fasthash._kernels.tiles cimport threads_for

import numpy as np

cdef extern from "discrete.h" nogil:
    double fh_label_target_float(float *prediction, int64_t n_classes, const int32_t *labels,
                                 int64_t n_labels)
    double fh_label_target_double(double *prediction, int64_t n_classes, const int32_t *labels,
                                  int64_t n_labels)
    double fh_bit_target_float(float *margins, const uint8_t *code, int64_t n_bits)
    double fh_bit_target_double(double *margins, const uint8_t *code, int64_t n_bits)
    void fh_vote_float(const float *values, int64_t n_bits, const int32_t *labels,
                       int64_t n_labels, double *votes)
    void fh_vote_double(const double *values, int64_t n_bits, const int32_t *labels,
                        int64_t n_labels, double *votes)
    void fh_vote_code(const uint8_t *code, int64_t n_bits, const int32_t *labels,
                      int64_t n_labels, double *signs, double *votes)
    void fh_add_code_float(float *sums, int64_t n_bits, const uint8_t *code, float eta)
    void fh_add_code_double(double *sums, int64_t n_bits, const uint8_t *code, double eta)
    void fh_add_label_rows_float(float *latents, const float *whitened, int64_t n_bits,
                                 const float *origin, const int32_t *labels, int64_t n_labels,
                                 const float *label_rows)
    void fh_add_label_rows_double(double *latents, const double *whitened, int64_t n_bits,
                                  const double *origin, const int32_t *labels, int64_t n_labels,
                                  const double *label_rows)
    int64_t fh_update_code_float(const float *latents, int64_t n_bits, const int32_t *labels,
                                 int64_t n_labels, const double *votes, double eta, double *sums,
                                 uint8_t *code, double *alignment)
    int64_t fh_update_code_double(const double *latents, int64_t n_bits, const int32_t *labels,
                                  int64_t n_labels, const double *votes, double eta, double *sums,
                                  uint8_t *code, double *alignment)

ctypedef fused real:
    float
    double

cdef enum:
    # Number of partial sums, each of n_classes x n_bits; 16 of them take little memory.
    N_CHUNKS = 16
    # Doubles between the scratch memory of two chunks: two cache lines, because processors fetch
    # lines in pairs.
    PADDING = 16


def label_target(real[:, ::1] prediction, const int64_t[::1] indptr, const int32_t[::1] indices,
                 int n_threads=1):
    """
    Turn predictions VP into label targets in place; return the sum of the squared changes.

    The target is max(prediction, 1) where the sample has the label, min(prediction, 0) elsewhere.
    """
    cdef Py_ssize_t chunk, i, n = prediction.shape[0], n_classes = prediction.shape[1]
    cdef double change
    cdef double[::1] changes = np.zeros(N_CHUNKS)
    n_threads = threads_for(n_threads, N_CHUNKS, <double>n * n_classes)
    with nogil:
        for chunk in prange(N_CHUNKS, num_threads=n_threads, schedule="static"):
            change = 0
            for i in range(n * chunk // N_CHUNKS, n * (chunk + 1) // N_CHUNKS):
                if real is float:
                    change = change + fh_label_target_float(
                        &prediction[i, 0], n_classes, &indices[0] + indptr[i],
                        indptr[i + 1] - indptr[i])
                else:
                    change = change + fh_label_target_double(
                        &prediction[i, 0], n_classes, &indices[0] + indptr[i],
                        indptr[i + 1] - indptr[i])
            changes[chunk] = change
    return float(np.sum(changes))


def bit_target(real[:, :] margins, const uint8_t[:, ::1] codes, int n_threads=1):
    """
    Turn margins XF into bit targets B∘max(1, B∘XF) in place; return the squared hinge loss.

    Each row of `margins` is contiguous; there may be gaps between the rows.
    """
    cdef Py_ssize_t chunk, i, n = margins.shape[0], n_bits = margins.shape[1]
    cdef double loss
    cdef double[::1] losses = np.zeros(N_CHUNKS)
    n_threads = threads_for(n_threads, N_CHUNKS, <double>n * n_bits)
    with nogil:
        for chunk in prange(N_CHUNKS, num_threads=n_threads, schedule="static"):
            loss = 0
            for i in range(n * chunk // N_CHUNKS, n * (chunk + 1) // N_CHUNKS):
                if real is float:
                    loss = loss + fh_bit_target_float(&margins[i, 0], &codes[i, 0], n_bits)
                else:
                    loss = loss + fh_bit_target_double(&margins[i, 0], &codes[i, 0], n_bits)
            losses[chunk] = loss
    return float(np.sum(losses))


def label_votes(const real[:, ::1] values, const int64_t[::1] indptr, const int32_t[::1] indices,
                Py_ssize_t n_classes, int n_threads=1):
    """Compute L̂ᵀV as float64 of shape (n_classes, n_bits)."""
    cdef Py_ssize_t chunk, i, n = values.shape[0], n_bits = values.shape[1]
    cdef double[:, :, ::1] votes = np.zeros((N_CHUNKS, n_classes, n_bits))
    n_threads = threads_for(n_threads, N_CHUNKS, <double>n * n_bits)
    with nogil:
        for chunk in prange(N_CHUNKS, num_threads=n_threads, schedule="static"):
            for i in range(n * chunk // N_CHUNKS, n * (chunk + 1) // N_CHUNKS):
                if real is float:
                    fh_vote_float(&values[i, 0], n_bits, &indices[0] + indptr[i],
                                  indptr[i + 1] - indptr[i], &votes[chunk, 0, 0])
                else:
                    fh_vote_double(&values[i, 0], n_bits, &indices[0] + indptr[i],
                                   indptr[i + 1] - indptr[i], &votes[chunk, 0, 0])
    return np.sum(votes, axis=0)


def label_votes_of_codes(const uint8_t[:, ::1] codes, Py_ssize_t n_bits,
                         const int64_t[::1] indptr, const int32_t[::1] indices,
                         Py_ssize_t n_classes, int n_threads=1):
    """Compute L̂ᵀB from packed codes, as float64 of shape (n_classes, n_bits)."""
    cdef Py_ssize_t chunk, i, n = codes.shape[0]
    cdef double[:, :, ::1] votes = np.zeros((N_CHUNKS, n_classes, n_bits))
    cdef double[:, ::1] signs = np.empty((N_CHUNKS, n_bits + PADDING))
    n_threads = threads_for(n_threads, N_CHUNKS, <double>n * n_bits)
    with nogil:
        for chunk in prange(N_CHUNKS, num_threads=n_threads, schedule="static"):
            for i in range(n * chunk // N_CHUNKS, n * (chunk + 1) // N_CHUNKS):
                fh_vote_code(&codes[i, 0], n_bits, &indices[0] + indptr[i],
                             indptr[i + 1] - indptr[i], &signs[chunk, 0], &votes[chunk, 0, 0])
    return np.sum(votes, axis=0)


def add_codes(real[:, ::1] sums, const uint8_t[:, ::1] codes, double eta, int n_threads=1):
    """Add eta B to the sums."""
    cdef Py_ssize_t i, n_bits = sums.shape[1]
    n_threads = threads_for(n_threads, sums.shape[0], <double>sums.shape[0] * n_bits)
    for i in prange(sums.shape[0], num_threads=n_threads, schedule="static", nogil=True):
        if real is float:
            fh_add_code_float(&sums[i, 0], n_bits, &codes[i, 0], <float>eta)
        else:
            fh_add_code_double(&sums[i, 0], n_bits, &codes[i, 0], eta)


def add_label_rows(const real[:, ::1] whitened, const real[::1] origin, const int64_t[::1] indptr,
                   const int32_t[::1] indices, const real[:, ::1] label_rows,
                   real[:, ::1] latents, int n_threads=1):
    """Compute latents = whitened - origin + L̂ label_rows."""
    cdef Py_ssize_t i, n_bits = latents.shape[1]
    n_threads = threads_for(n_threads, latents.shape[0], <double>latents.shape[0] * n_bits)
    for i in prange(latents.shape[0], num_threads=n_threads, schedule="static", nogil=True):
        if real is float:
            fh_add_label_rows_float(&latents[i, 0], &whitened[i, 0], n_bits, &origin[0],
                                    &indices[0] + indptr[i], indptr[i + 1] - indptr[i],
                                    &label_rows[0, 0])
        else:
            fh_add_label_rows_double(&latents[i, 0], &whitened[i, 0], n_bits, &origin[0],
                                     &indices[0] + indptr[i], indptr[i + 1] - indptr[i],
                                     &label_rows[0, 0])


def update_codes(const real[:, ::1] latents, const int64_t[::1] indptr,
                 const int32_t[::1] indices, const double[:, ::1] votes, double eta,
                 uint8_t[:, ::1] codes, int n_threads=1):
    """
    Compute B = sign(L̂ votes + eta V), and overwrite the old packed codes, in one pass.

    Returns the number of bits that changed, and the inner product of B and V.
    """
    cdef Py_ssize_t chunk, n = latents.shape[0], n_bits = latents.shape[1]
    cdef double[:, ::1] sums = np.empty((N_CHUNKS, n_bits + PADDING))
    cdef double[::1] alignments = np.zeros(N_CHUNKS)
    cdef int64_t[::1] changed = np.zeros(N_CHUNKS, np.int64)
    n_threads = threads_for(n_threads, N_CHUNKS, <double>n * n_bits)
    with nogil:
        for chunk in prange(N_CHUNKS, num_threads=n_threads, schedule="static"):
            changed[chunk] = update_codes_of_rows(
                latents, n * chunk // N_CHUNKS, n * (chunk + 1) // N_CHUNKS, indptr, indices,
                votes, eta, &sums[chunk, 0], codes, &alignments[chunk])
    return int(np.sum(changed)), float(np.sum(alignments))


cdef int64_t update_codes_of_rows(const real[:, ::1] latents, Py_ssize_t first, Py_ssize_t last,
                                  const int64_t[::1] indptr, const int32_t[::1] indices,
                                  const double[:, ::1] votes, double eta, double *sums,
                                  uint8_t[:, ::1] codes, double *alignment) noexcept nogil:
    cdef Py_ssize_t i, n_bits = latents.shape[1]
    cdef int64_t changed = 0
    cdef double aligned = 0
    for i in range(first, last):
        if real is float:
            changed += fh_update_code_float(
                &latents[i, 0], n_bits, &indices[0] + indptr[i], indptr[i + 1] - indptr[i],
                &votes[0, 0], eta, sums, &codes[i, 0], &aligned)
        else:
            changed += fh_update_code_double(
                &latents[i, 0], n_bits, &indices[0] + indptr[i], indptr[i + 1] - indptr[i],
                &votes[0, 0], eta, sums, &codes[i, 0], &aligned)
    alignment[0] = aligned
    return changed
