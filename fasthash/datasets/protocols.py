"""How experiments divide samples: some pairs among unpaired rows, and rows held out for validation.

A set of paired modalities becomes a semi-paired one by hiding which rows belong together
(`semi_paired_split`); settings are chosen on rows that no model was fitted to (`validation_split`).
Both deal in row numbers, so that the features themselves may lie wherever they are.
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
    Rows of a paired set that each modality keeps, and which of the kept ones are known to be pairs.

    Attributes
    ----------
    rows : dict of str to ndarray of int64, shape (n_kept,)
        Per modality the rows of the original set that it keeps, each in a random order of its own:
        the features of the split are ``x[rows[name]]``.
    pairs : ndarray of int64, shape (n_pairs, n_modalities)
        Positions in `rows`, a column per modality in their order, as models take them.
    """

    rows: dict[str, NDArray[np.int64]]
    pairs: NDArray[np.int64]

    @property
    def paired(self) -> NDArray[np.int64]:
        """Rows of the original set that are pairs, in the order of `pairs`; shape (n_pairs,)."""
        return next(iter(self.rows.values()))[self.pairs[:, 0]]

    @property
    def unpaired(self) -> dict[str, NDArray[np.int64]]:
        """Rows of the original set that a modality keeps without a partner, in their order."""
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
    Make a semi-paired set of a paired one: some rows stay pairs, the others lose their partner.

    Parameters
    ----------
    n : int
        Number of rows of the paired set.
    ratio : float
        Share of rows that stay pairs, greater than 0 and at most 1: ``round(ratio * n)`` of them,
        at least two.
    kind : {"keep", "missing"}, default "keep"
        What happens to the other rows. "keep": every modality keeps all of them, and only which
        belong together is lost. "missing": each is dropped from one of two modalities, half of them
        from either; of an odd number the first modality keeps one more.
    modalities : sequence of str, default ("image", "text")
        Names, in the order of the columns of the pairs; two or more, for "missing" exactly two.
    random_state : int, RandomState instance or None, default None
        Seeds which rows stay pairs, and the orders.

    Returns
    -------
    SemiPairedSplit

    Raises
    ------
    TypeError, ValueError
        If an argument is unsuitable, or fewer than two rows would stay pairs.

    Notes
    -----
    Rows of each modality, pairs among them, stand in a random order of their own, so that position
    says nothing about what belongs together. O(n · n_modalities).

    References
    ----------
    On samples that lack a modality: Wang, Si, Shen, "Learning to Hash on Partial Multi-Modal Data",
    IJCAI 2015. On semi-paired sets: Shen, Sun, Yuan, "Semi-Paired Hashing for Cross-View
    Retrieval", Neurocomputing 213, 2016. The names of the two kinds and the even halves are ours.

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
        # The inverse of the order says where each row went; the pairs were the first ones.
        columns.append(np.argsort(order)[:n_pairs])
    return SemiPairedSplit(rows, np.column_stack(columns).astype(np.int64))


def validation_split(
    n: int, share: float, *, random_state: Any = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """
    Hold rows out at random, to choose settings by.

    Parameters
    ----------
    n : int
        Number of rows, at least two.
    share : float
        Share of the rows to hold out, between 0 and 1: ``round(share * n)`` of them, but at least
        one, and at least one is kept.
    random_state : int, RandomState instance or None, default None
        Seeds which.

    Returns
    -------
    kept : ndarray of int64, shape (n - n_held_out,)
        Ascending row numbers to fit to.
    held_out : ndarray of int64, shape (n_held_out,)
        Ascending row numbers to judge by.

    Raises
    ------
    TypeError, ValueError
        If an argument is unsuitable.

    Notes
    -----
    O(n log n). Classes are not balanced; `sklearn.model_selection.train_test_split` can do that.

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
    # Imported here, because the data of this room can be had without scikit-learn.
    from sklearn.utils import check_random_state

    return check_random_state(random_state)
