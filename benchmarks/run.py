"""Measure everything and write the table: `python benchmarks/run.py`.

    --quick               small sizes, two to four minutes: does it run; targets are not judged
    --sections NAME ...   only these
    --data FOLDER         where wiki.npz, uci_digits.npz and openclipart.npz lie, for RREH and all
                          methods, and sentences.npy, for long codes
    --update              put these sections in the place they have in RESULTS.md, with their date
    --output FILE         default: RESULTS.md beside this file; standard output for a partial run

A section is a module with a TITLE and a function `run(context)` that yields tables; SECTIONS lists
them in the order of the report. Progress goes to standard error: every section, and the seconds
until each table.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from types import ModuleType

from threadpoolctl import threadpool_limits

import section_amsh
import section_batched
import section_clsr
import section_clsr_time
import section_jaccard
import section_levels
import section_masks
import section_memory
import section_methods
import section_multi_index
import section_odd_widths
import section_one_query
import section_pairs
import section_partitions
import section_peers
import section_ranking
import section_recall
import section_reconstruct
import section_rreh
import section_rreh_scale
import section_weighted
from limits import Limits, NoCompilerError
from machine import describe
from report import NOT_MET, Context

SECTIONS: dict[str, ModuleType] = {
    "batched": section_batched,
    "levels": section_levels,
    "one-query": section_one_query,
    "odd-widths": section_odd_widths,
    "multi-index": section_multi_index,
    "pairs": section_pairs,
    "partitions": section_partitions,
    "recall": section_recall,
    "ranking": section_ranking,
    "peers": section_peers,
    "masks": section_masks,
    "weighted": section_weighted,
    "jaccard": section_jaccard,
    "memory": section_memory,
    "methods": section_methods,
    "amsh": section_amsh,
    "reconstruct": section_reconstruct,
    "rreh": section_rreh,
    "rreh-scale": section_rreh_scale,
    "clsr": section_clsr,
    "clsr-time": section_clsr_time,
}

RESULTS = Path(__file__).with_name("RESULTS.md")

INTRODUCTION = """\
# Results

Written by `python benchmarks/run.py`; what is measured and how: [README.md](README.md).

Machines differ and are noisy, so only ratios within one run mean something. What stands in a row
was measured in turn, round by round. A figure is the median over rounds of the ratio within a
round, in brackets the quartiles. Answers were compared with the peer's before they were timed.
A section that was measured again says when, and on which processor."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes; targets are not judged")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--repeats", type=int, default=7, help="rounds per measurement")
    parser.add_argument("--output", type=Path, help="file to write")
    parser.add_argument(
        "--update", action="store_true", help="replace sections of the output, or of RESULTS.md"
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of wiki.npz, uci_digits.npz, openclipart.npz, sentences.npy",
    )
    options = parser.parse_args()
    is_partial = options.quick or len(options.sections) < len(SECTIONS)
    output = options.output or (None if is_partial else RESULTS)

    facts = describe()
    try:
        limits = Limits()
    except NoCompilerError as error:
        print(f"no shares of the limit: {error}", file=sys.stderr)
        limits = None
    context = Context(options.quick, options.repeats, limits, options.data)
    introduction = INTRODUCTION
    parts: dict[str, str] = {}
    if options.update:
        output = options.output or RESULTS
        introduction, facts, parts = _read(output.read_text())
    # Peers that multiply matrices stay on one thread, as fasthash does.
    with threadpool_limits(1, "blas"):
        for number, name in enumerate(options.sections, 1):
            section = SECTIONS[name]
            began = time.perf_counter()
            context.progress(f"{name}, section {number} of {len(options.sections)}")
            tables = []
            for table in section.run(context):
                tables.append(table.markdown())
                context.progress(f"  table {len(tables)} after {time.perf_counter() - began:.0f} s")
            if options.update:
                now = dict(describe())
                tables.insert(
                    0,
                    f"Measured again on {now['Date']}; {now['Processor']}, level "
                    f"{now['Instruction-set level']}.",
                )
            parts[section.TITLE] = "\n\n".join([f"## {section.TITLE}", *tables])
            if output is not None:
                # After every section: a run that breaks off leaves what it has measured.
                output.write_text(_document(introduction, facts, context, parts))
    if output is None:
        print(_document(introduction, facts, context, parts))


def _read(document: str) -> tuple[str, list[tuple[str, str]], dict[str, str]]:
    """Introduction, facts and sections of a document, as `_document` wrote them."""
    head, *sections = document.split("\n\n## ")
    introduction = head.split("\n\n- ", 1)[0]
    facts = [line[2:].split(": ", 1) for line in head.splitlines() if line.startswith("- ")]
    parts = {text.split("\n", 1)[0]: f"## {text.rstrip()}" for text in sections}
    return introduction, [(name, value) for name, value in facts], parts


def _document(
    introduction: str, facts: list[tuple[str, str]], context: Context, parts: dict[str, str]
) -> str:
    head = "\n".join(f"- {name}: {value}" for name, value in facts)
    text = "\n\n".join(parts.values())
    if context.quick:
        verdict = "A quick run: the sizes are too small to judge the targets."
    else:
        n_missed = len(re.findall(re.escape(NOT_MET) + "|not measured", text))
        n_met = len(re.findall(r"[,;] met\b", text))
        verdict = f"{n_met} of {n_met + n_missed} targets met."
    return "\n\n".join([introduction, head, verdict, text]) + "\n"


if __name__ == "__main__":
    main()
