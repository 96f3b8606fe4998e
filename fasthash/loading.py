"""`load`: what a file of fasthash holds, an index or a model."""

from __future__ import annotations

import os
from typing import Any

from ._core.files import KINDS, identify

__all__ = ["load"]

# What reads a file that is neither an index nor a model.
_REMEDIES = {
    "faiss": ", which fasthash.interchange.read_faiss reads",
    **dict.fromkeys(
        ("npy", "npz", "mat", "hdf5", "parquet", "arrow", "arrow stream", "csv", "txt"),
        ", which fasthash.datasets.read_array reads",
    ),
}


def load(path: str | os.PathLike[str], *, mmap: bool = False) -> Any:
    """
    Load an index or a model from the file its ``save`` has written.

    Parameters
    ----------
    path : path
        Of the file. It may come from anybody: what is wrong with it gives an error, and nothing in
        it is run.
    mmap : bool, default False
        Whether an index stays in the file, as in `HammingIndex.load`; a model is always read.

    Returns
    -------
    HammingIndex, MultiIndexHash or a model
        What the file says it holds.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no file of fasthash, is of another format version, or is damaged.
    ImportError
        If it holds a model and safetensors is not installed.

    Examples
    --------
    >>> import os, tempfile
    >>> import fasthash as fh
    >>> index = fh.HammingIndex(n_bits=8)
    >>> index.add(fh.pack([[1.0] * 8, [-1.0] * 8]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "some.index")
    ...     index.save(path)
    ...     fh.load(path)
    HammingIndex(n_bits=8) of 2 codes
    """
    kind = identify(path)
    if kind == "index":
        return _load_index(path, mmap)
    if kind == "safetensors":
        from .models._saving import load_model

        return load_model(path)
    raise ValueError(
        f"{os.fspath(path)} is no file of fasthash, neither an index nor a model: it is "
        f"{KINDS[kind]}{_REMEDIES.get(kind, '')}"
    )


def _load_index(path: str | os.PathLike[str], mmap: bool) -> Any:
    from . import index
    from .index._index_file import read_index

    kind = read_index(path, use_mmap=True).kind
    if kind not in index.__all__:
        raise ValueError(f"{os.fspath(path)} holds {kind!r}, which this version does not know")
    return getattr(index, kind).load(path, mmap=mmap)
