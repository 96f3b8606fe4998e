"""Embeddings that somebody has already: codes of them, and what searching by codes loses.

The nearest vectors by the cosine of their angle are what codes are to find. A search by codes may
fetch more candidates than are wanted and put these in the order of their cosines.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core.features import unit_rows
from ._core.pieces import cut
from ._core.rows import Rows
from ._core.validation import check_choice, check_count, check_rows
from .codes import check_signs, pack_signs
from .hamming import topk
from .reranking import rerank

__all__ = [
    "METHODS",
    "Recall",
    "check_modalities_of_rreh",
    "codes_of_signs",
    "nearest",
    "recall_of_codes",
]

# The last one learns from pairs of two modalities or more.
METHODS = ("sign", "itq", "rreh")

# In so many rows a feature that may have either sign has both.
_MANY_ROWS = 100


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


def codes_of_signs(x: ArrayLike, n_bits: int | None = None) -> NDArray[np.uint8]:
    """
    Pack the signs of embeddings.

    Parameters
    ----------
    x : array_like, shape (n, n_features)
        Anything that models take as features.
    n_bits : int, optional
        How many of the first features to take; by default all. For models that were trained to put
        what matters first.

    Returns
    -------
    ndarray of uint8, shape (n, ceil(n_bits / 8))

    Raises
    ------
    TypeError, ValueError
        If x is no matrix of finite numbers, has fewer features than `n_bits`, or holds nothing
        below 0 where `pack` refuses that, as what a ReLU gives: every bit would be 1.

    Warns
    -----
    UserWarning
        If a feature has the same sign in all rows, 100 or more: its bit tells nothing.

    Examples
    --------
    >>> codes_of_signs([[0.5, -1.0, 2.0]])
    array([[160]], dtype=uint8)
    """
    rows = check_rows(x, "x")
    n_bits = rows.shape[1] if n_bits is None else check_count(n_bits, "n_bits")
    if n_bits > rows.shape[1]:
        raise ValueError(f"n_bits is {n_bits}, and there are signs of {rows.shape[1]} features")
    check_signs((rows.read(block)[:, :n_bits] for block in cut(*rows.shape)), "x")
    codes = _signs(rows, n_bits)
    if len(codes) >= _MANY_ROWS:
        _warn_of_constant_bits(codes, n_bits)
    return codes


def nearest(
    queries: ArrayLike,
    vectors: ArrayLike,
    k: int,
    callback: Callable[[str, int, int], None] | None = None,
) -> NDArray[np.int64]:
    """
    Find the vectors with the largest cosines, by computing all of them.

    Parameters
    ----------
    queries : array_like, shape (n_queries, n_features)
    vectors : array_like, shape (n, n_features)
        Read block by block.
    k : int
        At most n.
    callback : callable, optional
        Called as ``callback(stage, done, total)`` after each block.

    Returns
    -------
    ndarray of int64, shape (n_queries, k)
        Rows, nearest first; of equal cosines the smaller row first.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit.

    Notes
    -----
    O(n_queries · n · n_features).

    Examples
    --------
    >>> nearest([[1.0, 0.1]], [[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]], 2)
    array([[1, 2]])
    """
    x, asked = check_rows(vectors, "vectors"), check_rows(queries, "queries")
    if asked.shape[1] != x.shape[1]:
        raise ValueError(f"queries have {asked.shape[1]} columns, and vectors have {x.shape[1]}")
    q = unit_rows(_all(asked))
    k = _check_k(k, len(x))
    best = np.full((len(q), 0), -np.inf)
    rows = np.empty((len(q), 0), np.int64)
    for some in cut(len(x), len(q)):
        block = unit_rows(x.read(some))
        best = np.hstack([best, q @ block.T])
        new = np.broadcast_to(np.arange(some.start, some.stop), (len(q), len(block)))
        rows = np.hstack([rows, new])
        # Rows ascend within equal cosines, and a stable sort leaves them so.
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best, rows = (np.take_along_axis(a, order, axis=1) for a in (best, rows))
        if callback is not None:
            callback("float search", some.stop, len(x))
    return rows


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
            check_modalities_of_rreh(list(x) if isinstance(vectors, Mapping) else [])
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
        (query, target): nearest(q[query], x[target], k, callback)
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


def check_modalities_of_rreh(modalities: Sequence[str]) -> None:
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
            _signs(check_rows(x, "queries"), n_bits),
            _signs(check_rows(vectors[target], "vectors"), n_bits),
        )
    from .models import ITQ, RREH

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


def _signs(rows: Rows, n_bits: int) -> NDArray[np.uint8]:
    blocks = cut(*rows.shape)
    return np.concatenate([pack_signs(rows.read(block)[:, :n_bits]) for block in blocks])


def _warn_of_constant_bits(codes: NDArray[np.uint8], n_bits: int) -> None:
    ones = np.unpackbits(np.bitwise_and.reduce(codes, axis=0), count=n_bits)
    zeros = np.unpackbits(np.bitwise_or.reduce(codes, axis=0), count=n_bits) == 0
    constant = np.flatnonzero(ones | zeros)
    if len(constant):
        named = ", ".join(map(str, constant[:5])) + ", …" * (len(constant) > 5)
        warnings.warn(
            f"{len(constant)} of {n_bits} features of x have the same sign in all {len(codes)} "
            f"rows ({named}), so their bits tell nothing: x - x.mean(axis=0) centres them",
            UserWarning,
            stacklevel=3,
        )


def _all(x: Rows) -> NDArray[Any]:
    return x.read(slice(0, len(x)))


def _check_k(k: Any, n: int) -> int:
    k = check_count(k, "k")
    if k > n:
        raise ValueError(f"k is {k}, and there are {n} vectors")
    return k
