"""The operations of the API in one table: the parameters and the answer of each.

The application makes its routes and checks from this table, and the description of the API is
written from it too. The table lacks operations that a collection does not support, such as a search
by text without a model.

A search request comes from ``app``. Its function here, such as `_search` or `_neighbours`, calls
the collection, and makes JSON of the answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from starlette.exceptions import HTTPException

from .. import __version__
from .._core.files import replacing
from ..metrics import DistanceScale
from ..pages.pictures import MOST_FILE_BYTES, media_type
from .collection import Collection, NoFeaturesError, Scope
from .gallery import sound_type
from .operation import Operation, Values
from .parameters import (
    BY_CODE,
    BY_WEIGHTS,
    COMPARE,
    MOST_ANSWERS,
    MOST_ID,
    MOST_QUERIES,
    USUAL_ANSWERS,
    checked_item,
    checked_label,
    checked_scope,
    code_body,
    features_body,
    scope_of,
)
from .schema import Schema
from .searches import Found

__all__ = ["NoKnownWord", "info", "operations"]

_MOST_WORDS = 200


class NoKnownWord(HTTPException):
    """
    The answer to a text without a known word.

    Attributes
    ----------
    more : dict
        Further members of the JSON object, besides the error.
    """

    def __init__(self, message: str, unknown: Mapping[str, Sequence[str]]) -> None:
        super().__init__(422, message)
        self.more = _unknown(unknown)


def operations(collection: Collection) -> list[Operation]:
    """List the operations that a collection supports."""
    scope = scope_of(collection)
    by_code = {**scope, "order": BY_CODE}
    by_weights = {**scope, "order": BY_WEIGHTS}
    by_words = {**by_weights, **({} if collection.item_words is None else {"compare": COMPARE})}
    restricted = {name: scope[name] for name in ("filter",) if name in scope}
    contains: Schema = {
        "type": "string",
        "maxLength": _MOST_WORDS,
        "default": "",
        "description": "Words that the item's name must contain.",
    }
    start: Schema = {
        "type": "integer",
        "minimum": 0,
        "maximum": MOST_ID,
        "default": 0,
        "description": "Number of items to skip at the beginning.",
    }
    found = [
        Operation("info", "/api/info", "Describe the collection", info, "Info"),
        Operation(
            "labels",
            "/api/labels",
            "List the labels with their numbers of items",
            _labels,
            "Labels",
        ),
        Operation(
            "items",
            "/api/items",
            "List items by their names",
            _items,
            "Items",
            query={"contains": contains, "start": start, "k": scope["k"], **restricted},
            statuses=(404,) if restricted else (),
        ),
        Operation("item", "/api/items/{id}", "Describe an item", _item, "Item", statuses=(404,)),
        Operation(
            "picture",
            "/api/items/{id}/picture",
            "Return the picture of an item: PNG, JPEG, GIF or WebP",
            _picture,
            "Picture",
            statuses=(404,),
        ),
        Operation(
            "neighbours",
            "/api/items/{id}/neighbours",
            "Search by an item, which is itself among the answers",
            _neighbours,
            "Answers",
            query=by_words if collection.has_item_weights else by_code,
            # A recall goes with the order by distance.
            statuses=(404, 422) if collection.has_item_weights else (404,),
        ),
    ]
    if collection.gallery.has_sounds:
        found.append(
            Operation(
                "sound",
                "/api/items/{id}/sound",
                "Return the sound of an item: WAV, OGG, FLAC or MP3",
                _sound,
                "Sound",
                statuses=(404,),
            )
        )
    if collection.words is not None:
        words: Schema = {
            "type": "string",
            "minLength": 1,
            "maxLength": _MOST_WORDS,
            "description": "Text to search by; the status is 422 if no word is known.",
        }
        found.append(
            Operation(
                "search",
                "/api/search",
                "Search by text",
                _search,
                "Answers",
                query={"q": words, **by_words},
                required=("q",),
                statuses=(404, 422),
            )
        )
    if collection.n_features:
        found.append(
            Operation(
                "search_features",
                "/api/search/features",
                "Search by features, which the server projects",
                _search_features,
                "Answers",
                body=features_body(collection, by_weights),
                statuses=(404, 422),
            )
        )
        found.append(
            Operation(
                "search_rows",
                "/api/search/rows",
                "Search by features of several queries",
                _search_rows,
                "Searches",
                body=features_body(collection, by_weights, several=True),
                statuses=(404, 422),
            )
        )
    if collection.files:
        modality: Schema = {
            "type": "string",
            "enum": list(collection.files),
            "description": "Modality of the file.",
        }
        found.append(
            Operation(
                "search_file",
                "/api/search/file",
                "Search by a picture or sound, the body of the request",
                _search_file,
                "Answers",
                query={"modality": modality, **by_weights},
                required=("modality",) if "" not in collection.files else (),
                most_bytes=MOST_FILE_BYTES,
                statuses=(404, 422),
            )
        )
    found.append(
        Operation(
            "search_code",
            "/api/search/code",
            "Search by a packed code",
            _search_code,
            "Answers",
            body=code_body(collection, by_code),
            statuses=(404,),
        )
    )
    found.append(
        Operation(
            "search_codes",
            "/api/search/codes",
            "Search by several packed codes",
            _search_codes,
            "Searches",
            body=code_body(collection, by_code, several=True),
            statuses=(404,),
        )
    )
    return found


def info(collection: Collection, values: Values) -> Any:
    return {
        "title": collection.title,
        "version": __version__,
        "n_items": len(collection),
        "bits": collection.bits,
        "usual_bits": collection.usual_bits,
        "usual_answers": USUAL_ANSWERS,
        "most_answers": MOST_ANSWERS,
        "most_queries": MOST_QUERIES,
        "by_words": collection.words is not None,
        "by_file": [modality or None for modality in collection.files],
        "features": [
            {"modality": modality or None, "n_features": n}
            for modality, n in collection.n_features.items()
        ],
    }


def _labels(collection: Collection, values: Values) -> Any:
    labels = collection.gallery.labels
    names = [] if labels is None else labels.names
    return {"labels": [{"name": name, "n_items": collection.count(name)} for name in names]}


def _items(collection: Collection, values: Values) -> Any:
    label = checked_label(collection, values)
    ids, n = collection.items(values["contains"], label, values["start"], values["k"])
    return {"n_items": n, "items": [_described(collection, item) for item in ids]}


def _item(collection: Collection, values: Values) -> Any:
    return _described(collection, checked_item(collection, values))


def _picture(collection: Collection, values: Values) -> tuple[bytes, str]:
    item = checked_item(collection, values)
    picture = collection.gallery.picture(item)
    if picture is None:
        raise HTTPException(404, f"item {item} has no picture")
    return picture


def _sound(collection: Collection, values: Values) -> tuple[bytes, str]:
    item = checked_item(collection, values)
    sound = collection.gallery.sound(item)
    if sound is None:
        raise HTTPException(404, f"item {item} has no sound")
    return sound


def _neighbours(collection: Collection, values: Values) -> Any:
    item = checked_item(collection, values)
    scope = checked_scope(collection, values)
    return _answers(collection, scope, collection.neighbours(item, scope), item)


def _search(collection: Collection, values: Values) -> Any:
    scope = checked_scope(collection, values)
    try:
        found = collection.search_words(values["q"], scope)
    except ValueError as error:
        unknown = collection.unknown_words(values["q"], scope.by_words)
        raise NoKnownWord(str(error), unknown) from None
    return _answers(collection, scope, found)


def _search_features(collection: Collection, values: Values) -> Any:
    return _search_rows(collection, {**values, "rows": [values["features"]]})["searches"][0]


def _search_rows(collection: Collection, values: Values) -> Any:
    scope = checked_scope(collection, values)
    x = np.array(values["rows"], np.float64)
    try:
        found = collection.search_features(x, values.get("modality", ""), scope)
    except NoFeaturesError as error:
        raise HTTPException(422, str(error)) from None
    return {"searches": [_answers(collection, scope, one) for one in found]}


def _search_file(collection: Collection, values: Values) -> Any:
    scope = checked_scope(collection, values)
    kind = media_type(values["file"]) or sound_type(values["file"])
    if kind is None:
        kinds = "a PNG, JPEG, GIF or WebP picture, or a WAV, OGG, FLAC or MP3 sound"
        raise HTTPException(422, f"the file is not {kinds}")
    with TemporaryDirectory(prefix="fasthash") as folder:
        path = Path(folder) / f"file.{kind.split('/')[1]}"
        with replacing(path, synced=False) as file:
            file.write(values["file"])
        try:
            found = collection.search_file(str(path), values.get("modality", ""), scope)
        except (ValueError, OSError) as error:
            # The path of the temporary file concerns nobody.
            said = str(error).replace(str(path), path.name)
            raise HTTPException(422, f"the file cannot be used: {said}") from None
    return _answers(collection, scope, found)


def _search_code(collection: Collection, values: Values) -> Any:
    return _search_codes(collection, {**values, "codes": [values["code"]]})["searches"][0]


def _search_codes(collection: Collection, values: Values) -> Any:
    scope = checked_scope(collection, values)
    codes = np.array([np.frombuffer(bytes.fromhex(one), np.uint8) for one in values["codes"]])
    found = collection.search_codes(codes, scope)
    return {"searches": [_answers(collection, scope, one) for one in found]}


def _answers(collection: Collection, scope: Scope, found: Found, asked: int | None = None) -> Any:
    """Make JSON of answers. An item that is the query does not count as a near answer."""
    n = len(found.ids)
    distances: Sequence[int | None] = [None] * n if found.distances is None else found.distances
    scores: Sequence[float | None] = [None] * n if found.scores is None else found.scores
    matched = [None] * n if found.matched is None else found.matched
    scale = None if found.distances is None else found.scale
    meanings = [_meaning(scale, distance) for distance in distances]
    all_ties: Sequence[int | None] = [None] * n if found.ties is None else found.ties
    answers = zip(found.ids, distances, scores, all_ties, matched, meanings, strict=True)
    return {
        "bits": scope.n_bits,
        "order": scope.order,
        "recall": scope.recall,
        "exact": found.exact,
        **_unknown(found.unknown),
        "close": None if scale is None else scale.close,
        "weak": found.is_weak(asked),
        "answers": [
            {
                "distance": distance,
                "score": score,
                "ties": ties,
                **meaning,
                "matched_words": words,
                **_described(collection, item),
            }
            for item, distance, score, ties, words, meaning in answers
        ],
    }


def _meaning(scale: DistanceScale | None, distance: int | None) -> dict[str, Any]:
    if scale is None or distance is None:
        return {"band": None, "nearness": None}
    return {"band": scale.band(distance), "nearness": scale.nearness(distance)}


def _unknown(words: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    listed = [{"word": word, "suggestions": list(similar)} for word, similar in words.items()]
    return {"unknown_words": listed}


def _described(collection: Collection, item: int) -> dict[str, Any]:
    gallery = collection.gallery
    return {
        "id": item,
        "name": gallery.name(item),
        "labels": [] if gallery.labels is None else gallery.labels.of(item),
        "has_picture": gallery.has_picture(item),
        "has_sound": gallery.has_sound(item),
    }
