"""Commands run in the process, or as the installed program."""

import json
import pathlib
import shlex
import sys

from fasthash import cli

PROGRAM = pathlib.Path(sys.executable).parent / "fasthash"


def run(capsys, command, status=0):
    """What a command prints on standard output and on standard error."""
    capsys.readouterr()
    try:
        found = cli.main(shlex.split(command))
    except SystemExit as stopped:
        found = stopped.code
    printed = capsys.readouterr()
    assert found == status, printed.err
    return printed.out, printed.err


def result(capsys, command):
    return json.loads(run(capsys, f"--json {command}")[0])
