"""Threads that share work over blocks of rows.

`Executor` is what a fit needs; `Workers` does it with threads, and `Cluster` with Dask. `Workers`
calls a function with batches of blocks of rows. Each thread works on one batch at a time,
and the results come in the order of the batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack
from functools import partial, reduce
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .merges import in_groups, total_of
from .pieces import cut

__all__ = ["Executor", "Products", "Workers", "add_up", "threads_of_products"]

Result = TypeVar("Result")

# Largest number of blocks in a batch. A function returns one sum per batch, not per block.
_BATCH_BLOCKS = 8


def add_up(parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """Add one or more arrays of one shape, in their order."""
    return reduce(np.add, parts)


def threads_of_products(n_threads: int) -> AbstractContextManager[Any]:
    """
    Limit the threads of matrix products in this process, until the context ends.

    A smaller limit stays: OPENBLAS_NUM_THREADS, or a limit of threadpoolctl.
    """
    from threadpoolctl import ThreadpoolController

    libraries = ThreadpoolController().select(user_api="blas")
    allowed = [library["num_threads"] for library in libraries.info()]
    return libraries.limit(limits=min([n_threads, *allowed]))


class Executor(Protocol):
    """
    What runs the work over the samples of a fit: `Workers`, or a cluster.

    The samples lie in parts. The results depend on the parts, and on nothing else. A function gets
    a part, the `Workers` of the process in which it runs, and further arguments.
    """

    @property
    def local(self) -> Workers:
        """The workers of this process, for work on few samples."""

    def __enter__(self) -> Executor: ...

    def __exit__(self, *error: object) -> None: ...

    def run(
        self,
        function: Callable[..., Result],
        parts: list[Any],
        *arguments: Any,
        report: Callable[[int], None] | None = None,
    ) -> list[Result]:
        """
        Call a function for each part; return the results in the order of the parts.

        The function must not change the part. `report` is called with the number of rows done.
        """

    def total(
        self,
        function: Callable[..., Result],
        parts: list[Any],
        *arguments: Any,
        report: Callable[[int], None] | None = None,
        is_large: bool = False,
    ) -> Result:
        """
        As `run`, but return the total of the results, as `total_of` adds them.

        The results of more than `MOST_ANSWERS` parts are added in groups. `is_large` says that they
        are many megabytes, which should not all come to this process.
        """

    def change(self, function: Callable[..., Result], parts: list[Any], *arguments: Any) -> Result:
        """Call a function that changes the part, for each part; return the total."""

    def begin_change(
        self, function: Callable[..., Result], parts: list[Any], *arguments: Any
    ) -> Callable[[], Result]:
        """As `change`, but a call of what is returned waits for the total."""

    def made(self, function: Callable[..., Any], parts: list[Any], *arguments: Any) -> list[Any]:
        """Parts that a function makes of other parts."""

    def spread(self, values: list[Any]) -> list[Any]:
        """Parts that are values of this process."""

    def beside(self, parts: Sequence[list[Any]]) -> list[Any]:
        """Parts that are lists of parts: of each kind of parts, the one at the same place."""

    def rows_of(self, parts: list[Any], name: str) -> Any:
        """An attribute of the parts, an array with a row for each sample, of all samples."""

    def share(self, n_bytes: int, parts: list[Any]) -> int:
        """What each part may keep, if all parts of a process keep so many bytes together."""

    def finish(self, function: Callable[[], Result]) -> Result:
        """Run a function to its end, also during a KeyboardInterrupt."""


class Workers(AbstractContextManager["Workers"]):
    """
    Threads that work on batches of blocks of rows; their matrix products use one thread each.

    Otherwise these threads and those of the linear algebra would compete for the same cores. So
    while the workers exist, the linear algebra of the process runs on one thread per call.

    Parameters
    ----------
    n_threads : int
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def __enter__(self) -> Workers:
        from threadpoolctl import ThreadpoolController

        self._exits = ExitStack()
        # Once for the process, and in each worker, because OpenMP has a limit per thread.
        libraries = ThreadpoolController()
        limit = partial(libraries.limit, limits=1, user_api="blas")
        self._exits.enter_context(limit())
        self._pool, self._finisher = (
            ThreadPoolExecutor(n, "fasthash", limit) for n in (self.n_threads, 1)
        )
        self._exits.callback(self._pool.shutdown, cancel_futures=True)
        self._exits.callback(self._finisher.shutdown, cancel_futures=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._exits.close()

    def map(
        self, function: Callable[[Sequence[slice]], Result], blocks: Sequence[slice]
    ) -> Iterator[Result]:
        """
        Call a function with batches of blocks; yield its results in the order of the batches.

        The number of blocks alone decides how they form batches, so that sums over the results do
        not depend on the number of threads. At most a few more results than threads are held.
        """
        size = max(1, min(_BATCH_BLOCKS, len(blocks) // 16))
        batches = [blocks[batch] for batch in cut(len(blocks), most=size)]
        if self.n_threads == 1:
            yield from map(function, batches)
            return
        waiting: deque[Any] = deque()
        try:
            for batch in batches:
                waiting.append(self._pool.submit(function, batch))
                if len(waiting) > self.n_threads + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    @property
    def local(self) -> Workers:
        """These workers."""
        return self

    def run(
        self,
        function: Callable[..., Result],
        parts: list[Any],
        *arguments: Any,
        report: Callable[[int], None] | None = None,
    ) -> list[Result]:
        """Call ``function(part, self, *arguments)`` for one part after another."""
        options = {} if report is None else {"report": report}
        return [function(part, self, *arguments, **options) for part in parts]

    def total(
        self,
        function: Callable[..., Result],
        parts: list[Any],
        *arguments: Any,
        report: Callable[[int], None] | None = None,
        is_large: bool = False,
    ) -> Result:
        """As `run`, but return the total of the results."""
        results = self.run(function, parts, *arguments, report=report)
        total: Result = total_of(in_groups(results, total_of))
        return total

    def change(self, function: Callable[..., Result], parts: list[Any], *arguments: Any) -> Result:
        """Call a function that changes the part, for one part after another."""
        return self.total(function, parts, *arguments)

    def begin_change(
        self, function: Callable[..., Result], parts: list[Any], *arguments: Any
    ) -> Callable[[], Result]:
        """As `change`, which ends before this returns."""
        total = self.change(function, parts, *arguments)
        return lambda: total

    def made(self, function: Callable[..., Any], parts: list[Any], *arguments: Any) -> list[Any]:
        """Parts that a function makes of other parts."""
        return self.run(function, parts, *arguments)

    def spread(self, values: list[Any]) -> list[Any]:
        """Parts that are values of this process."""
        return values

    def beside(self, parts: Sequence[list[Any]]) -> list[Any]:
        """Parts that are lists of parts."""
        return [list(few) for few in zip(*parts, strict=True)]

    def rows_of(self, parts: list[Any], name: str) -> NDArray[Any]:
        """An attribute of all parts, joined."""
        arrays = [getattr(part, name) for part in parts]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    def share(self, n_bytes: int, parts: list[Any]) -> int:
        """What each part may keep, if all parts keep so many bytes together."""
        return n_bytes // len(parts)

    def finish(self, function: Callable[[], Result]) -> Result:
        """
        Run a function to its end, also during a KeyboardInterrupt.

        The interrupt is raised afterwards, so that the function never leaves a change incomplete.
        """
        future = self._finisher.submit(function)
        interrupt = None
        while not future.done():
            try:
                wait([future])
            except KeyboardInterrupt as raised:
                interrupt = raised
        result = future.result()
        if interrupt is not None:
            raise interrupt
        return result


class Products(Workers):
    """Workers for functions that are large matrix products, which use several threads each."""

    def __enter__(self) -> Products:
        self._exits = ExitStack()
        self._exits.enter_context(threads_of_products(self.n_threads))
        return self
