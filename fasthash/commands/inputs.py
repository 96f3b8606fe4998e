"""Read the features, labels, pairs, codes and models that options name. Errors name the option."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.layouts import Part, UnknownLayoutError, read_layout
from ..datasets.readers import (
    list_arrays,
    read_array,
    read_labels,
    read_numbers,
    read_texts,
    split_source,
)
from . import arguments
from .printing import Printer

__all__ = [
    "METHODS",
    "check_can_save",
    "check_modality",
    "check_parameters",
    "encode",
    "has_latents",
    "load_model",
    "method_of",
    "n_bits_of",
    "named",
    "note_missing_rows",
    "project",
    "read_data",
    "read_ids",
    "read_modalities",
    "read_model_features",
    "read_pairs",
    "read_part",
    "read_samples",
]

# Models that learn from named modalities; a test compares this with fasthash.models.
METHODS = ("AMSH", "CCAITQ", "CLSR", "CMFH", "CVH", "DCH", "RREH", "SCM")


def method_of(name: str) -> Any:
    """Return the class of a method."""
    from .. import models

    return getattr(models, name)


def check_parameters(method: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """
    Check that all names are parameters of a method.

    Raises
    ------
    ValueError
        If a name is unknown, or a separate option sets this parameter.
    """
    known = method_of(method)._get_param_names()
    own = {"n_bits": "--bits", "random_state": "--seed"}
    for name in parameters:
        if name in own:
            raise ValueError(f"--set {name}: use {own[name]}")
        if name not in known:
            names = ", ".join(other for other in known if other not in own)
            raise ValueError(f"--set {name}: {method} has no such parameter; it has {names}")
    return dict(parameters)


def named(option: str, sources: Sequence[tuple[str, str]]) -> dict[str, str]:
    """
    Return the sources by modality.

    Raises
    ------
    ValueError
        If a modality is named twice.
    """
    by_name = dict(sources)
    if len(by_name) < len(sources):
        raise ValueError(f"{option} names a modality twice: {', '.join(n for n, _ in sources)}")
    return by_name


def read_modalities(option: str, sources: Sequence[str]) -> dict[str, Any]:
    """
    Read features by modality from texts of the form MODALITY=SOURCE.

    Raises
    ------
    OSError, ValueError, ImportError
        If a text has another form, a modality is named twice, or in the cases of `read_numbers`.
    """
    try:
        parsed = [arguments.named_source(source) for source in sources]
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"{option}: {error}") from None
    return {name: read_numbers(source) for name, source in named(option, parsed).items()}


def read_data(path: str) -> dict[str, Part]:
    """
    Read the samples of the file that --data names, by part.

    Raises
    ------
    OSError, ValueError, ImportError
        In the cases of `read_layout`.
    """
    try:
        return read_layout(path)
    except UnknownLayoutError as error:
        what = str(error).rpartition("; ")[0]
        raise ValueError(
            f"--data: {what}; instead of --data name the arrays one by one, with the options that "
            "--help lists, each as MODALITY=FILE or MODALITY=FILE:NAME"
        ) from None


def read_samples(
    options: argparse.Namespace, printer: Printer
) -> tuple[dict[str, Any], dict[str, Any] | None, NDArray[Any] | None]:
    """
    Read training samples: features by modality, labels by modality or None, pairs or None.

    Raises
    ------
    ValueError
        Unless exactly one of --data and --features is given, or if arrays do not fit together.
    """
    if (options.data is None) == (options.features is None):
        raise ValueError(
            "pass either --data FILE, with arrays such as I_tr, T_tr, L_tr, or --features "
            "image=FILE text=FILE"
        )
    pairs = None if options.pairs is None else read_pairs(options.pairs, printer)
    if options.data is not None:
        if options.labels:
            raise ValueError("--labels goes with --features: with --data the file has the labels")
        parts = read_data(options.data)
        part = parts.get("train") or parts.get("all")
        if part is None:
            raise ValueError(
                f"{options.data} has no training samples: it has only {' and '.join(parts)} samples"
            )
        labels = None if part.labels is None else dict.fromkeys(part.features, part.labels)
        return dict(part.features), labels, pairs
    features = {
        name: read_numbers(source) for name, source in named("--features", options.features).items()
    }
    labels = _read_labels_by_modality(options.labels, list(features))
    if options.columns:
        features = {name: x.T for name, x in features.items()}
    elif labels is not None:
        features = {
            name: _as_many_rows(x, labels[name].shape[0], name, printer)
            for name, x in features.items()
        }
    return features, labels, pairs


def read_part(
    option: str,
    sources: Sequence[tuple[str, str]],
    labels: str | None,
    printer: Printer,
) -> Part:
    """Read features by modality, and labels that all modalities share."""
    features = {name: read_numbers(source) for name, source in named(option, sources).items()}
    y = None if labels is None else read_labels(labels)
    if y is not None:
        features = {
            name: _as_many_rows(x, y.shape[0], name, printer) for name, x in features.items()
        }
    counts = {name: x.shape[0] for name, x in features.items()}
    if y is not None:
        counts["labels"] = y.shape[0]
    if len(set(counts.values())) > 1:
        raise ValueError(f"{option}: the numbers of samples differ: {counts}")
    return Part(features, y)


def read_pairs(source: str, printer: Printer) -> NDArray[Any]:
    """
    Read pairs: row numbers, with one column for each modality.

    A row with a blank cell, or NaN, is a sample without a partner. It makes no pair, so it is left
    out of the result.

    Raises
    ------
    OSError, ValueError, ImportError
        In the cases of `read_array`, and if cells are no row numbers or no pair is left.
    """
    pairs = _read_table_of_pairs(source)
    if pairs.dtype.kind == "f" and pairs.ndim == 2:
        is_whole = ~np.isnan(pairs).any(axis=1)
        if not is_whole.any():
            raise ValueError(f"--pairs: {source} has no row with a partner in every modality")
        if not is_whole.all():
            printer.note(
                f"--pairs: {np.count_nonzero(~is_whole)} of {len(pairs)} rows of {source} have no "
                "partner; RREH learns from these samples too, other methods from pairs only"
            )
            pairs = pairs[is_whole]
    if pairs.dtype.kind == "f" and (pairs == np.floor(pairs)).all():
        # MATLAB stores numbers as floating point by default.
        pairs = pairs.astype(np.int64)
    return pairs


def _read_table_of_pairs(source: str) -> NDArray[Any]:
    """Read pairs; blank cells of a text table become NaN."""
    path, name = split_source(source)
    if name is not None or Path(path).suffix.lower() not in (".csv", ".tsv"):
        return np.asarray(read_array(source))
    cells = np.stack([read_texts(f"{path}:{column}") for column in list_arrays(path)], axis=1)
    cells = np.char.strip(cells)
    if (cells != "").all():
        return np.asarray(read_array(source))
    try:
        return np.where(cells == "", "nan", cells).astype(np.float64)
    except ValueError as error:
        raise ValueError(f"--pairs: {path} must hold row numbers or blank cells: {error}") from None


def read_ids(source: str) -> NDArray[Any]:
    """Read one-dimensional ids. uint8 becomes int64, because a uint8 filter means packed bits."""
    ids = np.asarray(read_labels(source))
    return ids.astype(np.int64) if ids.dtype == np.uint8 else ids


def note_missing_rows(option: str, n: int, ids: NDArray[np.int64], printer: Printer) -> None:
    """Note that a source with a row for each id has too few rows; further rows do no harm."""
    if len(ids) and n <= ids[-1]:
        printer.note(
            f"{option} has {n} rows, and the ids go up to {ids[-1]}: row i belongs to id i, so "
            f"{np.count_nonzero(ids >= n)} items have none"
        )


def check_can_save() -> None:
    """
    Check before a fit that the model can be saved after it.

    Raises
    ------
    ImportError
        If safetensors is not installed.
    """
    if find_spec("safetensors") is None:
        raise ImportError(
            "models are saved with safetensors, which is not installed: "
            "pip install 'fasthash-retrieval[models]'"
        )


def load_model(path: str) -> Any:
    """
    Load a model.

    Raises
    ------
    OSError, ValueError, ImportError
        In the cases of `fasthash.load`, and if the file holds an index.
    """
    from ..index._code_index import CodeIndex
    from ..loading import load

    model = load(path)
    if isinstance(model, CodeIndex):
        raise ValueError(f"{path} holds an index, and a model is needed: 'fasthash fit' makes one")
    return model


def check_modality(model: Any, modality: str | None) -> str | None:
    """
    Return the modality to encode, or None if the model has no named modalities.

    Raises
    ------
    ValueError
        If the modality is unknown, or is missing although the model needs one.
    """
    if not hasattr(model, "modalities_"):
        if modality is not None:
            raise ValueError(f"--modality: {type(model).__name__} knows one kind of features only")
        return None
    known = " or ".join(model.modalities_)
    if modality is None:
        raise ValueError(f"--modality is missing: say whether the features are those of {known}")
    if modality not in model.modalities_:
        raise ValueError(f"--modality is {modality!r}, and the model encodes {known}")
    return modality


def encode(
    model: Any, modality: str | None, x: Any, printer: Printer | None = None
) -> NDArray[np.uint8]:
    """Encode features of one modality, and show progress."""
    if modality is None:
        return model.transform(np.asarray(x))
    with (printer or Printer(quiet=True)).progress() as progress:
        return model.encode(x, modality, callback=progress)


def project(model: Any, modality: str | None, x: Any) -> NDArray[np.floating]:
    """Project features of one modality: the weights of queries."""
    if modality is None:
        return model.project(np.asarray(x))
    return model.project(x, modality)


def has_latents(model: Any) -> bool:
    """Whether a model of several modalities also makes float vectors that may be compared: CLSR."""
    return hasattr(model, "modalities_") and hasattr(model, "transform")


def read_model_features(
    source: str, model: Any, modality: str | None, printer: Printer, columns: bool = False
) -> Any:
    """Read features for a model. They are transposed if only their rows number as its features."""
    x = read_numbers(source)
    given = model.n_features_in_
    n_features = given if modality is None else given[modality]
    if columns and x.shape[0] == n_features:
        return x.T
    if columns:
        raise ValueError(
            f"{source} has shape {tuple(x.shape)}: with --columns its rows are features, and the "
            f"model takes {n_features}" + (f" of {modality}" if modality else "")
        )
    if x.shape[1] != n_features and x.shape[0] == n_features:
        printer.note(f"{source}: samples are columns, {x.shape[1]} of them")
        return x.T
    if x.shape[1] != n_features:
        raise ValueError(
            f"{source} has shape {tuple(x.shape)}, and the model takes {n_features} features"
            + (f" of {modality}" if modality else "")
        )
    return x


def _read_labels_by_modality(
    sources: Sequence[str] | None, modalities: list[str]
) -> dict[str, Any] | None:
    """Read the labels of each modality, from one source for all or from one source for each."""
    if not sources:
        return None
    by_name = {}
    for source in sources:
        name, equals, rest = source.partition("=")
        if equals and name in modalities:
            by_name[name] = rest
    if not by_name and len(sources) == 1:
        return dict.fromkeys(modalities, read_labels(sources[0]))
    if len(by_name) < len(sources) or set(by_name) != set(modalities):
        raise ValueError(
            f"--labels must be one source for all modalities, or one for each of "
            f"{', '.join(modalities)}, as in {modalities[0]}=FILE; got {' '.join(sources)} (labels "
            "of several columns are one source if they are a matrix of 0/1 columns)"
        )
    return {name: read_labels(by_name[name]) for name in modalities}


def _as_many_rows(x: Any, n: int, name: str, printer: Printer) -> Any:
    """Transpose features if their columns, and not their rows, are as many as the labels."""
    if x.shape[0] != n and x.shape[1] == n:
        printer.note(f"{name}: samples are columns, {n} of them, as there are labels")
        return x.T
    return x


def n_bits_of(model: Any) -> int:
    """Return the code length of a fitted model, in bits."""
    projections = getattr(model, "projections_", None)
    projection = model.projection_ if projections is None else next(iter(projections.values()))
    return int(projection.shape[1])
