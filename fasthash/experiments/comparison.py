"""Fit models for several code lengths and seeds, and score them on held-out queries.

Queries are the test samples of one modality. The database is the codes learned for the training
samples of another modality, or the codes of a given database. An item is relevant if it shares a
label with the query. Every model gets the labels or pairs that it learns from.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.arrays import is_dask_array
from .._core.cluster import client_for
from .._core.cluster_rows import ClusterRows
from .._core.rows import Rows
from .._core.suspicious import without_warnings
from .._core.validation import check_rows, take_rows
from ..datasets import Part, semi_paired_split
from ..metrics._means import mean_by_policy
from ..models import CrossModalHasher
from ..models._preprocessing import warn_for_models
from .scores import Metric, Score

__all__ = [
    "compare",
    "fit_model",
    "learns_from",
    "score_model",
]


def compare(
    models: Mapping[str, CrossModalHasher],
    train: Part,
    test: Part,
    *,
    n_bits: Sequence[int],
    seeds: Sequence[int],
    metrics: Sequence[Metric],
    database: Part | None = None,
    pairs: str = "all",
    share: float = 0.1,
    ties: str = "expected",
    callback: Callable[[str, int, int], None] | None = None,
) -> list[Score]:
    """
    Fit models for every code length and seed, and score them in all directions.

    Parameters
    ----------
    models : mapping of str to CrossModalHasher
        Models by name. Copies of them are fitted, with each code length and seed.
    train, test : Part
        Paired samples with labels, the same modalities in both. If the features of `train` are Dask
        arrays, with a current client of a cluster, its workers keep them, and fit the models that
        they can fit: `AMSH`, `RREH` and `CCAITQ`.
    n_bits, seeds : sequence of int
        Code lengths, and seeds of the models and of the choice of pairs.
    metrics : sequence of Metric
        What to measure.
    database : Part, optional
        Samples to search, which each model encodes; workers do it if features are Dask arrays. By
        default the codes that the model learned for the training samples are searched.
    pairs : {"all", "keep", "missing"}, default "all"
        Which pairs are known: all, or a `share` of them, in the two ways of `semi_paired_split`.
        A model that learns from labels sees none in any case.
    share : float, default 0.1
        Share of the pairs that are known, unless `pairs` is "all".
    ties : {"expected", "database"}, default "expected"
        As in `fasthash.metrics`.
    callback : callable, optional
        Called as ``callback(stage, done, total)`` while a model is fitted and after each score.

    Returns
    -------
    list of Score
        In the order of seeds, models, lengths, directions, metrics.

    Raises
    ------
    TypeError, ValueError
        If the samples do not fit together, or a model or metric refuses them.

    See Also
    --------
    score_model : Score one fitted model.
    summarise : Compute means and standard deviations over seeds.

    Examples
    --------
    >>> import fasthash as fh
    >>> from fasthash.datasets import Part
    >>> from fasthash.experiments import Metric, compare, summarise
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(120) % 3
    >>> x = {"a": np.eye(3)[y] + 0.1 * rng.random((120, 3)), "b": np.eye(3)[y]}
    >>> train = Part({name: v[:90] for name, v in x.items()}, y[:90])
    >>> test = Part({name: v[90:] for name, v in x.items()}, y[90:])
    >>> scores = compare(
    ...     {"AMSH": fh.AMSH()}, train, test, n_bits=[16], seeds=[0, 1], metrics=[Metric("map")]
    ... )
    >>> for line in summarise(scores):
    ...     print(line.method, line.n_bits, line.query, line.database, round(line.mean, 1), line.n)
    AMSH 16 a b 1.0 2
    AMSH 16 b a 1.0 2
    """
    # Otherwise workers would read them again for every fit.
    train = _kept_by_workers(train)
    database = None if database is None else _kept_by_workers(database)
    if len(train.features) < 2:
        raise ValueError(f"train has the modalities {list(train.features)}: two are needed")
    for part, name in ((train, "train"), (test, "test"), (database, "database")):
        if part is None:
            continue
        if set(part.features) != set(train.features):
            raise ValueError(
                f"{name} has the modalities {sorted(part.features)}, and train has "
                f"{sorted(train.features)}"
            )
        if part.labels is None:
            raise ValueError(f"{name} has no labels, which decide what is relevant")
        read = _reader(part.features)
        rows = {
            modality: read(x, f"{name}.features[{modality!r}]")
            for modality, x in part.features.items()
        }
        if name == "train":
            warn_for_models(models.values(), rows, "train.features[{!r}]")
    report = callback or (lambda stage, done, total: None)
    scores: list[Score] = []
    n_done, n_fits = 0, len(seeds) * len(models) * len(n_bits)
    # The samples have been checked; warnings about parts of them would repeat those.
    with without_warnings():
        for seed in seeds:
            features, labels, known = _known_pairs(train, pairs, share, seed)
            for method, model in models.items():
                what = f"{method}, seed {seed}"
                fitted = _fit_lengths(model, features, labels, known, n_bits, seed, what, report)
                for length, one in fitted.items():
                    target = labels if database is None else database
                    for score in score_model(one, test, target, metrics, ties=ties):
                        scores.append(Score(method, length, seed, *score))
                    n_done += 1
                    report(f"{method}, {length} bits, seed {seed}: scores", n_done, n_fits)
    return scores


def score_model(
    model: CrossModalHasher,
    test: Part,
    database: Part | Mapping[str, Any],
    metrics: Sequence[Metric],
    *,
    ties: str = "expected",
) -> list[tuple[str, str, str, float, NDArray[np.float64]]]:
    """
    Score a fitted model in all directions.

    Parameters
    ----------
    model : CrossModalHasher
        The fitted model.
    test : Part
        The queries.
    database : Part or mapping of str to labels
        Samples to search, which the model encodes; the workers of a cluster encode and count them
        if features are Dask arrays. Or the labels of the training samples by
        modality; then the codes learned for the training samples are searched.
    metrics : sequence of Metric
        What to measure.
    ties : {"expected", "database"}, default "expected"
        How equal distances count, as in `fasthash.mean_average_precision`.

    Returns
    -------
    list of (str, str, str, float, ndarray of float64)
        Modality of the queries, modality of the database, metric, value, and the values of all
        queries.

    See Also
    --------
    compare : Fit several models, and score them.

    Examples
    --------
    >>> import fasthash as fh
    >>> from fasthash.datasets import Part
    >>> from fasthash.experiments import Metric, score_model
    >>> x = np.random.default_rng(0).standard_normal((60, 4))
    >>> part = Part({"image": x, "text": x}, x[:, 0] > 0)
    >>> model = fh.CCAITQ(4, random_state=0).fit(part.features)
    >>> for query, target, metric, value, _ in score_model(model, part, part, [Metric("map")]):
    ...     print(query, target, metric, value > 0.5)
    image text map True
    text image map True
    """
    names = [name for name in model.modalities_ if name in test.features]
    queries = {name: model.encode(test.features[name], name) for name in names}
    if isinstance(database, Part):
        codes = {name: model.encode(database.features[name], name) for name in names}
        # Workers keep codes, so that they encode once and not for every measure.
        codes = {name: own.persist() if is_dask_array(own) else own for name, own in codes.items()}
        labels = dict.fromkeys(names, database.labels)
    else:
        codes, labels = model.codes_, dict(database)
    scores = []
    for query, target in itertools.permutations(names, 2):
        for metric in metrics:
            problem = queries[query], codes[target], test.labels, labels[target]
            values = metric.measure_queries(*problem, ties=ties)
            mean = float(mean_by_policy(values, "skip"))
            scores.append((query, target, str(metric), mean, values))
    return scores


def learns_from(model: Any, argument: str) -> bool:
    """
    Tell whether the ``fit`` method of a model has a parameter.

    Parameters
    ----------
    model : estimator or class of estimators
        The model.
    argument : str
        Name of the parameter, such as "labels" or "pairs".

    Returns
    -------
    bool
        Whether it has.

    See Also
    --------
    fit_model : Fit a model with the arguments that it accepts.

    Examples
    --------
    >>> from fasthash.models import AMSH, RREH
    >>> learns_from(AMSH, "labels"), learns_from(RREH, "labels")
    (True, False)
    """
    return argument in inspect.signature(model.fit).parameters


def fit_model(
    model: Any,
    features: Mapping[str, Any],
    *,
    labels: Mapping[str, Any] | None = None,
    pairs: NDArray[Any] | None = None,
    callback: Callable[[str, int, int], None] | None = None,
) -> Any:
    """
    Fit a model with those of the arguments that its ``fit`` method accepts.

    Parameters
    ----------
    model : estimator
        The model to fit.
    features : mapping of str to array_like
        Features by modality.
    labels : mapping of str to labels, optional
        Labels by modality.
    pairs : ndarray of int, shape (n_pairs, n_modalities), optional
        Rows that belong together.
    callback : callable, optional
        Called as ``callback(stage, done, total)``.

    Returns
    -------
    estimator
        The model itself.

    See Also
    --------
    learns_from : Tell which arguments a model accepts.

    Examples
    --------
    >>> import fasthash as fh
    >>> x = np.random.default_rng(0).standard_normal((60, 4))
    >>> fit_model(fh.CCAITQ(4), {"a": x, "b": x}, labels={}).modalities_
    ('a', 'b')
    """
    given = {"labels": labels, "pairs": pairs, "callback": callback}
    return model.fit(
        features, **{name: value for name, value in given.items() if learns_from(model, name)}
    )


def _kept_by_workers(part: Part) -> Part:
    """The samples; workers keep the features that are Dask arrays."""
    client = client_for(part.features)
    if client is None:
        return part
    return dataclasses.replace(
        part, features={name: client.persist(x) for name, x in part.features.items()}
    )


def _reader(features: Mapping[str, Any]) -> Callable[[Any, str], Rows]:
    """The function that checks features and reads them, in this process or on the workers."""
    client = client_for(features)
    return check_rows if client is None else partial(ClusterRows, client)


def _known_pairs(
    train: Part, kind: str, share: float, seed: int
) -> tuple[dict[str, Any], dict[str, Any], NDArray[np.int64] | None]:
    """Return features and labels by modality, and the known pairs; None means all pairs."""
    if kind == "all":
        return dict(train.features), dict.fromkeys(train.features, train.labels), None
    split = semi_paired_split(
        len(train), share, kind=kind, modalities=tuple(train.features), random_state=seed
    )
    features = {
        name: take_rows(x, f"features[{name!r}]", split.rows[name])
        for name, x in train.features.items()
    }
    return features, {name: train.labels[rows] for name, rows in split.rows.items()}, split.pairs


def _fit_lengths(
    model: CrossModalHasher,
    features: dict[str, Any],
    labels: dict[str, Any],
    pairs: NDArray[np.int64] | None,
    n_bits: Sequence[int],
    seed: int,
    what: str,
    report: Callable[[str, int, int], None],
) -> dict[int, Any]:
    from sklearn.base import clone

    model = clone(model).set_params(random_state=seed)

    def callback(stage: str, done: int, total: int) -> None:
        report(f"{what}: {stage}", done, total)

    if hasattr(model, "fit_lengths") and len(n_bits) > 1:
        return model.fit_lengths(features, labels, n_bits, callback=callback)
    return {
        length: fit_model(
            clone(model).set_params(n_bits=length),
            features,
            labels=labels,
            pairs=pairs,
            callback=callback,
        )
        for length in n_bits
    }
