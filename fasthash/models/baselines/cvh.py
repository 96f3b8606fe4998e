"""`CVH`: Cross-View Hashing of pairs, which is canonical correlation analysis and signs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import ArrayLike

from ..._core.runtime import resolve_threads
from ..._core.validation import check_count, check_number
from ..._core.workers import threads_of_products
from .._canonical import canonical_directions, pair_covariances
from .._progress import Callback, Progress
from .._scales import Related
from ..base import CrossModalHasher
from ._paired import blocks_together, read_rows, store

__all__ = ["CVH"]


class CVH(CrossModalHasher):
    """
    Cross-View Hashing (Kumar and Udupa 2011): the signs of canonical directions.

    The paper learns from similarities between samples. This is its case in which only the pairs are
    known: a sample is similar to its partner and to no other one. The hash functions are then the
    canonical directions, from the most correlated one on.

    Parameters
    ----------
    n_bits : int, default 32
        Length of the codes; at most the smallest number of features of a modality, and less than
        the number of pairs.
    ridge : float, default 0.1
        Number added to the diagonal of each covariance, as a share of its mean; greater than 0.
    preprocessing : str or mapping of str to str, default "none"
        Preprocessing of the features, as in `CCAITQ`.
    random_state : int, RandomState instance or None, default None
        Not used, because nothing is random; methods that are compared all have it.

    Attributes
    ----------
    codes_, projections_, feature_maps_, modalities_, n_features_in_, feature_names_in_
        As in `CrossModalHasher`.
    correlations_ : ndarray of float64, shape (n_bits,)
        Canonical correlations, descending.

    See Also
    --------
    CCAITQ : The same directions, scaled by their correlations and rotated; usually much better.

    Notes
    -----
    From the paper: the directions and the signs. Ours: features are centred, and the ridge is a
    share of the mean variance. Its value matters little on the sets of docs/baselines.md. Later
    directions are less correlated, so long codes may be worse than short ones.

    References
    ----------
    Kumar, Udupa, "Learning Hash Functions for Cross-View Similarity Search", International Joint
    Conference on Artificial Intelligence, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from fasthash.models import CVH
    >>> x = np.random.default_rng(0).standard_normal((100, 8))
    >>> CVH(n_bits=4).fit({"image": x, "text": x[:, ::-1]}).correlations_.shape
    (4,)
    """

    _learned = (*CrossModalHasher._learned, "correlations_")

    def __init__(
        self,
        n_bits: int = 32,
        *,
        ridge: float = 0.1,
        preprocessing: str | Mapping[str, str] = "none",
        random_state: Any = None,
    ) -> None:
        self.n_bits = n_bits
        self.ridge = ridge
        self.preprocessing = preprocessing
        self.random_state = random_state

    def fit(
        self,
        features: Mapping[str, ArrayLike],
        pairs: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
        callback: Callback | None = None,
        verbose: bool = False,
    ) -> CVH:
        """
        Learn the directions from pairs, and compute the codes of all samples.

        Parameters
        ----------
        features : mapping of str to array_like, each of shape (n_samples, n_features)
            Features of two or more modalities, in any form that `CCAITQ.fit` takes.
        pairs : array_like of int, shape (n_pairs, n_modalities), optional
            Rows that belong together, with a column per modality in the order of `features`; no row
            in two pairs. Only these rows are learned from. By default row i belongs to row i.
        n_threads : int, optional
            Number of threads, as in `fasthash.topk`.
        callback : callable, optional
            Called as ``callback(stage, done, total)`` during the stages "correlations"
            (once) and "codes of <modality>" (by row).
        verbose : bool, default False
            Show progress on standard error, as bars if tqdm is installed.

        Returns
        -------
        CVH
            The model itself.

        Raises
        ------
        TypeError, ValueError
            If parameters, features or pairs are unsuitable. The model is then unchanged, and
            also when the callback raises an error.

        See Also
        --------
        encode : Compute the codes of other samples.

        Examples
        --------
        >>> import numpy as np
        >>> import fasthash as fh
        >>> x = np.random.default_rng(0).standard_normal((100, 8))
        >>> model = fh.models.CVH(n_bits=4, random_state=0).fit({"image": x, "text": x[:, ::-1]})
        >>> float((model.codes_["image"] == model.codes_["text"]).mean())
        1.0
        """
        n_bits = check_count(self.n_bits, "n_bits")
        check_number(self.ridge, "ridge", positive=True)
        n_threads = resolve_threads(n_threads)
        rows = read_rows(self, features, pairs)
        z = rows.mapped
        fewest = min(modality.n_columns for modality in z.values())
        if n_bits > fewest:
            raise ValueError(
                f"n_bits={n_bits}, but there are {fewest} canonical directions, as many as the "
                "smallest number of features: lower n_bits, or use CCAITQ, which spreads fewer "
                "directions over more bits"
            )
        n_pairs = next(iter(z.values())).n_rows
        if n_bits >= n_pairs:
            raise ValueError(
                f"n_bits={n_bits}, but {n_pairs} pairs have {n_pairs - 1} canonical directions at "
                "most: lower n_bits, or pass more pairs"
            )
        with Progress(callback, verbose) as report:
            with threads_of_products(n_threads):
                covariances = pair_covariances(blocks_together(list(z.values())))
                ridges = [
                    self.ridge * float(row[m].trace()) / len(row[m])
                    for m, row in enumerate(covariances)
                ]
                directions, correlations = canonical_directions(covariances, ridges, n_bits)
                report("correlations", 1, 1)
            projections = dict(zip(z, directions, strict=True))
            related = Related.of_pairs(rows.pairs, rows.given)
            store(
                *(self, rows, projections, None, related, n_threads, report),
                correlations_=correlations,
            )
        return self
