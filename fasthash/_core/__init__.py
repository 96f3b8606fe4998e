"""What the public modules stand on: nothing here is public.

- ``runtime``: instruction sets, threads, OpenMP.
- ``interruptible``: long calls of numpy that Ctrl-C can end.
- ``validation``: arguments of the public functions: numbers, features, labels, pairs, choices.
- ``pieces``: work cut into blocks of a bounded size, and calls that take a bounded time.
- ``rows``: feature matrices read block by block.
- ``workers``: threads that share work over blocks of rows.
- ``features``: centring and RBF anchor features of a block.
- ``allowed``: which rows a search may find.
- ``scan``: searches of validated codes by comparing all of them.
- ``files``: files that are written whole or not at all.
"""
