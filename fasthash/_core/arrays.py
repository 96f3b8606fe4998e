"""Read an argument as a numpy array: lists, data frames, tensors of PyTorch.

numpy converts too much: it drops masks, writes numbers as text and makes arrays of Python objects.
`as_array` converts only what has one certain meaning. For anything else, its error says what to
pass instead.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Set
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_array", "is_dask_array", "is_masked", "is_sparse", "is_tensor"]


def as_array(value: Any, name: str) -> NDArray[Any]:
    """
    Read an argument as an array; an array is returned as it is.

    Parameters
    ----------
    value : array_like
        Also a tensor of PyTorch, which may require a gradient or lie on another device. Values of
        bfloat16 become float32, which holds all of them.
    name : str
        Name of the argument, for the error.

    Returns
    -------
    ndarray
        Of any dtype and shape: the caller checks them.

    Raises
    ------
    TypeError
        If it is None, sparse, a mapping, a set or an iterator, or cannot become an array.
    ValueError
        If its rows differ in length, or values are masked.
    """
    if type(value) is np.ndarray:
        return _without_bfloat16(value)
    if value is None:
        raise TypeError(f"{name} is None: pass an array")
    if is_sparse(value):
        raise TypeError(f"{name} is sparse: pass {name}.toarray()")
    if isinstance(value, Mapping | Set | Iterator):
        raise TypeError(
            f"{name} must be an array, got {type(value).__name__}: pass the rows as one array"
        )
    if is_masked(value):
        raise ValueError(f"{name} has masked values: fill them or drop their rows")
    if isinstance(value, list | tuple) and any(map(is_tensor, value[:1])):
        value = [as_array(one, name) for one in value]
    if is_tensor(value):
        value = _tensor_on_cpu(value, name)
    try:
        return _without_bfloat16(np.asarray(value))
    except ValueError as error:
        if "inhomogeneous" in str(error):
            raise ValueError(
                f"{name} is ragged: its rows differ in length; pass rows of equal length"
            ) from None
        raise ValueError(f"{name} cannot be read as an array: {error}") from error
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"{name} cannot be read as an array: {error}") from error


def is_sparse(x: Any) -> bool:
    """Tell whether x is a sparse matrix or array of scipy; does not import scipy if it is not."""
    if not type(x).__module__.startswith("scipy.sparse"):
        return False
    from scipy.sparse import issparse

    return issparse(x)


def is_dask_array(x: Any) -> TypeGuard[Any]:
    """Whether x is an array of Dask; does not import Dask, because x can only be one if it is."""
    # Another thread may be importing the module, which then has no such class yet.
    array = getattr(sys.modules.get("dask.array"), "Array", None)
    return array is not None and isinstance(x, array)


def is_masked(x: Any) -> bool:
    """
    Tell whether x is an array of numpy with masked values; does not import `numpy.ma`.

    A child that is forked while another thread imports a module for the first time waits for ever
    when it imports this module too.
    """
    array = getattr(sys.modules.get("numpy.ma"), "MaskedArray", None)
    return array is not None and isinstance(x, array) and bool(np.ma.is_masked(x))


def is_tensor(value: Any) -> bool:
    """Tell whether a value is a tensor of PyTorch; does not import PyTorch."""
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach")


def _tensor_on_cpu(tensor: Any, name: str) -> Any:
    if str(tensor.layout) != "torch.strided":
        raise TypeError(f"{name} is a sparse tensor: pass {name}.to_dense()")
    tensor = tensor.detach().cpu()
    return tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor


def _without_bfloat16(x: NDArray[Any]) -> NDArray[Any]:
    """Convert floats of a type that a package adds to numpy, such as JAX's bfloat16, to float32."""
    is_added = x.dtype.kind == "V" and "float" in x.dtype.name
    return x.astype(np.float32) if is_added else x
