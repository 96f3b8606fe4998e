"""Checks of the arguments of public functions: counts, numbers, choices, filters, features, pairs.

Packed codes are checked in `fasthash/codes`, labels in `labels`. A public function checks its
arguments once; private functions and kernels trust them. Each error names the argument, its value,
and what to do.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arrays import as_array, is_dask_array, is_sparse
from .rows import Rows, as_csr, is_sliced_by_rows
from .suspicious import warn_of_zero_rows

__all__ = [
    "check_choice",
    "check_count",
    "check_filter",
    "check_flag",
    "check_modalities",
    "check_number",
    "check_pairs",
    "check_rows",
    "take_rows",
]


# The kernels hold counts such as k and n_bits in int32.
_LARGEST_COUNT = 2**31 - 1

# Largest size of float64 features: sums of products of their covariances do not overflow.
_LARGEST_DOUBLE = 1e70


def check_flag(value: object, name: str) -> bool:
    """
    Return an argument that is True or False.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_count(
    value: Any, name: str, minimum: int = 1, maximum: int | None = _LARGEST_COUNT
) -> int:
    """
    Return an integer argument as an int from `minimum` to `maximum`.

    Parameters
    ----------
    value : int
        An integer of Python or numpy. The result is an int of Python, which cannot overflow.
    name : str
        Name of the argument, for the error.
    minimum : int
    maximum : int or None
        By default the largest int32; None for no limit, as for a radius.

    Raises
    ------
    TypeError
        If it is not an integer; booleans count as no integers.
    ValueError
        If it is out of range.
    """
    try:
        # Few arguments are not of this type, and a short search takes a few microseconds.
        if type(value) is not int and isinstance(value, (bool, np.bool_)):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if count < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {count}")
    if maximum is not None and count > maximum:
        raise ValueError(f"{name} must be at most {maximum}, got {count}")
    return count


def check_number(value: Any, name: str, *, positive: bool = False) -> float:
    """
    Return a finite real argument as a float that is >= 0, or > 0 if `positive`.

    Raises
    ------
    TypeError
        If it is not a real number.
    ValueError
        If it is out of range or not finite.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    number = float(value)
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        bound = "greater than 0" if positive else "at least 0"
        raise ValueError(f"{name} must be finite and {bound}, got {value!r}")
    return number


def check_choice(value: Any, name: str, choices: Sequence[Hashable]) -> None:
    """
    Raise an error unless an argument is one of the choices.

    Raises
    ------
    ValueError
        If the value is not among `choices`.
    """
    if not isinstance(value, str) or value not in choices:
        # An array in the wrong place would fill many lines.
        given = f"an array of shape {value.shape}" if hasattr(value, "shape") else repr(value)
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {given}")


def check_filter(
    filter: ArrayLike | None, n_rows: int
) -> NDArray[np.bool_] | NDArray[np.int64] | None:
    """
    Validate a filter: which rows of a database a search may find.

    Parameters
    ----------
    filter : array_like of bool, uint8 or int, or None
        Booleans of shape (n_rows,); or these packed in the order of `numpy.packbits`, uint8 of
        shape (ceil(n_rows / 8),), with padding bits that are zero; or row numbers of any other
        integer dtype, in any order. None allows all rows.
    n_rows : int
        Number of rows of the database.

    Returns
    -------
    ndarray of bool, shape (n_rows,), or of int64, or None
        C-contiguous; row numbers in the given order.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, has the wrong shape, or a row number is out of range.
    """
    if filter is None:
        return None
    given = as_array(filter, "filter")
    shape, packed_shape = (n_rows,), ((n_rows + 7) // 8,)
    if given.dtype == bool:
        if given.shape != shape:
            raise ValueError(
                f"filter must have one boolean per row, shape {shape}, got {given.shape}"
            )
        return np.ascontiguousarray(given)
    if given.dtype == np.uint8:
        if given.shape != packed_shape:
            raise ValueError(
                f"filter has dtype uint8, so it must be packed booleans of shape {packed_shape}, "
                f"got {given.shape}: for row numbers pass filter.astype(np.int64)"
            )
        flags = np.unpackbits(given).view(bool)
        if flags[n_rows:].any():
            raise ValueError(f"filter has bits set after the last of the {n_rows} rows")
        return np.ascontiguousarray(flags[:n_rows])
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise TypeError(
            f"filter must be booleans of shape {shape}, packed uint8 of shape {packed_shape} or "
            f"row numbers in one dimension, got {given.dtype} of shape {given.shape}"
        )
    if given.size and not 0 <= given.min() <= given.max() < n_rows:
        wrong = given.min() if given.min() < 0 else given.max()
        raise ValueError(
            f"filter holds row {wrong}, but the database has {n_rows} rows: row numbers must "
            f"be at least 0 and below {n_rows}"
        )
    return np.ascontiguousarray(given, np.int64)


def check_modalities(
    features: Any, minimum: int = 2, check: Callable[[Any, str], Rows] | None = None
) -> dict[str, Rows]:
    """
    Validate a mapping of modality names to features.

    Parameters
    ----------
    features : mapping of str to feature matrix, each of shape (n_samples, n_features)
        The number of samples may differ between modalities.
    minimum : int
        Smallest number of modalities.
    check : callable, optional
        Called with features and the name of the argument; by default `check_rows`.

    Returns
    -------
    dict of str to Rows
        In the given order.

    Raises
    ------
    TypeError, ValueError
        If it is no such mapping, or in the cases of `check_rows`.
    """
    if not isinstance(features, Mapping):
        raise TypeError(
            'features must be a mapping of modality names to arrays, like {"image": X, "text": T}, '
            f"got {type(features).__name__}"
        )
    for name in features:
        if not isinstance(name, str):
            raise TypeError(f"modality names must be strings, got {name!r}")
    if len(features) < minimum:
        raise ValueError(
            f"features must have at least {minimum} modalities, got {list(features)}: ITQ "
            "makes codes of one kind of features"
        )
    check = check or check_rows
    return {name: check(x, f"features[{name!r}]") for name, x in features.items()}


def check_rows(
    features: Any, name: str, n_features: int | None = None, largest_single: float = 1e15
) -> Rows:
    """
    Validate a feature matrix: two-dimensional, numeric, finite, not empty.

    Parameters
    ----------
    features : array_like, shape (n_samples, n_features), or anything like it that reads slices
        An object with ``shape``, ``dtype`` and slicing by rows (h5py, dask, zarr) is read block by
        block and never as a whole; so are memory-mapped arrays and scipy sparse matrices.
    name : str
        Name of the argument, for the error.
    n_features : int, optional
        The number of columns that it must have.
    largest_single : float
        Largest size of float32 values. By default, sums of their products do not overflow in
        float32.

    Returns
    -------
    Rows
        Values of float32 stay float32; all others are read as float64.

    Raises
    ------
    TypeError
        If the values are not real numbers.
    ValueError
        If the shape is wrong, or a value is NaN, infinite or too large for sums of products.

    Warns
    -----
    UserWarning
        If rows of two or more columns hold only zeros.
    """
    sparse = is_sparse(features)
    if sparse:
        source = as_csr(features)
    else:
        source = features if is_sliced_by_rows(features) else as_array(features, name)
    shape = tuple(source.shape)
    dtype = np.asarray(source[:1]).dtype if len(shape) and not sparse else source.dtype
    if dtype.kind not in "bfiu":
        hint = f": pass {name}.astype(float) if all values are numbers" if dtype.kind == "O" else ""
        raise TypeError(f"{name} must hold real numbers, got dtype {dtype}{hint}")
    if len(shape) != 2:
        hint = " (for a single sample pass x[None, :])" if len(shape) == 1 else ""
        raise ValueError(
            f"{name} must have two dimensions, one sample per row, got shape {shape}{hint}"
        )
    if 0 in shape:
        raise ValueError(f"{name} is empty: its shape is {shape}")
    if n_features is not None and shape[1] != n_features:
        raise ValueError(
            f"{name} has {shape[1]} columns, but the model was fitted with {n_features}"
        )
    x = Rows(source, np.float32 if dtype == np.float32 else np.float64)
    largest = largest_single if x.dtype == np.float32 else _LARGEST_DOUBLE
    found, zero_rows = x.inspect(largest)
    if found is not None:
        row, column, value = found
        if np.isfinite(value):
            reason = (
                f"features of dtype {x.dtype} must be at most {largest:g} in size, because sums "
                "of their products would overflow; scale them first"
            )
        else:
            reason = "features must be finite; replace or drop such samples first"
        raise ValueError(f"{name}[{row}, {column}] is {value}: {reason}")
    # A single feature may well be 0.
    if shape[1] > 1:
        warn_of_zero_rows(zero_rows.tolist(), len(x), name)
    return x


def take_rows(features: Any, name: str, indices: NDArray[np.integer]) -> Any:
    """
    Take some rows of features, in any order; those of a Dask array are one that is still lazy.

    Raises
    ------
    TypeError, ValueError
        As `check_rows`, unless it is a Dask array.
    """
    if is_dask_array(features):
        return features[indices]
    return check_rows(features, name).take(indices)


def check_pairs(
    pairs: ArrayLike | None,
    n_samples: Mapping[str, int],
    minimum: int = 2,
    repeated: bool = False,
) -> NDArray[np.int64] | None:
    """
    Validate which samples of several modalities belong together.

    Parameters
    ----------
    pairs : array_like of int, shape (n_pairs, n_modalities), or None
        Row numbers, a column per modality in the order of `n_samples`. None pairs row i of each
        modality; then all must have the same number of rows.
    n_samples : mapping of str to int
        The number of rows of each modality.
    minimum : int
        Smallest number of pairs.
    repeated : bool
        Whether a row may be in several pairs. No pair may be given twice.

    Returns
    -------
    ndarray of int64, shape (n_pairs, n_modalities), or None
        None if row i belongs to row i.

    Raises
    ------
    TypeError
        If the row numbers are not integers.
    ValueError
        If the shape is wrong, pairs are too few, a row number is out of range, a row or a pair is
        given twice and must not be, or `pairs` is None and the numbers of rows differ.

    Notes
    -----
    O(n_pairs + n_samples) per modality; holds a count per sample.
    """
    n_modalities = len(n_samples)
    if pairs is None:
        if len(set(n_samples.values())) > 1:
            raise ValueError(
                "pairs is None, so row i of one modality belongs to row i of the others, but the "
                f"numbers of rows differ, {dict(n_samples)}: pass pairs, an integer array of shape "
                f"(n_pairs, {n_modalities})"
            )
        n_pairs = next(iter(n_samples.values()))
        if n_pairs < minimum:
            raise ValueError(
                f"features must have at least {minimum} rows to pair, got {n_pairs}: pass more"
            )
        return None
    given = as_array(pairs, "pairs")
    if given.ndim != 2 or given.shape[1] != n_modalities:
        raise ValueError(
            f"pairs must have shape (n_pairs, {n_modalities}), a column of row numbers for each of "
            f"{', '.join(n_samples)}, got {given.shape}"
        )
    if given.dtype.kind not in "iu":
        hint = " (np.argwhere makes row numbers of a mask)" if given.dtype == bool else ""
        raise TypeError(f"pairs must be integer row numbers, got dtype {given.dtype}{hint}")
    if len(given) < minimum:
        raise ValueError(f"pairs must be at least {minimum}, got {len(given)}: pass more of them")
    for column, (name, n) in zip(given.T, n_samples.items(), strict=True):
        outside = (column < 0) | (column >= n)
        if outside.any():
            raise ValueError(
                f"pairs holds row {column[outside][0]} of {name!r}, which has {n} rows: row "
                f"numbers go from 0 to {n - 1}"
            )
        used = np.bincount(column.astype(np.int64), minlength=n)
        if not repeated and used.max() > 1:
            raise ValueError(
                f"pairs holds row {used.argmax()} of {name!r} {used.max()} times: a row may be in "
                "one pair only; drop the others"
            )
    if repeated:
        different, counts = np.unique(given, axis=0, return_counts=True)
        if len(different) < len(given):
            twice = counts.argmax()
            raise ValueError(
                f"pairs holds {different[twice].tolist()} {counts[twice]} times: np.unique(pairs, "
                "axis=0) keeps each pair once"
            )
    return np.ascontiguousarray(given, np.int64)
