"""Ratios for each query, their means over queries, and the options of these means."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.validation import check_choice, check_flag

__all__ = ["check_policy", "mean_by_policy", "ratios", "recalls"]

_NO_RELEVANT = ["skip", "zero", "raise"]


def ratios(
    sums: NDArray[Any], divisors: NDArray[Any], n_relevant: NDArray[Any]
) -> NDArray[np.float64]:
    """Quotients, NaN for a query without any relevant item."""
    quotients = np.full(len(sums), np.nan)
    return np.divide(sums, divisors, out=quotients, where=n_relevant > 0)


def recalls(hits: NDArray[Any], n_relevant: NDArray[Any]) -> NDArray[np.float64]:
    """Hits divided by the number of relevant items, NaN for a query that has none."""
    shares = np.full(hits.shape, np.nan)
    np.divide(hits, n_relevant[:, None], out=shares, where=n_relevant[:, None] > 0)
    return shares


def check_policy(no_relevant: str, per_query: bool = False) -> None:
    """
    Check the options of a mean over queries, before anything is measured.

    Raises
    ------
    TypeError, ValueError
        If one of them is unknown.
    """
    check_choice(no_relevant, "no_relevant", _NO_RELEVANT)
    check_flag(per_query, "per_query")


def mean_by_policy(scores: NDArray[np.float64], no_relevant: str) -> Any:
    """Mean over queries (rows), whose scores are NaN where a query has no relevant item."""
    lacks = np.isnan(scores if scores.ndim == 1 else scores[:, 0])
    if lacks.any() and no_relevant == "raise":
        raise ValueError(f"query {np.flatnonzero(lacks)[0]} has no relevant item in the database")
    if no_relevant == "zero":
        scores = np.where(np.isnan(scores), 0.0, scores)
    elif lacks.all():
        raise ValueError(
            "no query has a relevant item in the database: there is nothing to average over (pass "
            'no_relevant="zero" to count them as 0)'
        )
    else:
        scores = scores[~lacks]
    mean = scores.mean(axis=0)
    return float(mean) if scores.ndim == 1 else mean
