"""What searching by codes loses: how many of the nearest vectors by cosine codes find.

A search by codes may fetch more candidates than are wanted and put these in the order of their
cosines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core.pieces import cut
from .._core.validation import check_choice, check_count, check_rows
from ..codes import check_signs
from ..embeddings import METHODS, nearest, packed_signs
from ..hamming import topk
from ..reranking import rerank

__all__ = ["Recall", "recall_of_codes"]


@dataclass(frozen=True)
class Recall:
    """
    How many of the nearest vectors a search by codes finds.

    Attributes
    ----------
    method : str
    query, database : str
        Modalities of the queries and of what is searched; "" where there is one kind of vectors.
    n_bits : int
    candidates : int
        How many codes are fetched for every query, of which the best by cosine are answers; where
        these are no more than the answers, nothing is put in another order.
    value : float
        Share of the nearest vectors that are among the answers, mean over queries.
    """

    method: str
    query: str
    database: str
    n_bits: int
    candidates: int
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
    random_state: Any = 0,
    callback: Callable[[str, int, int], None] | None = None,
) -> list[Recall]:
    """
    Compare the search by codes with the search by cosines.

    Parameters
    ----------
    vectors, queries : array_like, shapes (n, n_features) and (n_queries, n_features)
        Or mappings of modalities to such. Queries of a modality search its own vectors, and those
        of others that have as many features, as embeddings in a shared space have.
    methods : sequence of {"sign", "itq", "rreh"}, default ("sign", "itq")
        Signs of the first features; `fasthash.ITQ`, fitted to what is searched; `fasthash.RREH`,
        fitted to two modalities or more, of which the learned codes are searched.
    n_bits : sequence of int
        Each at most n_features, except of "rreh".
    k : int, default 10
        How many of the nearest are to be found.
    candidates : sequence of int, default ()
        Also by fetching so many codes and putting them in the order of their cosines.
    pairs : array_like of int, shape (n_pairs, n_modalities), optional
        Which rows of the modalities belong together, for "rreh"; by default row i and row i.
    random_state : int or None, default 0
        Seeds ITQ and RREH.
    callback : callable, optional
        Called as ``callback(stage, done, total)`` during the search by cosines, and after each
        method and length.

    Returns
    -------
    list of Recall
        Per method, length and direction: of the k nearest codes, then of `candidates`.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((200, 16))
    >>> for line in recall_of_codes(x, x[:5], methods=["sign"], n_bits=[16], k=1, candidates=[20]):
    ...     print(line.method, line.n_bits, line.candidates, line.value)
    sign 16 1 1.0
    sign 16 20 1.0
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
    shapes = {name: check_rows(one, "vectors").shape for name, one in x.items()}
    fewest = min(shape[1] for shape in shapes.values())
    for method in set(methods) - {"rreh"}:
        # Before the search by cosines, which may take long.
        if max(lengths) > fewest:
            raise ValueError(f"n_bits is {max(lengths)}, and {method} codes {fewest} features")
    if "sign" in methods:
        for name, one in x.items():
            rows = check_rows(one, "vectors")
            called = f"vectors[{name!r}]" if name else "vectors"
            check_signs((rows.read(block) for block in cut(*rows.shape)), called)
    wanted = {
        (query, target): nearest(q[query], x[target], k, callback=callback)
        for query in q
        for target in x
        if shapes[query][1] == shapes[target][1]
    }
    table: list[Recall] = []
    n_done = 0
    for method in methods:
        for length in lengths:
            code = _coding(method, x, length, pairs, random_state)
            for (query, target), best in wanted.items():
                _, ids = topk(*code(query, target, q[query]), max(fetched))
                for n in fetched:
                    found = ids[:, :k] if n <= k else rerank(q[query], x[target], ids[:, :n], k)[1]
                    hits = [len(np.intersect1d(a, b)) for a, b in zip(found, best, strict=True)]
                    share = float(np.mean(hits)) / k
                    table.append(Recall(method, query, target, length, n, share))
            n_done += 1
            if callback is not None:
                callback(f"{method}, {length} bits", n_done, len(methods) * len(lengths))
    return table


def _check_modalities_of_rreh(modalities: Sequence[str]) -> None:
    """
    Refuse fewer than two modalities.

    Raises
    ------
    ValueError
        If there are fewer.
    """
    if len(modalities) < 2:
        raise ValueError(
            'rreh learns from pairs of two modalities, as in {"image": x, "text": y}, and there is '
            f"{modalities[0] if modalities else 'one kind of embeddings'} alone: use sign or itq"
        )


def _coding(
    method: str, vectors: dict[str, Any], n_bits: int, pairs: Any, seed: Any
) -> Callable[[str, str, Any], tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """What makes codes of queries, and of what they search: from both modalities, and queries."""
    if method == "sign":
        return lambda query, target, x: (
            packed_signs(check_rows(x, "queries"), n_bits),
            packed_signs(check_rows(vectors[target], "vectors"), n_bits),
        )
    from ..models import ITQ, RREH

    if method == "rreh":
        model = RREH(n_bits, random_state=seed).fit(vectors, pairs)
        return lambda query, target, x: (model.encode(x, query), model.codes_[target])
    fitted = {
        name: ITQ(n_bits, random_state=seed).fit(np.asarray(x)) for name, x in vectors.items()
    }
    return lambda query, target, x: (
        fitted[target].transform(np.asarray(x)),
        fitted[target].transform(np.asarray(vectors[target])),
    )
