"""The input of CLSR's training, `Problem`, and its record of an epoch. Needs no PyTorch.

`split_items` holds out pairs for validation. `make_problem` preprocesses the features and numbers
the rows that take part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._core.pieces import cut
from ..._core.rows import Rows
from ..._core.validation import check_choice, check_number, check_pairs
from .._columns import check_columns
from .._preprocessing import Preprocessing, fit_preprocessing
from ..base import read_modalities
from ._inputs import (
    Items,
    duplicate_ids,
    group_pairs,
    semantic_features,
)

__all__ = [
    "RECALL_RANKS",
    "EpochRecord",
    "Problem",
    "check_item_pairs",
    "make_problem",
    "pairs_by_row",
    "read_two_modalities",
    "split_items",
]

# Recalls at these ranks judge latents and codes of validation pairs.
RECALL_RANKS = (1, 5, 10)

# Largest number of principal components of the first and of the second modality.
_MOST_COMPONENTS = (256, 384)

Value = TypeVar("Value")

# Rows per modality, and the pairs among them.
Paired = tuple[dict[str, Rows], NDArray[np.int64]]


@dataclass(frozen=True)
class Problem:
    """
    The input of the training. Rows are numbered among the training rows of their modality.

    Attributes
    ----------
    names : tuple of str
    x : tuple of ndarray of float32
        Preprocessed features per modality.
    targets : tuple of ndarray of float32
        The first columns of x, centred: the latents of the other modality should reconstruct them.
    target_means : tuple of ndarray of float64
        Means of these columns.
    items : Items
        Pairs among these rows.
    meaning : ndarray of float32
        Features of the teacher.
    teacher : int
        The modality that is the teacher.
    duplicates : tuple of (ndarray of int64 or None)
        A number for each row, the same for equal rows; None if all rows differ.
    validation : tuple of (tuple of ndarray, ndarray) or None
        Preprocessed features per modality, and pairs.
    """

    names: tuple[str, str]
    x: tuple[NDArray[np.float32], NDArray[np.float32]]
    targets: tuple[NDArray[np.float32], NDArray[np.float32]]
    target_means: tuple[NDArray[np.float64], NDArray[np.float64]]
    items: Items
    meaning: NDArray[np.float32]
    teacher: int
    duplicates: tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]
    validation: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], NDArray[np.int64]] | None

    def fingerprint(self) -> str:
        """Return a digest of the data, with which a checkpoint recognises the same data."""
        digest = hashlib.blake2b(digest_size=16)
        items = self.items
        validation = () if self.validation is None else (*self.validation[0], self.validation[1])
        for array in (
            *(*self.x, *self.targets, self.meaning),
            *(items.rows, items.partners, items.starts, *validation),
        ):
            digest.update(repr((array.shape, items.one, self.teacher)).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class EpochRecord:
    """
    One epoch of a fit.

    Attributes
    ----------
    epoch : int
        Number of the epoch; the first is 1.
    n_epochs : int
        Largest number of epochs.
    loss : float
        The weighted sum of the terms, mean over steps.
    parts : dict of str to float
        The terms before they are weighted, mean over steps: "contrast", and those of "consistency",
        "semantic" and "reconstruction" that are switched on.
    temperature : float
        The temperature, mean over steps.
    recall : dict of (str, str) to dict of int to float
        Validation recall at 1, 5 and 10 per direction; empty without validation.
    """

    epoch: int
    n_epochs: int
    loss: float
    parts: dict[str, float]
    temperature: float
    recall: dict[tuple[str, str], dict[int, float]] = field(default_factory=dict)

    @property
    def recall_sum(self) -> float:
        """Sum of the recalls over ranks and directions, in percent; at most 600."""
        return 100 * sum(sum(of_ranks.values()) for of_ranks in self.recall.values())

    def to_plain(self) -> dict[str, Any]:
        """Convert to numbers, strings, lists and mappings, for a file."""
        recall = [
            [query, target, list(of_ranks), list(of_ranks.values())]
            for (query, target), of_ranks in self.recall.items()
        ]
        return {**asdict(self), "recall": recall}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> EpochRecord:
        """Undo `to_plain`."""
        recall = {
            (query, target): dict(zip(ranks, values, strict=True))
            for query, target, ranks, values in plain["recall"]
        }
        return cls(**{**plain, "recall": recall})

    @property
    def details(self) -> str:
        """Loss, temperature and recalls in one line of text."""
        line = f"loss {self.loss:.4f}  temperature {self.temperature:.4f}"
        for (query, target), recall in self.recall.items():
            ranks = "/".join(map(str, recall))
            values = " ".join(f"{100 * value:.1f}" for value in recall.values())
            line += f"  {query}→{target} R@{ranks} {values}"
        return line

    def __str__(self) -> str:
        return f"epoch {self.epoch}/{self.n_epochs}  {self.details}"


def read_two_modalities(
    features: Any, teacher: str | None, encoders: Mapping[str, Any] | None
) -> dict[str, Rows]:
    """
    Check the features of a fit, and that teacher and encoders are of these modalities.

    Raises
    ------
    TypeError, ValueError
        If they are not.
    """
    rows = read_modalities(features)
    if len(rows) != 2:
        raise ValueError(f"CLSR takes two modalities, got {list(rows)}")
    if teacher is not None:
        check_choice(teacher, "teacher", list(rows))
    if encoders is not None and not set(encoders) <= set(rows):
        raise ValueError(f"encoders is given for {list(encoders)}, features for {list(rows)}")
    return rows


def check_item_pairs(pairs: ArrayLike | None, rows: dict[str, Rows]) -> NDArray[np.int64]:
    """
    Check pairs of which one modality may have a row more than once; by default, row i and row i.

    Raises
    ------
    TypeError, ValueError
        If they are no such pairs, or there are too few rows to learn from.
    """
    n_samples = {name: len(x) for name, x in rows.items()}
    checked = check_pairs(pairs, n_samples, repeated=True)
    if checked is None:
        return pairs_by_row(n_samples)
    n_rows = [len(np.unique(column)) for column in checked.T]
    if max(n_rows) < len(checked):
        raise ValueError(
            "pairs holds rows of both modalities more than once: one side may repeat, as a "
            "clip does that has several captions; give the other side a row of its own per pair"
        )
    if min(n_rows) < 2:
        raise ValueError("pairs speaks of one row only: contrast needs at least two")
    return checked


def pairs_by_row(n_samples: Mapping[str, int]) -> NDArray[np.int64]:
    """Pair row i of the first modality with row i of the second."""
    n = next(iter(n_samples.values()))
    return np.repeat(np.arange(n)[:, None], 2, axis=1)


def split_items(
    rows: dict[str, Rows],
    pairs: NDArray[np.int64],
    validation: Any,
    rng: np.random.RandomState,
) -> tuple[NDArray[np.int64], Paired | None]:
    """
    Divide pairs into those for training and those for validation.

    Parameters
    ----------
    rows : dict of str to Rows
    pairs : ndarray of int64, shape (n_pairs, 2)
        Validated.
    validation : float, (features, pairs) or None
        The argument of `CLSR.fit`.
    rng : RandomState
        Draws the items that are held out.

    Raises
    ------
    TypeError, ValueError
        If `validation` is neither of these, or does not fit the features.
    """
    if validation is None:
        return pairs, None
    if isinstance(validation, tuple | list):
        return pairs, _own_samples(rows, validation)
    share = check_number(validation, "validation", positive=True)
    items = group_pairs(pairs)
    n_held = round(share * len(items))
    if share >= 1 or not 1 <= n_held <= len(items) - 2:
        raise ValueError(
            f"validation={validation!r} of {len(items)} items holds out {n_held}: pass a share "
            "that leaves at least one item to validate on and two to learn from"
        )
    number = np.searchsorted(items.rows, pairs[:, items.one])
    out = np.isin(number, rng.permutation(len(items))[:n_held])
    return pairs[~out], (rows, pairs[out])


def _own_samples(rows: dict[str, Rows], validation: Any) -> Paired:
    if len(validation) != 2:
        raise TypeError(
            "validation must be a share of the items or a tuple (features, pairs), got "
            f"{type(validation).__name__} of {len(validation)}"
        )
    given = read_modalities(validation[0])
    if list(given) != list(rows):
        raise ValueError(
            f"validation has the modalities {list(given)}, features has {list(rows)}: pass the "
            "same in the same order"
        )
    for name, x in given.items():
        check_columns(validation[0][name], f"validation[0][{name!r}]", rows[name].names)
        if x.shape[1] != rows[name].shape[1]:
            raise ValueError(
                f"validation has {x.shape[1]} columns of {name!r}, features has "
                f"{rows[name].shape[1]}"
            )
    n_samples = {name: len(x) for name, x in given.items()}
    pairs = check_pairs(validation[1], n_samples, minimum=1, repeated=True)
    return given, pairs_by_row(n_samples) if pairs is None else pairs


def make_problem(
    rows: dict[str, Rows],
    pairs: NDArray[np.int64],
    held_out: Paired | None,
    kinds: Mapping[str, str],
    teacher: str,
    n_targets: int,
) -> tuple[dict[str, Preprocessing], Problem]:
    """
    Preprocess the training rows, and number them.

    Parameters
    ----------
    rows : dict of str to Rows
    pairs : ndarray of int64, shape (n_pairs, 2)
        In at least one modality no row repeats.
    held_out : (rows, pairs) or None
        From `split_items`.
    kinds : mapping of str to str
        For each modality, one of `PREPROCESSING`.
    teacher : str
        The modality that is the teacher.
    n_targets : int
        Number of components to reconstruct.

    Returns
    -------
    preprocessing : dict of str to Preprocessing
    problem : Problem

    Raises
    ------
    ValueError
        If all rows of a modality are the same.
    """
    used = [np.unique(column) for column in pairs.T]
    local = np.column_stack(
        [np.searchsorted(u, column) for u, column in zip(used, pairs.T, strict=True)]
    )
    preprocessing, x, targets, means, duplicates, meaning = {}, [], [], [], [], None
    for (name, read), own, most in zip(rows.items(), used, _MOST_COMPONENTS, strict=True):
        given = read.subset(own)
        if given.is_constant():
            raise ValueError(
                f"features[{name!r}] has the same row in all pairs: there is nothing to tell them "
                "apart by; pass pairs that differ"
            )
        preprocessing[name] = fit_preprocessing(given, kinds[name], most)
        mapped = _mapped(given, preprocessing[name])
        x.append(mapped)
        # Components are sorted by variance, so the first ones are used; other columns are not
        # sorted, so all are used.
        target = mapped[:, :n_targets] if kinds[name] == "whiten" else mapped
        means.append(target.mean(axis=0, dtype=np.float64))
        targets.append(np.ascontiguousarray(target - means[-1], np.float32))
        ids = duplicate_ids(given)
        duplicates.append(None if ids.max() + 1 == len(ids) else ids)
        if name == teacher:
            meaning = semantic_features(given)
    assert meaning is not None, "the teacher is one of the modalities"
    problem = Problem(
        _both(rows),
        _both(x),
        _both(targets),
        _both(means),
        group_pairs(local),
        meaning,
        list(rows).index(teacher),
        _both(duplicates),
        None if held_out is None else _preprocessed(held_out, preprocessing),
    )
    return preprocessing, problem


def _both(values: Iterable[Value]) -> tuple[Value, Value]:
    """Return the values of the first and the second modality as a tuple."""
    first, second = values
    return first, second


def _mapped(rows: Rows, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Preprocess rows, block by block."""
    out = np.empty((len(rows), preprocessing.n_out), np.float32)
    for block in cut(*rows.shape):
        out[block] = preprocessing.transform(rows.read(block), np.float32)
    return out


def _preprocessed(
    held_out: Paired, preprocessing: dict[str, Preprocessing]
) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], NDArray[np.int64]]:
    """Preprocess the rows that are in pairs, and number the pairs among these rows."""
    x, columns = [], []
    for (name, read), column in zip(held_out[0].items(), held_out[1].T, strict=True):
        used, local = np.unique(column, return_inverse=True)
        x.append(_mapped(read.subset(used), preprocessing[name]))
        columns.append(local.reshape(-1))
    return _both(x), np.column_stack(columns)
