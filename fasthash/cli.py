"""The command line: parses, calls, prints. ``fasthash demo`` and ``fasthash info``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__

__all__ = ["main"]

DEFAULT_QUERIES = ("dog", "rain", "happy face", "fruit", "red heart")


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
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; there is nobody left to tell.
        sys.stderr.close()
        return 1
    except (ImportError, OSError, ValueError) as error:
        print(f"fasthash: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fasthash", description="Binary codes that several modalities share, searched exactly."
    )
    parser.add_argument("--version", action="version", version=f"fasthash {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    demo = commands.add_parser(
        "demo",
        help="learn codes for emoji, score them, search them with words",
        description="Fit AMSH and a CCA-ITQ baseline on the embedded emoji set, print mean average "
        "precision, answer text queries and write a page with pictures.",
        epilog='example: fasthash demo --query "sleepy cat" --bits 32 64 --seeds 1',
    )
    demo.add_argument(
        "--query",
        action="append",
        metavar="WORDS",
        help="words to search glyphs with; may be given several times",
    )
    demo.add_argument(
        "--bits",
        type=_positive,
        nargs="+",
        default=[16, 32, 64, 128],
        help="code lengths to compare (default: 16 32 64 128)",
    )
    demo.add_argument(
        "--seeds",
        type=_positive,
        default=3,
        help="runs per code length, for mean and standard deviation (default: 3)",
    )
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("fasthash-demo.html"),
        help="the page to write (default: fasthash-demo.html)",
    )
    demo.set_defaults(run=_demo)

    info = commands.add_parser(
        "info",
        help="show version, instruction sets, threads and OpenMP",
        description="Show what this installation runs on.",
        epilog="example: FASTHASH_SIMD=scalar fasthash info",
    )
    info.set_defaults(run=_info)
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def _info(options: argparse.Namespace) -> None:
    from . import runtime

    openmp = runtime.openmp_version()
    print(f"fasthash {__version__}, Python {sys.version.split()[0]}, numpy {np.__version__}")
    print(f"instruction sets found  {', '.join(runtime.simd_levels())}")
    print(f"instruction set used    {runtime.simd_level()}")
    print(f"threads                 {runtime.resolve_threads(None)} of {runtime.n_cores()} cores")
    if openmp == 0:
        print("OpenMP                  none: built without it, the kernels run on one thread")
    else:
        print(f"OpenMP                  {_openmp_runtime()}, specification {openmp}")


def _openmp_runtime() -> str:
    from threadpoolctl import threadpool_info

    found = [entry for entry in threadpool_info() if entry["user_api"] == "openmp"]
    return ", ".join(f"{entry['prefix']} ({entry['filepath']})" for entry in found) or "unknown"


def _demo(options: argparse.Namespace) -> None:
    for name in ("matplotlib", "tqdm"):
        if find_spec(name) is None:
            raise ImportError(f"the demo needs {name}: pip install 'fasthash-retrieval[demo]'")
    from tqdm import tqdm

    from . import demo, report
    from .datasets import load_emoji

    began = time.perf_counter()
    if not options.output.parent.is_dir():
        raise FileNotFoundError(f"--output: there is no folder {options.output.parent}")
    data = load_emoji()
    queries = options.query or list(DEFAULT_QUERIES)
    # Words nobody can look up are refused now, not after the work.
    data.text_features(queries)
    print(
        f"{len(data.names)} emoji, {len(data.train)} to learn from, {len(data.test)} held out; "
        f"{len(data.group_names)} groups, {len(data.subgroup_names)} subgroups"
    )

    tasks = [
        (method, n_bits, seed)
        for n_bits in options.bits
        for seed in range(options.seeds)
        for method in demo.METHODS
    ]
    fitted: list[demo.Fitted] = []
    # A log that is no terminal gets a line's worth now and then instead of a moving bar.
    interval = 0.1 if sys.stderr.isatty() else 5
    shape = "{l_bar}{bar:24}| {elapsed}"
    with tqdm(total=len(tasks), bar_format=shape, mininterval=interval) as bar:
        bar.set_description(f"{tasks[0][0]} {tasks[0][1]} bits, run 1")
        for method, n_bits, seed in tasks:
            step = partial(_advance, bar, len(fitted), f"{method} {n_bits} bits, run {seed + 1}")
            fitted.append(demo.fit(data, method, n_bits, seed, step))
            step("scores", 1, 1)
        bar.set_description("done")

    chance = demo.chance(data)
    table = _score_table(fitted, options.bits, chance)
    print("\nmean average precision by Unicode group (mean ± standard deviation over runs)\n")
    _print_table(table)

    # The length most people would use is shown, or the nearest one there is.
    shown = min(options.bits, key=lambda n_bits: abs(n_bits - 64))
    best = [run for run in fitted if run.n_bits == shown and run.seed == 0]
    answers = demo.answer(data, best[0].model, queries, k=12)
    print(f"\nwords to glyphs, {shown} bits: glyph, name, Hamming distance")
    for answer in answers:
        print(f"\n  {answer.query}")
        for row, distance in list(zip(answer.rows, answer.distances, strict=True))[:6]:
            print(f"    {data.characters[row]}  {data.names[row]}  {distance}")

    settings = {
        "fasthash": __version__,
        "AMSH": best[0].model,
        "AMSH labels": "Unicode group and subgroup",
        "CCA-ITQ": best[1].model,
        "code lengths": ", ".join(map(str, options.bits)),
        "seeds": f"0 to {options.seeds - 1}",
        "chance": f"{chance:.3f}",
        "held out": f"{len(data.test)} of {len(data.names)}",
        "seconds": f"{time.perf_counter() - began:.0f}",
    }
    page = report.demo_page(data, table, best, answers, settings)
    options.output.write_text(page, encoding="utf-8")
    print(f"\n{time.perf_counter() - began:.0f} s; the page with pictures: {options.output}")


def _advance(bar: Any, n_finished: int, task: str, stage: str, done: int, total: int) -> None:
    """Name the stage a task is in; the last one, its scores, moves the bar."""
    bar.set_description(f"{task}: {stage}", refresh=False)
    bar.update(n_finished + (stage == "scores") - bar.n)


def _score_table(fitted: Iterable[Any], bits: Sequence[int], chance: float) -> list[list[str]]:
    """Rows of text: a code length, then every method in both directions, then chance."""
    from .demo import DIRECTIONS, METHODS

    columns = [(method, direction) for method in METHODS for direction in DIRECTIONS]
    header = [f"{method} {query}→{target}" for method, (query, target) in columns]
    table = [["bits", *header, "chance"]]
    scores: dict[Any, list[float]] = {}
    for run in fitted:
        for direction, score in run.scores.items():
            scores.setdefault((run.n_bits, run.method, direction), []).append(score)
    for n_bits in bits:
        row = [str(n_bits)]
        for method, direction in columns:
            values = scores[n_bits, method, direction]
            row.append(f"{np.mean(values):.3f} ± {np.std(values):.3f}")
        table.append([*row, f"{chance:.3f}"])
    return table


def _print_table(table: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        print("  " + "  ".join(cells))
