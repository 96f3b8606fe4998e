"""Split samples for experiments: semi-paired sets, and rows held out for validation.

`semi_paired_split` makes a semi-paired set of a paired one: some pairs stay known, and the other
rows lose their partners. `validation_split` holds out rows on which settings are compared. Both
return row numbers and need no features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.validation import check_choice, check_count, check_number

__all__ = ["SemiPairedSplit", "semi_paired_split", "validation_split"]


@dataclass(frozen=True, eq=False)
class SemiPairedSplit:
    """
    The rows of a paired set that each modality keeps, and the known pairs among these rows.

    Attributes
    ----------
    rows : dict of str to ndarray of int64, shape (n_kept,)
        For each modality, the row numbers of the original set that it keeps, in a random order that
        differs between modalities. The features of the split are ``x[rows[name]]``.
    pairs : ndarray of int64, shape (n_pairs, n_modalities)
        Known pairs as positions in `rows`, with one column per modality in the order of `rows`.
        Pass this array to the ``fit`` method of a model.

    See Also
    --------
    semi_paired_split : Make a split.

    Examples
    --------
    >>> from fasthash.datasets import semi_paired_split
    >>> split = semi_paired_split(300, 0.2, random_state=0)
    >>> split.pairs.shape, split.paired.shape, split.unpaired["text"].shape
    ((60, 2), (60,), (240,))
    """

    rows: dict[str, NDArray[np.int64]]
    pairs: NDArray[np.int64]

    @property
    def paired(self) -> NDArray[np.int64]:
        """Row numbers of the original set that are known pairs, in the order of `pairs`."""
        return next(iter(self.rows.values()))[self.pairs[:, 0]]

    @property
    def unpaired(self) -> dict[str, NDArray[np.int64]]:
        """For each modality, the rows of the original set that it keeps without a partner."""
        return {
            name: np.delete(kept, column)
            for (name, kept), column in zip(self.rows.items(), self.pairs.T, strict=True)
        }

    def __repr__(self) -> str:
        kept = ", ".join(f"{name}: {len(rows)}" for name, rows in self.rows.items())
        return f"SemiPairedSplit({len(self.pairs)} pairs, rows kept {{{kept}}})"


def semi_paired_split(
    n: int,
    ratio: float,
    *,
    kind: str = "keep",
    modalities: Sequence[str] = ("image", "text"),
    random_state: Any = None,
) -> SemiPairedSplit:
    """
    Make a semi-paired set of a paired one: some rows stay pairs, and the others lose a partner.

    Parameters
    ----------
    n : int
        Number of rows of the paired set.
    ratio : float
        Share of rows that stay pairs, greater than 0 and at most 1: ``round(ratio * n)`` of them,
        at least two.
    kind : {"keep", "missing"}, default "keep"
        What happens to the other rows. "keep": every modality keeps all of them, but it is not
        known which of them belong together. "missing": each of them is dropped from one of two
        modalities, half of them from each; if their number is odd, the first modality keeps one
        more.
    modalities : sequence of str, default ("image", "text")
        Names in the order of the columns of the pairs: two or more, and exactly two for "missing".
    random_state : int, RandomState instance or None, default None
        Seed that selects the pairs and the order of the rows.

    Returns
    -------
    SemiPairedSplit
        The rows of each modality, and the pairs.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value, or fewer than two rows would stay pairs.

    See Also
    --------
    validation_split : Hold out rows.

    Notes
    -----
    The rows of each modality, including the pairs, are in an independent random order, so that
    positions carry no information about pairs. The cost is O(n · n_modalities).

    References
    ----------
    Samples that lack a modality: Wang, Si, Shen, "Learning to Hash on Partial Multi-Modal Data",
    IJCAI 2015. Semi-paired sets: Shen, Sun, Yuan, "Semi-Paired Hashing for Cross-View Retrieval",
    Neurocomputing 213, 2016. The names of the two kinds and the equal halves are our choice.

    Examples
    --------
    >>> import numpy as np
    >>> import fasthash as fh
    >>> from fasthash.datasets import semi_paired_split
    >>> shared = np.random.default_rng(0).standard_normal((300, 8))
    >>> features = {"image": shared + 0.1, "text": 2 * shared}
    >>> split = semi_paired_split(300, 0.2, kind="missing", random_state=0)
    >>> split
    SemiPairedSplit(60 pairs, rows kept {image: 180, text: 180})
    >>> kept = {name: x[split.rows[name]] for name, x in features.items()}
    >>> model = fh.CCAITQ(n_bits=8, random_state=0).fit(kept, pairs=split.pairs)
    >>> model.codes_["text"].shape
    (180, 1)
    """
    n = check_count(n, "n", minimum=2)
    if check_number(ratio, "ratio", positive=True) > 1:
        raise ValueError(f"ratio must be at most 1, the share of rows that are pairs, got {ratio}")
    check_choice(kind, "kind", ("keep", "missing"))
    modalities = _check_names(modalities)
    if kind == "missing" and len(modalities) != 2:
        raise ValueError(
            f'kind="missing" takes two modalities, got {list(modalities)}: use kind="keep" for more'
        )
    n_pairs = round(ratio * n)
    if n_pairs < 2:
        raise ValueError(
            f"ratio={ratio} of n={n} rows leaves {n_pairs} pairs, and at least 2 are needed: use a "
            f"ratio of {2 / n:.2g} or more"
        )
    rng = _random_state(random_state)

    shuffled = rng.permutation(n)
    paired, others = shuffled[:n_pairs], shuffled[n_pairs:]
    if kind == "keep":
        unpaired = [others] * len(modalities)
    else:
        half = (len(others) + 1) // 2
        unpaired = [others[:half], others[half:]]
    rows, columns = {}, []
    for name, alone in zip(modalities, unpaired, strict=True):
        kept = np.concatenate([paired, alone])
        order = rng.permutation(len(kept))
        rows[name] = kept[order].astype(np.int64)
        # The inverse permutation gives the new position of each row; the pairs came first.
        columns.append(np.argsort(order)[:n_pairs])
    return SemiPairedSplit(rows, np.column_stack(columns).astype(np.int64))


def validation_split(
    n: int, share: float, *, random_state: Any = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """
    Hold out random rows, on which settings can be compared.

    Parameters
    ----------
    n : int
        Number of rows, at least two.
    share : float
        Share of the rows to hold out, between 0 and 1. ``round(share * n)`` rows are held out, but
        at least one row is held out and at least one is kept.
    random_state : int, RandomState instance or None, default None
        Seed that selects the rows.

    Returns
    -------
    kept : ndarray of int64, shape (n - n_held_out,)
        Ascending numbers of the rows to fit models to.
    held_out : ndarray of int64, shape (n_held_out,)
        Ascending numbers of the rows to evaluate models on.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value.

    See Also
    --------
    semi_paired_split : Make a semi-paired set.
    sklearn.model_selection.train_test_split : A split that can balance classes.

    Notes
    -----
    The cost is O(n log n). Classes are not balanced.

    Examples
    --------
    >>> from fasthash.datasets import validation_split
    >>> kept, held_out = validation_split(10, 0.3, random_state=0)
    >>> kept, held_out
    (array([0, 1, 3, 5, 6, 7, 9]), array([2, 4, 8]))
    """
    n = check_count(n, "n", minimum=2)
    if check_number(share, "share", positive=True) >= 1:
        raise ValueError(f"share must be less than 1, the share of rows held out, got {share}")
    n_held_out = min(max(round(share * n), 1), n - 1)
    shuffled = _random_state(random_state).permutation(n).astype(np.int64)
    return np.sort(shuffled[n_held_out:]), np.sort(shuffled[:n_held_out])


def _check_names(modalities: Sequence[str]) -> tuple[str, ...]:
    if isinstance(modalities, str) or not all(isinstance(name, str) for name in modalities):
        raise TypeError(f"modalities must be a sequence of names, got {modalities!r}")
    names = tuple(modalities)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"modalities must be two or more different names, got {list(names)}")
    return names


def _random_state(random_state: Any) -> np.random.RandomState:
    # Imported here, because the other functions of this folder do not need scikit-learn.
    from sklearn.utils import check_random_state

    return check_random_state(random_state)
