"""Limits on requests: size of the body, length of the query string, requests per second.

This module also adds the headers of every answer. Everything here is ASGI middleware in front of
the application, so that a refused request costs almost nothing.
"""

from __future__ import annotations

import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Limits", "RateLimit", "SafeHeaders", "TokenBuckets", "read_bytes", "read_json"]

# Number of clients that are remembered. The client with the oldest request is forgotten first.
_MOST_CLIENTS = 10_000

# This exceeds the size of the longest allowed texts: a character of four bytes takes twelve bytes
# in a query string.
_MOST_QUERY_BYTES = 1 << 14

# The page may load its own style and script and call its own API; no other page may embed it.
# It shows a file that somebody drops on it, which has an address of the kind blob.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Limits:
    """
    Limits on the requests of a client.

    Attributes
    ----------
    rate : float
        Average number of requests per second and client; 0 for no limit.
    burst : int
        Number of requests that a client may send at once.
    body_bytes : int
        Largest size of a body.
    body_seconds : float
        Time within which a body must arrive.
    """

    rate: float = 100.0
    burst: int = 500
    body_bytes: int = 1 << 20
    body_seconds: float = 20.0


class TokenBuckets:
    """
    Token buckets: each client has one, a request takes a token, and tokens return with time.

    Parameters
    ----------
    rate : float
        Tokens that return per second.
    burst : int
        Number of tokens in a full bucket.
    clock : callable, default time.monotonic
        Returns the time in seconds.
    """

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: str) -> float:
        """Take a token and return 0, or return the seconds until there is one."""
        now = self._clock()
        tokens, then = self._buckets.pop(client, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._rate
        self._buckets[client] = (tokens if wait else tokens - 1, now)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return wait


class RateLimit:
    """Refuse clients that send too many requests, and query strings that are too long."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._buckets = TokenBuckets(limits.rate, limits.burst) if limits.rate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            client = scope["client"][0] if scope.get("client") else ""
            wait = 0.0 if self._buckets is None else self._buckets.take(client)
            if wait:
                seconds = math.ceil(wait)
                answer = JSONResponse(
                    {"error": f"too many requests: wait {seconds} s"},
                    429,
                    headers={"Retry-After": str(seconds)},
                )
                return await answer(scope, receive, send)
            if len(scope["query_string"]) > _MOST_QUERY_BYTES:
                text = f"the query has more than {_MOST_QUERY_BYTES} bytes"
                return await JSONResponse({"error": text}, 414)(scope, receive, send)
        await self._app(scope, receive, send)


class SafeHeaders:
    """Add headers to every answer that forbid a browser what the page does not need."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, send_with_headers)


async def read_json(request: Request, limits: Limits) -> object:
    """
    Read the JSON body of a request, within the limits of size and time.

    Raises
    ------
    HTTPException
        415 if the content type is not JSON, 413 if the body is too large, 408 if it does not arrive
        in time, 400 if it is not valid JSON, or gives a parameter twice.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "the body must be application/json")
    body = await _read(request, limits.body_bytes, limits.body_seconds)
    try:
        return json.loads(body, parse_constant=_refuse, object_pairs_hook=_each_once)
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not valid JSON") from None


async def read_bytes(request: Request, most_bytes: int, limits: Limits) -> bytes:
    """
    Read the body of a request that is a file, within a limit of size and that of time.

    Raises
    ------
    HTTPException
        413 if the body is too large, 408 if it does not arrive in time, 400 if it is empty.
    """
    body = await _read(request, most_bytes, limits.body_seconds)
    if not body:
        raise HTTPException(400, "the body is empty: a file is needed")
    return bytes(body)


async def _read(request: Request, most_bytes: int, seconds: float) -> bytearray:
    too_large = HTTPException(413, f"the body has more than {most_bytes} bytes")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most_bytes:
        raise too_large
    body = bytearray()
    try:
        with anyio.fail_after(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most_bytes:
                    raise too_large
    except TimeoutError:
        raise HTTPException(408, "the body did not arrive in time") from None
    except ClientDisconnect:
        raise HTTPException(400, "the body ended early") from None
    return body


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not valid JSON")


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The parameters; Python would take the last of several with one name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise HTTPException(400, "a parameter is given twice")
    return found
