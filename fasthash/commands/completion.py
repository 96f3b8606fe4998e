"""``fasthash completion``: print a shell script that completes commands, options and files."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from typing import Any

from . import arguments
from .outputs import OutputFile
from .printing import Printer

__all__ = ["declare", "run"]

SHELLS = ("bash", "zsh", "fish")

# Metavars of the options whose values are folders.
_FOLDERS = ("FOLDER",)


def declare(commands: Any) -> None:
    """Describe the command and its options."""
    completion = arguments.add_command(
        commands,
        "completion",
        "print a script for completion in a shell",
        "Print a script with which a shell completes commands, options, their choices and file "
        "names. Save it where your shell looks for completions: for bash, "
        "~/.local/share/bash-completion/completions/fasthash; for zsh, a file _fasthash in a "
        "folder of $fpath; for fish, ~/.config/fish/completions/fasthash.fish.",
        "fasthash completion bash",
    )
    completion.add_argument("shell", choices=SHELLS, help="which shell")
    completion.set_defaults(run=run)


def run(options: argparse.Namespace, printer: Printer) -> None:
    """Print the script."""
    if find_spec("shtab") is None:
        raise ImportError(
            "completion scripts need shtab, which is not installed: "
            "pip install 'fasthash-retrieval[completion]'"
        )
    import shtab

    parser = options.parser()
    _prepare(parser, shtab.FILE, shtab.DIRECTORY)
    script = shtab.complete(parser, options.shell)
    printer.result(script, {"shell": options.shell, "script": script})


def _prepare(parser: argparse.ArgumentParser, file: Any, folder: Any) -> None:
    """Mark the arguments that name files and folders; describe commands by their summaries."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                command = action.choices[choice.dest]
                command.description = choice.help
                _prepare(command, file, folder)
        elif action.metavar in _FOLDERS:
            action.complete = folder  # type: ignore[attr-defined]
        elif action.metavar in arguments.FILE_METAVARS or isinstance(action.type, OutputFile):
            action.complete = file  # type: ignore[attr-defined]
