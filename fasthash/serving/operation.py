"""What an operation of the API is: its path, parameters, body and answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.exceptions import HTTPException

from .collection import Collection
from .schema import Schema, check, check_object

__all__ = ["Body", "Operation", "Values"]

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Body:
    """
    A JSON object in one of several forms; the value of one property selects the form.

    Attributes
    ----------
    by : str or None
        Name of the property that selects the form; None if there is only one form.
    forms : dict
        Properties of each form, by the value of that property.
    needed : str
        Name of another property, which every form requires.
    usual : object
        The form if the property `by` is missing; None if it is required.
    """

    by: str | None
    forms: Mapping[Any, Mapping[str, Schema]]
    needed: str
    usual: Any = None

    def required(self, form: Any) -> list[str]:
        """Return the names of the required properties of a form."""
        return [self.needed] if form == self.usual or not self.by else [self.by, self.needed]

    def check(self, value: Any) -> dict[str, Any]:
        """
        Check a request's body.

        Raises
        ------
        HTTPException
            400 if the body does not fit any form.
        """
        if not isinstance(value, dict):
            raise HTTPException(400, "a JSON object is needed")
        form = self.usual
        if self.by is not None and self.by in value:
            kind = "string" if isinstance(next(iter(self.forms)), str) else "integer"
            form = check(self.by, value[self.by], {"type": kind, "enum": list(self.forms)})
        if form not in self.forms:
            raise HTTPException(400, f"{self.by} is missing: one of {', '.join(self.forms)}")
        return check_object(value, self.forms[form], self.required(form))


@dataclass(frozen=True)
class Operation:
    """
    An operation of the API.

    Attributes
    ----------
    name, path, summary : str
        Name, path and description of the operation.
    run : callable
        Called in a thread with the collection and the checked values; returns JSON content, or a
        picture and its media type.
    answer : str
        Name of the schema of the answer in the description.
    query : dict of str to schema
        Parameters of the query string.
    required : tuple of str
        Names of the required parameters of the query string.
    body : Body or None
        JSON body of the request. An operation with a body uses the method POST.
    most_bytes : int
        If not 0, the body is a file of at most so many bytes, the value "file".
    statuses : tuple of int
        Error statuses, in addition to those that all operations have.
    """

    name: str
    path: str
    summary: str
    run: Callable[[Collection, Values], Any]
    answer: str
    query: Mapping[str, Schema] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    body: Body | None = None
    most_bytes: int = 0
    statuses: tuple[int, ...] = ()

    @property
    def method(self) -> str:
        return "POST" if self.body is not None or self.most_bytes else "GET"
