"""``fasthash duplicates``: groups of near-duplicates, printed, written and shown on a page."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._core.files import replacing
from ..datasets.readers import read_texts
from ..hamming import distances
from . import arguments
from .codes import add_read_as, read_codes
from .outputs import OutputFile, add_force
from .printing import Printer

if TYPE_CHECKING:
    from ..pages.duplicates import Group
    from ..pages.pictures import PictureFiles

__all__ = ["declare", "run"]

# Number of groups of a page.
_MOST_SHOWN = 500


def declare(commands: Any) -> None:
    """Describe the command and its options."""
    duplicates = arguments.add_command(
        commands,
        "duplicates",
        "find groups of near-duplicates",
        "Put codes, or a column of hashes, into groups of near-duplicates, and print the groups of "
        "two or more codes. Two codes within the radius are in one group, and so are codes that a "
        "chain of such pairs connects. The exit status is 0 whether there are duplicates or not.",
        "fasthash duplicates image-codes.npz --radius 2 --names emoji/train.csv:name",
    )
    duplicates.add_argument(
        "codes",
        metavar="SOURCE",
        help="packed codes, uint8, or a column of hashes, hexadecimal text or integers, such as "
        "hashes.csv:phash",
    )
    add_read_as(duplicates)
    duplicates.add_argument(
        "--bits",
        type=arguments.positive,
        help="length of the codes (default: 8 bits per byte); needed for hashes that are integers",
    )
    duplicates.add_argument(
        "--radius",
        type=arguments.whole,
        required=True,
        help="largest number of bits in which two near-duplicates differ; 0 finds equal codes",
    )
    duplicates.add_argument(
        "--max-diameter",
        type=arguments.whole,
        metavar="BITS",
        help="split groups, so that no two codes of a group differ in more bits (default: groups "
        "are not split)",
    )
    duplicates.add_argument(
        "--representative",
        choices=("first", "medoid"),
        default="first",
        help="which code stands for its group: the first one, or the one nearest to all others "
        "(default: first)",
    )
    duplicates.add_argument(
        "--names",
        metavar="SOURCE",
        help="texts to show for codes, such as hashes.csv:file; row i is the text of code i",
    )
    duplicates.add_argument(
        "--format",
        choices=("table", "jsonl"),
        help="how to print (default: table; with --json: jsonl, a line per group)",
    )
    duplicates.add_argument(
        "--output",
        type=OutputFile("csv"),
        metavar="FILE",
        help="write the groups to a .csv or .tsv file, with a line for each code of a group, and "
        "print their numbers alone",
    )
    duplicates.add_argument(
        "--page",
        type=OutputFile("html"),
        metavar="FILE",
        help=f"also write an HTML file that shows the largest groups, at most {_MOST_SHOWN}",
    )
    duplicates.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        help="with --page, the folder of the PNG, JPEG, GIF or WebP files that --names lists; "
        "files outside of it are refused",
    )
    add_force(duplicates)
    duplicates.set_defaults(run=run)


def run(options: argparse.Namespace, printer: Printer) -> None:
    """Find the groups, then print and write them."""
    if options.pictures is not None and (options.page is None or options.names is None):
        raise ValueError("--pictures goes with --page and --names")
    if options.format is not None and options.output is not None:
        raise ValueError("--format is for groups that are printed: leave it out with --output")
    if options.pictures is not None and not options.pictures.is_dir():
        raise ValueError(f"--pictures: there is no folder {options.pictures}")
    if options.max_diameter is not None and options.max_diameter < options.radius:
        raise ValueError(
            f"--max-diameter {options.max_diameter} is less than --radius {options.radius}: near "
            "duplicates would be too far from each other"
        )
    codes, n_bits = read_codes(options.codes, options.bits, options.read_as)
    names = None if options.names is None else read_texts(options.names)
    if names is not None and len(names) != len(codes):
        raise ValueError(
            f"--names has {len(names)} rows, and {options.codes} has {len(codes)} codes"
        )
    pictures = None
    if options.pictures is not None and names is not None:
        from ..pages.pictures import PictureFiles

        pictures = PictureFiles(options.pictures, names.tolist())
    groups = list(_find(codes, options))
    n_found = sum(len(group.rows) for group in groups)
    said = (
        f"{len(codes):,} codes of {n_bits} bits: {n_found:,} of them in {len(groups):,} "
        f"group{'s' * (len(groups) != 1)} of near-duplicates; {n_found - len(groups):,} would go "
        "if one of each group stayed"
    )
    if options.page is not None:
        _write_page(groups, names, pictures, options, said)
    if options.output is not None:
        with replacing(options.output) as file:
            mark = "\t" if options.output.suffix.lower() == ".tsv" else ","
            file.write(_as_csv(groups, names, mark).encode())
        content = {"codes": len(codes), "bits": n_bits, "groups": len(groups), "in_groups": n_found}
        printer.result(said, content)
        return
    as_json = options.format == "jsonl" or (options.format is None and printer.as_json)
    for number, group in enumerate(groups):
        print(_as_json(number, group, names) if as_json else _as_text(number, group, names))
    printer.note(said)


def _find(codes: NDArray[np.uint8], options: argparse.Namespace) -> Iterator[Group]:
    """Yield the groups of two or more codes, in the order of their first rows."""
    from ..neighbors import duplicate_groups
    from ..pages.duplicates import Group

    found = duplicate_groups(
        codes,
        options.radius,
        max_diameter=options.max_diameter,
        representative=options.representative,
    )
    order = np.argsort(found.labels, kind="stable")
    sizes = np.bincount(found.labels, minlength=len(found.representatives))
    ends = np.cumsum(sizes)
    for group in np.flatnonzero(sizes > 1):
        rows = order[ends[group] - sizes[group] : ends[group]]
        representative = int(found.representatives[group])
        apart = distances(codes[[representative]], codes[rows], n_threads=1)[0]
        yield Group(representative, rows.tolist(), apart.tolist())


def _as_text(number: int, group: Group, names: NDArray[Any] | None) -> str:
    lines = [f"group {number}  {len(group.rows)} codes"]
    width = len(str(group.rows[-1]))
    for row, distance in zip(group.rows, group.distances, strict=True):
        mark = "*" if row == group.representative else " "
        name = "" if names is None else f"  {names[row]}"
        lines.append(f"{mark} {distance:>4}  {row:>{width}}{name}")
    return "\n".join(lines)


def _as_json(number: int, group: Group, names: NDArray[Any] | None) -> str:
    content: dict[str, Any] = {"group": number, **vars(group)}
    if names is not None:
        content["names"] = names[group.rows].tolist()
    return json.dumps(content, ensure_ascii=False)


def _as_csv(groups: Sequence[Group], names: NDArray[Any] | None, delimiter: str) -> str:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    header = ["group", "row", "distance", "is_representative"]
    writer.writerow(header if names is None else [*header, "name"])
    for number, group in enumerate(groups):
        for row, distance in zip(group.rows, group.distances, strict=True):
            line: list[Any] = [number, row, distance, int(row == group.representative)]
            writer.writerow(line if names is None else [*line, names[row]])
    return file.getvalue()


def _write_page(
    groups: Sequence[Group],
    names: NDArray[Any] | None,
    pictures: PictureFiles | None,
    options: argparse.Namespace,
    said: str,
) -> None:
    from ..pages.duplicates import duplicates_page

    # The sort is stable: groups of one size stay in the order of their first rows.
    largest = sorted(groups, key=lambda group: -len(group.rows))[:_MOST_SHOWN]
    settings = {
        "radius": options.radius,
        "largest diameter": "not limited" if options.max_diameter is None else options.max_diameter,
        "representative": options.representative,
        "shown": f"the {len(largest)} largest groups" if len(largest) < len(groups) else "all",
    }
    texts = None if names is None else names.tolist()
    page = duplicates_page(said, largest, texts, pictures, settings)
    with replacing(options.page) as file:
        file.write(page.encode())
