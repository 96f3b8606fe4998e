"""How fast fasthash is on this machine, against plain numpy, a peer and what the machine can do.

- ``timing``: calls measured in turn, ratios within a round.
- ``random_codes``: codes to search, uniform and clustered.
- ``peers``, ``model_peers``: the same answers by numpy and by faiss-cpu.
- ``measurements``: what `fasthash bench` measures.

The figures of the repository, more of everything, are made by its folder ``benchmarks``, which
measures with these modules too.
"""
