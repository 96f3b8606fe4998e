"""The commands of docs/quickstart.md, as they stand there, in one folder, by a real shell."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

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
    return [re.sub(r"[\d.,]+", "#", " ".join(line.split())) for line in lines]


@pytest.mark.skipif(os.name == "nt", reason="runs the commands in a POSIX shell")
def test_every_command_of_the_page_runs(tmp_path):
    pytest.importorskip("safetensors", reason="models are saved with safetensors")
    folder = pathlib.Path(sys.executable).parent
    environment = {
        **os.environ,
        "PYTHONUTF8": "1",
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
    }
    commands = list(sessions())
    assert {command.split()[1] for command, _ in commands} >= {
        "demo", "info", "fit", "encode", "index", "search", "evaluate"
    }  # fmt: skip
    for command, expected in commands:
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
