"""A fit of AMSH whose features are Dask arrays: their partitions are the parts of the samples."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._core.cluster import Cluster
from ..._core.cluster_rows import ClusterRows, RemotePart, submitted
from ..._core.labels import check_labels, label_classes
from ..._core.rows import Rows
from .._preprocessing import kinds_of, preprocess
from .._progress import Report
from ..base import read_modalities
from ._code_parts import CodePart, LabelRows
from ._fit import AmshFit
from ._settings import check_problem, settings_for

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["fit_on_cluster"]


class ClusterLabels:
    """
    Labels of one modality, cut at the partitions of its features.

    Parameters
    ----------
    client : distributed.Client
    bounds : ndarray of int64
        The first row of each part, and the number of rows.
    labels : csr_array
        Ones where a sample has a label.
    """

    def __init__(self, client: Any, bounds: NDArray[np.int64], labels: csr_array) -> None:
        self._labels = labels
        self._futures = submitted(
            client,
            [CodePart(a, LabelRows.of(labels[a:b])) for a, b in pairwise(bounds.tolist())],
        )

    def matrix(self) -> csr_array:
        """Return the labels as they were given."""
        return self._labels

    def parts(self) -> list[RemotePart]:
        """The parts on their workers, without latents."""
        return [RemotePart(future) for future in self._futures]


def fit_on_cluster(
    model: Any,
    client: Any,
    features: Mapping[str, Any],
    labels: Mapping[str, Any],
    lengths: tuple[int, ...],
    report: Report,
    resume: bool,
    n_threads: int | None,
) -> tuple[AmshFit, dict[str, Rows]]:
    """
    Check all arguments, and run a fit on the workers of a cluster.

    Codes, latents, labels and features of a partition stay on its worker. A sweep sends votes and
    Gram matrices, whose size does not depend on the number of samples. The features of the sample
    from which hash functions start, and the codes at the end, come to this process.

    Raises
    ------
    TypeError, ValueError
        If parameters, features or labels are unsuitable, or need all samples in one process.
    """
    if resume:
        raise ValueError("resume=True, but a fit of Dask arrays cannot be resumed")
    if not isinstance(model.init, str) or model.init != "random":
        raise ValueError(
            f"init={'latents' if isinstance(model.init, Mapping) else repr(model.init)} needs all "
            "samples in one process: with Dask arrays pass init='random'"
        )
    x = read_modalities(features, client=client)
    kinds = kinds_of(model, x)
    prepared, preprocessing = preprocess(x, kinds)
    # The labels of all samples are checked in this process, and then go to the workers.
    labels = {name: y.compute() if hasattr(y, "compute") else y for name, y in labels.items()}
    given = check_labels(labels, {name: len(rows) for name, rows in x.items()})
    check_problem(model, prepared, given, max(lengths))
    fit = AmshFit(
        settings_for(model, prepared, lengths, kinds),
        {name: ClusterLabels(client, _bounds_of(x[name]), y) for name, y in given.items()},
        label_classes(labels),
        {name: (rows.shape, rows.dtype) for name, rows in x.items()},
        preprocessing,
        model.random_state,
    )
    fit.run(prepared, Cluster(client, n_threads), report)
    return fit, x


def _bounds_of(x: Rows) -> NDArray[np.int64]:
    assert isinstance(x, ClusterRows)
    return x.bounds
