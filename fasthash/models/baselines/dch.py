"""`DCH`: Discrete Cross-modal Hashing, supervised, with one code for both partners of a pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve, solve
from sklearn.utils import check_random_state

from ..._core.features import MappedRows
from ..._core.labels import check_labels
from ..._core.runtime import resolve_threads
from ..._core.validation import check_choice, check_count, check_number
from ..._core.workers import threads_of_products
from .._progress import Callback, Progress
from .._scales import Related
from ..base import CrossModalHasher
from ._paired import check_classes, kernel_maps, products, projected, read_rows, ridged_gram, store

__all__ = ["DCH"]


class DCH(CrossModalHasher):
    """
    Discrete Cross-modal Hashing (Xu et al. 2017), from labels of pairs.

    Both partners of a pair have the same code. A linear classifier of the bits shall tell the
    labels, and hash functions of each modality shall tell the bits. The codes are updated bit by
    bit, as signs.

    Parameters
    ----------
    n_bits : int, default 32
        Length of the codes.
    mu : float, default 1e-3
        Weight of the hash functions, the same for all modalities.
    lam : float, default 1.0
        Weight λ of the squared norm of the classifier; greater than 0.
    ridge : float, default 1e-2
        Number added to the diagonal of each covariance, as a share of its mean; greater than 0.
    kernel : {"linear", "rbf"}, default "rbf"
        Whether the hash functions are linear in the features, or in radial basis functions of them.
    n_anchors : int, default 500
        Number of pairs that are centres of the radial basis functions, at most.
    width : float, default 0.7
        Standard deviation of the radial basis functions, in units of the mean distance between the
        samples of a modality and its centres.
    n_sweeps : int, default 10
        Number of rounds of updates.
    preprocessing : str or mapping of str to str, default "none"
        Preprocessing of the features, as in `CCAITQ`.
    random_state : int, RandomState instance or None, default None
        Seed of the anchors and of the first codes.

    Attributes
    ----------
    codes_, projections_, feature_maps_, modalities_, n_features_in_, feature_names_in_
        As in `CrossModalHasher`.
    objective_ : ndarray of float64, shape (n_sweeps,)
        The objective after every round.

    See Also
    --------
    AMSH : Learns from labels without pairs.
    SCM : Learns from labels, bit by bit.

    Notes
    -----
    The objective is ‖Y - B W‖² + λ ‖W‖² + μ Σ ‖B - Φ_m F_m‖² over codes B of ±1, a classifier W and
    hash functions F, with samples as rows and labels Y of 0 and 1. W and F have closed forms. Each
    column of B is the sign of what the labels and hash functions ask for, less what the other
    columns explain.

    From the paper: the objective and the discrete updates. Ours: the values of the weights and the
    width, chosen on validation data; the ridge of the hash functions, the number of anchors, and a
    single round over the bits between updates of W and F. Training samples have the codes B;
    `encode` uses F. A bit that would be the same in all of B tells nothing apart; it is 1, and so
    it is in every code of `encode`.

    O(n · n_anchors² + n_sweeps · n · n_bits · (n_anchors + n_bits)) time.

    References
    ----------
    Xu, Shen, Yang, Shen, Li, "Learning Discriminative Binary Codes for Large-Scale Cross-Modal
    Retrieval", IEEE Transactions on Image Processing 26(5), 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from fasthash.models import DCH
    >>> y = np.arange(90) % 3
    >>> x = {"image": np.eye(3)[y], "text": np.eye(3)[y][:, ::-1]}
    >>> model = DCH(n_bits=8, kernel="linear", random_state=0).fit(x, dict.fromkeys(x, y))
    >>> bool((model.codes_["image"] == model.codes_["text"]).all())
    True
    """

    _learned = (*CrossModalHasher._learned, "objective_")
    _needs_labels = True

    def __init__(
        self,
        n_bits: int = 32,
        *,
        mu: float = 1e-3,
        lam: float = 1.0,
        ridge: float = 1e-2,
        kernel: str = "rbf",
        n_anchors: int = 500,
        width: float = 0.7,
        n_sweeps: int = 10,
        preprocessing: str | Mapping[str, str] = "none",
        random_state: Any = None,
    ) -> None:
        self.n_bits = n_bits
        self.mu = mu
        self.lam = lam
        self.ridge = ridge
        self.kernel = kernel
        self.n_anchors = n_anchors
        self.width = width
        self.n_sweeps = n_sweeps
        self.preprocessing = preprocessing
        self.random_state = random_state

    def fit(
        self,
        features: Mapping[str, ArrayLike],
        labels: Mapping[str, Any],
        pairs: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> DCH:
        """
        Learn from labels of pairs, and compute the codes of all samples.

        Parameters
        ----------
        features : mapping of str to array_like, each of shape (n_samples, n_features)
            Features of two or more modalities, in any form that `CCAITQ.fit` takes.
        labels : mapping of str to labels
            Labels of every modality, in any form that `AMSH.fit` takes. Partners have the
            same labels.
        pairs : array_like of int, shape (n_pairs, n_modalities), optional
            Rows that belong together, with a column per modality in the order of `features`; no row
            in two pairs. Only these rows are learned from. By default row i belongs to row i.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`.
        callback : callable, optional
            Called as ``callback(stage, done, total)`` during the stages "sweeps" and
            "codes of <modality>" (by row).
        verbose : bool, default False
            Show progress on standard error, as bars if tqdm is installed.

        Returns
        -------
        DCH
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If parameters, features, labels or pairs are unsuitable. The model is then unchanged,
            and also when the callback raises an error.

        See Also
        --------
        encode : Compute the codes of other samples.

        Examples
        --------
        >>> import numpy as np
        >>> import fasthash as fh
        >>> y = np.arange(90) % 3
        >>> x = {"image": np.eye(3)[y] + 0.1 * np.random.default_rng(0).random((90, 3))}
        >>> x["text"] = x["image"] @ np.ones((3, 2)).cumsum(axis=0)
        >>> model = fh.models.DCH(n_bits=8, random_state=0).fit(x, dict.fromkeys(x, y))
        >>> found = fh.topk(model.encode(x["text"][:1], "text"), model.codes_["image"], k=5)[1]
        >>> bool((y[found] == y[0]).all())
        True
        """
        n_bits = check_count(self.n_bits, "n_bits")
        n_sweeps = check_count(self.n_sweeps, "n_sweeps")
        for name in ("mu", "lam", "ridge", "width"):
            check_number(getattr(self, name), name, positive=True)
        check_choice(self.kernel, "kernel", ("linear", "rbf"))
        check_count(self.n_anchors, "n_anchors")
        n_threads = resolve_threads(n_threads)
        rng = check_random_state(self.random_state)
        rows = read_rows(self, features, pairs, make_maps=kernel_maps(self, rng, n_threads))
        encoded = check_labels(labels, {name: len(x) for name, x in rows.given.items()})
        y = _labels_of_pairs(encoded, rows.pairs)
        views = list(rows.mapped.values())
        b = np.where(rng.standard_normal((y.shape[0], n_bits)) >= 0, 1.0, -1.0)
        with Progress(callback, verbose) as report:
            with threads_of_products(n_threads):
                factors = [cho_factor(ridged_gram(z, self.ridge)) for z in views]
                objective = []
                for done in range(1, n_sweeps + 1):
                    w = solve(b.T @ b + self.lam * np.eye(n_bits), (y.T @ b).T, assume_a="pos")
                    f = _hash_functions(views, factors, b)
                    told = [projected(z, one) for z, one in zip(views, f, strict=True)]
                    _update_bits(b, w, y @ w.T + self.mu * np.sum(told, axis=0))
                    errors = sum(np.sum((b - one) ** 2) for one in told)
                    objective.append(_squares(y, b, w) + self.lam * np.sum(w**2) + self.mu * errors)
                    report("sweeps", done, n_sweeps)
                # A bit that is the same in all samples has a hash function of 0, which encodes to
                # 1. The objective is the same if a column and its row of W change signs.
                b[:, (b < 0).all(axis=0)] = 1.0
                f = _hash_functions(views, factors, b)
            projections = dict(zip(rows.mapped, f, strict=True))
            related = Related.of_labels(encoded)
            store(
                *(self, rows, projections, b, related, n_threads, report),
                objective_=np.array(objective),
            )
        return self


def _labels_of_pairs(labels: Mapping[str, Any], pairs: NDArray[np.int64] | None) -> Any:
    """Labels of the pairs as a sparse matrix; partners must have the same ones."""
    own = {
        name: y if pairs is None else y[pairs[:, m]] for m, (name, y) in enumerate(labels.items())
    }
    first = next(iter(own))
    for name, y in own.items():
        differs = (y != own[first]).nonzero()[0]
        if len(differs):
            raise ValueError(
                f"labels[{name!r}] of pair {differs.min()} are not those of its partner in "
                f"{first!r}: DCH gives partners the same code, so they need the same "
                "labels"
            )
    check_classes("DCH", own)
    return own[first]


def _hash_functions(
    views: list[MappedRows], factors: list[Any], b: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Solve for F of every modality, from the Cholesky factors of their covariances."""
    # Columns of Φ are centred, so the means of the codes add nothing to Φᵀ B but rounding errors.
    # Those would be the whole hash function of a bit that is the same in all samples.
    b = b - b.mean(axis=0)
    return [cho_solve(factor, products(z, b)) for factor, z in zip(factors, views, strict=True)]


def _update_bits(
    b: NDArray[np.float64], w: NDArray[np.float64], asked: NDArray[np.float64]
) -> None:
    """Update the columns of the codes in turn, in place; `asked` is Y Wᵀ + μ Σ Φ F."""
    inner = w @ w.T
    for k in range(b.shape[1]):
        others = b @ inner[:, k] - b[:, k] * inner[k, k]
        b[:, k] = np.where(asked[:, k] - others >= 0, 1.0, -1.0)


def _squares(y: Any, b: NDArray[np.float64], w: NDArray[np.float64]) -> float:
    """‖Y - B W‖², without a dense Y."""
    product = np.sum((b.T @ b) * (w @ w.T))
    return float(y.nnz - 2 * np.sum((y.T @ b).T * w) + product)
