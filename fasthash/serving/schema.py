"""Check the values of requests by the JSON schemas that document them.

The schemas use only the keywords that `check` supports, so that the API refuses exactly the values
that its description excludes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException

__all__ = ["check", "check_object", "code_pattern", "from_query"]

Schema = Mapping[str, Any]

_PLURALS = {"number": "numbers", "string": "texts", "array": "lists"}

_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{0,18}[.]?[0-9]{0,18}")


def check(name: str, value: Any, schema: Schema) -> Any:
    """
    Check a value of a request.

    Returns
    -------
    The value. An integer that was written as 3.0 becomes 3.

    Raises
    ------
    HTTPException
        400, with a message that describes valid values.
    """
    kind = schema["type"]
    if kind == "array":
        return _check_array(name, value, schema)
    if kind in ("integer", "number"):
        is_right = isinstance(value, int | float) and not isinstance(value, bool)
        if is_right and isinstance(value, float):
            is_right = math.isfinite(value) and (kind == "number" or value.is_integer())
            value = int(value) if is_right and kind == "integer" else value
        is_right = (
            is_right
            and value >= schema.get("minimum", value)
            and value <= schema.get("maximum", value)
        )
    else:
        is_right = (
            isinstance(value, str)
            and len(value) >= schema.get("minLength", 0)
            and len(value) <= schema.get("maxLength", len(value))
            and ("pattern" not in schema or re.fullmatch(schema["pattern"], value) is not None)
        )
    choices = schema.get("enum", [value])
    if not is_right or value not in choices:
        wrong = f"{name} must be {_in_words(schema)}, got {_shortened(value)}"
        # Why there is no other choice.
        reason = schema.get("description") if len(choices) == 1 and "enum" in schema else None
        raise HTTPException(400, f"{wrong}. {reason}" if reason else wrong)
    return value


def check_object(
    value: Mapping[str, Any], properties: Mapping[str, Schema], required: Sequence[str]
) -> dict[str, Any]:
    """
    Check the members of an object, and add default values for missing members.

    Raises
    ------
    HTTPException
        400, with the name of the member that is wrong, missing or unknown.
    """
    for name in value:
        if name not in properties:
            known = ", ".join(properties) or "none"
            raise HTTPException(400, f"{_shortened(name)} is unknown here: known are {known}")
    for name in required:
        if name not in value:
            raise HTTPException(400, f"{name} is missing: {_in_words(properties[name])}")
    checked = {name: check(name, one, properties[name]) for name, one in value.items()}
    defaults = {name: one["default"] for name, one in properties.items() if "default" in one}
    return {**defaults, **checked}


def from_query(text: str, schema: Schema) -> Any:
    """Convert a text of a query string or a path to the type of its schema."""
    if schema["type"] == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if schema["type"] == "number" and _NUMBER.fullmatch(text) and any(map(str.isdigit, text)):
        return float(text)
    return text


def code_pattern(n_bits: int) -> str:
    """
    Return a regular expression for the hexadecimal digits of a code whose padding bits are zero.

    Examples
    --------
    >>> code_pattern(16), code_pattern(14), code_pattern(10)
    ('^[0-9a-f]{4}$', '^[0-9a-f]{3}[048c]$', '^[0-9a-f]{2}[048c]0$')
    """
    n_whole, rest = divmod(n_bits, 4)
    last = f"[{''.join(f'{digit:x}' for digit in range(0, 16, 1 << (4 - rest)))}]" if rest else ""
    n_digits = n_whole + bool(rest)
    return f"^[0-9a-f]{{{n_whole}}}{last}{'0' * (n_digits % 2)}$"


def _check_array(name: str, value: Any, schema: Schema) -> list[Any]:
    least, most = schema["minItems"], schema["maxItems"]
    if not isinstance(value, list) or not least <= len(value) <= most:
        got = f"a list of {len(value)}" if isinstance(value, list) else _shortened(value)
        raise HTTPException(400, f"{name} must be {_in_words(schema)}, got {got}")
    return [check(f"{name}[{i}]", one, schema["items"]) for i, one in enumerate(value)]


def _in_words(schema: Schema) -> str:
    if "enum" in schema:
        choices = ", ".join(map(str, schema["enum"]))
        return f"one of {choices}" if len(schema["enum"]) > 1 else choices
    if schema["type"] == "array":
        least, most = schema["minItems"], schema["maxItems"]
        items = _PLURALS[schema["items"]["type"]]
        return f"a list of {least if least == most else f'{least} to {most}'} {items}"
    if schema["type"] == "string":
        if "pattern" in schema:
            return f"text like {schema['pattern']}"
        return f"text of {schema.get('minLength', 0)} to {schema['maxLength']} characters"
    kind, form = ("an integer", "d") if schema["type"] == "integer" else ("a number", "g")
    if "maximum" in schema:
        return f"{kind} from {schema['minimum']:{form}} to {schema['maximum']:{form}}"
    return f"{kind} of at least {schema['minimum']:{form}}"


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
