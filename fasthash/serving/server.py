"""The server: a socket that is opened early, uvicorn, and an orderly shutdown."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["leave", "open_socket", "serve", "url_of"]

# Number of requests that may be in progress or wait; further requests get status 503.
_MOST_AT_ONCE = 1000

# Seconds that requests in progress have after a signal.
_SECONDS_TO_END = 5


class _Protocol(H11Protocol):
    """The protocol of uvicorn, which answers a body that is not valid HTTP only once."""

    def send_400_response(self, msg: str) -> None:
        if self.cycle is not None:
            # The application may still answer the request. uvicorn drops what it sends then,
            # because this connection accepts no second answer.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()


def open_socket(host: str, port: int) -> socket.socket:
    """
    Open a socket that listens at a host and a port.

    Parameters
    ----------
    host : str
        A name or an address of this machine.
    port : int
        Port, or 0 for any free port.

    Returns
    -------
    socket
        A listening socket.

    Raises
    ------
    OSError
        If the host is not this machine, or the port is in use or not allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise OSError(f"host {host} is not a known name or address: {error.strerror}") from None
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            # The port can be used again immediately after another server has ended.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(1024)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(
                f"port {port} of {host} is in use: use another port, or 0 for any free port"
            ) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise OSError(f"host {host} is not an address of this machine") from None
        raise OSError(f"port {port} of {host}: {error.strerror}") from None
    return sock


def url_of(sock: socket.socket) -> str:
    """Return the URL at which a browser can reach the server."""
    host, port = sock.getsockname()[:2]
    # A browser cannot open the address that stands for all addresses.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(app: ASGIApp, sock: socket.socket, proxy: str | None = None) -> None:
    """
    Serve requests until SIGINT or SIGTERM, and finish the requests in progress.

    Parameters
    ----------
    app : ASGI application
        Application that answers the requests.
    sock : socket
        A socket of `open_socket`. It is closed at the end.
    proxy : str, optional
        Address of a trusted proxy, whose headers give the addresses of clients.
    """
    config = uvicorn.Config(
        app,
        http=_Protocol,
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
    # uvicorn shuts down and then raises the signal again. These handlers ignore the second signal.
    before = {number: signal.signal(number, lambda *_: None) for number in ends}
    try:
        uvicorn.Server(config).run(sockets=[sock])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sock.close()


def leave() -> None:
    """
    End the process even if a thread is still busy in a function that does not return.

    At a normal exit, Python would wait for this thread.
    """
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(1)
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(0)
