"""Search by Jaccard distance: against numpy and scipy, and what sorting by bits set saves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from scipy.spatial.distance import cdist

import fasthash as fh
from fasthash._kernels.jaccard import Jaccard
from fasthash.experiments._timing import interleave
from fasthash.neighbors._jaccard import SortedCodes, _by_size
from report import Context, Table, ratio_cell, time_cell

TITLE = "Jaccard distance"

WIDTHS = (1024, 2048)
N_QUERIES = 256
K = 10
RADIUS = 0.3
# Codes of which numpy and scipy compute all distances, to a query; their time grows with both.
N_PEERS = 10_000


def run(context: Context) -> Iterator[Table]:
    n = 20_000 if context.quick else 200_000
    rows = []
    for n_bits in WIDTHS:
        context.progress(f"jaccard: {n_bits} bits")
        codes = _fingerprints(n + N_QUERIES, n_bits)
        queries, codes = codes[:N_QUERIES], codes[N_QUERIES:]
        held = SortedCodes(codes)
        bits = fh.unpack(codes[:N_PEERS], n_bits), fh.unpack(queries[:1], n_bits)
        _check(queries[:1], codes[:N_PEERS], cdist(bits[1], bits[0], "jaccard")[0])
        calls: dict[str, Callable[[], object]] = {
            "topk": partial(held.topk, queries, K, 1),
            "one": partial(held.topk, queries[:1], K, 1),
            "within": partial(held.within, queries, RADIUS, 1),
            "hamming": partial(fh.topk, queries, codes, K, n_threads=1),
            "numpy": partial(_popcount, queries[0], codes[:N_PEERS]),
            "scipy": partial(cdist, bits[1], bits[0], "jaccard"),
        }
        rounds = interleave(calls, context.repeats)
        of_all = N_QUERIES * n / N_PEERS
        rows.append(
            (
                str(n_bits),
                time_cell(rounds.median("topk") / N_QUERIES),
                time_cell(rounds.median("one")),
                time_cell(rounds.median("within") / N_QUERIES),
                ratio_cell(rounds.ratio("numpy", "topk").times(of_all)),
                ratio_cell(rounds.ratio("scipy", "topk").times(of_all)),
                ratio_cell(rounds.ratio("topk", "hamming")),
                f"{_share_read(held, queries, K, 1.0):.0%}",
                f"{_share_read(held, queries, None, RADIUS):.0%}",
            )
        )
    yield Table(
        (
            *("bits", "per query of a batch", "one query", f"within {RADIUS}, per query"),
            *("faster than numpy", "faster than scipy", "time over `topk`"),
            *("codes compared, top-k", f"within {RADIUS}"),
        ),
        rows,
        f"n = {n:,} fingerprints in families, k = {K}, batches of {N_QUERIES} queries, one thread. "
        "numpy computes the distances of one query by `numpy.bitwise_count`, scipy by `cdist` of "
        f"the bits, both to {N_PEERS:,} codes, without selecting any. `topk` searches the same "
        "codes by Hamming distance. The last columns are the shares of codes that are compared: "
        "the others have too few or too many bits set.",
    )


def _fingerprints(n: int, n_bits: int) -> np.ndarray:
    """Codes in families of about 50, whose numbers of bits set differ as those of molecules do."""
    rng = np.random.default_rng(0)
    density = rng.beta(4, 36, (n // 50 + 1, 1))
    families = rng.random((len(density), n_bits)) < density
    codes = np.empty((n, n_bits // 8), np.uint8)
    for start in range(0, n, 10_000):
        bits = families[rng.integers(0, len(families), len(codes[start : start + 10_000]))]
        kept = rng.random(bits.shape) < 0.9
        added = rng.random(bits.shape) < 0.01
        codes[start : start + 10_000] = np.packbits(bits & kept | added, axis=1)
    return codes


def _popcount(query: np.ndarray, codes: np.ndarray) -> np.ndarray:
    a, b = query.view(np.uint64), codes.view(np.uint64)
    shared = np.bitwise_count(a & b).sum(axis=1)
    either = np.bitwise_count(a | b).sum(axis=1)
    return 1 - shared / np.maximum(either, 1)


def _share_read(held: SortedCodes, queries: np.ndarray, k: int | None, radius: float) -> float:
    """The share of codes that a query of the batch is compared with."""
    queries, sizes, _ = _by_size(queries)
    codes = held._codes, held._sizes, held._rows
    counts = np.full(len(queries), k or 0)
    out = np.empty(counts.sum()), np.empty(counts.sum(), np.int64)
    starts = None if k is None else k * np.arange(len(queries))
    search = Jaccard(queries, sizes, *codes, radius, starts, counts, *out, 1)
    n_words = sum(iter(partial(search.advance, 1 << 40), 0))
    return n_words / (len(queries) * codes[0].size / 8)


def _check(query: np.ndarray, codes: np.ndarray, expected: np.ndarray) -> None:
    distances, rows = fh.neighbors.jaccard_topk(query, codes, K, n_threads=1)
    np.testing.assert_allclose(distances[0], np.sort(expected)[:K])
    np.testing.assert_allclose(_popcount(query[0], codes)[rows[0]], distances[0])
