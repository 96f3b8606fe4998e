"""Measure the main operations on one thread: searches, evaluation, encoding, reconstruction.

Each case runs the same task with fasthash, numpy and, if it has such a function, faiss. It may also
time a lower limit: reading all codes once, or the matrix products that encoding needs. The results
are compared first, and then all calls are timed in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.features import FeatureMap
from .._core.rows import Rows
from .._core.workers import Workers
from ..hamming import rank, topk, within
from ..index import MultiIndexHash
from ..metrics import average_precision
from ..models._encoding import encode_rows
from ..models.rreh._anchor_reconstruction import reconstruct
from ._model_peers import (
    encode_in_numpy,
    multiply_like_encode,
    of_differences,
    reconstruct_in_numpy,
)
from ._peers import (
    check_same,
    faiss_or_none,
    numpy_bitwise_count,
    xor_average_precision,
    xor_distances,
)
from ._random_codes import make_codes
from ._timing import Ratio, interleave

__all__ = ["TASKS", "Measurement", "measure"]

WIDTHS = (64, 256)
K = 10

# Peers process one query after another, so that a few queries suffice to measure the time of one.
_N_FEW = 16

# Least share of bits that must agree: another order of a sum may change the sign of a value near 0.
_LEAST_AGREEMENT = 0.999


@dataclass(frozen=True)
class Measurement:
    """
    Times and ratios of one case.

    Attributes
    ----------
    task, what : str
        Name of the task in `TASKS`, and a description of the data.
    seconds : float
        Median time of a query, or of a sample.
    over_numpy : Ratio
        Time of plain numpy over ours.
    over_faiss : Ratio or None
        Time of faiss-cpu, its flat index, over ours; None where it has no such search, or is not
        installed.
    over_limit : Ratio or None
        Time at the limit over ours.
    limit : str
        What the limit is: "read" or "products"; "" without one. Searches of several queries may
        exceed that of reading: they pass the codes while these are near the processor.
    """

    task: str
    what: str
    seconds: float
    over_numpy: Ratio
    over_faiss: Ratio | None = None
    over_limit: Ratio | None = None
    limit: str = ""


@dataclass(frozen=True)
class _Case:
    """Calls to time in turn, and the number of queries or samples in each call."""

    what: str
    ours: Callable[[], object]
    n: int
    numpy: Callable[[], object]
    n_numpy: int
    faiss: Callable[[], object] | None = None
    n_faiss: int = 0
    limit: Callable[[], object] | None = None
    # What one call of the limit is a limit to.
    n_limit: int = 1
    limit_name: str = ""


def measure(
    tasks: Sequence[str],
    quick: bool = False,
    repeats: int = 7,
    callback: Callable[[str, int, int], None] | None = None,
) -> Iterator[Measurement]:
    """
    Measure tasks, one after the other.

    Parameters
    ----------
    tasks : sequence of str
        Names in `TASKS`.
    quick : bool, default False
        Small data, for a look; what is usual is a minute's work.
    repeats : int, default 7
        Rounds, after one to warm up.
    callback : callable, optional
        Called as ``callback(stage, done, total)`` before and after every task.

    Yields
    ------
    Measurement

    Raises
    ------
    ImportError
        If numpy is older than 2 and has no popcount to compare with.
    AssertionError
        If answers differ from those of a peer.
    """
    from threadpoolctl import threadpool_limits

    if not hasattr(np, "bitwise_count"):
        raise ImportError(
            f"numpy {np.__version__} has no bitwise_count, which the comparison needs: "
            "pip install 'numpy>=2'"
        )
    report = callback or (lambda stage, done, total: None)
    # Peers that multiply matrices stay on one thread, as fasthash does.
    with threadpool_limits(1, "blas"):
        for done, task in enumerate(tasks):
            report(task, done, len(tasks))
            for case in TASKS[task](quick):
                yield _time(task, case, repeats)
        report("done", len(tasks), len(tasks))


def _time(task: str, case: _Case, repeats: int) -> Measurement:
    calls = {"ours": case.ours, "numpy": case.numpy}
    if case.faiss is not None:
        calls["faiss"] = case.faiss
    if case.limit is not None:
        calls["limit"] = case.limit
    rounds = interleave(calls, repeats)
    over_faiss = over_limit = None
    if case.faiss is not None:
        over_faiss = rounds.ratio("faiss", "ours").times(case.n / case.n_faiss)
    if case.limit is not None:
        over_limit = rounds.ratio("limit", "ours").times(case.n / case.n_limit)
    return Measurement(
        task,
        case.what,
        rounds.median("ours") / case.n,
        rounds.ratio("numpy", "ours").times(case.n / case.n_numpy),
        over_faiss,
        over_limit,
        case.limit_name,
    )


def _topk(quick: bool) -> Iterator[_Case]:
    """Find the nearest codes of many queries, and of a single query."""
    for n, n_queries in ((50_000, 200), (500_000, 1)) if quick else ((1_000_000, 1000), (10**7, 1)):
        for n_bits in WIDTHS if n_queries > 1 else WIDTHS[:1]:
            database, queries = make_codes("uniform", n, n_queries, n_bits)
            few = queries[:_N_FEW]
            ours = partial(topk, queries, database, K, n_threads=1)
            expected = topk(few, database, K, n_threads=1)
            in_numpy = partial(numpy_bitwise_count(database), few, K)
            faiss = faiss_or_none(database)
            check_same(expected, in_numpy(), "top-k", same_ids=False)
            if faiss is not None:
                check_same(expected, faiss(few, K), "top-k")
            yield _Case(
                f"{n_queries:,} {'queries' if n_queries > 1 else 'query'}, n = {n:,}, {n_bits} "
                f"bits, k = {K}",
                ours,
                n_queries,
                in_numpy,
                len(few),
                faiss and partial(faiss, few, K),
                len(few),
                *_reading(database),
            )


def _within(quick: bool) -> Iterator[_Case]:
    """Find all codes within a radius."""
    n, n_queries, n_bits, radius = (50_000, 200, 64, 8) if quick else (1_000_000, 1000, 64, 8)
    database, queries = make_codes("clustered", n, n_queries, n_bits)
    words, few = database.view(np.uint64), queries[:_N_FEW]

    def in_numpy() -> tuple[list[int], list[NDArray[Any]], list[NDArray[Any]]]:
        limits, found_distances, found_ids = [0], [], []
        for query in few.view(np.uint64):
            distances = xor_distances(query, words)
            ids = np.flatnonzero(distances <= radius)
            ids = ids[np.argsort(distances[ids], kind="stable")]
            found_distances.append(distances[ids])
            found_ids.append(ids)
            limits.append(limits[-1] + len(ids))
        return limits, found_distances, found_ids

    limits, *expected = in_numpy()
    found = within(few, database, radius, n_threads=1)
    np.testing.assert_array_equal(found[0], limits)
    distances, ids = (np.concatenate(parts) for parts in expected)
    check_same(found[1:], (distances, ids), "within")
    yield _Case(
        f"{n_queries:,} queries, n = {n:,} clustered, {n_bits} bits, radius {radius}",
        partial(within, queries, database, radius, n_threads=1),
        n_queries,
        in_numpy,
        len(few),
        None,
        0,
        *_reading(database),
    )


def _rank(quick: bool) -> Iterator[_Case]:
    """Rank all codes. The time of numpy's radix sort does not include the distances."""
    n, n_queries = (20_000 if quick else 200_000), 20
    for n_bits in WIDTHS:
        database, queries = make_codes("uniform", n, n_queries, n_bits)
        words = database.view(np.uint64)
        distances = np.stack([xor_distances(query, words) for query in queries.view(np.uint64)])
        ours = partial(rank, queries, database, n_threads=1)
        in_numpy = partial(np.argsort, distances, axis=1, kind="stable")
        np.testing.assert_array_equal(ours(), in_numpy())
        yield _Case(
            f"{n_queries} queries, n = {n:,}, {n_bits} bits", ours, n_queries, in_numpy, n_queries
        )


def _average_precision(quick: bool) -> Iterator[_Case]:
    """Compute mean average precision with ten classes."""
    n, n_queries = (20_000, 100) if quick else (200_000, 2000)
    for n_bits in WIDTHS:
        database, queries = make_codes("clustered", n, n_queries, n_bits)
        rng = np.random.default_rng(0)
        labels, query_labels = (rng.integers(0, 10, m) for m in (n, n_queries))
        few, few_labels = queries[:10], query_labels[:10]
        in_numpy = partial(
            xor_average_precision,
            few.view(np.uint64),
            database.view(np.uint64),
            few_labels,
            labels,
        )
        measure = partial(average_precision, ties="database", n_threads=1)
        found = measure(few, database, few_labels, labels)
        np.testing.assert_allclose(found, in_numpy(), rtol=1e-9)
        yield _Case(
            f"{n_queries:,} queries, n = {n:,}, {n_bits} bits, ties by id",
            partial(measure, queries, database, query_labels, labels),
            n_queries,
            in_numpy,
            len(few),
        )


def _multi_index(quick: bool) -> Iterator[_Case]:
    """Search clustered codes exactly by multi-index hashing."""
    n, n_queries, n_bits = (100_000 if quick else 1_000_000), 1000, 64
    database, queries = make_codes("clustered", n, n_queries, n_bits)
    index = MultiIndexHash(n_bits)
    index.add(database)
    few, faiss = queries[:_N_FEW], faiss_or_none(database)
    in_numpy = partial(numpy_bitwise_count(database), few, K)
    expected = index.search(few, K, n_threads=1)
    check_same(expected, in_numpy(), "multi-index", same_ids=False)
    if faiss is not None:
        check_same(expected, faiss(few, K), "multi-index")
    yield _Case(
        f"{n_queries:,} queries, n = {n:,} clustered, {n_bits} bits, k = {K}",
        partial(index.search, queries, K, n_threads=1),
        n_queries,
        in_numpy,
        len(few),
        faiss and partial(faiss, few, K),
        len(few),
    )


def _encode(quick: bool) -> Iterator[_Case]:
    """Encode features by radial basis functions, as AMSH and RREH do."""
    n, n_features, n_anchors, n_bits = (2000, 128, 300, 64) if quick else (10_000, 512, 1000, 64)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, n_features), np.float32)
    anchors, width = x[rng.choice(n, n_anchors, replace=False)], float(np.sqrt(n_features))
    mapped = FeatureMap(np.zeros(n_anchors), anchors, width).transform(x[:1000])
    mean, projection = mapped.mean(axis=0), rng.standard_normal((n_anchors, n_bits))
    feature_map = FeatureMap(mean.astype(np.float64), anchors, width)
    ours = partial(encode_rows, Rows(x, np.float32), feature_map, projection, 1)
    narrow = projection.astype(np.float32)
    in_numpy = partial(encode_in_numpy, x, anchors, width, mean, narrow)
    agreeing = 1 - np.bitwise_count(ours() ^ in_numpy()).sum() / (n * n_bits)
    if agreeing < _LEAST_AGREEMENT:
        raise AssertionError(f"encode: {agreeing:.1%} of the bits are those of numpy")
    yield _Case(
        f"n = {n:,}, {n_features} features, {n_anchors:,} anchors, {n_bits} bits",
        ours,
        n,
        in_numpy,
        n,
        limit=partial(multiply_like_encode, x, np.ascontiguousarray(anchors.T), narrow, 1),
        n_limit=n,
        limit_name="products",
    )


def _reconstruct(quick: bool) -> Iterator[_Case]:
    """Reconstruct samples from anchors, as RREH does for samples without a partner."""
    n, n_features, n_anchors, k = (4000 if quick else 50_000), 128, 300, 10
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((50, n_features), np.float32)
    x = centres[rng.integers(0, 50, n)] + rng.standard_normal((n, n_features), np.float32)
    anchors = x[rng.choice(n, n_anchors, replace=False)]

    def ours(x: NDArray[Any] = x, anchors: NDArray[Any] = anchors) -> Any:
        with Workers(1) as workers:
            return reconstruct(x, anchors, workers, k, 0.1)

    precise = x[:1000].astype(np.float64), anchors.astype(np.float64)
    found = ours(*precise)
    indices, weights = reconstruct_in_numpy(of_differences, *precise, 1, k, 0.1)
    np.testing.assert_array_equal(found.indices.reshape(-1, k), indices)
    np.testing.assert_allclose(found.data.reshape(-1, k), weights, atol=1e-9)
    yield _Case(
        f"n = {n:,}, {n_features} features, {n_anchors} anchors, k = {k}",
        ours,
        n,
        partial(reconstruct_in_numpy, of_differences, x, anchors, 1, k, 0.1),
        n,
    )


def _reading(database: NDArray[np.uint8]) -> tuple[Callable[[], object], int, str]:
    """
    Return a call that reads all codes once, by numpy's maximum, with the arguments of its limit.

    A search that reads all codes from memory for each query cannot be faster than this call.
    """
    words = database.reshape(-1).view(np.uint64)
    return words.max, 1, "read"


TASKS: dict[str, Callable[[bool], Iterator[_Case]]] = {
    "top-k": _topk,
    "within": _within,
    "rank": _rank,
    "average-precision": _average_precision,
    "multi-index": _multi_index,
    "encode": _encode,
    "reconstruct": _reconstruct,
}
