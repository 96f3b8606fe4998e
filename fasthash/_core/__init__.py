"""What the public modules stand on: nothing here is public.

- ``runtime``: instruction sets, threads, OpenMP, the fork guard.
- ``interruptible``: long calls of numpy that Ctrl-C can end.
- ``validation``: arguments of the public functions: numbers, features, labels, pairs, choices.
- ``rows``: feature matrices read block by block, and threads over strips of rows.
- ``features``: centring and RBF anchor features of a block.
- ``scan``: searches of validated codes by comparing all of them.
- ``files``: files that are written whole or not at all.
"""
