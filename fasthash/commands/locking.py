"""One writer at a time: a lock next to the index file, which commands that change it hold."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from . import arguments
from .arguments import Options
from .printing import Printer

__all__ = ["add_wait", "locked"]

# A lock file that begins with other bytes belongs to another program, or to filelock itself, which
# keeps its own notes there where the file system has no locks.
_START = b"fasthash: "


def add_wait(options: Options) -> None:
    """Add the option that says how long to wait for another writer."""
    options.add_argument(
        "--wait",
        type=arguments.whole,
        default=60,
        metavar="SECONDS",
        help="how long to wait while another process changes the index (default: 60)",
    )


@contextlib.contextmanager
def locked(path: Path, seconds: int, printer: Printer) -> Iterator[None]:
    """
    Hold the lock of an index: the file ``<index>.lock``, which stays when the lock is released.

    Links to the same file have one lock. While another process holds the lock, a note says which.

    Parameters
    ----------
    path : path
        The index. Its folder must exist.
    seconds : int
        How long to wait.
    printer : Printer

    Raises
    ------
    OSError
        If the lock file cannot be made.
    ValueError
        If another process still holds the lock at the end.
    """
    from filelock import FileLock, Timeout

    lock_path = f"{os.path.realpath(path)}.lock"
    lock = FileLock(lock_path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = _holder(lock_path)
        printer.note(f"{path} is being changed by {holder}: waiting for up to {seconds} s")
        try:
            lock.acquire(timeout=seconds)
        except Timeout:
            raise ValueError(
                f"{path} is still being changed by {_holder(lock_path)} after {seconds} s: try "
                "again later, or wait longer with --wait"
            ) from None
    try:
        _name_holder(lock_path)
        yield
    finally:
        lock.release()


def _holder(lock_path: str) -> str:
    """Describe the process that holds the lock, if it has said so."""
    # Windows lets nobody read a file that is locked.
    with contextlib.suppress(OSError):
        content = Path(lock_path).read_bytes()
        if content.startswith(_START):
            return content.removeprefix(_START).decode(errors="replace").strip()
    return "another process"


def _name_holder(lock_path: str) -> None:
    """Write into the lock file which process holds it, for those who wait."""
    with contextlib.suppress(OSError):
        descriptor = os.open(lock_path, os.O_RDWR)
        try:
            if os.read(descriptor, len(_START)) in (b"", _START):
                text = f"process {os.getpid()}, since {time.strftime('%H:%M:%S')}\n"
                os.ftruncate(descriptor, 0)
                os.lseek(descriptor, 0, os.SEEK_SET)
                os.write(descriptor, _START + text.encode())
        finally:
            os.close(descriptor)
