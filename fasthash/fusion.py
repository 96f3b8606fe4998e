"""Search among items that have several codes, such as one of a picture and one of its caption.

The codes of an item are joined to one long code, and a query has weights for all of its bits. So a
search of several codes is one search with weights, and as exact. `topk_fused` joins and searches;
`join_codes` and `join_weights` join, so that an index can hold and search the joined codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core.allowed import allow
from ._core.runtime import resolve_threads
from ._core.scan import scan_topk, scan_weighted
from ._core.validation import check_count, check_filter
from ._core.weights import check_weights, round_weights
from .codes import check_codes, unpack_signs

__all__ = ["join_codes", "join_weights", "topk_fused"]

# The weights of the eight bits of a byte add up to at most 255.
LARGEST_FACTOR = 31


def topk_fused(
    queries: Mapping[str, ArrayLike] | None,
    database: Mapping[str, ArrayLike],
    k: int,
    *,
    weights: Mapping[str, ArrayLike] | None = None,
    factors: Mapping[str, int] | None = None,
    filter: ArrayLike | None = None,
    n_threads: int | None = None,
) -> tuple[NDArray[np.int32] | NDArray[np.float64], NDArray[np.int64]]:
    """
    Find the k items with the smallest sum of distances over several codes, for every query.

    An item may have a code of its picture and a code of its caption. The distance of a query to an
    item is the sum, over these codes, of a factor times the Hamming distance to the query's code.
    A query of one modality has one code, which is given for each code that it is compared with.

    Parameters
    ----------
    queries : mapping of str to array_like of uint8, each of shape (n_queries, n_bytes), or None
        Packed codes of the queries, by the name of the code that they are compared with. Names of
        `database` that are missing here do not count. Pass None with `weights`.
    database : mapping of str to array_like of uint8, each of shape (n, n_bytes)
        Packed codes of the items by name, as made by `pack`; row i of each belongs to item i.
    k : int
        How many items to return for each query; may exceed n.
    weights : mapping of str to array_like of float or int, each of shape (n_queries, n_bits)
        Instead of `queries`: a weight for each bit, as in `topk_weighted`, such as projections. The
        weights of a query for one code are divided by their mean absolute value, so that each code
        counts by its number of bits and its factor.
    factors : mapping of str to int, optional
        The factor of each code, from 1 to 31; 1 where it is missing.
    filter : array_like of bool, uint8 or int, optional
        Items that may be found, by default all; as in `topk`.
    n_threads : int, optional
        Number of threads, by default ``OMP_NUM_THREADS`` or all cores.

    Returns
    -------
    distances or scores : ndarray of int32 or float64, shape (n_queries, k)
        For `queries`: sums of distances, ascending; -1 where missing. For `weights`: scores,
        descending; NaN where missing.
    ids : ndarray of int64, shape (n_queries, k)
        Rows of the items, ascending among equal distances or scores; -1 where missing.

    Raises
    ------
    TypeError, ValueError
        If both or neither of queries and weights are given, a name is not in the database, numbers
        of rows or lengths of codes do not fit, a factor is no integer from 1 to 31, k is less than
        1, or the filter does not fit.

    See Also
    --------
    topk : Search one code of each item.
    topk_weighted : Search one code with weights; says how weights are rounded.
    fasthash.fusion.join_codes : Join codes, to search them in an index.

    Notes
    -----
    Exact. It costs as much as a search by `topk_weighted` of codes that are as long as all codes
    together, and a copy of the codes. To search many times, put the joined codes into an index.

    Examples
    --------
    The second item is as near by its picture as the first one, and nearer by its caption.

    >>> import fasthash as fh
    >>> pictures = fh.pack([[1.0, 1.0], [1.0, 1.0], [-1.0, -1.0]])
    >>> captions = fh.pack([[1.0, -1.0], [-1.0, -1.0], [-1.0, -1.0]])
    >>> query = fh.pack([[-1.0, -1.0]])
    >>> fh.topk_fused(
    ...     {"image": query, "text": query}, {"image": pictures, "text": captions}, k=3
    ... )
    (array([[0, 2, 3]], dtype=int32), array([[2, 1, 0]]))
    """
    if (queries is None) == (weights is None):
        given = "neither" if weights is None else "both"
        raise TypeError(
            "pass either queries, which are packed codes, or weights, a number for each bit; "
            f"got {given}"
        )
    compared, name = (queries, "queries") if weights is None else (weights, "weights")
    chosen = _chosen(compared, name, database)
    codes = join_codes(chosen)
    k = check_count(k, "k")
    allowed = allow(check_filter(filter, len(codes)), len(codes))
    threads = resolve_threads(n_threads)
    if queries is not None:
        of_queries = {n: check_codes(code, f"queries[{n!r}]") for n, code in queries.items()}
        # Padding bits are 0 in all codes, so they are equal.
        signs = {n: unpack_signs(code, 8 * code.shape[1]) for n, code in of_queries.items()}
        _check_widths(signs, chosen)
        whole = join_weights(signs, factors=factors).astype(np.int16)
        largest = int(np.abs(whole).max(initial=1))
        if (np.abs(whole) == largest).all():
            # With one factor it is the Hamming distance of the joined codes, which is faster.
            distances, ids = scan_topk(join_codes(of_queries), codes, k, threads, allowed)
            distances[ids >= 0] *= largest
            return distances, ids
        return scan_weighted(whole, codes, k, threads, allowed)
    assert weights is not None
    checked = {one: check_weights(given) for one, given in weights.items()}
    _check_widths(checked, chosen)
    rounded = round_weights(join_weights(checked, factors=factors))
    distances, ids = scan_weighted(rounded.values, codes, k, threads, allowed)
    return rounded.scores(distances, ids), ids


def join_codes(codes: Mapping[str, ArrayLike]) -> NDArray[np.uint8]:
    """
    Join the codes of each item to one code.

    Parameters
    ----------
    codes : mapping of str to array_like of uint8, each of shape (n, n_bytes)
        Packed codes by name, as made by `pack`; row i of each belongs to item i.

    Returns
    -------
    ndarray of uint8, shape (n, sum of all n_bytes)
        The codes one after another, in the order of the mapping. Each begins with a new byte.

    Raises
    ------
    TypeError, ValueError
        If it is no mapping of packed codes with one number of rows.

    See Also
    --------
    join_weights : The queries of a search among joined codes.
    topk_fused : Join and search in one call.

    Examples
    --------
    >>> import fasthash as fh
    >>> fh.fusion.join_codes({"image": fh.pack([[1.0, -1.0]]), "text": fh.pack([[-1.0, 1.0]])})
    array([[128,  64]], dtype=uint8)
    """
    _check_mapping(codes, "codes")
    return np.hstack(_of_one_length({n: check_codes(c, f"codes[{n!r}]") for n, c in codes.items()}))


def join_weights(
    weights: Mapping[str, ArrayLike], *, factors: Mapping[str, int] | None = None
) -> NDArray[np.float64]:
    """
    Join the weights of each query for several codes to weights for the joined code.

    Parameters
    ----------
    weights : mapping of str to array_like of float or int, each of shape (n_queries, n_bits)
        A weight for each bit of each code, such as projections, with the names and the order of
        `join_codes`. For a query that is a code, pass 1 for each bit that is 1, and -1 for each
        other.
    factors : mapping of str to int, optional
        The factor of each code, from 1 to 31; 1 where it is missing.

    Returns
    -------
    ndarray of float64, shape (n_queries, n_bits_joined)
        For each code, the weights of a query divided by their mean absolute value, and times the
        factor; 0 for padding bits. With weights of 1 and -1 they are whole numbers, and a search
        with them is that of the sums of distances, without any rounding.

    Raises
    ------
    TypeError, ValueError
        If it is no mapping of weights with one number of rows, a weight is not finite, or a factor
        is no integer from 1 to 31.

    See Also
    --------
    join_codes : The database of the search.
    fasthash.HammingIndex.search : Search with weights in an index that holds joined codes.

    Examples
    --------
    >>> import fasthash as fh
    >>> fh.fusion.join_weights({"image": [[3.0, -1.0]], "text": [[1.0, 1.0]]}, factors={"text": 2})
    array([[ 1.5, -0.5,  0. ,  0. ,  0. ,  0. ,  0. ,  0. ,  2. ,  2. ,  0. ,
             0. ,  0. ,  0. ,  0. ,  0. ]])
    """
    _check_mapping(weights, "weights")
    checked = {name: check_weights(given) for name, given in weights.items()}
    by_name = _checked_factors(factors, checked)
    rows = _of_one_length(checked)
    n_bytes = [(one.shape[1] + 7) // 8 for one in rows]
    joined = np.zeros((len(rows[0]), 8 * sum(n_bytes)))
    start = 0
    for (name, factor), given, width in zip(by_name.items(), rows, n_bytes, strict=True):
        values = given.astype(np.float64)
        if not np.isfinite(values).all():
            raise ValueError(f"weights[{name!r}] must hold finite numbers")
        # The sum of very large weights would be infinite. A power of two changes no other rounding.
        _, exponent = np.frexp(np.abs(values).max(axis=1, keepdims=True))
        values = np.ldexp(values, -exponent)
        mean = np.abs(values).mean(axis=1, keepdims=True)
        part = slice(start, start + given.shape[1])
        np.divide(factor * values, mean, out=joined[:, part], where=mean > 0)
        start += 8 * width
    return joined


def _check_mapping(given: Any, name: str) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{name} must be a mapping, such as {{'image': …, 'text': …}}, got {type(given)!r}"
        )
    if not given:
        raise ValueError(f"{name} is empty: pass at least one code by its name")


def _chosen(
    compared: Any, name: str, database: Mapping[str, ArrayLike]
) -> dict[str, NDArray[np.uint8]]:
    """Return the codes of the database that queries are compared with, in the queries' order."""
    _check_mapping(compared, name)
    _check_mapping(database, "database")
    for one in compared:
        if one not in database:
            known = ", ".join(map(repr, database))
            raise ValueError(f"{name} has {one!r}, and database has {known}")
    return {one: check_codes(database[one], f"database[{one!r}]") for one in compared}


def _of_one_length(arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    lengths = {len(one) for one in arrays.values()}
    if len(lengths) > 1:
        counted = ", ".join(f"{name!r} {len(one)}" for name, one in arrays.items())
        raise ValueError(f"all codes need the same number of rows, got {counted}")
    return list(arrays.values())


def _check_widths(
    weights: Mapping[str, NDArray[Any]], codes: Mapping[str, NDArray[np.uint8]]
) -> None:
    for name, one in weights.items():
        n_bytes = (one.shape[1] + 7) // 8
        if n_bytes != codes[name].shape[1]:
            raise ValueError(
                f"the query for {name!r} has codes of {n_bytes} bytes, and database[{name!r}] of "
                f"{codes[name].shape[1]}: both must have the same number of bits"
            )


def _checked_factors(factors: Mapping[str, int] | None, names: Mapping[str, Any]) -> dict[str, int]:
    given = {} if factors is None else factors
    if not isinstance(given, Mapping):
        raise TypeError(f"factors must be a mapping, such as {{'text': 2}}, got {type(given)!r}")
    for name in given:
        if name not in names:
            raise ValueError(f"factors has {name!r}, and the queries {', '.join(map(repr, names))}")
    return {
        name: check_count(given.get(name, 1), f"factors[{name!r}]", maximum=LARGEST_FACTOR)
        for name in names
    }
