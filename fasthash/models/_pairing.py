"""Bring the rows of pairs together, on one machine and on a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .._core.cluster_rows import ClusterRows
from .._core.rows import Rows

__all__ = ["pairs_together"]


def pairs_together(x: Mapping[str, Rows], pairs: NDArray[np.int64] | None) -> dict[str, Rows]:
    """
    The rows of pairs; row i of one modality belongs to row i of the others.

    On a cluster, partners are in parts with the same number, in the order of the pairs. There are
    as many parts as the first modality has partitions, and rows that lie elsewhere are sent from
    worker to worker. If row i belongs to row i, the parts are the partitions of the first modality.
    """
    first = next(iter(x.values()))
    if not isinstance(first, ClusterRows):
        if pairs is None:
            return dict(x)
        return {
            name: rows.subset(own) for (name, rows), own in zip(x.items(), pairs.T, strict=True)
        }
    bounds = first.bounds
    if pairs is None:
        pairs = np.repeat(np.arange(len(first))[:, None], len(x), axis=1)
    else:
        bounds = np.unique(np.linspace(0, len(pairs), len(bounds)).astype(np.int64))
    together: dict[str, Rows] = {}
    for (name, rows), own in zip(x.items(), pairs.T, strict=True):
        assert isinstance(rows, ClusterRows)
        together[name] = rows.arranged([own[a:b] for a, b in pairwise(bounds)])
    return together
