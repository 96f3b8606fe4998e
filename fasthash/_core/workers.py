"""Threads that share work over blocks of rows.

`Workers` runs a function over strips of blocks, a strip to a thread, and yields the results in
order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack
from functools import partial, reduce
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .pieces import cut

__all__ = ["Workers", "add_up", "threads_of_products"]

Result = TypeVar("Result")

# Blocks in a strip, at most. What a strip accumulates is added up once per strip.
_STRIP_BLOCKS = 8


def add_up(parts: Iterable[NDArray[Any]]) -> NDArray[Any]:
    """Add arrays of one shape, in their order: at least one."""
    return reduce(np.add, parts)


def threads_of_products(n_threads: int) -> AbstractContextManager[Any]:
    """Let matrix products of this process use so many threads, until the context ends."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(n_threads, "blas")


class Workers(AbstractContextManager["Workers"]):
    """
    Threads that work on strips of rows, each with a matrix product of one thread.

    Two sets of threads, ours and those of the linear algebra, would take turns on the same cores;
    so while the workers exist the linear algebra of the process runs on one thread per call.

    Parameters
    ----------
    n_threads : int
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def __enter__(self) -> Workers:
        from threadpoolctl import ThreadpoolController

        self._exits = ExitStack()
        # For the process, and in each thread, because OpenMP counts threads per thread.
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
        Call a function with strips of blocks; yield its results in the order of the strips.

        How blocks make strips depends on their number alone, so that sums over the results do not
        depend on the number of threads. Not many more results than threads are held at a time.
        """
        size = max(1, min(_STRIP_BLOCKS, len(blocks) // 16))
        strips = [blocks[strip] for strip in cut(len(blocks), most=size)]
        if self.n_threads == 1:
            yield from map(function, strips)
            return
        waiting: deque[Any] = deque()
        try:
            for strip in strips:
                waiting.append(self._pool.submit(function, strip))
                if len(waiting) > self.n_threads + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def finish(self, function: Callable[[], Result]) -> Result:
        """
        Run a function to its end, whatever happens meanwhile.

        A KeyboardInterrupt is raised after it: what it changes is never left half changed.
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
