"""
The commands of docs/quickstart.md, as they stand there, in one folder.

The first ones and what is no command of ours run in a real shell. The others run in this process,
because each new process loads scipy and scikit-learn again.
"""

import contextlib
import io
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

import pytest

from fasthash import cli
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


def shares(text):
    """Scores and recalls: they hardly differ between machines."""
    return [float(share) for share in re.findall(r"\b0\.\d{3}\b", text)]


def is_plain(command):
    """Whether a shell only cuts the command at its spaces."""
    return re.fullmatch(r"fasthash( [\w./:=@-]+)+", command) is not None


def run_in_shell(command, folder):
    """(exit status, what the command prints)."""
    programs = pathlib.Path(sys.executable).parent
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={
            **os.environ,
            "PYTHONUTF8": "1",
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=170,
    )
    return done.returncode, done.stdout


def run_in_process(command):
    """(exit status, what the command prints)."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = cli.main(command.split()[1:])
    return status, printed.getvalue()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


@pytest.mark.skipif(os.name == "nt", reason="runs the commands in a POSIX shell")
def test_every_command_of_the_page_runs(tmp_path, monkeypatch):
    pytest.importorskip("safetensors", reason="models are saved with safetensors")
    pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")
    if shutil.which("curl") is None:
        pytest.skip("curl, which asks the API, is not installed")
    monkeypatch.chdir(tmp_path)
    commands = list(sessions())
    assert {command.split()[1] for command, _ in commands} >= {
        "demo", "info", "fit", "encode", "index", "search", "evaluate", "report", "serve"
    }  # fmt: skip
    # The page's port may be in use here.
    port = free_port()
    n_in_shell = 0
    with contextlib.ExitStack() as running:
        for command, expected in commands:
            command, expected = (text.replace("8765", port) for text in (command, expected))
            if command.startswith("fasthash serve"):
                served = running.enter_context(serving(*command.split()[2:], cwd=tmp_path))
                assert without_numbers(served.printed) == without_numbers(expected), command
                continue
            if is_plain(command) and n_in_shell >= 2:
                status, printed = run_in_process(command)
            else:
                status, printed = run_in_shell(command, tmp_path)
                n_in_shell += 1
            assert status == 0, f"{command}\n{printed}"
            assert without_numbers(printed) == without_numbers(expected), command
            if command.split()[1] in ("evaluate", "recall"):
                assert shares(printed) == pytest.approx(shares(expected), abs=0.02), command
