"""Column names of data frames: a fit keeps them, and later samples must have the same ones."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _get_feature_names

__all__ = ["check_columns", "column_names"]

# At most this many names are listed in an error.
_MOST_LISTED = 5


def column_names(features: Any, argument: str) -> NDArray[Any] | None:
    """
    Return the names of the columns of a data frame.

    Parameters
    ----------
    features : data frame or anything else
        scikit-learn reads names from data frames of pandas, polars and others.
    argument : str
        Name of the argument, for the error.

    Returns
    -------
    ndarray of str as objects, or None
        None if the columns have no names, or the names are numbers.

    Raises
    ------
    TypeError
        If some names are strings and others are not.
    ValueError
        If a name repeats.
    """
    try:
        names = _get_feature_names(features)
    except TypeError as error:
        raise TypeError(f"{argument}: {error}") from None
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{argument}: {reason}; give every column a name of its own") from None
    if names is None:
        return None
    different, counts = np.unique(names.astype(np.str_), return_counts=True)
    if len(different) < len(names):
        raise ValueError(
            f"{argument} has {counts.max()} columns named {str(different[counts.argmax()])!r}: "
            "give every column a name of its own"
        )
    return np.asarray(names, object)


def check_columns(features: Any, argument: str, fitted: NDArray[Any] | None) -> None:
    """
    Refuse columns other than those of the fit, or in another order.

    Parameters
    ----------
    features : data frame or anything else
    argument : str
        Name of the argument, for the error.
    fitted : ndarray of str as objects, or None
        The names of the fit.

    Raises
    ------
    TypeError, ValueError
        If both have names and the names differ.

    Warns
    -----
    UserWarning
        If only one of the two has names, because then the columns cannot be compared.
    """
    names = column_names(features, argument)
    if names is None and fitted is None:
        return
    if names is None or fitted is None:
        state = (
            "has no column names, but the features of the fit had names"
            if names is None
            else "has column names, but the features of the fit had none"
        )
        warnings.warn(
            f"{argument} {state}: the columns are taken to be those of the fit, in the same order",
            UserWarning,
            stacklevel=4,
        )
        return
    if np.array_equal(names, fitted):
        return
    missing = [name for name in fitted if name not in set(names)]
    unknown = [name for name in names if name not in set(fitted)]
    if not missing and not unknown:
        place = int(np.flatnonzero(names != fitted)[0])
        raise ValueError(
            f"{argument} has the columns of the fit in another order: column {place} is "
            f"{names[place]!r}, in the fit it was {fitted[place]!r}; pass the columns in the order "
            "of feature_names_in_"
        )
    parts = [f"lacks the columns {_listed(missing)}"] if missing else []
    parts += [f"has the columns {_listed(unknown)}, which the fit did not have"] if unknown else []
    raise ValueError(
        f"{argument} {' and '.join(parts)}; pass the columns that feature_names_in_ lists"
    )


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_LISTED
    text = ", ".join(map(repr, names[:_MOST_LISTED]))
    return f"{text} and {more} more" if more > 0 else text
