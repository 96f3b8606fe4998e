"""The client of a Dask cluster."""

from __future__ import annotations

from typing import Any

__all__ = ["client_of"]


def client_of(client: Any) -> Any:
    """
    Return the client that is given, or else the current one.

    Raises
    ------
    ImportError
        If Dask is not installed.
    TypeError, ValueError
        If it is not a client, or there is none, or it was made for coroutines.
    """
    try:
        import distributed
    except ImportError:
        raise ImportError(
            "fasthash.distributed needs Dask: pip install 'fasthash-retrieval[distributed]'"
        ) from None
    if client is None:
        try:
            client = distributed.get_client()
        except ValueError:
            raise ValueError(
                "there is no client of a Dask cluster: make one, such as "
                "distributed.Client(address), or pass client="
            ) from None
    if not isinstance(client, distributed.Client):
        raise TypeError(f"client must be a distributed.Client, got {type(client).__name__}")
    if client.asynchronous:
        raise ValueError("client is asynchronous: pass one that is made without asynchronous=True")
    return client
