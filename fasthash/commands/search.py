"""``fasthash search``: find the nearest codes, and print them as a table or as lines of JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._core.pieces import cut
from .._core.suspicious import without_warnings
from .._core.validation import check_rows
from ..datasets.readers import read_numbers, read_texts
from ..embeddings import codes_of_signs, first_columns
from ..fusion import LARGEST_FACTOR
from ..index import HammingIndex
from . import arguments, inputs
from .answers import Fused, Search, as_members, as_text
from .clusters import add_cluster, connected
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
from .text_search import search_texts

if TYPE_CHECKING:
    from ..metrics import DistanceScale

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
        "at the end is 3. So is a --text without a known word.",
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
        "is found, such as .99; of use for an index that was built with --partitions. With "
        "--filter, the search is exact until it has taken as long as calibrating the filter takes",
    )
    search.add_argument(
        "--weights",
        action=argparse.BooleanOptionalAction,
        help="compare codes with the projections of --features as weights, and show scores too "
        "(default with --features and -k, without --rerank); --no-weights ranks by Hamming "
        "distance, which need not scan all codes",
    )
    several = search.add_argument_group("items with several codes")
    several.add_argument(
        "--fuse",
        nargs="+",
        default=[],
        metavar="INDEX",
        help="indexes of other codes of the same items, with the same ids: a query is compared "
        "with all codes of an item, and the distances are added up",
    )
    several.add_argument(
        "--factors",
        nargs="+",
        type=arguments.positive,
        metavar="N",
        help="with --fuse, the factor of each distance, from 1 to 31, that of INDEX first "
        "(default: 1)",
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
        "by cosine similarity to --features; for a CLSR model the latents by 'encode --latents', "
        "which are compared with those of --features",
    )
    embeddings.add_argument(
        "--candidates",
        type=arguments.positive,
        help="with --rerank, how many codes to fetch (default: 10 times -k)",
    )
    search.add_argument(
        "--ties",
        action="store_true",
        help="also show how many items have the distance of an answer, or its score: the order "
        "among them says nothing; a query is then searched again while more items tie",
    )
    texts = search.add_argument_group("texts")
    texts.add_argument(
        "--text",
        nargs="+",
        metavar="TEXT",
        help="queries: texts, whose words are compared with those of --names; with --words and "
        "--model the codes are compared too",
    )
    texts.add_argument(
        "--words",
        metavar="MODULE:FUNCTION",
        help="your function that turns a list of texts into features, as in 'serve'",
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
    add_cluster(search, "search a folder of shards, which 'fasthash index build --cluster' made,")
    search.set_defaults(run=run)


def run(options: argparse.Namespace, printer: Printer) -> int:
    """Search block by block, and print answers as they are found; return the exit status."""
    as_json = options.format == "jsonl" or (options.format is None and printer.as_json)
    if options.text is not None:
        if options.cluster is not None:
            raise ValueError("--text goes with index files: leave it or --cluster out")
        return STATUS_OF_REFUSED_LINES if search_texts(options, as_json, printer) else 0
    if options.words is not None:
        raise ValueError("--words goes with --text")
    if options.cluster is None:
        return _search(options, load_index(options.index, mmap=True), as_json, printer)
    if options.fuse:
        raise ValueError("--fuse goes with index files: leave it or --cluster out")
    from ..distributed import ShardedIndex

    with connected(options.cluster) as client:
        index = ShardedIndex.load(options.index, client=client)
        return _search(options, index, as_json, printer)


def _search(options: argparse.Namespace, index: Any, as_json: bool, printer: Printer) -> int:
    names = None if options.names is None else read_texts(options.names)
    query_names = None if options.query_names is None else read_texts(options.query_names)
    allowed: Any = None if options.filter is None else inputs.read_ids(options.filter)
    vectors = None if options.rerank is None else read_numbers(options.rerank)
    if vectors is not None and (options.features is None or options.radius is not None):
        raise ValueError("--rerank goes with --features and -k")
    if options.candidates is not None and vectors is None:
        raise ValueError("--candidates goes with --rerank")
    if options.ties and vectors is not None:
        raise ValueError("--ties goes with a search by distance or by --weights, not --rerank")
    has_weights = options.features is not None and options.radius is None and vectors is None
    if options.weights and not has_weights:
        raise ValueError("--weights goes with --features and -k, and not with --rerank")
    if options.weights is None:
        options.weights = has_weights
    if options.recall == 1:
        # This is the exact search, which goes with everything.
        options.recall = None
    if options.recall is not None and (options.weights or options.radius is not None):
        raise ValueError(
            "--recall goes with -k and a search by Hamming distance: leave --radius out, and with "
            "--features pass --no-weights or --rerank"
        )
    if options.recall is not None and options.ties:
        raise ValueError("--ties goes with an exact search: leave --recall out")
    if names is not None:
        inputs.note_missing_rows("--names", len(names), index.ids, printer)
    if allowed is not None and options.recall is not None and isinstance(index, HammingIndex):
        # Of its own, so that it is calibrated when the searches have taken long enough.
        allowed = index.prepare_filter(allowed)
    search = Search(index, options.k, options.radius, options.recall, allowed, options.ties)
    queries, scale = _queries(options, index, printer)
    as_vectors = _vectors_of_queries(options, vectors)
    fused = _fused(options, index)
    if fused is not None:
        # The scale is that of one distance, and not of a sum.
        scale = None
    for block, (numbers, x, codes) in enumerate(queries):
        if block == 0 and not as_json:
            _note_columns(options, scale, printer)
        if options.features is not None:
            _note_zero_queries(numbers, x, printer)
        if fused is not None:
            answers = search.by_several_codes(codes, fused)
        elif options.weights:
            answers = search.by_weights(codes)
        elif vectors is None:
            answers = search.by_codes(codes)
        else:
            answers = search.by_rerank(codes, as_vectors(x), vectors, options.candidates)
        for query, found in zip(numbers, answers, strict=True):
            query_name = _name(query_names, query)
            named = None if names is None else [_name(names, id_) for id_ in found.ids.tolist()]
            answer = {
                "query": query,
                **({} if query_name is None else {"query_name": query_name}),
                **as_members(found, named, scale),
            }
            print(json.dumps(answer, ensure_ascii=False) if as_json else as_text(answer))
        sys.stdout.flush()
    n_refused = queries.n_refused if isinstance(queries, StandardInput) else 0
    return STATUS_OF_REFUSED_LINES if n_refused else 0


def _fused(options: argparse.Namespace, index: Any) -> Fused | None:
    """Return the codes of the index and those of --fuse together, with their factors."""
    if not options.fuse:
        if options.factors:
            raise ValueError("--factors goes with --fuse")
        return None
    factors = options.factors or [1] * (1 + len(options.fuse))
    if options.rerank or options.recall is not None or options.radius is not None:
        raise ValueError("--fuse goes with -k, and not with --radius, --recall or --rerank")
    if len(factors) != 1 + len(options.fuse):
        raise ValueError(
            f"--factors: one for each index, {1 + len(options.fuse)} in all, got {len(factors)}"
        )
    if max(factors) > LARGEST_FACTOR:
        raise ValueError(f"--factors must be from 1 to {LARGEST_FACTOR}, got {max(factors)}")
    others = [load_index(path, mmap=True) for path in options.fuse]
    for path, other in zip(options.fuse, others, strict=True):
        if other.n_bits != index.n_bits:
            raise ValueError(
                f"{path} holds codes of {other.n_bits} bits, and {options.index} of "
                f"{index.n_bits}: the codes of a query are compared with both"
            )
        if not np.array_equal(other.ids, index.ids):
            raise ValueError(f"{path} and {options.index} hold different ids")
        if index.model is not None:
            check_same_model(path, other, index.model, options.index, options.any_model)
    return Fused([index, *others], factors)


def _queries(
    options: argparse.Namespace, index: Any, printer: Printer
) -> tuple[Iterable[Queries], DistanceScale | None]:
    """Return the blocks of queries, and what their distances mean."""
    if (options.codes is None) == (options.features is None):
        raise ValueError("pass --codes SOURCE, --model FILE and --features SOURCE, or --text TEXT")
    source = options.codes if options.features is None else options.features
    if options.read_as is not None and (options.codes is None or source == "-"):
        raise ValueError("--read-as goes with --codes and a file")
    encode, read, made_by, scale = _encoder_and_reader(options, index.n_bits, printer)
    encode = partial(_encoded_silently, encode)
    check_same_model(
        options.index,
        index,
        made_by,
        options.model or options.codes or "--signs",
        options.any_model,
    )
    if source == "-":
        parse: Callable[[bytes], NDArray[Any]] = features_of_line
        if options.features is None:
            parse = partial(code_of_line, n_bits=index.n_bits)
        return StandardInput(parse, encode, options.rows), scale
    return _queries_of_file(source, read(source), encode, options), scale


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
) -> tuple[Callable[[Any], NDArray[Any]], Callable[[str], Any], str | None, DistanceScale | None]:
    """
    Return functions that encode queries and read them from a file, what makes codes, and the scale.

    With --weights, the first function returns the weights of the queries.
    """
    from ..models._scales import scale_of

    if options.centre is not None and not options.signs:
        raise ValueError("--centre goes with --signs")
    if options.features is None:
        return (
            np.asarray,
            lambda source: read_codes(source, n_bits, options.read_as)[0],
            fingerprint_of_codes(options.codes, options.model, (n_bits + 7) // 8),
            None,
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
            None,
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
        None if modality is None else scale_of(getattr(model, "distance_scales_", {}), modality),
    )


def _vectors_of_queries(options: argparse.Namespace, vectors: Any) -> Callable[[Any], Any]:
    """Return the function from features of queries to the vectors that --rerank compares."""
    if vectors is None or options.model is None:
        return lambda x: x
    model = inputs.load_model(options.model)
    if not inputs.has_latents(model):
        return lambda x: x
    modality = inputs.check_modality(model, options.modality)
    assert modality is not None, "a model with latents has modalities"
    width = model.feature_maps_[modality].n_latents
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise ValueError(
            f"--rerank: {options.rerank} has shape {tuple(vectors.shape)}, and the latents of "
            f"{options.model} have {width} columns: make them with 'fasthash encode --latents'"
        )
    return partial(_latents_silently, model, modality)


def _latents_silently(model: Any, modality: str, x: Any) -> NDArray[np.float32]:
    with without_warnings():
        latents: NDArray[np.float32] = model.transform(x, modality)
    return latents


def _note_columns(
    options: argparse.Namespace, scale: DistanceScale | None, printer: Printer
) -> None:
    """Note what the columns of the answers are."""
    columns = ["Hamming distance"]
    if scale is not None:
        columns.append("what it means")
    if options.weights:
        columns.append("score")
    elif options.rerank is not None:
        columns.append("cosine similarity")
    if options.ties:
        columns.append("number of items that cannot be told apart")
    by = "weights" if options.weights else "similarity" if options.rerank else "Hamming distance"
    close = "" if scale is None else f"; distances up to {scale.close} are close"
    printer.note(f"ranked by {by}; the columns are {', '.join(columns)} and id{close}")


def _first_features(x: Any, *, n_bits: int, centre: Any) -> NDArray[np.floating]:
    """Return the features whose signs are the code, less their means if given."""
    rows = check_rows(x, "--features")
    if rows.shape[1] < n_bits:
        raise ValueError(f"--features has {rows.shape[1]} columns, and the codes {n_bits} bits")
    return first_columns(rows, n_bits, None if centre is False else centre)


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
