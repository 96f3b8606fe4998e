"""The commands of docs/quickstart.md, as they stand there, in one folder, by a real shell."""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

import pytest

from serving_process import serving

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "quickstart.md"


def sessions():
    """(command, what the page says it prints), in the order of the page."""
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for part in block.split("$ ")[1:]:
            command, _, printed = part.partition("\n")
            yield command, printed


def without_numbers(text):
    """Scores and seconds differ between machines, and so may what is nearest."""
    lines = [line for line in text.splitlines() if not re.match(r" +\d+ ", line)]
    lines = [re.sub(r'"name":"[^"]*"', '"name":""', line) for line in lines]
    return [re.sub(r"[\d.,]+", "#", " ".join(line.split())) for line in lines]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


@pytest.mark.skipif(os.name == "nt", reason="runs the commands in a POSIX shell")
def test_every_command_of_the_page_runs(tmp_path):
    pytest.importorskip("safetensors", reason="models are saved with safetensors")
    pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")
    if shutil.which("curl") is None:
        pytest.skip("curl, which asks the API, is not installed")
    folder = pathlib.Path(sys.executable).parent
    environment = {
        **os.environ,
        "PYTHONUTF8": "1",
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
    }
    commands = list(sessions())
    assert {command.split()[1] for command, _ in commands} >= {
        "demo", "info", "fit", "encode", "index", "search", "evaluate", "report", "serve"
    }  # fmt: skip
    # The page's port may be in use here.
    port = free_port()
    with contextlib.ExitStack() as running:
        for command, expected in commands:
            command, expected = (text.replace("8765", port) for text in (command, expected))
            if command.startswith("fasthash serve"):
                served = running.enter_context(serving(*command.split()[2:], cwd=tmp_path))
                assert without_numbers(served.printed) == without_numbers(expected), command
                continue
            done = subprocess.run(
                command,
                shell=True,
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
                timeout=170,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}"
            assert without_numbers(done.stdout) == without_numbers(expected), command
