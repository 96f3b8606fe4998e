"""The command line: parse the arguments, run the command, and print an error as one line."""

from __future__ import annotations

import argparse
import functools
import os
import sys
import traceback
import warnings
from collections.abc import Sequence

from . import __version__
from .commands import arguments as command_arguments
from .commands import (
    bench,
    completion,
    demo,
    duplicates,
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
from .commands.outputs import check_outputs
from .commands.printing import Printer

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments of the command line. By default the arguments of this process are used.

    Returns
    -------
    int
        Exit status: 0 after success, 1 after an error, which is printed as one line on standard
        error, 3 if lines of standard input were refused and the others answered, 130 after an
        interrupt. Arguments that cannot be parsed end the process with 2.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = argparse.Namespace()
    try:
        options = _parse(given)
        check_outputs(options, _parser())
        printer = Printer(_is_set(options, "quiet"), _is_set(options, "json"))
        with warnings.catch_warnings():
            # What the library warns about is a note here, whatever Python does with warnings.
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = lambda message, *_: printer.note(f"warning: {message}")
            status: int | None = options.run(options, printer)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Nobody reads the output any more, so the rest of it is written to the null device.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if _is_set(options, "debug"):
            traceback.print_exc()
        else:
            print(f"fasthash: {_as_one_line(error)}", file=sys.stderr)
        return 1
    return status or 0


def _parse(given: list[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(given)
    config = getattr(options, "config", None)
    if config is None:
        return options
    return parser.parse_args(command_arguments.with_config(given, options.command, config))


def _new_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
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
        duplicates,
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
    # The command "completion" needs the whole parser, and changes it.
    parser.set_defaults(parser=_new_parser)
    return parser


# Built once in a process, for those who call `main` more than once.
_parser = functools.cache(_new_parser)


def _is_set(options: argparse.Namespace, name: str) -> bool:
    return getattr(options, name, False)


def _as_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError | ValueError | ImportError):
        return text
    # The library raises TypeError for arguments of the wrong type. An error of any other class may
    # be a bug, so its class is printed.
    known = isinstance(error, TypeError | MemoryError) and text
    return text if known else f"{type(error).__name__}: {text} (--debug shows where)"
