"""The ASGI application: the page, the API's operations, its description."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .._core.runtime import resolve_threads
from .collection import Collection
from .limits import Limits, RateLimit, SafeHeaders, read_json
from .openapi import describe
from .operations import ID, Operation, operations
from .schema import check, check_object, from_query

__all__ = ["application"]

# All files that are served; read once, so that no request names a file.
_FILES = {
    "/": ("search.html", "text/html"),
    "/search.css": ("search.css", "text/css"),
    "/search.js": ("search.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


def application(
    collection: Collection, limits: Limits | None = None, hosts: Sequence[str] = ("*",)
) -> ASGIApp:
    """
    Make the application.

    Parameters
    ----------
    collection : Collection
    limits : Limits, optional
    hosts : sequence of str, default any
        Names that the server may be called by in a request. A page elsewhere whose name leads here
        is so kept from asking.

    Returns
    -------
    ASGI application
    """
    limits = limits or Limits()
    table = operations(collection)
    # Searches leave the event loop, as many at a time as there are cores. Those by words, which
    # wait for a function that may be slow, keep no others waiting.
    n_threads = resolve_threads(None)
    threads, for_words = anyio.CapacityLimiter(n_threads), anyio.CapacityLimiter(n_threads)
    routes = [
        Route(path, _file(name, kind), methods=["GET"]) for path, (name, kind) in _FILES.items()
    ]
    routes.append(Route("/openapi.json", _constant(describe(collection.title, table))))
    routes += [
        Route(
            one.path,
            _endpoint(one, collection, limits, for_words if one.name == "search" else threads),
            methods=[one.method],
        )
        for one in table
    ]
    app = Starlette(
        routes=routes, exception_handlers={HTTPException: _refusal, Exception: _failure}
    )
    app.router.redirect_slashes = False
    known = TrustedHostMiddleware(RateLimit(app, limits), list(hosts), www_redirect=False)
    return SafeHeaders(known)


def _endpoint(
    operation: Operation, collection: Collection, limits: Limits, threads: anyio.CapacityLimiter
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        body = None if operation.body is None else await read_json(request, limits)
        values = _values(operation, request)
        work = functools.partial(_run, operation, collection, values, body)
        try:
            return await anyio.to_thread.run_sync(work, limiter=threads, abandon_on_cancel=True)
        except asyncio.CancelledError:
            # By the server, which has waited long enough for those under way.
            raise HTTPException(503, "the server is ending") from None

    return answer


def _values(operation: Operation, request: Request) -> dict[str, Any]:
    """What the path and the query say, checked."""
    given = request.query_params.multi_items()
    texts = dict(given)
    if len(texts) < len(given):
        raise HTTPException(400, "a parameter is given twice")
    query = {
        name: from_query(text, operation.query[name]) if name in operation.query else text
        for name, text in texts.items()
    }
    values = check_object(query, operation.query, operation.required)
    if "id" in request.path_params:
        values["id"] = check("id", from_query(request.path_params["id"], ID), ID)
    return values


def _run(
    operation: Operation, collection: Collection, values: dict[str, Any], body: object
) -> Response:
    if operation.body is not None:
        values |= operation.body.check(body)
    content = operation.run(collection, values)
    if isinstance(content, tuple):
        picture, kind = content
        return Response(picture, media_type=kind, headers={"Cache-Control": "max-age=3600"})
    return JSONResponse(content)


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    content = Path(__file__).with_name(name).read_bytes()

    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return answer


def _constant(content: Any) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return JSONResponse(content)

    return answer


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _failure(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the server failed; its log says where"}, 500)
