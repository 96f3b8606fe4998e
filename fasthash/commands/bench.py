"""``fasthash bench``: measure how fast this installation is, and print a table."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from .. import __version__
from . import arguments
from .printing import Printer, format_table

__all__ = ["declare", "run"]

# A test compares this with fasthash.experiments.speed.
TASKS = ("top-k", "within", "rank", "average-precision", "multi-index", "encode", "reconstruct")


def declare(commands: Any) -> None:
    """Describe the command and its options."""
    bench = arguments.add_command(
        commands,
        "bench",
        "measure how fast this installation is",
        "Measure searches, evaluation, encoding and reconstruction on one thread. Each is compared "
        "with plain numpy, with faiss-cpu if it is installed, and with a limit of the machine: the "
        "time to read all codes once per query, or the matrix products of encoding. Only a search "
        "of many queries can be faster than reading. The results are compared first; then the "
        "programs are timed in turn. A ratio is the median over rounds, with its quartiles. Ratios "
        "are more reliable than times.",
        "fasthash bench --quick --tasks top-k",
    )
    bench.add_argument(
        "--tasks", nargs="+", choices=TASKS, default=TASKS, help="what to measure (default: all)"
    )
    bench.add_argument("--quick", action="store_true", help="use small data: a few seconds")
    bench.add_argument("--repeats", type=arguments.positive, default=7, help="rounds (default: 7)")
    bench.set_defaults(run=run)


def run(options: argparse.Namespace, printer: Printer) -> None:
    """Measure, and print the table."""
    from .._core import runtime
    from ..experiments._cells import ratio_cell, time_cell
    from ..experiments.speed import measure

    versions = {
        "fasthash": __version__,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "faiss": _version("faiss-cpu"),
    }
    with printer.progress() as progress:
        measured = list(measure(options.tasks, options.quick, options.repeats, progress))
    if printer.as_json:
        content = {
            **versions,
            "instruction_set": runtime.simd_level(),
            "quick": options.quick,
            "repeats": options.repeats,
            "table": [dataclasses.asdict(one) for one in measured],
        }
        printer.result("", content)
        return
    printer.note(
        f"fasthash {__version__}, level {runtime.simd_level()}, one thread; "
        f"numpy {np.__version__}, faiss-cpu {versions['faiss'] or 'not installed'}; "
        f"median (quartiles) of {options.repeats} rounds"
    )
    table = [["task", "", "each", "numpy ÷ fasthash", "faiss ÷ fasthash", "limit ÷ fasthash"]]
    for one in measured:
        limit = f" {one.limit}" if one.limit else ""
        table.append(
            [
                one.task,
                one.what,
                time_cell(one.seconds),
                ratio_cell(one.over_numpy),
                ratio_cell(one.over_faiss),
                ratio_cell(one.over_limit) + limit,
            ]
        )
    print(format_table(table))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
