"""The ASGI application: the page, the operations of the API, and their description.

A search request enters here first, in `_endpoint`, which checks its values and starts the operation
in a thread. The operation is a function of ``operations``; it calls ``collection``, which calls
`index.search`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .. import __version__
from .._core.runtime import resolve_threads
from ..pages.templates import render, source
from .collection import Collection
from .limits import Limits, RateLimit, SafeHeaders, read_bytes, read_json
from .openapi import describe
from .operation import Operation
from .operations import NoKnownWord, info, operations
from .parameters import ID
from .schema import check, check_object, from_query

__all__ = ["application"]

# The recalls that the page offers, of those of the API.
_RECALLS_OF_PAGE = (0.99, 0.95, 0.9)

# Operations that call a function of the user.
_OF_USERS = ("search", "search_file")


def application(
    collection: Collection, limits: Limits | None = None, hosts: Sequence[str] = ("*",)
) -> ASGIApp:
    """
    Make the application.

    Parameters
    ----------
    collection : Collection
        Items to search.
    limits : Limits, optional
        Limits on requests; by default those of ``Limits()``.
    hosts : sequence of str, default any
        Host names that are accepted in requests. This prevents DNS rebinding: a page of another
        site cannot reach this server by a host name of its own.

    Returns
    -------
    ASGI application
    """
    limits = limits or Limits()
    table = operations(collection)
    # Searches run in threads, at most one for each core. Searches by text have threads of their
    # own, so that a slow function of the user does not delay other searches.
    n_threads = resolve_threads(None)
    threads, for_words = anyio.CapacityLimiter(n_threads), anyio.CapacityLimiter(n_threads)
    routes = [
        Route(path, _file(content, kind), methods=["GET"])
        for path, content, kind in _page(collection)
    ]
    routes.append(Route("/openapi.json", _constant(describe(collection.title, table))))
    routes += [
        Route(
            one.path,
            _endpoint(one, collection, limits, for_words if one.name in _OF_USERS else threads),
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
        body: object = None
        if operation.most_bytes:
            body = await read_bytes(request, operation.most_bytes, limits)
        elif operation.body is not None:
            body = await read_json(request, limits)
        values = _values(operation, request)
        work = functools.partial(_run, operation, collection, values, body)
        try:
            return await anyio.to_thread.run_sync(work, limiter=threads, abandon_on_cancel=True)
        except asyncio.CancelledError:
            # The server cancels requests that are not finished in time after a signal.
            raise HTTPException(503, "the server is shutting down") from None

    return answer


def _values(operation: Operation, request: Request) -> dict[str, Any]:
    """Return the checked values of the path and the query string."""
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
    elif operation.most_bytes:
        values["file"] = body
    content = operation.run(collection, values)
    if isinstance(content, tuple):
        file, kind = content
        return Response(file, media_type=kind, headers={"Cache-Control": "max-age=3600"})
    return JSONResponse(content)


def _page(collection: Collection) -> Iterator[tuple[str, str, str]]:
    """
    Yield the path, the content and the media type of each file of the page.

    They are made once, so that a request cannot name another file.
    """
    labels = collection.gallery.labels
    said = info(collection, {})
    page = render(
        "search.html",
        info=said,
        version=__version__,
        examples=collection.examples,
        labels=[
            (name, collection.count(name)) for name in ([] if labels is None else labels.names)
        ],
        by_words=collection.item_words is not None,
        by_item=["weights", "distance"] if collection.has_item_weights else ["distance"],
        recalls=_RECALLS_OF_PAGE if collection.has_lists else (),
    )
    yield "/", page, "text/html"
    yield "/search.css", render("search.css"), "text/css"
    yield "/search.js", source("search.js"), "text/javascript"
    yield "/icon.svg", source("icon.svg"), "image/svg+xml"


def _file(content: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return answer


def _constant(content: Any) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return JSONResponse(content)

    return answer


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    more = error.more if isinstance(error, NoKnownWord) else {}
    return JSONResponse({"error": error.detail, **more}, error.status_code, headers=error.headers)


async def _failure(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "internal error: see the log of the server"}, 500)
