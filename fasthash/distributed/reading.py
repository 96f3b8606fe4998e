"""`read_arrays`: a Dask array whose partitions are files, which workers read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets import list_arrays, read_array

__all__ = ["read_arrays"]


def read_arrays(paths: Sequence[str | os.PathLike[str]], *, name: str = "") -> Any:
    """
    Read an array of each of several files as one Dask array, with a partition for each file.

    Parameters
    ----------
    paths : sequence of path
        Files of a format that `fasthash.datasets.read_array` reads, in the order of the rows. All
        workers see them under these names.
    name : str, default ""
        The array in each file; "" if a file holds a single array.

    Returns
    -------
    dask.array.Array
        Shapes and dtypes are read from the headers now, and the values by the workers later. So a
        partition whose worker is lost is read again.

    Raises
    ------
    OSError, ImportError
        If a file cannot be read, or its format or Dask needs a package that is not installed.
    ValueError
        If there are no files, a file has no such array, or the arrays differ in dtype or columns.

    See Also
    --------
    ShardedIndex : An index of codes in such an array.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import fasthash as fh
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = [os.path.join(folder, f"{i}.npy") for i in range(2)]
    ...     for path in paths:
    ...         np.save(path, np.ones((3, 2), np.float32))
    ...     fh.distributed.read_arrays(paths)
    dask.array<concatenate, shape=(6, 2), dtype=float32, chunksize=(3, 2), chunktype=numpy.ndarray>
    """
    try:
        import dask
        import dask.array as da
    except ImportError:
        raise ImportError(
            "read_arrays needs Dask: pip install 'fasthash-retrieval[distributed]'"
        ) from None
    if not paths:
        raise ValueError("paths is empty: name at least one file")
    found = []
    for path in paths:
        arrays = list_arrays(path)
        if name not in arrays:
            raise ValueError(
                f"{os.fspath(path)} has no array {name!r}: name one of "
                f"{', '.join(map(repr, list(arrays)[:20]))}"
            )
        found.append((os.path.abspath(path), *arrays[name]))
    first_path, first_shape, first_dtype = found[0]
    for path, shape, dtype in found[1:]:
        if shape[1:] != first_shape[1:] or dtype != first_dtype:
            raise ValueError(
                f"{path} holds {dtype} of shape {shape}, and {first_path} holds {first_dtype} of "
                f"shape {first_shape}: all files must have the same columns and dtype"
            )
    read = dask.delayed(_read, pure=True)
    parts = [
        da.from_delayed(read(path, name), shape, np.dtype(dtype)) for path, shape, dtype in found
    ]
    return da.concatenate(parts)


def _read(path: str, name: str) -> NDArray[Any]:
    array = read_array(f"{path}:{name}" if name else path)
    return np.asarray(array[:])
