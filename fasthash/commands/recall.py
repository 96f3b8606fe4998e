"""``fasthash recall``: what codes of embeddings find of the nearest by float search, in a table."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from ..datasets.readers import read_numbers
from . import arguments
from .printing import Printer, format_table

__all__ = ["declare", "run"]

# Queries held out of embeddings that come without any.
_MOST_QUERIES = 1000

_LENGTHS = (64, 128, 256, 512, 1024)


def declare(commands: Any) -> None:
    """Describe the command and its options."""
    recall = arguments.add_command(
        commands,
        "recall",
        "compare codes of embeddings with the float search",
        "How many of the nearest embeddings by cosine a search by codes finds: by signs and by "
        "ITQ, for several code lengths, and when more codes are fetched and put in the order of "
        "their cosines.",
        "fasthash recall --features emoji/emoji.npz:T_tr --queries emoji/emoji.npz:T_te",
    )
    recall.add_argument(
        "--features", metavar="SOURCE", help="embeddings (default: those of the emoji's texts)"
    )
    recall.add_argument(
        "--queries", metavar="SOURCE", help="of queries (default: a tenth, held out at random)"
    )
    recall.add_argument(
        "--methods", nargs="+", choices=("sign", "itq"), default=["sign", "itq"], help="of coding"
    )
    recall.add_argument(
        "--bits",
        type=arguments.positive,
        nargs="+",
        help="code lengths (default: powers of two from 64, and the number of features)",
    )
    recall.add_argument(
        "-k", type=arguments.positive, default=10, help="how many to find (default: 10)"
    )
    recall.add_argument(
        "--candidates",
        type=arguments.positive,
        nargs="*",
        default=[50, 200],
        help="how many codes to fetch and put in order (default: 50 200)",
    )
    recall.add_argument("--seed", type=arguments.whole, default=0, help="(default: 0)")
    recall.set_defaults(run=run)


def run(options: argparse.Namespace, printer: Printer) -> None:
    """Search by floats and by codes, and print the table."""
    from ..embeddings import recall_of_codes

    vectors, queries = _read(options)
    n_features = int(vectors.shape[1])
    lengths = options.bits or [n for n in (*_LENGTHS, n_features) if n <= n_features]
    with printer.progress() as progress:
        table = recall_of_codes(
            vectors,
            queries,
            methods=options.methods,
            n_bits=sorted(set(lengths)),
            k=options.k,
            candidates=options.candidates,
            random_state=options.seed,
            callback=progress,
        )
    if printer.as_json:
        content = {
            "n": int(vectors.shape[0]),
            "n_queries": int(queries.shape[0]),
            "n_features": n_features,
            "k": options.k,
            "table": [dataclasses.asdict(line) for line in table],
        }
        printer.result("", content)
        return
    printer.note(
        f"{vectors.shape[0]} embeddings of {n_features} features, {queries.shape[0]} queries; "
        f"share of the {options.k} nearest by cosine that are found"
    )
    columns = list(dict.fromkeys(line.candidates for line in table))
    rows: dict[tuple[str, int], list[str]] = {}
    for line in table:
        row = rows.setdefault((line.method, line.n_bits), [line.method, str(line.n_bits)])
        row.append(f"{line.value:.3f}")
    header = ["method", "bits", "by codes", *(f"best of {n}" for n in columns[1:])]
    print(format_table([header, *rows.values()]))


def _read(options: argparse.Namespace) -> tuple[Any, Any]:
    """Embeddings and queries."""
    from ..datasets import load_emoji, validation_split
    from ..validation import check_rows

    if options.features is None:
        if options.queries is not None:
            raise ValueError("--queries goes with --features")
        emoji = load_emoji()
        text = emoji.features["text"]
        return text[emoji.train], text[emoji.test]
    vectors = read_numbers(options.features)
    if options.queries is not None:
        return vectors, read_numbers(options.queries)
    n = int(vectors.shape[0])
    kept, held_out = validation_split(n, min(0.1, _MOST_QUERIES / n), options.seed)
    rows = check_rows(vectors, "--features")
    return rows.take(kept), rows.take(held_out)
