"""Describe the operations of the API in the format of the OpenAPI specification 3.1."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from .. import __version__
from .operation import Body, Operation
from .parameters import ID

__all__ = ["describe"]


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list_of(schema: Any) -> dict[str, Any]:
    return {"type": "array", "items": schema}


_WHOLE = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
_TRUTH = {"type": "boolean"}
_SCORE = {
    "type": ["number", "null"],
    "description": "Null for a query that is a code.",
}
_TIES = {
    "type": ["integer", "null"],
    "minimum": 1,
    "description": "Number of items that the search cannot tell from this one, which is included: "
    "the order among them says nothing. Items outside of the filter and the radius do not count. "
    "Null if a recall below 1 was asked for, because such a search does not find all of them.",
}
_BAND = {
    "type": ["string", "null"],
    "enum": ["same", "close", "far", None],
    "description": "same: the code is that of the query. close: up to the distance `close`. far: a "
    "weak answer. Null if the scale of the distances is not known.",
}
_NEARNESS = {
    "type": ["number", "null"],
    "minimum": 0,
    "maximum": 1,
    "description": "Share of the pairs that do not belong together that are farther apart.",
}
_DISTANCE = {
    "type": ["integer", "null"],
    "minimum": 0,
    "description": "Hamming distance to the code of the query. Null if the model knows no word of "
    "the query, and only the items' texts were searched.",
}
_MATCHED = {
    "type": ["array", "null"],
    "items": _TEXT,
    "description": "Words of the query that are in the text of the item; null if the query is no "
    "text, or the items have none.",
}
_UNKNOWN = {
    "type": "array",
    "items": _object(word=_TEXT, suggestions=_list_of(_TEXT)),
    "description": "Words of the query that are not known and were left out, with similar words "
    "that are known.",
}
_ITEM = {
    "id": _WHOLE,
    "name": _TEXT,
    "labels": _list_of(_TEXT),
    "has_picture": _TRUTH,
    "has_sound": _TRUTH,
}

_SCHEMAS = {
    "Error": {
        "type": "object",
        "properties": {"error": _TEXT, "unknown_words": _UNKNOWN},
        "required": ["error"],
        "additionalProperties": False,
    },
    "Info": _object(
        title=_TEXT,
        version=_TEXT,
        n_items=_WHOLE,
        bits=_list_of(_WHOLE),
        usual_bits=_WHOLE,
        usual_answers=_WHOLE,
        most_answers=_WHOLE,
        most_queries=_WHOLE,
        by_words=_TRUTH,
        by_file=_list_of({"type": ["string", "null"]}),
        features=_list_of(_object(modality={"type": ["string", "null"]}, n_features=_WHOLE)),
    ),
    "Labels": _object(labels=_list_of(_object(name=_TEXT, n_items=_WHOLE))),
    "Item": _object(**_ITEM),
    "Items": _object(n_items=_WHOLE, items=_list_of({"$ref": "#/components/schemas/Item"})),
    "Answers": _object(
        bits=_WHOLE,
        order={"type": "string", "enum": ["weights", "distance"]},
        recall={
            "type": ["number", "null"],
            "description": "The recall that was asked for; null if none was.",
        },
        exact={
            "type": "boolean",
            "description": "Whether the search was exact, with or without a recall.",
        },
        unknown_words=_UNKNOWN,
        close={
            "type": ["integer", "null"],
            "minimum": -1,
            "description": "The largest distance at which pairs of training samples belong "
            "together more often than by chance; null if it is not known.",
        },
        weak={
            "type": ["boolean", "null"],
            "description": "Whether no answer is the same or close, and none has a word of the "
            "query in its text; an item that is the query does not count. Null if it is not known.",
        },
        answers=_list_of(
            _object(
                distance=_DISTANCE,
                score=_SCORE,
                ties=_TIES,
                band=_BAND,
                nearness=_NEARNESS,
                matched_words=_MATCHED,
                **_ITEM,
            )
        ),
    ),
    "Searches": _object(searches=_list_of({"$ref": "#/components/schemas/Answers"})),
}

_FILES = {
    "Picture": ("image/png", "image/jpeg", "image/gif", "image/webp"),
    "Sound": ("audio/wav", "audio/ogg", "audio/flac", "audio/mpeg"),
}

# Error statuses of every operation, and further ones of operations with a body.
_ALWAYS = (400, 414, 429)
_WITH_BODY = (408, 413)


def describe(title: str, operations: Sequence[Operation]) -> dict[str, Any]:
    """
    Describe the API.

    Parameters
    ----------
    title : str
        Title of the collection.
    operations : sequence of Operation
        Operations of the API.

    Returns
    -------
    dict
        An OpenAPI document.
    """
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {"title": f"fasthash: {title}", "version": __version__},
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }


def _operation(one: Operation) -> dict[str, Any]:
    statuses = [*_ALWAYS, *one.statuses]
    if one.method == "POST":
        statuses += _WITH_BODY
    if one.body is not None:
        statuses.append(415)  # the body is no JSON
    responses = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": _json({"$ref": "#/components/schemas/Error"}),
        }
        for status in sorted(statuses)
    }
    responses["429"]["headers"] = {
        "Retry-After": {"schema": _WHOLE, "description": "Seconds to wait."}
    }
    described: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "parameters": [*_path_parameters(one), *_query_parameters(one)],
        "responses": {"200": _answer(one), **responses},
    }
    if one.body is not None:
        described["requestBody"] = {"required": True, "content": _json(_body(one.body))}
    if one.most_bytes:
        file = {"schema": {"type": "string", "format": "binary", "minLength": 1}}
        described["requestBody"] = {"required": True, "content": {"application/octet-stream": file}}
    return described


def _answer(one: Operation) -> dict[str, Any]:
    if one.answer in _FILES:
        content: dict[str, Any] = {kind: {"schema": {}} for kind in _FILES[one.answer]}
    else:
        content = _json({"$ref": f"#/components/schemas/{one.answer}"})
    return {"description": one.summary, "content": content}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _path_parameters(one: Operation) -> list[dict[str, Any]]:
    if "{id}" not in one.path:
        return []
    return [{"name": "id", "in": "path", "required": True, "schema": ID}]


def _query_parameters(one: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": name in one.required, "schema": schema}
        for name, schema in one.query.items()
    ]


def _body(body: Body) -> dict[str, Any]:
    forms = [
        {
            "type": "object",
            "properties": properties,
            "required": body.required(form),
            "additionalProperties": False,
        }
        for form, properties in body.forms.items()
    ]
    return forms[0] if len(forms) == 1 else {"oneOf": forms}
