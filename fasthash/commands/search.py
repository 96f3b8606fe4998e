"""``fasthash search``: find the nearest codes, and print them as a table or as lines of JSON."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import hamming
from .._core.pieces import cut
from .._core.suspicious import without_warnings
from .._core.validation import check_rows
from ..codes import pack_signs
from ..datasets.readers import read_numbers, read_texts
from ..embeddings import codes_of_signs, first_columns
from ..reranking import rerank
from . import arguments, inputs
from .codes import add_codes, read_codes
from .encode import add_centre, add_encoding, read_centre
from .fingerprints import (
    add_any_model,
    check_same_model,
    fingerprint_of_codes,
    fingerprint_of_signs,
)
from .index import load_index
from .printing import Printer
from .streams import Queries, StandardInput, code_of_line, features_of_line

__all__ = ["declare", "run"]

# A line of standard input was no query; all others were answered.
STATUS_OF_REFUSED_LINES = 3

# Number of queries that are encoded and searched together. Answers are printed after each block.
_BLOCK_ROWS = 1024


def declare(commands: Any) -> None:
    """Describe the command and its options."""
    search = arguments.add_command(
        commands,
        "search",
        "find the nearest codes of an index",
        "Search an index with codes, or with features and a model. Answers to features are ranked "
        "by weights, and answers to codes by Hamming distance. They are printed as they are found, "
        "the best first. If the source is -, each line of standard input is a "
        "query: a JSON list of features, or a code in hexadecimal. A line that is neither is "
        "reported on standard error with its number, the others are answered, and the exit status "
        "at the end is 3.",
        "fasthash search emoji.index --model emoji.model --modality text "
        "--features emoji/emoji.npz:T_te --rows 0:3 -k 5 --names emoji/train.csv:name",
    )
    search.add_argument("index", metavar="INDEX", help="the index file")
    add_codes(search, "queries")
    add_encoding(search)
    search.add_argument(
        "--rows",
        type=arguments.row_range,
        metavar="START:STOP",
        default=slice(0, None),
        help="which rows of the source are queries (default: all)",
    )
    how_far = search.add_mutually_exclusive_group()
    how_far.add_argument(
        "-k", type=arguments.positive, default=10, help="how many to find (default: 10)"
    )
    how_far.add_argument(
        "--radius", type=arguments.whole, help="find all within this many bits instead"
    )
    search.add_argument(
        "--recall",
        type=arguments.share,
        metavar="SHARE",
        help="search approximately: the mean share of the exact answers by Hamming distance that "
        "is found, such as .99; of use for an index that was built with --partitions",
    )
    search.add_argument(
        "--weights",
        action=argparse.BooleanOptionalAction,
        help="compare codes with the projections of --features as weights, and show scores too "
        "(default with --features and -k, without --rerank); --no-weights ranks by Hamming "
        "distance, which need not scan all codes",
    )
    embeddings = search.add_argument_group("embeddings")
    embeddings.add_argument(
        "--signs", action="store_true", help="encode --features by their signs, without a model"
    )
    add_centre(embeddings, "--signs")
    embeddings.add_argument(
        "--rerank",
        metavar="SOURCE",
        help="embeddings of the indexed items, row i for id i: more codes are fetched, and sorted "
        "by cosine similarity to --features",
    )
    embeddings.add_argument(
        "--candidates",
        type=arguments.positive,
        help="with --rerank, how many codes to fetch (default: 10 times -k)",
    )
    search.add_argument("--filter", metavar="SOURCE", help="an array of ids; only these are found")
    search.add_argument(
        "--names",
        metavar="SOURCE",
        help="texts to show next to ids, such as captions.csv:caption; row i is the text of id i",
    )
    search.add_argument(
        "--query-names", metavar="SOURCE", help="texts to show for queries; row i is query i"
    )
    search.add_argument(
        "--format",
        choices=("table", "jsonl"),
        help="how to print (default: table; with --json: jsonl, a line per query)",
    )
    add_any_model(search)
    search.set_defaults(run=run)


def run(options: argparse.Namespace, printer: Printer) -> int:
    """Search block by block, and print answers as they are found; return the exit status."""
    index = load_index(options.index, mmap=True)
    names = None if options.names is None else read_texts(options.names)
    query_names = None if options.query_names is None else read_texts(options.query_names)
    allowed = None if options.filter is None else inputs.read_ids(options.filter)
    vectors = None if options.rerank is None else read_numbers(options.rerank)
    if vectors is not None and (options.features is None or options.radius is not None):
        raise ValueError("--rerank goes with --features and -k")
    if options.candidates is not None and vectors is None:
        raise ValueError("--candidates goes with --rerank")
    has_weights = options.features is not None and options.radius is None and vectors is None
    if options.weights and not has_weights:
        raise ValueError("--weights goes with --features and -k, and not with --rerank")
    if options.weights is None:
        options.weights = has_weights
    if options.recall is not None and (options.weights or options.radius is not None):
        raise ValueError(
            "--recall goes with -k and a search by Hamming distance: leave --radius out, and with "
            "--features pass --no-weights or --rerank"
        )
    if names is not None:
        inputs.note_missing_rows("--names", len(names), index.ids, printer)
    as_json = options.format == "jsonl" or (options.format is None and printer.as_json)
    queries = _queries(options, index, printer)
    if options.weights and not as_json:
        printer.note("ranked by weights; the columns are Hamming distance, score and id")
    for numbers, x, codes in queries:
        if options.features is not None:
            _note_zero_queries(numbers, x, printer)
        answers: Iterator[tuple[NDArray[Any], ...]]
        if options.weights:
            answers = _weighted(index, codes, options, allowed)
        elif vectors is None:
            answers = _answers(index, codes, options, allowed)
        else:
            answers = _reranked(index, codes, x, vectors, options, allowed)
        for query, (distances, ids, *scores) in zip(numbers, answers, strict=True):
            answer = {
                "query": query,
                "query_name": _name(query_names, query),
                "ids": ids.tolist(),
                "distances": distances.tolist(),
                "scores": scores[0].tolist() if scores else None,
                "names": None if names is None else [_name(names, id_) for id_ in ids.tolist()],
            }
            shown = {key: value for key, value in answer.items() if value is not None}
            print(json.dumps(shown, ensure_ascii=False) if as_json else _as_text(shown))
        sys.stdout.flush()
    n_refused = queries.n_refused if isinstance(queries, StandardInput) else 0
    return STATUS_OF_REFUSED_LINES if n_refused else 0


def _queries(options: argparse.Namespace, index: Any, printer: Printer) -> Iterable[Queries]:
    """Return the blocks of queries."""
    if (options.codes is None) == (options.features is None):
        raise ValueError("pass either --codes SOURCE, or --model FILE and --features SOURCE")
    source = options.codes if options.features is None else options.features
    if options.read_as is not None and (options.codes is None or source == "-"):
        raise ValueError("--read-as goes with --codes and a file")
    encode, read, made_by = _encoder_and_reader(options, index.n_bits, printer)
    encode = partial(_encoded_silently, encode)
    check_same_model(
        options.index, index, made_by, options.model or options.codes or "--signs", options.force
    )
    if source == "-":
        parse: Callable[[bytes], NDArray[Any]] = features_of_line
        if options.features is None:
            parse = partial(code_of_line, n_bits=index.n_bits)
        return StandardInput(parse, encode, options.rows)
    return _queries_of_file(source, read(source), encode, options)


def _queries_of_file(
    source: str,
    everything: Any,
    encode: Callable[[Any], NDArray[Any]],
    options: argparse.Namespace,
) -> Iterator[Queries]:
    start, stop, _ = options.rows.indices(everything.shape[0])
    if start >= stop:
        raise ValueError(
            f"--rows selects no rows: {source} has {everything.shape[0]} rows, numbered from 0"
        )
    for rows in cut(stop - start, most=_BLOCK_ROWS):
        numbers = range(start + rows.start, start + rows.stop)
        x = everything[numbers.start : numbers.stop]
        yield Queries(numbers, x, encode(x))


def _encoder_and_reader(
    options: argparse.Namespace, n_bits: int, printer: Printer
) -> tuple[Callable[[Any], NDArray[Any]], Callable[[str], Any], str | None]:
    """
    Return functions that encode queries and read them from a file, and what makes the codes.

    With --weights, the first function returns the weights of the queries.
    """
    if options.centre is not None and not options.signs:
        raise ValueError("--centre goes with --signs")
    if options.features is None:
        return (
            np.asarray,
            lambda source: read_codes(source, n_bits, options.read_as)[0],
            fingerprint_of_codes(options.codes, options.model, (n_bits + 7) // 8),
        )
    if options.signs:
        if options.model is not None:
            raise ValueError("--signs need no --model")
        make_signs = _first_features if options.weights else codes_of_signs
        centre: Any = False
        of_means = None
        if options.centre is not None:
            centre, of_means = read_centre(options.centre)
        return (
            lambda x: make_signs(x, n_bits=n_bits, centre=centre),
            read_numbers,
            fingerprint_of_signs(n_bits, of_means),
        )
    if options.model is None:
        raise ValueError("--model is missing: --features are encoded by a model, or by --signs")
    model = inputs.load_model(options.model)
    modality = inputs.check_modality(model, options.modality)
    make = inputs.project if options.weights else inputs.encode
    return (
        lambda x: make(model, modality, x),
        lambda source: inputs.read_model_features(
            source, model, modality, printer, options.columns
        ),
        model.fingerprint(),
    )


def _answers(
    index: Any, codes: NDArray[np.uint8], options: argparse.Namespace, allowed: NDArray[Any] | None
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
    """Yield the distances and ids of the answers to each query."""
    if options.radius is not None:
        limits, distances, ids = index.within(codes, options.radius, filter=allowed)
        for start, stop in itertools.pairwise(limits):
            yield distances[start:stop], ids[start:stop]
        return
    # The answers of more than all codes would take memory for nothing.
    k = min(options.k, max(len(index), 1))
    for distances, ids in zip(
        *index.search(codes, k, recall=options.recall, filter=allowed), strict=True
    ):
        is_found = ids >= 0
        yield distances[is_found], ids[is_found]


def _weighted(
    index: Any,
    weights: NDArray[np.floating],
    options: argparse.Namespace,
    allowed: NDArray[Any] | None,
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]]:
    """Yield the distances, ids and scores of the answers to each query, sorted by scores."""
    k = min(options.k, max(len(index), 1))
    codes = pack_signs(weights)
    for code, scores, ids in zip(
        codes, *index.search(weights=weights, k=k, filter=allowed), strict=True
    ):
        found = ids[ids >= 0]
        yield (
            hamming.distances(code[None], index.reconstruct(found))[0],
            found,
            scores[: len(found)],
        )


def _first_features(x: Any, *, n_bits: int, centre: Any) -> NDArray[np.floating]:
    """Return the features whose signs are the code, less their means if given."""
    rows = check_rows(x, "--features")
    if rows.shape[1] < n_bits:
        raise ValueError(f"--features has {rows.shape[1]} columns, and the codes {n_bits} bits")
    return first_columns(rows, n_bits, None if centre is False else centre)


def _reranked(
    index: Any,
    codes: NDArray[np.uint8],
    x: Any,
    vectors: Any,
    options: argparse.Namespace,
    allowed: NDArray[Any] | None,
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int64]]]:
    """Yield the distances and ids of the answers to each query, sorted by cosine similarity."""
    k = min(options.k, max(len(index), 1))
    n_candidates = min(max(options.candidates or 10 * k, k), max(len(index), 1))
    distances, ids = index.search(codes, n_candidates, recall=options.recall, filter=allowed)
    with without_warnings():
        _, best_of_all = rerank(x, vectors, ids, k)
    for far, near, best in zip(distances, ids, best_of_all, strict=True):
        best = best[best >= 0]
        by_id = np.argsort(near, kind="stable")
        yield far[by_id[np.searchsorted(near, best, sorter=by_id)]], best


def _note_zero_queries(numbers: Sequence[int], x: Any, printer: Printer) -> None:
    """Note the queries whose features are all zero, by the numbers that the answers have."""
    with without_warnings():
        rows = check_rows(x, "--features")
    # A single feature may well be 0.
    for row in rows.inspect(np.inf)[1] if rows.shape[1] > 1 else ():
        printer.note(
            f"warning: all features of query {numbers[row]} are zero, so its answers have no "
            "meaning (often a text of unknown words)"
        )


def _encoded_silently(encode: Callable[[Any], NDArray[Any]], x: Any) -> NDArray[Any]:
    """Encode a block of queries without the warnings that count rows of the block."""
    with without_warnings():
        return encode(x)


def _name(names: NDArray[Any] | None, row: int) -> str | None:
    if names is None or row >= len(names):
        return None
    return str(names[row])


def _as_text(answer: dict[str, Any]) -> str:
    title = f"query {answer['query']}"
    if "query_name" in answer:
        title += f"  {answer['query_name']}"
    lines = [title]
    ids, distances = answer["ids"], answer["distances"]
    width = max((len(str(id_)) for id_ in ids), default=1)
    for i, (id_, distance) in enumerate(zip(ids, distances, strict=True)):
        name = f"  {answer['names'][i] or ''}" if "names" in answer else ""
        score = f"  {answer['scores'][i]:>9.4g}" if "scores" in answer else ""
        lines.append(f"  {distance:>4}{score}  {id_:>{width}}{name}".rstrip())
    if not ids:
        lines.append("  nothing found")
    return "\n".join(lines)
