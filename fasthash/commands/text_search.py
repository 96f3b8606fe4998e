"""Text queries of ``fasthash search``: by the words of names and, with a model, by codes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from .._core.words import quoted
from ..datasets.readers import read_texts
from .answers import as_text
from .printing import Printer
from .serve import length_of, words_of

__all__ = ["search_texts"]

# Options of searches by codes and by features.
_OTHER_SEARCHES = (
    "codes",
    "read_as",
    "features",
    "centre",
    "filter",
    "rerank",
    "candidates",
    "recall",
    "factors",
    "query_names",
)


def search_texts(options: argparse.Namespace, as_json: bool, printer: Printer) -> int:
    """
    Search by each text of --text, and print the answers.

    Returns
    -------
    int
        Number of texts that have no known word, and no answers.

    Raises
    ------
    ValueError
        If options do not go together.
    """
    from ..serving.collection import Collection, Scope
    from ..serving.gallery import Gallery

    _check(options)
    length = length_of(options.index, options.model, options.any_model)
    words = None
    if options.words is not None:
        words = words_of(options.words, options.modality, [length])
    names = read_texts(options.names).tolist()
    collection = Collection("", Gallery(names), [length], words, texts=names)
    k = min(options.k, max(len(collection), 1))
    scope = Scope(length.index.n_bits, k, "weights", options.radius)
    if not as_json:
        scale = None if words is None else length.scale(words.modality)
        distance = "" if words is None else "Hamming distance, "
        meaning = "" if scale is None else "what it means, "
        printer.note(
            f"the columns are {distance}{meaning}score, number of items that cannot be told apart, "
            "id and name"
        )
    n_refused = 0
    for number, text in enumerate(options.text):
        try:
            found = collection.search_words(text, scope)
        except ValueError as error:
            unknown = collection.unknown_words(text)
            similar = [word for words in unknown.values() for word in words]
            perhaps = f": did you mean {', '.join(similar)}?" if similar else ""
            said = "" if "did you mean" in str(error) else perhaps
            printer.note(f"query {number}: {error}{said}")
            n_refused += 1
            continue
        _note_unknown(number, found.unknown, printer)
        bands = None
        if found.scale is not None and found.distances is not None:
            bands = [found.scale.band(distance) for distance in found.distances]
        answer: dict[str, Any] = {
            "query": number,
            "query_name": text,
            "ids": found.ids,
            "distances": found.distances,
            "scores": found.scores,
            "ties": found.ties,
            "names": [collection.gallery.name(item) for item in found.ids],
            "matched_words": found.matched,
            "bands": bands,
            "weak": found.is_weak(),
            "unknown_words": {word: list(similar) for word, similar in found.unknown.items()},
        }
        shown = {name: value for name, value in answer.items() if value is not None}
        print(json.dumps(shown, ensure_ascii=False) if as_json else as_text(shown), flush=True)
    return n_refused


def _note_unknown(number: int, unknown: Mapping[str, Sequence[str]], printer: Printer) -> None:
    for word, similar in unknown.items():
        perhaps = f": did you mean {', '.join(similar)}?" if similar else ""
        printer.note(f"query {number}: {quoted(word)} is not known, and was left out{perhaps}")


def _check(options: argparse.Namespace) -> None:
    for name in _OTHER_SEARCHES:
        if getattr(options, name) is not None:
            raise ValueError(f"--text does not go with --{name.replace('_', '-')}")
    if options.rows != slice(0, None):
        raise ValueError("--text does not go with --rows: each TEXT is a query")
    if options.columns:
        raise ValueError("--text does not go with --columns")
    if options.fuse or options.signs or options.weights is not None:
        raise ValueError("--text does not go with --fuse, --signs or --weights")
    if options.names is None:
        raise ValueError("--text needs --names, whose words are compared with those of the text")
    if (options.words is None) != (options.model is None):
        raise ValueError(
            "--text needs --words and --model together, to compare codes too, or neither of them"
        )
    for name in ("modality", "radius"):
        if options.words is None and getattr(options, name) is not None:
            raise ValueError(f"--{name} with --text needs --words and --model, which make codes")
