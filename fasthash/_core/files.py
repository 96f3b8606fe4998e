"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["replacing", "size_of", "sync"]


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """
    Write a file that takes the place of `path` when all of it is on the disk.

    What is written goes to a file beside it, with a name of its own, which is renamed at the end;
    both the file and the folder are synced. A crash at any moment leaves the old file or the new
    one, and at worst the file beside it, ``.<name>.<random>.tmp``, which can be deleted.

    Parameters
    ----------
    path : path
        Of a file that exists or not, in a folder that exists. A symbolic link stays one. The new
        file has the permissions of the old one.

    Yields
    ------
    binary file
        Open for writing.

    Raises
    ------
    OSError
        If the folder cannot be written to, the disk is full, or `path` is a folder. The old file is
        then unchanged.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file in it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {target.parent}")
    beside = target.parent / f".{target.name}.{secrets.token_hex(8)}.tmp"
    try:
        with open(beside, "xb") as file:
            if target.exists():
                os.chmod(beside, stat.S_IMODE(target.stat().st_mode))
            yield file
            sync(file)
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def size_of(path: str | os.PathLike[str]) -> int:
    """
    The number of bytes in a file that can be read at any place.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it is a folder, a pipe or a device.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{os.fspath(path)} is not a file, but a folder or a device")
    return status.st_size


def sync(file: BinaryIO) -> None:
    """Have the disk, and not only the system, hold what was written."""
    file.flush()
    if sys.platform == "darwin":
        # There fsync leaves it in the cache of the disk.
        import fcntl

        fcntl.fcntl(file.fileno(), fcntl.F_FULLFSYNC)
    else:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Have the disk hold the new name; Windows does so by itself and cannot open a folder."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
