"""Writes docs/command-line.md, the reference of all commands, from the parser of the command line.

    python tools/write_command_line.py

A test compares the page with what this writes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from fasthash.cli import _parser

PAGE = Path(__file__).resolve().parents[1] / "docs" / "command-line.md"
START = """# All commands

[From files to answers](quickstart.md) shows the commands at work. This page lists every option.

A *source* is a path, or a path and the name of an array in the file, as in `feats.mat:I_tr`.
Every command also has `--help`, and these options:

"""
END = """
`python -m fasthash` runs the same commands, also where the program `fasthash` is not found.

The exit status is 0 after success, 1 after an error, 2 for arguments that cannot be parsed, 3 if
`search` refused some lines of standard input and answered the others, and 130 after Ctrl-C.
"""


def page() -> str:
    """Return the page as Markdown."""
    parser = _parser()
    common = [action for action in parser._actions if action.default is argparse.SUPPRESS]
    own = {option for action in common for option in action.option_strings}
    lines = [START + _table([action for action in common if not _is_help(action)]) + END]
    for name, command in _commands(parser):
        lines.append(f"\n## {name}\n\n{command.description}\n")
        lines.append(f"    {command.epilog.removeprefix('example: ')}\n")
        steps = list(_commands(command))
        actions = [action for action in command._actions if own.isdisjoint(action.option_strings)]
        if actions and not steps:
            lines.append(_table(actions))
        for step, parser_of_step in steps:
            lines.append(f"### {name} {step}\n\n{parser_of_step.description}\n")
            lines.append(f"    {parser_of_step.epilog.removeprefix('example: ')}\n")
            actions = parser_of_step._actions
            lines.append(_table([a for a in actions if own.isdisjoint(a.option_strings)]))
    return "\n".join(lines)


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _is_help(action: argparse.Action) -> bool:
    return {"--help", "--version"} & set(action.option_strings) != set()


def _table(actions: list[argparse.Action]) -> str:
    rows = ["| option | meaning |", "|---|---|"]
    for action in actions:
        value = action.metavar or ("" if action.nargs == 0 else action.dest.upper())
        if action.choices:
            value = ", ".join(map(str, action.choices))
        name = ", ".join(action.option_strings)
        more = " …" if action.nargs in ("+", "*") else ""
        shown = f"`{name}`" if name else ""
        shown += f" `{value}`{more}" if value else ""
        help_text = (action.help or "").replace("%%", "%").replace("|", "\\|")
        rows.append(f"| {shown.strip()} | {help_text} |")
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
