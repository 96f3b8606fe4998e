"""Measures of rankings whose database is a Dask array: counts per distance, added up over workers.

A worker counts, for each query and each distance, the codes of its partition and those that are
relevant. The counts of all partitions add up to those of the whole database. The measures follow
from them, as in ``fasthash.metrics``, and to the same bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.arrays import is_dask_array, is_sparse
from .._core.cluster_rows import sent, with_partition
from .._core.labels import check_labels
from .._core.merges import merged_on_workers, total_of
from .._core.pieces import cut
from ..codes import check_codes
from ..metrics import _means, average_precisions, ranking
from ..metrics._relevance import Counts, EvaluationProblem, check_problem
from ._cluster import client_of

__all__ = ["average_precision", "mean_average_precision", "precision_at", "recall_at"]

# Counts that one chunk of queries holds at most.
_CHUNK_VALUES = 1 << 20


def mean_average_precision(
    query_codes: ArrayLike,
    database_codes: Any,
    query_labels: Any,
    database_labels: Any,
    *,
    at: int | str | None = None,
    radius: int | None = None,
    normalize: str = "relevant",
    no_relevant: str = "skip",
    n_threads: int | None = None,
    client: Any = None,
) -> float:
    """
    Compute the mean average precision over a database on the workers of a Dask cluster.

    Equal distances count by the mean over all their orders, as with ``ties="expected"`` of
    `fasthash.mean_average_precision`.

    Parameters
    ----------
    query_codes : array_like of uint8, shape (n_queries, n_bytes)
        Packed codes of the queries.
    database_codes : dask.array.Array of uint8, shape (n, n_bytes)
        Packed codes of the database.
    query_labels : labels
        Labels of the queries, in any form that `fasthash.mean_average_precision` accepts.
    database_labels : dask.array.Array or labels
        Labels of the database: class names or numbers of shape (n,), or 0/1 columns of shape
        (n, n_classes).
    at : int or "n_relevant", optional
        Number of ranks that count; by default all.
    radius : int, optional
        Only codes within this Hamming distance count.
    normalize : {"relevant", "retrieved", "all_relevant"}, default "relevant"
        What the sum of precisions is divided by, as in `fasthash.mean_average_precision`.
    no_relevant : {"skip", "zero", "raise"}, default "skip"
        What a query without any relevant item counts.
    n_threads : int, optional
        Number of threads for each partition, by default ``OMP_NUM_THREADS`` of its worker.
    client : distributed.Client, optional
        The client of the cluster, by default the current one.

    Returns
    -------
    float
        The mean over the queries.

    Raises
    ------
    TypeError, ValueError
        If codes or labels do not fit each other, or an option is not one of its choices.

    See Also
    --------
    average_precision : The values of all queries.
    fasthash.mean_average_precision : The same measure in one process.

    Notes
    -----
    A task returns 16 bytes for each query and distance, for any size of its partition. Workers add
    up the counts of 16 partitions at a time.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from distributed import Client
    >>> import fasthash as fh
    >>> rng = np.random.default_rng(0)
    >>> codes, labels = rng.integers(0, 256, (900, 4), dtype=np.uint8), rng.integers(0, 3, 900)
    >>> lazy = da.from_array(codes, chunks=(300, 4))
    >>> with Client(processes=False, n_workers=1, dashboard_address=":0"):
    ...     found = fh.distributed.mean_average_precision(codes[:9], lazy, labels[:9], labels)
    >>> found == fh.mean_average_precision(codes[:9], codes, labels[:9], labels)
    True
    """
    _means.check_policy(no_relevant)
    scores = average_precision(
        *(query_codes, database_codes, query_labels, database_labels),
        at=at,
        radius=radius,
        normalize=normalize,
        n_threads=n_threads,
        client=client,
    )
    return float(_means.mean_by_policy(scores, no_relevant))


def average_precision(
    query_codes: ArrayLike,
    database_codes: Any,
    query_labels: Any,
    database_labels: Any,
    *,
    at: int | str | None = None,
    radius: int | None = None,
    normalize: str = "relevant",
    n_threads: int | None = None,
    client: Any = None,
) -> NDArray[np.float64]:
    """
    Compute the average precision of every query over a database on the workers of a Dask cluster.

    Parameters
    ----------
    query_codes : array_like of uint8, shape (n_queries, n_bytes)
        Packed codes of the queries.
    database_codes : dask.array.Array of uint8, shape (n, n_bytes)
        Packed codes of the database.
    query_labels : labels
        Labels of the queries.
    database_labels : dask.array.Array or labels
        Labels of the database, as in `mean_average_precision`.
    at : int or "n_relevant", optional
        Number of ranks that count; by default all.
    radius : int, optional
        Only codes within this Hamming distance count.
    normalize : {"relevant", "retrieved", "all_relevant"}, default "relevant"
        What the sum of precisions is divided by, as in `fasthash.mean_average_precision`.
    n_threads : int, optional
        Number of threads for each partition.
    client : distributed.Client, optional
        The client of the cluster, by default the current one.

    Returns
    -------
    ndarray of float64, shape (n_queries,)
        NaN for a query without any relevant item.

    Raises
    ------
    TypeError, ValueError
        As in `mean_average_precision`.

    See Also
    --------
    mean_average_precision : The mean of these values.
    fasthash.average_precision : The same measure in one process.

    Notes
    -----
    Costs as much as `mean_average_precision`.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> import fasthash as fh
    >>> database = da.from_array(fh.pack([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]), chunks=(2, 1))
    >>> queries = fh.pack([[1.0, 1.0], [-1.0, -1.0]])
    >>> with Client(processes=False, n_workers=1, dashboard_address=":0"):
    ...     fh.distributed.average_precision(queries, database, [0, 1], [0, 1, 0])
    array([0.83333333, 0.5       ])
    """
    problem = _summed(query_codes, database_codes, query_labels, database_labels, n_threads, client)
    return average_precisions.precision_means(problem, at, radius, "expected", normalize)


def precision_at(
    query_codes: ArrayLike,
    database_codes: Any,
    query_labels: Any,
    database_labels: Any,
    *,
    ranks: ArrayLike,
    per_query: bool = False,
    n_threads: int | None = None,
    client: Any = None,
) -> NDArray[np.float64]:
    """
    Compute the share of relevant items among the first ranks.

    Parameters
    ----------
    query_codes : array_like of uint8, shape (n_queries, n_bytes)
        Packed codes of the queries.
    database_codes : dask.array.Array of uint8, shape (n, n_bytes)
        Packed codes of the database.
    query_labels : labels
        Labels of the queries.
    database_labels : dask.array.Array or labels
        Labels of the database, as in `mean_average_precision`.
    ranks : int or array_like of int
        Numbers of first items.
    per_query : bool, default False
        Whether to return a row for each query and not the mean.
    n_threads : int, optional
        Number of threads for each partition.
    client : distributed.Client, optional
        The client of the cluster, by default the current one.

    Returns
    -------
    ndarray of float64, shape (n_ranks,) or (n_queries, n_ranks)
        A column for each rank.

    Raises
    ------
    TypeError, ValueError
        As in `mean_average_precision`, or if a rank is not between 1 and n.

    See Also
    --------
    fasthash.precision_at : The same measure in one process.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> import fasthash as fh
    >>> database = da.from_array(fh.pack([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]), chunks=(2, 1))
    >>> query = fh.pack([[1.0, 1.0]])
    >>> with Client(processes=False, n_workers=1, dashboard_address=":0"):
    ...     fh.distributed.precision_at(query, database, [0], [0, 1, 0], ranks=[1, 2])
    array([1. , 0.5])
    """
    problem = _summed(query_codes, database_codes, query_labels, database_labels, n_threads, client)
    return ranking.precisions_at(problem, ranks, "expected", per_query)


def recall_at(
    query_codes: ArrayLike,
    database_codes: Any,
    query_labels: Any,
    database_labels: Any,
    *,
    ranks: ArrayLike,
    no_relevant: str = "skip",
    per_query: bool = False,
    n_threads: int | None = None,
    client: Any = None,
) -> NDArray[np.float64]:
    """
    Compute the share of all relevant items that are among the first ranks.

    Parameters
    ----------
    query_codes : array_like of uint8, shape (n_queries, n_bytes)
        Packed codes of the queries.
    database_codes : dask.array.Array of uint8, shape (n, n_bytes)
        Packed codes of the database.
    query_labels : labels
        Labels of the queries.
    database_labels : dask.array.Array or labels
        Labels of the database, as in `mean_average_precision`.
    ranks : int or array_like of int
        Numbers of first items.
    no_relevant : {"skip", "zero", "raise"}, default "skip"
        What a query without any relevant item counts.
    per_query : bool, default False
        Whether to return a row for each query and not the mean.
    n_threads : int, optional
        Number of threads for each partition.
    client : distributed.Client, optional
        The client of the cluster, by default the current one.

    Returns
    -------
    ndarray of float64, shape (n_ranks,) or (n_queries, n_ranks)
        A column for each rank.

    Raises
    ------
    TypeError, ValueError
        As in `mean_average_precision`, or if a rank is not between 1 and n.

    See Also
    --------
    fasthash.recall_at : The same measure in one process.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> import fasthash as fh
    >>> database = da.from_array(fh.pack([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]]), chunks=(2, 1))
    >>> query = fh.pack([[1.0, 1.0]])
    >>> with Client(processes=False, n_workers=1, dashboard_address=":0"):
    ...     fh.distributed.recall_at(query, database, [0], [0, 1, 0], ranks=[1, 3])
    array([0.5, 1. ])
    """
    problem = _summed(query_codes, database_codes, query_labels, database_labels, n_threads, client)
    return ranking.recalls_at(problem, ranks, "expected", no_relevant, per_query)


@dataclass(frozen=True)
class _Summed(EvaluationProblem):
    """An evaluation of which only the counts are known: per query, a column for each distance."""

    totals: NDArray[np.int64]
    relevant: NDArray[np.int64]

    @property
    def n(self) -> int:
        return int(self.totals[0].sum())

    @property
    def n_queries(self) -> int:
        return len(self.totals)

    def counts(self) -> Iterator[Counts]:
        for some in cut(len(self.totals), self.totals.shape[1], _CHUNK_VALUES):
            yield np.arange(some.start, some.stop), self.totals[some], self.relevant[some]

    radius_counts = counts

    def n_relevant(self) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self.relevant.sum(axis=1)
        return found


def _summed(
    query_codes: ArrayLike,
    database_codes: Any,
    query_labels: Any,
    database_labels: Any,
    n_threads: int | None,
    client: Any,
) -> _Summed:
    """Count on the workers, and add up."""
    import dask

    client = client_of(client)
    queries = check_codes(query_codes, "query_codes")
    if len(queries) == 0:
        raise ValueError("query_codes is empty: there is nothing to measure")
    codes, labels = _check_database(database_codes, database_labels, queries.shape[1])
    # Refuses labels that do not fit the queries, before anything is sent.
    check_labels({"query_labels": query_labels}, {"query_labels": len(queries)}, argument="{}")
    query_labels = query_labels if is_sparse(query_labels) else np.asarray(query_labels)
    request = sent(client, [queries, query_labels])
    count = dask.delayed(partial(_counted, n_threads=n_threads), pure=False)
    tasks = [
        count(request, *blocks, place)
        for place, blocks in enumerate(
            zip(codes.to_delayed().ravel(), labels.to_delayed().ravel(), strict=True)
        )
    ]
    totals, relevant = merged_on_workers(client, client.compute(tasks), total_of)
    if totals.sum() == 0:
        raise ValueError("database_codes is empty: there is nothing to measure")
    return _Summed(totals, relevant)


def _check_database(codes: Any, labels: Any, n_bytes: int) -> tuple[Any, Any]:
    """Codes and labels with the same partitions, each of all columns."""
    import dask.array as da

    if not is_dask_array(codes):
        raise TypeError(
            f"database_codes must be a Dask array, got {type(codes).__name__}: "
            "fasthash.mean_average_precision takes arrays of this process"
        )
    if codes.dtype != np.uint8:
        raise TypeError(f"database_codes must be packed codes of dtype uint8, got {codes.dtype}")
    if codes.ndim != 2 or codes.shape[1] != n_bytes:
        raise ValueError(
            f"database_codes must have shape (n, {n_bytes}) like query_codes, got {codes.shape}"
        )
    codes = codes.rechunk({1: -1})
    if not is_dask_array(labels):
        labels = da.from_array(np.asarray(labels), chunks=-1)
    if labels.ndim not in (1, 2):
        raise ValueError(f"database_labels must have one or two dimensions, got {labels.shape}")
    if np.isnan(codes.shape[0]) or np.isnan(labels.shape[0]):
        if codes.numblocks[0] != labels.numblocks[0]:
            raise ValueError(
                f"database_codes has {codes.numblocks[0]} partitions of unknown size and "
                f"database_labels has {labels.numblocks[0]}: both must be cut at the same rows"
            )
    elif codes.shape[0] != labels.shape[0]:
        raise ValueError(
            f"database_labels must have one row per code, {codes.shape[0]}, got {labels.shape[0]}"
        )
    else:
        labels = labels.rechunk({0: codes.chunks[0], **({1: -1} if labels.ndim == 2 else {})})
    return codes, labels


def _counted(
    request: list[Any],
    codes: NDArray[np.uint8],
    labels: Any,
    place: int,
    *,
    n_threads: int | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Codes and relevant codes of a partition, per query and distance."""
    queries, query_labels = request
    totals = np.zeros((len(queries), 8 * queries.shape[1] + 1), np.int64)
    relevant = np.zeros_like(totals)
    if len(codes):
        with with_partition(place):
            problem = check_problem(queries, codes, query_labels, labels, n_threads)
        for some, some_totals, some_relevant in problem.counts():
            totals[some], relevant[some] = some_totals, some_relevant
    return totals, relevant
