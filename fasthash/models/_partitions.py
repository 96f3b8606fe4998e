"""Codes and projections of a Dask array, computed partition by partition by the workers of Dask."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.carried import Carried
from .._core.cluster import client_for
from .._core.worker_memory import check_fits

__all__ = ["by_partitions"]

# What a model needs to encode, in addition to its parameters: not the codes of the fit.
_NEEDED = (
    *("modalities_", "feature_maps_", "projections_"),
    *("mean_", "projection_", "n_features_in_", "feature_names_in_"),
)


def by_partitions(
    model: Any, method: str, X: Any, n_features: int, n_columns: int, dtype: Any, **arguments: Any
) -> Any:
    """
    Apply a method of a fitted model to each partition of a Dask array, when it is computed.

    Parameters
    ----------
    model : estimator
    method : str
        "encode", "project" or "transform".
    X : dask.array.Array, shape (n_samples, n_features)
    n_features : int
        Number of features of the fit.
    n_columns : int
        Number of columns of the result.
    dtype : dtype
        Of the result.
    **arguments
        Of the method.

    Returns
    -------
    dask.array.Array, shape (n_samples, n_columns)
        With the partitions of X. Its workers get the model once.

    Raises
    ------
    TypeError, ValueError
        If X does not hold real numbers, or has another number of columns, or a partition takes more
        memory than a worker of the current client has for data.
    """
    import dask

    if X.dtype.kind not in "bfiu":
        raise TypeError(f"X must hold real numbers, got dtype {X.dtype}")
    if X.ndim != 2:
        raise ValueError(f"X must have two dimensions, one sample per row, got shape {X.shape}")
    if X.shape[1] != n_features:
        raise ValueError(f"X has {X.shape[1]} columns, but the model was fitted with {n_features}")
    if (client := client_for({"X": X})) is not None:
        row_bytes = n_features * X.dtype.itemsize + n_columns * np.dtype(dtype).itemsize
        check_fits(client, X.chunks[0], row_bytes, "partition {} of X")
    return X.rechunk({1: -1}).map_blocks(
        partial(_of_partition, method=method, n_columns=n_columns, dtype=dtype, **arguments),
        dask.delayed(Carried(_encoder_of(model), "the class of the model"), traverse=False),
        dtype=dtype,
        chunks=(X.chunks[0], (n_columns,)),
        meta=np.empty((0, n_columns), dtype),
    )


def _of_partition(
    x: NDArray[Any], model: Carried, *, method: str, n_columns: int, dtype: Any, **arguments: Any
) -> NDArray[Any]:
    if len(x) == 0:
        return np.empty((0, n_columns), dtype)
    found: NDArray[Any] = getattr(model.get(), method)(x, **arguments)
    return found


def _encoder_of(model: Any) -> Any:
    """A model that encodes as this one does, without what only the fit needs."""
    other = object.__new__(type(model))
    names = (*model.get_params(deep=False), *_NEEDED)
    other.__dict__.update({name: vars(model)[name] for name in names if name in vars(model)})
    return other
