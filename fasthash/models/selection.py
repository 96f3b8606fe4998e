"""Choose between models without labels, by held-out pairs.

Codes are good if a query finds items that are like its partner. So the rows of the other modality
that are nearest to the partner of a held-out query count as relevant, and models are compared by
mean average precision. The rank of the partner alone, one row among many, is a poor measure: with a
few dozen held-out pairs it is mostly noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils import check_random_state

from .._core.suspicious import without_warnings
from .._core.validation import check_count, check_modalities, check_number, check_pairs
from ..metrics import mean_average_precision
from ._preprocessing import warn_for_models
from ._progress import Callback, Progress
from .base import CrossModalHasher

__all__ = ["Selection", "select_by_pairs"]

# So many held-out pairs are enough to compare models; more only cost time.
_MOST_QUERIES = 1000


@dataclass(frozen=True, eq=False)
class Selection:
    """
    The result of `select_by_pairs`.

    Attributes
    ----------
    best : int
        Number of the model with the best mean score; the first of equal ones.
    scores : ndarray of float64, shape (n_models, n_splits)
        Mean average precision on the held-out pairs.

    See Also
    --------
    select_by_pairs : Compute it.

    Examples
    --------
    >>> from fasthash.models import Selection
    >>> Selection(best=1, scores=np.array([[0.5], [0.7]])).best
    1
    """

    best: int
    scores: NDArray[np.float64]


def select_by_pairs(
    models: Sequence[CrossModalHasher],
    features: Mapping[str, ArrayLike],
    pairs: ArrayLike | None = None,
    *,
    n_splits: int = 3,
    share: float = 0.2,
    neighbours: float = 0.1,
    random_state: Any = None,
    n_threads: int | None = None,
    callback: Callback | None = None,
    verbose: bool = False,
) -> Selection:
    """
    Compare models, or settings of one model, on pairs that are held out of the fit.

    Parameters
    ----------
    models : sequence of CrossModalHasher
        Models to compare. Copies of them are fitted by ``fit(features, pairs=pairs)``.
    features : mapping of str to array_like, each of shape (n_samples, n_features)
        Features in a form that the models accept; they are read into memory.
    pairs : array_like of int, shape (n_pairs, n_modalities), optional
        Rows that belong together, as in ``fit``. By default row i belongs to row i.
    n_splits : int, default 3
        Number of random choices of held-out pairs.
    share : float, default 0.2
        Share of the pairs to hold out, less than 1.
    neighbours : float, default 0.1
        Share of the rows of a modality that count as relevant: those nearest to the partner by the
        Euclidean distance of their features.
    random_state : int, RandomState instance or None, default None
        Seed of the choice of held-out pairs.
    n_threads : int, optional
        Number of threads of every fit, as in `fasthash.topk`.
    callback : callable, optional
        Called as ``callback("models", done, total)`` after every fit. If it raises an error, the
        comparison ends.
    verbose : bool, default False
        Show progress on standard error, as bars if tqdm is installed.

    Returns
    -------
    Selection
        The best model and all scores.

    Raises
    ------
    TypeError, ValueError
        If an argument is unsuitable, or a model refuses the data.

    See Also
    --------
    fasthash.experiments.compare : Compare models by labels.

    Notes
    -----
    Costs ``n_splits`` fits per model, and O(n_queries · n) distances per split, with at most a
    thousand held-out pairs. Ties count by the mean over all their orders. This procedure is ours:
    no paper on these methods says how to choose settings without labels.

    Examples
    --------
    >>> import numpy as np
    >>> import fasthash as fh
    >>> rng = np.random.default_rng(0)
    >>> shared = rng.standard_normal((300, 4))
    >>> features = {
    ...     "image": shared @ rng.standard_normal((4, 40)) + rng.standard_normal((300, 40)),
    ...     "text": shared @ rng.standard_normal((4, 30)) + rng.standard_normal((300, 30)),
    ... }
    >>> models = [fh.CCAITQ(16, ridge=ridge, random_state=0) for ridge in (1e-3, 1.0)]
    >>> fh.models.select_by_pairs(models, features, random_state=0).best
    1
    """
    if not models:
        raise ValueError("models is empty: pass at least one model")
    n_splits = check_count(n_splits, "n_splits")
    for name, value in (("share", share), ("neighbours", neighbours)):
        if check_number(value, name, positive=True) >= 1:
            raise ValueError(f"{name} must be less than 1, got {value}")
    rows = check_modalities(features)
    warn_for_models(models, rows, "features[{!r}]")
    checked = check_pairs(pairs, {name: len(read) for name, read in rows.items()}, minimum=3)
    x = {name: read.read(slice(0, len(read))) for name, read in rows.items()}
    if checked is None:
        checked = np.stack([np.arange(len(next(iter(x.values()))))] * len(x), axis=1)
    rng = check_random_state(random_state)

    scores = np.empty((len(models), n_splits))
    # The checks above have warned; the row numbers of a part would mislead.
    with Progress(callback, verbose) as report, without_warnings():
        for split in range(n_splits):
            shuffled = rng.permutation(len(checked))
            n_held_out = min(max(round(share * len(checked)), 1), len(checked) - 2)
            held_out, kept = checked[shuffled[:n_held_out]], checked[shuffled[n_held_out:]]
            fitted_to, kept_pairs = _without(x, held_out, kept)
            queries = held_out[:_MOST_QUERIES]
            relevant = {
                name: _nearest(x[name], queries[:, column], neighbours)
                for column, name in enumerate(x)
            }
            for i, model in enumerate(models):
                fitted = clone(model).fit(fitted_to, pairs=kept_pairs, n_threads=n_threads)
                scores[i, split] = _score(fitted, x, queries, relevant)
                report("models", split * len(models) + i + 1, scores.size)
    return Selection(int(np.argmax(scores.mean(axis=1))), scores)


def _without(
    x: dict[str, NDArray[Any]], held_out: NDArray[np.int64], kept: NDArray[np.int64]
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Features without the held-out rows, and the positions of the kept pairs in them."""
    left, columns = {}, []
    for column, (name, values) in enumerate(x.items()):
        stays = np.ones(len(values), bool)
        stays[held_out[:, column]] = False
        left[name] = values[stays]
        columns.append(np.cumsum(stays)[kept[:, column]] - 1)
    return left, np.stack(columns, axis=1)


def _nearest(x: NDArray[Any], partners: NDArray[np.int64], share: float) -> NDArray[np.uint8]:
    """For each row and partner, whether the row is among the nearest to it: 0/1, as labels are."""
    centred = x - x.mean(axis=0)
    norms = np.einsum("ij,ij->i", centred, centred)
    distances = norms[:, None] - 2 * centred @ centred[partners].T
    n_near = max(1, round(share * len(x)))
    limit = np.partition(distances, n_near - 1, axis=0)[n_near - 1]
    return (distances <= limit).astype(np.uint8)


def _score(
    model: CrossModalHasher,
    x: dict[str, NDArray[Any]],
    queries: NDArray[np.int64],
    relevant: dict[str, NDArray[np.uint8]],
) -> float:
    codes = {name: model.encode(values, name) for name, values in x.items()}
    itself = np.eye(len(queries), dtype=np.uint8)
    scores = [
        mean_average_precision(
            codes[query][queries[:, column]],
            codes[target],
            itself,
            relevant[target],
            ties="expected",
        )
        for column, query in enumerate(x)
        for target in x
        if target != query
    ]
    return float(np.mean(scores))
