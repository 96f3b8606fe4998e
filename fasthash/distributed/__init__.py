"""Work on several processes or machines, with Dask.

The modules of this folder:

- ``sharded_index``: `ShardedIndex`, an index whose codes lie on the workers of a Dask cluster; its
  searches. ``_sharded_codes`` has its changes and files.
- ``_shards``: what a worker does with a shard: make, open, search, change and save it.
- ``_partitions``: Dask arrays of codes and ids, cut into the shards that they become; their checks.
- ``_direct``: searches for few queries, without tasks; ``_lazy_search``: of a Dask array.
- ``_merging``: the answers of several shards become one answer.
- ``_manifest``: the folder of files to which a sharded index is saved.
- ``_cluster``: the client of a cluster.
- ``reading``: `read_arrays`, a Dask array of several files.
- ``evaluation``: mean average precision, precision and recall over partitions of a database.

Nothing here imports Dask before a function is called that needs it.
"""

from .evaluation import average_precision, mean_average_precision, precision_at, recall_at
from .reading import read_arrays
from .sharded_index import ShardedIndex

__all__ = [
    "ShardedIndex",
    "average_precision",
    "mean_average_precision",
    "precision_at",
    "read_arrays",
    "recall_at",
]
