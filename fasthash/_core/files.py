"""Write a file as a whole or not at all; tell the kind of a file by its first bytes.

`replacing` writes, and `identify` tells the kind. A new kind of file needs a row in `KINDS` and a
signature.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "INDEX_SIGNATURE",
    "KINDS",
    "MODEL_FORMAT",
    "identify",
    "kind_by_name",
    "replacing",
    "size_of",
    "sync",
]

# The first bytes of an index file.
INDEX_SIGNATURE = b"\x89FASTHX\n"

# The value of "format" in the metadata of a safetensors file that holds a model.
MODEL_FORMAT = "fasthash model"

# The answers of `identify`, and for each kind the words that an error message uses for it.
KINDS = {
    "index": "an index of fasthash",
    "model": "a model of fasthash",
    "safetensors": "a safetensors file, which is no model of fasthash",
    "faiss": "a binary index of faiss",
    "npy": "a .npy array",
    "npz": "a .npz archive of arrays",
    "zip": "a zip archive",
    "mat": "a .mat file",
    "hdf5": "an HDF5 file",
    "parquet": "a Parquet file",
    "arrow": "an Arrow file",
    "arrow stream": "an Arrow stream",
    "csv": "a table of text",
    "txt": "a file of text",
    "json": "a JSON file",
    "html": "an HTML page",
    "png": "a PNG picture",
    "compressed": "a compressed file",
    "pickle": "a pickle",
    "empty": "empty: it has no bytes",
    "unknown": "of no known format",
}

# (first bytes, kind); `identify` also looks into zip archives.
_SIGNATURES = (
    (INDEX_SIGNATURE, "index"),
    (b"\x93NUMPY", "npy"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"FEA1", "arrow"),
    (b"\xff\xff\xff\xff", "arrow stream"),
    (b"MATLAB 5.0", "mat"),
    (b"IBxF", "faiss"),
    (b"IBMp", "faiss"),
    (b"IBM2", "faiss"),
    (b"\x1f\x8b", "compressed"),
    (b"BZh", "compressed"),
    (b"\x28\xb5\x2f\xfd", "compressed"),
    (b"\xfd7zXZ\x00", "compressed"),
    (b"\x80\x02", "pickle"),
    (b"\x80\x03", "pickle"),
    (b"\x80\x04", "pickle"),
    (b"\x80\x05", "pickle"),
    (b"\x89PNG\r\n\x1a\n", "png"),
)
# Formats without a signature are recognised by the suffix of the name.
_SUFFIXES = {".mat": "mat", ".csv": "csv", ".tsv": "csv", ".txt": "txt"}
# The first characters of text in other formats, in lower case.
_FIRST_CHARACTERS = (
    (b"<!doctype html", "html"),
    (b"<html", "html"),
    (b"{", "json"),
    (b"[", "json"),
)
# The reader of safetensors refuses a header that is longer.
_MOST_HEADER_BYTES = 100_000_000
# MATLAB writes a header of this size before the signature of HDF5.
_MATLAB_HEADER_BYTES = 512


def identify(path: str | os.PathLike[str]) -> str:
    """
    Tell the kind of a file by its first bytes, or by its name if its format has no signature.

    Parameters
    ----------
    path : path

    Returns
    -------
    str
        A key of `KINDS`. A zip archive is "npz" if it holds .npy files or nothing.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is a folder, a pipe or a device.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "names.csv")
    ...     with open(path, "w") as file:
    ...         _ = file.write("name")
    ...     identify(path)
    'csv'
    """
    size = size_of(path)
    if size == 0:
        return "empty"
    with open(path, "rb") as file:
        start = file.read(_MATLAB_HEADER_BYTES + 8)
    kind = next((kind for signature, kind in _SIGNATURES if start.startswith(signature)), None)
    if kind == "zip":
        return "npz" if _holds_arrays(path) else "zip"
    if kind is not None:
        return kind
    if start[_MATLAB_HEADER_BYTES:] == b"\x89HDF\r\n\x1a\n":
        return "hdf5"
    # safetensors: the length of a header, then the header, in JSON.
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size - 8:
        return "model" if _is_model(path) else "safetensors"
    by_name = kind_by_name(path)
    if by_name is not None:
        return by_name
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((kind for first, kind in _FIRST_CHARACTERS if text.startswith(first)), "unknown")


def kind_by_name(path: str | os.PathLike[str]) -> str | None:
    """Tell the kind that the suffix of a name says; None for kinds that have a signature."""
    return _SUFFIXES.get(Path(path).suffix.lower())


def _is_model(path: str | os.PathLike[str]) -> bool:
    """Whether the metadata of a safetensors file say that it holds a model."""
    with open(path, "rb") as file:
        n_bytes = int.from_bytes(file.read(8), "little")
        header = file.read(min(n_bytes, _MOST_HEADER_BYTES))
    return f'"{MODEL_FORMAT}"'.encode() in header


def _holds_arrays(path: str | os.PathLike[str]) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        # The archive is damaged. If its name says "arrays", their reader gives the error.
        return Path(path).suffix.lower() in (".npz", ".npy")
    return not names or any(name.endswith(".npy") for name in names)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, synced: bool = True) -> Iterator[BinaryIO]:
    """
    Write a new file that replaces `path` when all of it is on the disk.

    The data go to a temporary file in the same folder, ``.<name>.<random>.tmp``. At the end it is
    synced and renamed, and the folder is synced. So a crash at any moment leaves the whole old file
    or the whole new one. At worst the temporary file stays too, and can be deleted.

    Parameters
    ----------
    path : path
        The file need not exist; its folder must. If it is a symbolic link, the file that it points
        to is replaced. The new file has the permissions of the old one.
    synced : bool, default True
        Whether to wait until the disk holds the file. False is faster for many small files that can
        be made again: a crash of the operating system may then leave them empty.

    Yields
    ------
    binary file
        Open for writing.

    Raises
    ------
    OSError
        If the folder cannot be written to, the disk is full, or `path` is a folder. The error names
        `path`. The old file is then unchanged.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file in it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {target.parent}")
    temporary = target.parent / f".{target.name}.{secrets.token_hex(8)}.tmp"
    try:
        # numpy writes to a file that is open for writing only by the C library, whose errors do not
        # say that the disk is full. Other files get their bytes by `write`.
        with open(temporary, "x+b") as file:
            if target.exists():
                os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
            yield file
            if synced:
                sync(file)
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is None:
            raise OSError(f"{path}: {error}") from error
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename, error.filename2 = os.fspath(path), None
        raise
    if synced:
        _sync_folder(target.parent)


def size_of(path: str | os.PathLike[str]) -> int:
    """
    Return the size in bytes of a file that can be read at any offset.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it is a folder, a pipe or a device.
    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise ValueError(f"{os.fspath(path)} is a folder: name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(
            f"{os.fspath(path)} is a pipe or a device, which can be read only once: write its "
            "content to a file first"
        )
    return status.st_size


def sync(file: BinaryIO) -> None:
    """Wait until the disk, and not only the operating system, holds what was written."""
    file.flush()
    if sys.platform == "darwin":
        # On macOS, fsync leaves the data in the cache of the disk.
        import fcntl

        fcntl.fcntl(file.fileno(), fcntl.F_FULLFSYNC)
    else:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Wait until the disk holds the new name. Windows needs no sync and cannot open a folder."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
