"""What the baselines share: features in, their products block by block, a fitted model out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._core.cluster import executor_of, map_rows
from ..._core.features import FeatureMap, MappedRows, centring_map, rbf_map
from ..._core.rows import Rows
from ..._core.validation import check_pairs
from ..._core.workers import Workers
from ...codes import pack_signs
from .._encoding import encode_samples
from .._pairing import pairs_together
from .._preprocessing import Preprocessing, kinds_of, preprocess, preprocessed_maps
from .._progress import Report
from .._scales import Related
from ..base import CrossModalHasher, read_modalities

__all__ = [
    "LearningRows",
    "blocks_together",
    "check_classes",
    "gram",
    "kernel_maps",
    "products",
    "projected",
    "read_rows",
    "ridged_gram",
    "store",
]

# Memory for mapped features of a modality; more rows are mapped again whenever they are read.
_KEPT_BYTES = 1 << 28


@dataclass(frozen=True)
class LearningRows:
    """
    Rows to learn from.

    Attributes
    ----------
    given : dict of str to Rows
        All samples, as they were given.
    mapped : dict of str to MappedRows
        The rows to learn from, preprocessed and mapped.
    maps : dict of str to FeatureMap
    preprocessing : dict of str to Preprocessing
    pairs : ndarray of int64, shape (n_pairs, n_modalities), or None
        The rows of `given` that are in `mapped`; None for all.
    """

    given: dict[str, Rows]
    mapped: dict[str, MappedRows]
    maps: dict[str, FeatureMap]
    preprocessing: dict[str, Preprocessing]
    pairs: NDArray[np.int64] | None


def blocks_together(views: list[MappedRows]) -> Iterator[list[NDArray[np.floating]]]:
    """Blocks of pairs: rows of every modality, which all have the same blocks."""
    for block in views[0].blocks:
        yield [z[block] for z in views]


def read_rows(
    model: Any,
    features: Any,
    pairs: ArrayLike | None,
    *,
    is_paired: bool = True,
    n_modalities: int | None = None,
    make_maps: Callable[[dict[str, Rows]], dict[str, FeatureMap]] | None = None,
    kept_bytes: int = _KEPT_BYTES,
    client: Any = None,
) -> LearningRows:
    """
    Check features and pairs, and map the rows to learn from.

    Parameters
    ----------
    model : estimator
        Its class is named in errors; its ``preprocessing`` is used.
    features : mapping of str to array_like
    pairs : array_like of int, shape (n_pairs, n_modalities), optional
    is_paired : bool
        Whether row i of one modality belongs to row i of the others if there are no pairs.
    n_modalities : int, optional
        The number of modalities that the method takes; by default any from two on.
    make_maps : callable, optional
        Makes the feature maps of the preprocessed rows; by default columns are centred.
    kept_bytes : int, optional
        Memory for mapped features of a modality; 0 suits methods that read them only twice.
    client : distributed.Client, optional
        Features are Dask arrays, and stay on the workers of its cluster.

    Raises
    ------
    TypeError, ValueError
        If features or pairs are unsuitable.
    """
    given = read_modalities(features, client=client)
    if n_modalities is not None and len(given) != n_modalities:
        raise ValueError(
            f"{type(model).__name__} learns from {n_modalities} modalities, got {list(given)}"
        )
    kinds = kinds_of(model, given)
    checked = None
    if is_paired:
        checked = check_pairs(pairs, {name: len(read) for name, read in given.items()})
    x = pairs_together(given, checked)
    for name, rows in x.items():
        if rows.is_constant():
            raise ValueError(
                f"features[{name!r}] has the same row for all samples to learn from: there is "
                "nothing to tell them apart by; pass samples that differ"
            )
    prepared, preprocessing = preprocess(x, kinds)
    maps = (make_maps or _centring_maps)(prepared)
    widest = max(max(rows.shape[1], maps[name].n_out) for name, rows in prepared.items())
    mapped = {
        name: map_rows(rows, maps[name], kept_bytes, widest) for name, rows in prepared.items()
    }
    return LearningRows(given, mapped, maps, preprocessing, checked)


def _centring_maps(x: dict[str, Rows]) -> dict[str, FeatureMap]:
    return {name: centring_map(rows) for name, rows in x.items()}


def kernel_maps(
    model: Any, random_state: np.random.RandomState, n_threads: int | None
) -> Callable[[dict[str, Rows]], dict[str, FeatureMap]]:
    """
    Return the function for `read_rows` that makes the feature maps of a model with a kernel.

    They centre columns, or are radial basis functions around rows drawn at random, the same ones of
    every modality. The model has checked its ``kernel``, ``n_anchors`` and ``width``.
    """
    if model.kernel == "linear":
        return _centring_maps

    def rbf_maps(x: dict[str, Rows]) -> dict[str, FeatureMap]:
        first = next(iter(x.values()))
        centres = np.sort(random_state.permutation(len(first))[: model.n_anchors])
        with executor_of(first, n_threads, Workers) as workers:
            return {
                name: rbf_map(rows, rows.take(centres), model.width, workers)
                for name, rows in x.items()
            }

    return rbf_maps


def check_classes(name: str, labels: Mapping[str, Any]) -> None:
    """
    Check that labels tell samples apart.

    Parameters
    ----------
    name : str
        The method, for errors.
    labels : mapping of str to csr_array
        The result of `check_labels`, of the samples to learn from.

    Raises
    ------
    ValueError
        If a modality has no label, or all its samples have the same labels.
    """
    for modality, one in labels.items():
        if one.nnz == 0:
            raise ValueError(f"labels[{modality!r}] are all empty: {name} learns from labels")
        counts = np.bincount(one.indices, minlength=one.shape[1])
        if np.isin(counts, (0, one.shape[0])).all():
            raise ValueError(
                f"labels[{modality!r}] are the same for all samples to learn from: there is "
                "nothing to tell them apart by; pass samples of two classes or more"
            )


def gram(z: MappedRows) -> NDArray[np.float64]:
    """Multiply features with themselves: ZᵀZ, summed in float64."""
    total = np.zeros((z.n_columns, z.n_columns))
    for block in z.blocks:
        total += z[block].T @ z[block]
    return total


def ridged_gram(z: MappedRows, ridge: float) -> NDArray[np.float64]:
    """Compute `gram`, and add to its diagonal a number that is given as a share of its mean."""
    total = gram(z)
    total[np.diag_indices_from(total)] += ridge * np.trace(total) / len(total)
    return total


def products(z: MappedRows, values: Any) -> NDArray[np.float64]:
    """Multiply features with values for each row, an array or a CSR array: Zᵀ values."""
    total = np.zeros((z.n_columns, values.shape[1]))
    for block in z.blocks:
        total += z[block].T @ values[block]
    return total


def projected(z: MappedRows, projection: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply features with a projection: Z P."""
    out = np.empty((z.n_rows, projection.shape[1]))
    for block in z.blocks:
        out[block] = z[block] @ projection
    return out


def store(
    model: CrossModalHasher,
    rows: LearningRows,
    projections: Mapping[str, NDArray[np.float64]],
    signs: NDArray[np.floating] | None,
    related: Related,
    n_threads: int | None,
    report: Report,
    **learned: Any,
) -> None:
    """
    Compute the codes of all samples, and store what was learned.

    Parameters
    ----------
    model : CrossModalHasher
    rows : LearningRows
    projections : mapping of str to ndarray of float64, shape (n_out, n_bits)
    signs : ndarray, shape (n_pairs, n_bits), or None
        The codes that the rows to learn from have in common. Other samples, and all if it is None,
        are encoded by the projections.
    related : Related
        Which samples are relevant to each other.
    n_threads : int or None
    report : callable
    **learned
        Further attributes.
    """
    maps = preprocessed_maps(rows.maps, rows.preprocessing)
    projections = {name: np.ascontiguousarray(p) for name, p in projections.items()}
    codes = {
        name: encode_samples(
            *(x, maps[name], projections[name], n_threads, report), f"codes of {name}"
        )
        for name, x in rows.given.items()
    }
    if signs is not None:
        for column, own in enumerate(codes.values()):
            own[slice(None) if rows.pairs is None else rows.pairs[:, column]] = pack_signs(signs)
    model._set_fitted(rows.given, maps, projections, codes, related, **learned)
