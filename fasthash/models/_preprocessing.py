"""Preprocessing of features, per modality: centring, scaling, unit length, whitening.

`fit_preprocessing` fits a `Preprocessing` to the training rows. The model then reads
`PreprocessedRows`. A fitted model keeps a `PreprocessedMap`, which preprocesses first and then
applies the feature map, so that `encode` takes raw features.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from .._core.cluster_rows import ClusterRows
from .._core.features import BlockMap, unit_rows
from .._core.pieces import cut
from .._core.rows import Rows
from .._core.suspicious_columns import refuse_vanishing, warn_of_columns
from .._core.validation import check_choice
from .._core.workers import threads_of_products
from ._saving import check_shape

__all__ = [
    "PREPROCESSING",
    "PreprocessedMap",
    "PreprocessedRows",
    "Preprocessing",
    "check_preprocessing",
    "fit_preprocessing",
    "kinds_of",
    "preprocess",
    "preprocessed_maps",
    "warn_for_models",
]

PREPROCESSING = ("none", "centre", "standardise", "unit", "whiten")

# Those that divide every column by its deviation.
_SCALING = ("standardise", "whiten")

# Largest number of principal components that "whiten" keeps, unless the model says otherwise.
_MOST_COMPONENTS = 384

# "whiten" divides each component by its standard deviation, but at least by this number, so that
# directions with little variance, mostly noise, are not enlarged. Standardised features have 1.
_LEAST_DEVIATION = 0.3


@dataclass(frozen=True)
class Preprocessing:
    """
    A fitted affine map ``(x - mean) / scale @ components``; then rows are scaled to unit length.

    Attributes
    ----------
    mean, scale : ndarray of float64, shape (n_features,)
    components : ndarray of float64, shape (n_features, n_out), or None
        None keeps the features as they are.
    unit : bool
        Whether rows are scaled to unit length at the end.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    components: NDArray[np.float64] | None = None
    unit: bool = False

    @property
    def n_out(self) -> int:
        """Number of features after the map."""
        return len(self.mean) if self.components is None else self.components.shape[1]

    def transform(self, x: NDArray[np.floating], dtype: Any = None) -> NDArray[np.floating]:
        """
        Map a block of rows.

        Features are centred in their own dtype and only then converted, so that features far from
        the origin do not lose precision in float32.
        """
        out = (x - self.mean.astype(x.dtype)) / self.scale.astype(x.dtype)
        out = out.astype(x.dtype if dtype is None else dtype, copy=False)
        if self.components is not None:
            out = out @ self.components.astype(out.dtype)
        return unit_rows(out) if self.unit else out


@dataclass(frozen=True)
class PreprocessedMap:
    """
    A feature map after a preprocessing.

    Attributes
    ----------
    preprocessing : Preprocessing
    feature_map : FeatureMap
        Of the preprocessed features.
    """

    preprocessing: Preprocessing
    feature_map: BlockMap

    @property
    def n_out(self) -> int:
        """Number of features after the map."""
        return self.feature_map.n_out

    def transform(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """Map a block of raw rows."""
        return self.feature_map.transform(self.preprocessing.transform(x))


class PreprocessedRows(Rows):
    """
    Rows that are preprocessed when they are read.

    Parameters
    ----------
    rows : Rows
    preprocessing : Preprocessing
    """

    def __init__(self, rows: Rows, preprocessing: Preprocessing) -> None:
        self._rows, self._preprocessing = rows, preprocessing
        self.shape = (len(rows), preprocessing.n_out)
        self.dtype, self.names = rows.dtype, rows.names

    def read(self, rows: slice) -> NDArray[np.floating]:
        """Read a block."""
        return self._preprocessing.transform(self._rows.read(rows))

    def take(self, indices: NDArray[np.integer]) -> NDArray[np.floating]:
        """Read rows, in any order, into one array."""
        return self._preprocessing.transform(self._rows.take(indices))

    def subset(self, indices: NDArray[np.integer]) -> PreprocessedRows:
        """Select rows, in any order."""
        return PreprocessedRows(self._rows.subset(indices), self._preprocessing)


def kinds_of(model: Any, x: Mapping[str, Rows]) -> dict[str, str]:
    """
    Return the kind of preprocessing of every modality, and warn of columns that need another one.

    Parameters
    ----------
    model : estimator
        Its ``preprocessing`` is one kind for all modalities, or a kind for some of them; the others
        get the default of the parameter.
    x : mapping of str to Rows
        The features of all modalities, as they were given.

    Raises
    ------
    TypeError, ValueError
        If a kind or a modality is unknown.
    """
    kinds = _checked_kinds(model, list(x))
    for name, rows in x.items():
        _warn_of_modality(rows, f"features[{name!r}]", name, [kinds[name]])
    return kinds


def warn_for_models(models: Iterable[Any], x: Mapping[str, Rows], argument: str) -> None:
    """
    Warn of columns as the fits of these models would, but once for all of them.

    Parameters
    ----------
    models : iterable of estimators
    x : mapping of str to Rows
        The features of all modalities, as they were given.
    argument : str
        Format of the words that name the features of a modality, with a place for its name.

    Raises
    ------
    TypeError, ValueError
        In the cases of `kinds_of`.
    """
    kinds = [_checked_kinds(model, list(x)) for model in models]
    for name, rows in x.items():
        _warn_of_modality(rows, argument.format(name), name, [one[name] for one in kinds])


def _warn_of_modality(rows: Rows, argument: str, name: str, kinds: Sequence[str]) -> None:
    remedy = f'pass preprocessing={{{name!r}: "standardise"}}'
    refuse_vanishing(rows, argument)
    warn_of_columns(rows, argument, remedy, all(kind in _SCALING for kind in kinds))


def _checked_kinds(model: Any, names: list[str]) -> dict[str, str]:
    parameter = inspect.signature(type(model)).parameters.get("preprocessing")
    if parameter is None:
        return dict.fromkeys(names, "none")
    given: str | Mapping[str, str] = model.preprocessing
    if not isinstance(given, Mapping):
        check_choice(given, "preprocessing", PREPROCESSING)
        return dict.fromkeys(names, given)
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(
            f"preprocessing is given for {unknown}, but the modalities of features are {names}"
        )
    for name, kind in given.items():
        check_choice(kind, f"preprocessing[{name!r}]", PREPROCESSING)
    return {name: given.get(name, parameter.default) for name in names}


def fit_preprocessing(given: Rows, kind: str, n_most: int = _MOST_COMPONENTS) -> Preprocessing:
    """
    Fit the preprocessing of a modality.

    Parameters
    ----------
    given : Rows
        The training rows.
    kind : {"none", "centre", "standardise", "unit", "whiten"}
        "none": no change. "centre": every column is centred; one scale is used for all columns.
        "standardise": every column is centred and divided by its standard deviation. "unit": rows
        are scaled to unit length. "whiten": columns are standardised and replaced by principal
        components, each divided by its standard deviation, or by .3 if that is larger.
    n_most : int
        Largest number of components.

    Notes
    -----
    For d features, O(n · d² + d³) for "whiten", else O(n · d). A block of rows is held in float64.
    """
    d = given.shape[1]
    if kind in ("none", "unit"):
        return Preprocessing(np.zeros(d), np.ones(d), unit=kind == "unit")
    mean = given.column_means()
    blocks = cut(*given.shape)
    square = sum(((given.read(b) - mean) ** 2).sum(axis=0) for b in blocks)
    deviation = np.sqrt(square / len(given))
    if kind == "centre":
        return Preprocessing(mean, np.full(d, deviation.mean()))
    # The deviation of a column that hardly varies is only rounding.
    is_constant = deviation <= 1e-6 * np.maximum(np.abs(mean), deviation.max())
    scale = np.where(is_constant, 1.0, deviation)
    if kind == "standardise":
        return Preprocessing(mean, scale)
    n_kept = min(n_most, d)
    # Sums and eigenvectors depend on the number of threads in their last digits.
    with threads_of_products(1):
        covariance = np.zeros((d, d))
        for b in blocks:
            z = (given.read(b) - mean) / scale
            z[:, is_constant] = 0
            covariance += z.T @ z
        variances, directions = eigh(covariance / len(given), subset_by_index=[d - n_kept, d - 1])
    spread = np.sqrt(np.maximum(variances[::-1], 0))
    components = np.ascontiguousarray(directions[:, ::-1] / np.maximum(spread, _LEAST_DEVIATION))
    components[is_constant] = 0
    return Preprocessing(mean, scale, components)


def preprocess(
    x: dict[str, Rows], kinds: Mapping[str, str]
) -> tuple[dict[str, Rows], dict[str, Preprocessing]]:
    """
    Fit the preprocessing of every modality; return rows that are preprocessed when read.

    Returns
    -------
    rows : dict of str to Rows
        Rows of modalities without preprocessing are returned as they are.
    fitted : dict of str to Preprocessing
        For each modality that has a preprocessing.

    Raises
    ------
    ValueError
        If rows on a cluster need sums over all of them first.
    """
    for name, kind in kinds.items():
        if kind not in ("none", "unit") and isinstance(x[name], ClusterRows):
            raise ValueError(
                f"preprocessing={kind!r} is not computed on a cluster: with Dask arrays pass "
                "'none' or 'unit', or preprocess the features first"
            )
    fitted = {
        name: fit_preprocessing(rows, kinds[name])
        for name, rows in x.items()
        if kinds[name] != "none"
    }
    prepared = {
        name: _prepared(rows, fitted[name]) if name in fitted else rows for name, rows in x.items()
    }
    return prepared, fitted


def _prepared(rows: Rows, preprocessing: Preprocessing) -> Rows:
    if isinstance(rows, ClusterRows):
        return rows.transformed(preprocessing.transform)
    return PreprocessedRows(rows, preprocessing)


def preprocessed_maps(
    feature_maps: Mapping[str, BlockMap], fitted: Mapping[str, Preprocessing]
) -> dict[str, BlockMap]:
    """Put the preprocessing, if there is one, before the feature map of each modality."""
    return {
        name: PreprocessedMap(fitted[name], feature_map) if name in fitted else feature_map
        for name, feature_map in feature_maps.items()
    }


def check_preprocessing(preprocessing: Any, n_features: Any) -> int:
    """
    Check that a preprocessing from a file takes n_features; return how many features it makes.

    Raises
    ------
    ValueError
        If it does not.
    """
    if not isinstance(preprocessing, Preprocessing) or not isinstance(preprocessing.unit, bool):
        raise ValueError("feature_maps_ holds no preprocessing")
    check_shape(preprocessing.mean, "mean", (n_features,))
    check_shape(preprocessing.scale, "scale", (n_features,))
    if preprocessing.components is not None:
        check_shape(preprocessing.components, "components", (n_features, None))
    return preprocessing.n_out
