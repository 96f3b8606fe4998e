"""The search page and its API, ``fasthash serve``: an ASGI application on Starlette.

Map, from what is searched to what a client sees; each imports from those above it only:

- ``gallery``: what is shown of items, their names, labels and pictures.
- ``collection``: codes of one or several lengths, searched by words, items, features or codes.
- ``emoji``: the embedded emoji as a collection.
- ``schema``: what requests may say; the same objects check requests and document them.
- ``operations``: what the API can be asked, a function per operation; a search starts here.
- ``openapi``: the description of the API, made from the operations.
- ``limits``: how much a client may ask, and the headers that every answer has.
- ``app``: the application, which routes paths to operations. ``search.html``, ``search.css`` and
  ``search.js`` are the page, which asks the API like any other program.
- ``server``: a socket, uvicorn, and an orderly end.

Nothing here knows models or the command line: a collection is given functions.
"""
