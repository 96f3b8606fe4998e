"""Codes and projections of features, block by block, on threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .._core.cluster import executor_of
from .._core.features import BlockMap
from .._core.pieces import cut
from .._core.rows import Rows
from .._core.workers import Workers
from ..codes import pack_signs
from ._progress import Report, ignore

__all__ = ["encode_rows", "encode_samples", "project_rows", "visit_rows"]

# Values in a block that is encoded: so few that a thousand samples keep two threads busy.
_BLOCK_VALUES = 1 << 20


def project_rows(
    x: Rows,
    feature_map: BlockMap,
    projection: NDArray[np.float64],
    n_threads: int,
    report: Report = ignore,
    stage: str = "project",
) -> NDArray[np.floating]:
    """Compute mapped features times a projection, block by block; in the dtype of the rows."""
    projections = np.empty((len(x), projection.shape[1]), x.dtype)

    def store(rows: slice, block: NDArray[np.floating]) -> None:
        projections[rows] = block

    _project(store, x, feature_map, projection, n_threads, report, stage)
    return projections


def encode_rows(
    x: Rows,
    feature_map: BlockMap,
    projection: NDArray[np.float64],
    n_threads: int,
    report: Report = ignore,
    stage: str = "encode",
) -> NDArray[np.uint8]:
    """Compute the packed signs of `project_rows`, without holding it."""
    codes = np.empty((len(x), (projection.shape[1] + 7) // 8), np.uint8)

    def store(rows: slice, block: NDArray[np.floating]) -> None:
        codes[rows] = pack_signs(block)

    _project(store, x, feature_map, projection, n_threads, report, stage)
    return codes


def encode_samples(
    x: Rows,
    feature_map: BlockMap,
    projection: NDArray[np.float64],
    n_threads: int | None,
    report: Report,
    stage: str,
) -> NDArray[np.uint8]:
    """Compute `encode_rows` of the samples of a fit where they are, and bring the codes here."""
    with executor_of(x, n_threads) as workers:
        codes = workers.run(
            _codes_of_part,
            *(x.parts(), feature_map, projection),
            report=lambda done: report(stage, done, len(x)),
        )
    return codes[0] if len(codes) == 1 else np.concatenate(codes)


def _codes_of_part(
    x: Rows,
    workers: Workers,
    feature_map: BlockMap,
    projection: NDArray[np.float64],
    report: Callable[[int], None] = lambda done: None,
) -> NDArray[np.uint8]:
    return encode_rows(
        *(x, feature_map, projection, workers.n_threads), lambda _, done, total: report(done)
    )


def _project(
    store: Callable[[slice, NDArray[np.floating]], None],
    x: Rows,
    feature_map: BlockMap,
    projection: NDArray[np.float64],
    n_threads: int,
    report: Report,
    stage: str,
) -> None:
    """Call `store` with the projections of every block of rows."""
    projection = projection.astype(x.dtype)

    def visit(rows: slice) -> None:
        store(rows, feature_map.transform(x.read(rows)) @ projection)

    visit_rows(visit, x, feature_map.n_out, n_threads, report, stage)


def visit_rows(
    function: Callable[[slice], None],
    x: Rows,
    n_out: int,
    n_threads: int,
    report: Report,
    stage: str,
) -> None:
    """Call a function for every block of rows, on threads; rows are mapped to n_out columns."""

    def visit(blocks: Sequence[slice]) -> int:
        for rows in blocks:
            function(rows)
        return blocks[-1].stop

    blocks = cut(len(x), max(n_out, x.shape[1]), _BLOCK_VALUES)
    if len(blocks) == 1:
        # For a single query no threads are started; the matrix products may use their own.
        report(stage, visit(blocks), len(x))
        return
    with Workers(n_threads) as workers:
        for done in workers.map(visit, blocks):
            report(stage, int(done), len(x))
