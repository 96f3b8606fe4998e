"""The option ``--cluster`` of several commands: they work on the processes of a Dask cluster."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.readers import read_numbers, split_source
from . import inputs

__all__ = [
    "absolute",
    "add_cluster",
    "check_fits_on_cluster",
    "connected",
    "features_by_workers",
    "placing",
    "rows_by_workers",
]

_LOCAL = "local"

# Seconds to wait for the scheduler of a cluster.
_TIMEOUT = 30


def add_cluster(command: argparse.ArgumentParser, what: str) -> None:
    """Add the option; `what` says what is done on the cluster."""
    command.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help=f"{what} on the workers of a Dask cluster: the address of its scheduler, such as "
        "tcp://host:8786, or 'local' for processes on this machine, one per core; all workers "
        "must see the files under the same names",
    )


def check_fits_on_cluster(methods: Sequence[str], option: str, options: Any) -> None:
    """
    Check before anything starts that workers can fit methods to the features of an option.

    Raises
    ------
    ValueError
        If the features are in the file of --data, or a method is fitted in one process only.
    """
    if getattr(options, option) is None:
        raise ValueError(
            f"--cluster goes with --{option}, because workers read each source again: name the "
            f"arrays one by one, as in image={options.data or 'FILE'}:NAME"
        )
    able = [name for name in inputs.METHODS if inputs.method_of(name)._fits_on_cluster]
    for method in methods:
        if method not in able:
            raise ValueError(
                f"--cluster: {method} is fitted in one process, {', '.join(able[:-1])} and "
                f"{able[-1]} are fitted on a cluster too"
            )


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """
    Connect to a cluster, or start one on this machine, until the context ends.

    Yields
    ------
    distributed.Client
        It is the current client.

    Raises
    ------
    ImportError
        If Dask is not installed.
    OSError
        If no scheduler answers.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise ImportError(
            "--cluster needs Dask: pip install 'fasthash-retrieval[distributed]'"
        ) from None
    if address != _LOCAL:
        with Client(address, timeout=_TIMEOUT) as client:
            yield client
        return
    with (
        LocalCluster(threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def placing(address: str | None) -> Iterator[Callable[..., dict[str, Any]]]:
    """
    Let features be where the work is done, until the context ends.

    Parameters
    ----------
    address : str or None
        The cluster; its client is current in the context. None for this process.

    Yields
    ------
    callable
        Called as ``place(sources, features, columns=False)`` with the pairs of modality and source
        of an option, and the features that this process has read from them by modality; returns
        the features by modality. On a cluster these are Dask arrays.
    """
    with contextlib.nullcontext() if address is None else connected(address) as client:

        def place(
            sources: Sequence[tuple[str, str]], features: dict[str, Any], columns: bool = False
        ) -> dict[str, Any]:
            if client is None:
                return features
            named = dict(sources)
            return {
                name: features_by_workers(client, named[name], x, columns)
                for name, x in features.items()
            }

        yield place


def absolute(source: str) -> str:
    """A source whose path does not depend on the folder of the process."""
    path, name = split_source(source)
    path = os.path.abspath(path)
    return path if name is None else f"{path}:{name}"


def rows_by_workers(client: Any, x: Any, read: Callable[[], Any]) -> Any:
    """
    A Dask array with the rows of `x`, which workers read again, a part for each of their threads.

    Parameters
    ----------
    client : distributed.Client
    x : array_like
        What `read` returns, in this process.
    read : callable
        Reads it on a worker.
    """
    import dask
    import dask.array as da

    n_parts = max(1, sum(client.nthreads().values()))
    rows = max(1, -(-x.shape[0] // n_parts))
    part = dask.delayed(_part_of, pure=True)
    starts = range(0, x.shape[0], rows)
    sizes = [min(rows, x.shape[0] - start) for start in starts]
    return da.concatenate(
        [
            da.from_delayed(part(read, start, n), (n, x.shape[1]), x.dtype)
            for start, n in zip(starts, sizes, strict=True)
        ]
    )


def features_by_workers(client: Any, source: str, x: Any, columns: bool) -> Any:
    """
    `rows_by_workers` of the features of a source.

    Parameters
    ----------
    client : distributed.Client
    source : str
    x : array_like
        The features as this process read them, where samples are rows.
    columns : bool
        Whether samples are columns in the source; if not, they are where the shape is another one.
    """
    is_transposed = columns or x.shape != read_numbers(source).shape
    return rows_by_workers(client, x, partial(_features_again, absolute(source), is_transposed))


def _features_again(source: str, is_transposed: bool) -> Any:
    x = read_numbers(source)
    return x.T if is_transposed else x


def _part_of(read: Callable[[], Any], start: int, n: int) -> NDArray[Any]:
    return np.asarray(read()[start : start + n])
