"""Labels of samples, checked: one class per sample, or 0/1 columns.

Models and metrics read labels with `check_labels`, so the same rules hold everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .arrays import as_array, is_sparse
from .interruptible import distinct
from .pieces import blocks_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["check_common_classes", "check_labels", "label_classes"]

# For errors about lists of labels per sample, which other packages accept.
_HINT_FOR_LISTS = (
    "; for several labels per sample pass 0/1 columns, which "
    "sklearn.preprocessing.MultiLabelBinarizer makes of lists (fit it to the labels of all sets)"
)


def check_labels(
    labels: Mapping[str, Any],
    n_samples: Mapping[str, int],
    argument: str = "labels[{!r}]",
    classes: NDArray[Any] | int | None = None,
) -> dict[str, csr_array]:
    """
    Turn the labels of several sets of samples into 0/1 columns that all sets share.

    Parameters
    ----------
    labels : mapping of str to labels
        All sets must be of the same kind:

        - one class per sample, of shape (n_samples,) or (n_samples, 1): names, or numbers that are
          whole and at least 0, of any dtype. In one dimension False and True are 0 and 1; one
          column of booleans is refused, because it may be a 0/1 column;
        - 0/1 columns, of shape (n_samples, n_classes) with two columns or more;
        - 0/1 columns as a scipy sparse matrix, with any number of columns.
    n_samples : mapping of str to int
        The number of rows that each set must have; its keys are the names of the sets.
    argument : str
        Format of the words that name a set in an error, with a place for its name.
    classes : ndarray or int, optional
        The result of `label_classes` for earlier labels; these labels must have the same classes.

    Returns
    -------
    dict of str to csr_array of float64, shape (n_samples, n_classes)
        Ones where a sample has a label; a row may be empty.

    Raises
    ------
    TypeError, ValueError
        If a set is missing or of the wrong kind, shape or values.
    """
    if not isinstance(labels, Mapping):
        raise TypeError(
            'labels must be a mapping of modality names to labels, like {"image": y, "text": y}, '
            f"got {type(labels).__name__}"
        )
    if set(labels) != set(n_samples):
        raise ValueError(
            f"labels are given for {sorted(labels)}, but features for {sorted(n_samples)}: "
            "every modality needs both"
        )
    given = {name: _as_label_array(labels[name], argument.format(name)) for name in n_samples}
    for name, y in given.items():
        if y.shape[0] != n_samples[name]:
            raise ValueError(
                f"{argument.format(name)} has {y.shape[0]} rows for {n_samples[name]} samples"
            )
    if len({y.ndim for y in given.values()}) > 1:
        raise ValueError(
            "labels are class numbers in one place and 0/1 columns in another: use one of them"
        )
    if next(iter(given.values())).ndim == 1:
        if isinstance(classes, int):
            raise ValueError(
                f"labels must have {classes} 0/1 columns, as before; got one dimension"
            )
        return _one_hot(given, argument, classes)
    if classes is not None and not isinstance(classes, int):
        raise ValueError("labels must be class names or numbers, as before; got 0/1 columns")
    widths = {name: y.shape[1] for name, y in given.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"labels differ in their number of columns: {widths}")
    if classes is not None and set(widths.values()) != {classes}:
        raise ValueError(f"labels must have {classes} columns, as before; got {widths}")
    return {name: _multi_hot(y, argument.format(name)) for name, y in given.items()}


def label_classes(labels: Mapping[str, Any]) -> NDArray[Any] | int:
    """
    Return the classes that the columns of `check_labels` stand for, given valid labels.

    Returns
    -------
    ndarray or int
        The classes, ascending; for labels in 0/1 columns, the number of columns.
    """
    given = {name: _as_label_array(y, name) for name, y in labels.items()}
    first = next(iter(given.values()))
    return _classes_of(list(given.values())) if first.ndim == 1 else int(first.shape[1])


def check_common_classes(labels: Mapping[str, csr_array]) -> None:
    """
    Check that every set of samples has a class that another set has, too.

    Parameters
    ----------
    labels : mapping of str to csr_array
        The result of `check_labels` of the features of a fit.

    Raises
    ------
    ValueError
        If a set shares no class with the others, so that nothing would belong to its samples.
    """
    used = {name: np.bincount(y.indices, minlength=y.shape[1]) > 0 for name, y in labels.items()}
    n_sets = np.sum([*used.values()], axis=0)
    for name, own in used.items():
        if not (own & (n_sets > 1)).any():
            others = " and ".join(f"labels[{other!r}]" for other in used if other != name)
            raise ValueError(
                f"labels[{name!r}] has {own.sum()} classes, and none of them is in {others}: "
                "nothing would belong to these samples; number or spell classes alike in all "
                "modalities"
            )


def _as_label_array(labels: Any, name: str) -> Any:
    """Return labels in one dimension, as strings or int64; or 0/1 columns, dense or sparse."""
    if is_sparse(labels):
        if labels.ndim != 2:
            raise ValueError(f"{name} must be a sparse matrix, got shape {labels.shape}")
        return labels
    try:
        y = as_array(labels, name)
    except ValueError as error:
        raise ValueError(
            f"{error}{_HINT_FOR_LISTS}" if "ragged" in str(error) else str(error)
        ) from None
    if y.dtype.kind == "O":
        y = _strings_or_numbers(y, name)
    elif y.dtype.kind in "US" and not isinstance(labels, np.ndarray):
        # If one value is text, numpy has turned numbers and missing values into text. Check the
        # values as they were given.
        _strings_or_numbers(np.array(labels, object), name)
    if y.ndim not in (1, 2):
        raise ValueError(f"{name} must have one or two dimensions, got shape {y.shape}")
    if y.ndim == 2 and y.shape[1] == 1:
        if y.dtype.kind == "b":
            raise ValueError(
                f"{name} is one column of booleans: pass {name}[:, 0] if False and True are two "
                f"classes, scipy.sparse.csr_array({name}) if True is a label and False is none"
            )
        y = y[:, 0]
    if y.ndim == 2 and y.dtype.kind not in "bfiu":
        raise TypeError(
            f"{name} has {y.shape[1]} columns of dtype {y.dtype}: columns must hold 0 and 1; names "
            f"of classes must be in one column{_HINT_FOR_LISTS}"
        )
    return y if y.ndim == 2 or y.dtype.kind in "US" else _class_numbers(y, name)


def _strings_or_numbers(y: NDArray[Any], name: str) -> NDArray[Any]:
    """Turn an array of Python objects, as data frames have, into strings or numbers."""
    values = y.ravel().tolist()
    if all(isinstance(value, str) for value in values):
        return y.astype(np.str_)
    if all(isinstance(value, bool | int | float | np.number | np.bool_) for value in values):
        numeric = np.array(values)
        if numeric.dtype.kind in "bfiu":
            return numeric.reshape(y.shape)
    for value in values:
        if isinstance(value, list | tuple | set | np.ndarray):
            raise TypeError(f"{name} holds {type(value).__name__}s{_HINT_FOR_LISTS}")
        if value is None or value != value:
            raise ValueError(
                f"{name} holds the missing value {value!r}: drop such samples, or use 0/1 columns "
                "and leave their rows empty"
            )
    kinds = sorted({type(value).__name__ for value in values})
    raise TypeError(
        f"{name} holds values of type {', '.join(kinds)}: pass all names or all numbers"
    )


def _class_numbers(y: NDArray[Any], name: str) -> NDArray[np.int64]:
    if y.dtype.kind not in "bfiu":
        raise TypeError(
            f"{name} has dtype {y.dtype}: classes are names or whole numbers, so pass "
            f"{name}.astype(str) if each value is a class"
        )
    if y.dtype.kind == "f":
        y = y.astype(np.float64, copy=False)
    for some in blocks_of(y):
        part = y[some]
        is_class = part >= 0
        if y.dtype.kind in "fu":
            is_class &= part < 2**63
        if y.dtype.kind == "f":
            is_class &= part == np.floor(part)
        wrong = part[~is_class]
        if len(wrong):
            raise ValueError(
                f"{name} holds the class number {wrong[0]}: class numbers must be whole, at least "
                "0 and below 2**63 (for samples without a label use 0/1 columns and leave the row "
                f"empty; if other numbers name your classes, pass {name}.astype(str))"
            )
    return y.astype(np.int64, copy=False)


def _one_hot(
    given: dict[str, NDArray[Any]], argument: str, classes: NDArray[Any] | None
) -> dict[str, csr_array]:
    from scipy.sparse import csr_array

    kinds = {argument.format(name): y.dtype.kind in "US" for name, y in given.items()}
    if classes is not None:
        kinds["the fit"] = classes.dtype.kind in "US"
    if len(set(kinds.values())) > 1:
        with_names, with_numbers = (
            [where for where, are_names in kinds.items() if are_names == wanted]
            for wanted in (True, False)
        )
        raise ValueError(
            f"{' and '.join(with_names)} had class names, and {' and '.join(with_numbers)} class "
            "numbers: pass names or numbers everywhere (y.astype(str) makes names of numbers)"
        )
    if classes is None:
        classes = _classes_of(list(given.values()))
    encoded = {}
    for name, y in given.items():
        columns = np.empty(len(y), np.int64)
        for some in blocks_of(y):
            columns[some] = np.searchsorted(classes, y[some])
            unknown = ~np.isin(y[some], classes)
            if unknown.any():
                first = y[some][unknown].tolist()[0]
                raise ValueError(
                    f"{argument.format(name)} holds {first!r}, which is no class of the fit"
                )
        rows = np.arange(len(y) + 1)
        encoded[name] = csr_array((np.ones(len(y)), columns, rows), (len(y), len(classes)))
    return encoded


def _classes_of(given: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return distinct(np.concatenate(given))


def _multi_hot(y: Any, name: str) -> csr_array:
    from scipy.sparse import csr_array

    if not is_sparse(y) and y.dtype.kind == "f" and np.isnan(y).any():
        raise ValueError(f"{name} holds NaN: labels must be 0 or 1")
    encoded = csr_array(y, dtype=np.float64, copy=True)
    encoded.sum_duplicates()
    encoded.eliminate_zeros()
    wrong = encoded.data[encoded.data != 1]
    if len(wrong):
        raise ValueError(f"{name} holds the value {wrong[0]:g}: labels must be 0 or 1")
    return encoded
