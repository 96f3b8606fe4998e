"""Features that ruin a fit, or say nothing: errors and warnings.

A fit calls `refuse_vanishing` and `warn_of_columns` for the features of each modality; codes of
signs call `warn_of_signs`. The warnings name columns and say what to pass instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cluster import executor_of
from .pieces import cut
from .rows import Rows
from .suspicious import warn
from .workers import Workers

__all__ = ["refuse_vanishing", "warn_of_columns", "warn_of_signs"]

# Sums of products of features of this size are exact except for rounding. The bounds are the
# inverses of those of large features in `check_rows`.
_SMALLEST = {"float32": 1e-15, "float64": 1e-70}

# Deviations are estimated from about this many rows.
_ROWS = 4096

# Columns dominate if their deviation exceeds the median by this factor, and if they have this share
# of the variance: a single column, or all of them together.
_LARGE_DEVIATION = 20
_SHARE_OF_ONE, _SHARE_OF_SEVERAL = 0.7, 0.9

# A deviation below this share of the mean is rounding.
_ROUNDING = 1e-6

# Largest number of columns that a warning names.
_MOST_NAMED = 5

# With this many rows, a feature that hardly changes its sign is probably not centred.
_MANY_ROWS = 100
_ONE_SIGN = 0.99


def warn_of_columns(x: Rows, argument: str, remedy: str, is_scaled: bool = False) -> None:
    """
    Warn of columns that hold one value, and of columns beside which all others count for nothing.

    Parameters
    ----------
    x : Rows
        Features to learn from, with the names of their columns if they have some.
    argument : str
        Name of the argument.
    remedy : str
        What to do if columns dominate.
    is_scaled : bool
        Whether the model divides columns by their deviations, so that none can dominate.

    Notes
    -----
    O(n_features) per row, for about 4,096 rows, or fewer of many columns. All rows are read only if
    columns seem to hold one value. A sparse matrix may well have columns without entries, such as
    words that no text has.
    """
    n, d = x.shape
    if n < 2 or d < 2:
        return
    n_looked_at = max(2, min(_ROWS, cut(n, d)[0].stop))
    some = x.take(np.arange(0, n, max(1, n // n_looked_at))).astype(np.float64, copy=False)
    mean = some.mean(axis=0)
    deviation = some.std(axis=0)
    varies = deviation > _ROUNDING * np.abs(mean)
    constant = _constant(x, np.flatnonzero(~varies & (not x.is_sparse)))
    if 0 < len(constant) < d:
        warn(
            f"{argument} has {len(constant)} of {d} columns that hold one value in all {n} rows "
            f"({_named(constant, x.names)}). This is harmless if you expect it, as of the borders "
            "of pictures; if not, find out why they do not vary"
        )
    if is_scaled or varies.sum() < 2:
        return
    variance = np.where(varies, deviation**2, 0.0)
    shares = variance / variance.sum()
    # Of two columns, the median is the smaller one.
    median = np.quantile(deviation[varies], 0.5, method="lower")
    large = np.flatnonzero(deviation > _LARGE_DEVIATION * median)
    if len(large) and (
        shares[large].max() > _SHARE_OF_ONE or shares[large].sum() > _SHARE_OF_SEVERAL
    ):
        large = large[np.argsort(-shares[large], kind="stable")]
        is_one = len(large) == 1
        warn(
            f"{argument} has {len(large)} of {d} columns with {shares[large].sum():.1%} of the "
            f"variance ({_named(large, x.names)}): the model sees little else. If "
            f"{'it' if is_one else 'they'} should not count for more than the others, {remedy}"
        )


def warn_of_signs(n_ones: NDArray[np.int64], n_rows: int, argument: str) -> None:
    """
    Warn of features that have the same sign in nearly all rows.

    Parameters
    ----------
    n_ones : ndarray of int64, shape (n_bits,)
        Number of rows in which a feature is at least 0.
    n_rows : int
    argument : str
        Name of the argument.
    """
    if n_rows < _MANY_ROWS:
        return
    share = n_ones / n_rows
    found = np.flatnonzero(np.maximum(share, 1 - share) >= _ONE_SIGN)
    if len(found):
        warn(
            f"{len(found)} of {len(share)} features of {argument} have the same sign in at least "
            f"{_ONE_SIGN:.0%} of the {n_rows} rows ({_named(found, None)}), so their bits carry "
            "hardly any information: centre the features with the means of the vectors that are "
            "searched (centre=)"
        )


def refuse_vanishing(x: Rows, argument: str) -> None:
    """
    Refuse features that are so small that sums of their products are 0 or inexact.

    Parameters
    ----------
    x : Rows
    argument : str
        Name of the argument.

    Raises
    ------
    ValueError
        If no value is large enough. Features that are all 0 pass.
    """
    smallest = _SMALLEST[x.dtype.name]
    some = x.take(np.arange(min(_ROWS, cut(*x.shape)[0].stop)))
    if max(some.max(), -some.min()) >= smallest:
        return
    largest = max(executor_of(x, None).run(_largest_in_part, x.parts()))
    if 0 < largest < smallest:
        raise ValueError(
            f"{argument} holds no value above {largest:.3g} in size, but some features of dtype "
            f"{x.dtype} must be at least {smallest:g}, because sums of their products would "
            "vanish; scale them first"
        )


def _largest_in_part(x: Rows, workers: Workers) -> float:
    return max(float(np.abs(x.read(rows)).max()) for rows in cut(*x.shape))


def _constant(x: Rows, columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of the columns that hold one value in all rows, but for rounding."""
    if not len(columns):
        return columns
    first = x.read(slice(0, 1))[0, columns].astype(np.float64)
    kept = executor_of(x, None).run(_constant_in_part, x.parts(), columns, first)
    return reduce(np.intersect1d, kept)


def _constant_in_part(
    x: Rows, workers: Workers, columns: NDArray[np.int64], first: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Those of the columns that hold the value of the first row in all rows of a part."""
    for rows in cut(*x.shape):
        if not len(columns):
            break
        differs = np.abs(x.read(rows)[:, columns] - first) > _ROUNDING * np.abs(first)
        kept = ~differs.any(axis=0)
        columns, first = columns[kept], first[kept]
    return columns


def _named(columns: Sequence[int] | NDArray[np.int64], names: NDArray[Any] | None) -> str:
    listed = [str(c) if names is None else repr(names[c]) for c in columns[:_MOST_NAMED]]
    return ", ".join(listed) + ", …" * (len(columns) > _MOST_NAMED)
