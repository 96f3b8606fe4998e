"""`Carried`: an object of a user's class or module, on its way to the workers of a cluster.

Dask unpickles the arguments of a task while a worker reads its messages. If the worker cannot
import the module of a function, its connection breaks, Dask sends the task to another worker, and
the caller waits for ever. A `Carried` is unpickled within the task, so the caller gets the error.
"""

from __future__ import annotations

import pickle
from typing import Any

__all__ = ["Carried"]


class Carried:
    """
    An object that another process unpickles when it calls `get`.

    Parameters
    ----------
    value : object
    name : str
        What it is to the user, for the error, such as "the filter".
    """

    def __init__(self, value: Any, name: str) -> None:
        self._value, self._pickled, self._name = value, b"", name

    def __getstate__(self) -> tuple[bytes, str]:
        # Of the requirements of Dask. It sends functions of a script, and lambdas, as a whole.
        import cloudpickle

        return self._pickled or cloudpickle.dumps(self._value), self._name

    def __setstate__(self, state: tuple[bytes, str]) -> None:
        self._pickled, self._name = state

    def get(self) -> Any:
        """
        The object.

        Raises
        ------
        ImportError
            If this process cannot import a module or a name that it needs.
        """
        pickled = self._pickled
        if not pickled:
            return self._value
        try:
            self._value = pickle.loads(pickled)
        except (ImportError, AttributeError) as error:
            raise ImportError(
                f"workers of the cluster cannot import {self._name} ({error}): define it in the "
                "script that you run, or send its module with client.upload_file"
            ) from error
        # Kept for the other tasks of this worker. Another thread may do the same now.
        self._pickled = b""
        return self._value
