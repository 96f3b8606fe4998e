"""`fasthash serve` as a real process, for tests that ask it over the network."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
from typing import NamedTuple

PROGRAM = pathlib.Path(sys.executable).parent / "fasthash"


class Served(NamedTuple):
    """Where it is, without a slash at the end; the process; and what it printed."""

    url: str
    process: subprocess.Popen
    printed: str


@contextlib.contextmanager
def serving(*arguments, cwd, ends_with=signal.SIGTERM):
    """Start it, yield it; stop it by a signal, which must end it well."""
    process = subprocess.Popen(
        [PROGRAM, "serve", *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    try:
        printed = printed_until_address(process)
        yield Served(printed.split()[-1].rstrip("/"), process, printed)
        process.send_signal(ends_with)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert "Traceback" not in said, said
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def printed_until_address(process, seconds=120):
    """What the process prints, up to the address, which comes when it can be asked."""
    # A process that never gets so far must not stop the tests.
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    printed = ""
    try:
        for line in process.stdout:
            printed += line
            if line.startswith("http://"):
                return printed
    finally:
        timer.cancel()
    raise AssertionError(f"no address was printed: {printed}{process.communicate()[1]}")
