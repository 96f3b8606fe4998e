"""The server: a socket that is open before the work begins, uvicorn, and an orderly end."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading

import uvicorn
from starlette.types import ASGIApp

__all__ = ["leave", "open_socket", "serve", "url_of"]

# Requests that are answered or wait to be; more get status 503.
_MOST_AT_ONCE = 1000

# After a signal, requests that are being answered have this long.
_SECONDS_TO_END = 5


def open_socket(host: str, port: int) -> socket.socket:
    """
    Listen.

    Parameters
    ----------
    host : str
        A name or an address of this machine.
    port : int
        0 for any that is free.

    Raises
    ------
    OSError
        If the host is none of this machine, or the port is in use or not allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise OSError(f"host {host} is no name or address: {error.strerror}") from None
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            # Connections of a server that has just ended are no obstacle.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(1024)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(
                f"port {port} of {host} is in use: use another port, or 0 for any that is free"
            ) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise OSError(f"host {host} is no address of this machine") from None
        raise OSError(f"port {port} of {host}: {error.strerror}") from None
    return sock


def url_of(sock: socket.socket) -> str:
    """Where a browser finds what listens there."""
    host, port = sock.getsockname()[:2]
    # An address that stands for all is none that a browser could open.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(app: ASGIApp, sock: socket.socket, proxy: str | None = None) -> None:
    """
    Answer requests until SIGINT or SIGTERM; those under way are answered first.

    Parameters
    ----------
    app : ASGI application
    sock : socket
        As `open_socket` returns it; it is closed.
    proxy : str, optional
        The address of a proxy whose word on who the client is counts.
    """
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=proxy is not None,
        forwarded_allow_ips=proxy,
        limit_concurrency=_MOST_AT_ONCE,
        timeout_graceful_shutdown=_SECONDS_TO_END,
    )
    ends = (signal.SIGINT, signal.SIGTERM)
    # uvicorn ends in order, then raises the signal again, which has done its work by then.
    before = {number: signal.signal(number, lambda *_: None) for number in ends}
    try:
        uvicorn.Server(config).run(sockets=[sock])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sock.close()


def leave() -> None:
    """
    End the process here if a thread is still busy, with a function that does not return.

    Python would wait for it as long as it takes.
    """
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(1)
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(0)
