"""The command line: parses, calls the command, and turns errors into one line."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from . import __version__
from .commands import arguments as command_arguments
from .commands import (
    bench,
    completion,
    demo,
    encode,
    evaluate,
    fit,
    index,
    info,
    recall,
    report,
    search,
    serve,
)
from .commands.printing import Printer

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        Exit status: 0, or 1 after an error, which is one line on standard error; 2 for arguments
        that cannot be parsed, 130 after an interrupt.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = argparse.Namespace()
    try:
        options = _parse(given)
        options.run(options, Printer(_has(options, "quiet"), _has(options, "json")))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has gone: what is still to be flushed goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if _has(options, "debug"):
            traceback.print_exc()
        else:
            print(f"fasthash: {_in_one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _parse(given: list[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(given)
    config = getattr(options, "config", None)
    if config is None:
        return options
    return parser.parse_args(command_arguments.with_config(given, options.command, config))


def _parser() -> argparse.ArgumentParser:
    parser = command_arguments.Parser(
        prog="fasthash",
        description="Binary codes that several modalities share, searched exactly.",
        epilog="example: fasthash info",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fasthash {__version__}")
    command_arguments.add_common(parser)
    commands = parser.add_subparsers(required=True, metavar="command", dest="command")
    for command in (
        fit,
        encode,
        index,
        search,
        evaluate,
        report,
        serve,
        recall,
        info,
        demo,
        bench,
        completion,
    ):
        command.declare(commands)
    # Completions are made of the whole parser.
    parser.set_defaults(parser=_parser)
    return parser


def _has(options: argparse.Namespace, name: str) -> bool:
    return getattr(options, name, False)


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError | ValueError | ImportError):
        return text
    # The library raises TypeError for arguments of the wrong type; others may be faults of ours.
    known = isinstance(error, TypeError | MemoryError) and text
    return text if known else f"{type(error).__name__}: {text} (--debug shows where)"
