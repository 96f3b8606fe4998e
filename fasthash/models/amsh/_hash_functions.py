"""Hash functions of new samples: ridge regression on bits with adaptive margins.

For each modality, X (n x d) are mapped features, B (n x r) are codes of ±1, and F (d x r) minimises

    ‖T - XF‖² + ridge ‖F‖²,   T = B∘max(1, B∘XF)

so a bit whose score has the right sign and is beyond its margin costs nothing. This is a squared
hinge loss, convex in F. The published method alternates F = (XᵀX + ridge I)⁻¹XᵀT and T, once per
sweep.

Only the first rows of X are held. Every sweep maps the other features again, block by block, and
adds up XᵀT. The first sweep adds up XᵀX, in float64; it is factored once for all sweeps. Codes of
several lengths share the sweeps: they are more columns of B. Mapping the features takes longer than
the rest of a sweep, so the number of sweeps is kept small. The first sweep starts from the hash
functions of a sample of the rows. From the second sweep on, each column takes a secant step
(Anderson acceleration with a memory of one), which is undone if the loss did not fall.

Source of the problem and its alternation: Luo, Zhang, Li, Jia, Chen, "Adaptive Marginalized
Semantic Hashing for Unpaired Cross-Modal Retrieval", IEEE Transactions on Multimedia 2023. The
start from a sample and the secant steps are ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from ..._core.features import MappedRows
from ..._core.workers import Executor, Workers
from ..._kernels import discrete as kernels

__all__ = [
    "Hashing",
    "Regression",
    "SweepRule",
    "add_rows",
    "feature_gram",
    "first_sweep",
    "next_sweep",
]


@dataclass(frozen=True)
class SweepRule:
    """The ridge, the largest number of sweeps, and the relative gain below which they stop."""

    ridge: float
    n_sweeps: int
    tol: float


@dataclass(frozen=True)
class Regression:
    """
    The hash functions of one code length between two sweeps.

    Attributes
    ----------
    projection : ndarray of float64, shape (d, r)
        F: the next sweep computes its targets from it. When finished, the result.
    moments : ndarray of float64, shape (d, r)
        XᵀT of the last sweep.
    start, image : ndarray of float64, shape (d, r)
        The F from which the last sweep computed its targets, and the minimiser for these targets.
        If `start` is None, the targets were the codes.
    loss : float
        The objective at `start`.
    n_sweeps : int
    finished : bool
    """

    projection: NDArray[np.float64]
    moments: NDArray[np.float64]
    start: NDArray[np.float64] | None
    image: NDArray[np.float64]
    loss: float
    n_sweeps: int = 1
    finished: bool = False


@dataclass(frozen=True)
class Hashing:
    """
    The hash functions of one modality between two sweeps.

    Attributes
    ----------
    regressions : list of Regression
        A regression for each code length.
    gram : ndarray of float64, shape (d, d)
        XᵀX + ridge I.
    factor : ndarray of float64, shape (d, d)
        W with WᵀW the inverse of `gram`.
    """

    regressions: list[Regression]
    gram: NDArray[np.float64]
    factor: NDArray[np.float64]

    @property
    def finished(self) -> bool:
        """Whether the regressions of all lengths are finished."""
        return all(regression.finished for regression in self.regressions)

    @property
    def n_sweeps(self) -> int:
        """Number of sweeps over the features."""
        return max(regression.n_sweeps for regression in self.regressions)

    def minimiser(self, moments: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute (XᵀX + ridge I)⁻¹XᵀT from XᵀT."""
        return self.factor.T @ (self.factor @ moments)


def _ignore(done: int) -> None:
    pass


def feature_gram(x: MappedRows, workers: Executor) -> NDArray[np.float64]:
    """Compute only XᵀX."""
    return _visit(x, [], [], True, workers, _ignore)[2]


def inverse_factor(gram: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """
    Compute W such that WᵀW is the inverse of XᵀX + ridge I: the inverse of its Cholesky factor.

    Inverting the factor loses half as many digits as inverting the matrix. O(2/3 d³). Raises
    ValueError if rounding is larger than the ridge.
    """
    lower, failed = lapack.dpotrf(gram, lower=True, clean=True)
    if failed:
        raise ValueError(
            f"ridge={ridge} is lost in rounding, because the squares of features sum to "
            f"{gram.diagonal().max():.1g}: scale the features down or raise the ridge"
        )
    return lapack.dtrtri(lower, lower=True, overwrite_c=True)[0]


def first_sweep(
    x: MappedRows,
    codes: Sequence[NDArray[np.uint8]],
    starts: Sequence[NDArray[np.float64] | int],
    gram: NDArray[np.float64] | None,
    rule: SweepRule,
    workers: Executor,
    report: Callable[[int], None] = _ignore,
) -> Hashing:
    """
    Sweep once over the features, for codes of several lengths.

    Parameters
    ----------
    x : MappedRows
    codes : sequence of ndarray of uint8, shape (n, ceil(r / 8))
        Packed codes of each length.
    starts : sequence of ndarray of float64, shape (d, r), or of int
        For each length, the F from which the first targets are computed; or only the number of bits
        r, and then the targets are the codes.
    gram : ndarray or None
        XᵀX if it is known already.
    rule : SweepRule
    workers : Executor
    report : callable
        Called with the number of rows done.
    """
    moments, losses, accumulated = _visit(x, codes, starts, gram is None, workers, report)
    gram = accumulated if gram is None else gram.copy()
    gram.flat[:: len(gram) + 1] += rule.ridge
    hashing = Hashing([], gram, inverse_factor(gram, rule.ridge))
    for start, xt, loss in zip(starts, moments, losses, strict=True):
        image = hashing.minimiser(xt)
        begun = None if isinstance(start, int) else start
        if begun is not None:
            loss += rule.ridge * np.sum(begun**2)
        hashing.regressions.append(
            _finish_if_converged(Regression(image, xt, begun, image, loss), gram, rule)
        )
    return hashing


def next_sweep(
    x: MappedRows,
    codes: Sequence[NDArray[np.uint8]],
    hashing: Hashing,
    rule: SweepRule,
    workers: Executor,
    report: Callable[[int], None] = _ignore,
) -> Hashing:
    """Sweep once more for all lengths that are not finished; arguments as in `first_sweep`."""
    active = [i for i, regression in enumerate(hashing.regressions) if not regression.finished]
    starts = [hashing.regressions[i].projection for i in active]
    moments, losses, _ = _visit(x, [codes[i] for i in active], starts, False, workers, report)
    regressions = list(hashing.regressions)
    for i, start, xt, loss in zip(active, starts, moments, losses, strict=True):
        last = regressions[i]
        loss += rule.ridge * np.sum(start**2)
        image = hashing.minimiser(xt)
        new = Regression(image, xt, start, image, loss, last.n_sweeps + 1)
        if rule.tol > 0 and last.start is not None:
            if loss > last.loss:
                # The secant step went too far: continue from the last minimiser.
                new = replace(last, projection=last.image, n_sweeps=last.n_sweeps + 1)
            else:
                new = replace(new, projection=_secant_step(last, new, hashing.gram))
        regressions[i] = _finish_if_converged(new, hashing.gram, rule)
    return replace(hashing, regressions=regressions)


def _finish_if_converged(regression: Regression, gram: NDArray[Any], rule: SweepRule) -> Regression:
    """
    Finish a length after its last sweep, or if another sweep would gain too little.

    The result is the minimiser for the last targets. Its gain is at least the squared length of the
    step in the norm of XᵀX + ridge I, which is known without another sweep.
    """
    finished = regression.n_sweeps >= rule.n_sweeps
    if not finished and rule.tol > 0 and regression.start is not None:
        step = regression.image - regression.start
        finished = bool(np.sum(step * (gram @ step)) <= rule.tol * regression.loss)
    if finished:
        return replace(regression, projection=regression.image, finished=True)
    return regression


def add_rows(
    regression: Regression,
    gram: NDArray[np.float64],
    x: MappedRows,
    codes: NDArray[np.uint8],
    rule: SweepRule,
    workers: Executor,
    report: Callable[[int], None] = _ignore,
) -> tuple[Regression, NDArray[np.float64]]:
    """
    Add new rows to a finished regression; the targets of earlier rows stay the same.

    Parameters
    ----------
    regression : Regression
    gram : ndarray of float64, shape (d, d)
        XᵀX + ridge I of the earlier rows.
    x : MappedRows
        Only the new rows.
    codes : ndarray of uint8, shape (n_new, ceil(r / 8))
    rule : SweepRule
    workers : Executor
    report : callable
        Called with the number of rows done, in every sweep.

    Returns
    -------
    (regression, gram)
        The regression and XᵀX + ridge I of all rows.
    """
    start, hashing = regression.projection, None
    for _ in range(rule.n_sweeps):
        (xt,), (loss,), added = _visit(x, [codes], [start], hashing is None, workers, report)
        if hashing is None:
            gram = gram + added
            hashing = Hashing([], gram, inverse_factor(gram, rule.ridge))
        moments = regression.moments + xt
        step = hashing.minimiser(moments) - start
        start = start + step
        if rule.tol > 0 and np.sum(step * (gram @ step)) <= rule.tol * loss:
            break
    return replace(regression, projection=start, image=start, moments=moments), gram


def _secant_step(
    last: Regression, new: Regression, gram: NDArray[np.float64]
) -> NDArray[np.float64]:
    """
    For each column, combine the last two minimisers so that the combined residual is smallest.

    A residual is the step from `start` to `image`. It is measured in the norm of XᵀX + ridge I,
    that is, by how much it changes XF.
    """
    assert new.start is not None and last.start is not None
    residual = new.image - new.start
    change = residual - (last.image - last.start)
    weighted = gram @ change
    norms = np.sum(change * weighted, axis=0)
    share = np.sum(residual * weighted, axis=0) / np.where(norms > 0, norms, 1)
    return new.image - share * (new.image - last.image)


def _visit(
    x: MappedRows,
    codes: Sequence[Any],
    starts: Sequence[NDArray[np.float64] | int],
    with_gram: bool,
    workers: Executor,
    report: Callable[[int], None],
) -> tuple[list[NDArray[np.float64]], list[float], NDArray[np.float64]]:
    """
    Compute XᵀT and the hinge loss at the start per length, and XᵀX, in one pass over the features.

    XᵀX has no rows if `with_gram` is False.
    """
    widths = [start if isinstance(start, int) else start.shape[1] for start in starts]
    edges = np.concatenate([[0], np.cumsum(widths)]).astype(int)
    columns = [slice(a, b) for a, b in itertools.pairwise(edges)]
    projection = np.zeros((x.n_columns, edges[-1]), x.dtype)
    for place, start in zip(columns, starts, strict=True):
        if not isinstance(start, int):
            projection[:, place] = start
    moments, losses, gram = workers.total(
        *(_visit_part, x.with_codes(codes), projection, columns, with_gram),
        report=report,
        is_large=with_gram,
    )
    return [moments[:, place].copy() for place in columns], losses.tolist(), gram


def _visit_part(
    part: tuple[MappedRows, list[NDArray[np.uint8]]],
    workers: Workers,
    projection: NDArray[Any],
    columns: list[slice],
    with_gram: bool,
    report: Callable[[int], None] = _ignore,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """XᵀT of all lengths, losses and XᵀX of some rows."""
    x, codes = part
    gram_shape = (x.n_columns, x.n_columns) if with_gram else (0, 0)

    def visit(
        blocks: Sequence[slice],
    ) -> tuple[NDArray[Any], list[float], NDArray[Any], int]:
        moments, losses = np.zeros(projection.shape), [0.0] * len(codes)
        gram = np.zeros(gram_shape)
        for rows in blocks:
            block = x[rows]
            target = block @ projection
            for i, place in enumerate(columns):
                losses[i] += kernels.bit_target(target[:, place], codes[i][rows])
            moments += block.T @ target
            if with_gram:
                gram += block.T @ block
        return moments, losses, gram, blocks[-1].stop

    moments, losses = np.zeros(projection.shape), np.zeros(len(codes))
    gram = np.zeros(gram_shape)
    for batch_moments, batch_losses, batch_gram, done in workers.map(visit, x.blocks):
        moments += batch_moments
        losses += batch_losses
        gram += batch_gram
        report(done)
    return moments, losses, gram
