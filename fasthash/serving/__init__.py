"""The search page and its API, ``fasthash serve``: an ASGI application on Starlette.

The modules, from the data to the network; each imports only modules above it:

- ``gallery``: names, labels and pictures of items.
- ``item_words``: the words of the texts of items.
- ``searches``: the search of queries, by the code of a model and by words; it searches the index.
- ``collection``: codes of one or several lengths, searched by text, item, features or code.
- ``emoji``: the emoji data set as a collection.
- ``schema``: schemas of request values. The same objects check the requests and document them.
- ``operation``: what an operation of the API is.
- ``parameters``: the parameters of searches, their schemas and checks.
- ``operations``: the table of the operations of the API. Its functions ``_search``,
  ``_search_rows``, ``_search_codes`` and ``_neighbours`` turn a request into a search: they call
  ``collection``.
- ``openapi``: the OpenAPI description of these operations.
- ``limits``: limits on the requests of a client, and the headers of every answer.
- ``app``: the ASGI application, which routes paths to operations. The page consists of
  ``search.html``, ``search.css`` and ``search.js`` of the templates of ``pages``, and calls the API
  like any other program.
- ``server``: a socket, uvicorn, and an orderly shutdown.

Only ``emoji`` imports models, and no module imports the command line: a collection is given
functions that encode.
"""
