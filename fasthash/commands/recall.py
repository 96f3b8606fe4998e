"""``fasthash recall``: measure the recall of a search by codes of embeddings, in a table."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from .._core.validation import check_rows
from ..datasets.readers import read_numbers, split_source
from ..embeddings import METHODS
from . import arguments, inputs
from .printing import Printer, format_table

__all__ = ["declare", "run"]

# If no queries are given, at most this many embeddings are held out as queries.
_MOST_QUERIES = 1000

_LENGTHS = (64, 128, 256, 512, 1024)


def declare(commands: Any) -> None:
    """Describe the command and its options."""
    recall = arguments.add_command(
        commands,
        "recall",
        "compare codes of embeddings with the float search",
        "Measure how many of the nearest embeddings by cosine similarity a search by codes finds. "
        "Codes are made from signs, with ITQ and, for two modalities, with RREH, in several "
        "lengths. The columns are: codes compared with codes; codes compared with weights, which "
        "are the projections of the queries; and, for each of --candidates, as many codes fetched "
        "and sorted by cosine similarity.",
        "fasthash recall --features emoji/emoji.npz:T_tr --queries emoji/emoji.npz:T_te",
    )
    recall.add_argument(
        "--features",
        nargs="+",
        metavar="SOURCE",
        help="embeddings, or MODALITY=SOURCE for each modality (default: those of the emoji)",
    )
    recall.add_argument(
        "--queries",
        nargs="+",
        metavar="SOURCE",
        help="queries, in the form of --features (default: a tenth of --features, held out)",
    )
    arguments.add_columns(recall, "--features and --queries")
    arguments.add_pairs(recall)
    recall.add_argument(
        "--methods",
        nargs="+",
        choices=METHODS,
        help="how to make codes (default: sign and itq; for several modalities also rreh)",
    )
    recall.add_argument(
        "--centre",
        action="store_true",
        help="subtract the means of the embeddings before signs are taken",
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
        help="how many codes to fetch and sort by cosine similarity (default: 50 200)",
    )
    arguments.add_seed(recall, "all random numbers")
    recall.set_defaults(run=run)


def run(options: argparse.Namespace, printer: Printer) -> None:
    """Search by floats and by codes, and print the table."""
    from ..experiments import recall_of_codes

    vectors, queries = _read(options)
    is_one_kind = list(vectors) == [""]
    if len(vectors) < 2 and "rreh" in (options.methods or ()):
        raise ValueError(
            "--methods rreh learns from pairs of two modalities: pass --features image=FILE "
            "text=FILE, or use sign or itq"
        )
    n_features = {name: int(x.shape[1]) for name, x in vectors.items()}
    fewest = min(n_features.values())
    lengths = options.bits or [n for n in (*_LENGTHS, fewest) if n <= fewest]
    with printer.progress() as progress:
        table = recall_of_codes(
            vectors[""] if is_one_kind else vectors,
            queries[""] if is_one_kind else queries,
            methods=options.methods or (METHODS[:2] if is_one_kind else METHODS),
            n_bits=sorted(set(lengths)),
            k=options.k,
            candidates=options.candidates,
            pairs=None if options.pairs is None else inputs.read_pairs(options.pairs, printer),
            centre=options.centre,
            random_state=options.seed,
            callback=progress,
        )
    if printer.as_json:
        content = {
            "n": _one_or_all({name: int(x.shape[0]) for name, x in vectors.items()}),
            "n_queries": _one_or_all({name: int(x.shape[0]) for name, x in queries.items()}),
            "n_features": _one_or_all(n_features),
            "k": options.k,
            "table": [dataclasses.asdict(line) for line in table],
        }
        printer.result("", content)
        return
    described = (
        f"{x.shape[0]} {f'{name} embeddings'.lstrip()} of {x.shape[1]} features, "
        f"{queries[name].shape[0] if name in queries else 0} queries"
        for name, x in vectors.items()
    )
    printer.note(
        f"{'; '.join(described)}; share of the {options.k} nearest by cosine that are found"
    )
    # Rows of the same direction are adjacent.
    directions = list(dict.fromkeys((line.query, line.database) for line in table))
    table.sort(key=lambda line: directions.index((line.query, line.database)))
    rows: dict[tuple[str, str, str, int], list[str]] = {}
    for line in table:
        key = line.method, line.query, line.database, line.n_bits
        start = [line.method] if is_one_kind else [f"{line.query}→{line.database}", line.method]
        row = rows.setdefault(key, [*start, str(line.n_bits)])
        row.append(f"{line.value:.3f}")
    searches = list(dict.fromkeys((line.candidates, line.weights) for line in table))
    header = ["method", "bits", "by codes", "by weights"]
    header += [f"best of {n}" for n, _ in searches[2:]]
    print(format_table([header if is_one_kind else ["search", *header], *rows.values()]))


def _one_or_all(by_modality: dict[str, int]) -> int | dict[str, int]:
    """Return the only number if there is one kind of embeddings, or else all by modality."""
    return by_modality.get("", by_modality)


def _read(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read embeddings and queries by modality; the name of a single kind is ""."""
    from ..datasets import load_emoji, validation_split

    if options.features is None:
        for option in ("queries", "pairs", "columns"):
            if getattr(options, option):
                raise ValueError(f"--{option} goes with --features")
        emoji = load_emoji()
        return _parts(emoji.features, emoji.train, emoji.test)
    vectors = _read_sources("--features", options.features, options.columns)
    if options.queries is not None:
        queries = _read_sources("--queries", options.queries, options.columns)
        if not set(queries) <= set(vectors):
            raise ValueError(
                f"--queries has the modalities {', '.join(queries) or 'none'}, and --features has "
                f"{', '.join(vectors) or 'none'}"
            )
        return vectors, queries
    counts = {name: int(x.shape[0]) for name, x in vectors.items()}
    if options.pairs is not None or len(set(counts.values())) > 1:
        raise ValueError(
            "--queries is missing: rows can only be held out if row i belongs to row i, and "
            + ("--pairs says otherwise" if options.pairs is not None else f"there are {counts}")
        )
    n = next(iter(counts.values()))
    return _parts(
        vectors, *validation_split(n, min(0.1, _MOST_QUERIES / n), random_state=options.seed)
    )


def _parts(
    features: Mapping[str, Any], kept: NDArray[Any], held_out: NDArray[Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    rows = {name: check_rows(x, name or "--features") for name, x in features.items()}
    return (
        {name: x.take(kept) for name, x in rows.items()},
        {name: x.take(held_out) for name, x in rows.items()},
    )


def _read_sources(option: str, sources: list[str], columns: bool) -> dict[str, Any]:
    path = split_source(sources[0])[0]
    if len(sources) == 1 and ("=" not in path or os.path.exists(path)):
        read = {"": read_numbers(sources[0])}
    else:
        read = inputs.read_modalities(option, sources)
    return {name: x.T if columns else x for name, x in read.items()}
