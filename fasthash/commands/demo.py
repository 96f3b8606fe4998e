"""``fasthash demo``: learn codes for the emoji data set, score and search them, write a page."""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import time
from collections.abc import Iterable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from .._core.files import replacing
from . import arguments
from .outputs import OutputFile, add_force, check_output
from .printing import Printer, format_table

__all__ = ["declare", "run"]

DEFAULT_QUERIES = ("dog", "rain", "happy face", "fruit", "red heart")
# Options that do not go with --files, which fits nothing and writes no page.
_OF_THE_PAGE: dict[str, Any] = {
    "query": None,
    "bits": [16, 32, 64, 128],
    "seeds": 3,
    "output": Path("fasthash-demo.html"),
}


def declare(commands: Any) -> None:
    """Describe the command and its options."""
    demo = arguments.add_command(
        commands,
        "demo",
        "learn codes for emoji, score them, search them with words",
        "Fit AMSH and a CCA-ITQ baseline on the embedded emoji set, print mean average "
        "precision, answer text queries and write a page that answers any words in the browser.",
        'fasthash demo --query "sleepy cat" --bits 32 64 --seeds 1',
    )
    demo.add_argument(
        "--query",
        action="append",
        metavar="WORDS",
        help="words to search the pictures by; may be given several times",
    )
    demo.add_argument(
        "--bits",
        type=arguments.positive,
        nargs="+",
        default=_OF_THE_PAGE["bits"],
        help="code lengths to compare (default: 16 32 64 128)",
    )
    demo.add_argument(
        "--seeds",
        type=arguments.positive,
        default=_OF_THE_PAGE["seeds"],
        help="runs per code length, for mean and standard deviation (default: 3)",
    )
    demo.add_argument(
        "--output",
        type=OutputFile(lambda options: "html" if options.files is None else None),
        default=_OF_THE_PAGE["output"],
        help="the page to write (default: fasthash-demo.html)",
    )
    demo.add_argument(
        "--files",
        type=Path,
        metavar="FOLDER",
        help="only write the emoji features to plain files in this folder, for the other commands",
    )
    add_force(demo)
    demo.set_defaults(run=run)


def run(options: argparse.Namespace, printer: Printer) -> None:
    """Fit, score, search and write the page; or write the data to files."""
    if options.files is not None:
        for name, default in _OF_THE_PAGE.items():
            if getattr(options, name) != default:
                raise ValueError(f"--{name} goes with the page, which --files does not write")
        _write_files(options.files, options.force, printer)
        return

    if find_spec("matplotlib") is None:
        raise ImportError("the demo needs matplotlib: pip install 'fasthash-retrieval[demo]'")
    from ..datasets import load_emoji
    from ..pages import demo, demo_page

    began = time.perf_counter()
    say = printer.say
    data = load_emoji()
    queries = options.query or list(DEFAULT_QUERIES)
    # Unknown words are refused before the models are fitted.
    data.text_features(queries)
    say(
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
    with printer.progress() as progress:
        for done, (method, n_bits, seed) in enumerate(tasks):
            step = partial(_advance, progress, done, len(tasks), f"{method} {n_bits} bits")
            fitted.append(demo.fit(data, method, n_bits, seed, step))

    chance = demo.chance(data)
    table = _score_table(fitted, options.bits, chance)
    say("\nmean average precision by Unicode group (mean ± standard deviation over runs)\n")
    say(format_table(table))

    # Show the usual length of 64 bits, or the length that is nearest to it.
    shown = min(options.bits, key=lambda n_bits: abs(n_bits - 64))
    best = [run for run in fitted if run.n_bits == shown and run.seed == 0]
    answers = demo.answer(data, best[0].model, queries, k=12)
    say(
        f"\nwords to glyphs, {shown} bits: glyph, name, score, number of glyphs with this score, "
        "Hamming distance, and what it means"
    )
    say(demo.RANKED_BY)
    for answer in answers:
        bands = [answer.scale.band(distance) for distance in answer.distances.tolist()]
        is_weak = answer.scale.is_weak(answer.distances.tolist())
        say(f"\n  {answer.query}{'  (weak: no answer is close)' if is_weak else ''}")
        for word, similar in answer.unknown.items():
            perhaps = f"; did you mean {', '.join(similar)}?" if similar else ""
            say(f"    {word!r} is not known, and was left out{perhaps}")
        found = zip(answer.rows, answer.scores, answer.ties, answer.distances, bands, strict=True)
        for row, score, ties, distance, band in itertools.islice(found, 6):
            glyph = f"{data.characters[row]}  {data.names[row]}"
            say(f"    {glyph}  {score:.4g}  {ties}  {distance}  {band}")

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
    page = demo_page.demo_page(data, table, best, answers, settings)
    with replacing(options.output) as file:
        file.write(page.encode())
    say(f"\n{time.perf_counter() - began:.0f} s; the page with pictures: {options.output}")
    if printer.as_json:
        printer.result(
            "",
            {
                "page": str(options.output),
                "table": table,
                "answers": {
                    one.query: [data.names[row] for row in one.rows.tolist()] for one in answers
                },
                "unknown_words": {one.query: one.unknown for one in answers},
            },
        )


def _write_files(folder: Path, force: bool, printer: Printer) -> None:
    """Write the training and test samples under their usual names, with texts and pictures."""
    from ..datasets import load_emoji
    from ..pages import demo

    data = load_emoji()
    _check_files(folder, np.concatenate([data.train, data.test]), force)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    labels = demo.labels(data)
    arrays: dict[str, Any] = {}
    for part, rows in (("tr", data.train), ("te", data.test)):
        arrays |= {
            f"I_{part}": data.features["image"][rows],
            f"T_{part}": data.features["text"][rows],
            f"L_{part}": labels[rows],
        }
    with replacing(folder / "emoji.npz") as file:
        np.savez(file, **arrays)
    for part, rows in (("train", data.train), ("test", data.test)):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", "glyph", "group", "picture"])
        for row in rows:
            group = data.group_names[data.groups[row]]
            picture = f"pictures/{row}.png"
            with replacing(folder / picture, synced=False) as file:
                file.write(data.thumbnail(row))
            writer.writerow([data.names[row], data.characters[row], group, picture])
        with replacing(folder / f"{part}.csv") as file:
            file.write(text.getvalue().encode())
    with replacing(folder / "labels.txt") as file:
        file.write("\n".join((*data.group_names, *data.subgroup_names)).encode())
    names = ("emoji.npz", "train.csv", "test.csv", "labels.txt", "pictures")
    written = [str(folder / name) for name in names]
    printer.result(
        f"{', '.join(written)}: {len(data.train)} emoji to learn from, {len(data.test)} held out",
        {"files": written, "train": len(data.train), "test": len(data.test)},
    )


def _check_files(folder: Path, rows: Iterable[int], force: bool) -> None:
    """Refuse to replace files of the user."""
    kinds = {"emoji.npz": "npz", "train.csv": "csv", "test.csv": "csv", "labels.txt": "txt"}
    for name, kind in (*kinds.items(), *((f"pictures/{row}.png", "png") for row in rows)):
        check_output(folder / name, kind, force)


def _advance(
    progress: Any, n_fitted: int, n_tasks: int, task: str, stage: str, done: int, total: int
) -> None:
    """Show the stage of a task; the bar advances with every task."""
    progress(f"{task}: {stage}", n_fitted, n_tasks)


def _score_table(fitted: Iterable[Any], bits: Sequence[int], chance: float) -> list[list[str]]:
    """Make rows of cells: a code length, the scores of each method and direction, chance."""
    from ..pages.demo import DIRECTIONS, METHODS

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
