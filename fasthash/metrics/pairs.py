"""Retrieval between two modalities: recall at k, median rank, mean average precision.

For samples that belong together one to one, or many to one as captions belong to a clip. Samples
are float latents or packed codes. Recall and median rank use the first relevant item of a query.
There are three rules for ties:

- "expected", the default: the mean over all orders of equally similar items. The order of the rows
  changes no figure, and a model gains nothing by giving all samples the same code.
- "middle": half of the irrelevant items in a tie are placed before the relevant ones.
- "database": equally similar items in the order of their rows, as a stable sort leaves them.

This module computes blocks of a queries x database matrix. `ranking` has measures over labels and
packed codes that need no such matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.arrays import as_array
from .._core.excluded import check_exclude_self, check_same_labels
from .._core.labels import check_labels
from .._core.pieces import cut
from .._core.suspicious_columns import refuse_vanishing
from .._core.validation import check_choice, check_count, check_pairs, check_rows
from .._core.weights import RoundedWeights, check_weights, round_weights, weighted_distances
from ..codes import check_codes, check_same_width
from ..hamming import distances
from ._ties import (
    RULES_FOR_PAIRS,
    Ties,
    chance_of_a_hit,
    expected_precisions,
    harmonic_numbers,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["RetrievalScores", "expected_hits", "expected_recall", "retrieval_scores"]


@dataclass(frozen=True)
class RetrievalScores:
    """
    Scores of the retrieval in one direction, as `retrieval_scores` returns them.

    Attributes
    ----------
    recall : dict of int to float
        For each k, the share of queries whose first relevant item has a rank of at most k. With the
        rule "expected", the mean of this share over all orders of ties.
    median_rank : float
        Median over queries of the rank of the first relevant item; ranks begin at 1. With the rule
        "expected", each of these ranks is a mean over all orders of ties.
    mean_average_precision : float
        Mean over queries of the average precision within the first `at` ranks.
    n_queries : int
        Number of queries that have a relevant item. Other queries are left out.

    See Also
    --------
    retrieval_scores : Compute them.

    Examples
    --------
    >>> import fasthash as fh
    >>> x = [[1.0, 0.0], [0.0, 1.0]]
    >>> fh.retrieval_scores({"audio": x, "text": x}, ranks=[1])["audio", "text"]
    RetrievalScores(recall={1: 1.0}, median_rank=1.0, mean_average_precision=1.0, n_queries=2)
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
    weights: Mapping[str, ArrayLike] | None = None,
    ranks: Sequence[int] = (1, 5, 10),
    at: int | None = 10,
    ties: str = "expected",
    exclude_self: bool = False,
) -> dict[tuple[str, str], RetrievalScores]:
    """
    Score the retrieval between two modalities, in both directions.

    Parameters
    ----------
    samples : mapping of str to array_like
        Two modalities. Either float latents of shape (n_samples, n_latent), compared by inner
        product, or packed codes, uint8 or int8 of shape (n_samples, n_bytes), compared by Hamming
        distance.
    pairs : array_like of int, shape (n_pairs, 2), optional
        Rows that belong together: a row of the first modality and a row of the second, in the order
        of `samples`. A row may be in several pairs. By default row i belongs to row i.
    labels : mapping of str to labels, optional
        Labels of both modalities, to be given instead of `pairs`: an item is relevant if it shares
        a label with the query. Any form that `mean_average_precision` accepts.
    weights : mapping of str to array_like of float or int, shape (n_samples, n_bits), optional
        For one or both modalities of packed codes: queries of this modality search the codes of the
        other one with these weights, as `topk_weighted` does, and not with their codes.
    ranks : sequence of int, default (1, 5, 10)
        The k of the recalls.
    at : int or None, default 10
        Number of ranks that count for the average precision, which is divided by the best value
        that they allow. None means all ranks.
    ties : {"expected", "middle", "database"}, default "expected"
        How equally similar items count. "expected": by the mean over all their orders. "middle":
        half of the irrelevant ones are placed before the relevant ones. "database": in the order of
        their rows.
    exclude_self : bool, default False
        Whether query i leaves out row i of the other side. Both sides must then be the same set:
        equal samples, and equal labels if there are some.

    Returns
    -------
    dict of (str, str) to RetrievalScores
        Keys are (modality of the queries, modality that is searched).

    Raises
    ------
    TypeError, ValueError
        If samples are neither latents nor codes or are of different kinds, pairs, labels or weights
        do not fit, no query has a relevant item; or with `exclude_self`, if the two sides differ.

    See Also
    --------
    recall_at : Recall as the share of all relevant items, for packed codes with labels.
    mean_average_precision : Average precision for packed codes with labels.

    Notes
    -----
    Let b items be more similar to a query than its most similar relevant item. Let t items be as
    similar as that one, r of them relevant. With the rule "expected", the mean rank of the first
    relevant item is b + 1 + (t - r) / (r + 1), and its rank is at most b + j with the probability 1
    - C(t - r, j) / C(t, j); average precision is as in `mean_average_precision`. With the rule
    "middle", the rank of the i-th relevant item is i, plus the number of irrelevant items that are
    more similar, plus half the number of those that are equally similar. No rule draws samples: all
    values are exact except for rounding.

    Costs n_queries · n_database similarities per direction, and a sort of them, a block of queries
    at a time.

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
    check_choice(ties, "ties", RULES_FOR_PAIRS)
    is_own_left_out = check_exclude_self(
        exclude_self, given[0], given[1], (f"samples[{names[0]!r}]", f"samples[{names[1]!r}]")
    )
    if is_own_left_out and labels is not None:
        check_same_labels(left, right, (f"labels[{names[0]!r}]", f"labels[{names[1]!r}]"))
    queries = [*given] if weights is None else _queries_with_weights(names, given, weights)
    scores = {}
    for query, target in ((0, 1), (1, 0)):
        relevance = _relevance(left, right, query, labels is not None)
        firsts, precisions = [], []
        blocks = _blocks(queries[query], given[target], relevance, is_own_left_out)
        for similarity, relevant in blocks:
            has_relevant = relevant.any(axis=1)
            similarity, relevant = similarity[has_relevant], relevant[has_relevant]
            firsts.append(_first_hits(similarity, relevant))
            precisions.append(_average_precision(similarity, relevant, at, ties))
        first, precision = _FirstHits.joined(firsts), np.concatenate(precisions)
        if len(precision) == 0:
            raise ValueError(
                f"no query of {names[query]!r} has a relevant item: there is nothing to average"
            )
        scores[names[query], names[target]] = RetrievalScores(
            recall={k: float(first.within(k, ties).mean()) for k in ks},
            median_rank=float(np.median(first.ranks(ties))),
            mean_average_precision=float(precision.mean()),
            n_queries=len(precision),
        )
    return scores


def expected_recall(
    queries: NDArray[Any],
    database: NDArray[Any],
    pairs: NDArray[np.int64],
    ranks: Sequence[int],
) -> dict[int, float]:
    """
    Compute the share of queries that find a relevant item within each rank, by the rule "expected".

    Parameters
    ----------
    queries, database : ndarray
        Checked latents of one dtype, or packed codes.
    pairs : ndarray of int64, shape (n_pairs, 2)
        Rows of the queries and of the database, at least one pair.
    ranks : sequence of int
        The k of the recalls.

    Returns
    -------
    dict of int to float
        For each rank, the share among the queries that have a relevant item.
    """
    hits = expected_hits(queries, database, pairs, ranks)
    return {k: float(of_queries.mean()) for k, of_queries in hits.items()}


def expected_hits(
    queries: NDArray[Any],
    database: NDArray[Any],
    pairs: NDArray[np.int64],
    ranks: Sequence[int],
) -> dict[int, NDArray[np.float64]]:
    """
    Compute the probability that a query finds a relevant item within each rank, over all ties.

    Parameters
    ----------
    queries, database, pairs, ranks
        As of `expected_recall`.

    Returns
    -------
    dict of int to ndarray of float64
        For each rank, the probabilities of the queries that have a relevant item, in their order.

    Notes
    -----
    O(n_queries · n_database) similarities and one comparison of each; nothing is sorted.
    """
    belongs = _pair_matrix(pairs, (len(queries), len(database)))
    firsts = []
    for similarity, relevant in _blocks(queries, database, lambda rows: belongs[rows].toarray()):
        has_relevant = relevant.any(axis=1)
        firsts.append(_first_hits(similarity[has_relevant], relevant[has_relevant]))
    first = _FirstHits.joined(firsts)
    return {k: first.within(k, "expected") for k in ranks}


@dataclass(frozen=True)
class _FirstHits:
    """
    Positions of the first relevant items of queries; all arrays are int64, shape (n_queries,).

    Attributes
    ----------
    before : ndarray
        Number of items that are more similar than the most similar relevant one; all are
        irrelevant.
    tied, relevant : ndarray
        Number of items that are as similar as that one, and how many of these are relevant.
    in_order : ndarray
        Number of tied irrelevant items whose rows come before all relevant ones.
    """

    before: NDArray[np.int64]
    tied: NDArray[np.int64]
    relevant: NDArray[np.int64]
    in_order: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[_FirstHits]) -> _FirstHits:
        names = ("before", "tied", "relevant", "in_order")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def ranks(self, ties: str) -> NDArray[np.float64]:
        """The rank of the first relevant item; with the rule "expected", a mean of ranks."""
        irrelevant = self.tied - self.relevant
        ahead: NDArray[np.float64] = {
            "expected": irrelevant / (self.relevant + 1),
            "middle": irrelevant / 2,
            "database": self.in_order.astype(np.float64),
        }[ties]
        return 1 + self.before + ahead

    def within(self, k: int, ties: str) -> NDArray[np.float64]:
        """Whether that rank is at most k; with the rule "expected", a probability."""
        if ties == "expected":
            return chance_of_a_hit(self.tied, self.relevant, k - self.before)
        return (self.ranks(ties) <= k).astype(np.float64)


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
    for one, label in zip(rows, labels, strict=True):
        refuse_vanishing(one, label)
    return names, [one.read(slice(0, len(one))) for one in rows]


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


def _queries_with_weights(
    names: list[str], codes: list[NDArray[Any]], weights: Any
) -> list[NDArray[Any] | RoundedWeights]:
    """Put the weights of each modality that has some in the place of its codes."""
    if not isinstance(weights, Mapping) or not set(weights) <= set(names):
        raise TypeError(
            f"weights must be a mapping of one or both of {', '.join(map(repr, names))} to arrays, "
            f"got {sorted(weights) if isinstance(weights, Mapping) else type(weights).__name__}"
        )
    if codes[0].dtype != np.uint8:
        raise TypeError("weights go with packed codes, and samples holds latents")
    queries: list[NDArray[Any] | RoundedWeights] = [*codes]
    for i, name in enumerate(names):
        if name not in weights:
            continue
        values, n_bytes = check_weights(weights[name]), codes[i].shape[1]
        if len(values) != len(codes[i]) or (values.shape[1] + 7) // 8 != n_bytes:
            raise ValueError(
                f"weights[{name!r}] has the shape {values.shape}: it needs a row for each of the "
                f"{len(codes[i])} codes of samples[{name!r}], and a column for each of up to "
                f"{8 * n_bytes} bits"
            )
        queries[i] = round_weights(values)
    return queries


def _blocks(
    queries: NDArray[Any] | RoundedWeights,
    database: NDArray[Any],
    relevance: Any,
    is_own_left_out: bool = False,
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Blocks of (similarities, relevant or not), shape (n_queries of the block, n_answers)."""
    n_queries = len(queries.values if isinstance(queries, RoundedWeights) else queries)
    for rows in cut(n_queries, len(database)):
        similarity, relevant = _similarities(queries, rows, database), relevance(rows)
        if is_own_left_out:
            others = np.arange(len(database)) != np.arange(n_queries)[rows, None]
            shape = (len(similarity), -1)
            similarity = similarity[others].reshape(shape)
            relevant = relevant[others].reshape(shape)
        yield similarity, relevant


def _similarities(
    queries: NDArray[Any] | RoundedWeights, rows: slice, database: NDArray[Any]
) -> NDArray[Any]:
    if isinstance(queries, RoundedWeights):
        return -weighted_distances(queries.values[rows], database)
    if queries.dtype == np.uint8:
        return -distances(queries[rows], database)
    return queries[rows] @ database.T


def _first_hits(similarity: NDArray[Any], relevant: NDArray[np.bool_]) -> _FirstHits:
    """Find the first hits of queries that all have a relevant item."""
    lowest = np.iinfo(similarity.dtype).min if similarity.dtype.kind == "i" else -np.inf
    best = similarity.max(axis=1, where=relevant, initial=lowest, keepdims=True)
    is_tied = similarity == best
    is_hit = is_tied & relevant
    first = is_hit.argmax(axis=1)
    # All tied items before the first hit are irrelevant.
    in_order = (is_tied & (np.arange(similarity.shape[1]) < first[:, None])).sum(axis=1)
    counts = ((similarity > best).sum(axis=1), is_tied.sum(axis=1), is_hit.sum(axis=1), in_order)
    return _FirstHits(*(count.astype(np.int64) for count in counts))


def _average_precision(
    similarity: NDArray[Any], relevant: NDArray[np.bool_], at: int | None, ties: str
) -> NDArray[np.float64]:
    """Compute the average precision of queries that all have a relevant item."""
    n = similarity.shape[1]
    at = n if at is None else min(at, n)
    precision = np.empty(len(similarity))
    harmonic = harmonic_numbers(n)
    if ties == "database":
        for i, order in enumerate(np.argsort(-similarity, axis=1, kind="stable")):
            rank = np.flatnonzero(relevant[i, order]) + 1
            number = np.arange(1, len(rank) + 1)
            precision[i] = (number / rank)[rank <= at].sum() / min(len(rank), at)
        return precision
    # Values are sorted, which costs a fraction of sorting positions.
    for i, ascending in enumerate(np.sort(similarity, axis=1)):
        found = np.sort(similarity[i, relevant[i]])
        n_relevant = len(found)
        values, of_value = np.unique(found, return_counts=True)
        # Items that are more similar than each value, and that are at least as similar.
        before = n - np.searchsorted(ascending, values, "right")
        up_to = n - np.searchsorted(ascending, values, "left")
        relevant_before = n_relevant - of_value.cumsum()
        if ties == "expected":
            ties_of_values = Ties(up_to - before, of_value, of_value)
            of_ties = expected_precisions(before, relevant_before, ties_of_values, at, harmonic)
            precision[i] = of_ties.sum() / min(n_relevant, at)
            continue
        tie = np.repeat(np.arange(len(values)), of_value)
        number = np.arange(n_relevant, 0, -1)
        irrelevant_before = (before - relevant_before)[tie]
        irrelevant_tied = (up_to - before - of_value)[tie]
        rank = number + irrelevant_before + irrelevant_tied / 2
        precision[i] = (number / rank)[rank <= at].sum() / min(n_relevant, at)
    return precision
