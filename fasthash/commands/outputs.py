"""The files that a command writes. None replaces an input, or a file of another kind.

The option for such a file has the type `OutputFile`, which says the kind of the file. `cli` calls
`check_outputs` before it runs a command. A command whose options do not name its files one by one
calls `check_output` for each.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._core.files import KINDS, identify, kind_by_name, replacing
from ..datasets.readers import split_source
from .arguments import FILE_METAVARS, Options

__all__ = ["OutputFile", "add_force", "check_output", "check_outputs", "write_json"]

# The kinds that are text, and what their names must say: the kind, or nothing.
_TEXTS = {"csv": "csv", "txt": "txt", "json": None, "html": None}


@dataclass(frozen=True)
class OutputFile:
    """
    The type of an option that names a file to write, in a folder that exists.

    Attributes
    ----------
    kind : str or callable
        The kind of file, a key of `KINDS`; or a function that returns it for the parsed options, or
        None if the file is not written.
    """

    kind: str | Callable[[argparse.Namespace], str | None]

    def __call__(self, text: str) -> Path:
        """
        Parse a path.

        Raises
        ------
        argparse.ArgumentTypeError
            If it is a folder, or its folder does not exist or cannot be written to.
        """
        path = Path(text)
        if path.is_dir():
            raise argparse.ArgumentTypeError(f"{text} is a folder: name a file in it")
        # A link stays, and the file that it points to is written.
        folder = Path(os.path.realpath(path) if path.is_symlink() else path).parent
        if not folder.is_dir():
            raise argparse.ArgumentTypeError(f"there is no folder {folder}")
        if not os.access(folder, os.W_OK):
            raise argparse.ArgumentTypeError(f"files in the folder {folder} cannot be written")
        return path


def add_force(options: Options) -> None:
    """Add the option that permits to replace files."""
    options.add_argument(
        "--force",
        action="store_true",
        help="replace files that exist; a file of another kind and a file that the command reads "
        "are never replaced",
    )


def check_outputs(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """
    Check all files that the options name as files to write.

    Raises
    ------
    ValueError
        If a file would replace an input, another output, or a file that `check_output` refuses.
    """
    actions = [a for a in _actions_of(parser, options) if getattr(options, a.dest, None)]
    outputs = [(a, a.type.kind) for a in actions if isinstance(a.type, OutputFile)]
    inputs = [action for action in actions if action.metavar in FILE_METAVARS]
    for i, (action, kind) in enumerate(outputs):
        path = getattr(options, action.dest)
        for other in (*inputs, *(one for one, _ in outputs[:i])):
            if other is not action:
                _refuse_same_file(path, _name_of(action), other, options)
        written = kind if isinstance(kind, str) else kind(options)
        if written is not None:
            check_output(path, written, options.force)


def check_output(path: Path, kind: str, force: bool) -> None:
    """
    Check that a file may be written: it does not exist, is empty, or is of this kind with --force.

    A text must have a name by which its kind is known, and no other file may have such a name.

    Raises
    ------
    ValueError
        If the file may not be written.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file that can be replaced: name another file")
    found = identify(path) if path.exists() else "empty"
    if found not in ("empty", kind):
        raise ValueError(
            f"{path} exists and is {KINDS[found]}, not {KINDS[kind]}: it is not replaced, so name "
            "another file"
        )
    if kind in _TEXTS and kind_by_name(path) != _TEXTS[kind]:
        # The file would be taken for something else when it is read, or written again.
        raise ValueError(f"{path} would be {KINDS[kind]}: give it a name that ends in .{kind}")
    if kind not in _TEXTS and kind_by_name(path) is not None:
        raise ValueError(f"{path} would be {KINDS[kind]}: its name must not end in {path.suffix}")
    if found == kind and not force:
        raise ValueError(f"{path} exists: name another file, or pass --force to replace it")


def _actions_of(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> list[argparse.Action]:
    """Return the arguments of the command that the options call."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return _actions_of(action.choices[getattr(options, action.dest)], options)
    return parser._actions


def _name_of(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else str(action.metavar)


def _refuse_same_file(
    path: Path, name: str, other: argparse.Action, options: argparse.Namespace
) -> None:
    for candidate in _paths_in(getattr(options, other.dest)):
        if _is_same_file(path, candidate):
            raise ValueError(
                f"{name} {path} is the file of {_name_of(other)}, {candidate}: name another file"
            )


def _paths_in(value: Any) -> Iterator[str]:
    """Yield every path that a value may name: PATH, PATH:NAME, MODALITY=SOURCE, or several."""
    if isinstance(value, str | Path):
        texts = [str(value), str(value).partition("=")[2]]
        for text in filter(None, texts):
            yield from dict.fromkeys((text, split_source(text)[0]))
    elif isinstance(value, tuple):
        # A modality and its source.
        yield from _paths_in(value[1])
    elif isinstance(value, list):
        for one in value:
            yield from _paths_in(one)


def _is_same_file(path: Path, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        # One of them does not exist. Two files to write may have the same name.
        return os.path.realpath(path) == os.path.realpath(other)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write content to a JSON file, whole or not at all."""
    with replacing(path) as file:
        file.write(json.dumps(content, indent=1).encode())
