"""The parameters of searches: their schemas, and the `Scope` made of checked values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException

from .collection import Collection, Scope
from .operation import Body, Values
from .schema import Schema, code_pattern

__all__ = [
    "BY_CODE",
    "BY_WEIGHTS",
    "COMPARE",
    "ID",
    "MOST_ANSWERS",
    "MOST_ID",
    "MOST_QUERIES",
    "USUAL_ANSWERS",
    "checked_item",
    "checked_label",
    "checked_scope",
    "code_body",
    "features_body",
    "scope_of",
]

MOST_ANSWERS = 200
MOST_QUERIES = 100
USUAL_ANSWERS = 24
_MOST_LABEL = 500
MOST_ID = 2**53 - 1  # the largest integer that every JSON reader keeps

# Each of them is calibrated separately for each k, which takes time and memory: so they are few.
_RECALLS = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1]

# The square of a feature must be finite, also in float32.
_LARGEST_FEATURE = 1e15

# Ids in paths.
ID: Schema = {
    "type": "integer",
    "minimum": 0,
    "maximum": MOST_ID,
    "description": "Number of an item.",
}

# The order of the answers, if the projections of the query are known, and if only its code is.
BY_WEIGHTS: Schema = {
    "type": "string",
    "enum": ["weights", "distance"],
    "default": "weights",
    "description": "weights: the answers are sorted by score, highest first. The score is the sum "
    "of the projections of the query, each times 1 where the bit of the item is 1 and times -1 "
    "where it is 0. distance: they are sorted by Hamming distance, smallest first, and equal "
    "distances by score. Equal ones are sorted by id.",
}
# Whether the words of the items' texts are compared, besides the codes.
COMPARE: Schema = {
    "type": "string",
    "enum": ["all", "codes"],
    "default": "all",
    "description": "all: the codes are compared, and the words of the query with those of the "
    "items' texts. codes: the codes alone, for which an item's own text does not count.",
}
BY_CODE: Schema = {
    "type": "string",
    "enum": ["distance"],
    "default": "distance",
    "description": "Only the code of the query is known, and not its projections. So the answers "
    "are sorted by Hamming distance, smallest first, and equal ones by id.",
}


def scope_of(collection: Collection) -> dict[str, Schema]:
    scope: dict[str, Schema] = {
        "k": {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_ANSWERS,
            "default": USUAL_ANSWERS,
            "description": "Largest number of answers.",
        },
        "bits": {
            "type": "integer",
            "enum": collection.bits,
            "default": collection.usual_bits,
            "description": "Length of the codes to compare. Each length has a separate index.",
        },
        "radius": {
            "type": "integer",
            "minimum": 0,
            "maximum": max(collection.bits),
            "description": "Only items within this Hamming distance, inclusive.",
        },
    }
    if collection.has_recall:
        scope["recall"] = {
            "type": "number",
            "enum": _RECALLS,
            "description": "Search approximately, by distance: the mean share of the exact answers "
            "that is returned. By default and with 1, the search is exact. It is also exact where "
            "that is faster, and where the recall cannot be kept. A search by score takes no "
            "recall below 1: the status is 422.",
        }
    if collection.gallery.labels is not None:
        scope["filter"] = {
            "type": "string",
            "minLength": 1,
            "maxLength": _MOST_LABEL,
            "description": "Only items with this label; the status is 404 if the label is unknown.",
        }
    return scope


def features_body(
    collection: Collection, scope: Mapping[str, Schema], several: bool = False
) -> Body:
    number: Schema = {
        "type": "number",
        "minimum": -_LARGEST_FEATURE,
        "maximum": _LARGEST_FEATURE,
    }
    forms: dict[Any, dict[str, Schema]] = {}
    for modality, n in collection.n_features.items():
        which: dict[str, Schema] = {"modality": {"type": "string", "enum": [modality]}}
        vector: Schema = {"type": "array", "items": number, "minItems": n, "maxItems": n}
        query = {"rows": _several(vector)} if several else {"features": vector}
        forms[modality] = {**(which if modality else {}), **query, **scope}
    needed = "rows" if several else "features"
    if "" in forms:
        return Body(None, forms, needed, "")
    return Body("modality", forms, needed)


def code_body(collection: Collection, scope: Mapping[str, Schema], several: bool = False) -> Body:
    usual = collection.usual_bits
    forms = {}
    for n_bits in collection.bits:
        bits: dict[str, Any] = {"type": "integer", "enum": [n_bits]}
        if n_bits == usual:
            bits["default"] = n_bits
        code: Schema = {
            "type": "string",
            "pattern": code_pattern(n_bits),
            "description": f"{n_bits} bits in hexadecimal. The first bit is the highest bit of the "
            "first byte, and padding bits are zero.",
        }
        query = {"codes": _several(code)} if several else {"code": code}
        forms[n_bits] = {**scope, **query, "bits": bits}
    return Body("bits", forms, "codes" if several else "code", usual)


def _several(query: Schema) -> Schema:
    return {"type": "array", "items": query, "minItems": 1, "maxItems": MOST_QUERIES}


def checked_item(collection: Collection, values: Values) -> int:
    item: int = values["id"]
    if item not in collection:
        raise HTTPException(404, f"there is no item {item}")
    return item


def checked_label(collection: Collection, values: Values) -> str | None:
    label: str | None = values.get("filter")
    labels = collection.gallery.labels
    if label is not None and (labels is None or label not in labels):
        raise HTTPException(404, f"there is no label {label!r}: /api/labels lists them")
    return label


def checked_scope(collection: Collection, values: Values) -> Scope:
    label = checked_label(collection, values)
    recall: float | None = values.get("recall")
    if recall is not None and recall < 1 and values["order"] != "distance":
        raise HTTPException(
            422,
            f"recall={recall} goes with order=distance: a search by score compares all codes, so "
            "leave recall out, or add order=distance",
        )
    return Scope(
        values["bits"],
        values["k"],
        values["order"],
        values.get("radius"),
        label,
        values.get("compare") == "all",
        recall,
    )
