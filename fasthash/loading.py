"""`load` reads a file of fasthash, which holds an index or a model."""

from __future__ import annotations

import os
from typing import Any

from ._core.files import KINDS, identify

__all__ = ["load"]

# The function that reads a file which holds neither an index nor a model, by kind of file.
_REMEDIES = {
    "faiss": ", which fasthash.interchange.read_faiss reads",
    **dict.fromkeys(
        ("npy", "npz", "mat", "hdf5", "parquet", "arrow", "arrow stream", "csv", "txt"),
        ", which fasthash.datasets.read_array reads",
    ),
}


def load(path: str | os.PathLike[str], *, mmap: bool = False) -> Any:
    """
    Load an index or a model from a file that its ``save`` method wrote.

    Parameters
    ----------
    path : path
        The file. It may come from an untrusted source: a damaged file raises an error, and no code
        in a file is run.
    mmap : bool, default False
        Whether the codes of an index are memory-mapped, as in `HammingIndex.load`. A model is
        always read into memory.

    Returns
    -------
    HammingIndex, MultiIndexHash or a model
        An object of the class that was saved.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not a file of fasthash, has another format version, or is damaged.
    ImportError
        If it holds a model and safetensors is not installed.

    See Also
    --------
    HammingIndex.load : Load an index of this class.

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
        return load_index(path, mmap=mmap)
    if kind == "model":
        from .models._saving import load_model

        return load_model(path)
    raise ValueError(
        f"{os.fspath(path)} holds neither an index nor a model of fasthash: it is "
        f"{KINDS[kind]}{_REMEDIES.get(kind, '')}"
    )


def load_index(path: str | os.PathLike[str], *, mmap: bool = False) -> Any:
    """
    Load an index of the kind that its file says.

    Parameters
    ----------
    path : path
        Of a file that holds an index.
    mmap : bool, default False
        As in `load`.

    Returns
    -------
    HammingIndex or MultiIndexHash

    Raises
    ------
    OSError, ValueError
        As `load`.
    """
    from . import index
    from .index._index_file import read_index

    kind = read_index(path, use_mmap=True).kind
    if kind not in index.__all__:
        raise ValueError(f"{os.fspath(path)} holds {kind!r}, which this version does not know")
    return getattr(index, kind).load(path, mmap=mmap)
