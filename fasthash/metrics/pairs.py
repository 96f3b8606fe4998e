"""How well one modality finds the other: recall at k, median rank, mean average precision.

For sets where samples belong together one by one or many to one, as captions belong to a clip; for
float latents as for packed codes. Ranks are those of the first relevant item. In a tie half of the
irrelevant items count as found before ("mid-rank"), so a model gains nothing by giving all samples
the same code, and the order of the rows does not matter. Measures over labels and packed codes that
need no queries x database block are in `metrics`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.arrays import as_array
from .._core.labels import check_labels
from .._core.pieces import cut
from .._core.validation import check_count, check_pairs, check_rows
from ..codes import check_codes, check_same_width
from ..hamming import distances

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["RetrievalScores", "best_ranks", "retrieval_scores"]


@dataclass(frozen=True)
class RetrievalScores:
    """
    What one direction scores.

    Attributes
    ----------
    recall : dict of int to float
        Per k the share of queries whose first relevant item has a rank of at most k.
    median_rank : float
        Of the first relevant items; 1 is the best rank.
    mean_average_precision : float
        Over the first `at` ranks.
    n_queries : int
        How many queries have a relevant item; only they count.
    """

    recall: dict[int, float]
    median_rank: float
    mean_average_precision: float
    n_queries: int


def retrieval_scores(
    samples: Mapping[str, ArrayLike],
    pairs: ArrayLike | None = None,
    *,
    labels: Mapping[str, Any] | None = None,
    ranks: Sequence[int] = (1, 5, 10),
    at: int | None = 10,
) -> dict[tuple[str, str], RetrievalScores]:
    """
    Score the retrieval between two modalities, in both directions.

    Parameters
    ----------
    samples : mapping of str to array_like
        Two modalities: float latents of shape (n_samples, n_latent), compared by inner product, or
        packed codes, uint8 or int8 of shape (n_samples, n_bytes), compared by Hamming distance.
    pairs : array_like of int, shape (n_pairs, 2), optional
        Which row of the first modality belongs to which of the second, in the order of `samples`.
        A row may be in several pairs. Default: row i belongs to row i.
    labels : mapping of str to labels, optional
        In place of pairs: relevant is what shares a label. Kinds as in `mean_average_precision`.
    ranks : sequence of int, default (1, 5, 10)
        The k of the recalls.
    at : int or None, default 10
        Average precision looks at so many ranks, and is divided by the best that can be reached
        within them; None looks at all.

    Returns
    -------
    dict of (str, str) to RetrievalScores
        Keys are (modality of the queries, modality that is searched).

    Raises
    ------
    TypeError, ValueError
        If samples are neither kind or of different kinds, pairs or labels do not fit, or no query
        has a relevant item.

    Notes
    -----
    Rank of the i-th relevant item of a query: i, plus the irrelevant items that are more similar,
    plus half of those as similar. Costs n_queries · n_database similarities per direction, and a
    sort of them, a block of queries at a time.

    Examples
    --------
    Two clips with two captions each; the last caption is nearer to the wrong clip.

    >>> import fasthash as fh
    >>> audio = [[1.0, 0.0], [0.0, 1.0]]
    >>> text = [[1.0, 0.1], [0.9, 0.2], [0.2, 0.9], [0.8, 0.6]]
    >>> scores = fh.retrieval_scores(
    ...     {"audio": audio, "text": text}, [[0, 0], [0, 1], [1, 2], [1, 3]], ranks=[1]
    ... )
    >>> scores["text", "audio"].recall, scores["audio", "text"].recall
    ({1: 0.75}, {1: 1.0})
    """
    names, given = _check_samples(samples)
    n_samples = dict(zip(names, map(len, given), strict=True))
    ks = [check_count(k, "ranks", maximum=None) for k in ranks]
    if not ks:
        raise ValueError("ranks is empty: there is nothing to measure")
    at = None if at is None else check_count(at, "at", maximum=None)
    if labels is None:
        belongs = _pair_matrix(
            check_pairs(pairs, n_samples, minimum=1, repeated=True), n_samples.values()
        )
        left, right = belongs, belongs.T.tocsr()
    elif pairs is not None:
        raise ValueError("pairs and labels both say what is relevant: pass one of them")
    else:
        checked = check_labels(labels, n_samples)
        left, right = checked[names[0]], checked[names[1]]
    scores = {}
    for query, target in ((0, 1), (1, 0)):
        relevance = _relevance(left, right, query, labels is not None)
        best, precision = [], []
        for similarity, relevant in _blocks(given[query], given[target], relevance):
            best.append(_first_ranks(similarity, relevant))
            precision.append(_average_precision(similarity, relevant, at))
        scores[names[query], names[target]] = _summary(
            np.concatenate(best), np.concatenate(precision), ks, names[query]
        )
    return scores


def best_ranks(
    queries: NDArray[Any], database: NDArray[Any], pairs: NDArray[np.int64]
) -> NDArray[np.float64]:
    """
    Find the rank of every query's first relevant item.

    Parameters
    ----------
    queries, database : ndarray
        Validated latents of one dtype, or packed codes.
    pairs : ndarray of int64, shape (n_pairs, 2)
        Rows of the queries and of the database.

    Returns
    -------
    ndarray of float64, shape (n_queries,)
        From 1 on; halves come from ties. NaN for a query without a relevant item.

    Notes
    -----
    O(n_queries · n_database) similarities and one comparison of each; nothing is sorted.
    """
    belongs = _pair_matrix(pairs, (len(queries), len(database)))
    blocks = _blocks(queries, database, lambda rows: belongs[rows].toarray())
    return np.concatenate([_first_ranks(*block) for block in blocks])


def _check_samples(samples: Any) -> tuple[list[str], list[NDArray[Any]]]:
    if not isinstance(samples, Mapping) or len(samples) != 2:
        raise TypeError(
            'samples must be a mapping of two modality names to arrays, like {"audio": U, '
            f'"text": V}}, got {type(samples).__name__}'
            + (f" of {len(samples)}" if isinstance(samples, Mapping) else "")
        )
    names = list(samples)
    labels = [f"samples[{name!r}]" for name in names]
    arrays = [as_array(samples[name], label) for name, label in zip(names, labels, strict=True)]
    packed = [x.dtype in (np.uint8, np.int8) for x in arrays]
    if all(packed):
        codes = [check_codes(x, label) for x, label in zip(arrays, labels, strict=True)]
        check_same_width(codes[0], labels[0], codes[1], labels[1])
        for x, label in zip(codes, labels, strict=True):
            if len(x) == 0:
                raise ValueError(f"{label} is empty: there is nothing to measure")
        return names, codes
    if any(packed):
        raise TypeError(
            f"{labels[packed.index(True)]} holds packed codes, {labels[packed.index(False)]} does "
            "not: pass codes for both or latents for both"
        )
    for x, label in zip(arrays, labels, strict=True):
        if x.dtype.kind in "biu":
            raise TypeError(
                f"{label} has dtype {x.dtype}, which says neither codes nor latents: packed codes "
                f"are uint8, np.asarray(x, np.uint8); latents are floats, np.asarray(x, float)"
            )
    rows = [check_rows(x, label) for x, label in zip(arrays, labels, strict=True)]
    if rows[0].shape[1] != rows[1].shape[1]:
        raise ValueError(
            f"{labels[0]} has {rows[0].shape[1]} columns, {labels[1]} has {rows[1].shape[1]}: "
            "latents that are compared have the same number"
        )
    return names, [x.read(slice(0, len(x))) for x in rows]


def _pair_matrix(pairs: NDArray[np.int64] | None, n_samples: Any) -> csr_array:
    from scipy.sparse import csr_array

    shape = tuple(n_samples)
    if pairs is None:
        pairs = np.repeat(np.arange(shape[0])[:, None], 2, axis=1)
    return csr_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape)


def _relevance(left: csr_array, right: csr_array, query: int, by_labels: bool) -> Any:
    """A function of a slice of queries that tells which items of the database are relevant."""
    if not by_labels:
        belongs = (left, right)[query]
        return lambda rows: belongs[rows].toarray()
    of_queries, of_database = ((left, right), (right, left))[query]
    columns = of_database.T.tocsr()
    return lambda rows: (of_queries[rows] @ columns).toarray() > 0


def _blocks(
    queries: NDArray[Any], database: NDArray[Any], relevance: Any
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Blocks of (similarities, relevant or not), shape (n_queries of the block, n_database)."""
    packed = queries.dtype == np.uint8
    for rows in cut(len(queries), len(database)):
        if packed:
            yield -distances(queries[rows], database), relevance(rows)
        else:
            yield queries[rows] @ database.T, relevance(rows)


def _first_ranks(similarity: NDArray[Any], relevant: NDArray[np.bool_]) -> NDArray[np.float64]:
    lowest = np.iinfo(similarity.dtype).min if similarity.dtype.kind == "i" else -np.inf
    best = similarity.max(axis=1, where=relevant, initial=lowest, keepdims=True)
    # What is more similar than the most similar relevant item is irrelevant.
    before = (similarity > best).sum(axis=1)
    tied = ((similarity == best) & ~relevant).sum(axis=1)
    return np.where(relevant.any(axis=1), 1 + before + tied / 2, np.nan)


def _average_precision(
    similarity: NDArray[Any], relevant: NDArray[np.bool_], at: int | None
) -> NDArray[np.float64]:
    n = similarity.shape[1]
    at = n if at is None else at
    precision = np.full(len(similarity), np.nan)
    # Values are sorted, which costs a fraction of sorting places.
    for i, ascending in enumerate(np.sort(similarity, axis=1)):
        found = np.sort(similarity[i, relevant[i]])
        n_relevant = len(found)
        if n_relevant == 0:
            continue
        # Irrelevant items that are more similar than each relevant one, and that are as similar.
        behind, up_to = (
            np.searchsorted(ascending, found, side) - np.searchsorted(found, found, side)
            for side in ("left", "right")
        )
        before = n - n_relevant - up_to
        number = np.arange(n_relevant, 0, -1)
        rank = number + before + (up_to - behind) / 2
        precision[i] = (number / rank)[rank <= at].sum() / min(n_relevant, at)
    return precision


def _summary(
    best: NDArray[np.float64], precision: NDArray[np.float64], ks: list[int], query: str
) -> RetrievalScores:
    best, precision = best[~np.isnan(best)], precision[~np.isnan(precision)]
    if len(best) == 0:
        raise ValueError(f"no query of {query!r} has a relevant item: there is nothing to average")
    return RetrievalScores(
        recall={k: float((best <= k).mean()) for k in ks},
        median_rank=float(np.median(best)),
        mean_average_precision=float(precision.mean()),
        n_queries=len(best),
    )
