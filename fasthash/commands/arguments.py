"""Arguments of the command line: a parser with one-line errors, shared options, types, files."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

__all__ = [
    "FILE_METAVARS",
    "Options",
    "Parser",
    "add_columns",
    "add_command",
    "add_config",
    "add_pairs",
    "add_parameters",
    "add_seed",
    "named_source",
    "parameter",
    "positive",
    "row_range",
    "share",
    "whole",
    "with_config",
]

# The metavars of arguments whose values are files, or sources in files.
FILE_METAVARS = ("FILE", "INDEX", "SOURCE", "MODALITY=SOURCE")

# A parser, or a group of its options.
Options: TypeAlias = argparse._ActionsContainer


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors take one line, and name an option that is spelt alike."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        # The parser of a command refuses what it does not know; argparse would hand it to the
        # parser of all commands, which knows no options of the command.
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            alike = difflib.get_close_matches(unknown[0].split("=")[0], self._option_string_actions)
            hint = f": did you mean {alike[0]}?" if alike else ""
            self.error(f"unknown arguments {' '.join(unknown)}{hint}")
        return options, unknown

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse ignores an error of the write, for example on a full disk.
        print(message, end="", file=file, flush=True)

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} ({self.prog} --help shows what there is)", file=sys.stderr)
        sys.exit(2)


def add_command(commands: Any, name: str, summary: str, description: str, example: str) -> Parser:
    """Declare a command with the options that all commands have. Its help shows the example."""
    command = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"example: {example}",
        allow_abbrev=False,
    )
    add_common(command)
    return command


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that may stand before or after the name of a command."""
    options = parser.add_argument_group("what is printed")
    # There is no default, because the parser of the command would overwrite a value that was given
    # before the name of the command.
    for name, text in (
        ("--quiet", "print results only: no notes and no progress bars"),
        ("--json", "print results as JSON"),
        ("--debug", "show where in the program an error happened"),
    ):
        options.add_argument(name, action="store_true", default=argparse.SUPPRESS, help=text)


def add_columns(options: Options, of: str = "--features") -> None:
    """Add the option that transposes features."""
    options.add_argument("--columns", action="store_true", help=f"samples are the columns of {of}")


def add_config(command: argparse.ArgumentParser) -> None:
    """Add the option that names a configuration file."""
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="a TOML or JSON file of these options by name; the command line overrides it",
    )


def add_pairs(options: Options) -> None:
    """Add the option that names the pairs of rows that belong together."""
    options.add_argument(
        "--pairs",
        metavar="SOURCE",
        help="row numbers from 0, a column per modality (default: row i belongs to row i); a blank "
        "cell is a sample without a partner",
    )


def add_parameters(options: Options, metavar: str, of: str, example: str) -> None:
    """Add the option that sets parameters of methods."""
    options.add_argument(
        "--set",
        type=parameter,
        nargs="+",
        action="extend",
        default=[],
        metavar=metavar,
        help=f"parameters of {of}, such as {example}",
    )


def add_seed(options: Options, of: str) -> None:
    """Add the option for the seed of random numbers."""
    options.add_argument("--seed", type=whole, default=0, help=f"seed of {of} (default: 0)")


def positive(text: str) -> int:
    """Parse an integer of at least 1."""
    value = _integer(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def share(text: str) -> float:
    """Parse a number above 0 and at most 1."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


def whole(text: str) -> int:
    """Parse an integer of at least 0."""
    value = _integer(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is not at least 0")
    return value


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def named_source(text: str) -> tuple[str, str]:
    """Parse ``modality=path`` or ``modality=path:name``."""
    name, equals, source = text.partition("=")
    if not (name and equals and source):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not of the form modality=path, as in image=feats.mat:I_tr"
        )
    return name, source


def parameter(text: str) -> tuple[str, Any]:
    """Parse ``name=value``, where the value is a number, true, false, none or otherwise a text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=value")
    return name, _value(value)


def _value(text: str) -> Any:
    word = text.strip().lower()
    if word in ("none", "null"):
        return None
    if word in ("true", "false"):
        return word == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def row_range(text: str) -> slice:
    """Parse ``START:STOP``. Either number may be omitted."""
    start, colon, stop = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return slice(whole(start) if start else 0, whole(stop) if stop else None)
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not of the form START:STOP, as in 0:10"
        ) from None


def with_config(arguments: Sequence[str], command: str, config: Path) -> list[str]:
    """
    Insert the options of a configuration file before those of the user, which override them.

    Each key is the name of an option. A list stands for several values, and a table for several
    values of the form ``name=value``.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is neither TOML nor JSON, or has a value that no option can take.
    """
    content = _read_config(config)
    options: list[str] = []
    for key, value in content.items():
        option = f"--{key.replace('_', '-')}"
        if key.replace("-", "_") != key and key.replace("-", "_") in content:
            raise ValueError(f"{config} gives {option} twice: with a dash and with an underscore")
        if key == "config":
            raise ValueError(
                f"{config} names another configuration file, which is not read: remove that line"
            )
        if value is True:
            options.append(option)
        elif value is not False:
            values = value if isinstance(value, list) else [value]
            if isinstance(value, Mapping):
                values = [f"{name}={_text(config, key, one)}" for name, one in value.items()]
            texts = [_text(config, key, one) for one in values]
            # A single value is joined to its option by "=", so that it may begin with a dash.
            options += [f"{option}={texts[0]}"] if len(texts) == 1 else [option, *texts]
    at = list(arguments).index(command) + 1
    return [*arguments[:at], *options, *arguments[at:]]


def _read_config(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    try:
        if path.suffix.lower() == ".json":
            content = json.loads(text, object_pairs_hook=_each_once)
        else:
            content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
        what = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"{path} is not valid {kind}: {what}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold options by name, like bits = 64")
    return content


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The values of a JSON object; Python would take the last of several with one name."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"it gives {name!r} twice")
        found[name] = value
    return found


def _text(path: Path, key: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"{path}: {key} must be a number, text, a list or a table of them")
