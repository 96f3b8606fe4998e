"""Arrays of what callers pass: lists, data frames, tensors.

Numpy accepts more than has a meaning: it drops masks, writes numbers as text and makes arrays of
Python objects. `as_array` reads what is certain, and refuses the rest with a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_array", "is_sparse", "is_tensor"]


def as_array(value: Any, name: str) -> NDArray[Any]:
    """
    Read an argument as an array, without a copy where it is one.

    Parameters
    ----------
    value : array_like
        Also a tensor of PyTorch, which may require a gradient or lie on another device. Values of
        bfloat16 become float32, which holds all of them.
    name : str
        What the argument is called, for the error.

    Returns
    -------
    ndarray
        Of any dtype and shape: what these may be is for the caller to check.

    Raises
    ------
    TypeError
        If it is None, sparse, a mapping, a set or an iterator, or cannot become an array.
    ValueError
        If its rows differ in length, or values are masked.
    """
    if type(value) is np.ndarray:
        return _widened(value)
    if value is None:
        raise TypeError(f"{name} is None: pass an array")
    if is_sparse(value):
        raise TypeError(f"{name} is sparse: pass {name}.toarray()")
    if isinstance(value, Mapping | Set | Iterator):
        raise TypeError(
            f"{name} must be an array, got {type(value).__name__}: pass the rows as one array"
        )
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{name} has masked values: fill them or drop their rows")
    if isinstance(value, list | tuple) and any(map(is_tensor, value[:1])):
        value = [as_array(one, name) for one in value]
    if is_tensor(value):
        value = _of_tensor(value, name)
    try:
        return _widened(np.asarray(value))
    except ValueError as error:
        if "inhomogeneous" in str(error):
            raise ValueError(
                f"{name} is ragged: its rows differ in length, and an array needs equal ones"
            ) from None
        raise ValueError(f"{name} cannot be read as an array: {error}") from error
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"{name} cannot be read as an array: {error}") from error


def is_sparse(x: Any) -> bool:
    """Tell whether x is a scipy sparse matrix or array, without importing scipy for the others."""
    if not type(x).__module__.startswith("scipy.sparse"):
        return False
    from scipy.sparse import issparse

    return issparse(x)


def is_tensor(value: Any) -> bool:
    """Tell whether a value is a tensor of PyTorch, without importing it."""
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach")


def _of_tensor(tensor: Any, name: str) -> Any:
    if str(tensor.layout) != "torch.strided":
        raise TypeError(f"{name} is a sparse tensor: pass {name}.to_dense()")
    tensor = tensor.detach().cpu()
    return tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor


def _widened(x: NDArray[Any]) -> NDArray[Any]:
    """Floats of types that packages add to numpy, such as JAX's bfloat16, in float32."""
    is_added = x.dtype.kind == "V" and "float" in x.dtype.name
    return x.astype(np.float32) if is_added else x
