"""Exchange codes with other programs: faiss files and Arrow columns.

Numpy arrays need no conversion, because packed codes have the format of `numpy.packbits`. Every
function accepts ``numpy.load("codes.npy")``, memory-mapped or not, and the binary embeddings of
sentence-transformers, Cohere and Voyage, both ``ubinary`` and the signed ``binary``.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core.files import replacing, size_of
from .codes import check_codes, check_ids

if TYPE_CHECKING:
    import pyarrow

__all__ = ["from_arrow", "read_faiss", "to_arrow", "write_faiss"]

# Header of a binary index of faiss: four letters, bits and bytes of a code, number of codes,
# whether the index is trained, metric.
_FAISS_HEADER = struct.Struct("<4siiq?i")
_FAISS_LENGTH = struct.Struct("<Q")
_FLAT, _ID_MAPS = b"IBxF", (b"IBMp", b"IBM2")


def read_faiss(
    path: str | os.PathLike[str],
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """
    Read codes from a faiss file, without faiss.

    Parameters
    ----------
    path : path
        A file that ``faiss.write_index_binary`` wrote, with an ``IndexBinaryFlat`` or an
        ``IndexBinaryIDMap`` over an ``IndexBinaryFlat``.

    Returns
    -------
    codes : ndarray of uint8, shape (n, n_bytes)
        Packed codes, memory-mapped and read-only.
    ids : ndarray of int64, shape (n,), or None
        Ids of the codes; None if the file has no ``IndexBinaryIDMap``.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file holds another kind of index, or is damaged.

    See Also
    --------
    write_faiss : Write such a file.

    Examples
    --------
    >>> import os, tempfile
    >>> import fasthash as fh
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "some.faiss")
    ...     fh.interchange.write_faiss(path, fh.pack([[1.0] * 8, [-1.0] * 8]), ids=[7, 5])
    ...     codes, ids = fh.interchange.read_faiss(path)
    ...     codes.tolist(), ids.tolist()
    ([[255], [0]], [7, 5])
    """
    path = os.fspath(path)
    size = size_of(path)
    with open(path, "rb") as file:
        kind, n_bits, n_bytes, n = _read_faiss_header(path, file)
        is_mapped = kind in _ID_MAPS
        if is_mapped:
            shape = n_bits, n_bytes, n
            kind, *inner = _read_faiss_header(path, file)
            if tuple(inner) != shape:
                raise ValueError(
                    f"{path} is damaged: the header of its id map says {shape}, and the header of "
                    f"the index in it says {tuple(inner)}"
                )
        if kind != _FLAT:
            raise ValueError(
                f"{path} holds an index of the kind {kind!r}: only an IndexBinaryFlat, or an "
                "IndexBinaryIDMap over an IndexBinaryFlat, can be read"
            )
        if n_bits < 1 or n_bits != 8 * n_bytes or n < 0:
            raise ValueError(f"{path} is damaged: {n} codes of {n_bits} bits, {n_bytes} bytes")
        _check_faiss_length(path, file, n * n_bytes)
        codes_at = file.tell()
        if codes_at + n * n_bytes > size:
            raise ValueError(f"{path} is damaged: it ends before its {n} codes do")
        ids = None
        if is_mapped:
            file.seek(codes_at + n * n_bytes)
            _check_faiss_length(path, file, n)
            if file.tell() + 8 * n > size:
                raise ValueError(f"{path} is damaged: it ends before its {n} ids do")
            ids = np.frombuffer(file.read(8 * n), "<i8").astype(np.int64, copy=False)
    if n == 0:
        return np.empty((0, n_bytes), np.uint8), ids
    return np.asarray(np.memmap(path, np.uint8, "r", codes_at, (n, n_bytes))), ids


def write_faiss(
    path: str | os.PathLike[str], codes: ArrayLike, *, ids: ArrayLike | None = None
) -> None:
    """
    Write codes to a file that ``faiss.read_index_binary`` reads.

    Parameters
    ----------
    path : path
        The file to write. An existing file is replaced when the new one is complete.
    codes : array_like of uint8, shape (n, n_bytes)
        Packed codes, for instance ``index.codes``. In the file they have 8 n_bytes bits.
    ids : array_like of int, shape (n,), optional
        Ids of the codes, for instance ``index.ids``. With ids the file holds an
        ``IndexBinaryIDMap``, without ids an ``IndexBinaryFlat``.

    Raises
    ------
    TypeError, ValueError
        If codes or ids have the wrong type or shape.
    OSError
        If the file cannot be written. An existing file is then unchanged.

    See Also
    --------
    read_faiss : Read such a file.

    Examples
    --------
    >>> import os, tempfile
    >>> import fasthash as fh
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "some.faiss")
    ...     fh.interchange.write_faiss(path, fh.pack([[1.0] * 8]))
    ...     fh.interchange.read_faiss(path)
    (array([[255]], dtype=uint8), None)
    """
    codes = check_codes(codes, "codes")
    n, n_bytes = codes.shape
    shape = (8 * n_bytes, n_bytes, n, True, 1)
    with replacing(path) as file:
        if ids is not None:
            ids = check_ids(ids)
            if ids.shape != (n,):
                raise ValueError(f"ids must have shape ({n},), one per code, got {ids.shape}")
            file.write(_FAISS_HEADER.pack(_ID_MAPS[0], *shape))
        file.write(_FAISS_HEADER.pack(_FLAT, *shape))
        file.write(_FAISS_LENGTH.pack(n * n_bytes))
        file.write(codes.data if n else b"")
        if ids is not None:
            file.write(_FAISS_LENGTH.pack(n))
            file.write(ids.astype("<i8").tobytes())


def from_arrow(column: pyarrow.Array | pyarrow.ChunkedArray) -> NDArray[np.uint8]:
    """
    Convert a fixed-size binary column of Arrow or Parquet to an array of codes.

    Parameters
    ----------
    column : pyarrow.Array or pyarrow.ChunkedArray
        A column of type ``fixed_size_binary``, or of lists of a fixed number of ``uint8`` or
        ``int8``. It must not hold nulls.

    Returns
    -------
    ndarray of uint8 or int8, shape (n, n_bytes)
        Packed codes, read-only. A column of a single chunk is not copied.

    Raises
    ------
    TypeError, ValueError
        If the column has another type, or holds nulls.

    See Also
    --------
    to_arrow : Convert codes to a column.

    Examples
    --------
    >>> import pyarrow
    >>> column = pyarrow.array([b"ab", b"cd"], pyarrow.binary(2))
    >>> from_arrow(column)
    array([[ 97,  98],
           [ 99, 100]], dtype=uint8)
    """
    n_bytes, dtype = _arrow_width(column.type)
    if column.null_count:
        raise ValueError(f"the column has {column.null_count} nulls: drop or fill them")
    parts = [_arrow_values(chunk, n_bytes, dtype) for chunk in getattr(column, "chunks", [column])]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([np.empty((0, n_bytes), dtype), *parts])


def to_arrow(codes: ArrayLike) -> pyarrow.FixedSizeBinaryArray:
    """
    Convert codes to a fixed-size binary column for Arrow or Parquet.

    Parameters
    ----------
    codes : array_like of uint8, shape (n, n_bytes)
        Packed codes. They are not copied.

    Returns
    -------
    pyarrow.FixedSizeBinaryArray
        A column with one code in each row.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    TypeError, ValueError
        If the codes have the wrong type or shape.

    See Also
    --------
    from_arrow : Convert a column to codes.

    Examples
    --------
    >>> import pyarrow
    >>> import fasthash as fh
    >>> column = to_arrow(fh.pack([[1.0] * 8, [-1.0] * 8]))
    >>> table = pyarrow.table({"code": column})
    >>> from_arrow(table["code"]).tolist()
    [[255], [0]]
    """
    try:
        import pyarrow
    except ImportError:
        raise ImportError("Arrow columns need pyarrow: pip install pyarrow") from None
    codes = check_codes(codes, "codes")
    n, n_bytes = codes.shape
    return pyarrow.Array.from_buffers(
        pyarrow.binary(n_bytes), n, [None, pyarrow.py_buffer(codes.data if n else b"")]
    )


def _read_faiss_header(path: str, file: Any) -> tuple[bytes, int, int, int]:
    data = file.read(_FAISS_HEADER.size)
    if len(data) < _FAISS_HEADER.size:
        raise ValueError(f"{path} is not a binary index of faiss: it ends within its header")
    kind, n_bits, n_bytes, n, _, _ = _FAISS_HEADER.unpack(data)
    if not kind.startswith(b"IB"):
        raise ValueError(f"{path} is not a binary index of faiss")
    return kind, n_bits, n_bytes, n


def _check_faiss_length(path: str, file: Any, expected: int) -> None:
    data = file.read(_FAISS_LENGTH.size)
    if len(data) < _FAISS_LENGTH.size or _FAISS_LENGTH.unpack(data)[0] != expected:
        raise ValueError(f"{path} is damaged: its parts are not as long as its header says")


def _arrow_width(kind: Any) -> tuple[int, Any]:
    """Return the number of bytes per code, and the dtype of the bytes."""
    text = str(kind)
    if text.startswith("fixed_size_binary"):
        return kind.byte_width, np.dtype(np.uint8)
    if text.startswith("fixed_size_list") and str(kind.value_type) in ("uint8", "int8"):
        return kind.list_size, np.dtype(str(kind.value_type))
    raise TypeError(
        f"the column must be fixed_size_binary, or lists of a fixed number of uint8, got {kind}"
    )


def _arrow_values(chunk: Any, n_bytes: int, dtype: Any) -> NDArray[Any]:
    n = len(chunk)
    if n == 0:
        return np.empty((0, n_bytes), dtype)
    if str(chunk.type).startswith("fixed_size_list"):
        values = chunk.flatten()
        if values.null_count:
            raise ValueError(
                f"the lists of the column hold {values.null_count} nulls: drop or fill them"
            )
        return values.to_numpy().reshape(n, n_bytes)
    return np.frombuffer(chunk.buffers()[1], dtype, n * n_bytes, chunk.offset * n_bytes).reshape(
        n, n_bytes
    )
