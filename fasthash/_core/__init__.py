"""Private modules that all public modules use.

- ``arrays``: an argument as a numpy array; lists, data frames and tensors are read here.
- ``validation``: checks of arguments: counts, choices, filters of rows, features, pairs. Errors for
  a wrong dtype or shape of features are raised here (those for codes in ``fasthash/codes``).
- ``suspicious``, ``suspicious_columns``: warnings about features that are valid, but say nothing or
  ruin a fit.
- ``labels``: labels of samples, checked and turned into 0/1 columns.
- ``runtime``: instruction sets, threads, OpenMP.
- ``interruptible``: long calls of numpy that Ctrl-C can end.
- ``kept``: attributes that are computed when they are first read.
- ``pieces``: work cut into blocks of a bounded size, and calls that take a bounded time.
- ``rows``: feature matrices read block by block.
- ``workers``: what a fit needs of an executor; threads that share work over blocks of rows.
- ``merges``: sums and answers of many parts, merged on workers.
- ``worker_memory``: whether partitions fit into the memory of a worker of Dask.
- ``cluster_rows``, ``cluster``: features, and parts of the samples of a fit, on the workers of a
  Dask cluster; what runs a fit there.
- ``features``: centring and RBF anchor features of a block.
- ``stored_codes``: codes that may lie in another order than their rows.
- ``allowed``: the rows that a filter allows, and how a search is restricted to them.
- ``excluded``: searches of a set against itself, which leave out the code of the query.
- ``weights``: weights of queries, checked and rounded to integers.
- ``scan``: searches that compare each query with all checked codes.
- ``words``: words of texts, and words that are spelt alike.
- ``files``: files that are written whole or not at all, and the kind of a file.
"""
