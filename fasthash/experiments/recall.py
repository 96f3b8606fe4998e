"""Recall of a search by codes: the share of the nearest vectors by cosine that it finds.

The queries of a search by codes are codes too, or keep their projections as weights. A search may
also fetch more codes than it returns, and sort these candidates by cosine similarity. Recall at k
for labels or for pairs is in ``fasthash/metrics``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.excluded import check_exclude_self, drop_own
from .._core.pieces import cut
from .._core.suspicious import without_warnings
from .._core.validation import check_choice, check_count, check_flag, check_rows
from ..asymmetric import topk_weighted
from ..codes import check_signs, pack_signs
from ..embeddings import CENTRE, METHODS, first_columns, nearest, packed_signs
from ..hamming import topk
from ..reranking import rerank

__all__ = ["Recall", "recall_of_codes"]


@dataclass(frozen=True)
class Recall:
    """
    Recall of a search by codes, compared with the search by cosine similarity.

    Attributes
    ----------
    method : {"sign", "itq", "rreh"}
        The method that makes the codes.
    query, database : str
        Modalities of the queries and of the database; "" if there is only one kind of vectors.
    n_bits : int
        Length of the codes.
    candidates : int
        Number of codes that are fetched for each query. If it is greater than k, the candidates are
        sorted by cosine similarity and the best k are the answers. Otherwise the k nearest codes
        are the answers.
    weights : bool
        Whether the codes are compared with the projections of the queries as weights, or with their
        codes by Hamming distance.
    value : float
        Share of the k nearest vectors that are among the answers, averaged over the queries.

    See Also
    --------
    recall_of_codes : Compute it.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((200, 16))
    >>> recall_of_codes(x, x[:5], methods=["sign"], n_bits=[16], k=1)[0]
    Recall(method='sign', query='', database='', n_bits=16, candidates=1, weights=False, value=1.0)
    """

    method: str
    query: str
    database: str
    n_bits: int
    candidates: int
    weights: bool
    value: float


def recall_of_codes(
    vectors: ArrayLike | Mapping[str, ArrayLike],
    queries: ArrayLike | Mapping[str, ArrayLike],
    *,
    methods: Sequence[str] = ("sign", "itq"),
    n_bits: Sequence[int],
    k: int = 10,
    candidates: Sequence[int] = (),
    pairs: ArrayLike | None = None,
    centre: bool = False,
    exclude_self: bool = False,
    random_state: Any = 0,
    callback: Callable[[str, int, int], None] | None = None,
) -> list[Recall]:
    """
    Compare a search by codes with the search by cosine similarity.

    Parameters
    ----------
    vectors : array_like, shape (n, n_features), or mapping of str to such arrays
        Vectors to search; a mapping holds one array for each modality.
    queries : array_like, shape (n_queries, n_features), or mapping of str to such arrays
        Vectors to search with, in the same form as `vectors`. Queries of a modality search the
        vectors of their own modality, and of every modality with the same number of features,
        because embeddings in a shared space have the same number.
    methods : sequence of {"sign", "itq", "rreh"}, default ("sign", "itq")
        How codes are made. "sign" takes the signs of the first features. "itq" fits
        `fasthash.ITQ` to the vectors. "rreh" fits `fasthash.RREH` to the vectors of two or more
        modalities and searches the codes that it learned for them.
    n_bits : sequence of int
        Code lengths. For "sign" a length is at most n_features.
    k : int, default 10
        Number of nearest vectors to find for each query.
    candidates : sequence of int, default ()
        Numbers of codes to fetch and sort by cosine similarity; each is measured as well.
    pairs : array_like of int, shape (n_pairs, n_modalities), optional
        Rows that belong together, one column per modality, for "rreh". By default row i of one
        modality belongs to row i of the others.
    centre : bool, default False
        Whether "sign" first subtracts the means of the vectors, for each modality. Vectors that are
        at least 0, as the output of a ReLU is, need it. The other methods always do it.
    exclude_self : bool, default False
        Whether query i leaves out row i of the vectors of its own modality. Each modality of the
        queries must then hold its vectors. A search of another modality leaves nothing out.
    random_state : int or None, default 0
        Seed of ITQ and RREH.
    callback : callable, optional
        Called as ``callback(stage, done, total)`` during the search by cosine similarity, and after
        each method and length.

    Returns
    -------
    list of Recall
        For each method, length and direction: the recall of the k nearest codes, then of the k best
        codes by weights, then the recall for each number in `candidates`, fetched by Hamming
        distance.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or value; or with `exclude_self`, if the queries
        are not the vectors.

    See Also
    --------
    fasthash.embeddings.codes_of_signs : Pack the signs of embeddings.
    fasthash.embeddings.nearest : The search by cosine similarity.
    fasthash.rerank : Sort candidates by their vectors.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((200, 16))
    >>> for line in recall_of_codes(x, x[:5], methods=["sign"], n_bits=[16], k=1, candidates=[20]):
    ...     print(line.method, line.n_bits, line.candidates, line.weights, line.value)
    sign 16 1 False 1.0
    sign 16 1 True 1.0
    sign 16 20 False 1.0
    """
    x, q = (
        dict(given) if isinstance(given, Mapping) else {"": given} for given in (vectors, queries)
    )
    for method in methods:
        check_choice(method, "methods", METHODS)
        if method == "rreh":
            _check_modalities_of_rreh(list(x) if isinstance(vectors, Mapping) else [])
    if not set(q) <= set(x):
        raise ValueError(f"queries have the modalities {sorted(q)}, and vectors have {sorted(x)}")
    lengths = [check_count(length, "n_bits") for length in n_bits]
    fetched = list(dict.fromkeys([k, *(check_count(n, "candidates") for n in candidates)]))
    vector_rows = {name: check_rows(one, "vectors") for name, one in x.items()}
    shapes = {name: rows.shape for name, rows in vector_rows.items()}
    for name, one in q.items():
        rows, own = check_rows(one, "queries"), vector_rows[name]
        called = f"[{name!r}]" if name else ""
        both = f"queries{called}", f"vectors{called}"
        is_excluded = check_exclude_self(exclude_self, own if one is x[name] else rows, own, both)
        if is_excluded and not k < len(rows):
            raise ValueError(f"k is {k}, and exclude_self=True leaves {len(rows) - 1} vectors")
    fewest = min(shape[1] for shape in shapes.values())
    # This check comes before the float search, which may take long.
    if "sign" in methods and max(lengths) > fewest:
        raise ValueError(
            f"n_bits is {max(lengths)}, and 'sign' makes one bit of each feature: there are "
            f"{fewest} features"
        )
    if "sign" in methods and not check_flag(centre, "centre"):
        for name, rows in vector_rows.items():
            called = f"vectors[{name!r}]" if name else "vectors"
            check_signs((rows.read(block) for block in cut(*rows.shape)), called, CENTRE)
    with without_warnings():
        wanted: dict[tuple[str, str], NDArray[np.int64]] = {}
        for query, target in itertools.product(q, x):
            if shapes[query][1] == shapes[target][1]:
                n_own = int(exclude_self and query == target)
                best = nearest(q[query], x[target], k + n_own, callback=callback)
                wanted[query, target] = _others(best, n_own)
        table: list[Recall] = []
        n_done = 0
        for method in methods:
            for length in lengths:
                project = _projector(method, x, length, pairs, centre, random_state)
                for (query, target), best in wanted.items():
                    weights, codes = project(query, target, q[query])
                    n_own = int(exclude_self and query == target)
                    ids = _others(topk(pack_signs(weights), codes, max(fetched) + n_own)[1], n_own)
                    answers = {
                        (k, False): ids[:, :k],
                        (k, True): _others(topk_weighted(weights, codes, k + n_own)[1], n_own),
                    }
                    for n in fetched:
                        if n > k:
                            answers[n, False] = rerank(q[query], x[target], ids[:, :n], k)[1]
                        elif n < k:
                            answers[n, False] = ids[:, :k]
                    for (n, is_weighted), found in answers.items():
                        hits = [len(np.intersect1d(a, b)) for a, b in zip(found, best, strict=True)]
                        share = float(np.mean(hits)) / k
                        table.append(Recall(method, query, target, length, n, is_weighted, share))
                n_done += 1
                if callback is not None:
                    callback(f"{method}, {length} bits", n_done, len(methods) * len(lengths))
    return table


def _others(ids: NDArray[np.int64], n_own: int) -> NDArray[np.int64]:
    """The answers without the row of the query, if n_own is 1, or else all answers."""
    return drop_own(ids, ids, np.arange(len(ids)))[1] if n_own else ids


def _check_modalities_of_rreh(modalities: Sequence[str]) -> None:
    if len(modalities) < 2:
        raise ValueError(
            'rreh learns from pairs of two modalities, as in {"image": x, "text": y}, and got only '
            f"{modalities[0] if modalities else 'one kind of embeddings'}: use sign or itq"
        )


def _projector(
    method: str, vectors: dict[str, Any], n_bits: int, pairs: Any, centre: bool, seed: Any
) -> Callable[[str, str, Any], tuple[NDArray[np.floating], NDArray[np.uint8]]]:
    """Return a function that makes (projections, codes) of (query, target, queries)."""
    if method == "sign":
        rows = {name: check_rows(x, "vectors") for name, x in vectors.items()}
        means = {name: x.column_means() if centre else None for name, x in rows.items()}
        return lambda query, target, x: (
            first_columns(check_rows(x, "queries"), n_bits, means[query]),
            packed_signs(rows[target], n_bits, means[target]),
        )
    from ..models import ITQ, RREH

    if method == "rreh":
        model = RREH(n_bits, random_state=seed).fit(vectors, pairs)
        return lambda query, target, x: (model.project(x, query), model.codes_[target])
    fitted = {
        name: ITQ(n_bits, random_state=seed).fit(np.asarray(x)) for name, x in vectors.items()
    }
    return lambda query, target, x: (
        fitted[target].project(np.asarray(x)),
        fitted[target].transform(np.asarray(vectors[target])),
    )
