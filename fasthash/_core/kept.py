"""`KeptProperty`: an attribute that is computed when it is first read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

__all__ = ["KeptProperty"]

Value = TypeVar("Value")


class KeptProperty(Generic[Value]):
    """
    Decorate a method without arguments: its result is computed when it is first read, and kept.

    Threads that read it at the same time each compute it. `functools.cached_property` of Python
    3.11 has a lock for all objects of a class instead. A child that is forked while a thread holds
    this lock waits for it for ever.
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...

    def __get__(self, instance: object | None, owner: type) -> Self | Value:
        if instance is None:
            return self
        # Python looks there first when the attribute is read again.
        value = instance.__dict__[self._name] = self._compute(instance)
        return value
